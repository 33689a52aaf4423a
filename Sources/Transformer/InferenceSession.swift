import Kernels

/// One conversation with a decoder: the tokens so far, as keys and values, and what may follow them.
///
/// Not for use by two threads at once; make a session each.
public final class InferenceSession {
  /// Rows of a pass that get the same bits however many of them there are: tokens drafted and tokens decoded one by one
  /// have the same scores.
  public static let alikeRows = 8

  /// The model.
  public let decoder: Decoder
  /// What computes.
  public let engine: any ComputeEngine
  /// Positions that the session can hold.
  public var capacity: Int { cache.capacity }
  /// Positions filled.
  public var length: Int { cache.length }
  /// Rows in use.
  public var rowCount: Int { cache.rowCount }
  /// How keys and values are kept.
  public var cacheTypes: KeyValueTypes { cache.types }
  /// Bytes of keys and values at the moment.
  public var cacheByteCount: Int { cache.usedByteCount }

  let cache: KeyValueCache
  let runner: PassRunner
  private let chunkSize: Int
  /// The tokens of each row, where they may have to be run anew.
  private var histories: [[Int]] = []

  /// Prepares a session.
  ///
  /// - Parameters:
  ///   - capacity: positions to make room for; the model's context when not given, and never more than a learned
  ///     embedding of positions has.
  ///   - maximumRows: sequences that may be decoded side by side.
  ///   - chunkSize: tokens of a prompt that are run at once; memory for activations grows with it.
  ///   - cacheTypes: how keys and values are kept.
  public convenience init(
    decoder: Decoder, engine: any ComputeEngine, capacity: Int? = nil, maximumRows: Int = 1,
    chunkSize: Int = 512, cacheTypes: KeyValueTypes = KeyValueTypes()
  ) throws {
    try self.init(
      runner: PassRunner(decoder: decoder, engine: engine), capacity: capacity, maximumRows: maximumRows,
      chunkSize: chunkSize, cacheTypes: cacheTypes)
  }

  init(
    runner: PassRunner, capacity: Int?, maximumRows: Int, chunkSize: Int, cacheTypes: KeyValueTypes
  ) throws {
    precondition(chunkSize > 0 && maximumRows > 0)
    let configuration = runner.decoder.configuration
    let capacity = min(capacity ?? configuration.contextLength, configuration.maximumPositions ?? .max)
    decoder = runner.decoder
    engine = runner.engine
    self.runner = runner
    self.chunkSize = min(chunkSize, capacity)
    cache = try KeyValueCache(
      layerCount: configuration.layerCount, shape: configuration.attention, capacity: capacity,
      maximumRows: maximumRows, types: cacheTypes, windows: configuration.layers.map(\.window),
      slack: max(self.chunkSize, 64))
  }

  /// Forgets all tokens.
  public func reset() {
    cache.removeAll()
    histories.removeAll()
  }

  /// Forgets the tokens of the session's single row from a length on, so that others may follow what is left.
  ///
  /// What is left is what running those tokens alone would give. Where that cannot be, because the early positions
  /// of a long sequence differ from those of a shorter one, or because layers with a sliding window no longer have
  /// what the positions from there on see, nothing is left.
  ///
  /// - Parameter newLength: up to `length`.
  /// - Returns: the positions left: `newLength` or 0.
  @discardableResult
  public func truncate(to newLength: Int) -> Int {
    precondition(rowCount <= 1, "one row can be shortened, there are \(rowCount)")
    precondition((0...length).contains(newLength), "\(newLength) of \(length) positions")
    if newLength < length {
      if let stable = decoder.configuration.stableLength, length > stable {
        reset()
        return 0
      }
      guard cache.canTruncate(to: newLength) else {
        reset()
        return 0
      }
    }
    cache.truncate(to: newLength)
    if !histories.isEmpty { histories[0].removeSubrange(newLength...) }
    return newLength
  }

  /// Tokens that may be appended at once and taken back again, each with the scores that it gets alone.
  public var draftLimit: Int {
    let stable = decoder.configuration.stableLength ?? .max
    return max(0, min(InferenceSession.alikeRows, capacity - length, stable - length))
  }

