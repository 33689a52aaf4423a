/// Divides each row by its root mean square and scales it.  y = x/√(mean(x²) + ε)·(γ + offset)
///
/// - Parameters:
///   - x: (rows, columns); may be `y`.
///   - weight: γ, (columns).
///   - offset: added to γ.
///   - epsilon: ε.
///   - y: (rows, columns).
/// - Accuracy: the mean square within 20 roundings of `Float`; bound asserted in NormalizationTests.
/// - SeeAlso: arXiv:1910.07467
func rootMeanSquareNorm(
  _ x: MatrixView, weight: UnsafePointer<Float>, offset: Float, epsilon: Float, into y: MutableMatrixView
) {
  precondition(
    x.rows == y.rows && x.columns == y.columns,
    "(\(x.rows), \(x.columns)) normalised into (\(y.rows), \(y.columns))")
  @inline(__always)
  func square(_ x: FloatVector) -> FloatVector { x * x }
  for index in 0..<x.rows {
    let meanSquare = sumRow(x.row(index), count: x.columns, padding: 0, square) / Double(x.columns)
    let inverse = Float(1 / (meanSquare + Double(epsilon)).squareRoot())
    @inline(__always)
    func scaled(_ x: FloatVector, _ weight: FloatVector) -> FloatVector { x * inverse * (weight + offset) }
    mapRows(x.row(index), weight, into: y.row(index), count: x.columns, scaled)
  }
}

/// y = x/√(mean(x²) + ε)·(γ + offset) in scalar loops: the naive twin of `rootMeanSquareNorm`.
func rootMeanSquareNormReference(
  _ x: MatrixView, weight: UnsafePointer<Float>, offset: Float, epsilon: Float, into y: MutableMatrixView
) {
  for index in 0..<x.rows {
    let source = x.row(index)
    var squares: Float = 0
    for column in 0..<x.columns { squares += source[column] * source[column] }
    let root = (squares / Float(x.columns) + epsilon).squareRoot()
    for column in 0..<x.columns {
      y.row(index)[column] = source[column] / root * (weight[column] + offset)
    }
  }
}
