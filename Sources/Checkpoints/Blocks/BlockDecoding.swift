/// The numbers of GGML's quantised blocks, bit for bit those of `gguf.quants.dequantize` of gguf-py 0.19.
///
/// Each leaf reads one block at any address and writes its elements; nothing is fused, so that a product and a sum
/// round apart as they do there.
enum BlockDecoding {
  /// Whether there is a leaf for a type.
  static func decodes(_ type: TensorType) -> Bool {
    switch type {
    case .q4_0, .q4_1, .q5_0, .q5_1, .q8_0, .q2_k, .q3_k, .q4_k, .q5_k, .q6_k, .iq4_nl, .iq4_xs, .tq1_0,
      .tq2_0,
      .mxfp4, .nvfp4:
      true
    default: false
    }
  }

  /// Decodes whole blocks.
  ///
  /// - Parameters:
  ///   - source: (blocks · bytesPerBlock), at any address.
  ///   - destination: (blocks · elementsPerBlock).
  /// - Precondition: `decodes(type)`.
  static func decode(
    _ type: TensorType, _ source: UnsafeRawPointer, into destination: UnsafeMutablePointer<Float>, blocks: Int
  ) {
    switch type {
    case .q4_0: each(source, destination, blocks, 18, 32, q4_0)
    case .q4_1: each(source, destination, blocks, 20, 32, q4_1)
    case .q5_0: each(source, destination, blocks, 22, 32, q5_0)
    case .q5_1: each(source, destination, blocks, 24, 32, q5_1)
    case .q8_0: each(source, destination, blocks, 34, 32, q8_0)
    case .q2_k: each(source, destination, blocks, 84, 256, q2_k)
    case .q3_k: each(source, destination, blocks, 110, 256, q3_k)
    case .q4_k: each(source, destination, blocks, 144, 256, q4_k)
    case .q5_k: each(source, destination, blocks, 176, 256, q5_k)
    case .q6_k: each(source, destination, blocks, 210, 256, q6_k)
    case .iq4_nl: each(source, destination, blocks, 18, 32, iq4_nl)
    case .iq4_xs: each(source, destination, blocks, 136, 256, iq4_xs)
    case .tq1_0: each(source, destination, blocks, 54, 256, tq1_0)
    case .tq2_0: each(source, destination, blocks, 66, 256, tq2_0)
    case .mxfp4: each(source, destination, blocks, 17, 32, mxfp4)
    case .nvfp4: each(source, destination, blocks, 36, 64, nvfp4)
    default: preconditionFailure("\(type) has no blocks that are decoded")
    }
  }

  /// Whether every element of some blocks is finite, told from their scales alone where they decide it.
  ///
  /// A scale of binary16 times the integers of any type is far below the largest `Float`; NaN or ∞ in a scale or a
  /// minimum makes every element one. Only a power of two beyond 2^124 times a table value of 12 can overflow.
  static func areSurelyFinite(_ type: TensorType, _ source: UnsafeRawPointer, blocks: Int) -> Bool {
    let size = type.bytesPerBlock
    func areFinite(_ offset: Int) -> Bool {
      var seen: UInt16 = 0
      var place = source + offset
      // A loop without branches; the carry tells of an exponent that is all ones.
      for _ in 0..<blocks {
        seen |= (UInt16(littleEndian: place.loadUnaligned(as: UInt16.self)) & 0x7FFF) &+ 0x0400
        place += size
      }
      return seen & 0x8000 == 0
    }
    switch type {
    case .q4_1, .q5_1, .q4_k, .q5_k: return areFinite(0) && areFinite(2)
    case .q2_k: return areFinite(80) && areFinite(82)
    case .q3_k: return areFinite(108)
    case .q6_k: return areFinite(208)
    case .tq1_0: return areFinite(52)
    case .tq2_0: return areFinite(64)
    case .mxfp4: return (0..<blocks).allSatisfy { byte(source + $0 * size, 0) < 251 }
    case .nvfp4: return true
    default: return areFinite(0)
    }
  }

  /// Runs a leaf over blocks; with the leaf inlined, one loop per type.
  @inline(__always)
  private static func each(
    _ source: UnsafeRawPointer, _ destination: UnsafeMutablePointer<Float>, _ blocks: Int, _ byteCount: Int,
    _ elementCount: Int, _ leaf: (UnsafeRawPointer, UnsafeMutablePointer<Float>) -> Void
  ) {
    for block in 0..<blocks { leaf(source + block &* byteCount, destination + block &* elementCount) }
  }
}