  /// Appends tokens to the session's single row.
  ///
  /// - Parameters:
  ///   - tokens: at least one id, each below the vocabulary's size.
  ///   - logits: (tokens, V), receives the scores of what follows each token; or nothing.
  ///   - observe: receives intermediate results, chunk by chunk.
  /// - Returns: (V) scores of what follows the last token; valid until the next call, and as long as
  ///   the session lives (`withExtendedLifetime` where this is its last use).
  /// - Throws: `DecoderError` before anything is computed; the session is then as it was. Of a model loaded with
  ///   `WeightCheck.whenUsed` also what it has found; the session is of no use then.
  @discardableResult
  public func append(
    _ tokens: [Int], logits: MutableMatrixView? = nil, observe: ActivationObserver? = nil
  ) throws -> UnsafeMutableBufferPointer<Float> {
    try checkPrompt(tokens)
    let vocabulary = decoder.configuration.vocabularySize
    if let logits {
      precondition(logits.rows == tokens.count && logits.columns == vocabulary, "logits for every token")
    }
    let last = runner.logits(rows: 1)

    let sequenceLength = length + tokens.count
    try recomputeIfNeeded(forLength: sequenceLength)
    rememberPrompt(tokens)
    try run(tokens, sequenceLength: sequenceLength, logits: logits, last: last, observe: observe)
    if let logits {
      last.base.update(from: logits.row(tokens.count - 1), count: vocabulary)
    }
    return UnsafeMutableBufferPointer(start: last.base, count: vocabulary)
  }

  /// Appends tokens to the session's single row, for the scores after each of them.
  ///
  /// - Returns: (tokens, V) scores; valid until the next call, and as long as the session lives.
  public func extend(_ tokens: [Int]) throws -> UnsafeMutableBufferPointer<Float> {
    try checkPrompt(tokens)
    try recomputeIfNeeded(forLength: length + tokens.count)
    rememberPrompt(tokens)
    let logits = runner.logits(rows: tokens.count)
    try run(tokens, sequenceLength: length + tokens.count, logits: logits, last: nil)
    return UnsafeMutableBufferPointer(start: logits.base, count: tokens.count * logits.columns)
  }

  /// Runs tokens of the single row, chunk by chunk.
  ///
  /// - Parameters:
  ///   - logits: (tokens, V), or nothing.
  ///   - last: (1, V), receives the scores of what follows the last token where `logits` is nothing; or nothing.
  private func run(
    _ tokens: [Int], sequenceLength: Int, logits: MutableMatrixView?, last: MutableMatrixView?,
    observe: ActivationObserver? = nil
  ) throws {
    var start = 0
    while start < tokens.count {
      let end = min(start + chunkSize, tokens.count)
      let rows = end - start
      runner.begin()
      runner.addPrompt(tokens[start..<end], cache: cache, sequenceLength: sequenceLength)
      let isLast = last != nil && end == tokens.count
      let scored = logits != nil ? 0..<rows : isLast ? rows - 1..<rows : 0..<0
      try runner.run(
        scored: scored, logits: logits?.rows(start..<end) ?? (isLast ? last! : runner.noLogits),
        observe: observe)
      start = end
    }
  }

  /// Runs some blocks over a text of its own, which the session then holds instead of what it held.
  ///
  /// - Parameters:
  ///   - tokens: T ids, at most the session's chunk.
  ///   - residual: what the first of the blocks reads, (T, C); the tokens' embeddings where not given.
  ///   - observe: receives intermediate results of these blocks; it may overwrite what `residual` shows.
  /// - Throws: `DecoderError` for tokens that the model cannot run.
  func run(
    _ blocks: Range<Int>, over tokens: [Int], from residual: MatrixView?,
    observe: @escaping ActivationObserver
  ) throws {
    reset()
    try checkPrompt(tokens)
    // Layers with a sliding window keep no more than that of what is run at once.
    precondition(tokens.count <= chunkSize, "\(tokens.count) tokens at once, in chunks of \(chunkSize)")
    rememberPrompt(tokens)
    runner.begin()
    runner.addPrompt(tokens[...], cache: cache, sequenceLength: tokens.count)
    try runner.run(blocks, from: residual, observe: observe)
  }

