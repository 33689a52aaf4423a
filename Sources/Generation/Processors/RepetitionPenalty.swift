/// Makes each distinct token seen so far less likely, once.  s_v ← s_v·p where s_v < 0, else s_v / p
///
/// - SeeAlso: arXiv:1909.05858; transformers `RepetitionPenaltyLogitsProcessor`. The window is llama.cpp's.
struct RepetitionPenalty: LogitsProcessor {
  private let penalty: Float
  private let window: Int
  /// The number of the last call that saw a token.
  private let seen: Scratch<UInt32>
  private let call = Scratch<UInt32>(count: 1, repeating: 0)

  /// - Parameters:
  ///   - penalty: p > 0.
  ///   - window: latest tokens to look at; −1 means all.
  init(_ penalty: Double, window: Int = -1, vocabularySize: Int) {
    self.penalty = Float(penalty)
    self.window = window
    seen = Scratch(count: vocabularySize, repeating: 0)
  }

  func process(_ scores: UnsafeMutableBufferPointer<Float>, history: UnsafeBufferPointer<Int32>) {
    let first = window < 0 ? 0 : max(0, history.count - window)
    apply(penalty, to: scores, tokens: UnsafeBufferPointer(rebasing: history[first...]))
  }

  func apply(
    _ penalty: Float, to scores: UnsafeMutableBufferPointer<Float>, tokens: UnsafeBufferPointer<Int32>
  ) {
    call.start[0] &+= 1
    let (number, seen) = (call.start[0], seen.start)
    for token in tokens {
      let token = Int(token)
      guard token < scores.count, seen[token] != number else { continue }
      seen[token] = number
      let score = scores[token]
      scores[token] = score < 0 ? score * penalty : score / penalty
    }
  }
}

/// Makes each distinct token of the prompt likelier, once.  s_v ← s_v / p where s_v < 0, else s_v·p
///
/// The factor is 1/p in place of p in the repetition penalty, rounded to fp32 from Double.
///
/// - SeeAlso: transformers `EncoderRepetitionPenaltyLogitsProcessor`, which generate() hands the prompt of a
///   decoder too.
struct PromptRepetitionPenalty: LogitsProcessor {
  private let prompt: [Int32]
  private let inverse: Float
  private let penalty: RepetitionPenalty

  init(_ penalty: Double, prompt: [Int], vocabularySize: Int) {
    self.prompt = prompt.map { Int32($0) }
    inverse = Float(1 / penalty)
    self.penalty = RepetitionPenalty(1, vocabularySize: vocabularySize)
  }

  func process(_ scores: UnsafeMutableBufferPointer<Float>, history: UnsafeBufferPointer<Int32>) {
    prompt.withUnsafeBufferPointer { penalty.apply(inverse, to: scores, tokens: $0) }
  }
}
