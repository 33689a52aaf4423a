/// How the elements of a stored tensor are encoded, little-endian.
///
/// The raw values are the names that safetensors files use. The cases stand in the order in which the
/// `safetensors` package lays tensors out, widest alignment first.
/// - SeeAlso: the enumeration `Dtype` of huggingface/safetensors 0.8.
public enum TensorType: String, Sendable, Hashable, CaseIterable {
  /// 64-bit unsigned integer.
  case u64 = "U64"
  /// 64-bit signed integer.
  case i64 = "I64"
  /// IEEE 754 binary64.
  case f64 = "F64"
  /// Two binary32: real and imaginary part.
  case c64 = "C64"
  /// IEEE 754 binary32.
  case f32 = "F32"
  /// 32-bit unsigned integer.
  case u32 = "U32"
  /// 32-bit signed integer.
  case i32 = "I32"
  /// The upper half of binary32: 8 bits of exponent, 7 of fraction.
  case bf16 = "BF16"
  /// IEEE 754 binary16: 5 bits of exponent, 10 of fraction.
  case f16 = "F16"
  /// 16-bit unsigned integer.
  case u16 = "U16"
  /// 16-bit signed integer.
  case i16 = "I16"
  /// 5 bits of exponent, 2 of fraction, no infinities, no negative zero.
  case f8e5m2fnuz = "F8_E5M2FNUZ"
  /// 4 bits of exponent, 3 of fraction, no infinities, no negative zero.
  case f8e4m3fnuz = "F8_E4M3FNUZ"
  /// A power of two, the scale of a microscaling block.
  case f8e8m0 = "F8_E8M0"
  /// 4 bits of exponent, 3 of fraction, no infinities.
  case f8e4m3 = "F8_E4M3"
  /// 5 bits of exponent, 2 of fraction.
  case f8e5m2 = "F8_E5M2"
  /// 8-bit signed integer.
  case i8 = "I8"
  /// 8-bit unsigned integer.
  case u8 = "U8"
  /// 3 bits of exponent, 2 of fraction; four elements in three bytes.
  case f6e3m2 = "F6_E3M2"
  /// 2 bits of exponent, 3 of fraction; four elements in three bytes.
  case f6e2m3 = "F6_E2M3"
  /// 2 bits of exponent, 1 of fraction; two elements in a byte.
  case f4 = "F4"
  /// One byte, 0 or 1.
  case bool = "BOOL"

  /// Elements that are stored together: 1 unless an element is no whole number of bytes.
  public var elementsPerBlock: Int {
    switch self {
    case .f6e3m2, .f6e2m3: 4
    case .f4: 2
    default: 1
    }
  }

  /// Bytes of one block of `elementsPerBlock` elements.
  public var bytesPerBlock: Int {
    switch self {
    case .u64, .i64, .f64, .c64: 8
    case .f32, .u32, .i32: 4
    case .bf16, .f16, .u16, .i16: 2
    case .f6e3m2, .f6e2m3: 3
    case .f8e5m2fnuz, .f8e4m3fnuz, .f8e8m0, .f8e4m3, .f8e5m2, .i8, .u8, .f4, .bool: 1
    }
  }

  /// Bytes that a number of elements takes.
  ///
  /// - Parameter elements: not negative.
  /// - Returns: `nil` when the elements do not fill whole blocks or the result does not fit `Int`.
  public func byteCount(elements: Int) -> Int? {
    guard elements >= 0, elements % elementsPerBlock == 0 else { return nil }
    let (count, overflow) = (elements / elementsPerBlock).multipliedReportingOverflow(by: bytesPerBlock)
    return overflow ? nil : count
  }

  /// Whether `TensorRecord` converts this type to `Float`.
  public var isConvertibleToFloat: Bool {
    switch self {
    case .f64, .f32, .bf16, .f16: true
    default: false
    }
  }
}

/// Number of elements of a shape.
///
/// - Parameter shape: extents, none negative; `[]` is a scalar.
/// - Returns: `nil` when an extent is negative or the product does not fit `Int`. Zeros are left out of that
///   check on purpose: (2⁶², 2⁶², 0) holds nothing, yet whoever multiplies its first two extents would overflow.
func elementCount(of shape: [Int]) -> Int? {
  var product = 1
  var isEmpty = false
  for extent in shape {
    guard extent >= 0 else { return nil }
    if extent == 0 {
      isEmpty = true
      continue
    }
    let (next, overflow) = product.multipliedReportingOverflow(by: extent)
    if overflow { return nil }
    product = next
  }
  return isEmpty ? 0 : product
}
