import Kernels
import Transformer

/// Which results are dropped, and from which random numbers.
package struct DropoutSettings: Sendable {
  /// p of residual branches and embeddings.
  package var residual: Float = 0
  /// p of attention's weights.
  package var attention: Float = 0
  /// The run's seed.
  package var seed: UInt64 = 0
  /// The optimiser's step.
  package var step = 0
  /// Which of the step's batches.
  package var batch = 0
  /// Whether this is a pass that learns; what adapters read drops only there.
  package var isActive = false

  /// Drops nothing.
  package init() {}

  /// Drops.
  package init(residual: Float, attention: Float, seed: UInt64, step: Int, batch: Int) {
    self.residual = residual
    self.attention = attention
    self.seed = seed
    self.step = step
    self.batch = batch
    isActive = true
  }
}

/// A compute engine that remembers what it computed, so that gradients can be taken back through it.
///
/// The decoder's equations stand once, written against `ComputeEngine`; training runs the same lines as inference,
/// with this engine. Operations run on the fast kernels; each is recorded with where its operands lie. What later
/// operations change is copied first. `backward()` replays the record from its end.
///
/// Keys and values are not cached: attention reads them where the product left them. Mixtures of experts are not
/// trained.
///
/// Use it from one thread.
final class TapeEngine: ComputeEngine, ActivationStorage, @unchecked Sendable {
  // Safe: confined to the thread that trains; `ComputeEngine` asks for the conformance.

  /// One operation and what its backward pass reads.
  enum Record {
    case embed(ids: [Int], table: MatrixView, y: MatrixView)
    case normalize(x: MatrixView, saved: MatrixView, weight: NormalizationWeight, y: MatrixView)
    case normalizeHeads(
      x: MatrixView, saved: MatrixView, weight: NormalizationWeight, dimension: Int, weightStride: Int)
    case rotate(
      x: MatrixView, cosines: MatrixView, sines: MatrixView, dimension: Int, pairing: RotaryPairing)
    case linear(
      x: MatrixView, saved: MatrixView, weight: LinearWeight, y: MatrixView, after: AfterProduct,
      adapted: [AppliedAdapter])
    case attention(
      CausalAttention, queries: MatrixView, keys: MatrixView, values: MatrixView, y: MatrixView,
      logSums: UnsafeMutablePointer<Float>)
    case activateGated(gate: MatrixView, up: MatrixView, y: MatrixView, activation: Activation)
    case copy(x: MatrixView, y: MatrixView)
    case add(x: MatrixView, scale: Float, y: MatrixView, mask: DropoutMask?)
    case scale(x: MatrixView, scale: Float)
    case softCap(x: MatrixView, saved: MatrixView, cap: Float)
    case drop(x: MatrixView, mask: DropoutMask)
  }

  /// What became of a product.
  enum AfterProduct {
    case stored
    case added(mask: DropoutMask?)
    case activated(Activation, argument: MatrixView)
  }

  /// What an adapter computed beside a product.
  struct AppliedAdapter {
    let adapter: Adapter
    /// s·drop(x)·Aᵀ, (R, r).
    let low: MatrixView
    /// What drops of x.
    let mask: DropoutMask?
  }

  /// `tape`.
  var name: String { "tape" }
  /// Threads that take part.
  var threadCount: Int { engine.threadCount }

  /// The token whose embedding gets no gradient from where it is looked up, and the table.
  var padding: (table: UnsafePointer<Float>, token: Int)?
  /// What drops.
  var dropout = DropoutSettings()
  /// Whether the results of a block are forgotten once the block is done, and computed again on the way back.
  var recomputes = false
  /// What is recorded so far, in order.
  private(set) var records: [Record] = []
  let arena: ActivationArena
  let engine: BLASEngine
  let pool: WorkerPool
  let precision: ProductPrecision
  let parameters: ParameterArena
  let adapters: AdapterSet?
  /// Keys and values of the layer in hand.
  private var stored: (keys: MatrixView, values: MatrixView)?
  /// The embeddings, until the first operation that reads them: what drops of them drops then.
  private var embedded: MutableMatrixView?
  private var siteCount: UInt32 = 0
  /// Blocks whose results were forgotten.
  var blocks = ForgottenBlocks()

