/// How to generate: the fields of transformers' `GenerationConfig` that change the output, and a few of ours.
///
/// Every field is optional, so that layers merge: what the command line leaves open comes from a file, then
/// from the model, then from the defaults (`plan(promptLength:contextLength:vocabularySize:)` fills those in).
///
/// - SeeAlso: transformers `GenerationConfig` (generation/configuration_utils.py), version 5.23.
public struct GenerationConfiguration: Sendable, Equatable {
  /// When beam search has seen enough (`early_stopping`).
  public enum EarlyStopping: Sendable, Equatable {
    /// `false`: when the best running beam, at its present length, cannot beat the worst finished one.
    case heuristic
    /// `true`: as soon as as many sequences have finished as there are beams.
    case whenFull
    /// `"never"`: only when no running beam could still win at any length.
    case never
  }

  /// The order of the processors that shape a distribution for sampling.
  public enum SamplerOrder: String, Sendable, Equatable {
    /// temperature, top-h, top-k, top-p, min-p, typical, epsilon, eta.
    case transformers
    /// top-k, typical, top-p, min-p, then what llama.cpp does not have (top-h, epsilon, eta), temperature last.
    case llamaCpp = "llama.cpp"
  }

  /// What to add to the score of the last token of a sequence whose other tokens have just been generated.
  public struct SequenceBias: Sendable, Equatable {
    /// The sequence; not empty.
    public var tokens: [Int]
    /// The addend; −∞ forbids.
    public var bias: Float

    /// Pairs a sequence with its bias.
    public init(tokens: [Int], bias: Float) {
      self.tokens = tokens
      self.bias = bias
    }
  }

  /// From which new token on, and how fast, end tokens become likelier.
  public struct LengthDecay: Sendable, Equatable {
    /// New tokens before the first reward; a negative number is as if so many had been generated already.
    public var start: Int
    /// The base of the exponential.
    public var factor: Double

    /// Pairs the start with the base.
    public init(start: Int, factor: Double) {
      self.start = start
      self.factor = factor
    }
  }

  // MARK: Length

  /// Tokens of prompt and output together (`max_length`).
  public var maximumLength: Int?
  /// Tokens of the output; beats `maximumLength` (`max_new_tokens`).
  public var maximumNewTokens: Int?
  /// Tokens of prompt and output before an end token may come (`min_length`).
  public var minimumLength: Int?
  /// Tokens of the output before an end token may come; beats `minimumLength` (`min_new_tokens`).
  public var minimumNewTokens: Int?
  /// Seconds after which no further token is begun (`max_time`).
  public var maximumTime: Double?
  /// Texts at whose appearance a sequence ends (`stop_strings`).
  public var stopStrings: [String]?
  /// Whether end tokens are never generated (ours: `ignore_eos`).
  public var ignoresEndTokens: Bool?

  // MARK: Strategy

  /// Whether tokens are drawn at random (`do_sample`).
  public var samples: Bool?
  /// Hypotheses that beam search keeps; 1 means no beams (`num_beams`).
  public var beamCount: Int?
  /// When beam search ends (`early_stopping`).
  public var earlyStopping: EarlyStopping?
  /// The exponent of the length by which a beam's score is divided (`length_penalty`).
  public var lengthPenalty: Double?
  /// Sequences to return (`num_return_sequences`).
  public var returnedSequenceCount: Int?
  /// Where the random stream starts (ours: `seed`).
  public var seed: UInt64?

  // MARK: Distribution, when sampling

  /// The divisor of the scores; 0 means greedy (`temperature`).
  public var temperature: Double?
  /// Best tokens to keep; 0 keeps all (`top_k`).
  public var topK: Int?
  /// Probability mass to keep (`top_p`).
  public var topP: Double?
  /// Probability relative to the best token's below which tokens go (`min_p`).
  public var minimumP: Double?
  /// Share of the entropy to keep (`top_h`).
  public var topH: Double?
  /// Mass of locally typical tokens to keep (`typical_p`).
  public var typicalP: Double?
  /// Probability below which tokens go (`epsilon_cutoff`).
  public var epsilonCutoff: Double?
  /// The entropy-dependent form of `epsilonCutoff` (`eta_cutoff`).
  public var etaCutoff: Double?
  /// The order of these processors (ours: `sampler_order`).
  public var samplerOrder: SamplerOrder?