// MARK: Leaves
// Safe: `&*`, `&+` and `&-` work on offsets within a block and on integers of at most 8 bits widened to 32.

/// A byte of a block.
@inline(__always)
private func byte(_ block: UnsafeRawPointer, _ offset: Int) -> UInt8 {
  block.load(fromByteOffset: offset, as: UInt8.self)
}

/// A binary16 of a block.
@inline(__always)
private func half(_ block: UnsafeRawPointer, _ offset: Int) -> Float {
  Float(
    Float16(bitPattern: UInt16(littleEndian: block.loadUnaligned(fromByteOffset: offset, as: UInt16.self))))
}

@inline(__always)
private func number(_ integer: Int32) -> Float { Float(integer) }

/// d, 16 bytes: low halves, then high halves.
@inline(__always)
private func q4_0(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 0)
  for index in 0..<16 {
    let pair = Int32(byte(block, 2 &+ index))
    out[index] = scale * number((pair & 15) &- 8)
    out[16 &+ index] = scale * number((pair >> 4) &- 8)
  }
}

/// d, m, 16 bytes.
@inline(__always)
private func q4_1(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 0)
  let minimum = half(block, 2)
  for index in 0..<16 {
    let pair = Int32(byte(block, 4 &+ index))
    out[index] = scale * number(pair & 15) + minimum
    out[16 &+ index] = scale * number(pair >> 4) + minimum
  }
}

/// d, 32 fifth bits, 16 bytes.
@inline(__always)
private func q5_0(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 0)
  let high = UInt32(littleEndian: block.loadUnaligned(fromByteOffset: 2, as: UInt32.self))
  for index in 0..<16 {
    let pair = Int32(byte(block, 6 &+ index))
    let first = Int32(truncatingIfNeeded: high >> UInt32(index) & 1) << 4
    let second = Int32(truncatingIfNeeded: high >> UInt32(index &+ 16) & 1) << 4
    out[index] = scale * number((pair & 15 | first) &- 16)
    out[16 &+ index] = scale * number((pair >> 4 | second) &- 16)
  }
}

/// d, m, 32 fifth bits, 16 bytes.
@inline(__always)
private func q5_1(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 0)
  let minimum = half(block, 2)
  let high = UInt32(littleEndian: block.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
  for index in 0..<16 {
    let pair = Int32(byte(block, 8 &+ index))
    let first = Int32(truncatingIfNeeded: high >> UInt32(index) & 1) << 4
    let second = Int32(truncatingIfNeeded: high >> UInt32(index &+ 16) & 1) << 4
    out[index] = scale * number(pair & 15 | first) + minimum
    out[16 &+ index] = scale * number(pair >> 4 | second) + minimum
  }
}

/// d, 32 signed bytes.
@inline(__always)
private func q8_0(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 0)
  for index in 0..<32 {
    out[index] = number(Int32(Int8(bitPattern: byte(block, 2 &+ index)))) * scale
  }
}

/// 16 pairs of scale and minimum of 4 bits, 64 bytes of four 2-bit numbers, d, d of the minima.
@inline(__always)
private func q2_k(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 80)
  let minimumScale = half(block, 82)
  for group in 0..<16 {
    let packed = Int32(byte(block, group))
    let factor = scale * number(packed & 15)
    let minimum = minimumScale * number(packed >> 4)
    // Two halves of 128; in each, 32 bytes hold four planes of 32.
    let source = 16 &+ (group >> 3) &* 32 &+ (group & 1) &* 16
    let shift = Int32((group >> 1) & 3) &* 2
    for index in 0..<16 {
      let quant = Int32(byte(block, source &+ index)) >> shift & 3
      out[group &* 16 &+ index] = factor * number(quant) - minimum
    }
  }
}

