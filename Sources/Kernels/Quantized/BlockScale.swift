/// How scales of blocks are chosen where errors are fed back.
enum BlockScale {
  /// The scale of 32 numbers for integers of −127 … 127.
  static func eightBits(_ x: UnsafePointer<Float>) -> Float16 {
    var largest: Float = 0
    for index in 0..<32 { largest = max(largest, x[index].magnitude) }
    return Float16(largest / 127)
  }

  /// The scale of 32 numbers for integers of −8 … 7: of those about the one of `leastSquares` the one that costs least when
  /// the columns to the right, within the block, make up for each column's error.
  ///
  /// - Parameters:
  ///   - x: (32).
  ///   - costs: (32), what a column's error costs that no other makes up for.
  ///   - factor: (32, 32), the part of U that belongs to these columns; rows are `stride` elements apart.
  static func fourBits(
    _ x: UnsafePointer<Float>, costs: UnsafePointer<Float>, factor: UnsafePointer<Float>, stride: Int
  ) -> Float16 {
    let middle = Float(leastSquares(x, costs: costs))
    guard middle != 0 else { return 0 }
    // There are 8 integers below 0 and 7 above, so the scale's sign is a choice too.
    let candidates = spread * middle
    var scales = SIMD16<Float>()
    for lane in 0..<16 { scales[lane] = Float(Float16(candidates[lane])) }
    let inverses = 1 / scales
    return withUnsafeTemporaryAllocation(of: SIMD16<Float>.self, capacity: 32) { columns in
      for column in 0..<32 { columns[column] = SIMD16(repeating: x[column]) }
      var cost = SIMD16<Float>()
      for column in 0..<32 {
        // Adding and taking away 1.5·2²³ rounds to integers.
        let nearest = (columns[column] * inverses + 12_582_912) - 12_582_912
        let quants = nearest.clamped(
          lowerBound: SIMD16(repeating: -8), upperBound: SIMD16(repeating: 7))
        let line = factor + column * stride
        let error = (quants * scales - columns[column]) / line[column]
        cost += error * error
        for other in column + 1..<max(32, column + 1) { columns[other] += error * line[other] }
      }
      var best = (scale: Float16(middle), cost: Float.infinity)
      for lane in 0..<16 where cost[lane] < best.cost && scales[lane].isFinite && scales[lane] != 0 {
        best = (Float16(scales[lane]), cost[lane])
      }
      return best.scale
    }
  }

  private static let spread = SIMD16<Float>(
    0.84, 0.89, 0.93, 0.97, 1, 1.04, 1.08, 1.13, -0.84, -0.89, -0.93, -0.97, -1, -1.04, -1.08, -1.13)

  /// The scale of 32 numbers for integers of −8 … 7: of some candidates the one whose least squares, weighted with the
  /// columns' costs, are least.
  static func leastSquares(_ x: UnsafePointer<Float>, costs: UnsafePointer<Float>) -> Float16 {
    var largest: Float = 0
    for index in 0..<32 where x[index].magnitude > largest.magnitude { largest = x[index] }
    guard largest != 0, largest.isFinite else { return 0 }
    var best = (scale: largest / -8, gain: -Float.infinity)
    for levels in [Float(-8), 7] {
      for step in -14...10 {
        let inverse = (levels + 0.1 * Float(step) * (levels < 0 ? -1 : 1)) / largest
        var (cross, square): (Float, Float) = (0, 0)
        for index in 0..<32 {
          let nearest = (x[index] * inverse + 12_582_912) - 12_582_912
          let quant = nearest < -8 ? -8 : nearest > 7 ? 7 : nearest
          cross += costs[index] * x[index] * quant
          square += costs[index] * quant * quant
        }
        // Σc·x² − cross²/square is the error of the best scale for these integers.
        let gain = cross * (cross / square)
        if square > 0, gain > best.gain { best = (cross / square, gain) }
      }
    }
    let half = Float16(best.scale)
    return half.isFinite ? half : Float16(largest / -8)
  }
}
