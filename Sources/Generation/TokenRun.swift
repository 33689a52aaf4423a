import Kernels

/// Greedy decoding and sampling: each sequence takes one token per step until it ends.
///
/// Several sequences start from one prompt as copies of its row; a row leaves the session when its sequence ends.
///
/// - SeeAlso: transformers `GenerationMixin._sample`.
final class TokenRun: DecodingRun {
  private(set) var outcome: DecodingOutcome
  private(set) var parents: [Int]?
  private(set) var tokens: [Int] = []

  private let task: DecodingTask
  private let streams: [RandomStream]
  private let copy: Scratch<Float>?
  private let candidates: CandidateSet?
  private let onToken: ((Int, Int, Float) -> Void)?
  private var histories: TokenHistories
  private var detectors: [StopStringDetector?]
  /// Sequences that go on; sequence `active[i]` is row i, except that all of them start from row 0.
  private var active: [Int]
  private var survivors: [Int] = []
  private var lineage: [Int] = []
  private var rowsAreShared = true
  /// Rows of the session.
  private var rowCount = 1

  init(_ task: DecodingTask, onToken: ((Int, Int, Float) -> Void)?) {
    let plan = task.plan
    self.task = task
    self.onToken = onToken
    streams = (0..<plan.sequenceCount).map { RandomStream(seed: plan.seed, sequence: $0) }
    copy = task.pipeline.changesRows ? Scratch(count: task.vocabularySize, repeating: 0) : nil
    candidates = plan.samples ? CandidateSet(capacity: task.vocabularySize) : nil
    outcome = DecodingOutcome(
      sequences: Array(
        repeating: GeneratedSequence(tokens: [], logProbabilities: [], score: nil, finishReason: .length),
        count: plan.sequenceCount),
      interrupted: false, stepCount: 0)
    histories = TokenHistories(prompt: task.prompt)
    active = Array(0..<plan.sequenceCount)
    detectors = Array(repeating: task.stopDetector, count: plan.sequenceCount)
  }

  /// Tokens of prompt and output.
  var length: Int { histories.length }

  /// Prompt and output of the single sequence; valid until the next change.
  var history: UnsafeBufferPointer<Int32> { histories.row(0) }

  func advance(_ logits: UnsafeMutablePointer<Float>) throws -> Bool {
    guard !interrupt() else { return false }
    let isTimeUp = task.isTimeUp
    lineage.removeAll(keepingCapacity: true)
    survivors.removeAll(keepingCapacity: true)
    tokens.removeAll(keepingCapacity: true)
    for (slot, sequence) in active.enumerated() {
      let row = rowsAreShared ? 0 : slot
      let (token, ends) = try take(
        logits + row * task.vocabularySize, row: row, sequence: sequence, isTimeUp: isTimeUp)
      guard !ends else { continue }
      lineage.append(row)
      tokens.append(token)
      survivors.append(sequence)
    }
    guard !survivors.isEmpty else { return false }
    histories.advance(parents: lineage, appending: tokens)
    let isUnchanged = lineage.count == rowCount && lineage.indices.allSatisfy { lineage[$0] == $0 }
    parents = isUnchanged ? nil : lineage
    rowCount = lineage.count
    swap(&active, &survivors)
    rowsAreShared = false
    outcome.stepCount += 1
    return true
  }

  /// Chooses the next token of the single sequence and appends it.
  ///
  /// - Parameter raw: (V) logits.
  /// - Returns: the token, and whether the sequence ends with it.
  func takeOne(_ raw: UnsafeMutablePointer<Float>) throws -> (token: Int, ends: Bool) {
    let (token, ends) = try take(raw, row: 0, sequence: 0, isTimeUp: task.isTimeUp)
    if !ends {
      tokens.removeAll(keepingCapacity: true)
      tokens.append(token)
      lineage.removeAll(keepingCapacity: true)
      lineage.append(0)
      histories.advance(parents: lineage, appending: tokens)
    }
    return (token, ends)
  }

  /// Counts a pass through the model.
  func countStep() { outcome.stepCount += 1 }

  /// Ends all sequences if that is wished for.
  func interrupt() -> Bool {
    guard task.isInterrupted else { return false }
    for sequence in active { outcome.sequences[sequence].finishReason = .interrupted }
    outcome.interrupted = true
    return true
  }

  /// Chooses the next token of one sequence.
  private func take(
    _ raw: UnsafeMutablePointer<Float>, row: Int, sequence: Int, isTimeUp: Bool
  ) throws -> (token: Int, ends: Bool) {
    let position = histories.length
    let normalizer = LogNormalizer(raw, count: task.vocabularySize)
    try task.check(normalizer, position: position)

    var scores = raw
    if let copy {
      // The raw row is still needed: for log p of the token, and by sequences that share it.
      scores = copy.start
      scores.update(from: raw, count: task.vocabularySize)
      try task.pipeline.process(scores, rowCount: 1, final: candidates == nil) { _ in histories.row(row) }
    }

    let token: Int
    if let candidates {
      guard try task.pipeline.filter(scores, into: candidates, position: position),
        let index = candidates.draw(streams[sequence].uniform(position: position))
      else { throw GenerationError.noTokenLeft(position: position) }
      token = Int(candidates.tokens[index])
    } else {
      token = argmax(scores, count: task.vocabularySize)
    }

    let logProbability = normalizer(raw[token])
    outcome.sequences[sequence].tokens.append(token)
    outcome.sequences[sequence].logProbabilities.append(logProbability)
    onToken?(sequence, token, logProbability)

    let hasStopString = detectors[sequence]?.append(token) ?? false
    let reason = task.finishReason(
      token: token, length: position + 1, hasStopString: hasStopString, isTimeUp: isTimeUp)
    if let reason { outcome.sequences[sequence].finishReason = reason }
    return (token, reason != nil)
  }
}
