#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// How the attention of one segment is cut into tasks: by its shape alone.
///
/// A task is a key/value head, a block of rows and a part of the positions. A few rows are taken together, and share their
/// positions out where there are many of them; a prompt's rows come in blocks, each of which passes over all it sees.
struct AttentionCut {
  /// Rows up to which the kernels for a few rows take over from a GEMM.
  static let fewRows = 16
  /// Positions of a part.
  ///
  /// A multiple of both tiles, and parts begin at multiples of it: how a row is cut then depends on
  /// nothing but its position, and its result has the same bits whatever rows stand beside it.
  private static let span = 1024

  /// Whether the kernels for a few rows compute it.
  let isFew: Bool
  /// Rows of a block.
  let blockRows: Int
  /// Blocks.
  let blocks: Int
  /// The positions that some row attends to.
  let columns: Range<Int>
  /// Parts of the positions.
  let parts: Int
  /// Key/value heads.
  let heads: Int

  init(_ segment: AttentionSegment, shape: AttentionShape, window: Int?) {
    let rows = segment.rows.count
    isFew = rows <= AttentionCut.fewRows
    blockRows = isFew ? max(rows, 1) : max(8, min(64, 256 / shape.groupSize))
    blocks = (rows + blockRows - 1) / blockRows
    columns = segment.plan.columns(0..<rows, of: rows, window: window)
    parts =
      isFew && rows > 0
      ? max(
        1,
        (columns.upperBound + AttentionCut.span - 1) / AttentionCut.span
          - columns.lowerBound / AttentionCut.span) : 1
    heads = shape.keyValueHeadCount
  }

  /// Tasks.
  var count: Int { heads * blocks * parts }

  /// Floats that the partial results of all tasks take.
  func partialSize(_ shape: AttentionShape) -> Int {
    parts > 1 ? count * blockRows * shape.groupSize * (shape.headDimension + 2) : 0
  }

  /// What one task computes.
  func task(_ index: Int, rows: Int) -> (head: Int, rows: Range<Int>, columns: Range<Int>) {
    let (rest, head) = index.quotientAndRemainder(dividingBy: heads)
    let (block, part) = rest.quotientAndRemainder(dividingBy: parts)
    // The last block of a prompt sees the most positions: it goes first, so that no thread ends late.
    let first = (blocks - 1 - block) * blockRows
    let start = (columns.lowerBound / AttentionCut.span + part) * AttentionCut.span
    return (
      head, first..<min(first + blockRows, rows),
      parts == 1 ? columns : columns.clamped(to: start..<start + AttentionCut.span)
    )
  }
}

extension AttentionPlan {
  /// The positions that some of the rows attend to.
  func columns(_ rows: Range<Int>, of count: Int, window: Int?) -> Range<Int> {
    guard !rows.isEmpty else { return 0..<0 }
    if isCausal {
      // Each row sees one position more than the row before.
      let first = window.map { max(0, visibleCount(of: rows.lowerBound, rows: count) - $0) } ?? 0
      return first..<visibleCount(of: rows.upperBound - 1, rows: count)
    }
    var (first, last) = (Int.max, 0)
    for row in rows {
      let end = visibleCount(of: row, rows: count)
      last = max(last, end)
      first = min(first, window.map { max(0, end - $0) } ?? 0)
    }
    return min(first, last)..<last
  }
}

