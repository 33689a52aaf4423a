#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// log-softmax and the sums it rests on, over one row of scores.
///
/// log p_v = (x_v − m) − log Σ_w e^(x_w − m),  m = max x
///
/// The two subtractions are made one after the other in fp32, as torch does, so that rounding agrees.
///
/// - Accuracy: the sum is accumulated in Float over 256 elements at a time and in Double beyond; results are
///   within two units in the last place of the correctly rounded ones (asserted in LogSoftmaxTests).
enum LogSoftmax {
  /// m and log Σ e^(x − m) of a row.
  struct Normalizer {
    var maximum: Float
    var logarithmOfSum: Float

    /// log p of a score of the row.
    @inline(__always)
    func callAsFunction(_ score: Float) -> Float { (score - maximum) - logarithmOfSum }

    /// Whether the row defines a distribution: no NaN, no +∞, not −∞ throughout.
    var isValid: Bool { logarithmOfSum.isFinite && maximum.isFinite }
  }

  /// - Complexity: two passes.
  static func normalizer(_ row: UnsafePointer<Float>, count: Int) -> Normalizer {
    let maximum = maximum(row, count: count)
    guard maximum.isFinite else { return Normalizer(maximum: maximum, logarithmOfSum: .nan) }
    return Normalizer(
      maximum: maximum, logarithmOfSum: Float(log(sumOfExponentials(row, count: count, shift: maximum))))
  }

  /// Writes log p of every score; `out` may alias `row`.
  /// - Complexity: three passes.
  static func apply(
    _ row: UnsafePointer<Float>, count: Int, into out: UnsafeMutablePointer<Float>
  ) -> Normalizer {
    let normalizer = normalizer(row, count: count)
    let (maximum, logarithmOfSum) = (normalizer.maximum, normalizer.logarithmOfSum)
    for index in 0..<count { out[index] = (row[index] - maximum) - logarithmOfSum }
    return normalizer
  }

  /// Writes p of every score, e^(x − m) / Σ; `out` may alias `row`.
  /// - Returns: whether the row defines a distribution.
  static func probabilities(
    _ row: UnsafePointer<Float>, count: Int, into out: UnsafeMutablePointer<Float>
  ) -> Bool {
    let maximum = maximum(row, count: count)
    guard maximum.isFinite else { return false }
    let sum = Float(exponentials(row, count: count, shift: maximum, into: out))
    for index in 0..<count { out[index] /= sum }
    return sum.isFinite
  }

  /// The largest element, −∞ of none; NaN is passed over.
  static func maximum(_ row: UnsafePointer<Float>, count: Int) -> Float {
    let raw = UnsafeRawPointer(row)
    var best = (Lanes(repeating: -.infinity), Lanes(repeating: -.infinity))
    var index = 0
    while index + 16 <= count {
      let (low, high) = (load(raw, index), load(raw, index + 8))
      best.0.replace(with: low, where: low .> best.0)
      best.1.replace(with: high, where: high .> best.1)
      index += 16
    }
    var result = max(best.0.max(), best.1.max())
    while index < count {
      if row[index] > result { result = row[index] }
      index += 1
    }
    return result
  }

  /// Σ e^(x − shift).
  static func sumOfExponentials(_ row: UnsafePointer<Float>, count: Int, shift: Float) -> Double {
    let raw = UnsafeRawPointer(row)
    let shifts = Lanes(repeating: shift)
    var total = 0.0
    var index = 0
    while index + 16 <= count {
      var partial = (Lanes.zero, Lanes.zero)
      let end = min(index + 256, count - 15)
      while index < end {
        partial.0 += exponential(load(raw, index) - shifts)
        partial.1 += exponential(load(raw, index + 8) - shifts)
        index += 16
      }
      total += Double((partial.0 + partial.1).sum())
    }
    while index < count {
      total += Double(exponential(Lanes(repeating: row[index] - shift))[0])
      index += 1
    }
    return total
  }

  /// Writes e^(x − shift) and returns the sum; `out` may alias `row`.
  static func exponentials(
    _ row: UnsafePointer<Float>, count: Int, shift: Float, into out: UnsafeMutablePointer<Float>
  ) -> Double {
    let (raw, rawOut) = (UnsafeRawPointer(row), UnsafeMutableRawPointer(out))
    let shifts = Lanes(repeating: shift)
    var total = 0.0
    var index = 0
    while index + 8 <= count {
      var partial = Lanes.zero
      let end = min(index + 128, count - 7)
      while index < end {
        let value = exponential(load(raw, index) - shifts)
        rawOut.storeBytes(of: value, toByteOffset: index &* 4, as: Lanes.self)
        partial += value
        index += 8
      }
      total += Double(partial.sum())
    }
    while index < count {
      out[index] = exponential(Lanes(repeating: row[index] - shift))[0]
      total += Double(out[index])
      index += 1
    }
    return total
  }

  typealias Lanes = SIMD8<Float>

  @inline(__always)
  static func load(_ raw: UnsafeRawPointer, _ index: Int) -> Lanes {
    raw.loadUnaligned(fromByteOffset: index &* 4, as: Lanes.self)
  }

  /// e^x for x ≤ 0, within two units in the last place; 0 where the result would not be a normal number.
  ///
  /// x = n·ln 2 + r with |r| ≤ ln 2 / 2; e^r by the polynomial of Cephes' `expf`; n is added to the exponent.
  /// NaN stays NaN.
  @inline(__always)
  static func exponential(_ x: Lanes) -> Lanes {
    // Adding 1.5·2²³ rounds to an integer and leaves it in the low bits.
    let magic = Lanes(repeating: 12_582_912)
    let shifted = x * 1.442_695_04 + magic
    let n = shifted - magic
    let r = (x - n * 0.693_359_375) + n * 2.121_944_4e-4
    var y = r * 1.987_569_15e-4 + 1.398_199_95e-3
    y = y * r + 8.333_451_9e-3
    y = y * r + 4.166_579_6e-2
    y = y * r + 1.666_666_55e-1
    y = y * r + 0.5
    y = (y * r) * r + r + 1
    let exponent = unsafeBitCast(shifted, to: SIMD8<UInt32>.self) &<< 23
    var result = unsafeBitCast(unsafeBitCast(y, to: SIMD8<UInt32>.self) &+ exponent, to: Lanes.self)
    result.replace(with: Lanes.zero, where: x .< -87.3)
    // Bits shifted into a NaN could make a number of it.
    result.replace(with: x, where: x .!= x)
    return result
  }
}
