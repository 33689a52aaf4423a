/// OpenBLAS for the dense products, vectorised Swift for everything between them, a pool of threads.
///
/// Work is cut by shape, not by thread count, so results are the same bits with any number of threads.
public final class BLASEngine: ComputeEngine {
  /// `blas`.
  public var name: String { "blas" }
  /// Threads that take part.
  public var threadCount: Int { pool.threadCount }

  private let pool: WorkerPool

  /// Starts the threads.
  /// - Parameter threadCount: the caller's thread included; by default one per core that the process may use.
  public convenience init(threadCount: Int = WorkerPool.defaultThreadCount()) {
    self.init(pool: WorkerPool(threadCount: threadCount))
  }

  /// Computes with the threads of a pool that exists.
  public init(pool: WorkerPool) {
    self.pool = pool
  }

  /// Looks up embeddings; a row is too short to be worth a second thread.
  public func embed(_ ids: [Int], table: MatrixView, into y: MutableMatrixView, accumulate: Bool) {
    Kernels.embed(ids, table: table, into: y, accumulate: accumulate)
  }

  /// Normalises rows, several at a time.
  public func layerNorm(
    _ x: MatrixView, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?, epsilon: Float,
    into y: MutableMatrixView
  ) {
    pool.run(x.rows, grain: rowGrain(x.columns)) { rows in
      Kernels.layerNorm(
        x.rows(rows), weight: weight, bias: bias, epsilon: epsilon, into: y.rows(rows))
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
    let tile = BLASEngine.tile(rows: x.rows, outputs: weight.outputs)
    let rowBlocks = (x.rows + tile.rows - 1) / tile.rows
    let bands = (weight.outputs + tile.columns - 1) / tile.columns
    pool.run(rowBlocks * bands) { task in
      // Threads that work side by side read the same band of weights.
      let (band, block) = task.quotientAndRemainder(dividingBy: rowBlocks)
      let columns = band * tile.columns..<min((band + 1) * tile.columns, weight.outputs)
      let rows = block * tile.rows..<min((block + 1) * tile.rows, x.rows)
      let out = y.columns(columns).rows(rows)
      let outputMajor = weight.layout == .outputMajor
      BLAS.multiply(
        transposeB: outputMajor, m: rows.count, n: columns.count, k: weight.inputs, a: x.row(rows.lowerBound),
        strideA: x.rowStride,
        b: weight.values + columns.lowerBound * (outputMajor ? weight.inputs : 1),
        strideB: outputMajor ? weight.inputs : weight.outputs, beta: epilogue == .add ? 1 : 0, c: out.base,
        strideC: out.rowStride)
      let bias = weight.bias.map { $0 + columns.lowerBound }
      if case .activate(let activation) = epilogue {
        activate(out, bias: bias, activation)
      } else if let bias {
        addBias(out, bias)
      }
    }
  }

  /// The part of a product that one task computes: enough to keep a GEMM efficient, few enough to share out.
  ///
  /// A long prompt is cut both ways. GPT-2 124M, 512 tokens, two cores, medians of 40 turns, of the SGEMM limit: tiles of
  /// 512 × 192 76 %, 256 × 192 82 %, 256 × 384 83 %, 128 × 384 78 %. The narrower of the best two shares out better.
  /// Blocks of rows are of equal height, in whole steps of the GEMM kernel.
  static func tile(rows: Int, outputs: Int) -> (rows: Int, columns: Int) {
    let sixteenth = ((outputs + 15) / 16 + 63) / 64 * 64
    let blocks = max(1, (rows + 255) / 256)
    return (max(16, ((rows + blocks - 1) / blocks + 15) / 16 * 16), max(192, sixteenth))
  }

  /// Rows that are worth a thread's attention: some ten thousand elements.
  private func rowGrain(_ columns: Int) -> Int { max(1, 16_384 / max(columns, 1)) }

  /// Copies rows into the cache, a task per head.
  public func store(
    keys: MatrixView, values: MatrixView, in layer: KeyValueLayer, at places: [KeyValueRun],
    shape: AttentionShape
  ) {
    pool.run(shape.keyValueHeadCount, grain: max(1, 16_384 / max(1, keys.rows * shape.headDimension))) {
      heads in
      storeKeyValues(keys: keys, values: values, in: layer, at: places, shape: shape, heads: heads)
    }
  }

  /// Attention, a task per key/value head and block of queries.
  public func attention(
    queries: MatrixView, layer: KeyValueLayer, plan: AttentionPlan, shape: AttentionShape, scale: Float,
    into y: MutableMatrixView
  ) {
    let blockRows = BLASEngine.queryBlock(rows: queries.rows, plan: plan, group: shape.groupSize)
    let blocks = (queries.rows + blockRows - 1) / blockRows
    pool.run(shape.keyValueHeadCount * blocks) { task in
      // The last block of a prompt sees the most positions: it goes first, so that no thread ends late.
      let block = blocks - 1 - task / shape.keyValueHeadCount
      attendBlock(
        queries: queries, layer: layer, plan: plan, shape: shape, scale: scale, into: y,
        head: task % shape.keyValueHeadCount,
        rows: block * blockRows..<min((block + 1) * blockRows, queries.rows))
    }
  }

  /// Rows of queries whose scores are held at once: memory stays linear in the number of positions.
  private static func queryBlock(rows: Int, plan: AttentionPlan, group: Int) -> Int {
    guard plan.isCausal else { return max(rows, 1) }
    let budget = 1 << 19
    return max(1, min(rows, 64, budget / max(1, plan.sharedCount * group)))
  }
}