/// 256 third bits, 64 bytes of four 2-bit numbers, 16 scales of 6 bits, d.
@inline(__always)
private func q3_k(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 108)
  for group in 0..<16 {
    let low = Int32(byte(block, 96 &+ (group & 7))) >> (group < 8 ? 0 : 4) & 15
    let high = Int32(byte(block, 104 &+ (group & 3))) >> (Int32(group >> 2) &* 2) & 3
    let factor = scale * number((low | high << 4) &- 32)
    let source = 32 &+ (group >> 3) &* 32 &+ (group & 1) &* 16
    let shift = Int32((group >> 1) & 3) &* 2
    let mask = (group & 1) &* 16
    let bit = Int32(group >> 1)
    for index in 0..<16 {
      let quant = Int32(byte(block, source &+ index)) >> shift & 3
      // Four is taken away where the bit is not set.
      let third = (Int32(byte(block, mask &+ index)) >> bit & 1) ^ 1
      out[group &* 16 &+ index] = factor * number(quant &- third << 2)
    }
  }
}

/// Scale and minimum of 6 bits out of twelve bytes: the first four of each in the low bits of bytes 0–7, the last four
/// in bytes 8–11 and the high bits of bytes 0–7.
@inline(__always)
private func scaleAndMinimum(_ block: UnsafeRawPointer, _ group: Int) -> (scale: Int32, minimum: Int32) {
  let first = Int32(byte(block, 4 &+ (group & 3)))
  let second = Int32(byte(block, 8 &+ (group & 3)))
  guard group >= 4 else { return (first & 63, second & 63) }
  let third = Int32(byte(block, 12 &+ (group & 3)))
  return (third & 15 | first >> 2 & 48, third >> 4 | second >> 2 & 48)
}

/// d, d of the minima, 8 scales and minima of 6 bits, 128 bytes.
@inline(__always)
private func q4_k(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 0)
  let minimumScale = half(block, 2)
  for group in 0..<8 {
    let packed = scaleAndMinimum(block, group)
    let factor = scale * number(packed.scale)
    let minimum = minimumScale * number(packed.minimum)
    let source = 16 &+ (group >> 1) &* 32
    let shift = Int32(group & 1) &* 4
    for index in 0..<32 {
      let quant = Int32(byte(block, source &+ index)) >> shift & 15
      out[group &* 32 &+ index] = factor * number(quant) - minimum
    }
  }
}

/// As `q4_k`, with 256 fifth bits before the 128 bytes.
@inline(__always)
private func q5_k(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 0)
  let minimumScale = half(block, 2)
  for group in 0..<8 {
    let packed = scaleAndMinimum(block, group)
    let factor = scale * number(packed.scale)
    let minimum = minimumScale * number(packed.minimum)
    let source = 48 &+ (group >> 1) &* 32
    let shift = Int32(group & 1) &* 4
    let bit = Int32(group)
    for index in 0..<32 {
      let low = Int32(byte(block, source &+ index)) >> shift & 15
      let high = Int32(byte(block, 16 &+ index)) >> bit & 1
      out[group &* 32 &+ index] = factor * number(low | high << 4) - minimum
    }
  }
}

/// 128 bytes of low halves, 64 bytes of four high 2-bit numbers, 16 signed scales, d.
@inline(__always)
private func q6_k(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 208)
  for group in 0..<16 {
    let factor = scale * number(Int32(Int8(bitPattern: byte(block, 192 &+ group))))
    // Halves of 128: 64 bytes of low halves serve two planes of 64, 32 of high bits four planes of 32.
    let low = (group >> 3) &* 64 &+ (group & 3) &* 16
    let lowShift = Int32((group >> 2) & 1) &* 4
    let high = 128 &+ (group >> 3) &* 32 &+ (group & 1) &* 16
    let highShift = Int32((group >> 1) & 3) &* 2
    for index in 0..<16 {
      let quant =
        Int32(byte(block, low &+ index)) >> lowShift & 15
        | (Int32(byte(block, high &+ index)) >> highShift & 3) << 4
      out[group &* 16 &+ index] = factor * number(quant &- 32)
    }
  }
}

/// The table of the IQ4 types.
@inline(__always)
private func unevenValue(_ index: Int32) -> Float {
  // A lookup in two registers: 16 signed bytes.
  let low: UInt64 = 0xF6EA_DDCF_BFAD_9881  // −127, −104, −83, −65, −49, −35, −22, −10
  let high: UInt64 = 0x7159_4535_2619_0D01  // 1, 13, 25, 38, 53, 69, 89, 113
  let word = index & 8 == 0 ? low : high
  return number(Int32(Int8(truncatingIfNeeded: word >> (UInt64(index & 7) &* 8))))
}

