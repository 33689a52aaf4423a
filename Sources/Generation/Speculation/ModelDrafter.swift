import Kernels
import Transformer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Guesses with a smaller model of the same vocabulary: its best token, as long as it is sure of it.
public final class ModelDrafter: Drafter {
  private let session: InferenceSession
  private let maximum: Int
  private let leastProbability: Float
  /// What the session holds.
  private var tokens: [Int] = []

  /// Takes over an empty session, which nobody else uses from then on.
  ///
  /// - Parameters:
  ///   - maximum: the most tokens of a guess, at least 1.
  ///   - leastProbability: a guess ends before a token that is less probable to the small model.
  public init(_ session: InferenceSession, maximum: Int, leastProbability: Float = 0.4) {
    precondition(session.length == 0 && maximum > 0)
    self.session = session
    self.maximum = maximum
    self.leastProbability = leastProbability
  }

  /// The small model's own continuation.
  public func draft(_ history: UnsafeBufferPointer<Int32>, limit: Int) throws -> [Int] {
    // The end of its context is the end of its help.
    let count = min(limit, maximum, session.capacity - history.count)
    guard count > 0 else { return [] }
    var kept = 0
    while kept < tokens.count, kept < history.count - 1, tokens[kept] == Int(history[kept]) { kept += 1 }
    kept = session.truncate(to: kept)
    tokens.removeSubrange(kept...)
    let new = history[kept...].map { Int($0) }
    var logits = try session.append(new)
    tokens += new

    var guess: [Int] = []
    while true {
      let row = UnsafePointer(logits.baseAddress!)
      let token = argmax(row, count: session.vocabularySize)
      let probability = LogNormalizer(row, count: session.vocabularySize)(row[token])
      guard probability.isFinite, probability >= log(leastProbability) else { return guess }
      guess.append(token)
      guard guess.count < count else { return guess }
      logits = try session.step([token])
      tokens.append(token)
    }
  }
}
