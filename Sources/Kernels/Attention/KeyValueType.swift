import CIntrinsics

/// How keys or values are kept.
public enum KeyValueType: String, Sendable, CaseIterable {
  /// As they are computed.
  case f32
  /// 16-bit floats: 11 significant bits, up to 65504.
  case f16
  /// Bytes in blocks of 32 channels with a common scale: q = round(x/d), d = max|x|/127.
  case q8_0

  /// Bytes that one position of one head takes.
  public func byteCount(dimension: Int) -> Int {
    switch self {
    case .f32: 4 * dimension
    case .f16: 2 * dimension
    // The bytes, then the scales as 16-bit floats; an even number, so that scales are aligned.
    case .q8_0: (dimension + 1) / 2 * 2 + 2 * KeyValueType.blockCount(dimension)
    }
  }

  /// Blocks of 32 channels, the last of which may be shorter.
  @inline(__always)
  static func blockCount(_ dimension: Int) -> Int { (dimension + 31) / 32 }

  /// Writes the channels of one position.
  ///
  /// - Parameters:
  ///   - x: (dimension).
  ///   - target: `byteCount(dimension:)` bytes, aligned to 2, to 4 for `f32`.
  /// - Accuracy: `f16` 2⁻¹¹ of each number above 6.1e-5, 3e-8 below; `q8_0` half a step of max|x|/127 per block and the scale's
  ///   2⁻¹¹.
  func encode(_ x: UnsafePointer<Float>, dimension: Int, to target: UnsafeMutableRawPointer) {
    switch self {
    case .f32:
      target.assumingMemoryBound(to: Float.self).update(from: x, count: dimension)
    case .f16:
      let halves = target.assumingMemoryBound(to: UInt16.self)
      for channel in 0..<dimension { halves[channel] = Float16(x[channel]).bitPattern }
    case .q8_0:
      let bytes = target.assumingMemoryBound(to: Int8.self)
      let scales = (target + (dimension + 1) / 2 * 2).assumingMemoryBound(to: UInt16.self)
      for block in 0..<KeyValueType.blockCount(dimension) {
        let channels = block * 32..<min(block * 32 + 32, dimension)
        var largest: Float = 0
        var isNumber = true
        for channel in channels {
          largest = max(largest, abs(x[channel]))
          isNumber = isNumber && x[channel].isFinite
        }
        // The integers are made with the scale that is kept, so that its rounding costs nothing but reach.
        let scale = isNumber ? Float16(largest / 127) : .nan
        scales[block] = scale.bitPattern
        let inverse = scale > 0 ? 1 / Float(scale) : 0
        for channel in channels {
          let q = (x[channel] * inverse).rounded(.toNearestOrEven)
          bytes[channel] = q.isFinite ? Int8(max(-127, min(127, q))) : 0
        }
      }
    }
  }

  /// The channels of consecutive positions as floats.
  ///
  /// - Parameters:
  ///   - source: (count) positions, `byteCount(dimension:)` apart.
  ///   - floats: (count, dimension).
  func decode(
    _ source: UnsafeRawPointer, count: Int, dimension: Int, into floats: UnsafeMutablePointer<Float>
  ) {
    let stride = byteCount(dimension: dimension)
    switch self {
    case .f32:
      floats.update(from: source.assumingMemoryBound(to: Float.self), count: count * dimension)
    case .f16:
      // Positions follow one another without gaps.
      let total = count * dimension
      let halves = source.assumingMemoryBound(to: UInt16.self)
      var index = 0
      while index + 16 <= total {
        ink_halves_to_float16(halves + index).store(to: floats + index)
        index += 16
      }
      while index < total {
        floats[index] = Float(Float16(bitPattern: halves[index]))
        index += 1
      }
    case .q8_0:
      let scaleOffset = (dimension + 1) / 2 * 2
      for position in 0..<count {
        let row = source + position * stride
        let bytes = row.assumingMemoryBound(to: Int8.self)
        let scales = (row + scaleOffset).assumingMemoryBound(to: UInt16.self)
        let target = floats + position * dimension
        var channel = 0
        while channel + 16 <= dimension {
          let scale = Float(Float16(bitPattern: scales[channel / 32]))
          (ink_signed_bytes_to_float16(bytes + channel) * scale).store(to: target + channel)
          channel += 16
        }
        while channel < dimension {
          target[channel] = Float(bytes[channel]) * Float(Float16(bitPattern: scales[channel / 32]))
          channel += 1
        }
      }
    }
  }

  /// One channel of a position: the naive twin of `decode`.
  func element(_ row: UnsafeRawPointer, channel: Int, dimension: Int) -> Float {
    switch self {
    case .f32: return row.load(fromByteOffset: 4 * channel, as: Float.self)
    case .f16:
      return Float(Float16(bitPattern: row.load(fromByteOffset: 2 * channel, as: UInt16.self)))
    case .q8_0:
      let scale = row.load(
        fromByteOffset: (dimension + 1) / 2 * 2 + 2 * (channel / 32), as: UInt16.self)
      return Float(row.load(fromByteOffset: channel, as: Int8.self)) * Float(Float16(bitPattern: scale))
    }
  }
}