/// d, 16 bytes of indices into the table.
@inline(__always)
private func iq4_nl(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 0)
  for index in 0..<16 {
    let pair = Int32(byte(block, 2 &+ index))
    out[index] = scale * unevenValue(pair & 15)
    out[16 &+ index] = scale * unevenValue(pair >> 4)
  }
}

/// d, high 2 bits and low 4 bits of eight scales, 128 bytes of indices.
@inline(__always)
private func iq4_xs(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 0)
  let high = Int32(UInt16(littleEndian: block.loadUnaligned(fromByteOffset: 2, as: UInt16.self)))
  for group in 0..<8 {
    let low = Int32(byte(block, 4 &+ group >> 1)) >> (Int32(group & 1) &* 4) & 15
    let factor = scale * number((low | (high >> (Int32(group) &* 2) & 3) << 4) &- 32)
    for index in 0..<16 {
      let pair = Int32(byte(block, 8 &+ group &* 16 &+ index))
      out[group &* 32 &+ index] = factor * unevenValue(pair & 15)
      out[group &* 32 &+ 16 &+ index] = factor * unevenValue(pair >> 4)
    }
  }
}

/// 48 bytes of five and 4 bytes of four numbers to the base of three, d.
@inline(__always)
private func tq1_0(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 52)
  func run(_ source: Int, _ count: Int, _ digits: Int, _ start: Int) {
    var power: UInt8 = 1
    for digit in 0..<digits {
      for index in 0..<count {
        // The digit stands at the top of the byte once the ones before it are shifted out by wrapping.
        let rest = Int32(byte(block, source &+ index) &* power)
        out[start &+ digit &* count &+ index] = scale * number((rest &* 3) >> 8 &- 1)
      }
      power &*= 3
    }
  }
  run(0, 32, 5, 0)
  run(32, 16, 5, 160)
  run(48, 4, 4, 240)
}

/// 64 bytes of four 2-bit numbers, d.
@inline(__always)
private func tq2_0(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let scale = half(block, 64)
  for plane in 0..<8 {
    let source = (plane >> 2) &* 32
    let shift = Int32(plane & 3) &* 2
    for index in 0..<32 {
      out[plane &* 32 &+ index] = scale * number((Int32(byte(block, source &+ index)) >> shift & 3) &- 1)
    }
  }
}

/// The values of E2M1, doubled.
@inline(__always)
private func doubledE2M1(_ index: Int32) -> Float {
  let magnitudes: UInt64 = 0x0C08_0604_0302_0100
  let magnitude = Int32(truncatingIfNeeded: magnitudes >> (UInt64(index & 7) &* 8) & 15)
  return number(index & 8 == 0 ? magnitude : 0 &- magnitude)
}

/// An exponent, 16 bytes of E2M1.
@inline(__always)
private func mxfp4(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  let exponent = UInt32(byte(block, 0))
  // Half of 2^(e − 127), since the values are doubled; subnormal for the two smallest.
  let scale = Float(bitPattern: exponent < 2 ? 0x0020_0000 << exponent : (exponent &- 1) << 23)
  for index in 0..<16 {
    let pair = Int32(byte(block, 1 &+ index))
    out[index] = scale * doubledE2M1(pair & 15)
    out[16 &+ index] = scale * doubledE2M1(pair >> 4)
  }
}

/// Four scales of unsigned E4M3, four times 8 bytes of E2M1.
@inline(__always)
private func nvfp4(_ block: UnsafeRawPointer, _ out: UnsafeMutablePointer<Float>) {
  for group in 0..<4 {
    let packed = Int32(byte(block, group))
    let fraction = number(packed & 7)
    let exponent = packed >> 3 & 15
    let value =
      exponent == 0
      ? fraction * 0x1p-9
      : (1 + fraction / 8) * Float(sign: .plus, exponent: Int(exponent) &- 7, significand: 1)
    let scale: Float = packed == 0 || packed == 0x7F ? 0 : value * 0.5
    for index in 0..<8 {
      let pair = Int32(byte(block, 4 &+ group &* 8 &+ index))
      out[group &* 16 &+ index] = scale * doubledE2M1(pair & 15)
      out[group &* 16 &+ 8 &+ index] = scale * doubledE2M1(pair >> 4)
    }
  }
}
