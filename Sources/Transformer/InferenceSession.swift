import Kernels

/// One conversation with a decoder: the tokens so far, as keys and values, and what may follow them.
///
/// Not for use by two threads at once; make a session each.
public final class InferenceSession {
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

  private let cache: KeyValueCache
  private let buffers: ActivationBuffers
  private let logitsBuffer: FloatBuffer
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
  public init(
    decoder: Decoder, engine: any ComputeEngine, capacity: Int? = nil, maximumRows: Int = 1,
    chunkSize: Int = 512
  ) throws {
    precondition(chunkSize > 0 && maximumRows > 0)
    let configuration = decoder.configuration
    let capacity = min(capacity ?? configuration.contextLength, configuration.maximumPositions ?? .max)
    self.decoder = decoder
    self.engine = engine
    self.chunkSize = min(chunkSize, capacity)
    cache = try KeyValueCache(
      layerCount: configuration.layerCount, shape: configuration.attention, capacity: capacity,
      maximumRows: maximumRows)
    buffers = ActivationBuffers()
    logitsBuffer = FloatBuffer(count: maximumRows * configuration.vocabularySize)
  }

  /// Forgets all tokens.
  public func reset() {
    cache.removeAll()
    histories = []
  }

  /// Forgets the tokens of the session's single row from a length on, so that others may follow what is left.
  ///
  /// What is left is what running those tokens alone would give. Where that cannot be, because the early positions
  /// of a long sequence differ from those of a shorter one, nothing is left.
  ///
  /// - Parameter newLength: up to `length`.
  /// - Returns: the positions left: `newLength` or 0.
  @discardableResult
  public func truncate(to newLength: Int) -> Int {
    precondition(rowCount <= 1, "one row can be shortened, there are \(rowCount)")
    precondition((0...length).contains(newLength), "\(newLength) of \(length) positions")
    if let stable = decoder.configuration.stableLength, length > stable, newLength < length {
      reset()
      return 0
    }
    cache.truncate(to: newLength)
    if !histories.isEmpty { histories[0].removeSubrange(newLength...) }
    return newLength
  }

  /// Appends tokens to the session's single row.
  ///
  /// - Parameters:
  ///   - tokens: at least one id, each below the vocabulary's size.
  ///   - logits: (tokens, V), receives the scores of what follows each token; or nothing.
  ///   - observe: receives intermediate results, chunk by chunk.
  /// - Returns: (V) scores of what follows the last token; valid until the next call, and as long as
  ///   the session lives (`withExtendedLifetime` where this is its last use).
  /// - Throws: `DecoderError` before anything is computed; the session is then as it was.
  @discardableResult
  public func append(
    _ tokens: [Int], logits: MutableMatrixView? = nil, observe: ActivationObserver? = nil
  ) throws -> UnsafeMutableBufferPointer<Float> {
    guard !tokens.isEmpty else { throw DecoderError.emptyInput }
    try check(tokens)
    guard length + tokens.count <= capacity else {
      throw DecoderError.contextExceeded(length: length + tokens.count, capacity: capacity)
    }
    let vocabulary = decoder.configuration.vocabularySize
    if let logits {
      precondition(logits.rows == tokens.count && logits.columns == vocabulary, "logits for every token")
    }
    let last = MutableMatrixView(logitsBuffer.elements.baseAddress!, rows: 1, columns: vocabulary)

    let sequenceLength = length + tokens.count
    recomputeIfNeeded(forLength: sequenceLength)
    remember([tokens])
    run(tokens, sequenceLength: sequenceLength, logits: logits, last: last, observe: observe)
    if let logits {
      last.base.update(from: logits.row(tokens.count - 1), count: vocabulary)
    }
    return UnsafeMutableBufferPointer(start: last.base, count: vocabulary)
  }

