/// A normalisation of rows: which one, and its weight and bias, (C) each.
///
/// The owner of the memory outlives it.
public struct NormalizationWeight: @unchecked Sendable {
  // Safe: nothing writes through the pointers while an operation reads them.

  /// What a row is divided by.
  public enum Kind: Sendable, Equatable {
    /// The standard deviation, after the mean is taken away.  arXiv:1607.06450
    case layerNorm
    /// The root of the mean square.  arXiv:1910.07467
    case rootMeanSquare
  }

  /// What a row is divided by.
  public let kind: Kind
  /// γ.
  public let weight: UnsafePointer<Float>
  /// β, or nothing.
  public let bias: UnsafePointer<Float>?
  /// What is added to γ before it is used: 1 in Gemma, whose checkpoints hold γ − 1; else 0.
  public let offset: Float
  /// ε.
  public let epsilon: Float

  /// Describes a normalisation in memory.
  public init(
    kind: Kind, weight: UnsafePointer<Float>, bias: UnsafePointer<Float>? = nil, offset: Float = 0,
    epsilon: Float
  ) {
    self.kind = kind
    self.weight = weight
    self.bias = bias
    self.offset = offset
    self.epsilon = epsilon
  }

  /// The same normalisation with the weights of head `index` of several that follow one another.
  func head(_ index: Int, stride: Int) -> NormalizationWeight {
    NormalizationWeight(
      kind: kind, weight: weight + index * stride, bias: bias.map { $0 + index * stride }, offset: offset,
      epsilon: epsilon)
  }
}

/// Normalises each row as `weight` says.
///
/// - Parameters:
///   - x: (rows, columns); may be `y`.
///   - weight: (columns).
///   - y: (rows, columns).
func normalize(_ x: MatrixView, _ weight: NormalizationWeight, into y: MutableMatrixView) {
  switch weight.kind {
  case .layerNorm:
    precondition(weight.offset == 0, "a layer norm has no offset")
    layerNorm(x, weight: weight.weight, bias: weight.bias, epsilon: weight.epsilon, into: y)
  case .rootMeanSquare:
    precondition(weight.bias == nil, "a root-mean-square norm has no bias")
    rootMeanSquareNorm(
      x, weight: weight.weight, offset: weight.offset, epsilon: weight.epsilon, into: y)
  }
}

/// Normalises each head of each row by itself.
///
/// - Parameters:
///   - x: (rows, heads·dimension), in place.
///   - weight: (dimension) for all heads, or (heads, dimension).
///   - dimension: channels of a head.
///   - weightStride: from the weights of one head to those of the next; 0 where all share them.
func normalizeHeads(
  _ x: MutableMatrixView, _ weight: NormalizationWeight, dimension: Int, weightStride: Int
) {
  precondition(x.columns.isMultiple(of: dimension), "\(x.columns) columns in heads of \(dimension)")
  for head in 0..<x.columns / dimension {
    let band = x.columns(head * dimension..<(head + 1) * dimension)
    normalize(band.readOnly, weight.head(head, stride: weightStride), into: band)
  }
}

/// The naive twin of `normalize`.
func normalizeReference(_ x: MatrixView, _ weight: NormalizationWeight, into y: MutableMatrixView) {
  switch weight.kind {
  case .layerNorm:
    layerNormReference(x, weight: weight.weight, bias: weight.bias, epsilon: weight.epsilon, into: y)
  case .rootMeanSquare:
    rootMeanSquareNormReference(
      x, weight: weight.weight, offset: weight.offset, epsilon: weight.epsilon, into: y)
  }
}

/// The naive twin of `normalizeHeads`.
func normalizeHeadsReference(
  _ x: MutableMatrixView, _ weight: NormalizationWeight, dimension: Int, weightStride: Int
) {
  for head in 0..<x.columns / dimension {
    let band = x.columns(head * dimension..<(head + 1) * dimension)
    normalizeReference(band.readOnly, weight.head(head, stride: weightStride), into: band)
  }
}
