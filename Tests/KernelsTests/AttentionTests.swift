import Testing

@testable import Kernels

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
    let types = KeyValueType.allCases
    let (keyType, valueType) = (types[random.integer(0..<3)], types[random.integer(0..<3)])
    var scoring = AttentionScoring(scale: 2 * abs(random.float()) + 0.1)
    if random.integer(0..<3) == 0 { scoring.softCap = 5 + 20 * abs(random.float()) }
    if random.integer(0..<3) == 0 { scoring.window = random.integer(1..<40) }
    // Where a window is all that is seen, places may be used again.
    let reuses = scoring.window != nil && random.integer(0..<2) == 0
    let period = reuses ? min(capacity, scoring.window! + 7) : capacity
    if random.integer(0..<3) == 0 {
      scoring.bias = LinearPositionBias(
        slopes: LinearPositionBias.slopes(headCount: heads * groups), factor: 0.5 + abs(random.float()),
        isRoundedToBFloat16: random.integer(0..<2) == 0)
    }

    let places = slots * heads * period
    let keys = CacheMemory(type: keyType, count: places, dimension: dimension, &random)
    let values = CacheMemory(type: valueType, count: places, dimension: dimension, &random)
    let layer = KeyValueLayer(
      keys: keys.bytes, values: values.bytes, keyType: keyType, valueType: valueType,
      slotStride: heads * period, headStride: period, period: reuses ? period : .max)

    // Either a prompt's chunk or rows of beams.
    let isCausal = seed.isMultiple(of: 2)
    let rows: Int
    let plan: AttentionPlan
    if isCausal {
      let length = random.integer(1..<capacity + 1)
      rows = random.integer(1..<min(length, reuses ? 8 : length) + 1)
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
      queries.withUnsafeBufferPointer { queries in
        output.withUnsafeMutableBufferPointer { output in
          engine.attention(
            queries: MatrixView(
              queries.baseAddress!, rows: rows, columns: shape.queryWidth, rowStride: shape.queryWidth + 5),
            layer: layer, plan: plan, shape: shape, scoring: scoring,
            into: MutableMatrixView(
              output.baseAddress!, rows: rows, columns: shape.queryWidth, rowStride: shape.queryWidth + 2))
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
            ((run.slot * heads + head / groups) * period + $0 % period) * dimension
          }
        }
        let first = scoring.window.map { max(0, all.count - $0) } ?? 0
        let offsets = all[first...]
        let scores = zip(first..., offsets).map { position, offset in
          var score =
            (0..<dimension).reduce(0.0) {
              $0 + Double(queries[query + $1]) * Double(keys.floats[offset + $1])
            }
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
            $0 + $1.0 / total * Double(values.floats[$1.1 + channel])
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

extension AttentionTests {
  /// A row's result has the same bits whichever rows are computed with it: drafted tokens get the scores that they get alone.
  @Test(arguments: 0..<40)
  func rowsAreComputedAlike(seed: Int) {
    var random = RandomFloats(seed: 1000 + seed)
    let (groups, heads) = (random.integer(1..<4), random.integer(1..<3))
    let dimension = [5, 16, 64, 80][random.integer(0..<4)]
    let shape = AttentionShape(
      queryHeadCount: heads * groups, keyValueHeadCount: heads, headDimension: dimension)
    // Around the ends of tiles and parts, and elsewhere.
    let length = [9, 126 + random.integer(0..<8), 1021 + random.integer(0..<8), 2500][random.integer(0..<4)]
    let rows = random.integer(2..<9)
    var scoring = AttentionScoring(scale: 0.3)
    if random.integer(0..<3) == 0 { scoring.window = random.integer(1..<1500) }
    let type = KeyValueType.allCases[random.integer(0..<3)]
    let keys = CacheMemory(type: type, count: heads * length, dimension: dimension, &random)
    let values = CacheMemory(type: type, count: heads * length, dimension: dimension, &random)
    let layer = KeyValueLayer(
      keys: keys.bytes, values: values.bytes, keyType: type, valueType: type, slotStride: heads * length,
      headStride: length)
    let queries = random.floats(rows * shape.queryWidth)
    let engine = BLASEngine(threadCount: 2)
    func attend(_ range: Range<Int>, split: Int = 0) -> [Float] {
      let end = length - (rows - range.upperBound)
      var output = [Float](repeating: 0, count: range.count * shape.queryWidth)
      let runs = [
        KeyValueRun(slot: 0, start: 0, count: split), KeyValueRun(slot: 0, start: split, count: end - split),
      ].filter { $0.count > 0 }
      queries.withUnsafeBufferPointer { queries in
        output.withUnsafeMutableBufferPointer { output in
          engine.attention(
            queries: MatrixView(
              queries.baseAddress! + range.lowerBound * shape.queryWidth, rows: range.count,
              columns: shape.queryWidth),
            layer: layer, plan: AttentionPlan(sharedRuns: runs, isCausal: true), shape: shape,
            scoring: scoring,
            into: MutableMatrixView(output.baseAddress!, rows: range.count, columns: shape.queryWidth))
        }
      }
      return output
    }
    let together = attend(0..<rows)
    for row in 0..<rows {
      let alone = attend(row..<row + 1, split: random.integer(0..<length - rows))
      let expected = Array(together[row * shape.queryWidth..<(row + 1) * shape.queryWidth])
      #expect(alone == expected, "seed \(seed), row \(row) of \(rows), length \(length)")
    }
  }

  /// Several segments in one call are what each is by itself.
  @Test(arguments: 0..<20)
  func segmentsStandAlone(seed: Int) {
    var random = RandomFloats(seed: 2000 + seed)
    let shape = AttentionShape(queryHeadCount: 4, keyValueHeadCount: 2, headDimension: 16)
    let scoring = AttentionScoring(scale: 0.3)
    let lengths = (0..<random.integer(2..<6)).map { _ in random.integer(1..<1400) }
    let counts = lengths.map { [1, min($0, 3), min($0, 40)][random.integer(0..<3)] }
    let caches = lengths.map { length in
      (0..<2).map { _ in CacheMemory(type: .f32, count: 2 * length, dimension: 16, &random) }
    }
    let layers = zip(caches, lengths).map { caches, length in
      KeyValueLayer(
        keys: caches[0].bytes, values: caches[1].bytes, slotStride: 2 * length, headStride: length)
    }
    let total = counts.reduce(0, +)
    let queries = random.floats(total * shape.queryWidth)
    var together = [Float](repeating: 0, count: queries.count)
    var apart = together
    let engine = BLASEngine(threadCount: 2)
    queries.withUnsafeBufferPointer { queries in
      layers.withUnsafeBufferPointer { layers in
        var segments: [AttentionSegment] = []
        var first = 0
        for index in 0..<lengths.count {
          segments.append(
            AttentionSegment(
              rows: first..<first + counts[index], layers: layers.baseAddress! + index, writes: [],
              plan: AttentionPlan(
                sharedRuns: [KeyValueRun(slot: 0, start: 0, count: lengths[index])], isCausal: true)))
          first += counts[index]
        }
        let view = MatrixView(queries.baseAddress!, rows: total, columns: shape.queryWidth)
        together.withUnsafeMutableBufferPointer {
          engine.attention(
            queries: view, segments: segments, layer: 0, shape: shape, scoring: scoring,
            into: MutableMatrixView($0.baseAddress!, rows: total, columns: shape.queryWidth))
        }
        apart.withUnsafeMutableBufferPointer {
          for segment in segments {
            engine.attention(
              queries: view, segments: [segment], layer: 0, shape: shape, scoring: scoring,
              into: MutableMatrixView($0.baseAddress!, rows: total, columns: shape.queryWidth))
          }
        }
      }
    }
    withExtendedLifetime(caches) {}
    #expect(together == apart, "seed \(seed)")
  }
}

/// Types of keys and values.
@Suite struct KeyValueTypeTests {
  @Test(arguments: KeyValueType.allCases, [1, 2, 15, 16, 17, 31, 32, 33, 64, 80, 128])
  func roundsWithinItsStep(type: KeyValueType, dimension: Int) {
    var random = RandomFloats(seed: dimension)
    let count = 5
    let source = random.floats(count * dimension)
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: count * type.byteCount(dimension: dimension), alignment: 64)
    defer { memory.deallocate() }
    for position in 0..<count {
      source.withUnsafeBufferPointer {
        type.encode(
          $0.baseAddress! + position * dimension, dimension: dimension,
          to: memory + position * type.byteCount(dimension: dimension))
      }
    }
    var decoded = [Float](repeating: 0, count: source.count)
    decoded.withUnsafeMutableBufferPointer {
      type.decode(memory, count: count, dimension: dimension, into: $0.baseAddress!)
    }
    for (index, value) in source.enumerated() {
      let (position, channel) = index.quotientAndRemainder(dividingBy: dimension)
      let row = memory + position * type.byteCount(dimension: dimension)
      #expect(decoded[index] == type.element(row, channel: channel, dimension: dimension))
      let block = channel / 32 * 32..<min(channel / 32 * 32 + 32, dimension)
      let largest = block.map { abs(source[position * dimension + $0]) }.max()!
      let error = abs(decoded[index] - value)
      switch type {
      case .f32: #expect(error == 0)
      case .f16: #expect(error <= max(abs(value) * 0x1p-11, 0x1p-25))
      // Half a step, and what rounding the scale to a half costs the largest.
      case .q8_0: #expect(error <= largest / 127 * 0.5 * 1.001 + max(largest * 0x1p-11, 127 * 0x1p-25))
      }
    }
  }

  @Test func numbersThatAreNoneStayNone() {
    for type in KeyValueType.allCases {
      let memory = UnsafeMutableRawPointer.allocate(byteCount: 4096, alignment: 64)
      defer { memory.deallocate() }
      var row = [Float](repeating: 1, count: 40)
      row[3] = .nan
      type.encode(row, dimension: 40, to: memory)
      #expect(type.element(memory, channel: 3, dimension: 40).isNaN, "\(type)")
      #expect(abs(type.element(memory, channel: 39, dimension: 40) - 1) < 0.01, "\(type)")
      type.encode([Float](repeating: 0, count: 40), dimension: 40, to: memory)
      #expect((0..<40).allSatisfy { type.element(memory, channel: $0, dimension: 40) == 0 })
    }
  }
}

@Suite struct AccumulateValuesTests {
  @Test(arguments: [1, 2, 4, 5, 9], [1, 15, 16, 17, 64, 80, 130])
  func equalsItsTwin(rows: Int, dimension: Int) {
    var random = RandomFloats(seed: rows * 1000 + dimension)
    for count in [0, 1, 3, 64, 65] {
      let stride = count + 3
      let weights = random.floats(rows * stride)
      let values = random.floats(max(1, count * dimension))
      var fast = random.floats(rows * dimension)
      var naive = fast
      fast.withUnsafeMutableBufferPointer {
        accumulateValues(
          weights, stride: stride, rows: rows, values: values, count: count, dimension: dimension,
          into: $0.baseAddress!)
      }
      naive.withUnsafeMutableBufferPointer {
        accumulateValuesReference(
          weights, stride: stride, rows: rows, values: values, count: count, dimension: dimension,
          into: $0.baseAddress!)
      }
      for (a, b) in zip(fast, naive) { #expect(abs(a - b) < 2e-5, "\(rows) × \(count) × \(dimension)") }
    }
  }
}

/// Places of a cache, with the floats that can be read back from them.
private final class CacheMemory {
  let bytes: UnsafeMutableRawPointer
  let floats: [Float]

  init(type: KeyValueType, count: Int, dimension: Int, _ random: inout RandomFloats) {
    let size = type.byteCount(dimension: dimension)
    bytes = .allocate(byteCount: max(1, count * size), alignment: 64)
    var row: [Float]
    var floats: [Float] = []
    for place in 0..<count {
      row = random.floats(dimension)
      type.encode(row, dimension: dimension, to: bytes + place * size)
      for channel in 0..<dimension {
        floats.append(type.element(bytes + place * size, channel: channel, dimension: dimension))
      }
    }
    self.floats = floats
  }

  deinit { bytes.deallocate() }
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
