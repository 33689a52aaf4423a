#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Attention as scalar loops: the naive twin of `attendBlock`, for all heads and rows.
func attentionReference(
  queries: MatrixView, layer: KeyValueLayer, plan: AttentionPlan, shape: AttentionShape,
  scoring: AttentionScoring, into y: MutableMatrixView
) {
  let dimension = shape.headDimension
  for row in 0..<queries.rows {
    let hidden = plan.isCausal ? queries.rows - 1 - row : 0
    // Offsets, within a head, of the positions that the row attends to.
    var offsets: [Int] = []
    for run in plan.sharedRuns {
      for position in run.start..<run.start + run.count {
        offsets.append(run.slot * layer.slotStride + position * dimension)
      }
    }
    offsets.removeLast(hidden)
    for run in plan.ownRuns(of: row) {
      for position in run.start..<run.start + run.count {
        offsets.append(run.slot * layer.slotStride + position * dimension)
      }
    }

    let first = scoring.window.map { max(0, offsets.count - $0) } ?? 0
    offsets.removeFirst(first)

    for head in 0..<shape.queryHeadCount {
      let query = queries.row(row) + head * dimension
      let output = y.row(row) + head * dimension
      let base = head / shape.groupSize * layer.headStride
      var weights: [Float] = []
      var maximum = -Float.infinity
      for (index, offset) in offsets.enumerated() {
        var score: Float = 0
        for channel in 0..<dimension { score += query[channel] * layer.keys[base + offset + channel] }
        score *= scoring.scale
        if let cap = scoring.softCap { score = cap * tanhf(score / cap) }
        if let bias = scoring.bias { score += bias.value(head: head, position: first + index) }
        weights.append(score)
        maximum = max(maximum, score)
      }
      var sum: Float = 0
      for index in weights.indices {
        weights[index] = expf(weights[index] - maximum)
        sum += weights[index]
      }
      for channel in 0..<dimension { output[channel] = 0 }
      for (index, offset) in offsets.enumerated() {
        let weight = weights[index] / sum
        for channel in 0..<dimension { output[channel] += weight * layer.values[base + offset + channel] }
      }
    }
  }
}
