/// The gradient of an affine map's input.  dX = dY·W, or dX += dY·W
///
/// - Parameters:
///   - dY: (R, outputs).
///   - weight: W, of y = x·Wᵀ + b.
///   - dX: (R, inputs); overlaps neither.
///   - accumulate: whether to add to `dX` instead of replacing it.
///   - precision: what the operands are rounded to.
/// - Complexity: 2·R·inputs·outputs operations, one GEMM per tile.
package func linearBackwardInput(
  _ dY: MatrixView, _ weight: LinearWeight, into dX: MutableMatrixView, accumulate: Bool,
  precision: ProductPrecision = .f32, pool: WorkerPool
) {
  checkExtents(dY, weight.inputs, weight.outputs, dX.readOnly)
  if AMXProduct.isPreferred(precision, rows: dY.rows, inputs: weight.inputs, outputs: weight.outputs) {
    return AMXProduct.multiply(
      AMXOperand(rowsOf: dY, precision), AMXOperand(inputsOf: weight, precision), accumulate: accumulate,
      into: dX, pool: pool)
  }
  let tiling = ProductTiling(m: dX.rows, n: dX.columns, k: dY.columns, precision: precision)
  let outputMajor = weight.layout == .outputMajor
  pool.run(tiling.count) { task in
    let (rows, columns) = tiling.tile(task)
    let target = dX.rows(rows).columns(columns)
    precision.multiply(
      transposeB: !outputMajor, m: rows.count, n: columns.count, k: weight.outputs,
      a: dY.row(rows.lowerBound), strideA: dY.rowStride,
      b: weight.values + columns.lowerBound * (outputMajor ? 1 : weight.outputs),
      strideB: outputMajor ? weight.inputs : weight.outputs, accumulate: accumulate, c: target.base,
      strideC: target.rowStride)
  }
}

/// The gradient of an affine map's matrix, added to what is there.  dW += dYᵀ·X
///
/// - Parameters:
///   - dY: (R, outputs).
///   - x: (R, inputs).
///   - layout: how dW is stored: (outputs, inputs) or (inputs, outputs).
///   - dWeight: dW; overlaps neither.
///   - precision: what the operands are rounded to.
/// - Complexity: 2·R·inputs·outputs operations, one GEMM per tile.
package func linearBackwardWeight(
  _ dY: MatrixView, _ x: MatrixView, layout: LinearWeight.Layout, into dWeight: UnsafeMutablePointer<Float>,
  precision: ProductPrecision = .f32, pool: WorkerPool
) {
  precondition(x.rows == dY.rows, "\(dY.rows) rows of gradients for \(x.rows) rows of inputs")
  // The rows of dW are columns of one operand, its columns those of the other.
  let (first, second) = layout == .outputMajor ? (dY, x) : (x, dY)
  guard dY.rows > 0 else { return }
  if AMXProduct.isPreferred(precision, rows: dY.rows, inputs: x.columns, outputs: dY.columns) {
    return AMXProduct.multiply(
      AMXOperand(columnsOf: first, precision), AMXOperand(columnsOf: second, precision), accumulate: true,
      into: MutableMatrixView(dWeight, rows: first.columns, columns: second.columns), pool: pool)
  }
  let tiling = ProductTiling(m: first.columns, n: second.columns, k: dY.rows, precision: precision)
  pool.run(tiling.count) { task in
    let (rows, columns) = tiling.tile(task)
    precision.multiply(
      transposeA: true, m: rows.count, n: columns.count, k: dY.rows, a: first.base + rows.lowerBound,
      strideA: first.rowStride, b: second.base + columns.lowerBound, strideB: second.rowStride,
      accumulate: true, c: dWeight + rows.lowerBound * second.columns + columns.lowerBound,
      strideC: second.columns)
  }
}

/// The gradient of an affine map's bias, added to what is there.  db += Σ_r dY[r]
///
/// - Parameters:
///   - dY: (R, columns).
///   - dBias: db, (columns); does not overlap `dY`.
/// - Accuracy: sums of 64 rows are added to sums of sums, so that no term passes through more than
///   64 + R/64 roundings.
package func biasBackward(_ dY: MatrixView, into dBias: UnsafeMutablePointer<Float>, pool: WorkerPool) {
  pool.run((dY.columns + 63) / 64) { band in
    let first = band * 64
    if first + 64 <= dY.columns {
      sumFourVectors(dY, at: first, into: dBias + first)
    } else {
      for column in stride(from: first, to: dY.columns, by: 16) {
        sumColumns(dY, at: column, count: min(16, dY.columns - column), into: dBias + column)
      }
    }
  }
}