/// Attention of some rows of queries over some positions of one key/value head.
///
/// The rows' queries of the head's group are gathered into one contiguous operand (rows·group, D), so that grouped heads and
/// beams read the keys and values that they share once. Positions come in tiles; the softmax is renormalised as each tile brings
/// a larger score, so that memory does not grow with the number of positions.
///
/// - Parameters:
///   - queries: (R, H·D), all rows of the pass.
///   - rows: of the segment.
///   - columns: positions to attend to.
///   - y: (R, H·D), where the result goes unless there is `partial`.
///   - partial: per stacked row D sums, the largest score and the sum of weights, to be merged with those of other positions.
/// - SeeAlso: arXiv:1805.02867 (the running softmax); arXiv:2205.14135
func attendBlock(
  queries: MatrixView, segment: AttentionSegment, layer: KeyValueLayer, shape: AttentionShape,
  scoring: AttentionScoring, into y: MutableMatrixView, head: Int, rows: Range<Int>, columns: Range<Int>,
  isFew: Bool, partial: UnsafeMutablePointer<Float>?, scratch: ScratchMemory
) {
  let plan = segment.plan
  let group = shape.groupSize
  let dimension = shape.headDimension
  let stacked = rows.count * group
  let rowCount = segment.rows.count
  let visible = plan.columns(rows, of: rowCount, window: scoring.window).clamped(to: columns)
  let tile = isFew ? 128 : 512
  let converts = layer.keyType != .f32 || layer.valueType != .f32
  let shared = plan.sharedCount

  let floatCount = stacked * (2 * dimension + tile + 1) + (converts ? tile * dimension : 0)
  scratch.withMemory(floatCount * 4 + stacked * 8 + 64) { memory in
    // What is aligned to eight bytes first.
    let sums = memory.bindMemory(to: Double.self, capacity: stacked)
    let query = (memory + stacked * 8).bindMemory(to: Float.self, capacity: floatCount)
    let output = query + stacked * dimension
    let maxima = output + stacked * dimension
    let scores = maxima + stacked
    let converted = scores + stacked * tile

    for row in rows {
      let source = queries.row(segment.rows.lowerBound + row) + head * group * dimension
      scaleRow(
        source, by: scoring.scale, into: query + (row - rows.lowerBound) * group * dimension,
        count: group * dimension)
    }
    output.update(repeating: 0, count: stacked * dimension)
    maxima.update(repeating: -.infinity, count: stacked)
    sums.update(repeating: 0, count: stacked)

    /// The keys or values of a piece as floats.
    @inline(__always)
    func floats(
      _ base: UnsafeMutableRawPointer, _ type: KeyValueType, _ piece: KeyValuePiece
    ) -> UnsafePointer<Float> {
      let source = base + piece.place * type.byteCount(dimension: dimension)
      guard type != .f32 else { return UnsafePointer(source.assumingMemoryBound(to: Float.self)) }
      type.decode(source, count: piece.count, dimension: dimension, into: converted)
      return UnsafePointer(converted)
    }

    var next = visible.lowerBound
    while next < visible.upperBound {
      // Tiles begin at multiples of their size.
      let lower = next
      let upper = min((lower / tile + 1) * tile, visible.upperBound)
      next = upper
      let common = lower..<max(lower, min(upper, shared))
      let own = max(lower, shared) - shared..<max(upper, shared) - shared

      // Scores: s·q·Kᵀ, piece by piece.
      forEachPiece(plan.sharedRuns, in: common, of: layer, head: head) { piece in
        let keys = floats(layer.keys, layer.keyType, piece)
        let target = scores + piece.column
        if isFew {
          multiplyFewRowsOutputMajor(
            MatrixView(query, rows: stacked, columns: dimension), weights: keys, outputs: 0..<piece.count,
            into: MutableMatrixView(target, rows: stacked, columns: piece.count, rowStride: tile),
            accumulate: false)
        } else {
          ProductPrecision.f32.multiply(
            transposeB: true, m: stacked, n: piece.count, k: dimension, a: query, strideA: dimension, b: keys,
            strideB: dimension, accumulate: false, c: target, strideC: tile)
        }
      }
      for row in own.isEmpty ? 0..<0 : rows {
        let first = (row - rows.lowerBound) * group
        forEachPiece(plan.ownRuns(of: row), in: own, of: layer, head: head) { piece in
          multiplyFewRowsOutputMajor(
            MatrixView(query + first * dimension, rows: group, columns: dimension),
            weights: floats(layer.keys, layer.keyType, piece), outputs: 0..<piece.count,
            into: MutableMatrixView(
              scores + first * tile + common.count + piece.column, rows: group, columns: piece.count,
              rowStride: tile), accumulate: false)
        }
      }

      // Weights: e^(score − largest so far).
      for index in 0..<stacked {
        let end = plan.visibleCount(of: rows.lowerBound + index / group, rows: rowCount)
        let start = max(scoring.window.map { max(0, end - $0) } ?? 0, lower)
        let stop = min(end, upper)
        let weights = scores + index * tile
        guard start < stop else {
          weights.update(repeating: 0, count: upper - lower)
          continue
        }
        let seen = weights + (start - lower)
        score(seen, count: stop - start, first: start, head: head * group + index % group, scoring)
        let largest = max(maxima[index], maximumOfRow(seen, count: stop - start))
        if largest > maxima[index], sums[index] > 0 {
          let factor = expf(maxima[index] - largest)
          sums[index] *= Double(factor)
          let row = output + index * dimension
          scaleRow(row, by: factor, into: row, count: dimension)
        }
        maxima[index] = largest
        sums[index] += exponentialsOfRow(
          seen, minus: largest == -.infinity ? 0 : largest, into: seen, count: stop - start)
        // What a row may not see weighs nothing in the product over the whole tile.
        weights.update(repeating: 0, count: start - lower)
        (weights + (stop - lower)).update(repeating: 0, count: upper - stop)
      }

      // Output: the weights times the values, piece by piece.
      forEachPiece(plan.sharedRuns, in: common, of: layer, head: head) { piece in
        let values = floats(layer.values, layer.valueType, piece)
        if isFew {
          accumulateValues(
            scores + piece.column, stride: tile, rows: stacked, values: values, count: piece.count,
            dimension: dimension, into: output)
        } else {
          ProductPrecision.f32.multiply(
            m: stacked, n: dimension, k: piece.count, a: scores + piece.column, strideA: tile, b: values,
            strideB: dimension, accumulate: true, c: output, strideC: dimension)
        }
      }
      for row in own.isEmpty ? 0..<0 : rows {
        let first = (row - rows.lowerBound) * group
        forEachPiece(plan.ownRuns(of: row), in: own, of: layer, head: head) { piece in
          accumulateValues(
            scores + first * tile + common.count + piece.column, stride: tile, rows: group,
            values: floats(layer.values, layer.valueType, piece), count: piece.count, dimension: dimension,
            into: output + first * dimension)
        }
      }
    }

    if let partial {
      for index in 0..<stacked {
        let target = partial + index * (dimension + 2)
        target.update(from: output + index * dimension, count: dimension)
        target[dimension] = maxima[index]
        target[dimension + 1] = Float(sums[index])
      }
      return
    }
    for index in 0..<stacked {
      let row = segment.rows.lowerBound + rows.lowerBound + index / group
      let target = y.row(row) + (head * group + index % group) * dimension
      let sum = Float(sums[index])
      scaleRow(output + index * dimension, by: sum == 0 ? 0 : 1 / sum, into: target, count: dimension)
    }
  }
}

