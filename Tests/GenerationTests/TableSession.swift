import Foundation

@testable import Generation

/// A model that is a formula: logits = t1[last token] + t2[token before], two tables of hashed numbers.
///
/// The same formula stands in Tests/Reference/Generation/generate.py; every number is exact in fp32.
final class TableSession: DecodingSession {
  let vocabularySize: Int
  let contextLength: Int
  /// Every prompt and step so far, as (rows, last token of each), for tests that watch the loop.
  private(set) var steps: [[Int]] = []
  /// Changes logits before they are handed out, by position.
  var corrupt: ((UnsafeMutableBufferPointer<Float>, _ position: Int) -> Void)?

  private let first: [Float]
  private let second: [Float]
  private var histories: [[Int]] = []
  private var buffer: UnsafeMutableBufferPointer<Float> = .init(start: nil, count: 0)

  var rowCount: Int { histories.count }

  init(seed: UInt64, vocabularySize: Int, scale: Float, contextLength: Int = 512) {
    self.vocabularySize = vocabularySize
    self.contextLength = contextLength
    first = TableSession.table(seed, 0, vocabularySize, scale)
    second = TableSession.table(seed, 1, vocabularySize, scale)
  }

  deinit { buffer.deallocate() }

  private static func table(_ seed: UInt64, _ which: Int, _ vocabularySize: Int, _ scale: Float) -> [Float] {
    (0..<(vocabularySize + 1) * vocabularySize).map { place in
      let index = UInt64(place + which * (vocabularySize + 1) * vocabularySize)
      var z = seed &* 0x9E37_79B9_7F4A_7C15 &+ index &* 0xD134_2543_DE82_EF95
      z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
      z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
      z ^= z >> 31
      return Float(Int(z >> 40) - (1 << 23)) * (scale / Float(1 << 20))
    }
  }

  func prefill(_ tokens: [Int]) -> UnsafeMutableBufferPointer<Float> {
    histories = [tokens]
    steps = [[tokens[tokens.count - 1]]]
    return logits()
  }

  func select(parents: [Int]) {
    histories = parents.map { histories[$0] }
  }

  func step(_ tokens: [Int]) -> UnsafeMutableBufferPointer<Float> {
    precondition(tokens.count == histories.count, "\(tokens.count) tokens for \(histories.count) rows")
    for (row, token) in tokens.enumerated() { histories[row].append(token) }
    precondition(histories[0].count <= contextLength, "beyond the context")
    steps.append(tokens)
    return logits()
  }

  private func logits() -> UnsafeMutableBufferPointer<Float> {
    // A new buffer each time, so that reading an old one shows.
    buffer.deallocate()
    buffer = .allocate(capacity: histories.count * vocabularySize)
    for (row, history) in histories.enumerated() {
      let last = history[history.count - 1]
      let before = history.count > 1 ? history[history.count - 2] : vocabularySize
      for token in 0..<vocabularySize {
        buffer[row * vocabularySize + token] =
          first[last * vocabularySize + token] + second[before * vocabularySize + token]
      }
    }
    corrupt?(buffer, histories[0].count)
    return buffer
  }

  /// log p of each new token of a sequence, in Double.
  func logProbabilities(prompt: [Int], tokens: [Int]) -> [Double] {
    var history = prompt
    return tokens.map { token in
      let row = UnsafeMutableBufferPointer(rebasing: prefill(history)[...])
      let maximum = Double(row.max()!)
      let sum = row.reduce(0.0) { $0 + exp(Double($1) - maximum) }
      history.append(token)
      return Double(row[token]) - maximum - log(sum)
    }
  }
}

/// A small generator with a seed, for tests that name theirs when they fail.
struct SeededGenerator: RandomNumberGenerator {
  private var state: UInt64

  init(seed: UInt64) { state = seed }

  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var z = state
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
