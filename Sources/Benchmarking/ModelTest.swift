import Transformer

/// One thing that a model does and that takes time, as llama-bench names it.
public struct ModelTest: Sendable, Equatable {
  /// What is timed.
  public enum Kind: Sendable, Equatable {
    /// A prompt, run as a whole; scores of what follows its last token.
    case prompt
    /// Tokens, one after the other; scores after each.
    case generation
    /// Tokens by beam search, which lets no n-gram of a size occur twice; 0 lets all.
    case beams(count: Int, noRepeatNGramSize: Int)
    /// Tokens by greedy search, up to so many at a time guessed from what was there before; 0 guesses none.
    case lookup(maximum: Int)
  }

  /// What is timed.
  public let kind: Kind
  /// How many tokens.
  public let tokenCount: Int
  /// Positions that are filled before, outside of the time.
  public let depth: Int
  /// Sequences that are decoded together, each with so many tokens.
  public let parallel: Int

  /// Describes a test.
  public init(_ kind: Kind, tokenCount: Int, depth: Int = 0, parallel: Int = 1) {
    self.kind = kind
    self.tokenCount = tokenCount
    self.depth = depth
    self.parallel = parallel
  }

  /// `pp512`, `tg128 @ d1024`, `tg128 x8`.
  public var name: String {
    let suffix = (depth > 0 ? " @ d\(depth)" : "") + (parallel > 1 ? " x\(parallel)" : "")
    return switch kind {
    case .prompt: "pp\(tokenCount)" + suffix
    case .generation: "tg\(tokenCount)" + suffix
    case .beams(let count, let size):
      "tg\(tokenCount)" + suffix + ", \(count) beams" + (size > 0 ? ", no \(size)-gram twice" : "")
    case .lookup(let maximum):
      "tg\(tokenCount)" + suffix + (maximum > 0 ? ", look-up of \(maximum)" : ", greedy")
    }
  }

  /// Positions that each sequence fills.
  public var positions: Int { max(depth, isWhole ? 1 : 0) + tokenCount }

  /// Tokens that count.
  public var countedTokens: Int { tokenCount * parallel }

  /// Whether it is a search from a prompt to its end, and not a number of passes.
  var isWhole: Bool {
    switch kind {
    case .prompt, .generation: false
    case .beams, .lookup: true
    }
  }

  /// Beams, and the size of n-grams that may not occur twice; 1 and 0 without a search.
  var beams: (count: Int, noRepeatNGramSize: Int) {
    if case .beams(let count, let size) = kind { (count, size) } else { (1, 0) }
  }

  /// Tokens that are guessed at a time, 0 without guesses.
  var lookup: Int {
    if case .lookup(let maximum) = kind { maximum } else { 0 }
  }

  /// Rows that are kept side by side.
  public var rows: Int {
    if case .beams(let count, _) = kind { count } else { parallel }
  }
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
  /// 4 per norm and bias, and those of the keys and values (8·G·D as floats) per layer and visible position; for a prompt the
  /// weights once per chunk.
  ///
  /// - Parameter weights: as they lie in memory; `Float` when not given.
  public init(
    _ model: ModelDescription, test: ModelTest, chunk: Int, weights held: DecoderWeights? = nil,
    cacheTypes: KeyValueTypes = KeyValueTypes()
  ) {
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
    // Sequences that are decoded together share one reading of the weights.
    let weights = (matrices + 4 * Double(counts.vectors) + headBytes * scoredShare) / Double(test.parallel)
    let cache = layers * Double(cacheTypes.byteCount(configuration.attention)) * visible
    let passes = test.kind == .prompt ? (tokens / Double(chunk)).rounded(.up) / tokens : 1
    bytesPerToken = weights * passes + cache
  }
}
