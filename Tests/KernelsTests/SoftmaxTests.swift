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
    ("fast", { softmaxRow($0, count: $1) }, { min(Double($0), 8) }),
    ("naive", { softmaxRowReference($0, count: $1) }, { Double($0) }),
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

  @Test func causalRowsEndInZeros() {
    for (rows, columns, first, gap) in [
      (5, 20, 16, 3), (3, 64, 1, 0), (4, 4, 4, 1), (2, 17, 0, 5), (70, 70, 1, 2),
    ] {
      let x = scores(rows * columns, spread: 5, seed: rows * columns)
      let matrix = GuardedMatrix(rows: rows, columns: columns, gap: gap) { x[$0 * columns + $1] }
      softmaxRows(matrix.view, firstLength: first)
      for row in 0..<rows {
        let length = min(first + row, columns)
        let expected = GuardedMatrix(Array(x[row * columns..<row * columns + length]))
        softmaxRow(expected.view.base, count: length)
        let zeros = [Float](repeating: 0, count: columns - length)
        #expect(matrix.row(row) == expected.row(0) + zeros, "row \(row) of (\(rows), \(columns))")
      }
      #expect(matrix.isIntact)
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
    for logarithms in [logSoftmaxRow, logSoftmaxRowReference] {
      func result(_ x: [Float]) -> [Float] {
        let row = GuardedMatrix(x)
        logarithms(row.view.base, row.view.base, x.count)
        return row.row(0)
      }
      #expect(result(none) == none)
      #expect(result(none + [7]) == none + [0])
      #expect(result(none + [.nan]).allSatisfy { $0.isNaN })
    }
    #expect(logSumExp(none, count: 19) == -.infinity)
    #expect(logProbability(of: 2, in: [-.infinity, 0, -.infinity], count: 3) == -.infinity)
  }
}
