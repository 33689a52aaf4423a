/// Adds one vector to each row, in place.  x ← x + b
///
/// - Parameters:
///   - x: (rows, columns).
///   - bias: b, (columns); does not overlap `x`.
func addBias(_ x: MutableMatrixView, _ bias: UnsafePointer<Float>) {
  for index in 0..<x.rows { addRow(bias, to: x.row(index), count: x.columns) }
}

/// Adds one row to another.  y ← y + x
///
/// - Parameters:
///   - x: (count); may be `y`.
///   - y: (count).
@inline(__always)
func addRow(_ x: UnsafePointer<Float>, to y: UnsafeMutablePointer<Float>, count: Int) {
  @inline(__always)
  func sum(_ x: FloatVector, _ y: FloatVector) -> FloatVector { y + x }
  mapRows(x, y, into: y, count: count, sum)
}

/// Multiplies each element of a row.  y ← s·x
///
/// - Parameters:
///   - x: (count).
///   - y: (count); may be `x`.
func scaleRow(_ x: UnsafePointer<Float>, by scale: Float, into y: UnsafeMutablePointer<Float>, count: Int) {
  @inline(__always)
  func scaled(_ x: FloatVector) -> FloatVector { scale * x }
  mapRow(x, into: y, count: count, scaled)
}

/// Adds a multiple of one row to another, each sum rounded once.  y ← y + s·x
///
/// - Parameters:
///   - x: (count); does not overlap `y`.
///   - y: (count).
func addRow(
  _ x: UnsafePointer<Float>, scaledBy scale: Float, to y: UnsafeMutablePointer<Float>, count: Int
) {
  let factor = FloatVector(repeating: scale)
  @inline(__always)
  func sum(_ x: FloatVector, _ y: FloatVector) -> FloatVector { multiplyAdd(x, factor, y) }
  mapRows(x, y, into: y, count: count, sum)
}

/// Bends the elements of a row into ±cap.  y ← cap·tanh(x/cap)
///
/// - Parameters:
///   - x: (count).
///   - y: (count); may be `x`.
/// - SeeAlso: arXiv:2408.00118 (Gemma 2)
func softCapRow(
  _ x: UnsafePointer<Float>, cap: Float, into y: UnsafeMutablePointer<Float>, count: Int
) {
  @inline(__always)
  func capped(_ x: FloatVector) -> FloatVector { cap * hyperbolicTangent(x / cap) }
  mapRow(x, into: y, count: count, capped)
}

/// x ← x + b: the naive twin of `addBias`.
func addBiasReference(_ x: MutableMatrixView, _ bias: UnsafePointer<Float>) {
  for index in 0..<x.rows {
    for column in 0..<x.columns { x.row(index)[column] += bias[column] }
  }
}

/// y ← s·x: the naive twin of `scaleRow`.
func scaleRowReference(
  _ x: UnsafePointer<Float>, by scale: Float, into y: UnsafeMutablePointer<Float>, count: Int
) {
  for index in 0..<count { y[index] = scale * x[index] }
}