  // MARK: Scores

  /// The divisor of positive scores and factor of negative ones for tokens already seen (`repetition_penalty`).
  public var repetitionPenalty: Double?
  /// Latest tokens that the repetition penalty looks at; −1 means all (ours: `repetition_penalty_window`).
  public var repetitionPenaltyWindow: Int?
  /// The reward for tokens of the prompt (`encoder_repetition_penalty`).
  public var promptRepetitionPenalty: Double?
  /// Size of the n-grams that may occur only once; 0 means none (`no_repeat_ngram_size`).
  public var noRepeatNGramSize: Int?
  /// Size of the prompt's n-grams that the output may not repeat; 0 means none (`encoder_no_repeat_ngram_size`).
  public var promptNoRepeatNGramSize: Int?
  /// Sequences that are never completed (`bad_words_ids`).
  public var badWords: [[Int]]?
  /// Sequences that are made more or less likely (`sequence_bias`).
  public var sequenceBiases: [SequenceBias]?
  /// The token to generate after a prompt of one token (`forced_bos_token_id`).
  public var forcedFirstToken: Int?
  /// Tokens one of which is generated last when the length limit is reached (`forced_eos_token_id`).
  public var forcedLastTokens: [Int]?
  /// The growing reward for ending (`exponential_decay_length_penalty`).
  public var lengthDecay: LengthDecay?
  /// Tokens that are never generated (`suppress_tokens`).
  public var suppressedTokens: [Int]?
  /// Tokens that are not generated first (`begin_suppress_tokens`).
  public var suppressedFirstTokens: [Int]?
  /// Whether scores are turned into log-probabilities after all processors (`renormalize_logits`).
  public var renormalizesScores: Bool?
  /// Whether NaN and infinities are replaced by numbers (`remove_invalid_values`).
  public var removesInvalidValues: Bool?

  // MARK: Special tokens

  /// Tokens that end a sequence (`eos_token_id`).
  public var endTokens: [Int]?
  /// The token that begins a text (`bos_token_id`).
  public var beginToken: Int?
  /// The token that fills short rows (`pad_token_id`).
  public var padToken: Int?

  /// What the readers of these settings had to remark (unknown fields, mostly), for stderr.
  public var remarks: [String] = []

  /// A configuration that leaves everything open.
  public init() {}

  /// This configuration, its gaps filled from one of lower priority.
  public func merged(over lower: GenerationConfiguration) -> GenerationConfiguration {
    var merged = self
    func fill<Value>(_ path: WritableKeyPath<GenerationConfiguration, Value?>) {
      if merged[keyPath: path] == nil { merged[keyPath: path] = lower[keyPath: path] }
    }
    fill(\.maximumLength)
    fill(\.maximumNewTokens)
    fill(\.minimumLength)
    fill(\.minimumNewTokens)
    fill(\.maximumTime)
    fill(\.stopStrings)
    fill(\.ignoresEndTokens)
    fill(\.samples)
    fill(\.beamCount)
    fill(\.earlyStopping)
    fill(\.lengthPenalty)
    fill(\.returnedSequenceCount)
    fill(\.seed)
    fill(\.temperature)
    fill(\.topK)
    fill(\.topP)
    fill(\.minimumP)
    fill(\.topH)
    fill(\.typicalP)
    fill(\.epsilonCutoff)
    fill(\.etaCutoff)
    fill(\.samplerOrder)
    fill(\.repetitionPenalty)
    fill(\.repetitionPenaltyWindow)
    fill(\.promptRepetitionPenalty)
    fill(\.noRepeatNGramSize)
    fill(\.promptNoRepeatNGramSize)
    fill(\.badWords)
    fill(\.sequenceBiases)
    fill(\.forcedFirstToken)
    fill(\.forcedLastTokens)
    fill(\.lengthDecay)
    fill(\.suppressedTokens)
    fill(\.suppressedFirstTokens)
    fill(\.renormalizesScores)
    fill(\.removesInvalidValues)
    fill(\.endTokens)
    fill(\.beginToken)
    fill(\.padToken)
    merged.remarks += lower.remarks
    return merged
  }