/// Puts together what the tasks of one segment found in their parts of the positions.
///
/// - Parameter partials: as `attendBlock` leaves them, task after task.
func mergePartials(
  _ partials: UnsafePointer<Float>, cut: AttentionCut, segment: AttentionSegment, shape: AttentionShape,
  into y: MutableMatrixView
) {
  let dimension = shape.headDimension
  let group = shape.groupSize
  let width = dimension + 2
  let size = cut.blockRows * group * width
  for head in 0..<cut.heads {
    for index in 0..<segment.rows.count * group {
      // Tasks of one head are `heads` apart, part after part.
      func part(_ number: Int) -> UnsafePointer<Float> {
        partials + (number * cut.heads + head) * size + index * width
      }
      let target = y.row(segment.rows.lowerBound + index / group) + (head * group + index % group) * dimension
      target.update(repeating: 0, count: dimension)
      var largest = -Float.infinity
      for number in 0..<cut.parts { largest = max(largest, part(number)[dimension]) }
      var sum: Float = 0
      for number in 0..<cut.parts where part(number)[dimension + 1] != 0 {
        let factor = largest == -.infinity ? 1 : expf(part(number)[dimension] - largest)
        sum += factor * part(number)[dimension + 1]
        addRow(part(number), scaledBy: factor, to: target, count: dimension)
      }
      scaleRow(target, by: sum == 0 ? 0 : 1 / sum, into: target, count: dimension)
    }
  }
}

/// Consecutive places of one head.
struct KeyValuePiece {
  /// The first.
  let place: Int
  /// How many.
  let count: Int
  /// Where they begin within the range that was asked for.
  let column: Int
}

/// Calls `body` with the pieces of some runs that lie in a range of positions, which are counted over all the runs.
@inline(__always)
func forEachPiece(
  _ runs: some Collection<KeyValueRun>, in range: Range<Int>, of layer: KeyValueLayer, head: Int,
  _ body: (KeyValuePiece) -> Void
) {
  guard !range.isEmpty else { return }
  var counted = 0
  for run in runs {
    let part = range.clamped(to: counted..<counted + run.count)
    var done = part.lowerBound
    while done < part.upperBound {
      let position = run.start + done - counted
      // A piece ends where the places of a layer that keeps the latest positions begin anew.
      let count = min(part.upperBound - done, layer.period - position % layer.period)
      body(
        KeyValuePiece(
          place: layer.place(slot: run.slot, head: head, position: position), count: count,
          column: done - range.lowerBound))
      done += count
    }
    counted += run.count
    if counted >= range.upperBound { break }
  }
}
