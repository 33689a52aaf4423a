/// OpenBLAS for the dense products, vectorised Swift for everything between them, a pool of threads.
///
/// Work is cut by shape, not by thread count, so results are the same bits with any number of threads.
public final class BLASEngine: ComputeEngine {
  /// `blas`.
  public var name: String { "blas" }
  /// Threads that take part.
  public var threadCount: Int { pool.threadCount }

  /// The threads of passes of few rows.
  public let pool: WorkerPool
  /// The threads of passes of many rows: a prompt uses more of them well than a memory can feed in decoding.
  private let batchPool: WorkerPool
  private let precision: ProductPrecision
  private let scratch = ScratchMemory()

  /// Starts the threads.
  /// - Parameter threadCount: the caller's thread included; by default one per core that the process may use.
  /// - Parameter batchThreadCount: threads for passes of more than 16 rows; as many when not given.
  public convenience init(
    threadCount: Int = WorkerPool.defaultThreadCount(), batchThreadCount: Int? = nil
  ) {
    let pool = WorkerPool(threadCount: threadCount)
    self.init(
      pool: pool,
      batchPool: batchThreadCount == nil || batchThreadCount == threadCount
        ? pool : WorkerPool(threadCount: batchThreadCount!), precision: .f32)
  }

  /// Computes with the threads of a pool that exists.
  ///
  /// - Parameter precision: what the operands of products of many rows with matrices of floats are rounded to.
  public convenience init(pool: WorkerPool, precision: ProductPrecision = .f32) {
    self.init(pool: pool, batchPool: pool, precision: precision)
  }

  private init(pool: WorkerPool, batchPool: WorkerPool, precision: ProductPrecision) {
    self.pool = pool
    self.batchPool = batchPool
    self.precision = precision
  }

  /// The threads for a pass of some rows.
  private func pool(_ rows: Int) -> WorkerPool { rows > AttentionCut.fewRows ? batchPool : pool }

  /// Looks up embeddings; a row is too short to be worth a second thread.
  public func embed(_ ids: [Int], table: MatrixView, into y: MutableMatrixView, accumulate: Bool) {
    Kernels.embed(ids, table: table, into: y, accumulate: accumulate)
  }

  /// Normalises rows, several at a time.
  public func normalize(_ x: MatrixView, _ weight: NormalizationWeight, into y: MutableMatrixView) {
    pool(x.rows).run(x.rows, grain: rowGrain(x.columns)) { rows in
      Kernels.normalize(x.rows(rows), weight, into: y.rows(rows))
    }
  }

  /// Normalises the heads of rows, several rows at a time.
  public func normalizeHeads(
    _ x: MutableMatrixView, _ weight: NormalizationWeight, dimension: Int, weightStride: Int
  ) {
    pool(x.rows).run(x.rows, grain: rowGrain(x.columns)) { rows in
      Kernels.normalizeHeads(x.rows(rows), weight, dimension: dimension, weightStride: weightStride)
    }
  }

  /// Turns the heads of rows, several rows at a time.
  public func rotate(
    _ x: MutableMatrixView, cosines: MatrixView, sines: MatrixView, dimension: Int, pairing: RotaryPairing
  ) {
    pool(x.rows).run(x.rows, grain: rowGrain(x.columns)) { rows in
      Kernels.rotate(
        x.rows(rows), cosines: cosines.rows(rows), sines: sines.rows(rows), dimension: dimension,
        pairing: pairing)
    }
  }

