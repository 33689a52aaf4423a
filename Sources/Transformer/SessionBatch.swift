import Kernels

/// Sessions of one model whose tokens go through it together: its weights are read once for all of them.
///
/// Each session keeps its own keys and values, its own length and its own rows, and gets what it would get alone, up to the last
/// bits of sums that products of other sizes round differently.
public final class SessionBatch {
  /// One session's part in a pass.
  public struct Part {
    /// The session, made by this batch.
    public let session: InferenceSession
    /// Of a prompt all tokens, of a step one per row.
    public let tokens: [Int]

    /// Describes the part.
    public init(_ session: InferenceSession, _ tokens: [Int]) {
      self.session = session
      self.tokens = tokens
    }
  }

  /// The model.
  public var decoder: Decoder { runner.decoder }
  private let runner: PassRunner
  private let chunkSize: Int
  private let cacheTypes: KeyValueTypes

  /// Prepares a batch without sessions.
  ///
  /// - Parameters:
  ///   - chunkSize: tokens of prompts that are run at once.
  ///   - cacheTypes: how the sessions keep keys and values.
  public init(
    decoder: Decoder, engine: any ComputeEngine, chunkSize: Int = 512,
    cacheTypes: KeyValueTypes = KeyValueTypes()
  ) {
    precondition(chunkSize > 0)
    runner = PassRunner(decoder: decoder, engine: engine)
    self.chunkSize = chunkSize
    self.cacheTypes = cacheTypes
  }

  /// Makes a session of this batch.
  public func makeSession(capacity: Int, maximumRows: Int) throws -> InferenceSession {
    try InferenceSession(
      runner: runner, capacity: capacity, maximumRows: maximumRows, chunkSize: chunkSize,
      cacheTypes: cacheTypes)
  }

  /// Runs prompts, each in an empty session or one that it continues.
  ///
  /// - Returns: (parts, V) scores of what follows each; valid until the next call, and as long as the batch lives.
  /// - Throws: `DecoderError` before anything is computed, or as `InferenceSession.append`.
  public func prefill(_ parts: [Part]) throws -> UnsafeMutableBufferPointer<Float> {
    for part in parts {
      precondition(part.session.runner === runner, "a session of another batch")
      try part.session.checkPrompt(part.tokens)
    }
    var lengths: [Int] = []
    for part in parts {
      lengths.append(part.session.length + part.tokens.count)
      try part.session.recomputeIfNeeded(forLength: lengths[lengths.count - 1])
      part.session.rememberPrompt(part.tokens)
    }
    let logits = runner.logits(rows: parts.count)
    var done = 0
    var finished = 0
    runner.begin()
    for (index, part) in parts.enumerated() {
      var start = 0
      while start < part.tokens.count {
        let room = chunkSize - runner.rowCount
        if room <= 0 {
          try run(logits.rows(done..<finished))
          done = finished
          continue
        }
        let end = min(start + room, part.tokens.count)
        runner.addPrompt(
          part.tokens[start..<end], cache: part.session.cache, sequenceLength: lengths[index],
          scoresLast: end == part.tokens.count)
        start = end
      }
      finished += 1
    }
    try run(logits.rows(done..<finished))
    return UnsafeMutableBufferPointer(start: logits.base, count: parts.count * logits.columns)
  }

  private func run(_ logits: MutableMatrixView) throws {
    guard runner.rowCount > 0 else { return }
    if logits.rows == 0 {
      try runner.run(scored: 0..<0, logits: logits)
    } else {
      try runner.run(scored: nil, logits: logits)
    }
  }

  /// Appends one token to every row of every session.
  ///
  /// - Returns: (rows of all sessions, V) scores of what follows; valid until the next call, and as long as the batch lives.
  /// - Throws: `DecoderError` before anything is computed, or as `InferenceSession.append`.
  public func step(_ parts: [Part]) throws -> UnsafeMutableBufferPointer<Float> {
    var rows = 0
    for part in parts {
      precondition(part.session.runner === runner, "a session of another batch")
      try part.session.checkStep(part.tokens[...])
      rows += part.tokens.count
    }
    for part in parts {
      try part.session.recomputeIfNeeded(forLength: part.session.length + 1)
      part.session.rememberStep(part.tokens[...])
    }
    let logits = runner.logits(rows: rows)
    runner.begin()
    for part in parts {
      runner.addStep(part.tokens[...], cache: part.session.cache, sequenceLength: part.session.length + 1)
    }
    try runner.run(scored: 0..<rows, logits: logits)
    return UnsafeMutableBufferPointer(start: logits.base, count: rows * logits.columns)
  }
}
