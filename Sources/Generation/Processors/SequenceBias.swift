/// Adds to the score of the token that would complete a sequence.  s_v += Σ bias of the sequences v completes
///
/// A sequence of one token is always about to be completed. Biases of one token are summed before they are
/// added to its score, as transformers does; the order decides the last bit.
///
/// - SeeAlso: transformers `SequenceBiasLogitsProcessor`, `NoBadWordsLogitsProcessor`.
struct SequenceBias: LogitsProcessor {
  private let single: [(token: Int, bias: Float)]
  private let longer: [(prefix: [Int32], token: Int, bias: Float)]
  private let touched: [Int]
  private let sums: Scratch<Float>

  /// - Parameter biases: sequences that are not empty, of tokens below V; of equal ones the last counts.
  init(_ biases: [GenerationConfiguration.SequenceBias], vocabularySize: Int) {
    var order: [[Int]] = []
    var values: [[Int]: Float] = [:]
    for bias in biases where values.updateValue(bias.bias, forKey: bias.tokens) == nil {
      order.append(bias.tokens)
    }
    single = order.filter { $0.count == 1 }.map { ($0[0], values[$0]!) }
    // transformers adds group by group of equal length, a group where its first sequence stands.
    var lengths: [Int] = []
    for tokens in order where tokens.count > 1 && !lengths.contains(tokens.count) {
      lengths.append(tokens.count)
    }
    longer = lengths.flatMap { length in
      order.filter { $0.count == length }
        .map { ($0.dropLast().map { Int32($0) }, $0[length - 1], values[$0]!) }
    }
    touched = Array(Set(order.compactMap(\.last)))
    sums = Scratch(count: vocabularySize, repeating: 0)
  }

  /// Forbids sequences: a bias of −∞, except for a single end token.
  init(forbidding words: [[Int]], endTokens: [Int], vocabularySize: Int) {
    let words = words.filter { word in !word.isEmpty && !endTokens.contains { [$0] == word } }
    self.init(words.map { .init(tokens: $0, bias: -.infinity) }, vocabularySize: vocabularySize)
  }

  func process(_ scores: UnsafeMutableBufferPointer<Float>, history: UnsafeBufferPointer<Int32>) {
    let sums = sums.start
    for (token, bias) in single { sums[token] = bias }
    for (prefix, token, bias) in longer where prefix.count <= history.count {
      let suffix = history.suffix(prefix.count)
      if suffix.elementsEqual(prefix) { sums[token] += bias }
    }
    for token in touched {
      scores[token] += sums[token]
      sums[token] = 0
    }
  }
}

/// Memory that lives as long as its owner and is written in place.
final class Scratch<Element: BitwiseCopyable> {
  let start: UnsafeMutablePointer<Element>
  let count: Int

  init(count: Int, repeating value: Element) {
    self.count = count
    start = .allocate(capacity: max(count, 1))
    start.initialize(repeating: value, count: max(count, 1))
  }

  deinit { start.deallocate() }
}