  /// One GEMM per tile; bias and nonlinearity follow while the tile is in cache.
  public func linear(
    _ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, epilogue: LinearEpilogue
  ) {
    precondition(
      x.rows == y.rows && x.columns == weight.inputs && y.columns == weight.outputs,
      "(\(x.rows), \(x.columns)) × (\(weight.inputs), \(weight.outputs)) into (\(y.rows), \(y.columns))")
    guard x.rows > 0 else { return }
    if case .packed(let packed) = weight.storage {
      return linear(x, packed, bias: weight.bias, into: y, epilogue: epilogue)
    }
    if let unseen = weight.unseen, unseen.isUnseen {
      // An activation may make a number of what is none.
      linear(x, weight.withoutBias, into: y, epilogue: epilogue == .add ? .add : .store)
      unseen.look(at: y)
      return pool(x.rows).run(y.rows, grain: rowGrain(y.columns)) { rows in
        finish(y.rows(rows), weight.bias, epilogue)
      }
    }
    if case .scattered(let matrix) = weight.storage {
      return linear(x, matrix, bias: weight.bias, into: y, epilogue: epilogue)
    }
    if x.rows <= fewRowsLimit(weight.layout, precision: precision) {
      switch weight.layout {
      case .outputMajor: return fewRowsOutputMajor(x, weight, into: y, epilogue: epilogue)
      case .inputMajor: return fewRowsInputMajor(x, weight, into: y, epilogue: epilogue)
      }
    }
    if AMXProduct.isPreferred(precision, rows: x.rows, inputs: weight.inputs, outputs: weight.outputs) {
      return linearByMatrixRegisters(x, weight, into: y, epilogue: epilogue)
    }
    if precision != .f32 { return linearRounded(x, weight, into: y, epilogue: epilogue) }
    let tile = BLASEngine.tile(rows: x.rows, outputs: weight.outputs)
    let rowBlocks = (x.rows + tile.rows - 1) / tile.rows
    let bands = (weight.outputs + tile.columns - 1) / tile.columns
    pool(x.rows).run(rowBlocks * bands) { task in
      // Threads that work side by side read the same band of weights.
      let (band, block) = task.quotientAndRemainder(dividingBy: rowBlocks)
      let columns = band * tile.columns..<min((band + 1) * tile.columns, weight.outputs)
      let rows = block * tile.rows..<min((block + 1) * tile.rows, x.rows)
      let out = y.columns(columns).rows(rows)
      let outputMajor = weight.layout == .outputMajor
      precision.multiply(
        transposeB: outputMajor, m: rows.count, n: columns.count, k: weight.inputs, a: x.row(rows.lowerBound),
        strideA: x.rowStride,
        b: weight.values + columns.lowerBound * (outputMajor ? weight.inputs : 1),
        strideB: outputMajor ? weight.inputs : weight.outputs, accumulate: epilogue == .add, c: out.base,
        strideC: out.rowStride)
      finish(out, weight.bias.map { $0 + columns.lowerBound }, epilogue)
    }
  }

  /// The same in the matrix registers of AMX.
  private func linearByMatrixRegisters(
    _ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, epilogue: LinearEpilogue
  ) {
    AMXProduct.multiply(
      AMXOperand(rowsOf: x, precision), AMXOperand(outputsOf: weight, precision),
      accumulate: epilogue == .add, into: y, pool: pool(x.rows)
    ) { rows, columns in
      finish(y.columns(columns).rows(rows), weight.bias.map { $0 + columns.lowerBound }, epilogue)
    }
  }

  /// The same with operands that are rounded first, whose products are this engine's own.
  private func linearRounded(
    _ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, epilogue: LinearEpilogue
  ) {
    let tiling = ProductTiling(m: x.rows, n: weight.outputs, k: weight.inputs, precision: precision)
    let outputMajor = weight.layout == .outputMajor
    pool.run(tiling.count) { task in
      let (rows, columns) = tiling.tile(task)
      let out = y.columns(columns).rows(rows)
      precision.multiply(
        transposeB: outputMajor, m: rows.count, n: columns.count, k: weight.inputs, a: x.row(rows.lowerBound),
        strideA: x.rowStride, b: weight.values + columns.lowerBound * (outputMajor ? weight.inputs : 1),
        strideB: outputMajor ? weight.inputs : weight.outputs, accumulate: epilogue == .add, c: out.base,
        strideC: out.rowStride)
      finish(out, weight.bias.map { $0 + columns.lowerBound }, epilogue)
    }
  }

