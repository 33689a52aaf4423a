import Transformer

/// One of many prompts, with how to go on from it.
public struct BatchPrompt {
  /// P token ids below V.
  public var tokens: [Int]
  /// Made for this prompt.
  public var plan: DecodingPlan
  /// Decodes tokens for the comparison with stop strings; needed where the plan has any.
  public var stopDecoder: (any StreamingTextDecoder)?

  /// Describes the prompt.
  public init(tokens: [Int], plan: DecodingPlan, stopDecoder: (any StreamingTextDecoder)? = nil) {
    self.tokens = tokens
    self.plan = plan
    self.stopDecoder = stopDecoder
  }

  /// Rows that it takes.
  var rowCount: Int { max(plan.beamCount, plan.sequenceCount) }
}

/// Generates what follows many prompts, whose tokens go through the model together.
///
/// Each prompt gets what `generate` gives it alone, up to the last bits of scores: its positions, processors, draws and limits are
/// its own. As soon as enough rows have ended, the next prompt takes their place.
///
/// - Parameters:
///   - batchSize: rows that are decoded side by side: one for each sequence or beam of a prompt. A prompt that needs more has
///     the model for itself.
///   - interruption: looked at before each step; once raised, prompts in hand end with what they have, others are not begun.
///   - onResult: called for each prompt as soon as it is done, with its index.
/// - Throws: `GenerationError` as `generate`; whatever the sessions throw.
public func generate(
  _ prompts: [BatchPrompt], batch: SessionBatch, batchSize: Int, interruption: InterruptionFlag? = nil,
  onResult: (Int, GenerationResult) throws -> Void
) throws {
  precondition(batchSize > 0, "a batch of \(batchSize) rows")
  let clock = ContinuousClock()
  let vocabularySize = batch.decoder.configuration.vocabularySize

  final class Job {
    let index: Int
    let session: InferenceSession
    let run: any DecodingRun
    let start: ContinuousClock.Instant
    var prefilled: ContinuousClock.Instant

    init(
      index: Int, session: InferenceSession, run: any DecodingRun, start: ContinuousClock.Instant
    ) {
      self.index = index
      self.session = session
      self.run = run
      self.start = start
      prefilled = start
    }
  }

  func finish(_ job: Job) throws {
    let outcome = job.run.outcome
    try onResult(
      job.index,
      GenerationResult(
        sequences: outcome.sequences, interrupted: outcome.interrupted,
        promptDuration: job.start.duration(to: job.prefilled),
        generationDuration: job.prefilled.duration(to: clock.now), stepCount: outcome.stepCount))
  }

  var next = 0
  var jobs: [Job] = []
  var going: [Job] = []
  var parts: [SessionBatch.Part] = []
  while true {
    // Prompts for the rows that are free.
    var used = jobs.reduce(0) { $0 + $1.run.tokens.count }
    let known = jobs.count
    parts.removeAll(keepingCapacity: true)
    while next < prompts.count, interruption?.isRaised != true,
      used + prompts[next].rowCount <= batchSize || used == 0
    {
      let prompt = prompts[next]
      let start = clock.now
      let task = try DecodingTask(
        prompt: prompt.tokens, plan: prompt.plan, vocabularySize: vocabularySize,
        stopDecoder: prompt.stopDecoder, allowedTokens: nil, interruption: interruption, start: start)
      let session = try batch.makeSession(capacity: prompt.plan.maximumLength, maximumRows: prompt.rowCount)
      jobs.append(
        Job(index: next, session: session, run: task.makeRun(onToken: nil), start: start))
      parts.append(.init(session, prompt.tokens))
      used += prompt.rowCount
      next += 1
    }
    guard !jobs.isEmpty else { return }

    going.removeAll(keepingCapacity: true)
    if !parts.isEmpty {
      let logits = try batch.prefill(parts).baseAddress!
      let now = clock.now
      // What was in hand before waits for a step of its own.
      going.append(contentsOf: jobs[..<known])
      for (number, job) in jobs[known...].enumerated() {
        job.prefilled = now
        if try job.run.advance(logits + number * vocabularySize) {
          if let parents = job.run.parents { job.session.select(parents: parents) }
          going.append(job)
        } else {
          try finish(job)
        }
      }
      swap(&jobs, &going)
      if jobs.isEmpty { continue }
    }

    parts.removeAll(keepingCapacity: true)
    for job in jobs { parts.append(.init(job.session, job.run.tokens)) }
    var logits = try batch.step(parts).baseAddress!
    going.removeAll(keepingCapacity: true)
    for job in jobs {
      // A run knows its rows by the tokens that it asked for.
      let rows = job.run.tokens.count
      if try job.run.advance(logits) {
        if let parents = job.run.parents { job.session.select(parents: parents) }
        going.append(job)
      } else {
        try finish(job)
      }
      logits += rows * vocabularySize
    }
    swap(&jobs, &going)
  }
}
