/// Attention of some rows of queries over one key/value head, with GEMM for both products.
///
/// The rows' queries of the head's group are gathered into one contiguous operand (rows·group, D), so that
/// grouped heads and beams read the shared keys and values once. Scores are (rows·group, columns), where the
/// first columns are the shared positions and the rest a row's own.
func attendBlock(
  queries: MatrixView, layer: KeyValueLayer, plan: AttentionPlan, shape: AttentionShape,
  scoring: AttentionScoring, into y: MutableMatrixView, head: Int, rows: Range<Int>
) {
  let group = shape.groupSize
  let dimension = shape.headDimension
  let stacked = rows.count * group

  // A causal row r of R sees all but the last R − 1 − r of the shared positions.
  let hidden = plan.isCausal ? queries.rows - rows.upperBound : 0
  let shared = plan.sharedCount - hidden
  let own = rows.reduce(0) { most, row in max(most, plan.ownCount(of: row)) }
  // Positions up to the first that some row's window still holds are not read at all.
  let skipped =
    scoring.window.map { window in
      min(
        shared,
        rows.reduce(shared) { min($0, max(0, plan.visibleCount(of: $1, rows: queries.rows) - window)) })
    } ?? 0
  let columns = shared - skipped + own

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
    forEachRun(plan.sharedRuns, in: skipped..<shared) { run, column in
      BLAS.multiply(
        transposeB: true, m: stacked, n: run.count, k: dimension, alpha: scoring.scale, a: query,
        strideA: dimension,
        b: keys + run.slot * layer.slotStride + run.start * dimension, strideB: dimension, c: scores + column,
        strideC: columns)
    }
    for row in own > 0 ? rows : 0..<0 {
      let first = (row - rows.lowerBound) * group
      forEachRun(plan.ownRuns(of: row), in: 0..<own) { run, column in
        BLAS.multiply(
          transposeB: true, m: group, n: run.count, k: dimension, alpha: scoring.scale,
          a: query + first * dimension,
          strideA: dimension, b: keys + run.slot * layer.slotStride + run.start * dimension,
          strideB: dimension,
          c: scores + first * columns + shared - skipped + column, strideC: columns)
      }
    }

    for index in 0..<stacked {
      let row = rows.lowerBound + index / group
      let end = plan.visibleCount(of: row, rows: queries.rows) - skipped
      let start = scoring.window.map { max(0, end - $0) } ?? 0
      let weights = scores + index * columns
      score(
        weights + start, count: end - start, first: skipped + start, head: head * group + index % group,
        scoring)
      softmaxRow(weights + start, into: weights + start, count: end - start)
      // What a row may not see weighs nothing in the product over the whole block.
      weights.update(repeating: 0, count: start)
      (weights + end).update(repeating: 0, count: columns - end)
    }

    // Output: the weights times the values, run by run.
    var isFirst = true
    forEachRun(plan.sharedRuns, in: skipped..<shared) { run, column in
      BLAS.multiply(
        m: stacked, n: dimension, k: run.count, a: scores + column, strideA: columns,
        b: values + run.slot * layer.slotStride + run.start * dimension, strideB: dimension,
        beta: isFirst ? 0 : 1, c: output, strideC: dimension)
      isFirst = false
    }
    if isFirst { output.update(repeating: 0, count: stacked * dimension) }
    for row in own > 0 ? rows : 0..<0 {
      let first = (row - rows.lowerBound) * group
      forEachRun(plan.ownRuns(of: row), in: 0..<own) { run, column in
        BLAS.multiply(
          m: group, n: dimension, k: run.count, a: scores + first * columns + shared - skipped + column,
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

/// Calls `body` with each run, cut to the positions of a range, and the column at which it begins.
///
/// Positions are counted over all runs; the first of the range is column 0.
@inline(__always)
private func forEachRun(
  _ runs: some Collection<KeyValueRun>, in range: Range<Int>, _ body: (KeyValueRun, Int) -> Void
) {
  var position = 0
  for run in runs {
    let part = range.clamped(to: position..<position + run.count)
    if !part.isEmpty {
      body(
        KeyValueRun(slot: run.slot, start: run.start + part.lowerBound - position, count: part.count),
        part.lowerBound - range.lowerBound)
    }
    position += run.count
    if position >= range.upperBound { break }
  }
}