  /// Prepares.
  ///
  /// - Parameters:
  ///   - parameters: the weights whose gradients are wanted; others pass gradients on and get none.
  ///   - adapters: maps of low rank beside the decoder's.
  ///   - precision: what the operands of products with weights are rounded to.
  /// - Throws: `DecoderError.memory`.
  init(
    pool: WorkerPool, parameters: ParameterArena, adapters: AdapterSet? = nil,
    precision: ProductPrecision = .f32
  ) throws {
    self.pool = pool
    self.parameters = parameters
    self.adapters = adapters
    self.precision = precision
    engine = BLASEngine(pool: pool, precision: precision)
    arena = try ActivationArena(pool: pool)
  }

  /// Forgets everything that was computed.
  func reset() {
    records.removeAll(keepingCapacity: true)
    stored = nil
    arena.reset()
    embedded = nil
    siteCount = 0
    blocks = ForgottenBlocks()
  }

  /// Fresh memory for each result.
  func matrix(_ role: ActivationRole, _ rows: Int, _ columns: Int) -> MutableMatrixView {
    // The residual stream is added to; a branch may be normalised in place.
    arena.matrix(
      rows, columns, isMutable: role == .residual || role == .branch || role == .embedding,
      born: records.count)
  }

  func embed(_ ids: [Int], table: MatrixView, into y: MutableMatrixView, accumulate: Bool) {
    engine.embed(ids, table: table, into: y, accumulate: accumulate)
    records.append(.embed(ids: ids, table: table, y: y.readOnly))
    embedded = y
  }

  func normalize(_ x: MatrixView, _ weight: NormalizationWeight, into y: MutableMatrixView) {
    dropEmbedding()
    let saved = x.base == UnsafePointer(y.base) ? copied(x) : kept(x)
    engine.normalize(x, weight, into: y)
    records.append(.normalize(x: x, saved: saved, weight: weight, y: y.readOnly))
  }

  func normalizeHeads(
    _ x: MutableMatrixView, _ weight: NormalizationWeight, dimension: Int, weightStride: Int
  ) {
    let saved = copied(x.readOnly)
    engine.normalizeHeads(x, weight, dimension: dimension, weightStride: weightStride)
    records.append(
      .normalizeHeads(
        x: x.readOnly, saved: saved, weight: weight, dimension: dimension, weightStride: weightStride))
  }

  func rotate(
    _ x: MutableMatrixView, cosines: MatrixView, sines: MatrixView, dimension: Int, pairing: RotaryPairing
  ) {
    engine.rotate(x, cosines: cosines, sines: sines, dimension: dimension, pairing: pairing)
    records.append(
      .rotate(x: x.readOnly, cosines: cosines, sines: sines, dimension: dimension, pairing: pairing))
  }

  func linear(_ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, epilogue: LinearEpilogue) {
    dropEmbedding()
    let beside = adapters?.adapters(of: weight) ?? []
    // Only gradients of a matrix want what it was multiplied with.
    let isNeeded = !beside.isEmpty || parameters.gradient(of: weight.values) != nil
    let saved = isNeeded ? kept(x) : x
    let after: AfterProduct
    switch epilogue {
    case .store: after = .stored
    case .add: after = .added(mask: residualMask())
    case .activate(let activation):
      let argument = arena.matrix(y.rows, y.columns, born: records.count)
      after = .activated(activation, argument: argument.readOnly)
    }
    let adapted = beside.map { adapter in
      AppliedAdapter(
        adapter: adapter, low: arena.matrix(x.rows, adapter.a.outputs, born: records.count).readOnly,
        mask: adapter.dropout > 0 && dropout.isActive ? mask(adapter.dropout) : nil)
    }
    multiply(x, saved, weight, into: y, after, adapted)
    records.append(
      .linear(x: x, saved: saved, weight: weight, y: y.readOnly, after: after, adapted: adapted))
  }

