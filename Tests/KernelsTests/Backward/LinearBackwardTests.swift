import Testing

@testable import Kernels

@Suite struct LinearBackwardTests {
  private let pool = WorkerPool(threadCount: 3)

  @Test(arguments: [
    (0, 5, 7), (1, 1, 1), (3, 9, 8), (7, 63, 65), (64, 64, 64), (65, 8, 129), (33, 300, 520), (130, 768, 96),
  ])
  func equalsTheNaiveTwin(rows: Int, inputs: Int, outputs: Int) {
    var random = RandomFloats(seed: rows * 1000 + inputs + outputs)
    for layout in [LinearWeight.Layout.outputMajor, .inputMajor] {
      let dY = GuardedMatrix(&random, rows: rows, columns: outputs)
      let x = GuardedMatrix(&random, rows: rows, columns: inputs)
      let values = random.floats(inputs * outputs)
      let weight = values.withUnsafeBufferPointer {
        LinearWeight(values: $0.baseAddress!, inputs: inputs, outputs: outputs, layout: layout)
      }
      withExtendedLifetime(values) {
        for accumulate in [false, true] {
          let fast = GuardedMatrix(rows: rows, columns: inputs, gap: 4) { Float($0 - $1) / 64 }
          let naive = GuardedMatrix(rows: rows, columns: inputs) { Float($0 - $1) / 64 }
          linearBackwardInput(dY.view.readOnly, weight, into: fast.view, accumulate: accumulate, pool: pool)
          linearBackwardInputReference(dY.view.readOnly, weight, into: naive.view, accumulate: accumulate)
          expectClose(fast.elements, naive.elements.map(Double.init), tolerance: 2e-6, "dX, \(layout)")
          #expect(fast.isIntact)
        }
      }
      // What is there stays, and the product is added.
      let start = random.floats(inputs * outputs)
      let fast = GuardedMatrix(start)
      let naive = GuardedMatrix(start)
      linearBackwardWeight(
        dY.view.readOnly, x.view.readOnly, layout: layout, into: fast.view.base, pool: pool)
      linearBackwardWeightReference(dY.view.readOnly, x.view.readOnly, layout: layout, into: naive.view.base)
      expectClose(fast.elements, naive.elements.map(Double.init), tolerance: 2e-6, "dW, \(layout)")
      let bias = GuardedMatrix(
        Array(start[..<min(outputs, start.count)])
          + [Float](repeating: 0, count: max(0, outputs - start.count)))
      let naiveBias = GuardedMatrix(bias.elements)
      biasBackward(dY.view.readOnly, into: bias.view.base, pool: pool)
      biasBackwardReference(dY.view.readOnly, into: naiveBias.view.base)
      expectClose(bias.elements, naiveBias.elements.map(Double.init), tolerance: 2e-6, "db, \(layout)")
      #expect(fast.isIntact && bias.isIntact)
    }
  }

  @Test func anyNumberOfThreadsGivesTheSameBits() {
    var random = RandomFloats(seed: 5)
    let (rows, inputs, outputs) = (96, 384, 640)
    let dY = GuardedMatrix(&random, rows: rows, columns: outputs)
    let x = GuardedMatrix(&random, rows: rows, columns: inputs)
    let results = [1, 2, 5].map { count in
      let dW = GuardedMatrix(zeros: 1, inputs * outputs)
      linearBackwardWeight(
        dY.view.readOnly, x.view.readOnly, layout: .outputMajor, into: dW.view.base,
        pool: WorkerPool(threadCount: count))
      return dW.elements
    }
    #expect(results[0] == results[1] && results[0] == results[2])
  }

  /// With L = Σ dY·(x·Wᵀ + b), differences of L are exact but for rounding.
  @Test func followsTheSlopesOfTheForwardMap() {
    var random = RandomFloats(seed: 8)
    let x = GuardedMatrix(&random, rows: 3, columns: 5)
    let values = GuardedMatrix(random.floats(20))
    let bias = GuardedMatrix(random.floats(4))
    let dY = GuardedMatrix(&random, rows: 3, columns: 4)
    let weight = LinearWeight(
      values: values.view.base, bias: bias.view.base, inputs: 5, outputs: 4, layout: .inputMajor)
    func loss() -> Double {
      let y = GuardedMatrix(zeros: 3, 4)
      linearReference(x.view.readOnly, weight, into: y.view, accumulate: false)
      return overlap(y, dY)
    }
    let (dX, dW, db) = (GuardedMatrix(zeros: 3, 5), GuardedMatrix(zeros: 1, 20), GuardedMatrix(zeros: 1, 4))
    linearBackwardInput(dY.view.readOnly, weight, into: dX.view, accumulate: false, pool: pool)
    linearBackwardWeight(
      dY.view.readOnly, x.view.readOnly, layout: .inputMajor, into: dW.view.base, pool: pool)
    biasBackward(dY.view.readOnly, into: db.view.base, pool: pool)
    expectSlopes(x, dX.elements, "x", loss)
    expectSlopes(values, dW.elements, "W", loss)
    expectSlopes(bias, db.elements, "b", loss)
  }

  @Test func tilesCoverEveryElementOnce() {
    for (m, n, k) in [(1, 1, 1), (768, 3072, 1024), (50_257, 768, 512), (128, 384, 768), (31, 1000, 4096)] {
      let tiling = ProductTiling(m: m, n: n, k: k)
      var covered = 0
      var ends = Set<Int>()
      for task in 0..<tiling.count {
        let (rows, columns) = tiling.tile(task)
        covered += rows.count * columns.count
        #expect(rows.upperBound <= m && columns.upperBound <= n)
        ends.insert(rows.lowerBound * (n + 1) + columns.lowerBound)
      }
      #expect(covered == m * n, "\(m) × \(n)")
    }
  }
}
