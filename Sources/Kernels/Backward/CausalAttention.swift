#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Causal attention of whole sequences, as training needs it: keys and values lie beside the queries, nothing is
/// cached, and what the backward pass wants is one number per row and head.
///
/// Legend: R rows of all sequences, H query heads, G key/value heads, D head dimension.
package struct CausalAttention: Sendable {
  /// The rows of each sequence; a row attends to those of its own sequence up to itself.
  package var sequences: [Range<Int>]
  /// The heads.
  package var shape: AttentionShape
  /// From products to scores.
  package var scoring: AttentionScoring
  /// Which weights are dropped after the softmax, row r of head h being row r·H + h of the mask; or none.
  package var dropout: DropoutMask?

  /// Rows of queries whose scores are held at once.
  private static let blockRows = 128

  /// Describes an attention.
  package init(
    sequences: [Range<Int>], shape: AttentionShape, scoring: AttentionScoring, dropout: DropoutMask? = nil
  ) {
    self.sequences = sequences
    self.shape = shape
    self.scoring = scoring
    self.dropout = dropout
  }

  /// Attends.  y = softmax(cap(s·q·Kᵀ) + bias)·V, per head
  ///
  /// - Parameters:
  ///   - queries: (R, H·D).
  ///   - keys: (R, G·D).
  ///   - values: (R, G·D).
  ///   - y: (R, H·D); overlaps none of them.
  ///   - logSums: (R, H), receives ln Σ exp(score) of each row and head.
  /// - SeeAlso: arXiv:1706.03762
  package func forward(
    queries: MatrixView, keys: MatrixView, values: MatrixView, into y: MutableMatrixView,
    logSums: UnsafeMutablePointer<Float>, pool: WorkerPool
  ) {
    check(queries, keys, values, y.readOnly)
    let heads = shape.queryHeadCount
    // The last block of a sequence sees the most positions: it goes first, so that no thread ends late.
    let blocks = sequences.flatMap { sequence in
      stride(from: sequence.lowerBound, to: sequence.upperBound, by: CausalAttention.blockRows).map { start in
        Block(
          sequence: sequence, rows: start..<min(start + CausalAttention.blockRows, sequence.upperBound),
          window: scoring.window)
      }
    }.sorted { ($0.work, $1.rows.lowerBound) > ($1.work, $0.rows.lowerBound) }
    pool.run(blocks.count * heads) { task in
      attend(
        blocks[task / heads], head: task % heads, queries: queries, keys: keys, values: values, into: y,
        logSums: logSums)
    }
  }

  /// The gradients of queries, keys and values, added to what is there.
  ///
  /// The weights are computed anew from the scores and their saved sums. With P the weights and D = Σ dY∘y:
  ///
  ///     dV += Pᵀ·dY,  dS = s·P∘(dY·Vᵀ − D),  dQ += dS·K,  dK += dSᵀ·Q
  ///
  /// - Parameters:
  ///   - queries: (R, H·D).
  ///   - keys: (R, G·D).
  ///   - values: (R, G·D).
  ///   - y: (R, H·D), the result.
  ///   - logSums: (R, H), from the forward pass.
  ///   - dY: (R, H·D).
  ///   - dQueries: (R, H·D).
  ///   - dKeys: (R, G·D).
  ///   - dValues: (R, G·D).
  /// - SeeAlso: arXiv:2205.14135, appendix B.2
  package func backward(
    queries: MatrixView, keys: MatrixView, values: MatrixView, y: MatrixView, logSums: UnsafePointer<Float>,
    dY: MatrixView, dQueries: MutableMatrixView, dKeys: MutableMatrixView, dValues: MutableMatrixView,
    pool: WorkerPool
  ) {
    check(queries, keys, values, y)
    check(dQueries.readOnly, dKeys.readOnly, dValues.readOnly, dY)
    let groups = shape.keyValueHeadCount
    // Keys and values of a head gather from all its queries: one task has them all.
    let ordered = sequences.sorted { ($0.count, $1.lowerBound) > ($1.count, $0.lowerBound) }
    pool.run(ordered.count * groups) { task in
      let sequence = ordered[task / groups]
      let group = task % groups
      for head in group * shape.groupSize..<(group + 1) * shape.groupSize {
        var start = sequence.lowerBound
        while start < sequence.upperBound {
          let end = min(start + CausalAttention.blockRows, sequence.upperBound)
          attendBackward(
            Block(sequence: sequence, rows: start..<end, window: scoring.window), head: head,
            queries: queries,
            keys: keys, values: values, y: y, logSums: logSums, dY: dY, dQueries: dQueries, dKeys: dKeys,
            dValues: dValues)
          start = end
        }
      }
    }
  }

  /// Some rows of queries of a sequence, and the rows of keys that any of them sees.
  private struct Block {
    let sequence: Range<Int>
    let rows: Range<Int>
    let columns: Range<Int>

    init(sequence: Range<Int>, rows: Range<Int>, window: Int?) {
      self.sequence = sequence
      self.rows = rows
      let first = window.map { max(sequence.lowerBound, rows.lowerBound - ($0 - 1)) } ?? sequence.lowerBound
      columns = first..<rows.upperBound
    }

    var work: Int { rows.count * columns.count }

    /// Positions of the sequence up to the block's end.
    var reach: Int { rows.upperBound - sequence.lowerBound }

    /// The position within the sequence of the block's first column.
    var offset: Int { columns.lowerBound - sequence.lowerBound }

    /// The columns that a row sees, from the block's first column on.
    @inline(__always)
    func visible(_ row: Int, window: Int?) -> Range<Int> {
      let end = row + 1 - columns.lowerBound
      return (window.map { max(0, end - $0) } ?? 0)..<end
    }
  }

  private func attend(
    _ block: Block, head: Int, queries: MatrixView, keys: MatrixView, values: MatrixView,
    into y: MutableMatrixView, logSums: UnsafeMutablePointer<Float>
  ) {
    let dimension = shape.headDimension
    let columns = block.columns.count
    let group = head / shape.groupSize * dimension
    withUnsafeTemporaryAllocation(of: Float.self, capacity: block.rows.count * columns + block.reach) {
      scratch in
      let scores = scratch.baseAddress!
      let mask = scores + block.rows.count * columns
      ProductPrecision.f32.multiply(
        transposeB: true, m: block.rows.count, n: columns, k: dimension,
        a: queries.row(block.rows.lowerBound) + head * dimension, strideA: queries.rowStride,
        b: keys.row(block.columns.lowerBound) + group, strideB: keys.rowStride, accumulate: false, c: scores,
        strideC: columns)
      for (index, row) in block.rows.enumerated() {
        let weights = scores + index * columns
        let visible = block.visible(row, window: scoring.window)
        let seen = weights + visible.lowerBound
        mapRow(seen, into: seen, count: visible.count) { $0 * scoring.scale }
        score(
          seen, count: visible.count,
          first: block.offset + visible.lowerBound, head: head, scoring)
        let normalizer = LogNormalizer(seen, count: visible.count)
        let logSum = Float(Double(normalizer.maximum) + normalizer.logarithmOfSum)
        logSums[row * shape.queryHeadCount + head] = logSum
        exponentialsOfRow(seen, minus: logSum, into: seen, count: visible.count)
        dropRow(seen, mask, row, head, block, visible)
        weights.update(repeating: 0, count: visible.lowerBound)
        (weights + visible.upperBound).update(repeating: 0, count: columns - visible.upperBound)
      }
      ProductPrecision.f32.multiply(
        m: block.rows.count, n: dimension, k: columns, a: scores, strideA: columns,
        b: values.row(block.columns.lowerBound) + group, strideB: values.rowStride, accumulate: false,
        c: y.row(block.rows.lowerBound) + head * dimension, strideC: y.rowStride)
    }
  }

  private func attendBackward(
    _ block: Block, head: Int, queries: MatrixView, keys: MatrixView, values: MatrixView, y: MatrixView,
    logSums: UnsafePointer<Float>, dY: MatrixView, dQueries: MutableMatrixView, dKeys: MutableMatrixView,
    dValues: MutableMatrixView
  ) {
    let dimension = shape.headDimension
    let columns = block.columns.count
    let count = block.rows.count
    let own = head * dimension
    let group = head / shape.groupSize * dimension
    let firstRow = block.rows.lowerBound
    let firstColumn = block.columns.lowerBound
    withUnsafeTemporaryAllocation(of: Float.self, capacity: (2 * count + 1) * columns + block.reach) {
      scratch in
      let weights = scratch.baseAddress!
      let gradients = weights + count * columns
      let slopes = gradients + count * columns
      let mask = slopes + columns
      ProductPrecision.f32.multiply(
        transposeB: true, m: count, n: columns, k: dimension,
        a: queries.row(firstRow) + own, strideA: queries.rowStride, b: keys.row(firstColumn) + group,
        strideB: keys.rowStride, accumulate: false, c: weights, strideC: columns)
      ProductPrecision.f32.multiply(
        transposeB: true, m: count, n: columns, k: dimension, a: dY.row(firstRow) + own,
        strideA: dY.rowStride,
        b: values.row(firstColumn) + group, strideB: values.rowStride, accumulate: false, c: gradients,
        strideC: columns)
      for (index, row) in block.rows.enumerated() {
        let p = weights + index * columns
        let dP = gradients + index * columns
        let visible = block.visible(row, window: scoring.window)
        let seen = p + visible.lowerBound
        let dSeen = dP + visible.lowerBound
        mapRow(seen, into: seen, count: visible.count) { $0 * scoring.scale }
        score(
          seen, count: visible.count, first: block.offset + visible.lowerBound,
          head: head, scoring)
        if let cap = scoring.softCap {
          capSlopes(
            seen, cap: cap, head: head, first: block.offset + visible.lowerBound,
            into: slopes, count: visible.count)
        }
        exponentialsOfRow(
          seen, minus: logSums[row * shape.queryHeadCount + head], into: seen, count: visible.count)
        let overlap = dotProduct(dY.row(row) + own, y.row(row) + own, count: dimension)
        let kept = mask + block.offset + visible.lowerBound
        if let dropout {
          dropout.multipliers(
            row: row * shape.queryHeadCount + head, width: block.sequence.count, into: mask,
            count: row + 1 - block.sequence.lowerBound)
          multiplyRows(dSeen, kept, into: dSeen, count: visible.count)
        }
        scoreGradients(seen, dSeen, overlap: overlap, scale: scoring.scale, count: visible.count)
        if scoring.softCap != nil { multiplyRows(dSeen, slopes, into: dSeen, count: visible.count) }
        if dropout != nil { multiplyRows(seen, kept, into: seen, count: visible.count) }
        for matrix in [p, dP] {
          matrix.update(repeating: 0, count: visible.lowerBound)
          (matrix + visible.upperBound).update(repeating: 0, count: columns - visible.upperBound)
        }
      }
      ProductPrecision.f32.multiply(
        transposeA: true, m: columns, n: dimension, k: count, a: weights, strideA: columns,
        b: dY.row(firstRow) + own, strideB: dY.rowStride, accumulate: true,
        c: dValues.row(firstColumn) + group,
        strideC: dValues.rowStride)
      ProductPrecision.f32.multiply(
        m: count, n: dimension, k: columns, a: gradients, strideA: columns, b: keys.row(firstColumn) + group,
        strideB: keys.rowStride, accumulate: true, c: dQueries.row(firstRow) + own,
        strideC: dQueries.rowStride)
      ProductPrecision.f32.multiply(
        transposeA: true, m: columns, n: dimension, k: count, a: gradients, strideA: columns,
        b: queries.row(firstRow) + own, strideB: queries.rowStride, accumulate: true,
        c: dKeys.row(firstColumn) + group,
        strideC: dKeys.rowStride)
    }
  }

  /// Drops weights of one row, where any are dropped.
  @inline(__always)
  private func dropRow(
    _ seen: UnsafeMutablePointer<Float>, _ mask: UnsafeMutablePointer<Float>, _ row: Int, _ head: Int,
    _ block: Block, _ visible: Range<Int>
  ) {
    guard let dropout else { return }
    dropout.multipliers(
      row: row * shape.queryHeadCount + head, width: block.sequence.count, into: mask,
      count: row + 1 - block.sequence.lowerBound)
    multiplyRows(seen, mask + block.offset + visible.lowerBound, into: seen, count: visible.count)
  }

  /// 1 − (t/c)² of capped scores t, from which the bias is taken away again.
  private func capSlopes(
    _ scores: UnsafePointer<Float>, cap: Float, head: Int, first: Int,
    into slopes: UnsafeMutablePointer<Float>, count: Int
  ) {
    for index in 0..<count {
      let t = (scores[index] - (scoring.bias?.value(head: head, position: first + index) ?? 0)) / cap
      slopes[index] = 1 - t * t
    }
  }

  private func check(_ queries: MatrixView, _ keys: MatrixView, _ values: MatrixView, _ y: MatrixView) {
    precondition(
      queries.columns == shape.queryWidth && y.columns == shape.queryWidth
        && keys.columns == shape.keyValueWidth && values.columns == shape.keyValueWidth
        && keys.rows == queries.rows && values.rows == queries.rows && y.rows == queries.rows,
      "(\(queries.rows), \(queries.columns)) queries, (\(keys.rows), \(keys.columns)) keys, "
        + "(\(values.rows), \(values.columns)) values, (\(y.rows), \(y.columns)) results")
    for sequence in sequences {
      precondition(
        sequence.lowerBound >= 0 && sequence.upperBound <= queries.rows,
        "a sequence of rows \(sequence) of \(queries.rows)")
    }
  }
}

