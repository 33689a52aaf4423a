import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Beam search over one prompt, deterministic or by sampling.
///
/// B hypotheses run; each step scores B·V continuations, keeps the K best (or draws K), goes on with the best B
/// that do not end, and lets those that end compete for B finished slots by score / length^penalty.
/// K = max(2, 1 + number of end tokens)·B, so that B can always go on. Scores are fp32 throughout, and −1e9
/// stands for "not eligible" as it does in transformers, whose results depend on its rounding.
///
/// - SeeAlso: transformers `GenerationMixin._beam_search`.
final class BeamSearch: DecodingRun {
  private static let ineligible: Float = -1e9

  /// One token of the tree of hypotheses.
  private struct Node {
    var parent: Int32
    var token: Int32
    var logProbability: Float
  }

  private struct Hypothesis {
    var score: Float
    /// −1 is the prompt.
    var node: Int
  }

  private struct Slot {
    var score: Float
    var node: Int
    var isDone: Bool
    var reason: FinishReason
  }

  private struct Candidate {
    var score: Float
    var parent: Int
    var token: Int
    var reason: FinishReason?
    /// Made when the candidate is first kept.
    var node: Int?
    var detector: StopStringDetector?
  }

  private let task: DecodingTask
  private let width: Int
  private let candidateCount: Int
  private let lengthPenalty: Double
  private let earlyStopping: GenerationConfiguration.EarlyStopping
  private let stream: RandomStream

  private var nodes: [Node] = []
  private var running: [Hypothesis]
  private var slots: [Slot]
  private var candidates: [Candidate] = []
  private var detectors: [StopStringDetector?]
  private var isOpen = true

  private let scores: Scratch<Float>
  private var normalizers: [LogNormalizer] = []
  private let pool: Scratch<Float>
  private let sampler: BeamSampler?

  private(set) var outcome: DecodingOutcome
  private(set) var parents: [Int]?
  private(set) var tokens: [Int] = []
  private var lineage: [Int] = []
  private var nextDetectors: [StopStringDetector?] = []
  private var histories: TokenHistories
  /// Rows of the session.
  private var rowCount = 1

  init(_ task: DecodingTask) {
    let plan = task.plan
    self.task = task
    width = plan.beamCount
    candidateCount = max(2, 1 + plan.endTokens.count) * plan.beamCount
    lengthPenalty = plan.configuration.lengthPenalty ?? 1
    earlyStopping = plan.configuration.earlyStopping ?? .heuristic
    stream = RandomStream(seed: plan.seed, sequence: 0)
    running = (0..<width).map { Hypothesis(score: $0 == 0 ? 0 : BeamSearch.ineligible, node: -1) }
    slots = Array(
      repeating: Slot(score: BeamSearch.ineligible, node: -1, isDone: false, reason: .length), count: width)
    detectors = Array(repeating: task.stopDetector, count: width)
    scores = Scratch(count: width * task.vocabularySize, repeating: 0)
    pool = Scratch(count: width + candidateCount, repeating: 0)
    sampler = plan.samples ? BeamSampler(rowCount: width, vocabularySize: task.vocabularySize) : nil
    candidates.reserveCapacity(candidateCount)
    outcome = DecodingOutcome(sequences: [], interrupted: false, stepCount: 0)
    histories = TokenHistories(prompt: task.prompt)
  }

  func advance(_ logits: UnsafeMutablePointer<Float>) throws -> Bool {
    let plan = task.plan
    let isFirst = outcome.stepCount == 0
    let length = histories.length
    if task.isInterrupted {
      outcome.sequences = interruptedSequences(length: length)
      outcome.interrupted = true
      return false
    }

    try score(logits, isFirst: isFirst, position: length) { histories.row(isFirst ? 0 : $0) }
    try chooseCandidates(position: length)
    markFinished(length: length + 1)

    // The best that do not end go on.
    let previousDone = slots.allSatisfy(\.isDone)
    for (index, candidate) in candidates.enumerated() {
      pool.start[index] = candidate.score + (candidate.reason == nil ? 0 : BeamSearch.ineligible)
    }
    lineage.removeAll(keepingCapacity: true)
    tokens.removeAll(keepingCapacity: true)
    nextDetectors.removeAll(keepingCapacity: true)
    let next = topK(width, of: pool.start, count: candidates.count).map { index in
      lineage.append(isFirst ? 0 : candidates[index].parent)
      tokens.append(candidates[index].token)
      nextDetectors.append(candidates[index].detector)
      return Hypothesis(score: pool.start[index], node: node(of: index, logits, isFirst: isFirst))
    }

    updateSlots(logits, isFirst: isFirst, newLength: length + 1 - plan.promptLength, wasFull: previousDone)
    running = next
    swap(&detectors, &nextDetectors)
    updateOpenness(length: length + 1)

    let goesOn =
      isOpen && !(earlyStopping == .whenFull && slots.allSatisfy(\.isDone))
      && candidates.contains { $0.reason == nil }
    guard goesOn else {
      outcome.sequences = slots.prefix(plan.sequenceCount).map(sequence)
      return false
    }

    let isUnchanged = lineage.count == rowCount && lineage.indices.allSatisfy { lineage[$0] == $0 }
    parents = isUnchanged ? nil : lineage
    rowCount = lineage.count
    histories.advance(parents: lineage, appending: tokens)
    outcome.stepCount += 1
    return true
  }

