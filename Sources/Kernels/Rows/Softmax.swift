#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Turns scores into weights that sum to 1.  yᵢ = exp(xᵢ − max)/Σ exp(xⱼ − max)
///
/// A row of nothing but −∞ has nothing to weigh: it becomes zeros. One NaN or +∞ makes the whole row NaN.
///
/// - Parameters:
///   - x: (count).
///   - y: (count); may be `x`.
/// - Precondition: `count ≥ 0`.
/// - Returns: whether the row defines a distribution, which neither of those does.
/// - Accuracy: relative error 4e-7 beyond that of the arguments xᵢ − max, asserted in SoftmaxTests.
@discardableResult
public func softmaxRow(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int) -> Bool {
  let sum = exponentialsOfRow(x, minus: finiteShift(maximumOfRow(x, count: count)), into: y, count: count)
  scaleRow(y, by: sum == 0 ? 0 : Float(1 / sum), into: y, count: count)
  return sum > 0
}

/// The maximum, or 0 where nothing is above −∞: what exponents are taken relative to.
@inline(__always)
private func finiteShift(_ maximum: Float) -> Float { maximum == -.infinity ? 0 : maximum }

/// Exponentials and their sum.  yᵢ = exp(xᵢ − shift)
///
/// - Parameters:
///   - x: (count).
///   - shift: the maximum, mostly, so that nothing overflows.
///   - y: (count), or nothing where only the sum is wanted; may be `x`.
/// - Precondition: `count ≥ 0`.
/// - Returns: Σ exp(xᵢ − shift).
/// - Accuracy: 0.9 ULP each, 1.3 without FMA; the sum as that of `sumRow`.
@discardableResult
public func exponentialsOfRow(
  _ x: UnsafePointer<Float>, minus shift: Float, into y: UnsafeMutablePointer<Float>?, count: Int
) -> Double {
  precondition(count >= 0, "a row of \(count) columns")
  @inline(__always)
  func weight(_ x: FloatVector) -> FloatVector { exponential(x - shift) }
  // Told apart once, not once per vector.
  guard let y else { return sumRow(x, count: count, padding: -.infinity, weight) }
  return sumRow(x, storing: y, count: count, padding: -.infinity, weight)
}

/// What turns the scores of a row into logarithms of probabilities.  ln pᵢ = (xᵢ − max) − ln Σ exp(xⱼ − max)
public struct LogNormalizer: Sendable {
  /// The largest score that is not NaN; −∞ when there is none.
  public let maximum: Float
  /// ln Σ exp(xᵢ − max); not finite when the row defines no distribution.
  public let logarithmOfSum: Double

  /// Reads a row.
  /// - Parameter x: (count).
  /// - Precondition: `count ≥ 0`.
  /// - Complexity: O(count), two passes.
  public init(_ x: UnsafePointer<Float>, count: Int) {
    maximum = maximumOfRow(x, count: count)
    logarithmOfSum = log(exponentialsOfRow(x, minus: finiteShift(maximum), into: nil, count: count))
  }

  /// Whether the row defines a distribution: no NaN, no +∞, not −∞ throughout.
  public var isValid: Bool { logarithmOfSum.isFinite }

  /// ln p of a score of the row; NaN when the row defines no distribution.
  ///
  /// The subtractions are made one after the other in `Float`, as PyTorch makes them, so that rounding agrees.
  @inlinable
  public func callAsFunction(_ score: Float) -> Float { (score - maximum) - Float(logarithmOfSum) }
}

/// ln Σ exp(xᵢ).
///
/// - Parameter x: (count).
/// - Precondition: `count ≥ 0`.
/// - Returns: −∞ for a row of nothing but −∞ and for an empty one; NaN when there is a NaN, or +∞.
/// - Accuracy: absolute error 2e-7 beyond rounding of the differences xᵢ − max.
public func logSumExp(_ x: UnsafePointer<Float>, count: Int) -> Double {
  let normalizer = LogNormalizer(x, count: count)
  return Double(normalizer.maximum) + normalizer.logarithmOfSum
}

/// Scores as logarithms of probabilities.  yᵢ = (xᵢ − max) − ln Σ exp(xⱼ − max)
///
/// A row that defines no distribution becomes NaN, as in PyTorch.
///
/// - Parameters:
///   - x: (count).
///   - y: (count); may be `x`.
/// - Returns: what the row was normalised by.
/// - Accuracy: absolute error 2e-7 beyond two roundings of y.
@discardableResult
public func logSoftmaxRow(
  _ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int
) -> LogNormalizer {
  let normalizer = LogNormalizer(x, count: count)
  let (maximum, logarithmOfSum) = (normalizer.maximum, Float(normalizer.logarithmOfSum))
  @inline(__always)
  func logarithm(_ x: FloatVector) -> FloatVector { (x - maximum) - logarithmOfSum }
  mapRow(x, into: y, count: count, logarithm)
  return normalizer
}

/// The log-probability of one outcome, in `Double` for sums over many.  x[target] − ln Σ exp(xⱼ)
///
/// - Parameters:
///   - target: the outcome.
///   - x: (count).
/// - Precondition: `target` is one of the outcomes.
/// - Accuracy: as `logSumExp`.
public func logProbability(of target: Int, in x: UnsafePointer<Float>, count: Int) -> Double {
  precondition(target >= 0 && target < count, "outcome \(target) of \(count)")
  return Double(x[target]) - logSumExp(x, count: count)
}

/// yᵢ = exp(xᵢ − max)/Σ exp(xⱼ − max): the naive twin of `softmaxRow`.
package func softmaxRowReference(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int) {
  var maximum = -Float.infinity
  for index in 0..<count where x[index] > maximum { maximum = x[index] }
  if maximum == -.infinity { maximum = 0 }
  var sum: Float = 0
  for index in 0..<count {
    y[index] = expf(x[index] - maximum)
    sum += y[index]
  }
  for index in 0..<count where sum != 0 { y[index] /= sum }
}

/// ln Σ exp(xᵢ): the naive twin of `logSumExp`.
func logSumExpReference(_ x: UnsafePointer<Float>, count: Int) -> Double {
  var maximum = -Float.infinity
  for index in 0..<count where x[index] > maximum { maximum = x[index] }
  if maximum == -.infinity { maximum = 0 }
  var sum = 0.0
  for index in 0..<count { sum += exp(Double(x[index]) - Double(maximum)) }
  return Double(maximum) + log(sum)
}

/// yᵢ = xᵢ − ln Σ exp(xⱼ): the naive twin of `logSoftmaxRow`.
func logSoftmaxRowReference(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int) {
  let total = logSumExpReference(x, count: count)
  for index in 0..<count { y[index] = Float(Double(x[index]) - total) }
}