  /// A product, what adapters add to it, and what becomes of it.
  func multiply(
    _ x: MatrixView, _ saved: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView,
    _ after: AfterProduct, _ adapted: [AppliedAdapter]
  ) {
    switch after {
    case .stored:
      engine.linear(x, weight, into: y, epilogue: .store)
      adapt(saved, adapted, into: y)
    case .added(let mask?):
      let branch = arena.borrow(y.rows, y.columns)
      engine.linear(x, weight, into: branch, epilogue: .store)
      adapt(saved, adapted, into: branch)
      mask.apply(branch.readOnly, into: y, accumulate: true, pool: pool)
      arena.giveBack(branch)
    case .added(nil):
      engine.linear(x, weight, into: y, epilogue: .add)
      adapt(saved, adapted, into: y)
    case .activated(let activation, let argument):
      let argument = argument.writable
      engine.linear(x, weight, into: argument, epilogue: .store)
      adapt(saved, adapted, into: argument)
      pool.run(y.rows, grain: max(1, 16_384 / max(1, y.columns))) { rows in
        let (source, target) = (argument.rows(rows), y.rows(rows))
        for row in 0..<rows.count {
          target.row(row).update(from: source.row(row), count: target.columns)
          activate(target.rows(row..<row + 1), bias: nil, activation)
        }
      }
    }
  }

  /// Adds what adapters make of a product's operand to the product.
  private func adapt(_ x: MatrixView, _ adapted: [AppliedAdapter], into y: MutableMatrixView) {
    for applied in adapted {
      let (adapter, low) = (applied.adapter, applied.low.writable)
      if let mask = applied.mask {
        let dropped = arena.borrow(x.rows, x.columns)
        mask.apply(x, into: dropped, pool: pool)
        engine.linear(dropped.readOnly, adapter.a, into: low, epilogue: .store)
        arena.giveBack(dropped)
      } else {
        engine.linear(x, adapter.a, into: low, epilogue: .store)
      }
      engine.scale(low, by: adapter.scale)
      engine.linear(low.readOnly, adapter.b, into: y.columns(adapter.outputs), epilogue: .add)
    }
  }

  /// Remembers where the keys and values of a layer are.
  func store(
    keys: MatrixView, values: MatrixView, segments: [AttentionSegment], layer: Int, shape: AttentionShape
  ) {
    stored = (keys, values)
  }

  /// Attends within each sequence, all of whose rows are queries.
  func attention(
    queries: MatrixView, segments: [AttentionSegment], layer: Int, shape: AttentionShape,
    scoring: AttentionScoring, into y: MutableMatrixView
  ) {
    for segment in segments {
      guard let stored, segment.plan.isCausal, segment.plan.sharedCount == segment.rows.count else {
        preconditionFailure("training attends to whole sequences, from their first token on")
      }
      let (queries, y) = (queries.rows(segment.rows), y.rows(segment.rows))
      let (keys, values) = (stored.keys.rows(segment.rows), stored.values.rows(segment.rows))
      let mask = dropout.attention > 0 ? self.mask(dropout.attention) : nil
      let attention = CausalAttention(
        sequences: [0..<queries.rows], shape: shape, scoring: scoring, dropout: mask)
      let logSums = arena.matrix(queries.rows, shape.queryHeadCount, born: records.count).base
      attention.forward(queries: queries, keys: keys, values: values, into: y, logSums: logSums, pool: pool)
      records.append(
        .attention(attention, queries: queries, keys: keys, values: values, y: y.readOnly, logSums: logSums))
    }
  }

