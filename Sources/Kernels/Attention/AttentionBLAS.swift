/// Attention of some rows of queries over one key/value head, with GEMM for both products.
///
/// The rows' queries of the head's group are gathered into one contiguous operand (rows·group, D), so that
/// grouped heads and beams read the shared keys and values once. Scores are (rows·group, columns), where the
/// first columns are the shared positions and the rest a row's own.
func attendBlock(
  queries: MatrixView, layer: KeyValueLayer, plan: AttentionPlan, shape: AttentionShape, scale: Float,
  into y: MutableMatrixView, head: Int, rows: Range<Int>
) {
  let group = shape.groupSize
  let dimension = shape.headDimension
  let stacked = rows.count * group

  // A causal row r of R sees all but the last R − 1 − r of the shared positions.
  let hidden = plan.isCausal ? queries.rows - rows.upperBound : 0
  let shared = plan.sharedCount - hidden
  let own = rows.reduce(0) { most, row in max(most, plan.ownRuns(of: row).reduce(0) { $0 + $1.count }) }
  let columns = shared + own

  withUnsafeTemporaryAllocation(of: Float.self, capacity: stacked * (2 * dimension + columns)) { scratch in
    let query = scratch.baseAddress!
    let output = query + stacked * dimension
    let scores = output + stacked * dimension
    let keys = layer.keys + head * layer.headStride
    let values = layer.values + head * layer.headStride

    for row in rows {
      let source = queries.row(row) + head * group * dimension
      (query + (row - rows.lowerBound) * group * dimension).update(from: source, count: group * dimension)
    }

    // Scores: s·q·Kᵀ, run by run.
    forEachRun(plan.sharedRuns, upTo: shared) { run, column in
      BLAS.multiply(
        transposeB: true, m: stacked, n: run.count, k: dimension, alpha: scale, a: query, strideA: dimension,
        b: keys + run.slot * layer.slotStride + run.start * dimension, strideB: dimension, c: scores + column,
        strideC: columns)
    }
    for row in own > 0 ? rows : 0..<0 {
      let first = (row - rows.lowerBound) * group
      forEachRun(plan.ownRuns(of: row), upTo: .max) { run, column in
        BLAS.multiply(
          transposeB: true, m: group, n: run.count, k: dimension, alpha: scale, a: query + first * dimension,
          strideA: dimension, b: keys + run.slot * layer.slotStride + run.start * dimension,
          strideB: dimension,
          c: scores + first * columns + shared + column, strideC: columns)
      }
    }

    for index in 0..<stacked {
      let row = rows.lowerBound + index / group
      let visible =
        plan.isCausal
        ? shared - (rows.upperBound - 1 - row) : shared + plan.ownRuns(of: row).reduce(0) { $0 + $1.count }
      let weights = scores + index * columns
      softmaxRow(weights, into: weights, count: visible)
      // What a row may not see weighs nothing in the product over the whole block.
      (weights + visible).update(repeating: 0, count: columns - visible)
    }

    // Output: the weights times the values, run by run.
    var isFirst = true
    forEachRun(plan.sharedRuns, upTo: shared) { run, column in
      BLAS.multiply(
        m: stacked, n: dimension, k: run.count, a: scores + column, strideA: columns,
        b: values + run.slot * layer.slotStride + run.start * dimension, strideB: dimension,
        beta: isFirst ? 0 : 1, c: output, strideC: dimension)
      isFirst = false
    }
    if isFirst { output.update(repeating: 0, count: stacked * dimension) }
    for row in own > 0 ? rows : 0..<0 {
      let first = (row - rows.lowerBound) * group
      forEachRun(plan.ownRuns(of: row), upTo: .max) { run, column in
        BLAS.multiply(
          m: group, n: dimension, k: run.count, a: scores + first * columns + shared + column,
          strideA: columns,
          b: values + run.slot * layer.slotStride + run.start * dimension, strideB: dimension, beta: 1,
          c: output + first * dimension, strideC: dimension)
      }
    }

    for row in rows {
      let target = y.row(row) + head * group * dimension
      target.update(from: output + (row - rows.lowerBound) * group * dimension, count: group * dimension)
    }
  }
}

/// Calls `body` with each run and the column at which it begins, leaving out positions from `limit` on.
@inline(__always)
private func forEachRun(
  _ runs: some Collection<KeyValueRun>, upTo limit: Int, _ body: (KeyValueRun, Int) -> Void
) {
  var column = 0
  for var run in runs {
    run.count = min(run.count, limit - column)
    if run.count <= 0 { break }
    body(run, column)
    column += run.count
  }
}
