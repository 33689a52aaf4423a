/// Normalises each row, then scales and shifts it.  y = (x − μ)/√(σ² + ε)·γ + β
///
/// - Parameters:
///   - x: (rows, columns); may be `y`.
///   - weight: γ, (columns).
///   - bias: β, (columns), or nothing.
///   - epsilon: ε.
///   - y: (rows, columns).
/// - Accuracy: two-pass variance over n, both sums within 20 roundings of `Float`; bound asserted in
///   LayerNormTests.
/// - SeeAlso: arXiv:1607.06450
func layerNorm(
  _ x: MatrixView, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?, epsilon: Float,
  into y: MutableMatrixView
) {
  precondition(
    x.rows == y.rows && x.columns == y.columns,
    "(\(x.rows), \(x.columns)) normalised into (\(y.rows), \(y.columns))")
  for index in 0..<x.rows {
    layerNormRow(
      x.row(index), weight: weight, bias: bias, epsilon: epsilon, into: y.row(index), count: x.columns)
  }
}

/// One row of `layerNorm`.
private func layerNormRow(
  _ x: UnsafePointer<Float>, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?, epsilon: Float,
  into y: UnsafeMutablePointer<Float>, count: Int
) {
  @inline(__always)
  func value(_ x: FloatVector) -> FloatVector { x }
  let mean = Float(sumRow(x, count: count, padding: 0, value) / Double(count))

  @inline(__always)
  func squaredDeviation(_ x: FloatVector) -> FloatVector { (x - mean) * (x - mean) }
  let variance = sumRow(x, count: count, padding: mean, squaredDeviation) / Double(count)
  let inverse = Float(1 / (variance + Double(epsilon)).squareRoot())

  let whole = count & ~15
  var index = 0
  while index < whole {
    let scaled = (FloatVector(at: x + index) - mean) * inverse
    let shift = if let bias { FloatVector(at: bias + index) } else { FloatVector.zero }
    multiplyAdd(scaled, FloatVector(at: weight + index), shift).store(to: y + index)
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    let rest = count - whole
    let scaled = (FloatVector(at: x + whole, count: rest) - mean) * inverse
    let shift = if let bias { FloatVector(at: bias + whole, count: rest) } else { FloatVector.zero }
    multiplyAdd(scaled, FloatVector(at: weight + whole, count: rest), shift).store(to: y + whole, count: rest)
  }
}

/// y = (x − μ)/√(σ² + ε)·γ + β in scalar loops: the naive twin of `layerNorm`.
func layerNormReference(
  _ x: MatrixView, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?, epsilon: Float,
  into y: MutableMatrixView
) {
  for index in 0..<x.rows {
    let source = x.row(index)
    let target = y.row(index)
    var sum: Float = 0
    for column in 0..<x.columns { sum += source[column] }
    let mean = sum / Float(x.columns)
    var squares: Float = 0
    for column in 0..<x.columns { squares += (source[column] - mean) * (source[column] - mean) }
    let deviation = (squares / Float(x.columns) + epsilon).squareRoot()
    for column in 0..<x.columns {
      target[column] = (source[column] - mean) / deviation * weight[column] + (bias?[column] ?? 0)
    }
  }
}
