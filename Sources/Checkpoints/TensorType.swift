/// How the elements of a stored tensor are encoded, little-endian.
///
/// The raw values are the names that safetensors files use, and GGML's names for the types that GGUF alone has.
/// The former stand first, in the order in which the `safetensors` package lays tensors out, widest alignment
/// first.
/// - SeeAlso: the enumeration `Dtype` of huggingface/safetensors 0.8; `GGMLQuantizationType` and
///   `GGML_QUANT_SIZES` of gguf-py 0.19.
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

  // MARK: GGUF alone

  /// 4 bits times a scale; 32 elements.
  case q4_0 = "Q4_0"
  /// 4 bits times a scale plus a minimum; 32 elements.
  case q4_1 = "Q4_1"
  /// 5 bits times a scale; 32 elements.
  case q5_0 = "Q5_0"
  /// 5 bits times a scale plus a minimum; 32 elements.
  case q5_1 = "Q5_1"
  /// 8 bits times a scale; 32 elements.
  case q8_0 = "Q8_0"
  /// 8 bits times a scale, with the sum of the block; 32 elements. Only ever an intermediate of a product.
  case q8_1 = "Q8_1"
  /// 2 bits, scales and minima of 4; 256 elements.
  case q2_k = "Q2_K"
  /// 3 bits, scales of 6; 256 elements.
  case q3_k = "Q3_K"
  /// 4 bits, scales and minima of 6; 256 elements.
  case q4_k = "Q4_K"
  /// 5 bits, scales and minima of 6; 256 elements.
  case q5_k = "Q5_K"
  /// 6 bits, scales of 8; 256 elements.
  case q6_k = "Q6_K"
  /// 8 bits times a binary32, with sums; 256 elements. Only ever an intermediate of a product.
  case q8_k = "Q8_K"
  /// 2.06 bits by a codebook of eight elements; 256 elements.
  case iq2_xxs = "IQ2_XXS"
  /// 2.31 bits by a codebook of eight elements; 256 elements.
  case iq2_xs = "IQ2_XS"
  /// 3.06 bits by a codebook of four elements; 256 elements.
  case iq3_xxs = "IQ3_XXS"
  /// 1.56 bits by a codebook of eight elements; 256 elements.
  case iq1_s = "IQ1_S"
  /// 4 bits by a table of 16 values, times a scale; 32 elements.
  case iq4_nl = "IQ4_NL"
  /// 3.44 bits by a codebook of four elements; 256 elements.
  case iq3_s = "IQ3_S"
  /// 2.56 bits by a codebook of eight elements; 256 elements.
  case iq2_s = "IQ2_S"
  /// 4 bits by a table of 16 values, scales of 6; 256 elements.
  case iq4_xs = "IQ4_XS"
  /// 1.75 bits by a codebook of eight elements; 256 elements.
  case iq1_m = "IQ1_M"
  /// −1, 0 or 1 times a scale, five to a byte; 256 elements.
  case tq1_0 = "TQ1_0"
  /// −1, 0 or 1 times a scale, four to a byte; 256 elements.
  case tq2_0 = "TQ2_0"
  /// `f4` times a power of two; 32 elements.
  case mxfp4 = "MXFP4"
  /// `f4` times a scale of 8 bits per 16; 64 elements.
  case nvfp4 = "NVFP4"
  /// One bit, the sign of a scale; 128 elements.
  case q1_0 = "Q1_0"

  /// Elements that are stored together: 1 unless an element is no whole number of bytes.
  public var elementsPerBlock: Int {
    switch self {
    case .f6e3m2, .f6e2m3: 4
    case .f4: 2
    case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .q8_1, .iq4_nl, .mxfp4: 32
    case .nvfp4: 64
    case .q1_0: 128
    case .q2_k, .q3_k, .q4_k, .q5_k, .q6_k, .q8_k, .iq2_xxs, .iq2_xs, .iq3_xxs, .iq1_s, .iq3_s, .iq2_s,
      .iq4_xs,
      .iq1_m, .tq1_0, .tq2_0:
      256
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
    // Scales and minima come first in each sum, then whatever bits the elements have.
    case .q4_0, .iq4_nl, .q1_0: 2 + 16
    case .q4_1: 4 + 16
    case .q5_0: 2 + 4 + 16
    case .q5_1: 4 + 4 + 16
    case .q8_0: 2 + 32
    case .q8_1: 8 + 32
    case .q2_k: 4 + 16 + 64
    case .q3_k: 2 + 12 + 32 + 64
    case .q4_k: 4 + 12 + 128
    case .q5_k: 4 + 12 + 32 + 128
    case .q6_k: 2 + 16 + 64 + 128
    case .q8_k: 4 + 32 + 256
    case .iq2_xxs: 2 + 64
    case .iq2_xs: 2 + 8 + 64
    case .iq3_xxs: 2 + 32 + 64
    case .iq1_s: 2 + 16 + 32
    case .iq3_s: 2 + 4 + 8 + 32 + 64
    case .iq2_s: 2 + 16 + 64
    case .iq4_xs: 4 + 4 + 128
    case .iq1_m: 8 + 16 + 32
    case .tq1_0: 2 + 52
    case .tq2_0: 2 + 64
    case .mxfp4: 1 + 16
    case .nvfp4: 4 + 32
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

  /// Whether safetensors files may hold this type.
  public var isSafetensors: Bool {
    switch self {
    case .u64, .i64, .f64, .c64, .f32, .u32, .i32, .bf16, .f16, .u16, .i16, .f8e5m2fnuz, .f8e4m3fnuz, .f8e8m0,
      .f8e4m3, .f8e5m2, .i8, .u8, .f6e3m2, .f6e2m3, .f4, .bool:
      true
    default: false
    }
  }

  /// Whether `TensorRecord` converts this type to `Float`.
  public var isConvertibleToFloat: Bool {
    switch self {
    case .f64, .f32, .bf16, .f16: true
    default: BlockDecoding.decodes(self)
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
