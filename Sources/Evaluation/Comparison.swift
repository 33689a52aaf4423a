/// The distance that a number may have from its reference: |Δ| ≤ absolute + relative·|reference|.
public struct Tolerance: Sendable, Equatable {
  /// What is allowed anywhere.
  public var absolute: Double
  /// What is allowed in proportion to the reference.
  public var relative: Double

  /// Logits, and everything else of a forward pass.
  public static let logits = Tolerance(absolute: 5e-5, relative: 5e-5)
  /// Log-probabilities.
  public static let logProbability = Tolerance(absolute: 5e-5, relative: 0)
  /// Scores of sequences: a negative length penalty makes them so large that `Float` itself, in which they are
  /// defined, has no step as small as 5e-5 (beyond 512 it is 6.1e-5), so one such step is allowed besides.
  public static let sequenceScore = Tolerance(absolute: 5e-5, relative: 0x1p-23)
  /// Mean losses.
  public static let loss = Tolerance(absolute: 0, relative: 1e-6)

  /// Gradients, in proportion to the largest of their tensor.
  public static func gradient(largest: Float) -> Tolerance {
    Tolerance(absolute: 1e-6 + 2e-4 * Double(largest), relative: 0)
  }
}

/// The largest excursion seen while two rows of numbers are compared.
struct Comparison {
  let tolerance: Tolerance
  /// |Δ| where it came closest to, or went furthest beyond, what is allowed.
  private(set) var largestError = 0.0
  /// What is allowed there.
  private(set) var allowed: Double
  /// Where that was.
  private(set) var index = 0
  private(set) var isWithin = true
  private var worstRatio = -1.0

  init(_ tolerance: Tolerance) {
    self.tolerance = tolerance
    allowed = tolerance.absolute
  }

  /// Takes one pair; −∞ equals −∞, and nothing else that is not finite is ever within tolerance.
  mutating func compare(_ value: Double, with reference: Double, at position: Int) {
    if value == reference, worstRatio >= 0 { return }
    let bound = tolerance.absolute + (reference.isFinite ? tolerance.relative * abs(reference) : 0)
    let error = value == reference ? 0 : abs(value - reference)
    let ratio = error.isFinite ? error / bound : .infinity
    if !(ratio <= 1) { isWithin = false }
    if ratio > worstRatio {
      worstRatio = ratio
      largestError = error.isNaN ? .infinity : error
      allowed = bound
      index = position
    }
  }

  mutating func compare(
    _ values: UnsafeBufferPointer<Float>, with reference: some Collection<Float>, at start: Int = 0
  ) {
    for (offset, pair) in zip(values, reference).enumerated() {
      compare(Double(pair.0), with: Double(pair.1), at: start + offset)
    }
  }
}
