#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Attention of one segment as scalar loops: the naive twin of `attendBlock`, for all heads and rows.
func attentionReference(
  queries: MatrixView, segment: AttentionSegment, layer: KeyValueLayer, shape: AttentionShape,
  scoring: AttentionScoring, into y: MutableMatrixView
) {
  let dimension = shape.headDimension
  let plan = segment.plan
  let (keySize, valueSize) = (
    layer.keyType.byteCount(dimension: dimension), layer.valueType.byteCount(dimension: dimension)
  )
  for row in 0..<segment.rows.count {
    let hidden = plan.isCausal ? segment.rows.count - 1 - row : 0
    // Slot and position of what the row attends to.
    var seen: [(slot: Int, position: Int)] = []
    for run in plan.sharedRuns {
      for position in run.start..<run.start + run.count { seen.append((run.slot, position)) }
    }
    seen.removeLast(hidden)
    for run in plan.ownRuns(of: row) {
      for position in run.start..<run.start + run.count { seen.append((run.slot, position)) }
    }

    let first = scoring.window.map { max(0, seen.count - $0) } ?? 0
    seen.removeFirst(first)

    for head in 0..<shape.queryHeadCount {
      let query = queries.row(segment.rows.lowerBound + row) + head * dimension
      let output = y.row(segment.rows.lowerBound + row) + head * dimension
      let places = seen.map {
        layer.place(slot: $0.slot, head: head / shape.groupSize, position: $0.position)
      }
      var weights: [Float] = []
      var maximum = -Float.infinity
      for (index, place) in places.enumerated() {
        let key = layer.keys + place * keySize
        var score: Float = 0
        for channel in 0..<dimension {
          score += query[channel] * layer.keyType.element(key, channel: channel, dimension: dimension)
        }
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
      for (index, place) in places.enumerated() {
        let weight = weights[index] / sum
        let value = layer.values + place * valueSize
        for channel in 0..<dimension {
          output[channel] += weight * layer.valueType.element(value, channel: channel, dimension: dimension)
        }
      }
    }
  }
}
