import Testing

@testable import Kernels

@Suite struct CrossEntropyTests {
  private let pool = WorkerPool(threadCount: 2)

  private func settings(_ name: String) -> CrossEntropySettings {
    CrossEntropySettings(labelSmoothing: name == "plain" ? 0 : 0.1, softCap: name == "capped" ? 2 : nil)
  }

  @Test(arguments: [1, 7, 15, 16, 17, 65, 1023, 50_257])
  func equalsTheNaiveTwin(vocabulary: Int) {
    for name in ["plain", "smoothed", "capped"] {
      var settings = settings(name)
      settings.logitScale = 0.75
      var random = RandomFloats(seed: vocabulary)
      let rows = 3
      let x = random.floats(rows * vocabulary).map { 4 * $0 }
      let targets = [vocabulary - 1, CrossEntropySettings.ignoredTarget, vocabulary / 2][...]
      let fast = GuardedMatrix(rows: rows, columns: vocabulary, gap: 3) { x[$0 * vocabulary + $1] }
      let naive = GuardedMatrix(rows: rows, columns: vocabulary) { x[$0 * vocabulary + $1] }
      var (losses, naiveLosses) = ([Double](repeating: -1, count: rows), [Double](repeating: -1, count: rows))
      crossEntropy(fast.view, targets: targets, settings, scale: 0.5, losses: &losses, pool: pool)
      crossEntropyReference(naive.view, targets: targets, settings, scale: 0.5, losses: &naiveLosses)
      #expect(fast.isIntact)
      for row in 0..<rows {
        #expect(abs(losses[row] - naiveLosses[row]) <= 2e-6 * max(1, naiveLosses[row]), "\(name), row \(row)")
        expectClose(fast.row(row), naive.row(row).map(Double.init), tolerance: 2e-6, "\(name), row \(row)")
      }
    }
  }

  @Test(arguments: ["plain", "smoothed", "capped"])
  func equalsPyTorch(name: String) throws {
    let x = try BackwardFixture.matrix("loss.\(name).x", rows: 6)
    var losses = [Double](repeating: 0, count: 6)
    let targets = [3, 0, 32, CrossEntropySettings.ignoredTarget, 7, 7]
    crossEntropy(x.view, targets: targets[...], settings(name), scale: 1 / 5, losses: &losses, pool: pool)
    let expected = try BackwardFixture.values("loss.\(name).loss")[0]
    #expect(abs(losses.reduce(0, +) / 5 - expected) <= 1e-6 * expected)
    expectClose(x.elements, try BackwardFixture.values("loss.\(name).dx"), tolerance: 1e-6, name)
  }

  @Test func followsTheSlopesOfTheLoss() {
    for name in ["plain", "smoothed", "capped"] {
      var random = RandomFloats(seed: 4)
      let x = GuardedMatrix(&random, rows: 2, columns: 7)
      var losses = [0.0, 0.0]
      func loss() -> Double {
        let copy = GuardedMatrix(rows: 2, columns: 7) { x.view.row($0)[$1] }
        crossEntropy(
          copy.view, targets: [1, 6], settings(name), scale: 1, losses: &losses, wantsGradient: false,
          pool: pool)
        return losses[0] + losses[1]
      }
      let dX = GuardedMatrix(rows: 2, columns: 7) { x.view.row($0)[$1] }
      crossEntropy(dX.view, targets: [1, 6], settings(name), scale: 1, losses: &losses, pool: pool)
      expectSlopes(x, dX.elements, name, loss)
    }
  }
}

@Suite struct DivergenceTests {
  private let pool = WorkerPool(threadCount: 2)

  private func settings(_ cap: Float?) -> CrossEntropySettings {
    CrossEntropySettings(softCap: cap, logitScale: 0.75)
  }

  @Test(arguments: [1, 7, 15, 16, 17, 65, 1023, 50_257])
  func equalsTheNaiveTwin(vocabulary: Int) {
    for cap in [nil, 2] as [Float?] {
      var random = RandomFloats(seed: vocabulary)
      let rows = 3
      let (x, t) = (random.floats(rows * vocabulary), random.floats(rows * vocabulary))
      // The last row's teacher says the same.
      func teacher(_ row: Int, _ column: Int) -> Float {
        4 * (row == 2 ? x : t)[row * vocabulary + column]
      }
      let fast = GuardedMatrix(rows: rows, columns: vocabulary, gap: 3) { 4 * x[$0 * vocabulary + $1] }
      let naive = GuardedMatrix(rows: rows, columns: vocabulary) { 4 * x[$0 * vocabulary + $1] }
      let (from, naiveFrom) = (
        GuardedMatrix(rows: rows, columns: vocabulary, gap: 5, teacher),
        GuardedMatrix(rows: rows, columns: vocabulary, teacher)
      )
      var (losses, naiveLosses) = ([Double](repeating: -1, count: rows), [Double](repeating: -1, count: rows))
      divergence(fast.view, from: from.view, settings(cap), scale: 0.5, losses: &losses, pool: pool)
      divergenceReference(naive.view, from: naiveFrom.view, settings(cap), scale: 0.5, losses: &naiveLosses)
      #expect(fast.isIntact && from.isIntact)
      #expect(abs(losses[2]) < 1e-6 && naiveLosses[2] == 0)
      for row in 0..<rows {
        #expect(abs(losses[row] - naiveLosses[row]) <= 3e-6 * max(1, naiveLosses[row]), "row \(row)")
        expectClose(fast.row(row), naive.row(row).map(Double.init), tolerance: 2e-6, "row \(row)")
      }
    }
  }