  /// A few rows by a matrix of (outputs, inputs): each task reads a stretch of it from end to end.
  private func fewRowsOutputMajor(
    _ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, epilogue: LinearEpilogue
  ) {
    let block = 16
    pool(x.rows).runShrinking((weight.outputs + block - 1) / block) { blocks in
      let outputs = blocks.lowerBound * block..<min(blocks.upperBound * block, weight.outputs)
      multiplyFewRowsOutputMajor(
        x, weights: weight.values, outputs: outputs, into: y, accumulate: epilogue == .add)
      finish(y.columns(outputs), weight.bias.map { $0 + outputs.lowerBound }, epilogue)
    }
  }

  /// A few rows by a matrix of (inputs, outputs): each task adds up the terms of a stretch of inputs, so that it too reads from
  /// end to end; then the parts are added in their order.
  private func fewRowsInputMajor(
    _ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, epilogue: LinearEpilogue
  ) {
    let outputs = weight.outputs
    let cut = InputCut(inputs: weight.inputs, threadCount: pool.threadCount)
    // More threads than stretches share their outputs out too, which costs the reading some of its length.
    let bands = max(1, min(pool.threadCount / cut.parts, outputs / 256))
    let width = ((outputs + bands - 1) / bands + 63) / 64 * 64
    let stride = x.rows * outputs
    let buffers = 1 + cut.depth
    withUnsafeTemporaryAllocation(of: Float.self, capacity: cut.parts * buffers * stride) { memory in
      let base = memory.baseAddress!
      func sums(_ part: Int, _ buffer: Int) -> MutableMatrixView {
        MutableMatrixView(base + (buffer * cut.parts + part) * stride, rows: x.rows, columns: outputs)
      }
      pool.run(cut.parts * bands) { task in
        let (part, band) = task.quotientAndRemainder(dividingBy: bands)
        let columns = min(band * width, outputs)..<min((band + 1) * width, outputs)
        cut.sum(part) { inputs, buffer in
          sumFewRowsInputMajor(
            x, weights: weight.values + columns.lowerBound, rowStride: outputs, inputs: inputs,
            sums: sums(part, buffer).columns(columns))
        } add: { source, target in
          for row in 0..<x.rows {
            addRow(
              sums(part, source).row(row) + columns.lowerBound,
              to: sums(part, target).row(row) + columns.lowerBound, count: columns.count)
          }
        }
      }
      pool.run(outputs, grain: 2048) { columns in
        for row in 0..<x.rows {
          func place(_ part: Int) -> UnsafeMutablePointer<Float> {
            sums(part, 0).row(row) + columns.lowerBound
          }
          cut.join { addRow(place($0), to: place($1), count: columns.count) }
          let target = y.row(row) + columns.lowerBound
          if epilogue == .add {
            addRow(place(0), to: target, count: columns.count)
          } else {
            target.update(from: place(0), count: columns.count)
          }
        }
        finish(y.columns(columns), weight.bias.map { $0 + columns.lowerBound }, epilogue)
      }
    }
  }

  /// Bias and nonlinearity, while the columns are in cache.
  private func finish(_ y: MutableMatrixView, _ bias: UnsafePointer<Float>?, _ epilogue: LinearEpilogue) {
    if case .activate(let activation) = epilogue {
      activate(y, bias: bias, activation)
    } else if let bias {
      addBias(y, bias)
    }
  }

  /// The same with a matrix in several places.
  private func linear(
    _ x: MatrixView, _ matrix: ScatteredMatrix, bias: UnsafePointer<Float>?, into y: MutableMatrixView,
    epilogue: LinearEpilogue
  ) {
    func multiply(_ values: UnsafePointer<Float>, _ outputs: Range<Int>) {
      linear(
        x,
        LinearWeight(
          values: values, bias: bias.map { $0 + outputs.lowerBound }, inputs: matrix.inputs,
          outputs: outputs.count, layout: .outputMajor), into: y.columns(outputs), epilogue: epilogue)
    }
    if x.rows > fewRowsLimit(.outputMajor, precision: precision) || matrix.whole != nil {
      return multiply(matrix.makeWhole(pool(x.rows)), 0..<matrix.outputs)
    }
    var first = 0
    for part in matrix.parts {
      multiply(part.values, first..<first + part.outputs)
      first += part.outputs
    }
  }

