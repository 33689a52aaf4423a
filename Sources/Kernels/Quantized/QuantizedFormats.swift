import CIntrinsics

/// Sixteen outputs × four inputs of unsigned bytes.
typealias ByteVector = SIMD16<UInt32>

/// How a quantised type's units read, in a way that the compiler resolves.
///
/// An element is scale·(q − offset) − minimum, q being unsigned. A group is the inputs that share a scale.
protocol QuantizedFormat {
  static var unitBytes: Int { get }
  static var groupsPerUnit: Int { get }
  /// Steps of four inputs in a group: 8, or 4 where groups have 16 inputs.
  static var stepsPerGroup: Int { get }
  static var offset: Int32 { get }
  static var hasMinima: Bool { get }
  /// The q of four inputs of the first and the last 16 outputs.
  static func quants(_ unit: UnsafeRawPointer, group: Int, step: Int) -> (ByteVector, ByteVector)
  /// Scales of a group.
  static func scales(_ unit: UnsafeRawPointer, group: Int) -> (FloatVector, FloatVector)
  /// Minima of a group.
  static func minima(_ unit: UnsafeRawPointer, group: Int) -> (FloatVector, FloatVector)
}

extension QuantizedFormat {
  @inline(__always) static var groupsPerUnit: Int { 1 }
  @inline(__always) static var stepsPerGroup: Int { 8 }
  @inline(__always) static var hasMinima: Bool { false }

  @inline(__always)
  static func minima(_ unit: UnsafeRawPointer, group: Int) -> (FloatVector, FloatVector) { (.zero, .zero) }

  /// 32 scales of binary16 at the head of a unit.
  @inline(__always)
  static func scales(_ unit: UnsafeRawPointer, group: Int) -> (FloatVector, FloatVector) { halves(unit) }
}

@inline(__always)
private func halves(_ source: UnsafeRawPointer) -> (FloatVector, FloatVector) {
  (ink_halves_to_float16(source), ink_halves_to_float16(source + 32))
}

/// Two vectors of 64 bytes; every unit begins at a multiple of 64.
@inline(__always)
private func words(_ source: UnsafeRawPointer) -> (ByteVector, ByteVector) {
  (source.load(as: ByteVector.self), source.load(fromByteOffset: 64, as: ByteVector.self))
}

@inline(__always)
private func nibbles(_ words: (ByteVector, ByteVector), shift: UInt32) -> (ByteVector, ByteVector) {
  let mask = ByteVector(repeating: 0x0F0F_0F0F)
  return (ink_shift_right16(words.0, shift) & mask, ink_shift_right16(words.1, shift) & mask)
}

enum FormatQ8_0: QuantizedFormat {
  @inline(__always) static var unitBytes: Int { 1088 }
  @inline(__always) static var offset: Int32 { 128 }

  @inline(__always)
  static func quants(_ unit: UnsafeRawPointer, group: Int, step: Int) -> (ByteVector, ByteVector) {
    words(unit + 64 + step &* 128)
  }
}

enum FormatQ4_0: QuantizedFormat {
  @inline(__always) static var unitBytes: Int { 576 }
  @inline(__always) static var offset: Int32 { 8 }

  @inline(__always)
  static func quants(_ unit: UnsafeRawPointer, group: Int, step: Int) -> (ByteVector, ByteVector) {
    nibbles(words(unit + 64 + (step & 3) &* 128), shift: step < 4 ? 0 : 4)
  }
}

enum FormatQ5_0: QuantizedFormat {
  @inline(__always) static var unitBytes: Int { 704 }
  @inline(__always) static var offset: Int32 { 16 }

  @inline(__always)
  static func quants(_ unit: UnsafeRawPointer, group: Int, step: Int) -> (ByteVector, ByteVector) {
    let low = nibbles(words(unit + 192 + (step & 3) &* 128), shift: step < 4 ? 0 : 4)
    let high = words(unit + 64)
    let mask = ByteVector(repeating: 0x0101_0101)
    let shift = UInt32(truncatingIfNeeded: step)
    let sixteen = ByteVector(repeating: 16)
    let high0: ByteVector = (ink_shift_right16(high.0, shift) & mask) &* sixteen
    let high1: ByteVector = (ink_shift_right16(high.1, shift) & mask) &* sixteen
    return (low.0 | high0, low.1 | high1)
  }
}