  @Test(arguments: [nil, 2] as [Float?])
  func followsTheSlopesOfTheLoss(cap: Float?) {
    var random = RandomFloats(seed: 4)
    let (x, t) = (GuardedMatrix(&random, rows: 2, columns: 7), GuardedMatrix(&random, rows: 2, columns: 7))
    var losses = [0.0, 0.0]
    func run() -> GuardedMatrix {
      let copy = GuardedMatrix(rows: 2, columns: 7) { x.view.row($0)[$1] }
      let teacher = GuardedMatrix(rows: 2, columns: 7) { t.view.row($0)[$1] }
      divergence(copy.view, from: teacher.view, settings(cap), scale: 1, losses: &losses, pool: pool)
      return copy
    }
    let dX = run()
    expectSlopes(x, dX.elements, "divergence") {
      _ = run()
      return losses[0] + losses[1]
    }
  }
}

@Suite struct EmbeddingBackwardTests {
  @Test func equalsTheNaiveTwin() {
    for columns in [1, 17, 256, 700] {
      var random = RandomFloats(seed: columns)
      let dY = GuardedMatrix(&random, rows: 9, columns: columns)
      let ids = [3, 0, 3, 3, 4, 1, 0, 3, 4]
      let fast = GuardedMatrix(rows: 5, columns: columns) { Float($0 - $1) }
      let naive = GuardedMatrix(rows: 5, columns: columns) { Float($0 - $1) }
      embeddingBackward(ids, dY.view.readOnly, into: fast.view, pool: WorkerPool(threadCount: 3))
      embeddingBackwardReference(ids, dY.view.readOnly, into: naive.view)
      #expect(fast.elements == naive.elements && fast.isIntact)
      // A padding token's row stays as it is; the others get what they got.
      let spared = GuardedMatrix(rows: 5, columns: columns) { Float($0 - $1) }
      embeddingBackward(
        ids, dY.view.readOnly, into: spared.view, ignoring: 3, pool: WorkerPool(threadCount: 1))
      #expect(spared.row(3) == (0..<columns).map { Float(3 - $0) } && spared.row(4) == naive.row(4))
    }
  }
}

@Suite struct DropoutTests {
  /// The known answers of Random123's test file.
  @Test func philoxGivesItsKnownAnswers() {
    #expect(
      PhiloxStream(seed: 0, step: 0, site: 0).words(0) == [
        0x6627_E8D5, 0xE169_C58D, 0xBC57_AC4C, 0x9B00_DBD8,
      ])
    #expect(
      PhiloxStream(seed: .max, step: -1, site: .max).words(.max)
        == [0x408F_276D, 0x41C8_3B0E, 0xA20B_C7C6, 0x6D54_51FD])
    #expect(
      PhiloxStream(seed: 0x299F_31D0_A409_3822, step: 0x0370_7344, site: 0x1319_8A2E).words(
        0x85A3_08D3_243F_6A88)
        != .zero)
  }

  @Test func anElementDependsOnItsPlaceAlone() {
    let stream = PhiloxStream(seed: 9, step: 4, site: 7)
    let mask = DropoutMask(probability: 0.3, stream: stream)
    var whole = [Float](repeating: -1, count: 100)
    mask.multipliers(row: 5, width: 100, into: &whole, count: 100)
    for count in [0, 1, 31, 32, 33, 99] {
      var part = [Float](repeating: -1, count: 100)
      mask.multipliers(row: 5, width: 100, into: &part, count: count)
      #expect(Array(part[..<count]) == Array(whole[..<count]) && part[count...].allSatisfy { $0 == -1 })
    }
    // Column 77 of row 5 is word 1 of counter 5·4·8 + 2·8 + 5, a row having four blocks of 32.
    let counter: UInt64 = 181
    let word = stream.words(counter)[1]
    #expect((whole[77] != 0) == (Double(word) >= 0.3 * 0x1p32))
  }

  @Test func survivorsHaveTheirShareAndTheMeanStays() {
    let mask = DropoutMask(probability: 0.2, stream: PhiloxStream(seed: 1, step: 0, site: 0))
    let x = GuardedMatrix(rows: 200, columns: 501, gap: 3) { _, _ in 1 }
    let y = GuardedMatrix(rows: 200, columns: 501) { _, _ in 5 }
    mask.apply(x.view.readOnly, into: y.view, pool: WorkerPool(threadCount: 2))
    let values = y.elements
    #expect(Set(values) == [0, 1.25])
    let kept = Double(values.count { $0 != 0 }) / Double(values.count)
    // Five standard deviations of 100,200 draws.
    #expect(abs(kept - 0.8) < 0.0064)
    mask.apply(x.view.readOnly, into: y.view, accumulate: true, pool: WorkerPool(threadCount: 1))
    #expect(y.elements == values.map { 2 * $0 } && y.isIntact)
    let other = DropoutMask(probability: 0.2, stream: PhiloxStream(seed: 1, step: 1, site: 0))
    other.apply(x.view.readOnly, into: y.view, pool: WorkerPool(threadCount: 1))
    #expect(y.elements != values)
  }
}

