import Testing

@testable import Kernels

@Suite struct NormalizeBackwardTests {
  private let pool = WorkerPool(threadCount: 3)
  private let kinds: [(NormalizationWeight.Kind, Float)] = [
    (.layerNorm, 0), (.rootMeanSquare, 0), (.rootMeanSquare, 1),
  ]

  @Test(arguments: [1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 768, 1025])
  func equalsTheNaiveTwin(columns: Int) {
    for (kind, offset) in kinds {
      for accumulate in [false, true] {
        for rows in [0, 1, 70] {
          var random = RandomFloats(seed: columns + rows)
          let x = GuardedMatrix(&random, rows: rows, columns: columns)
          let dY = GuardedMatrix(&random, rows: rows, columns: columns)
          let gamma = GuardedMatrix(random.floats(columns))
          let weight = NormalizationWeight(kind: kind, weight: gamma.view.base, offset: offset, epsilon: 1e-2)
          let results = [true, false].map { isFast in
            let dX = GuardedMatrix(rows: rows, columns: columns, gap: 3) { Float($0 + $1) / 128 }
            let dGamma = GuardedMatrix(columns: columns) { Float($1) / 128 }
            let dBeta = GuardedMatrix(columns: columns) { Float(-$1) / 128 }
            if isFast {
              normalizeBackward(
                x.view.readOnly, weight, dY.view.readOnly, into: dX.view, accumulate: accumulate,
                dWeight: dGamma.view.base, dBias: dBeta.view.base, pool: pool)
            } else {
              normalizeBackwardReference(
                x.view.readOnly, weight, dY.view.readOnly, into: dX.view, accumulate: accumulate,
                dWeight: dGamma.view.base, dBias: dBeta.view.base)
            }
            #expect(dX.isIntact && dGamma.isIntact && dBeta.isIntact)
            return [dX.elements, dGamma.elements, dBeta.elements]
          }
          for (index, name) in ["dx", "dγ", "dβ"].enumerated() {
            expectClose(
              results[0][index], results[1][index].map(Double.init), tolerance: 2e-5,
              "\(name) of \(kind), \(rows) × \(columns), offset \(offset)")
          }
        }
      }
    }
  }

  @Test(arguments: ["layerNorm", "rootMeanSquare"])
  func equalsPyTorch(name: String) throws {
    func part(_ part: String, rows: Int) throws -> GuardedMatrix {
      try BackwardFixture.matrix("\(name).\(part)", rows: rows)
    }
    let (x, gamma, dY) = (try part("x", rows: 5), try part("weight", rows: 1), try part("dy", rows: 5))
    let isLayer = name == "layerNorm"
    let weight = NormalizationWeight(
      kind: isLayer ? .layerNorm : .rootMeanSquare, weight: gamma.view.base, offset: isLayer ? 0 : 1,
      epsilon: 1e-5)
    let (dGamma, dBeta) = (GuardedMatrix(zeros: 1, 37), GuardedMatrix(zeros: 1, 37))
    // In place: dX takes the place of dY.
    normalizeBackward(
      x.view.readOnly, weight, dY.view.readOnly, into: dY.view, accumulate: false, dWeight: dGamma.view.base,
      dBias: dBeta.view.base, pool: pool)
    expectClose(dY.elements, try BackwardFixture.values("\(name).dx"), tolerance: 1e-6, "dx")
    expectClose(dGamma.elements, try BackwardFixture.values("\(name).dweight"), tolerance: 1e-6, "dγ")
    if isLayer {
      expectClose(dBeta.elements, try BackwardFixture.values("\(name).dbias"), tolerance: 1e-6, "dβ")
    }
  }

  @Test func followsTheSlopesOfTheForwardKernel() {
    for (kind, offset) in kinds {
      var random = RandomFloats(seed: 17)
      let x = GuardedMatrix(&random, rows: 2, columns: 9)
      let dY = GuardedMatrix(&random, rows: 2, columns: 9)
      let gamma = GuardedMatrix(random.floats(9))
      let weight = NormalizationWeight(kind: kind, weight: gamma.view.base, offset: offset, epsilon: 1e-5)
      func loss() -> Double {
        let y = GuardedMatrix(zeros: 2, 9)
        normalize(x.view.readOnly, weight, into: y.view)
        return overlap(y, dY)
      }
      let (dX, dGamma) = (GuardedMatrix(zeros: 2, 9), GuardedMatrix(zeros: 1, 9))
      normalizeBackward(
        x.view.readOnly, weight, dY.view.readOnly, into: dX.view, accumulate: false,
        dWeight: dGamma.view.base,
        dBias: nil, pool: pool)
      expectSlopes(x, dX.elements, "x of \(kind)", loss)
      expectSlopes(gamma, dGamma.elements, "γ of \(kind)", loss)
    }
  }
}
