import Testing

@testable import Kernels

@Suite struct CausalAttentionTests {
  private let pool = WorkerPool(threadCount: 3)

  private struct Result {
    let y, dQ, dK, dV: [Float]
  }

  private func scorings(_ heads: Int, _ dimension: Int) -> [(String, AttentionScoring)] {
    let scale = 1 / Float(dimension).squareRoot()
    let bias = LinearPositionBias(slopes: LinearPositionBias.slopes(headCount: heads))
    return [
      ("plain", AttentionScoring(scale: scale)),
      ("capped", AttentionScoring(scale: scale, softCap: 1.5)),
      ("windowed", AttentionScoring(scale: scale, window: 3)),
      ("biased", AttentionScoring(scale: scale, bias: bias)),
      ("all", AttentionScoring(scale: scale, softCap: 2, window: 4, bias: bias)),
    ]
  }

  private func run(
    _ attention: CausalAttention, q: GuardedMatrix, k: GuardedMatrix, v: GuardedMatrix, dY: GuardedMatrix,
    pool: WorkerPool
  ) -> Result {
    let rows = q.view.rows
    let y = GuardedMatrix(zeros: rows, attention.shape.queryWidth)
    var logSums = [Float](repeating: .nan, count: rows * attention.shape.queryHeadCount)
    attention.forward(
      queries: q.view.readOnly, keys: k.view.readOnly, values: v.view.readOnly, into: y.view,
      logSums: &logSums,
      pool: pool)
    let dQ = GuardedMatrix(zeros: rows, attention.shape.queryWidth)
    let dK = GuardedMatrix(zeros: rows, attention.shape.keyValueWidth)
    let dV = GuardedMatrix(zeros: rows, attention.shape.keyValueWidth)
    attention.backward(
      queries: q.view.readOnly, keys: k.view.readOnly, values: v.view.readOnly, y: y.view.readOnly,
      logSums: logSums, dY: dY.view.readOnly, dQueries: dQ.view, dKeys: dK.view, dValues: dV.view, pool: pool)
    #expect(y.isIntact && dQ.isIntact && dK.isIntact && dV.isIntact)
    return Result(y: y.elements, dQ: dQ.elements, dK: dK.elements, dV: dV.elements)
  }

  @Test(arguments: [
    (4, 2, 6, [0..<5, 5..<14]), (2, 2, 16, [0..<1]), (3, 1, 8, [0..<7, 7..<15, 15..<31]),
    (1, 1, 64, [0..<130]),
    (2, 1, 17, [0..<128, 128..<257]),
  ])
  func equalsTheNaiveTwin(heads: Int, groups: Int, dimension: Int, sequences: [Range<Int>]) {
    let shape = AttentionShape(queryHeadCount: heads, keyValueHeadCount: groups, headDimension: dimension)
    let rows = sequences.last!.upperBound
    for (name, scoring) in scorings(heads, dimension) {
      for probability: Float in [0, 0.25] {
        var random = RandomFloats(seed: rows + heads)
        let q = GuardedMatrix(&random, rows: rows, columns: shape.queryWidth)
        let k = GuardedMatrix(&random, rows: rows, columns: shape.keyValueWidth)
        let v = GuardedMatrix(&random, rows: rows, columns: shape.keyValueWidth)
        let dY = GuardedMatrix(&random, rows: rows, columns: shape.queryWidth)
        let mask =
          probability > 0
          ? DropoutMask(probability: probability, stream: PhiloxStream(seed: 1, step: 2, site: 3)) : nil
        let attention = CausalAttention(sequences: sequences, shape: shape, scoring: scoring, dropout: mask)
        let fast = run(attention, q: q, k: k, v: v, dY: dY, pool: pool)
        let y = GuardedMatrix(zeros: rows, shape.queryWidth)
        let dQ = GuardedMatrix(zeros: rows, shape.queryWidth)
        let dK = GuardedMatrix(zeros: rows, shape.keyValueWidth)
        let dV = GuardedMatrix(zeros: rows, shape.keyValueWidth)
        attention.reference(
          queries: q.view.readOnly, keys: k.view.readOnly, values: v.view.readOnly, into: y.view,
          dY: dY.view.readOnly, dQueries: dQ.view, dKeys: dK.view, dValues: dV.view)
        for (part, a, b) in [("y", fast.y, y), ("dQ", fast.dQ, dQ), ("dK", fast.dK, dK), ("dV", fast.dV, dV)]
        {
          expectClose(
            a, b.elements.map(Double.init), tolerance: 1e-5, "\(part), \(name), dropout \(probability)")
        }
        let alone = run(attention, q: q, k: k, v: v, dY: dY, pool: WorkerPool(threadCount: 1))
        #expect(alone.dK == fast.dK && alone.dQ == fast.dQ && alone.y == fast.y, "threads, \(name)")
      }
    }
  }

  @Test func equalsPyTorch() throws {
    let shape = AttentionShape(queryHeadCount: 4, keyValueHeadCount: 2, headDimension: 6)
    for (name, scoring) in scorings(4, 6) {
      var scoring = scoring
      scoring.bias = scoring.bias.map { _ in LinearPositionBias(slopes: [0.5, 0.25, 0.125, 0.0625]) }
      func part(_ part: String) throws -> GuardedMatrix {
        try BackwardFixture.matrix("attention.\(name).\(part)", rows: 14)
      }
      let attention = CausalAttention(sequences: [0..<5, 5..<14], shape: shape, scoring: scoring)
      let result = run(
        attention, q: try part("q"), k: try part("k"), v: try part("v"), dY: try part("dy"), pool: pool)
      for (part, values) in [("y", result.y), ("dq", result.dQ), ("dk", result.dK), ("dv", result.dV)] {
        expectClose(
          values, try BackwardFixture.values("attention.\(name).\(part)"), tolerance: 2e-6, "\(part), \(name)"
        )
      }
    }
  }

  @Test func followsTheSlopesOfItsForwardPass() {
    let shape = AttentionShape(queryHeadCount: 2, keyValueHeadCount: 1, headDimension: 3)
    for (name, scoring) in scorings(2, 3) {
      var random = RandomFloats(seed: 3)
      let (q, dY) = (GuardedMatrix(&random, rows: 6, columns: 6), GuardedMatrix(&random, rows: 6, columns: 6))
      let (k, v) = (GuardedMatrix(&random, rows: 6, columns: 3), GuardedMatrix(&random, rows: 6, columns: 3))
      let attention = CausalAttention(sequences: [0..<2, 2..<6], shape: shape, scoring: scoring)
      func loss() -> Double {
        zip(run(attention, q: q, k: k, v: v, dY: dY, pool: pool).y, dY.elements).reduce(0) {
          $0 + Double($1.0) * Double($1.1)
        }
      }
      let result = run(attention, q: q, k: k, v: v, dY: dY, pool: pool)
      expectSlopes(q, result.dQ, "q, \(name)", loss)
      expectSlopes(k, result.dK, "k, \(name)", loss)
      expectSlopes(v, result.dV, "v, \(name)", loss)
    }
  }
}