  func activateGated(
    gate: MatrixView, up: MatrixView, into y: MutableMatrixView, activation: Activation
  ) {
    precondition(
      UnsafePointer(y.base) != gate.base && UnsafePointer(y.base) != up.base,
      "a gate's result takes the place of what its gradient needs")
    engine.activateGated(gate: gate, up: up, into: y, activation: activation)
    records.append(.activateGated(gate: gate, up: up, y: y.readOnly, activation: activation))
  }

  func copy(_ x: MatrixView, into y: MutableMatrixView) {
    engine.copy(x, into: y)
    records.append(.copy(x: x, y: y.readOnly))
  }

  func add(_ x: MatrixView, scaledBy scale: Float, to y: MutableMatrixView) {
    let mask = residualMask()
    add(x, scaledBy: scale, to: y, mask)
    records.append(.add(x: x, scale: scale, y: y.readOnly, mask: mask))
  }

  func add(_ x: MatrixView, scaledBy scale: Float, to y: MutableMatrixView, _ mask: DropoutMask?) {
    guard let mask else { return engine.add(x, scaledBy: scale, to: y) }
    let branch = arena.borrow(y.rows, y.columns)
    mask.apply(x, into: branch, pool: pool)
    engine.add(branch.readOnly, scaledBy: scale, to: y)
    arena.giveBack(branch)
  }

  func scale(_ x: MutableMatrixView, by scale: Float) {
    engine.scale(x, by: scale)
    records.append(.scale(x: x.readOnly, scale: scale))
  }

  func softCap(_ x: MutableMatrixView, cap: Float) {
    engine.softCap(x, cap: cap)
    records.append(.softCap(x: x.readOnly, saved: copied(x.readOnly), cap: cap))
  }

  func clear(_ x: MutableMatrixView) { refuseExperts() }

  func route(_ x: MutableMatrixView, count: Int, isNormalized: Bool) -> [ExpertShare] { refuseExperts() }

  func gather(_ x: MatrixView, rows: [Int], into y: MutableMatrixView) { refuseExperts() }

  func scatterAdd(_ x: MatrixView, rows: [Int], shares: [Float], to y: MutableMatrixView) { refuseExperts() }

  private func refuseExperts() -> Never {
    preconditionFailure("mixtures of experts are refused before training begins")
  }

  // MARK: Operands

  /// A matrix as it is now: in place where nothing changes it later, else a copy.
  private func kept(_ x: MatrixView) -> MatrixView { arena.isMutable(x) ? copied(x) : x }

  private func copied(_ x: MatrixView) -> MatrixView {
    let target = arena.matrix(x.rows, x.columns, born: records.count)
    duplicate(x, into: target)
    return target.readOnly
  }

  func duplicate(_ x: MatrixView, into y: MutableMatrixView) {
    pool.run(x.rows, grain: max(1, 65_536 / max(1, x.columns))) { rows in
      for row in rows { y.row(row).update(from: x.row(row), count: x.columns) }
    }
  }

  // MARK: Dropout

  /// A mask of its own for each place in the pass.
  private func mask(_ probability: Float) -> DropoutMask {
    siteCount += 1
    precondition(siteCount < 1 << 16 && dropout.batch < 1 << 16, "too many places that drop")
    return DropoutMask(
      probability: probability,
      stream: PhiloxStream(
        seed: dropout.seed, step: dropout.step, site: UInt32(dropout.batch) << 16 | siteCount))
  }

  private func residualMask() -> DropoutMask? { dropout.residual > 0 ? mask(dropout.residual) : nil }

  /// Drops embeddings when all their parts are added.
  private func dropEmbedding() {
    guard let x = embedded else { return }
    embedded = nil
    guard let mask = residualMask() else { return }
    mask.apply(x.readOnly, into: x, pool: pool)
    records.append(.drop(x: x.readOnly, mask: mask))
  }
}
