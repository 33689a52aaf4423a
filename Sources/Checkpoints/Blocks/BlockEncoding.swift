/// Numbers as files store them: halves, GGML's simple quantised blocks, bit for bit those of `gguf.quants.quantize` of
/// gguf-py 0.19, and its blocks of 256 by the steps of llama.cpp's reference.
public enum BlockEncoding {
  /// The types that `encode` writes.
  public static let types: [TensorType] = [
    .f64, .f32, .f16, .bf16, .q8_0, .q4_0, .q4_1, .q5_0, .q5_1, .q4_k, .q5_k, .q6_k,
  ]

  /// Encodes numbers.
  ///
  /// - Parameters:
  ///   - type: one of `types`.
  ///   - source: (n), a whole number of blocks; finite, but for F16, BF16 and F64, which keep NaN and ∞.
  ///   - destination: the bytes of n elements, at any address.
  /// - Returns: the first element whose block's scale does not fit binary16 (or which does not itself, for F16), so
  ///   that it became ∞; `nil` when all is well.
  /// - Precondition: the sizes agree.
  /// - Accuracy: F16 and BF16 round to nearest, ties to even. Quantised types follow the reference's own steps.
  @discardableResult
  public static func encode(
    _ type: TensorType, _ source: UnsafeBufferPointer<Float>, into destination: UnsafeMutableRawBufferPointer
  ) -> Int? {
    precondition(types.contains(type), "\(type.rawValue) is not written")
    precondition(
      type.byteCount(elements: source.count) == destination.count,
      "\(source.count) elements of \(type.rawValue) into \(destination.count) bytes")
    guard let from = source.baseAddress, let to = destination.baseAddress, source.count > 0 else {
      return nil
    }
    let blocks = source.count / type.elementsPerBlock
    switch type {
    case .f64: widen(from, to, blocks)
    case .f32: to.copyMemory(from: from, byteCount: destination.count)
    case .f16: return narrowFloat16(from, to, blocks)
    case .bf16: narrowBFloat16(from, to, blocks)
    case .q8_0: return each(from, to, blocks, 34, 32, q8_0)
    case .q4_0: return each(from, to, blocks, 18) { symmetric($0, $1, bits: 4) }
    case .q5_0: return each(from, to, blocks, 22) { symmetric($0, $1, bits: 5) }
    case .q4_k: return each(from, to, blocks, 144, 256) { affineSuperblock($0, $1, bits: 4) }
    case .q5_k: return each(from, to, blocks, 176, 256) { affineSuperblock($0, $1, bits: 5) }
    case .q6_k: return each(from, to, blocks, 210, 256, q6_k)
    case .q4_1: return each(from, to, blocks, 20) { affine($0, $1, bits: 4) }
    default: return each(from, to, blocks, 24) { affine($0, $1, bits: 5) }
    }
    return nil
  }

  /// Decodes whole blocks of a quantised type.
  ///
  /// - Parameters:
  ///   - source: (blocks), at any address.
  ///   - destination: (blocks · elementsPerBlock).
  package static func decode(
    _ type: TensorType, _ source: UnsafeRawPointer, into destination: UnsafeMutablePointer<Float>, blocks: Int
  ) {
    BlockDecoding.decode(type, source, into: destination, blocks: blocks)
  }

  @inline(__always)
  private static func each(
    _ source: UnsafePointer<Float>, _ destination: UnsafeMutableRawPointer, _ blocks: Int, _ byteCount: Int,
    _ length: Int = 32, _ leaf: (UnsafePointer<Float>, UnsafeMutableRawPointer) -> Bool
  ) -> Int? {
    var overflow: Int?
    for block in 0..<blocks where !leaf(source + block * length, destination + block * byteCount) {
      overflow = overflow ?? block * length
    }
    return overflow
  }
}

// MARK: Leaves

private func widen(_ source: UnsafePointer<Float>, _ destination: UnsafeMutableRawPointer, _ count: Int) {
  for index in 0..<count {
    destination.storeBytes(of: Double(source[index]), toByteOffset: index &* 8, as: Double.self)
  }
}

private func narrowFloat16(
  _ source: UnsafePointer<Float>, _ destination: UnsafeMutableRawPointer, _ count: Int
) -> Int? {
  for index in 0..<count { store(Float16(source[index]), destination, index &* 2) }
  return (0..<count).first { source[$0].isFinite && !Float16(source[$0]).isFinite }
}

