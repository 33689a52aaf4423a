/// What a metadata value of a GGUF file is; the raw values are the numbers in the file.
///
/// - SeeAlso: `gguf_metadata_value_type` in ggml's GGUF specification.
public enum GGUFValueType: UInt32, Sendable, CaseIterable {
  /// 8-bit unsigned integer.
  case uint8 = 0
  /// 8-bit signed integer.
  case int8 = 1
  /// 16-bit unsigned integer.
  case uint16 = 2
  /// 16-bit signed integer.
  case int16 = 3
  /// 32-bit unsigned integer.
  case uint32 = 4
  /// 32-bit signed integer.
  case int32 = 5
  /// IEEE 754 binary32.
  case float32 = 6
  /// One byte, 0 or 1.
  case bool = 7
  /// A length of 64 bits and that many bytes of UTF-8.
  case string = 8
  /// An element type, a count of 64 bits, and the elements.
  case array = 9
  /// 64-bit unsigned integer.
  case uint64 = 10
  /// 64-bit signed integer.
  case int64 = 11
  /// IEEE 754 binary64.
  case float64 = 12

  /// Bytes of a value of this type; of a string or an array the fewest it can have.
  var minimumByteCount: Int {
    switch self {
    case .uint8, .int8, .bool: 1
    case .uint16, .int16: 2
    case .uint32, .int32, .float32: 4
    case .uint64, .int64, .float64, .string: 8
    case .array: 12
    }
  }

  /// Whether every value takes `minimumByteCount` bytes.
  var hasFixedSize: Bool { self != .string && self != .array }

  /// Whether values are whole numbers.
  var isInteger: Bool {
    switch self {
    case .uint8, .int8, .uint16, .int16, .uint32, .int32, .uint64, .int64: true
    default: false
    }
  }

  /// Whether values are binary floating-point numbers.
  var isFloat: Bool { self == .float32 || self == .float64 }
}
