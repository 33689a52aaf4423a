#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// How signatures are cut into bands, so that texts above a similarity are likely to agree in one.
///
/// - SeeAlso: Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", chapter 3.
public struct Banding: Sendable, Equatable {
  /// Bands of a signature.
  public let bandCount: Int
  /// Values in a band; what is left over at the end is not used.
  public let rowCount: Int

  /// The bands that make the sum of both errors least, with equal weights: the choice of `MinHashLSH` of
  /// datasketch.
  ///
  /// - Parameters:
  ///   - threshold: the similarity above which texts should meet, 0 to 1.
  ///   - permutationCount: values in a signature.
  public init(threshold: Double, permutationCount: Int) {
    var best = (error: Double.infinity, bands: 1, rows: 1)
    for bands in 1...permutationCount {
      for rows in 1...permutationCount / bands {
        let meets = { (similarity: Double) in
          1 - pow(1 - pow(similarity, Double(rows)), Double(bands))
        }
        let wrong = Banding.integral(from: 0, to: threshold, meets)
        let missed = Banding.integral(from: threshold, to: 1) { 1 - meets($0) }
        let error = 0.5 * wrong + 0.5 * missed
        // Some choices are equally good, and rounding must not tell them apart.
        if error < best.error - 1e-12 { best = (error, bands, rows) }
      }
    }
    bandCount = best.bands
    rowCount = best.rows
  }

  /// Gauss–Legendre on panels, exact to rounding for these smooth functions.
  private static func integral(
    from lower: Double, to upper: Double, _ function: (Double) -> Double
  ) -> Double {
    let panels = 16
    let width = (upper - lower) / Double(panels)
    var sum = 0.0
    for panel in 0..<panels {
      let middle = lower + (Double(panel) + 0.5) * width
      for (node, weight) in nodes {
        sum += weight * (function(middle - node * width / 2) + function(middle + node * width / 2))
      }
    }
    return sum * width / 2
  }

  /// Half of the ten nodes, and their weights.
  private static let nodes: [(Double, Double)] = [
    (0.148_874_338_981_631_21, 0.295_524_224_714_752_87),
    (0.433_395_394_129_247_19, 0.269_266_719_309_996_36),
    (0.679_409_568_299_024_41, 0.219_086_362_515_982_04),
    (0.865_063_366_688_984_51, 0.149_451_349_150_580_59),
    (0.973_906_528_517_171_72, 0.066_671_344_308_688_14),
  ]
}