  // MARK: One step

  /// Fills `scores` with the processed log-probabilities of every row.
  private func score(
    _ logits: UnsafeMutablePointer<Float>, isFirst: Bool, position: Int,
    history: (Int) -> UnsafeBufferPointer<Int32>
  ) throws {
    let count = task.vocabularySize
    normalizers.removeAll(keepingCapacity: true)
    for row in 0..<width {
      let out = scores.start + row * count
      if isFirst, row > 0 {
        out.update(from: scores.start, count: count)
        normalizers.append(normalizers[0])
      } else {
        normalizers.append(logSoftmaxRow(logits + row * count, into: out, count: count))
        try task.check(normalizers[row], position: position)
      }
    }
    try task.pipeline.process(scores.start, rowCount: width, final: sampler == nil, history: history)
  }

  /// The K continuations, best first, or in the order drawn.
  private func chooseCandidates(position: Int) throws {
    let count = task.vocabularySize
    candidates.removeAll(keepingCapacity: true)
    if let sampler {
      for row in 0..<width {
        _ = try task.pipeline.filter(scores.start + row * count, into: sampler.rows[row], position: position)
      }
      sampler.draw(
        candidateCount, addends: running.map(\.score),
        uniform: { stream.uniform(position: position, draw: $0) },
        body: { score, row, token in
          candidates.append(Candidate(score: score, parent: row, token: token))
        })
    } else {
      for row in 0..<width {
        let continuations = scores.start + row * count
        let sum = running[row].score
        for token in 0..<count { continuations[token] += sum }
      }
      for index in topK(min(candidateCount, width * count), of: scores.start, count: width * count) {
        let (row, token) = index.quotientAndRemainder(dividingBy: count)
        candidates.append(Candidate(score: scores.start[index], parent: row, token: token))
      }
    }
  }

  /// Finds out which candidates end.
  private func markFinished(length: Int) {
    let isTimeUp = task.isTimeUp
    for index in candidates.indices {
      let token = candidates[index].token
      candidates[index].detector = detectors[candidates[index].parent]
      let hasStopString = candidates[index].detector?.append(token) ?? false
      candidates[index].reason = task.finishReason(
        token: token, length: length, hasStopString: hasStopString, isTimeUp: isTimeUp)
    }
  }

  /// Lets candidates compete with what has finished.
  ///
  /// Only those may that end and are among the first B; the others take part with −1e9 and matter only where
  /// slots are still empty.
  private func updateSlots(
    _ logits: UnsafeMutablePointer<Float>, isFirst: Bool, newLength: Int, wasFull: Bool
  ) {
    let divisor = Float(pow(Double(newLength), lengthPenalty))
    let isClosed = earlyStopping == .whenFull && wasFull
    for (index, slot) in slots.enumerated() { pool.start[index] = slot.score }
    for (rank, candidate) in candidates.enumerated() {
      var score = candidate.score / divisor
      // One after the other: each addition rounds.
      if isClosed { score += BeamSearch.ineligible }
      if !isOpen { score += BeamSearch.ineligible }
      if candidate.reason == nil || rank >= width { score += BeamSearch.ineligible }
      pool.start[width + rank] = score
    }
    slots = topK(width, of: pool.start, count: width + candidates.count).map { index in
      if index < width { return slots[index] }
      let candidate = candidates[index - width]
      return Slot(
        score: pool.start[index], node: node(of: index - width, logits, isFirst: isFirst),
        isDone: candidate.reason != nil && index - width < width, reason: candidate.reason ?? .length)
    }
  }

  /// Asks whether a running hypothesis could still get among the finished ones; never reopens.
  private func updateOpenness(length: Int) {
    let (promptLength, maximumLength) = (task.plan.promptLength, task.plan.maximumLength)
    let hypothetical =
      earlyStopping == .never && lengthPenalty > 0 ? maximumLength - promptLength : length - promptLength
    let bestPossible = running[0].score / Float(pow(Double(hypothetical), lengthPenalty))
    let worst = slots.map(\.score).min() ?? BeamSearch.ineligible
    isOpen = isOpen && slots.contains { bestPossible > ($0.isDone ? worst : BeamSearch.ineligible) }
  }

