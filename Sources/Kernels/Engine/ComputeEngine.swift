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

  /// The threads, for what is done between two operations.
  var pool: WorkerPool { get }

  /// Looks up embeddings.  y[r] = table[ids[r]]
  /// - Parameters:
  ///   - ids: R row numbers of the table, checked.
  ///   - table: (V, C).
  ///   - y: (R, C).
  ///   - accumulate: whether to add to `y` instead of replacing it.
  func embed(_ ids: [Int], table: MatrixView, into y: MutableMatrixView, accumulate: Bool)

  /// Normalises each row over its channels, as a layer norm or by its root mean square.
  /// - Parameters:
  ///   - x: (R, C); may be `y`.
  ///   - weight: which normalisation, with γ and β of (C).
  ///   - y: (R, C).
  func normalize(_ x: MatrixView, _ weight: NormalizationWeight, into y: MutableMatrixView)

  /// Normalises each head of each row over the head's channels, in place.
  /// - Parameters:
  ///   - x: (R, H·D).
  ///   - weight: γ and β, (D) for all heads or (H, D).
  ///   - dimension: D.
  ///   - weightStride: 0 where the heads share their weights, else D.
  func normalizeHeads(
    _ x: MutableMatrixView, _ weight: NormalizationWeight, dimension: Int, weightStride: Int)

  /// Turns pairs of channels of each head by angles that depend on the row, in place.
  /// - Parameters:
  ///   - x: (R, H·D).
  ///   - cosines: (R, n/2), where the first n ≤ D channels of a head turn.
  ///   - sines: (R, n/2).
  ///   - dimension: D.
  /// - SeeAlso: arXiv:2104.09864
  func rotate(
    _ x: MutableMatrixView, cosines: MatrixView, sines: MatrixView, dimension: Int, pairing: RotaryPairing)

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
  ///   - segments: the R rows, with the slots and positions where each goes.
  ///   - layer: of the segments' layers.
  func store(
    keys: MatrixView, values: MatrixView, segments: [AttentionSegment], layer: Int, shape: AttentionShape)

  /// Scaled dot-product attention over cached keys and values.  y = softmax(score(q, K))·V, per head
  /// - Parameters:
  ///   - queries: (R, H·D).
  ///   - segments: the R rows, with the positions that each attends to, at least one.
  ///   - layer: of the segments' layers.
  ///   - scoring: how products of queries and keys become scores.
  ///   - y: (R, H·D); does not overlap `queries`.
  /// - SeeAlso: arXiv:1706.03762
  func attention(
    queries: MatrixView, segments: [AttentionSegment], layer: Int, shape: AttentionShape,
    scoring: AttentionScoring, into y: MutableMatrixView)

  /// Lets one half of a feed-forward block's channels gate the other.  y = f(gate)·up
  /// - Parameters:
  ///   - gate: (R, inner).
  ///   - up: (R, inner).
  ///   - y: (R, inner).
  /// - SeeAlso: arXiv:2002.05202
  func activateGated(
    gate: MatrixView, up: MatrixView, into y: MutableMatrixView, activation: Activation)

  /// Replaces one matrix by another.  y = x
  /// - Parameters:
  ///   - x: (R, C).
  ///   - y: (R, C).
  func copy(_ x: MatrixView, into y: MutableMatrixView)

  /// Sets every element to 0.
  func clear(_ x: MutableMatrixView)

  /// Adds a multiple of one matrix to another.  y += s·x
  /// - Parameters:
  ///   - x: (R, C); does not overlap `y`.
  ///   - y: (R, C).
  func add(_ x: MatrixView, scaledBy scale: Float, to y: MutableMatrixView)

  /// Multiplies every element, in place.  x ← s·x
  func scale(_ x: MutableMatrixView, by scale: Float)

  /// Bends every element into ±cap, in place.  x ← cap·tanh(x/cap)
  func softCap(_ x: MutableMatrixView, cap: Float)

  /// Chooses the experts of each row and their shares.
  ///
  /// The shares are the largest of softmax(x); of equals the first.
  /// - Parameters:
  ///   - x: (R, experts), the router's scores; becomes their softmax.
  ///   - count: experts per row.
  ///   - isNormalized: whether the shares of a row are divided by their sum.
  /// - Returns: row after row, `count` experts each, with their shares.
  func route(_ x: MutableMatrixView, count: Int, isNormalized: Bool) -> [ExpertShare]

  /// Collects rows.  y[r] = x[rows[r]]
  func gather(_ x: MatrixView, rows: [Int], into y: MutableMatrixView)

  /// Adds rows back with their shares.  y[rows[r]] += shares[r]·x[r]
  /// - Parameters:
  ///   - x: (rows.count, C).
  ///   - y: (R, C); does not overlap `x`.
  func scatterAdd(_ x: MatrixView, rows: [Int], shares: [Float], to y: MutableMatrixView)
}

extension ComputeEngine {
  /// The calling thread alone.
  public var pool: WorkerPool { WorkerPool(threadCount: 1) }

  /// Attention of all rows by one plan over one layer.
  public func attention(
    queries: MatrixView, layer: KeyValueLayer, plan: AttentionPlan, shape: AttentionShape,
    scoring: AttentionScoring, into y: MutableMatrixView
  ) {
    withUnsafePointer(to: layer) { layer in
      attention(
        queries: queries,
        segments: [AttentionSegment(rows: 0..<queries.rows, layers: layer, writes: [], plan: plan)],
        layer: 0, shape: shape, scoring: scoring, into: y)
    }
  }
}

/// One expert's part in the result of one row.
public struct ExpertShare: Sendable, Equatable {
  /// The expert.
  public let expert: Int
  /// What its output is multiplied by.
  public let share: Float

  /// Describes the part.
  public init(expert: Int, share: Float) {
    self.expert = expert
    self.share = share
  }
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