@Suite struct AdamWTests {
  private let pool = WorkerPool(threadCount: 3)

  @Test(arguments: [0, 1, 15, 16, 17, 1000, 70_001])
  func equalsTheNaiveTwin(count: Int) {
    var random = RandomFloats(seed: count)
    let start = (random.floats(count), random.floats(count), random.floats(count), random.floats(count))
    let step = AdamWStep(
      learningRate: 1e-3, beta1: 0.9, beta2: 0.99, epsilon: 1e-8, weightDecay: 0.1, step: 3,
      gradientScale: 0.5)
    func state() -> [GuardedMatrix] {
      [
        GuardedMatrix(start.0), GuardedMatrix(start.1), GuardedMatrix(start.2),
        GuardedMatrix(start.3.map(abs)),
      ]
    }
    let (fast, naive) = (state(), state())
    adamW(
      step, parameters: fast[0].view.base, gradients: fast[1].view.base, first: fast[2].view.base,
      second: fast[3].view.base, count: count, pool: pool)
    adamWReference(
      step, parameters: naive[0].view.base, gradients: naive[1].view.base, first: naive[2].view.base,
      second: naive[3].view.base, count: count)
    for (index, name) in ["θ", "g", "m", "v"].enumerated() {
      expectClose(fast[index].elements, naive[index].elements.map(Double.init), tolerance: 1e-6, name)
      #expect(fast[index].isIntact)
    }
    #expect(fast[1].elements.allSatisfy { $0 == 0 })
  }

  @Test func followsPyTorchWithClipping() throws {
    let parameters = GuardedMatrix(try BackwardFixture.floats("adamw.start"))
    let (first, second) = (GuardedMatrix(zeros: 1, 37), GuardedMatrix(zeros: 1, 37))
    for step in 0..<10 {
      let gradients = GuardedMatrix(try BackwardFixture.floats("adamw.gradient.\(step)"))
      let norm = sumOfSquares(gradients.view.base, count: 37, pool: pool).squareRoot()
      #expect(abs(norm - (try BackwardFixture.values("adamw.norm.\(step)")[0])) <= 1e-6 * norm)
      let settings = AdamWStep(
        learningRate: 3e-3, beta1: 0.9, beta2: 0.95, epsilon: 1e-8, weightDecay: 0.1, step: step + 1,
        gradientScale: clippingCoefficient(norm: norm, maximum: 1))
      adamW(
        settings, parameters: parameters.view.base, gradients: gradients.view.base, first: first.view.base,
        second: second.view.base, count: 37, pool: pool)
      expectClose(
        parameters.elements, try BackwardFixture.values("adamw.after.\(step)"), tolerance: 1e-6,
        "step \(step)")
    }
  }

  @Test func theSumOfSquaresIsTheSameWithAnyThreads() {
    var random = RandomFloats(seed: 2)
    let x = random.floats(300_001)
    let sums = [1, 2, 4].map { sumOfSquares(x, count: x.count, pool: WorkerPool(threadCount: $0)) }
    #expect(sums[0] == sums[1] && sums[0] == sums[2])
    let exact = sumOfSquaresReference(x, count: x.count)
    #expect(abs(sums[0] - exact) <= 1e-6 * exact)
    var spoiled = x
    spoiled[123_456] = .nan
    #expect(sumOfSquares(spoiled, count: x.count, pool: pool).isNaN)
  }
}