  /// The same with packed weights, whose products are this engine's own.
  private func linear(
    _ x: MatrixView, _ weight: PackedWeight, bias: UnsafePointer<Float>?, into y: MutableMatrixView,
    epilogue: LinearEpilogue
  ) {
    var first = 0
    for part in weight.parts {
      let start = first
      packedProduct(
        x, part, roundsActivations: weight.roundsActivations, into: y.columns(start..<start + part.outputs),
        accumulate: epilogue == .add, pool: pool(x.rows), scratch: scratch
      ) { out, column in finish(out, bias.map { $0 + start + column }, epilogue) }
      first += part.outputs
    }
  }

  /// The part of a product that one task computes: enough to keep a GEMM efficient, few enough to share out.
  ///
  /// A long prompt is cut both ways. GPT-2 124M, 512 tokens, two cores, medians of 40 turns, of the SGEMM limit, products by
  /// OpenBLAS: tiles of 512 × 192 76 %, 256 × 192 82 %, 256 × 384 83 %, 128 × 384 78 %. The narrower of the best two shares out
  /// better. With the engine's own products tiles of 256 × 128 to 256 × 384 differ by 1 %, and 512 rows lose 2 %.
  /// Blocks of rows are of equal height, in whole steps of the GEMM kernel; a narrow matrix has four of them, so that two or four
  /// threads end together.
  static func tile(rows: Int, outputs: Int) -> (rows: Int, columns: Int) {
    let sixteenth = ((outputs + 15) / 16 + 63) / 64 * 64
    let columns = max(192, sixteenth)
    let bands = (outputs + columns - 1) / columns
    var blocks = max(1, (rows + 255) / 256)
    while blocks * bands < 4, rows / (blocks + 1) >= 128 { blocks += 1 }
    let step = FloatProduct.isPreferred ? FloatProduct.tileRows : 16
    return (max(16, ((rows + blocks - 1) / blocks + step - 1) / step * step), columns)
  }

  /// Rows that are worth a thread's attention: some ten thousand elements.
  private func rowGrain(_ columns: Int) -> Int { max(1, 16_384 / max(columns, 1)) }

  /// Copies rows into the cache, a task per head.
  public func store(
    keys: MatrixView, values: MatrixView, segments: [AttentionSegment], layer: Int, shape: AttentionShape
  ) {
    pool(keys.rows).run(
      shape.keyValueHeadCount, grain: max(1, 16_384 / max(1, keys.rows * shape.headDimension))
    ) {
      heads in
      for segment in segments {
        storeKeyValues(
          keys: keys, values: values, segment: segment, layer: segment.layers[layer], shape: shape,
          heads: heads)
      }
    }
  }

  /// Attention, the tasks of all segments together.
  public func attention(
    queries: MatrixView, segments: [AttentionSegment], layer: Int, shape: AttentionShape,
    scoring: AttentionScoring, into y: MutableMatrixView
  ) {
    var first = 0
    while first < segments.count {
      // As many segments as the pool takes tasks at once; mostly all.
      var (tasks, partials, end) = (0, 0, first)
      while end < segments.count {
        let cut = AttentionCut(segments[end], shape: shape, window: scoring.window)
        if end > first, tasks + cut.count > 50_000 { break }
        tasks += cut.count
        partials += cut.partialSize(shape)
        end += 1
      }
      attend(
        queries: queries, segments: segments[first..<end], taskCount: tasks, partialCount: partials,
        layer: layer,
        shape: shape, scoring: scoring, into: y)
      first = end
    }
  }

