#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The same operations as plain scalar loops on one thread: the definition that `BLASEngine` is measured
/// and checked against.
public final class NaiveEngine: ComputeEngine {
  /// `naive`.
  public var name: String { "naive" }
  /// One.
  public var threadCount: Int { 1 }

  /// Makes the engine; it has no state.
  public init() {}

  /// Copies or adds rows of the table.
  public func embed(_ ids: [Int], table: MatrixView, into y: MutableMatrixView, accumulate: Bool) {
    embedReference(ids, table: table, into: y, accumulate: accumulate)
  }

  /// Normalises row by row.
  public func normalize(_ x: MatrixView, _ weight: NormalizationWeight, into y: MutableMatrixView) {
    normalizeReference(x, weight, into: y)
  }

  /// Normalises head by head.
  public func normalizeHeads(
    _ x: MutableMatrixView, _ weight: NormalizationWeight, dimension: Int, weightStride: Int
  ) {
    normalizeHeadsReference(x, weight, dimension: dimension, weightStride: weightStride)
  }

  /// Turns pair by pair.
  public func rotate(
    _ x: MutableMatrixView, cosines: MatrixView, sines: MatrixView, dimension: Int, pairing: RotaryPairing
  ) {
    rotateReference(x, cosines: cosines, sines: sines, dimension: dimension, pairing: pairing)
  }

  /// Three nested loops.
  public func linear(
    _ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, epilogue: LinearEpilogue
  ) {
    precondition(
      x.rows == y.rows && x.columns == weight.inputs && y.columns == weight.outputs,
      "(\(x.rows), \(x.columns)) × (\(weight.inputs), \(weight.outputs)) into (\(y.rows), \(y.columns))")
    linearReference(x, weight, into: y, accumulate: epilogue == .add)
    if let unseen = weight.unseen, unseen.isUnseen, x.rows > 0 { unseen.look(at: y) }
    if case .activate(let activation) = epilogue { activateReference(y, bias: nil, activation) }
  }

  /// Copies rows into the cache.
  public func store(
    keys: MatrixView, values: MatrixView, segments: [AttentionSegment], layer: Int, shape: AttentionShape
  ) {
    for segment in segments {
      storeKeyValues(
        keys: keys, values: values, segment: segment, layer: segment.layers[layer], shape: shape,
        heads: 0..<shape.keyValueHeadCount)
    }
  }

  /// Query by query, head by head.
  public func attention(
    queries: MatrixView, segments: [AttentionSegment], layer: Int, shape: AttentionShape,
    scoring: AttentionScoring, into y: MutableMatrixView
  ) {
    for segment in segments {
      attentionReference(
        queries: queries, segment: segment, layer: segment.layers[layer], shape: shape, scoring: scoring,
        into: y)
    }
  }

  /// Gates element by element.
  public func activateGated(
    gate: MatrixView, up: MatrixView, into y: MutableMatrixView, activation: Activation
  ) {
    activateGatedReference(gate: gate, up: up, into: y, activation)
  }

  /// Copies element by element.
  public func copy(_ x: MatrixView, into y: MutableMatrixView) {
    forEachElement(y) { row, column in y.row(row)[column] = x.row(row)[column] }
  }

  /// Sets rows to 0.
  public func clear(_ x: MutableMatrixView) {
    for row in 0..<x.rows { x.row(row).update(repeating: 0, count: x.columns) }
  }

  /// Adds element by element.
  public func add(_ x: MatrixView, scaledBy scale: Float, to y: MutableMatrixView) {
    forEachElement(y) { row, column in y.row(row)[column] += scale * x.row(row)[column] }
  }

  /// Multiplies element by element.
  public func scale(_ x: MutableMatrixView, by scale: Float) {
    forEachElement(x) { row, column in x.row(row)[column] *= scale }
  }

  /// Bends element by element.
  public func softCap(_ x: MutableMatrixView, cap: Float) {
    forEachElement(x) { row, column in x.row(row)[column] = cap * tanhf(x.row(row)[column] / cap) }
  }

  /// Chooses experts row by row.
  public func route(_ x: MutableMatrixView, count: Int, isNormalized: Bool) -> [ExpertShare] {
    Kernels.route(x, count: count, isNormalized: isNormalized) {
      softmaxRowReference($0, into: $0, count: $1)
    }
  }

  /// Copies rows.
  public func gather(_ x: MatrixView, rows: [Int], into y: MutableMatrixView) {
    Kernels.gather(x, rows: rows, into: y)
  }

  /// Adds rows one after another.
  public func scatterAdd(_ x: MatrixView, rows: [Int], shares: [Float], to y: MutableMatrixView) {
    for (index, row) in rows.enumerated() {
      for column in 0..<x.columns { y.row(row)[column] += shares[index] * x.row(index)[column] }
    }
  }

  private func forEachElement(_ x: MutableMatrixView, _ body: (Int, Int) -> Void) {
    for row in 0..<x.rows {
      for column in 0..<x.columns { body(row, column) }
    }
  }
}
