#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Forbids the end tokens while the sequence is shorter than a length.
///
/// - SeeAlso: transformers `MinLengthLogitsProcessor`, `MinNewTokensLengthLogitsProcessor`.
struct MinimumLength: LogitsProcessor {
  /// Tokens of prompt and output; `Int.max` forbids end tokens for good.
  let length: Int
  let endTokens: [Int]

  func process(_ scores: UnsafeMutableBufferPointer<Float>, history: UnsafeBufferPointer<Int32>) {
    if history.count < length { scores.forbid(endTokens) }
  }
}

/// Leaves only the given tokens when the sequence has a certain length.
///
/// - SeeAlso: transformers `ForcedBOSTokenLogitsProcessor` (length 1), `ForcedEOSTokenLogitsProcessor`
///   (one short of the maximum).
struct ForcedToken: LogitsProcessor {
  let length: Int
  let tokens: [Int]

  func process(_ scores: UnsafeMutableBufferPointer<Float>, history: UnsafeBufferPointer<Int32>) {
    if history.count == length { scores.force(tokens) }
  }
}

/// Replaces what is not a number: NaN by 0, +∞ and −∞ by the largest and smallest finite ones.
///
/// - SeeAlso: transformers `InfNanRemoveLogitsProcessor`.
struct InvalidValueRemoval: LogitsProcessor {
  func process(_ scores: UnsafeMutableBufferPointer<Float>, history: UnsafeBufferPointer<Int32>) {
    let largest = Float.greatestFiniteMagnitude
    for index in scores.indices {
      let score = scores[index]
      scores[index] = score.isNaN ? 0 : score == .infinity ? largest : score == -.infinity ? -largest : score
    }
  }
}

/// Makes end tokens likelier the longer the output.  s_e += |s_e|·(f^(L − start) − 1) for L > start
///
/// - SeeAlso: transformers `ExponentialDecayLengthPenalty`.
struct LengthDecay: LogitsProcessor {
  /// Tokens of prompt and output after which it begins.
  let start: Int
  let factor: Double
  let endTokens: [Int]

  func process(_ scores: UnsafeMutableBufferPointer<Float>, history: UnsafeBufferPointer<Int32>) {
    guard history.count > start else { return }
    let growth = Float(pow(factor, Double(history.count - start)) - 1)
    for token in Set(endTokens) where scores[token].isFinite {
      scores[token] += abs(scores[token]) * growth
    }
  }
}

/// Forbids tokens, always or at one length only.
///
/// - SeeAlso: transformers `SuppressTokensLogitsProcessor`, `SuppressTokensAtBeginLogitsProcessor`.
struct SuppressedTokens: LogitsProcessor {
  let tokens: [Int]
  /// The length at which they are forbidden; `nil` means always.
  var length: Int?

  func process(_ scores: UnsafeMutableBufferPointer<Float>, history: UnsafeBufferPointer<Int32>) {
    if length == nil || history.count == length { scores.forbid(tokens) }
  }
}

/// Forbids all tokens but those that a function of the sequence allows.
///
/// When that leaves nothing in any beam, the allowed tokens get score 0 in every beam instead.
///
/// - SeeAlso: transformers `PrefixConstrainedLogitsProcessor`.
struct AllowedTokens {
  let allowed: ([Int]) -> [Int]

  /// - Parameters:
  ///   - rows: (rows, V) scores of beams of one prompt, or of one sequence.
  ///   - history: the sequence of each row.
  /// - Throws: `GenerationError.noTokenLeft` where nothing is allowed.
  func process(
    _ rows: UnsafeMutablePointer<Float>, rowCount: Int, vocabularySize: Int,
    history: (Int) -> UnsafeBufferPointer<Int32>
  ) throws {
    let allowedTokens = try (0..<rowCount).map { row in
      let history = history(row)
      let tokens = allowed(history.map { Int($0) }).filter { $0 >= 0 && $0 < vocabularySize }
      guard !tokens.isEmpty else { throw GenerationError.noTokenLeft(position: history.count) }
      return tokens
    }
    let unsatisfiable = allowedTokens.indices.allSatisfy { row in
      allowedTokens[row].allSatisfy { rows[row * vocabularySize + $0] == -.infinity }
    }
    for (row, tokens) in allowedTokens.enumerated() {
      let scores = UnsafeMutableBufferPointer(start: rows + row * vocabularySize, count: vocabularySize)
      let kept = tokens.map { unsatisfiable ? 0 : scores[$0] }
      scores.update(repeating: -.infinity)
      for (token, score) in zip(tokens, kept) { scores[token] = score }
    }
  }
}