  private func attend(
    queries: MatrixView, segments: ArraySlice<AttentionSegment>, taskCount: Int, partialCount: Int,
    layer: Int, shape: AttentionShape, scoring: AttentionScoring, into y: MutableMatrixView
  ) {
    scratch.withMemory(max(partialCount, 1) * 4) { memory in
      let partials = memory.bindMemory(to: Float.self, capacity: max(partialCount, 1))
      pool(y.rows).run(taskCount) { task in
        var (rest, target) = (task, partials)
        for segment in segments {
          let cut = AttentionCut(segment, shape: shape, window: scoring.window)
          guard rest >= cut.count else {
            let (head, rows, columns) = cut.task(rest, rows: segment.rows.count)
            attendBlock(
              queries: queries, segment: segment, layer: segment.layers[layer], shape: shape,
              scoring: scoring,
              into: y, head: head, rows: rows, columns: columns, isFew: cut.isFew,
              partial: cut.parts > 1 ? target + cut.partialSize(shape) / cut.count * rest : nil,
              scratch: scratch)
            return
          }
          rest -= cut.count
          target += cut.partialSize(shape)
        }
      }
      guard partialCount > 0 else { return }
      var source = partials
      for segment in segments {
        let cut = AttentionCut(segment, shape: shape, window: scoring.window)
        guard cut.parts > 1 else { continue }
        mergePartials(source, cut: cut, segment: segment, shape: shape, into: y)
        source += cut.partialSize(shape)
      }
    }
  }

  /// Gates rows, several at a time.
  public func activateGated(
    gate: MatrixView, up: MatrixView, into y: MutableMatrixView, activation: Activation
  ) {
    pool(y.rows).run(y.rows, grain: rowGrain(y.columns)) { rows in
      Kernels.activateGated(gate: gate.rows(rows), up: up.rows(rows), into: y.rows(rows), activation)
    }
  }

  /// Copies rows.
  public func copy(_ x: MatrixView, into y: MutableMatrixView) {
    for row in 0..<x.rows { y.row(row).update(from: x.row(row), count: x.columns) }
  }

  /// Sets rows to 0.
  public func clear(_ x: MutableMatrixView) {
    for row in 0..<x.rows { x.row(row).update(repeating: 0, count: x.columns) }
  }

  /// Adds rows, several at a time.
  public func add(_ x: MatrixView, scaledBy scale: Float, to y: MutableMatrixView) {
    pool(x.rows).run(x.rows, grain: rowGrain(x.columns)) { rows in
      for row in rows { addRow(x.row(row), scaledBy: scale, to: y.row(row), count: x.columns) }
    }
  }

  /// Multiplies rows, several at a time.
  public func scale(_ x: MutableMatrixView, by scale: Float) {
    pool(x.rows).run(x.rows, grain: rowGrain(x.columns)) { rows in
      for row in rows { scaleRow(x.row(row), by: scale, into: x.row(row), count: x.columns) }
    }
  }

  /// Bends rows, several at a time.
  public func softCap(_ x: MutableMatrixView, cap: Float) {
    pool(x.rows).run(x.rows, grain: rowGrain(x.columns)) { rows in
      for row in rows { softCapRow(x.row(row), cap: cap, into: x.row(row), count: x.columns) }
    }
  }

  /// Chooses experts row by row: there are few.
  public func route(_ x: MutableMatrixView, count: Int, isNormalized: Bool) -> [ExpertShare] {
    Kernels.route(x, count: count, isNormalized: isNormalized) { softmaxRow($0, into: $0, count: $1) }
  }

  /// Copies rows.
  public func gather(_ x: MatrixView, rows: [Int], into y: MutableMatrixView) {
    Kernels.gather(x, rows: rows, into: y)
  }

  /// Adds rows one after another: several may go to the same place.
  public func scatterAdd(_ x: MatrixView, rows: [Int], shares: [Float], to y: MutableMatrixView) {
    for (index, row) in rows.enumerated() {
      addRow(x.row(index), scaledBy: shares[index], to: y.row(row), count: x.columns)
    }
  }
}
