/// Why a sequence ended.
public enum FinishReason: String, Sendable {
  /// An end token, which is the last token of the output.
  case stop
  /// The length limit, the end of the context or the time limit.
  case length
  /// A stop string, which the last token completed.
  case stopString = "stop_string"
  /// The caller's wish.
  case interrupted
}

/// One generated sequence.
public struct GeneratedSequence: Sendable {
  /// The new tokens, end token and stop string included.
  public var tokens: [Int]
  /// log p of each new token under the model alone: the log-softmax of its unprocessed logits.
  public var logProbabilities: [Float]
  /// The score by which beam search ranked the sequence (`sequences_scores`); `nil` without beams.
  public var score: Float?
  /// Why it ended.
  public var finishReason: FinishReason
}

/// How guesses of what follows fared.
public struct SpeculationCounts: Sendable, Equatable {
  /// Tokens that were guessed.
  public var drafted = 0
  /// Those of them that came out.
  public var accepted = 0

  /// Nothing so far.
  public init() {}
}

/// What a call to `generate` produced.
public struct GenerationResult: Sendable {
  /// The sequences asked for, the best first when beams were used.
  public var sequences: [GeneratedSequence]
  /// Whether the caller's interruption ended the call.
  public var interrupted: Bool
  /// Time for the prompt.
  public var promptDuration: Duration
  /// Time for everything after the prompt.
  public var generationDuration: Duration
  /// Forward passes after the prompt.
  public var stepCount: Int
  /// How guesses fared, where there were any.
  public var speculation: SpeculationCounts?

  /// Prompt and output of each sequence, shorter rows filled to the longest, as transformers returns them.
  public func filledRows(prompt: [Int], plan: DecodingPlan) -> [[Int]] {
    let longest = sequences.map(\.tokens.count).max() ?? 0
    return sequences.map { sequence in
      prompt + sequence.tokens
        + Array(repeating: plan.fillToken, count: longest - sequence.tokens.count)
    }
  }
}
