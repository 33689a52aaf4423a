/// The gradients of a normalisation's input, scale and shift.
///
/// With x̂ the normalised row, r = 1/√(… + ε) and g = dY·(γ + offset):
///
///     dX = r·(g − mean g − x̂·mean(g·x̂)),  without mean g for the root mean square
///     dγ += Σ_r dY·x̂,  dβ += Σ_r dY
///
/// - Parameters:
///   - x: (R, C), the input as it was.
///   - dY: (R, C); may be `dX`.
///   - weight: γ, its offset and ε.
///   - dX: (R, C); overlaps neither `x` nor, unless it is the same, `dY`.
///   - accumulate: whether to add to `dX` instead of replacing it; not when `dX` is `dY`.
///   - dWeight: dγ, (C), or nothing when it is not wanted.
///   - dBias: dβ, (C), or nothing.
/// - Accuracy: statistics as the forward kernel's; asserted in NormBackwardTests.
package func normalizeBackward(
  _ x: MatrixView, _ weight: NormalizationWeight, _ dY: MatrixView, into dX: MutableMatrixView,
  accumulate: Bool, dWeight: UnsafeMutablePointer<Float>?, dBias: UnsafeMutablePointer<Float>?,
  pool: WorkerPool
) {
  precondition(
    x.rows == dY.rows && x.columns == dY.columns && x.rows == dX.rows && x.columns == dX.columns,
    "(\(dY.rows), \(dY.columns)) back through a norm of (\(x.rows), \(x.columns)) into (\(dX.rows), \(dX.columns))"
  )
  guard x.rows > 0, x.columns > 0 else { return }
  withUnsafeTemporaryAllocation(of: Float.self, capacity: 2 * x.rows) { scratch in
    let statistics = scratch.baseAddress!
    pool.run(x.rows, grain: max(1, 8192 / x.columns)) { rows in
      for row in rows {
        rowStatistics(
          weight.kind, x.row(row), epsilon: weight.epsilon, into: statistics + 2 * row, count: x.columns)
      }
    }
    // The columns' sums come first: dX may take the place of dY.
    if dWeight != nil || dBias != nil {
      pool.run((x.columns + 15) / 16, grain: 2) { bands in
        for band in bands {
          sumNormColumns(
            x, dY, statistics: statistics, at: band * 16, count: min(16, x.columns - band * 16), dWeight,
            dBias)
        }
      }
    }
    pool.run(x.rows, grain: max(1, 8192 / x.columns)) { rows in
      for row in rows {
        normBackwardRow(
          x.row(row), dY.row(row), weight: weight.weight, offset: weight.offset, mean: statistics[2 * row],
          inverse: statistics[2 * row + 1], isCentred: weight.kind == .layerNorm, into: dX.row(row),
          accumulate: accumulate, count: x.columns)
      }
    }
  }
}

/// μ (0 for the root mean square) and r of one row.
private func rowStatistics(
  _ kind: NormalizationWeight.Kind, _ x: UnsafePointer<Float>, epsilon: Float,
  into statistics: UnsafeMutablePointer<Float>, count: Int
) {
  @inline(__always)
  func value(_ x: FloatVector) -> FloatVector { x }
  let mean = kind == .layerNorm ? Float(sumRow(x, count: count, padding: 0, value) / Double(count)) : 0
  @inline(__always)
  func square(_ x: FloatVector) -> FloatVector { (x - mean) * (x - mean) }
  let squares = sumRow(x, count: count, padding: mean, square) / Double(count)
  statistics[0] = mean
  statistics[1] = Float(1 / (squares + Double(epsilon)).squareRoot())
}

/// dγ and dβ of up to sixteen columns.
private func sumNormColumns(
  _ x: MatrixView, _ dY: MatrixView, statistics: UnsafePointer<Float>, at column: Int, count: Int,
  _ dWeight: UnsafeMutablePointer<Float>?, _ dBias: UnsafeMutablePointer<Float>?
) {
  var (weights, biases) = (FloatVector.zero, FloatVector.zero)
  var row = 0
  while row < x.rows {
    // As in `biasBackward`: sums of sums.
    let end = min(row + 64, x.rows)
    var (w, b) = (FloatVector.zero, FloatVector.zero)
    while row < end {
      let source = x.row(row) + column
      let gradient = dY.row(row) + column
      let (value, dy) =
        count == 16
        ? (FloatVector(at: source), FloatVector(at: gradient))
        : (FloatVector(at: source, count: count), FloatVector(at: gradient, count: count))
      w = multiplyAdd(dy, (value - statistics[2 * row]) * statistics[2 * row + 1], w)
      b += dy
      row += 1
    }
    weights += w
    biases += b
  }
  for (sums, target) in [(weights, dWeight), (biases, dBias)] {
    guard let target = target.map({ $0 + column }) else { continue }
    if count == 16 {
      (FloatVector(at: target) + sums).store(to: target)
    } else {
      (FloatVector(at: target, count: count) + sums).store(to: target, count: count)
    }
  }
}