enum FormatQ4_K: QuantizedFormat {
  @inline(__always) static var unitBytes: Int { 4736 }
  @inline(__always) static var groupsPerUnit: Int { 8 }
  @inline(__always) static var offset: Int32 { 0 }
  @inline(__always) static var hasMinima: Bool { true }

  @inline(__always)
  static func quants(_ unit: UnsafeRawPointer, group: Int, step: Int) -> (ByteVector, ByteVector) {
    nibbles(words(unit + 192 + group &* 576 + (step & 3) &* 128), shift: step < 4 ? 0 : 4)
  }

  @inline(__always)
  static func scales(_ unit: UnsafeRawPointer, group: Int) -> (FloatVector, FloatVector) {
    product(halves(unit), unit + 128 + group &* 576)
  }

  @inline(__always)
  static func minima(_ unit: UnsafeRawPointer, group: Int) -> (FloatVector, FloatVector) {
    product(halves(unit + 64), unit + 160 + group &* 576)
  }
}

/// Halves times unsigned bytes, 32 of each.
@inline(__always)
private func product(
  _ factor: (FloatVector, FloatVector), _ bytes: UnsafeRawPointer
) -> (FloatVector, FloatVector) {
  (factor.0 * ink_bytes_to_float16(bytes), factor.1 * ink_bytes_to_float16(bytes + 16))
}

enum FormatQ5_K: QuantizedFormat {
  @inline(__always) static var unitBytes: Int { 5760 }
  @inline(__always) static var groupsPerUnit: Int { 8 }
  @inline(__always) static var offset: Int32 { 0 }
  @inline(__always) static var hasMinima: Bool { true }

  @inline(__always)
  static func quants(_ unit: UnsafeRawPointer, group: Int, step: Int) -> (ByteVector, ByteVector) {
    let source = unit + 192 + group &* 704
    let low = nibbles(words(source + 128 + (step & 3) &* 128), shift: step < 4 ? 0 : 4)
    let high = words(source)
    let mask = ByteVector(repeating: 0x0101_0101)
    let shift = UInt32(truncatingIfNeeded: step)
    let sixteen = ByteVector(repeating: 16)
    let high0: ByteVector = (ink_shift_right16(high.0, shift) & mask) &* sixteen
    let high1: ByteVector = (ink_shift_right16(high.1, shift) & mask) &* sixteen
    return (low.0 | high0, low.1 | high1)
  }

  @inline(__always)
  static func scales(_ unit: UnsafeRawPointer, group: Int) -> (FloatVector, FloatVector) {
    product(halves(unit), unit + 128 + group &* 704)
  }

  @inline(__always)
  static func minima(_ unit: UnsafeRawPointer, group: Int) -> (FloatVector, FloatVector) {
    product(halves(unit + 64), unit + 160 + group &* 704)
  }
}

enum FormatQ6_K: QuantizedFormat {
  @inline(__always) static var unitBytes: Int { 6720 }
  @inline(__always) static var groupsPerUnit: Int { 16 }
  @inline(__always) static var stepsPerGroup: Int { 4 }
  @inline(__always) static var offset: Int32 { 32 }

  @inline(__always)
  static func quants(_ unit: UnsafeRawPointer, group: Int, step: Int) -> (ByteVector, ByteVector) {
    let source = unit + 128 + (group >> 1) &* 832 + (group & 1) &* 384
    let low = nibbles(words(source + (step & 1) &* 128), shift: step < 2 ? 0 : 4)
    let high = words(source + 256)
    let mask = ByteVector(repeating: 0x3030_3030)
    // The pair of the step, moved to where bits 4 and 5 of each byte are.
    let (high0, high1): (ByteVector, ByteVector) =
      switch step {
      case 0: (high.0 &* ByteVector(repeating: 16), high.1 &* ByteVector(repeating: 16))
      case 1: (high.0 &* ByteVector(repeating: 4), high.1 &* ByteVector(repeating: 4))
      case 2: high
      default: (ink_shift_right16(high.0, 2), ink_shift_right16(high.1, 2))
      }
    return (low.0 | high0 & mask, low.1 | high1 & mask)
  }

  @inline(__always)
  static func scales(_ unit: UnsafeRawPointer, group: Int) -> (FloatVector, FloatVector) {
    let factor = halves(unit)
    let bytes = unit + 64 + (group >> 1) &* 832 + (group & 1) &* 32
    return (
      factor.0 * ink_signed_bytes_to_float16(bytes), factor.1 * ink_signed_bytes_to_float16(bytes + 16)
    )
  }
}
