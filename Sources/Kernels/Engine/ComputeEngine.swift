/// The numeric operations that a decoder is made of.
///
/// The decoder's equations are written once against this protocol; `BLASEngine` runs them at speed,
/// `NaiveEngine` as plain scalar loops, for comparison and as the readable definition. Legend: R rows
/// (tokens), C channels, V vocabulary.
public protocol ComputeEngine: Sendable {
  /// The name that `--engine` knows, such as `blas`.
  var name: String { get }

  /// Threads that take part.
  var threadCount: Int { get }

  /// Looks up embeddings.  y[r] = table[ids[r]]
  /// - Parameters:
  ///   - ids: R row numbers of the table, checked.
  ///   - table: (V, C).
  ///   - y: (R, C).
  ///   - accumulate: whether to add to `y` instead of replacing it.
  func embed(_ ids: [Int], table: MatrixView, into y: MutableMatrixView, accumulate: Bool)

  /// Normalises each row over its channels.  y = (x − μ)/√(σ² + ε)·γ + β
  /// - Parameters:
  ///   - x: (R, C); may be `y`.
  ///   - weight: γ, (C).
  ///   - bias: β, (C), or nothing.
  /// - SeeAlso: arXiv:1607.06450
  func layerNorm(
    _ x: MatrixView, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>?, epsilon: Float,
    into y: MutableMatrixView)

  /// An affine map of each row.  y = f(x·Wᵀ + b), or y += x·Wᵀ + b.
  /// - Parameters:
  ///   - x: (R, inputs); does not overlap `y`.
  ///   - y: (R, outputs).
  ///   - epilogue: what happens to a product on its way out.
  func linear(_ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, epilogue: LinearEpilogue)

  /// Keeps keys and values of new positions.
  /// - Parameters:
  ///   - keys: (R, G·D).
  ///   - values: (R, G·D).
  ///   - layer: where they are kept.
  ///   - places: the slots and positions of the R rows, in order.
  func store(
    keys: MatrixView, values: MatrixView, in layer: KeyValueLayer, at places: [KeyValueRun],
    shape: AttentionShape)

  /// Scaled dot-product attention over cached keys and values.  y = softmax(s·q·Kᵀ)·V, per head
  /// - Parameters:
  ///   - queries: (R, H·D).
  ///   - layer: where keys and values lie.
  ///   - plan: the positions that each row attends to, at least one each.
  ///   - scale: s, 1/√D where the model does not say otherwise.
  ///   - y: (R, H·D); does not overlap `queries`.
  /// - SeeAlso: arXiv:1706.03762
  func attention(
    queries: MatrixView, layer: KeyValueLayer, plan: AttentionPlan, shape: AttentionShape, scale: Float,
    into y: MutableMatrixView)
}

/// What happens to the product of a linear map on its way out.
public enum LinearEpilogue: Sendable, Equatable {
  /// The product and bias replace what is there.
  case store
  /// The product and bias are added to what is there (a residual connection).
  case add
  /// The product and bias pass through a nonlinearity and replace what is there.
  case activate(Activation)
}