/// dX of one row.
private func normBackwardRow(
  _ x: UnsafePointer<Float>, _ dY: UnsafePointer<Float>, weight: UnsafePointer<Float>, offset: Float,
  mean: Float,
  inverse: Float, isCentred: Bool, into dX: UnsafeMutablePointer<Float>, accumulate: Bool, count: Int
) {
  /// g and x̂ of sixteen columns, or of the first `lanes` of them; what is beyond is 0.
  @inline(__always)
  func terms(_ index: Int, _ lanes: Int) -> (g: FloatVector, normalized: FloatVector) {
    if lanes == 16 {
      let scale = FloatVector(at: weight + index) + offset
      return (FloatVector(at: dY + index) * scale, (FloatVector(at: x + index) - mean) * inverse)
    }
    let scale = FloatVector(at: weight + index, count: lanes) + offset
    return (
      FloatVector(at: dY + index, count: lanes) * scale,
      (FloatVector(at: x + index, count: lanes, rest: mean) - mean) * inverse
    )
  }

  let whole = count & ~15
  var (sum, product) = (FloatVector.zero, FloatVector.zero)
  var (total, totalProduct) = (0.0, 0.0)
  var index = 0  // Every addition to it is safe: it stays within `count`.
  while index < whole {
    let end = min(index &+ 1024, whole)
    while index < end {
      let (g, normalized) = terms(index, 16)
      sum += g
      product = multiplyAdd(g, normalized, product)
      index &+= 16
    }
    total += sum.sumOfLanes
    totalProduct += product.sumOfLanes
    (sum, product) = (.zero, .zero)
  }
  if whole < count {
    let (g, normalized) = terms(whole, count - whole)
    total += g.sumOfLanes
    totalProduct += (g * normalized).sumOfLanes
  }
  let meanOfG = isCentred ? Float(total / Double(count)) : 0
  let slope = Float(totalProduct / Double(count))

  index = 0
  while index < whole {
    let (g, normalized) = terms(index, 16)
    let gradient = multiplyAdd(normalized, FloatVector(repeating: -slope), g - meanOfG) * inverse
    (accumulate ? FloatVector(at: dX + index) + gradient : gradient).store(to: dX + index)
    index &+= 16
  }
  if whole < count {
    let rest = count - whole
    let (g, normalized) = terms(whole, rest)
    let gradient = multiplyAdd(normalized, FloatVector(repeating: -slope), g - meanOfG) * inverse
    (accumulate ? FloatVector(at: dX + whole, count: rest) + gradient : gradient).store(
      to: dX + whole, count: rest)
  }
}

/// dX, dγ and dβ in scalar loops: the naive twin of `normalizeBackward`.
func normalizeBackwardReference(
  _ x: MatrixView, _ weight: NormalizationWeight, _ dY: MatrixView, into dX: MutableMatrixView,
  accumulate: Bool, dWeight: UnsafeMutablePointer<Float>?, dBias: UnsafeMutablePointer<Float>?
) {
  let count = Float(x.columns)
  let isCentred = weight.kind == .layerNorm
  for row in 0..<x.rows {
    let (source, gradient, target) = (x.row(row), dY.row(row), dX.row(row))
    var mean: Float = 0
    if isCentred {
      for column in 0..<x.columns { mean += source[column] / count }
    }
    var squares: Float = 0
    for column in 0..<x.columns { squares += (source[column] - mean) * (source[column] - mean) }
    let inverse = 1 / (squares / count + weight.epsilon).squareRoot()
    var meanOfG: Float = 0
    var slope: Float = 0
    for column in 0..<x.columns {
      let g = gradient[column] * (weight.weight[column] + weight.offset)
      if isCentred { meanOfG += g / count }
      slope += g * (source[column] - mean) * inverse / count
    }
    for column in 0..<x.columns {
      let normalized = (source[column] - mean) * inverse
      let dy = gradient[column]
      let dx = inverse * (dy * (weight.weight[column] + weight.offset) - meanOfG - normalized * slope)
      dWeight?[column] += dy * normalized
      dBias?[column] += dy
      target[column] = accumulate ? target[column] + dx : dx
    }
  }
}
