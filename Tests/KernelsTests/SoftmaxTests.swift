import Testing

@testable import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct SoftmaxTests {
  private typealias InPlace = (UnsafeMutablePointer<Float>, Int) -> Void

  /// The fast implementation and the naive one, with the roundings that a term of a sum of n passes through.
  private let implementations: [(name: String, softmax: InPlace, roundings: (Int) -> Double)] = [
    ("fast", { softmaxRow($0, into: $0, count: $1) }, { min(Double($0), 8) }),
    ("naive", { softmaxRowReference($0, into: $0, count: $1) }, { Double($0) }),
  ]

  private func scores(_ count: Int, spread: Float, seed: Int) -> [Float] {
    var random = RandomFloats(seed: seed)
    return (0..<count).map { _ in spread * random.float() }
  }

  private func logSumExpInDouble(_ x: [Float]) -> Double {
    let maximum = Double(x.max() ?? 0)
    return maximum + log(x.reduce(0) { $0 + exp(Double($1) - maximum) })
  }

  /// One rounding of the difference from the maximum is a relative error of |difference|·2⁻²⁴ in its exponential;
  /// exponential, inverse and product add four, the sum as many as a term passes through.
  @Test(arguments: rowSizes)
  func softmaxEqualsADoubleReference(count: Int) {
    for (seed, spread) in [(count, Float(1)), (count + 1, 30), (count + 2, 1e-3), (count + 3, 300)] {
      let x = scores(count, spread: spread, seed: seed)
      let total = logSumExpInDouble(x)
      let maximum = Double(x.max() ?? 0)
      for (name, softmax, roundings) in implementations {
        let row = GuardedMatrix(x)
        softmax(row.view.base, count)
        for (index, value) in row.row(0).enumerated() {
          let exact = exp(Double(x[index]) - total)
          let difference = maximum - Double(x[index])
          let bound = exact * (4 + difference + roundings(count)) * roundingUnit + 0x1p-149
          #expect(abs(Double(value) - exact) <= bound, "\(name), seed \(seed), at \(index)")
        }
        #expect(row.isIntact, "\(name), \(count) columns")
      }
    }
  }

  @Test func impossibleScores() {
    for (name, softmax, _) in implementations {
      func weights(_ x: [Float]) -> [Float] {
        let row = GuardedMatrix(x)
        softmax(row.view.base, x.count)
        return row.row(0)
      }
      let none = [Float](repeating: -.infinity, count: 21)
      #expect(weights(none).allSatisfy { $0 == 0 }, "\(name): nothing to weigh")
      #expect(weights(none + [3]) == none.map { _ in 0 } + [1], "\(name): one candidate")
      #expect(weights([-3e38, 3e38, 0]) == [0, 1, 0], "\(name): far apart")
      #expect(weights([1, .nan] + none).allSatisfy { $0.isNaN }, "\(name): NaN shows")
      #expect(weights(none + [.nan]).allSatisfy { $0.isNaN }, "\(name): NaN among −∞ shows")
      #expect(weights([1, .infinity]).last!.isNaN, "\(name): ∞ shows")
    }
  }

  /// The sum's relative error is the logarithm's absolute one.
  @Test(arguments: rowSizes)
  func logarithmsEqualADoubleReference(count: Int) {
    typealias Total = (UnsafePointer<Float>, Int) -> Double
    typealias Logarithms = (UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int) -> Void
    let implementations: [(name: String, total: Total, logarithms: Logarithms)] = [
      ("fast", { logSumExp($0, count: $1) }, { logSoftmaxRow($0, into: $1, count: $2) }),
      ("naive", { logSumExpReference($0, count: $1) }, { logSoftmaxRowReference($0, into: $1, count: $2) }),
    ]
    for (seed, spread) in [(count, Float(1)), (count + 1, 30), (count + 2, 1e-3), (count + 3, 300)] {
      let x = scores(count, spread: spread, seed: seed)
      let exact = logSumExpInDouble(x)
      for (name, total, logarithms) in implementations {
        let row = GuardedMatrix(x)
        let result = GuardedMatrix(columns: count) { _, _ in 0 }
        let value = total(row.view.base, count)
        // Terms far below the maximum weigh little, so their larger errors do too.
        #expect(
          count == 0 ? value == -.infinity : abs(value - exact) <= 2e-7,
          "\(name), seed \(seed): \(value - exact)")
        logarithms(row.view.base, result.view.base, count)
        for (index, value) in result.row(0).enumerated() {
          let expected = Double(x[index]) - exact
          let bound = 2e-7 + abs(expected) * 2 * roundingUnit
          #expect(abs(Double(value) - expected) <= bound, "\(name), seed \(seed), at \(index)")
        }
        logarithms(row.view.base, row.view.base, count)
        #expect(row.row(0) == result.row(0), "\(name): in place")
        #expect(row.isIntact && result.isIntact, "\(name), \(count) columns")
      }
      if count > 0 {
        let target = count / 2
        let logarithm = x.withUnsafeBufferPointer {
          logProbability(of: target, in: $0.baseAddress!, count: count)
        }
        #expect(abs(logarithm - (Double(x[target]) - exact)) <= 2e-7, "seed \(seed)")
      }
    }
  }

  @Test func logarithmsOfImpossibleScores() {
    let none = [Float](repeating: -.infinity, count: 19)
    let implementations: [(UnsafePointer<Float>, UnsafeMutablePointer<Float>, Int) -> Void] = [
      { logSoftmaxRow($0, into: $1, count: $2) }, { logSoftmaxRowReference($0, into: $1, count: $2) },
    ]
    for logarithms in implementations {
      func result(_ x: [Float]) -> [Float] {
        let row = GuardedMatrix(x)
        logarithms(row.view.base, row.view.base, x.count)
        return row.row(0)
      }
      #expect(result(none).allSatisfy { $0.isNaN }, "no distribution")
      #expect(result(none + [7]) == none + [0])
      #expect(result(none + [.nan]).allSatisfy { $0.isNaN })
      #expect(result(none + [.infinity]).allSatisfy { $0.isNaN })
    }
    #expect(logSumExp(none, count: 19) == -.infinity)
    #expect(logProbability(of: 2, in: [-.infinity, 0, -.infinity], count: 3) == -.infinity)
  }

  @Test func rowsThatDefineNoDistributionAreRecognised() {
    func areValid(_ x: [Float]) -> Bool {
      let row = GuardedMatrix(x)
      let isValid = LogNormalizer(row.view.base, count: x.count).isValid
      #expect(softmaxRow(row.view.base, into: row.view.base, count: x.count) == isValid)
      return isValid
    }
    var row = scores(100, spread: 10, seed: 4)
    #expect(areValid(row))
    for place in [0, 50, 97, 99] {
      let kept = row[place]
      for value in [Float.nan, .infinity] {
        row[place] = value
        #expect(!areValid(row), "\(value) at \(place)")
      }
      row[place] = -.infinity
      #expect(areValid(row), "−∞ at \(place)")
      row[place] = kept
    }
    #expect(!areValid([Float](repeating: -.infinity, count: 20)))
    #expect(!areValid([Float](repeating: .nan, count: 20)))
    #expect(!areValid([]))
  }

  /// PyTorch subtracts the maximum and then the logarithm, each with a rounding.
  @Test(arguments: rowSizes.dropFirst())
  func normalizerRoundsAsPyTorch(count: Int) {
    let x = scores(count, spread: 30, seed: count)
    let result = GuardedMatrix(columns: count) { _, _ in 0 }
    let normalizer = logSoftmaxRow(x, into: result.view.base, count: count)
    #expect(normalizer.maximum == x.max()!)
    let logarithm = Float(normalizer.logarithmOfSum)
    #expect(result.row(0) == x.map { ($0 - normalizer.maximum) - logarithm })
    #expect(result.row(0) == x.map { normalizer($0) })
  }

  /// One rounding of the difference, an ULP and a half of the exponential, and as many of the sum as a term
  /// passes through.
  @Test(arguments: rowSizes)
  func exponentialsEqualADoubleReference(count: Int) {
    let x = GuardedMatrix(scores(count, spread: 20, seed: count))
    let y = GuardedMatrix(columns: count) { _, _ in 0 }
    let shift: Float = 20
    let sum = exponentialsOfRow(x.view.base, minus: shift, into: y.view.base, count: count)
    var exactSum = 0.0
    for (x, y) in zip(x.row(0), y.row(0)) {
      let exact = exp(Double(x) - Double(shift))
      exactSum += exact
      #expect(abs(Double(y) - exact) <= exact * (3 + Double(shift - x)) * roundingUnit + 0x1p-149)
    }
    #expect(abs(sum - exactSum) <= exactSum * (3 + 2 * 20 + 20) * roundingUnit)
    #expect(exponentialsOfRow(x.view.base, minus: shift, into: nil, count: count) == sum)
    #expect(exponentialsOfRow(x.view.base, minus: shift, into: x.view.base, count: count) == sum)
    #expect(x.row(0) == y.row(0) && x.isIntact && y.isIntact)
  }
}
