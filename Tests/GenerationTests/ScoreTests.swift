import Foundation
import Testing

@testable import Generation

@Suite("Kernels over scores")
struct ScoreTests {
  static let sizes = [1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 255, 256, 257, 1000, 50257]

  static func row(_ count: Int, seed: UInt64, spread: Float = 10) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in Float.random(in: -spread...spread, using: &generator) }
  }

  @Test("log-softmax and its sums against Double", arguments: sizes)
  func logSoftmax(count: Int) {
    for (seed, spread) in [(UInt64(1), Float(1)), (2, 10), (3, 80)] {
      let scores = ScoreTests.row(count, seed: seed, spread: spread)
      let maximum = Double(scores.max()!)
      let sum = scores.reduce(0.0) { $0 + exp(Double($1) - maximum) }
      var (out, probabilities) = (scores, scores)
      let normalizer = LogSoftmax.apply(scores, count: count, into: &out)
      #expect(LogSoftmax.probabilities(scores, count: count, into: &probabilities))
      #expect(normalizer.maximum == scores.max()!)
      // Elements carry 2 ulp of error and blocks of 8 sums of as many; both are far below 1e-6.
      #expect(abs(Double(normalizer.logarithmOfSum) - log(sum)) < 1e-6)
      for index in scores.indices {
        let exact = Double(scores[index]) - maximum - log(sum)
        #expect(abs(Double(out[index]) - exact) <= 5e-7 * max(1, abs(exact)), "seed \(seed), \(index)")
        // The difference from the maximum rounds by half an ulp, which e^ turns into a relative error; the
        // exponential, the sum and the quotient add a few units of 2⁻²⁴ more.
        let relative = (abs(Double(scores[index]) - maximum) + 8) * 0x1p-24
        #expect(
          abs(Double(probabilities[index]) - exp(exact)) <= relative * exp(exact) + 1.2e-38,
          "seed \(seed), \(index)")
        #expect(normalizer(scores[index]) == out[index])
      }
    }
  }

  @Test("the exponential is within two units in the last place")
  func exponential() {
    for step in 0..<200_000 {
      let x = -Float(step) * 87.3 / 200_000
      let found = Double(LogSoftmax.exponential(.init(repeating: x))[3])
      let exact = exp(Double(x))
      #expect(abs(found - exact) <= 2 * Double(Float(exact).ulp), "x = \(x)")
    }
    #expect(LogSoftmax.exponential(.init(repeating: -.infinity))[0] == 0)
    #expect(LogSoftmax.exponential(.init(repeating: -1000))[0] == 0)
    #expect(LogSoftmax.exponential(.init(repeating: .nan))[0].isNaN)
  }

  @Test("rows that define no distribution are recognised")
  func invalidRows() {
    var row = ScoreTests.row(100, seed: 4)
    #expect(LogSoftmax.normalizer(row, count: 100).isValid)
    for place in [0, 50, 97, 99] {
      for value in [Float.nan, .infinity] {
        let kept = row[place]
        row[place] = value
        #expect(!LogSoftmax.normalizer(row, count: 100).isValid, "\(value) at \(place)")
        row[place] = -.infinity
        #expect(LogSoftmax.normalizer(row, count: 100).isValid)
        row[place] = kept
      }
    }
    let nothing = [Float](repeating: -.infinity, count: 20)
    #expect(!LogSoftmax.normalizer(nothing, count: 20).isValid)
  }

  @Test("the K largest, equal ones in order", arguments: [1, 2, 5, 10, 100, 512])
  func topSelection(limit: Int) {
    for (seed, count) in [(UInt64(5), 3), (6, 40), (7, 1003), (8, 5000)] {
      // Steps of one half make many ties.
      let scores = ScoreTests.row(count, seed: seed).map { ($0 * 2).rounded() / 2 }
      let rows = stride(from: 0, to: count, by: 700).map { Array(scores[$0..<min($0 + 700, count)]) }
      let addends = rows.indices.map { Float($0) * 0.75 }
      var selection = TopSelection(limit: limit)
      var expected: [(score: Float, index: Int)] = []
      for (number, row) in rows.enumerated() {
        selection.take(row, count: row.count, adding: addends[number], firstIndex: number * 700)
        expected += row.enumerated().map { ($1 + addends[number], number * 700 + $0) }
      }
      expected.sort { $0.score > $1.score || ($0.score == $1.score && $0.index < $1.index) }
      #expect(selection.count == min(limit, count))
      for rank in 0..<selection.count {
        #expect(selection.score(rank) == expected[rank].score, "seed \(seed), rank \(rank)")
        #expect(selection.index(rank) == expected[rank].index, "seed \(seed), rank \(rank)")
      }
    }
  }

  @Test("histories fork and grow")
  func histories() {
    var generator = SeededGenerator(seed: 9)
    let prompt = [5, 6, 7]
    var histories = TokenHistories(prompt: prompt)
    var model = [prompt]
    for step in 0..<300 {
      let count = step == 0 ? 4 : max(1, Int.random(in: model.count - 1...4, using: &generator))
      let parents =
        step % 3 == 0
        ? (0..<min(count, model.count)).map { $0 }
        : (0..<count).map { _ in
          Int.random(in: 0..<model.count, using: &generator)
        }
      let tokens = parents.map { _ in Int.random(in: 0..<1000, using: &generator) }
      histories.advance(parents: parents, appending: tokens)
      model = zip(parents, tokens).map { model[$0] + [$1] }
      #expect(histories.rowCount == model.count)
      for (row, expected) in model.enumerated() {
        #expect(histories.row(row).map { Int($0) } == expected, "step \(step), row \(row)")
      }
    }
  }
}