  /// Runs tokens of the single row, chunk by chunk.
  ///
  /// - Parameters:
  ///   - logits: (tokens, V), or nothing.
  ///   - last: (1, V), receives the scores of what follows the last token where `logits` is nothing; or nothing.
  private func run(
    _ tokens: [Int], sequenceLength: Int, logits: MutableMatrixView?, last: MutableMatrixView?,
    observe: ActivationObserver? = nil
  ) {
    let none = MutableMatrixView(
      logitsBuffer.elements.baseAddress!, rows: 0, columns: decoder.configuration.vocabularySize)
    var start = 0
    while start < tokens.count {
      let end = min(start + chunkSize, tokens.count)
      let first = cache.length
      let rows = end - start
      let (writes, plan) = cache.appendPositions(rows)
      let pass = ForwardPass(
        tokens: Array(tokens[start..<end]), positions: Array(first..<first + rows),
        sequenceLength: sequenceLength,
        segments: [ForwardPass.Segment(rows: 0..<rows, writes: writes, plan: plan)])
      let isLast = last != nil && end == tokens.count
      let scored = logits != nil ? 0..<rows : isLast ? rows - 1..<rows : 0..<0
      decoder.forward(
        pass, engine: engine, storage: buffers, cache: cache.layer, scored: scored,
        logits: logits?.rows(start..<end) ?? (isLast ? last! : none), observe: observe)
      start = end
    }
  }

  /// Appends one token to every row.
  ///
  /// - Parameter tokens: one id per row.
  /// - Returns: (rows, V) scores of what follows; valid until the next call, and as long as
  ///   the session lives (`withExtendedLifetime` where this is its last use).
  public func step(_ tokens: [Int]) throws -> UnsafeMutableBufferPointer<Float> {
    precondition(tokens.count == rowCount, "\(tokens.count) tokens for \(rowCount) rows")
    try check(tokens)
    guard length < capacity else {
      throw DecoderError.contextExceeded(length: length + 1, capacity: capacity)
    }
    let vocabulary = decoder.configuration.vocabularySize
    let logits = MutableMatrixView(
      logitsBuffer.elements.baseAddress!, rows: tokens.count, columns: vocabulary)
    recomputeIfNeeded(forLength: length + 1)
    remember(tokens.map { [$0] })
    runStep(tokens, sequenceLength: length + 1, scored: 0..<tokens.count, logits: logits)
    return UnsafeMutableBufferPointer(start: logits.base, count: tokens.count * vocabulary)
  }

  /// Runs one token of every row.
  private func runStep(_ tokens: [Int], sequenceLength: Int, scored: Range<Int>, logits: MutableMatrixView) {
    let position = cache.length
    let (writes, plan) = cache.appendStep()
    decoder.forward(
      ForwardPass(
        tokens: tokens, positions: [Int](repeating: position, count: tokens.count),
        sequenceLength: sequenceLength,
        segments: [ForwardPass.Segment(rows: 0..<tokens.count, writes: writes, plan: plan)]),
      engine: engine, storage: buffers, cache: cache.layer, scored: scored, logits: logits)
  }

  /// Makes row *i* continue from what was row `parents[i]`; no key or value is copied.
  public func select(parents: [Int]) {
    cache.select(parents: parents)
    if !histories.isEmpty { histories = parents.map { histories[$0] } }
  }

  // MARK: Frequencies that change with the length

  private func remember(_ tokens: [[Int]]) {
    guard decoder.configuration.recomputationLength != nil else { return }
    if histories.isEmpty { histories = [[]] }
    for row in tokens.indices { histories[row] += tokens[row] }
  }

  /// Runs all tokens anew with the frequencies of long sequences, once a sequence becomes one.
  ///
  /// - SeeAlso: `Phi3ForCausalLM.prepare_inputs_for_generation` in Hugging Face transformers, which does the same.
  private func recomputeIfNeeded(forLength newLength: Int) {
    guard let limit = decoder.configuration.recomputationLength, (1...limit).contains(length),
      newLength > limit
    else { return }
    let first = histories[0]
    // Rows share their prompt; from the first difference on they are run side by side.
    let shared = histories.reduce(first.count) { shared, row in
      min(shared, zip(first, row).prefix { $0 == $1 }.count)
    }
    cache.removeAll()
    let none = MutableMatrixView(
      logitsBuffer.elements.baseAddress!, rows: 0, columns: decoder.configuration.vocabularySize)
    run(Array(first[..<max(shared, 1)]), sequenceLength: newLength, logits: nil, last: nil)
    guard histories.count > 1 else { return }
    cache.select(parents: [Int](repeating: 0, count: histories.count))
    for position in max(shared, 1)..<first.count {
      runStep(histories.map { $0[position] }, sequenceLength: newLength, scored: 0..<0, logits: none)
    }
  }

  private func check(_ tokens: [Int]) throws {
    let vocabulary = decoder.configuration.vocabularySize
    for token in tokens where !(0..<vocabulary).contains(token) {
      throw DecoderError.tokenOutOfRange(token: token, vocabularySize: vocabulary)
    }
  }
}
