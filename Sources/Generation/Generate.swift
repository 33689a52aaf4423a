import Kernels

/// Generates what follows a prompt: greedily, by sampling, or with beams, as the plan says.
///
/// Token for token what transformers' `generate` returns in fp32 for one prompt, except where it draws at
/// random: draws depend on seed, sequence and position alone.
///
/// - Parameters:
///   - prompt: P token ids below V.
///   - plan: made for this prompt, context and vocabulary.
///   - session: the model; its state is replaced.
///   - stopDecoder: decodes tokens, special ones included, for the comparison with stop strings; needed where
///     the plan has any.
///   - interruption: looked at before each step; once raised, the call returns what there is.
///   - onToken: called for each token as it is chosen, with the number of its sequence and log p under the
///     model alone. Beams call it never: what they keep is known at the end only.
///   - allowedTokens: the tokens that may follow a sequence (prompt included); `nil` allows all.
///   - drafter: guesses tokens ahead, which are then run together. The result is the same; a plan with several sequences or
///     beams, and a session that cannot take tokens back, do without.
/// - Returns: the sequences with their new tokens.
/// - Throws: `GenerationError` for a prompt that does not fit the model or scores that are not numbers; whatever
///   the session throws.
public func generate(
  prompt: [Int], plan: DecodingPlan, session: any DecodingSession,
  stopDecoder: (any StreamingTextDecoder)? = nil,
  interruption: InterruptionFlag? = nil,
  onToken: ((_ sequence: Int, _ token: Int, _ logProbability: Float) -> Void)? = nil,
  allowedTokens: (([Int]) -> [Int])? = nil, drafter: (any Drafter)? = nil
) throws -> GenerationResult {
  let clock = ContinuousClock()
  let start = clock.now
  let task = try DecodingTask(
    prompt: prompt, plan: plan, vocabularySize: session.vocabularySize, stopDecoder: stopDecoder,
    allowedTokens: allowedTokens, interruption: interruption, start: start)
  let logits = try session.prefill(prompt)
  let prefilled = clock.now

  let outcome: DecodingOutcome
  if let drafter, plan.beamCount == 1, plan.sequenceCount == 1, let session = session as? any DraftingSession
  {
    outcome = try decode(
      TokenRun(task, onToken: onToken), session: session, drafter: drafter, logits: logits)
  } else {
    outcome = try decode(task.makeRun(onToken: onToken), session: session, logits: logits)
  }
  return GenerationResult(
    sequences: outcome.sequences, interrupted: outcome.interrupted,
    promptDuration: start.duration(to: prefilled), generationDuration: prefilled.duration(to: clock.now),
    stepCount: outcome.stepCount, speculation: outcome.speculation)
}

/// The scores of the token after a prompt, after all processors: −∞ where a token was dropped.
///
/// With beams these are log-probabilities, processed as the first step of beam search does.
///
/// - Parameters: as of `generate`.
/// - Returns: (V)
/// - Throws: as `generate`.
public func processedScores(
  prompt: [Int], plan: DecodingPlan, session: any DecodingSession, allowedTokens: (([Int]) -> [Int])? = nil
) throws -> [Float] {
  let task = try DecodingTask(
    prompt: prompt, plan: plan, vocabularySize: session.vocabularySize, stopDecoder: nil,
    allowedTokens: allowedTokens,
    interruption: nil, start: ContinuousClock().now, comparesText: false)
  let logits = try session.prefill(prompt)
  let history = TokenHistories(prompt: prompt)
  let count = session.vocabularySize
  var scores = Array(logits.prefix(count))
  try scores.withUnsafeMutableBufferPointer { scores in
    let row = scores.baseAddress!
    if plan.beamCount > 1 { logSoftmaxRow(row, into: row, count: count) }
    try task.pipeline.process(row, rowCount: 1, final: !plan.samples) { _ in history.row(0) }
    if plan.samples {
      let candidates = CandidateSet(capacity: count)
      _ = try task.pipeline.filter(row, into: candidates, position: prompt.count)
      candidates.scatter(to: row)
    }
  }
  return scores
}

/// What a strategy hands back.
struct DecodingOutcome {
  var sequences: [GeneratedSequence]
  var interrupted: Bool
  var stepCount: Int
  var speculation: SpeculationCounts?
}

/// What both strategies share: the request, checked, and the rules for ending.
struct DecodingTask {
  let prompt: [Int]
  let plan: DecodingPlan
  let pipeline: ProcessorPipeline
  /// The detector of a sequence without new tokens; `nil` without stop strings.
  let stopDetector: StopStringDetector?
  let vocabularySize: Int

  private let interruption: InterruptionFlag?
  private let deadline: ContinuousClock.Instant?
  private let acceptsInvalidLogits: Bool

  init(
    prompt: [Int], plan: DecodingPlan, vocabularySize: Int, stopDecoder: (any StreamingTextDecoder)?,
    allowedTokens: (([Int]) -> [Int])?, interruption: InterruptionFlag?, start: ContinuousClock.Instant,
    comparesText: Bool = true
  ) throws {
    precondition(
      plan.promptLength == prompt.count, "a plan for \(plan.promptLength) tokens, a prompt of \(prompt.count)"
    )
    self.vocabularySize = vocabularySize
    for id in prompt where id < 0 || id >= vocabularySize {
      throw GenerationError.unknownToken(id: id, place: "the prompt", vocabularySize: vocabularySize)
    }
    self.prompt = prompt
    self.plan = plan
    self.interruption = interruption
    pipeline = ProcessorPipeline(
      plan: plan, prompt: prompt, vocabularySize: vocabularySize, allowedTokens: allowedTokens)
    if plan.stopStrings.isEmpty || !comparesText {
      stopDetector = nil
    } else {
      guard let stopDecoder else { throw GenerationError.stopStringsNeedText }
      stopDetector = StopStringDetector(plan.stopStrings, decoder: stopDecoder, prompt: prompt)
    }
    deadline = plan.configuration.maximumTime.map { start.advanced(by: .seconds($0)) }
    acceptsInvalidLogits = plan.configuration.removesInvalidValues ?? false
  }

  var isInterrupted: Bool { interruption?.isRaised ?? false }

  var isTimeUp: Bool { deadline.map { ContinuousClock().now > $0 } ?? false }

  /// Why a sequence ends with the token it just got, if it does.
  /// - Parameter length: tokens of prompt and output, that token included.
  func finishReason(token: Int, length: Int, hasStopString: Bool, isTimeUp: Bool) -> FinishReason? {
    if plan.endTokens.contains(token) { return .stop }
    if hasStopString { return .stopString }
    return length >= plan.maximumLength || isTimeUp ? .length : nil
  }

  /// - Throws: `GenerationError.invalidLogits` for a row that defines no distribution, unless the settings say
  ///   that such rows are mended.
  func check(_ normalizer: LogNormalizer, position: Int) throws {
    guard normalizer.isValid || acceptsInvalidLogits else {
      throw GenerationError.invalidLogits(position: position)
    }
  }
}
