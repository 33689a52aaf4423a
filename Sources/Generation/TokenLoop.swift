import Kernels

/// Greedy decoding and sampling: each sequence takes one token per step until it ends.
///
/// Several sequences start from one prompt as copies of its row; a row leaves the session when its sequence ends.
///
/// - SeeAlso: transformers `GenerationMixin._sample`.
enum TokenLoop {
  static func run(
    _ task: DecodingTask, logits firstLogits: UnsafeMutableBufferPointer<Float>,
    onToken: ((Int, Int, Float) -> Void)?
  ) throws -> DecodingOutcome {
    let (plan, session, vocabularySize) = (task.plan, task.session, task.vocabularySize)
    let streams = (0..<plan.sequenceCount).map { RandomStream(seed: plan.seed, sequence: $0) }
    let copiesRows = task.pipeline.changesRows
    let copy = Scratch<Float>(count: copiesRows ? vocabularySize : 0, repeating: 0)
    let candidates = plan.samples ? CandidateSet(capacity: vocabularySize) : nil

    var outcome = DecodingOutcome(
      sequences: Array(
        repeating: GeneratedSequence(tokens: [], logProbabilities: [], score: nil, finishReason: .length),
        count: plan.sequenceCount),
      interrupted: false, stepCount: 0)
    var histories = TokenHistories(prompt: task.prompt)
    /// Sequences that go on; sequence `active[i]` is row i, except that all of them start from row 0.
    var active = Array(0..<plan.sequenceCount)
    var detectors = Array(repeating: task.stopDetector, count: plan.sequenceCount)
    var logits = firstLogits
    var rowsAreShared = true

    while true {
      if task.isInterrupted {
        for sequence in active { outcome.sequences[sequence].finishReason = .interrupted }
        outcome.interrupted = true
        return outcome
      }
      let position = histories.length
      let isTimeUp = task.isTimeUp
      var (parents, tokens, survivors): ([Int], [Int], [Int]) = ([], [], [])

      for (slot, sequence) in active.enumerated() {
        let row = rowsAreShared ? 0 : slot
        let raw = logits.baseAddress! + row * vocabularySize
        let normalizer = LogNormalizer(raw, count: vocabularySize)
        try task.check(normalizer, position: position)

        var scores = raw
        if copiesRows {
          // The raw row is still needed: for log p of the token, and by sequences that share it.
          scores = copy.start
          scores.update(from: raw, count: vocabularySize)
          try task.pipeline.process(scores, rowCount: 1, final: candidates == nil) { _ in histories.row(row) }
        }

        let token: Int
        if let candidates {
          guard try task.pipeline.filter(scores, into: candidates, position: position),
            let index = candidates.draw(streams[sequence].uniform(position: position))
          else { throw GenerationError.noTokenLeft(position: position) }
          token = Int(candidates.tokens[index])
        } else {
          token = argmax(scores, count: vocabularySize)
        }

        let logProbability = normalizer(raw[token])
        outcome.sequences[sequence].tokens.append(token)
        outcome.sequences[sequence].logProbabilities.append(logProbability)
        onToken?(sequence, token, logProbability)

        let hasStopString = detectors[sequence]?.append(token) ?? false
        if let reason = task.finishReason(
          token: token, length: position + 1, hasStopString: hasStopString, isTimeUp: isTimeUp)
        {
          outcome.sequences[sequence].finishReason = reason
        } else {
          parents.append(row)
          tokens.append(token)
          survivors.append(sequence)
        }
      }

      guard !survivors.isEmpty else { return outcome }
      if parents != Array(0..<session.rowCount) { session.select(parents: parents) }
      histories.advance(parents: parents, appending: tokens)
      active = survivors
      rowsAreShared = false
      logits = try session.step(tokens)
      outcome.stepCount += 1
    }
  }
}
