import Kernels
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct AttentionTests {
  /// Random plans over a random cache, both engines against softmax(score(q, K))·V in Double.
  @Test(arguments: 0..<80)
  func equalsADoubleReference(seed: Int) {
    var random = RandomFloats(seed: seed)
    let groups = random.integer(1..<4)
    let heads = random.integer(1..<4)
    let dimension = [1, 3, 8, 16, 17, 64][random.integer(0..<6)]
    let shape = AttentionShape(
      queryHeadCount: heads * groups, keyValueHeadCount: heads, headDimension: dimension)
    let capacity = random.integer(4..<200)
    let slots = random.integer(1..<5)
    let headStride = capacity * dimension
    let slotStride = headStride * heads
    var keys = random.floats(slots * slotStride)
    var values = random.floats(slots * slotStride)
    var scoring = AttentionScoring(scale: 2 * abs(random.float()) + 0.1)
    if random.integer(0..<3) == 0 { scoring.softCap = 5 + 20 * abs(random.float()) }
    if random.integer(0..<3) == 0 { scoring.window = random.integer(1..<40) }
    if random.integer(0..<3) == 0 {
      scoring.bias = LinearPositionBias(
        slopes: LinearPositionBias.slopes(headCount: heads * groups), factor: 0.5 + abs(random.float()),
        isRoundedToBFloat16: random.integer(0..<2) == 0)
    }

    // Either a prompt's chunk or rows of beams.
    let isCausal = seed.isMultiple(of: 2)
    let rows: Int
    let plan: AttentionPlan
    if isCausal {
      let length = random.integer(1..<capacity + 1)
      rows = random.integer(1..<length + 1)
      let split = random.integer(0..<length + 1)
      let slot = random.integer(0..<slots)
      plan = AttentionPlan(
        sharedRuns: [
          KeyValueRun(slot: slot, start: 0, count: split),
          KeyValueRun(slot: slots - 1 - slot, start: split, count: length - split),
        ].filter { $0.count > 0 }, isCausal: true)
    } else {
      rows = random.integer(1..<7)
      let trunk = random.integer(0..<capacity)
      var own: [KeyValueRun] = []
      var starts = [0]
      for _ in 0..<rows {
        let end = random.integer(trunk..<capacity) + 1
        let middle = random.integer(trunk..<end)
        own += [
          KeyValueRun(slot: random.integer(0..<slots), start: trunk, count: middle - trunk),
          KeyValueRun(slot: random.integer(0..<slots), start: middle, count: end - middle),
        ].filter { $0.count > 0 }
        starts.append(own.count)
      }
      plan = AttentionPlan(
        sharedRuns: trunk > 0 ? [KeyValueRun(slot: 0, start: 0, count: trunk)] : [], ownRuns: own,
        ownRunStarts: starts)
    }
    let queries = random.floats(rows * (shape.queryWidth + 5))

    var results: [[Float]] = []
    for engine in [NaiveEngine(), BLASEngine(threadCount: 1), BLASEngine(threadCount: 2)]
      as [any ComputeEngine]
    {
      var output = [Float](repeating: 7, count: rows * (shape.queryWidth + 2))
      keys.withUnsafeMutableBufferPointer { keys in
        values.withUnsafeMutableBufferPointer { values in
          queries.withUnsafeBufferPointer { queries in
            output.withUnsafeMutableBufferPointer { output in
              engine.attention(
                queries: MatrixView(
                  queries.baseAddress!, rows: rows, columns: shape.queryWidth, rowStride: shape.queryWidth + 5
                ),
                layer: KeyValueLayer(
                  keys: keys.baseAddress!, values: values.baseAddress!, slotStride: slotStride,
                  headStride: headStride),
                plan: plan, shape: shape, scoring: scoring,
                into: MutableMatrixView(
                  output.baseAddress!, rows: rows, columns: shape.queryWidth, rowStride: shape.queryWidth + 2)
              )
            }
          }
        }
      }
      results.append(output)
    }
    #expect(results[1] == results[2], "threads change the result, seed \(seed)")

    for row in 0..<rows {
      var runs = plan.sharedRuns
      if isCausal {
        // What later rows see and this one does not.
        var hidden = rows - 1 - row
        while hidden > 0 {
          let last = runs.count - 1
          let cut = min(hidden, runs[last].count)
          runs[last].count -= cut
          hidden -= cut
          if runs[last].count == 0 { runs.removeLast() }
        }
      } else {
        runs += plan.ownRuns(of: row)
      }
      for head in 0..<shape.queryHeadCount {
        let query = row * (shape.queryWidth + 5) + head * dimension
        let all = runs.flatMap { run in
          (run.start..<run.start + run.count).map {
            run.slot * slotStride + head / groups * headStride + $0 * dimension
          }
        }
        let first = scoring.window.map { max(0, all.count - $0) } ?? 0
        let offsets = all[first...]
        let scores = zip(first..., offsets).map { position, offset in
          var score =
            (0..<dimension).reduce(0.0) { $0 + Double(queries[query + $1]) * Double(keys[offset + $1]) }
            * Double(scoring.scale)
          if let cap = scoring.softCap { score = Double(cap) * tanh(score / Double(cap)) }
          guard let bias = scoring.bias else { return score }
          let (slope, at) = (bias.slopes[head], Float(position))
          return score + Double(bias.factor)
            * Double(bias.isRoundedToBFloat16 ? rounded(rounded(slope) * rounded(at)) : slope * at)
        }
        let maximum = scores.max()!
        let weights = scores.map { exp($0 - maximum) }
        let total = weights.reduce(0, +)
        for channel in 0..<dimension {
          let expected = zip(weights, offsets).reduce(0.0) {
            $0 + $1.0 / total * Double(values[$1.1 + channel])
          }
          for (engine, result) in zip(["naive", "blas"], results) {
            // Scores reach scale·dimension ≈ 130: their rounding, 130·2⁻²⁴, is a relative error of the weights.
            #expect(
              abs(Double(result[row * (shape.queryWidth + 2) + head * dimension + channel]) - expected)
                < 2e-5,
              "\(engine), seed \(seed), row \(row), head \(head), channel \(channel)")
          }
        }
      }
      for result in results {
        #expect(result[row * (shape.queryWidth + 2) + shape.queryWidth] == 7, "wrote beside its columns")
      }
    }
  }
}

/// The nearest number of eight significant bits, ties to even.
private func rounded(_ x: Float) -> Float {
  guard x != 0 else { return 0 }
  let unit = x.ulp * Float(1 << 16)
  return (x / unit).rounded(.toNearestOrEven) * unit
}

@Suite struct LinearPositionBiasTests {
  /// Slopes of `build_alibi_tensor` in transformers, for counts that are and are not powers of two.
  @Test func slopesEqualThoseOfTheReference() {
    #expect(LinearPositionBias.slopes(headCount: 1) == [0.00390625])
    #expect(LinearPositionBias.slopes(headCount: 2) == [0.0625, 0.00390625])
    #expect(
      LinearPositionBias.slopes(headCount: 8) == [
        0.5, 0.25, 0.125, 0.0625, 0.03125, 0.015625, 0.0078125, 0.00390625,
      ])
    #expect(LinearPositionBias.slopes(headCount: 3) == [0.0625, 0.00390625, 0.25])
    let six = LinearPositionBias.slopes(headCount: 6)
    #expect(six == [0.25, 0.0625, 0.015625, 0.00390625, 0.5, 0.125])
  }
}
