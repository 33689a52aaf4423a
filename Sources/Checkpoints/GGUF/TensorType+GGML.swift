extension TensorType {
  /// The type of a number in a GGUF file; `nil` for a number that stands for no type, or no longer does.
  ///
  /// - SeeAlso: `ggml_type` in ggml.h.
  init?(ggmlNumber number: UInt32) {
    guard let type = TensorType.byGGMLNumber[number] else { return nil }
    self = type
  }

  /// The number of the type in a GGUF file; `nil` when GGUF does not have it.
  var ggmlNumber: UInt32? { TensorType.byGGMLNumber.first { $0.value == self }?.key }

  /// The name of a type that GGUF once had, so that an old file gets a better word than "unknown".
  static func removedGGMLType(_ number: UInt32) -> String? {
    switch number {
    case 4: "Q4_2"
    case 5: "Q4_3"
    case 31: "Q4_0_4_4"
    case 32: "Q4_0_4_8"
    case 33: "Q4_0_8_8"
    case 36: "IQ4_NL_4_4"
    case 37: "IQ4_NL_4_8"
    case 38: "IQ4_NL_8_8"
    default: nil
    }
  }

  private static let byGGMLNumber: [UInt32: TensorType] = [
    0: .f32, 1: .f16, 2: .q4_0, 3: .q4_1, 6: .q5_0, 7: .q5_1, 8: .q8_0, 9: .q8_1, 10: .q2_k, 11: .q3_k,
    12: .q4_k, 13: .q5_k, 14: .q6_k, 15: .q8_k, 16: .iq2_xxs, 17: .iq2_xs, 18: .iq3_xxs, 19: .iq1_s,
    20: .iq4_nl, 21: .iq3_s, 22: .iq2_s, 23: .iq4_xs, 24: .i8, 25: .i16, 26: .i32, 27: .i64, 28: .f64,
    29: .iq1_m, 30: .bf16, 34: .tq1_0, 35: .tq2_0, 39: .mxfp4, 40: .nvfp4, 41: .q1_0,
  ]
}
