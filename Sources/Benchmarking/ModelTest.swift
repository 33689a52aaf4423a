import Transformer

/// One thing that a model does and that takes time, as llama-bench names it.
public struct ModelTest: Sendable, Equatable {
  /// What is timed.
  public enum Kind: Sendable, Equatable {
    /// A prompt, run as a whole; scores of what follows its last token.
    case prompt
    /// Tokens, one after the other; scores after each.
    case generation
  }

  /// What is timed.
  public let kind: Kind
  /// How many tokens.
  public let tokenCount: Int
  /// Positions that are filled before, outside of the time.
  public let depth: Int

  /// Describes a test.
  public init(_ kind: Kind, tokenCount: Int, depth: Int = 0) {
    self.kind = kind
    self.tokenCount = tokenCount
    self.depth = depth
  }

  /// `pp512`, `tg128 @ d1024`.
  public var name: String {
    (kind == .prompt ? "pp" : "tg") + String(tokenCount) + (depth > 0 ? " @ d\(depth)" : "")
  }

  /// Positions that it fills.
  public var positions: Int { depth + tokenCount }
}

/// What a token costs at least, from the shape alone: the numerators and denominators of the limits.
public struct ModelCost: Sendable, Equatable {
  /// Floating-point operations of a token, on average over the test.
  public let operationsPerToken: Double
  /// Bytes of weights and cache that a token reads, on average over the test.
  public let bytesPerToken: Double

  /// Counts.
  ///
  /// Operations: 2 per weight of the blocks' matrices; 4·H·D per layer and visible position (q·Kᵀ and p·V, the
  /// causal half only: on average depth + (n + 1)/2 positions); 2·C·V for each position that is scored, which is
  /// the last of a prompt and each one generated.
  ///
  /// Bytes: for generation those of matrices and head as they lie in memory (of a mixture the experts that a token takes),
  /// 4 per norm and bias, and 8·G·D per layer and visible position; for a prompt the weights once per chunk.
  ///
  /// - Parameter weights: as they lie in memory; `Float` when not given.
  public init(_ model: ModelDescription, test: ModelTest, chunk: Int, weights held: DecoderWeights? = nil) {
    let configuration = model.configuration
    let counts = model.parameterCounts
    let visible = Double(test.depth) + Double(test.tokenCount + 1) / 2
    let layers = Double(configuration.layerCount)
    let head = Double(configuration.hiddenSize) * Double(configuration.vocabularySize)
    let tokens = Double(test.tokenCount)
    let scoredShare = test.kind == .prompt ? 1 / tokens : 1

    operationsPerToken =
      2 * Double(counts.matrices) + 4 * layers * Double(configuration.attention.queryWidth) * visible
      + 2 * head * scoredShare
    let matrices =
      held.map { Double($0.matrixByteCount(expertsPerToken: configuration.experts?.perToken ?? 0)) }
      ?? 4 * Double(counts.matrices)
    let headBytes = held.map { Double($0.head.byteCount) } ?? 4 * head
    let weights = matrices + 4 * Double(counts.vectors) + headBytes * scoredShare
    let cache = 8 * layers * Double(configuration.attention.keyValueWidth) * visible
    let passes = test.kind == .prompt ? (tokens / Double(chunk)).rounded(.up) / tokens : 1
    bytesPerToken = weights * passes + cache
  }
}
