#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Turns scores into weights that sum to 1, in place.  xᵢ ← exp(xᵢ − max)/Σ exp(xⱼ − max)
///
/// A row of nothing but −∞ has nothing to weigh: it becomes zeros. One NaN or +∞ makes the whole row NaN.
///
/// - Parameter x: (count).
/// - Precondition: `count ≥ 0`.
/// - Accuracy: relative error 4e-7 beyond that of the arguments xᵢ − max, asserted in SoftmaxTests.
public func softmaxRow(_ x: UnsafeMutablePointer<Float>, count: Int) {
  precondition(count >= 0, "a row of \(count) columns")
  let shift = finiteShift(x, count: count)
  let sum = sumOfExponentials(x, minus: shift, storing: x, count: count)
  scaleRow(x, by: sum == 0 ? 0 : Float(1 / sum), into: x, count: count)
}

/// The maximum, or 0 where nothing is above −∞: what exponents are taken relative to.
@inline(__always)
private func finiteShift(_ x: UnsafePointer<Float>, count: Int) -> Float {
  let maximum = maximumOfRow(x, count: count)
  return maximum == -.infinity ? 0 : maximum
}

/// Σ exp(xᵢ − shift), its terms stored in `y` when given.
@inline(__always)
private func sumOfExponentials(
  _ x: UnsafePointer<Float>, minus shift: Float, storing y: UnsafeMutablePointer<Float>?, count: Int
) -> Double {
  @inline(__always)
  func weight(_ x: FloatVector) -> FloatVector { exponential(x - shift) }
  return sumRow(x, storing: y, count: count, padding: -.infinity, weight)
}

/// Softmax of each row over its first columns, the others becoming 0, in place.
///
/// - Parameters:
///   - x: (rows, columns).
///   - firstLength: how many columns row 0 has; row r has r more, up to `columns`. `x.columns` for all of them.
/// - Precondition: `firstLength ≥ 0`.
func softmaxRows(_ x: MutableMatrixView, firstLength: Int) {
  precondition(firstLength >= 0, "a row of \(firstLength) columns")
  for index in 0..<x.rows {
    let length = min(firstLength + index, x.columns)
    softmaxRow(x.row(index), count: length)
    (x.row(index) + length).update(repeating: 0, count: x.columns - length)
  }
}

/// ln Σ exp(xᵢ).
///
/// - Parameter x: (count).
/// - Precondition: `count ≥ 0`.
/// - Returns: −∞ for a row of nothing but −∞ and for an empty one; NaN when there is a NaN, or +∞.
/// - Accuracy: absolute error 2e-7 beyond rounding of the differences xᵢ − max.
public func logSumExp(_ x: UnsafePointer<Float>, count: Int) -> Double {
  precondition(count >= 0, "a row of \(count) columns")
  let shift = finiteShift(x, count: count)
  return Double(shift) + log(sumOfExponentials(x, minus: shift, storing: nil, count: count))
}

/// Scores as logarithms of probabilities.  yᵢ = xᵢ − ln Σ exp(xⱼ)
///
/// - Parameters:
///   - x: (count).
///   - y: (count); may be `x`.
/// - Accuracy: absolute error 2e-7 beyond one rounding of y and those of the differences xᵢ − max.
///   A row of nothing but −∞ stays.
public func logSoftmaxRow(_ x: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int) {
  let total = logSumExp(x, count: count)
  guard total != -.infinity else { return y.update(from: x, count: count) }
  // In two parts: the first difference is exact where it is small, so the second one rounds once.
  let (upper, lower) = (Float(total), Float(total - Double(Float(total))))
  @inline(__always)
  func logarithm(_ x: FloatVector) -> FloatVector { (x - upper) - lower }
  mapRow(x, into: y, count: count, logarithm)
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

/// xᵢ ← exp(xᵢ − max)/Σ exp(xⱼ − max): the naive twin of `softmaxRow`.
package func softmaxRowReference(_ x: UnsafeMutablePointer<Float>, count: Int) {
  var maximum = -Float.infinity
  for index in 0..<count where x[index] > maximum { maximum = x[index] }
  if maximum == -.infinity { maximum = 0 }
  var sum: Float = 0
  for index in 0..<count {
    x[index] = expf(x[index] - maximum)
    sum += x[index]
  }
  for index in 0..<count where sum != 0 { x[index] /= sum }
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
  for index in 0..<count { y[index] = total == -.infinity ? x[index] : Float(Double(x[index]) - total) }
}