  /// Appends one token to every row.
  ///
  /// - Parameter tokens: one id per row.
  /// - Returns: (rows, V) scores of what follows; valid until the next call, and as long as
  ///   the session lives (`withExtendedLifetime` where this is its last use).
  public func step(_ tokens: [Int]) throws -> UnsafeMutableBufferPointer<Float> {
    try checkStep(tokens[...])
    try recomputeIfNeeded(forLength: length + 1)
    rememberStep(tokens[...])
    let logits = runner.logits(rows: tokens.count)
    runner.begin()
    runner.addStep(tokens[...], cache: cache, sequenceLength: length + 1)
    try runner.run(scored: 0..<tokens.count, logits: logits)
    return UnsafeMutableBufferPointer(start: logits.base, count: tokens.count * logits.columns)
  }

  /// Makes row *i* continue from what was row `parents[i]`; no key or value is copied but those that all rows come to share.
  public func select(parents: [Int]) {
    cache.select(parents: parents)
    if !histories.isEmpty { histories = parents.map { histories[$0] } }
  }

  // MARK: What a batch of sessions needs

  /// - Throws: `DecoderError` for tokens that cannot be appended.
  func checkPrompt(_ tokens: [Int]) throws {
    guard !tokens.isEmpty else { throw DecoderError.emptyInput }
    try check(tokens[...])
    guard length + tokens.count <= capacity else {
      throw DecoderError.contextExceeded(length: length + tokens.count, capacity: capacity)
    }
  }

  /// - Throws: `DecoderError` for tokens that cannot follow the rows.
  func checkStep(_ tokens: ArraySlice<Int>) throws {
    precondition(tokens.count == rowCount, "\(tokens.count) tokens for \(rowCount) rows")
    try check(tokens)
    guard length < capacity else {
      throw DecoderError.contextExceeded(length: length + 1, capacity: capacity)
    }
  }

  /// Keeps a prompt's tokens where they may be needed again.
  func rememberPrompt(_ tokens: [Int]) {
    guard decoder.configuration.recomputationLength != nil else { return }
    if histories.isEmpty { histories = [[]] }
    histories[0] += tokens
  }

  /// Keeps the rows' next tokens where they may be needed again.
  func rememberStep(_ tokens: ArraySlice<Int>) {
    guard decoder.configuration.recomputationLength != nil else { return }
    for (row, token) in tokens.enumerated() { histories[row].append(token) }
  }

  // MARK: Frequencies that change with the length

  /// Runs all tokens anew with the frequencies of long sequences, once a sequence becomes one.
  ///
  /// - SeeAlso: `Phi3ForCausalLM.prepare_inputs_for_generation` in Hugging Face transformers, which does the same.
  func recomputeIfNeeded(forLength newLength: Int) throws {
    guard let limit = decoder.configuration.recomputationLength, (1...limit).contains(length),
      newLength > limit
    else { return }
    let first = histories[0]
    // Rows share their prompt; from the first difference on they are run side by side.
    let shared = histories.reduce(first.count) { shared, row in
      min(shared, zip(first, row).prefix { $0 == $1 }.count)
    }
    cache.removeAll()
    try run(Array(first[..<max(shared, 1)]), sequenceLength: newLength, logits: nil, last: nil)
    guard histories.count > 1 else { return }
    cache.select(parents: [Int](repeating: 0, count: histories.count))
    for position in max(shared, 1)..<first.count {
      let tokens = histories.map { $0[position] }
      runner.begin()
      runner.addStep(tokens[...], cache: cache, sequenceLength: newLength)
      try runner.run(scored: 0..<0, logits: runner.noLogits)
    }
  }

  private func check(_ tokens: ArraySlice<Int>) throws {
    let vocabulary = decoder.configuration.vocabularySize
    for token in tokens where !(0..<vocabulary).contains(token) {
      throw DecoderError.tokenOutOfRange(token: token, vocabularySize: vocabulary)
    }
  }
}
