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
  public func layerNorm(
    _ x: MatrixView, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?, epsilon: Float,
    into y: MutableMatrixView
  ) {
    layerNormReference(x, weight: weight, bias: bias, epsilon: epsilon, into: y)
  }

  /// Three nested loops.
  public func linear(
    _ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, epilogue: LinearEpilogue
  ) {
    precondition(
      x.rows == y.rows && x.columns == weight.inputs && y.columns == weight.outputs,
      "(\(x.rows), \(x.columns)) × (\(weight.inputs), \(weight.outputs)) into (\(y.rows), \(y.columns))")
    linearReference(x, weight, into: y, accumulate: epilogue == .add)
    if case .activate(let activation) = epilogue { activateReference(y, bias: nil, activation) }
  }

  /// Copies rows into the cache.
  public func store(
    keys: MatrixView, values: MatrixView, in layer: KeyValueLayer, at places: [KeyValueRun],
    shape: AttentionShape
  ) {
    storeKeyValues(
      keys: keys, values: values, in: layer, at: places, shape: shape, heads: 0..<shape.keyValueHeadCount)
  }

  /// Query by query, head by head.
  public func attention(
    queries: MatrixView, layer: KeyValueLayer, plan: AttentionPlan, shape: AttentionShape, scale: Float,
    into y: MutableMatrixView
  ) {
    attentionReference(queries: queries, layer: layer, plan: plan, shape: shape, scale: scale, into: y)
  }
}
