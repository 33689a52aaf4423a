import Kernels
import Transformer

/// How likely a model finds the end of a text.
public struct ContinuationScore: Sendable, Equatable {
  /// Σ log p of the tokens of the end, in nats.
  public let logProbability: Double
  /// Tokens of the end.
  public let tokenCount: Int
  /// Whether each of them is the best after those before it: greedy decoding would write just this.
  public let isGreedy: Bool
}

/// Scores the ends of texts, one after the other; what a text shares with the one before is not run again.
///
/// Not for use by two threads at once.
public final class ContinuationScorer {
  private let session: InferenceSession
  private let vocabularySize: Int
  private let context: Int
  /// The tokens that the session holds.
  private var filled: [Int] = []

  /// Scores with a model and an engine.
  ///
  /// - Parameter capacity: tokens of the longest text; never more than the model's context.
  public init(decoder: Decoder, engine: any ComputeEngine, capacity: Int) throws {
    context = min(decoder.configuration.contextLength, max(capacity, 1))
    vocabularySize = decoder.configuration.vocabularySize
    session = try InferenceSession(decoder: decoder, engine: engine, capacity: context)
  }

  /// The score of the tokens from `first` on, each after all before it.
  ///
  /// Of a text that is longer than the context, tokens at the beginning are left out.
  ///
  /// - Parameters:
  ///   - tokens: T ids.
  ///   - first: from 1 to T − 1.
  /// - Throws: `ScoringError` when what is scored does not fit the context or the logits are no numbers; `DecoderError` for an id
  ///   that the model does not have.
  public func score(_ tokens: [Int], from first: Int) throws -> ContinuationScore {
    precondition((1..<tokens.count).contains(first), "token \(first) of \(tokens.count)")
    // The last token is scored, and needs no place.
    let dropped = max(0, tokens.count - 1 - context)
    guard first > dropped else {
      throw ScoringError.window(
        reason: "\(tokens.count - first) tokens to score do not fit the context of \(context)")
    }
    let tokens = dropped > 0 ? Array(tokens[dropped...]) : tokens
    let first = first - dropped
    if let token = tokens.first(where: { !(0..<vocabularySize).contains($0) }) {
      throw DecoderError.tokenOutOfRange(token: token, vocabularySize: vocabularySize)
    }

    // The row of the token before the first one scored is needed, so that one is always run.
    var shared = 0
    let limit = min(first - 1, filled.count)
    while shared < limit, filled[shared] == tokens[shared] { shared += 1 }
    shared = session.truncate(to: shared)
    filled.removeSubrange(shared...)
    if shared < first - 1 {
      try session.append(Array(tokens[shared..<first - 1]))
    }
    let rows = tokens.count - first
    var logits = [Float](repeating: 0, count: rows * vocabularySize)
    var total = 0.0
    var isGreedy = true
    try logits.withUnsafeMutableBufferPointer { buffer in
      let view = MutableMatrixView(buffer.baseAddress!, rows: rows, columns: vocabularySize)
      try session.append(Array(tokens[first - 1..<tokens.count - 1]), logits: view)
      for row in 0..<rows {
        let scores = view.readOnly.row(row)
        total += try logProbability(ofToken: tokens[first + row], in: scores, count: vocabularySize)
        if argmax(scores, count: vocabularySize) != tokens[first + row] { isGreedy = false }
      }
    }
    filled = Array(tokens.dropLast())
    return ContinuationScore(logProbability: total, tokenCount: rows, isGreedy: isGreedy)
  }
}