/// Σ a·b.
@inline(__always)
private func dotProduct(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, count: Int) -> Float {
  var sum = FloatVector.zero
  let whole = count & ~15
  var index = 0
  while index < whole {
    sum = multiplyAdd(FloatVector(at: a + index), FloatVector(at: b + index), sum)
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    sum = multiplyAdd(
      FloatVector(at: a + whole, count: count - whole), FloatVector(at: b + whole, count: count - whole), sum)
  }
  return Float(sum.sumOfLanes)
}

/// dP ← s·P∘(dP − D).
@inline(__always)
private func scoreGradients(
  _ p: UnsafePointer<Float>, _ dP: UnsafeMutablePointer<Float>, overlap: Float, scale: Float, count: Int
) {
  @inline(__always)
  func gradient(_ p: FloatVector, _ dP: FloatVector) -> FloatVector { p * (dP - overlap) * scale }
  mapRows(p, dP, into: dP, count: count, gradient)
}

extension CausalAttention {
  /// The naive twin of `forward` and `backward`: every product by scalar loops in `Double`.
  ///
  /// - Parameter dY: the result's gradient, or nothing when only the result is wanted.
  func reference(
    queries: MatrixView, keys: MatrixView, values: MatrixView, into y: MutableMatrixView,
    dY: MatrixView? = nil,
    dQueries: MutableMatrixView? = nil, dKeys: MutableMatrixView? = nil, dValues: MutableMatrixView? = nil
  ) {
    let dimension = shape.headDimension
    let scale = Double(scoring.scale)
    func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>) -> Double {
      (0..<dimension).reduce(0) { $0 + Double(a[$1]) * Double(b[$1]) }
    }
    for sequence in sequences {
      for row in sequence {
        for head in 0..<shape.queryHeadCount {
          let own = head * dimension
          let group = head / shape.groupSize * dimension
          let columns = max(sequence.lowerBound, scoring.window.map { row + 1 - $0 } ?? 0)...row
          var slopes: [Double] = []
          let scores = columns.map { column in
            var score = scale * dot(queries.row(row) + own, keys.row(column) + group)
            var slope = 1.0
            if let cap = scoring.softCap.map(Double.init) {
              let bent = tanh(score / cap)
              score = cap * bent
              slope = 1 - bent * bent
            }
            slopes.append(slope)
            return score
              + Double(scoring.bias?.value(head: head, position: column - sequence.lowerBound) ?? 0)
          }
          let maximum = scores.max()!
          let exponentials = scores.map { exp($0 - maximum) }
          let total = exponentials.reduce(0, +)
          let weights = exponentials.map { $0 / total }
          var kept = [Float](repeating: 1, count: sequence.count)
          if let dropout {
            dropout.multipliers(
              row: row * shape.queryHeadCount + head, width: sequence.count, into: &kept,
              count: sequence.count)
          }
          let masks = columns.map { Double(kept[$0 - sequence.lowerBound]) }
          for channel in 0..<dimension {
            var sum = 0.0
            for (index, column) in columns.enumerated() {
              sum += weights[index] * masks[index] * Double(values.row(column)[group + channel])
            }
            y.row(row)[own + channel] = Float(sum)
          }
          guard let dY, let dQueries, let dKeys, let dValues else { continue }
          let dWeights = columns.enumerated().map { index, column in
            masks[index] * dot(dY.row(row) + own, values.row(column) + group)
          }
          let overlap = zip(weights, dWeights).reduce(0) { $0 + $1.0 * $1.1 }
          for (index, column) in columns.enumerated() {
            let dScore = scale * slopes[index] * weights[index] * (dWeights[index] - overlap)
            for channel in 0..<dimension {
              dValues.row(column)[group + channel] += Float(
                weights[index] * masks[index] * Double(dY.row(row)[own + channel]))
              dQueries.row(row)[own + channel] += Float(dScore * Double(keys.row(column)[group + channel]))
              dKeys.row(column)[group + channel] += Float(dScore * Double(queries.row(row)[own + channel]))
            }
          }
        }
      }
    }
  }
}
