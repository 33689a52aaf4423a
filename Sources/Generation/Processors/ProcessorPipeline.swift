import Kernels

/// All processors of a plan, in the order of transformers' `_get_logits_processor`.
struct ProcessorPipeline {
  private var first: [any LogitsProcessor] = []
  private let constraint: AllowedTokens?
  private var second: [any LogitsProcessor] = []
  private var filters: [any CandidateFilter] = []
  private let renormalizes: Bool
  private let vocabularySize: Int

  /// - Parameters:
  ///   - allowedTokens: the tokens that may follow a sequence; `nil` allows all.
  init(
    plan: DecodingPlan, prompt: [Int], vocabularySize: Int, allowedTokens: (([Int]) -> [Int])? = nil
  ) {
    let configuration = plan.configuration
    self.vocabularySize = vocabularySize
    renormalizes = configuration.renormalizesScores ?? false
    constraint = allowedTokens.map(AllowedTokens.init)

    if let biases = configuration.sequenceBiases, !biases.isEmpty {
      first.append(SequenceBias(biases, vocabularySize: vocabularySize))
    }
    if let penalty = configuration.promptRepetitionPenalty, penalty != 1 {
      first.append(PromptRepetitionPenalty(penalty, prompt: prompt, vocabularySize: vocabularySize))
    }
    let window = configuration.repetitionPenaltyWindow ?? -1
    if let penalty = configuration.repetitionPenalty, penalty != 1, window != 0 {
      first.append(RepetitionPenalty(penalty, window: window, vocabularySize: vocabularySize))
    }
    if let size = configuration.noRepeatNGramSize, size > 0 { first.append(NoRepeatNGrams(size)) }
    if let size = configuration.promptNoRepeatNGramSize, size > 0 {
      first.append(NoRepeatPromptNGrams(size, prompt: prompt))
    }
    if let words = configuration.badWords, !words.isEmpty {
      first.append(
        SequenceBias(forbidding: words, endTokens: plan.endTokens, vocabularySize: vocabularySize))
    }
    if configuration.ignoresEndTokens ?? false {
      first.append(MinimumLength(length: .max, endTokens: plan.endTokens))
    } else if plan.minimumLength > 0, !plan.endTokens.isEmpty {
      first.append(MinimumLength(length: plan.minimumLength, endTokens: plan.endTokens))
    }

    if let token = configuration.forcedFirstToken { second.append(ForcedToken(length: 1, tokens: [token])) }
    if let tokens = configuration.forcedLastTokens, !tokens.isEmpty {
      second.append(ForcedToken(length: plan.maximumLength - 1, tokens: tokens))
    }
    if configuration.removesInvalidValues ?? false { second.append(InvalidValueRemoval()) }
    if let decay = configuration.lengthDecay {
      second.append(
        LengthDecay(
          start: plan.promptLength.addingReportingOverflow(decay.start).partialValue, factor: decay.factor,
          endTokens: plan.endTokens))
    }
    if let tokens = configuration.suppressedTokens { second.append(SuppressedTokens(tokens: tokens)) }
    if let tokens = configuration.suppressedFirstTokens {
      // After a prompt of one token a forced token comes first, and the rule is for the one after.
      let waits = plan.promptLength == 1 && configuration.forcedFirstToken != nil
      second.append(SuppressedTokens(tokens: tokens, length: plan.promptLength + (waits ? 1 : 0)))
    }
    if plan.samples { filters = ProcessorPipeline.filters(configuration, plan: plan) }
  }

  private static func filters(
    _ configuration: GenerationConfiguration, plan: DecodingPlan
  ) -> [any CandidateFilter] {
    let spared = plan.beamCount == 1 ? 1 : plan.endTokens.isEmpty ? 2 : plan.endTokens.count + 1
    var temperature: [any CandidateFilter] = []
    if let value = configuration.temperature, value != 1 {
      temperature = [Temperature(temperature: Float(value))]
    }
    func optional<Value: Comparable>(
      _ value: Value?, if applies: (Value) -> Bool, _ make: (Value) -> any CandidateFilter
    ) -> [any CandidateFilter] {
      value.flatMap { applies($0) ? [make($0)] : nil } ?? []
    }
    let topH = optional(configuration.topH, if: { _ in true }) { TopH(share: $0) }
    let topK = optional(configuration.topK ?? 50, if: { $0 > 0 }) { TopK(limit: $0, spared: spared) }
    let topP = optional(configuration.topP, if: { $0 < 1 }) { TopP(mass: $0, spared: spared) }
    let minimumP = optional(configuration.minimumP, if: { _ in true }) { MinimumP(share: $0, spared: spared) }
    let typical = optional(configuration.typicalP, if: { $0 < 1 }) { Typical(mass: $0, spared: spared) }
    let epsilon = optional(configuration.epsilonCutoff, if: { $0 > 0 && $0 < 1 }) {
      EpsilonCutoff(epsilon: $0, spared: spared)
    }
    let eta = optional(configuration.etaCutoff, if: { $0 > 0 && $0 < 1 }) {
      EtaCutoff(epsilon: $0, spared: spared)
    }
    switch configuration.samplerOrder ?? .transformers {
    case .transformers: return temperature + topH + topK + topP + minimumP + typical + epsilon + eta
    case .llamaCpp: return topK + typical + topP + minimumP + topH + epsilon + eta + temperature
    }
  }

  /// Whether scores are changed before any are filtered: if not, they may be read where the model left them.
  var changesScores: Bool { !first.isEmpty || constraint != nil || !second.isEmpty }

  /// Whether `process` alone makes the final scores.
  var changesRows: Bool { changesScores || renormalizes }

  /// Applies everything but the filters, in place.
  ///
  /// - Parameters:
  ///   - rows: (rows, V); beams of one prompt, or one sequence.
  ///   - final: whether no filters follow, so that renormalisation is due.
  ///   - history: the sequence of each row, prompt included.
  func process(
    _ rows: UnsafeMutablePointer<Float>, rowCount: Int, final: Bool,
    history: (Int) -> UnsafeBufferPointer<Int32>
  ) throws {
    func forEachRow(_ body: (UnsafeMutableBufferPointer<Float>, Int) -> Void) {
      for row in 0..<rowCount {
        body(UnsafeMutableBufferPointer(start: rows + row * vocabularySize, count: vocabularySize), row)
      }
    }
    for processor in first { forEachRow { processor.process($0, history: history($1)) } }
    try constraint?.process(rows, rowCount: rowCount, vocabularySize: vocabularySize, history: history)
    for processor in second { forEachRow { processor.process($0, history: history($1)) } }
    if final, renormalizes {
      for row in 0..<rowCount {
        let scores = rows + row * vocabularySize
        logSoftmaxRow(scores, into: scores, count: vocabularySize)
      }
    }
  }

  /// Fills `candidates` from a processed row and applies the filters.
  ///
  /// - Returns: false when every token is forbidden; the set is empty then.
  /// - Throws: `GenerationError.invalidLogits` when the scores define no distribution.
  func filter(_ row: UnsafePointer<Float>, into candidates: CandidateSet, position: Int) throws -> Bool {
    candidates.load(row)
    let normalizer = LogNormalizer(row, count: vocabularySize)
    guard normalizer.isValid else {
      candidates.keep { _ in false }
      guard normalizer.maximum == -.infinity else { throw GenerationError.invalidLogits(position: position) }
      return false
    }
    for filter in filters { filter.apply(to: candidates) }
    if renormalizes {
      logSoftmaxRow(candidates.scores, into: candidates.scores, count: candidates.count)
    }
    return true
  }
}
