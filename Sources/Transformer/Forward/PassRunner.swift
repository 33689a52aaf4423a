import Kernels

/// Puts forward passes together, segment by segment, and runs them in memory that it keeps.
///
/// One pass is in hand at a time: it is begun, sessions add their rows, and it is run.
final class PassRunner {
  let decoder: Decoder
  let engine: any ComputeEngine
  private let buffers = ActivationBuffers()
  private var pass = ForwardPass()
  private var logitsBuffer: FloatBuffer?

  init(decoder: Decoder, engine: any ComputeEngine) {
    self.decoder = decoder
    self.engine = engine
  }

  /// Rows added so far.
  var rowCount: Int { pass.tokens.count }

  /// Tokens that the model scores, V.
  private var vocabularySize: Int { decoder.configuration.vocabularySize }

  /// Memory for the scores of some rows, (rows, V); kept from call to call.
  func logits(rows: Int) -> MutableMatrixView {
    if logitsBuffer.map({ $0.elements.count < rows * vocabularySize }) ?? true {
      logitsBuffer = FloatBuffer(count: rows * vocabularySize)
    }
    return MutableMatrixView(logitsBuffer!.elements.baseAddress!, rows: rows, columns: vocabularySize)
  }

  /// Begins a pass without rows; what a cache handed out for the one before is let go of.
  func begin() {
    pass.tokens.removeAll(keepingCapacity: true)
    pass.positions.removeAll(keepingCapacity: true)
    pass.segments.removeAll(keepingCapacity: true)
    pass.sequenceLengths.removeAll(keepingCapacity: true)
    pass.scoredRows.removeAll(keepingCapacity: true)
    (pass.blocks, pass.residual) = (nil, nil)
  }

  /// Adds tokens that follow one another, to a cache of one row.
  ///
  /// - Parameter scoresLast: whether the scores of what follows the last of them are wanted, in a pass run with `scored: nil`.
  func addPrompt(
    _ tokens: ArraySlice<Int>, cache: KeyValueCache, sequenceLength: Int, scoresLast: Bool = false
  ) {
    let first = cache.length
    pass.tokens.append(contentsOf: tokens)
    for position in first..<first + tokens.count { pass.positions.append(position) }
    add(cache.appendPositions(tokens.count), rows: tokens.count, sequenceLength: sequenceLength)
    if scoresLast { pass.scoredRows.append(rowCount - 1) }
  }

  /// Adds one token for every row of a cache.
  func addStep(_ tokens: ArraySlice<Int>, cache: KeyValueCache, sequenceLength: Int) {
    let position = cache.length
    pass.tokens.append(contentsOf: tokens)
    for _ in tokens { pass.positions.append(position) }
    add(cache.appendStep(), rows: tokens.count, sequenceLength: sequenceLength)
  }

  private func add(_ segment: AttentionSegment, rows: Int, sequenceLength: Int) {
    pass.segments.append(segment)
    pass.segments[pass.segments.count - 1].rows = rowCount - rows..<rowCount
    pass.sequenceLengths.append(sequenceLength)
  }

  /// Runs the pass.
  ///
  /// - Parameters:
  ///   - scored: rows that follow one another; nothing for those that were added with `scoresLast`.
  ///   - logits: (rows scored, V).
  /// - Throws: what a look at the weights has found that were used for the first time.
  func run(scored: Range<Int>?, logits: MutableMatrixView, observe: ActivationObserver? = nil) throws {
    if scored != nil { pass.scoredRows.removeAll(keepingCapacity: true) }
    decoder.forward(
      pass, engine: engine, storage: buffers, scored: scored ?? 0..<0, logits: logits, observe: observe)
    begin()
    try decoder.weights.checks?.throwIfFailed()
  }

  /// Runs some blocks over the rows of the pass, without scores.
  ///
  /// - Parameter residual: what the first of them reads, (R, C); the embedding where not given.
  func run(_ blocks: Range<Int>, from residual: MatrixView?, observe: @escaping ActivationObserver) throws {
    (pass.blocks, pass.residual) = (blocks, residual)
    try run(scored: nil, logits: noLogits, observe: observe)
  }

  /// What a pass writes whose scores nobody wants.
  var noLogits: MutableMatrixView {
    let memory = logits(rows: 1)
    return MutableMatrixView(memory.base, rows: 0, columns: memory.columns)
  }
}
