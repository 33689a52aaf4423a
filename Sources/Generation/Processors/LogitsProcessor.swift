/// Rewrites the scores of the next token of one sequence, in place.
///
/// Scores are raw logits, or log-probabilities in beam search. Arithmetic is fp32, operation by operation as
/// torch performs it; scalars are rounded to fp32 first.
protocol LogitsProcessor {
  /// - Parameters:
  ///   - scores: (V)
  ///   - history: the sequence so far, prompt included.
  func process(_ scores: UnsafeMutableBufferPointer<Float>, history: UnsafeBufferPointer<Int32>)
}

extension UnsafeMutableBufferPointer<Float> {
  /// Makes tokens impossible; ids beyond the vocabulary are passed over.
  func forbid(_ tokens: [Int]) {
    for token in tokens where token >= 0 && token < count { self[token] = -.infinity }
  }

  /// Leaves nothing but the given tokens, each with score 0.
  func force(_ tokens: [Int]) {
    update(repeating: -.infinity)
    for token in tokens { self[token] = 0 }
  }
}
