/// How the elements of a packed weight are encoded; the names are those of `--dtype` and of GGML.
public enum WeightType: String, Sendable, CaseIterable {
  /// IEEE 754 binary16.
  case f16
  /// The upper half of binary32.
  case bf16
  /// 8 bits times a scale; 32 elements.
  case q8_0
  /// 4 bits times a scale; 32 elements.
  case q4_0
  /// 5 bits times a scale; 32 elements.
  case q5_0
  /// 4 bits, scales and minima of 6 bits; 256 elements.
  case q4_K
  /// 5 bits, scales and minima of 6 bits; 256 elements.
  case q5_K
  /// 6 bits, scales of 8 bits; 256 elements.
  case q6_K

  /// Elements of a row that are stored together: a row is a whole number of them.
  public var elementsPerBlock: Int {
    switch self {
    case .f16, .bf16: 1
    case .q8_0, .q4_0, .q5_0: 32
    case .q4_K, .q5_K, .q6_K: 256
    }
  }

  /// Bytes of one block.
  public var bytesPerBlock: Int {
    switch self {
    case .f16, .bf16: 2
    case .q8_0: 34
    case .q4_0: 18
    case .q5_0: 22
    case .q4_K: 144
    case .q5_K: 176
    case .q6_K: 210
    }
  }

  /// Whether products are sums of integers.
  public var isQuantized: Bool { elementsPerBlock > 1 }

  /// What a row that this type's blocks do not divide is stored as instead, as llama.cpp does; where that has `q5_1`, `q8_0`.
  ///
  /// - SeeAlso: `llama_tensor_get_type` in llama.cpp.
  public var fallback: WeightType {
    switch self {
    case .q4_K: .q5_0
    case .q5_K, .q6_K: .q8_0
    default: .f16
    }
  }

  /// This type, or the one that rows of `inputs` elements fall back to.
  public func fitting(inputs: Int) -> WeightType {
    var type = self
    while !inputs.isMultiple(of: type.elementsPerBlock) { type = type.fallback }
    return type
  }

  /// Inputs of one unit of the packed form.
  var inputsPerUnit: Int {
    switch self {
    case .f16: 1
    case .bf16: 2
    default: elementsPerBlock
    }
  }

  /// Bytes of one unit of a tile: the blocks of its outputs.
  var bytesPerUnit: Int {
    PackedMatrix.tileOutputs * bytesPerBlock * (inputsPerUnit / elementsPerBlock)
      + (self == .q4_K || self == .q5_K ? PackedMatrix.tileOutputs * 4 : 0)
  }
}
