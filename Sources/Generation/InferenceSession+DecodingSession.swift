import Transformer

extension InferenceSession: DecodingSession {
  /// Tokens that the model scores, V.
  public var vocabularySize: Int { decoder.configuration.vocabularySize }

  /// Positions that the session can hold.
  public var contextLength: Int { capacity }

  /// Forgets everything, then runs the prompt.
  public func prefill(_ tokens: [Int]) throws -> UnsafeMutableBufferPointer<Float> {
    reset()
    return try append(tokens)
  }
}