/// Sums 64 columns over all rows.
private func sumFourVectors(_ x: MatrixView, at column: Int, into sums: UnsafeMutablePointer<Float>) {
  var (a, b, c, d) = (FloatVector.zero, FloatVector.zero, FloatVector.zero, FloatVector.zero)
  var row = 0
  while row < x.rows {
    let end = min(row + 64, x.rows)
    var (e, f, g, h) = (FloatVector.zero, FloatVector.zero, FloatVector.zero, FloatVector.zero)
    while row < end {
      let source = x.base + row * x.rowStride + column
      e += FloatVector(at: source)
      f += FloatVector(at: source + 16)
      g += FloatVector(at: source + 32)
      h += FloatVector(at: source + 48)
      row += 1
    }
    a += e
    b += f
    c += g
    d += h
  }
  (FloatVector(at: sums) + a).store(to: sums)
  (FloatVector(at: sums + 16) + b).store(to: sums + 16)
  (FloatVector(at: sums + 32) + c).store(to: sums + 32)
  (FloatVector(at: sums + 48) + d).store(to: sums + 48)
}

/// Sums up to sixteen columns over all rows.
private func sumColumns(
  _ x: MatrixView, at column: Int, count: Int, into sums: UnsafeMutablePointer<Float>
) {
  var total = FloatVector.zero
  var row = 0
  while row < x.rows {
    let end = min(row + 64, x.rows)
    var block = FloatVector.zero
    while row < end {
      let source = x.base + row * x.rowStride + column
      block += count == 16 ? FloatVector(at: source) : FloatVector(at: source, count: count)
      row += 1
    }
    total += block
  }
  if count == 16 {
    (FloatVector(at: sums) + total).store(to: sums)
  } else {
    (FloatVector(at: sums, count: count) + total).store(to: sums, count: count)
  }
}

/// dX = dY·W or dX += dY·W in scalar loops: the naive twin of `linearBackwardInput`.
func linearBackwardInputReference(
  _ dY: MatrixView, _ weight: LinearWeight, into dX: MutableMatrixView, accumulate: Bool
) {
  checkExtents(dY, weight.inputs, weight.outputs, dX.readOnly)
  let (stepInput, stepOutput) =
    weight.layout == .outputMajor ? (1, weight.inputs) : (weight.outputs, 1)
  for row in 0..<dY.rows {
    for input in 0..<weight.inputs {
      var sum: Float = 0
      for output in 0..<weight.outputs {
        sum += dY.row(row)[output] * weight.values[output * stepOutput + input * stepInput]
      }
      dX.row(row)[input] = accumulate ? dX.row(row)[input] + sum : sum
    }
  }
}

/// dW += dYᵀ·X in scalar loops: the naive twin of `linearBackwardWeight`.
func linearBackwardWeightReference(
  _ dY: MatrixView, _ x: MatrixView, layout: LinearWeight.Layout, into dWeight: UnsafeMutablePointer<Float>
) {
  let (stepInput, stepOutput) = layout == .outputMajor ? (1, x.columns) : (dY.columns, 1)
  for output in 0..<dY.columns {
    for input in 0..<x.columns {
      var sum: Float = 0
      for row in 0..<dY.rows { sum += dY.row(row)[output] * x.row(row)[input] }
      dWeight[output * stepOutput + input * stepInput] += sum
    }
  }
}

/// db += Σ_r dY[r] in scalar loops: the naive twin of `biasBackward`.
func biasBackwardReference(_ dY: MatrixView, into dBias: UnsafeMutablePointer<Float>) {
  for row in 0..<dY.rows {
    for column in 0..<dY.columns { dBias[column] += dY.row(row)[column] }
  }
}

private func checkExtents(_ dY: MatrixView, _ inputs: Int, _ outputs: Int, _ dX: MatrixView) {
  precondition(
    dY.rows == dX.rows && dY.columns == outputs && dX.columns == inputs,
    "(\(dY.rows), \(dY.columns)) back through a map from \(inputs) to \(outputs) into (\(dX.rows), \(dX.columns))"
  )
}