/// The upper half, rounded to nearest even; NaN is made quiet so that cutting it cannot make it ∞.
private func narrowBFloat16(
  _ source: UnsafePointer<Float>, _ destination: UnsafeMutableRawPointer, _ count: Int
) {
  for index in 0..<count {
    let bits = source[index].bitPattern
    let isNaN = bits & 0x7FFF_FFFF > 0x7F80_0000
    // Safe: the largest pattern that is not NaN is −∞, 0xFF80_0000, and carries nowhere.
    let rounded = isNaN ? bits | 0x0040_0000 : bits &+ (0x7FFF &+ (bits >> 16 & 1))
    destination.storeBytes(
      of: UInt16(truncatingIfNeeded: rounded >> 16).littleEndian, toByteOffset: index &* 2, as: UInt16.self)
  }
}

@inline(__always)
private func store(_ value: Float16, _ destination: UnsafeMutableRawPointer, _ offset: Int) {
  destination.storeBytes(of: value.bitPattern.littleEndian, toByteOffset: offset, as: UInt16.self)
}

/// The integer part as a conversion instruction gives it: what does not fit 32 bits, NaN too, is −2^31.
@inline(__always)
private func truncated(_ value: Float) -> Int32 {
  value > -2_147_483_904 && value < 2_147_483_648 ? Int32(value) : .min
}

/// 1/d, or 0 for a block of zeros.
@inline(__always)
private func inverse(_ scale: Float) -> Float { scale == 0 ? 0 : 1 / scale }

/// d = max|x|/127, q = round(x/d), halves away from zero.
private func q8_0(_ source: UnsafePointer<Float>, _ destination: UnsafeMutableRawPointer) -> Bool {
  var largest: Float = 0
  for index in 0..<32 { largest = max(largest, source[index].magnitude) }
  let scale = largest / 127
  let inverse = inverse(scale)
  let stored = Float16(scale)
  store(stored, destination, 0)
  for index in 0..<32 {
    let value = source[index] * inverse
    let magnitude = value.magnitude
    let floor = magnitude.rounded(.down)
    let rounded = floor + (2 * (magnitude - floor)).rounded(.down)
    let quant = truncated(value < 0 ? -rounded : rounded)
    destination.storeBytes(of: Int8(truncatingIfNeeded: quant), toByteOffset: 2 &+ index, as: Int8.self)
  }
  return stored.isFinite
}

/// d = x_max/−2^(bits−1), where x_max is the number of largest magnitude with its sign.
@inline(__always)
private func symmetric(
  _ source: UnsafePointer<Float>, _ destination: UnsafeMutableRawPointer, bits: Int
) -> Bool {
  var largest = source[0]
  for index in 1..<32 where source[index].magnitude > largest.magnitude { largest = source[index] }
  let centre = Float(1 << (bits - 1))
  let scale = largest / -centre
  let inverse = inverse(scale)
  let stored = Float16(scale)
  store(stored, destination, 0)
  pack(destination, 2, bits: bits) { source[$0] * inverse + (centre + 0.5) }
  return stored.isFinite
}

/// d = (max − min)/(2^bits − 1), and the minimum.
@inline(__always)
private func affine(
  _ source: UnsafePointer<Float>, _ destination: UnsafeMutableRawPointer, bits: Int
) -> Bool {
  var largest = source[0]
  var smallest = source[0]
  for index in 1..<32 {
    largest = max(largest, source[index])
    smallest = min(smallest, source[index])
  }
  let scale = (largest - smallest) / Float(1 << bits - 1)
  let inverse = inverse(scale)
  let stored = Float16(scale)
  let minimum = Float16(smallest)
  store(stored, destination, 0)
  store(minimum, destination, 2)
  pack(destination, 4, bits: bits) { (source[$0] - smallest) * inverse + 0.5 }
  return stored.isFinite && minimum.isFinite
}

/// Truncates 32 numbers to 4 or 5 bits: fifth bits first, then low halves of the first 16 and of the last.
@inline(__always)
private func pack(
  _ destination: UnsafeMutableRawPointer, _ offset: Int, bits: Int, _ value: (Int) -> Float
) {
  @inline(__always) func quant(_ index: Int) -> UInt8 {
    min(UInt8(truncatingIfNeeded: truncated(value(index))), UInt8(1 << bits - 1))
  }
  var high: UInt32 = 0
  let start = bits == 5 ? offset + 4 : offset
  for index in 0..<16 {
    let (first, second) = (quant(index), quant(index + 16))
    high |= UInt32(first >> 4) << UInt32(index) | UInt32(second >> 4) << UInt32(index + 16)
    destination.storeBytes(of: first & 15 | second << 4, toByteOffset: start + index, as: UInt8.self)
  }
  if bits == 5 { destination.storeBytes(of: high.littleEndian, toByteOffset: offset, as: UInt32.self) }
}
