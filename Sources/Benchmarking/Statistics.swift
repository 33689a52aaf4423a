/// What repeated measurements of one thing say together.
public struct SampleStatistics: Sendable, Equatable {
  /// How many there are, n.
  public let count: Int
  /// The smallest: what the machine can do when nothing disturbs it.
  public let minimum: Double
  /// Half are at most this.
  public let median: Double
  /// A quarter are at most this.
  public let lowerQuartile: Double
  /// Three quarters are at most this.
  public let upperQuartile: Double
  /// Of a hundred, 95 are at most this.
  public let p95: Double
  /// Σx/n.
  public let mean: Double
  /// √(Σ(x − mean)²/(n − 1)); 0 for one sample.
  public let standardDeviation: Double

  /// Summarises samples; `nil` when there is none.
  public init?(_ samples: [Double]) {
    guard !samples.isEmpty else { return nil }
    let sorted = samples.sorted()
    count = sorted.count
    minimum = sorted[0]
    median = quantile(0.5, ofSorted: sorted)
    lowerQuartile = quantile(0.25, ofSorted: sorted)
    upperQuartile = quantile(0.75, ofSorted: sorted)
    p95 = quantile(0.95, ofSorted: sorted)
    let mean = sorted.reduce(0, +) / Double(sorted.count)
    self.mean = mean
    let squares = sorted.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    standardDeviation = sorted.count > 1 ? (squares / Double(sorted.count - 1)).squareRoot() : 0
  }

  /// Half the distance of the quartiles over the median: how far a second run may be off.
  public var relativeSpread: Double { median == 0 ? 0 : (upperQuartile - lowerQuartile) / 2 / median }

  /// a[i]/b[i] over slices that were measured one right after the other, so that what slows the machine for a
  /// while slows both.
  ///
  /// - Precondition: as many of one as of the other.
  public static func pairedRatios(_ a: [Double], _ b: [Double]) -> SampleStatistics? {
    precondition(a.count == b.count, "\(a.count) slices beside \(b.count)")
    return SampleStatistics(zip(a, b).map { $0 / $1 })
  }
}

/// The value below which a share `q` of the samples lies, interpolated between neighbours (type 7 of R and NumPy).
///
/// - Precondition: `sorted` is not empty and `0 ≤ q ≤ 1`.
public func quantile(_ q: Double, ofSorted sorted: [Double]) -> Double {
  precondition(!sorted.isEmpty && q >= 0 && q <= 1, "quantile \(q) of \(sorted.count) samples")
  let position = q * Double(sorted.count - 1)
  let below = Int(position)
  let above = min(below + 1, sorted.count - 1)
  return sorted[below] + (position - Double(below)) * (sorted[above] - sorted[below])
}