  /// Checks every field's range.
  ///
  /// - Parameter source: the file the fields came from, for messages; `nil` names them as flags (`--top-p`).
  /// - Throws: `GenerationError.invalidSetting` for the first field out of range.
  public func validate(source: String? = nil) throws {
    func name(_ field: String) -> String {
      if let source { return "\(source): \(field)" }
      return "--" + field.replacing("_", with: "-")
    }
    func require<Value>(
      _ field: String, _ value: Value?, _ requirement: String, _ holds: (Value) -> Bool
    ) throws {
      guard let value, !holds(value) else { return }
      throw GenerationError.invalidSetting(name: name(field), requirement: requirement, found: "\(value)")
    }
    func requireTokens(_ field: String, _ tokens: [Int]?) throws {
      for token in tokens ?? [] {
        try require(field, token, "a token id (0 or more)") { $0 >= 0 && $0 <= Int(Int32.max) }
      }
    }
    try require("max_length", maximumLength, "1 or more") { $0 >= 1 }
    try require("max_new_tokens", maximumNewTokens, "1 or more") { $0 >= 1 }
    try require("min_length", minimumLength, "0 or more") { $0 >= 0 }
    try require("min_new_tokens", minimumNewTokens, "0 or more") { $0 >= 0 }
    try require("max_time", maximumTime, "0 or more seconds") { $0 >= 0 }
    try require("stop_strings", stopStrings, "texts that are not empty") { !$0.contains("") }
    try require("num_beams", beamCount, "between 1 and 1024") { (1...1024).contains($0) }
    try require("length_penalty", lengthPenalty, "a finite number") { $0.isFinite }
    try require("num_return_sequences", returnedSequenceCount, "between 1 and 1024") {
      (1...1024).contains($0)
    }
    try require("temperature", temperature, "0 (greedy) or a positive number") { $0 >= 0 && $0.isFinite }
    try require("top_k", topK, "0 (off) or more") { $0 >= 0 }
    try require("top_p", topP, "between 0 and 1") { (0...1).contains($0) }
    try require("min_p", minimumP, "between 0 and 1") { (0...1).contains($0) }
    try require("top_h", topH, "above 0 and at most 1") { $0 > 0 && $0 <= 1 }
    try require("typical_p", typicalP, "above 0 and at most 1") { $0 > 0 && $0 <= 1 }
    try require("epsilon_cutoff", epsilonCutoff, "between 0 (off) and 1") { (0...1).contains($0) }
    try require("eta_cutoff", etaCutoff, "between 0 (off) and 1") { (0...1).contains($0) }
    try require("repetition_penalty", repetitionPenalty, "a positive number") { $0 > 0 && $0.isFinite }
    try require("repetition_penalty_window", repetitionPenaltyWindow, "-1 (all), 0 (off) or more") {
      $0 >= -1
    }
    try require("encoder_repetition_penalty", promptRepetitionPenalty, "a positive number") {
      $0 > 0 && $0.isFinite
    }
    try require("no_repeat_ngram_size", noRepeatNGramSize, "0 (off) or more") { $0 >= 0 }
    try require("encoder_no_repeat_ngram_size", promptNoRepeatNGramSize, "0 (off) or more") { $0 >= 0 }
    for word in badWords ?? [] { try requireTokens("bad_words_ids", word) }
    for bias in sequenceBiases ?? [] {
      try require("sequence_bias", bias.tokens, "made of sequences that are not empty") { !$0.isEmpty }
      try requireTokens("sequence_bias", bias.tokens)
      try require("sequence_bias", bias.bias, "made of biases that are numbers") { !$0.isNaN }
    }
    try requireTokens("forced_bos_token_id", forcedFirstToken.map { [$0] })
    try requireTokens("forced_eos_token_id", forcedLastTokens)
    try require("exponential_decay_length_penalty", lengthDecay, "a start and a finite factor") {
      $0.start.magnitude <= Int32.max.magnitude && $0.factor.isFinite
    }
    try requireTokens("suppress_tokens", suppressedTokens)
    try requireTokens("begin_suppress_tokens", suppressedFirstTokens)
  }
}
