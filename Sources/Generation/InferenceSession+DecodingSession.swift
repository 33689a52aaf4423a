import Transformer

extension InferenceSession: DraftingSession {
  /// Tokens that the model scores, V.
  public var vocabularySize: Int { decoder.configuration.vocabularySize }

  /// Positions that the session can hold.
  public var contextLength: Int { capacity }

  /// Forgets everything, then runs the prompt.
  public func prefill(_ tokens: [Int]) throws -> UnsafeMutableBufferPointer<Float> {
    reset()
    return try append(tokens)
  }

  /// Takes back the tokens from a length on.
  public func takeBack(to length: Int) {
    let left = truncate(to: length)
    precondition(left == length, "\(left) positions are left of \(length)")
  }
}