  /// The candidate's place in the tree.
  private func node(
    of index: Int, _ logits: UnsafeMutablePointer<Float>, isFirst: Bool
  ) -> Int {
    if let node = candidates[index].node { return node }
    let (parent, token) = (candidates[index].parent, candidates[index].token)
    let row = isFirst ? 0 : parent
    let raw = logits[row * task.vocabularySize + token]
    nodes.append(
      Node(
        parent: Int32(running[parent].node), token: Int32(token), logProbability: normalizers[row](raw)))
    candidates[index].node = nodes.count - 1
    return nodes.count - 1
  }

  // MARK: Results

  private func sequence(_ slot: Slot) -> GeneratedSequence {
    var sequence = GeneratedSequence(
      tokens: [], logProbabilities: [], score: slot.score, finishReason: slot.reason)
    var index = slot.node
    while index >= 0 {
      sequence.tokens.append(Int(nodes[index].token))
      sequence.logProbabilities.append(nodes[index].logProbability)
      index = Int(nodes[index].parent)
    }
    sequence.tokens.reverse()
    sequence.logProbabilities.reverse()
    return sequence
  }

  /// The best of what has finished and what was still running.
  private func interruptedSequences(length: Int) -> [GeneratedSequence] {
    let divisor = Float(pow(Double(max(1, length - task.plan.promptLength)), lengthPenalty))
    let unfinished = running.map {
      Slot(score: $0.score / divisor, node: $0.node, isDone: false, reason: .interrupted)
    }
    let ranked = (slots.filter(\.isDone) + unfinished).enumerated().sorted { left, right in
      left.element.score > right.element.score
        || (left.element.score == right.element.score && left.offset < right.offset)
    }
    return ranked.prefix(task.plan.sequenceCount).map { sequence($0.element) }
  }
}

/// Draws continuations of several beams without replacement.
///
/// The k-th draw takes one of those left, with probability in proportion to e^score. When all that have a
/// probability in fp32 are drawn, the best of the others follow, as their order is not defined in torch.
final class BeamSampler {
  /// The candidates of each beam.
  let rows: [CandidateSet]
  private var sums: [Double]

  init(rowCount: Int, vocabularySize: Int) {
    rows = (0..<rowCount).map { _ in CandidateSet(capacity: vocabularySize) }
    sums = Array(repeating: 0, count: rowCount)
  }

  /// - Parameters:
  ///   - number: draws, K.
  ///   - addends: what to add to every score of a row.
  ///   - uniform: a number in [0, 1) for each draw.
  ///   - body: receives score, row and token of each draw in order.
  func draw(
    _ number: Int, addends: [Float], uniform: (Int) -> Double, body: (Float, Int, Int) -> Void
  ) {
    var maximum = -Float.infinity
    for (row, addend) in zip(rows, addends) {
      for index in 0..<row.count { row.scores[index] += addend }
      maximum = max(maximum, maximumOfRow(row.scores, count: row.count))
    }
    for (index, row) in rows.enumerated() {
      sums[index] =
        maximum.isFinite
        ? exponentialsOfRow(row.scores, minus: maximum, into: row.weights, count: row.count) : 0
    }
    for number in 0..<number {
      guard let (row, index) = place(of: uniform(number)) ?? bestLeft() else {
        body(-.infinity, 0, 0)
        continue
      }
      body(rows[row].scores[index], row, Int(rows[row].tokens[index]))
      // Below zero: taken.
      rows[row].weights[index] = -1
      sums[row] = 0
      for other in 0..<rows[row].count where rows[row].weights[other] > 0 {
        sums[row] += Double(rows[row].weights[other])
      }
    }
  }

  /// Where the sum of what is left reaches the given share; `nil` when nothing is left.
  private func place(of uniform: Double) -> (row: Int, index: Int)? {
    let total = sums.reduce(0, +)
    guard total > 0, total.isFinite else { return nil }
    let target = uniform * total
    var sum = 0.0
    var last: (Int, Int)?
    for (number, row) in rows.enumerated() where sums[number] > 0 {
      // The last row with anything left takes what rounding leaves over.
      if sum + sums[number] <= target, sums[(number + 1)...].contains(where: { $0 > 0 }) {
        sum += sums[number]
        continue
      }
      for index in 0..<row.count where row.weights[index] > 0 {
        sum += Double(row.weights[index])
        last = (number, index)
        if sum > target { return last }
      }
    }
    return last
  }

  private func bestLeft() -> (row: Int, index: Int)? {
    var best: (row: Int, index: Int)?
    for (number, row) in rows.enumerated() {
      for index in 0..<row.count where row.weights[index] >= 0 {
        if let current = best, row.scores[index] <= rows[current.row].scores[current.index] { continue }
        best = (number, index)
      }
    }
    return best
  }
}
