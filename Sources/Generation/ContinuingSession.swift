import Transformer

/// A session that remembers what it has run, and of the next prompt runs only what is new.
///
/// The turns of a conversation begin alike: everything before the last message was run for the turn before. A prompt's
/// longest common beginning with what the session holds, prompt and answer alike, is kept; the rest is forgotten and
/// replaced. Scores are those of a fresh session up to the last bits: products of other sizes round differently.
public final class ContinuingSession: DecodingSession {
  private let session: InferenceSession
  /// The tokens of the single row; `nil` once there were several.
  private var tokens: [Int]? = []
  /// Tokens of the last prompt that did not have to be run.
  public private(set) var reusedCount = 0

  /// Takes over an empty session, which nobody else uses from then on.
  public init(_ session: InferenceSession) {
    precondition(session.length == 0, "a session that holds \(session.length) tokens")
    self.session = session
  }

  /// Tokens that the model scores, V.
  public var vocabularySize: Int { session.vocabularySize }

  /// Positions that the session can hold.
  public var contextLength: Int { session.contextLength }

  /// Sequences that are decoded side by side at the moment.
  public var rowCount: Int { session.rowCount }

  /// Forgets everything.
  public func reset() {
    session.reset()
    tokens = []
    reusedCount = 0
  }

  /// Runs what of a prompt is new; afterwards there is one row, which continues from it.
  public func prefill(_ prompt: [Int]) throws -> UnsafeMutableBufferPointer<Float> {
    let stable = session.decoder.configuration.stableLength ?? .max
    var kept = 0
    if let tokens, prompt.count <= stable {
      // The last token is run in any case: it is what gives the scores.
      kept = min(zip(tokens, prompt).prefix { $0 == $1 }.count, prompt.count - 1)
      kept = session.truncate(to: max(kept, 0))
    } else {
      session.reset()
    }
    tokens = Array(prompt[..<kept])
    reusedCount = kept
    let logits = try session.append(Array(prompt[kept...]))
    tokens = prompt
    return logits
  }

  /// Makes row *i* continue from what was row `parents[i]`.
  public func select(parents: [Int]) {
    session.select(parents: parents)
    if parents.count != 1 || parents[0] != 0 { tokens = nil }
  }

  /// Appends one token to every row.
  public func step(_ next: [Int]) throws -> UnsafeMutableBufferPointer<Float> {
    let logits = try session.step(next)
    if next.count == 1 { tokens?.append(next[0]) } else { tokens = nil }
    return logits
  }
}
