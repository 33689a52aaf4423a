import Testing

@testable import Kernels

@Suite struct BlockScaleTests {
  /// What 32 columns cost with a scale, each rounded after those before it have been made up for: in `Double`, by the book.
  private func cost(_ x: [Float], _ scale: Float16, _ factor: [Float], stride: Int) -> Double {
    var columns = x.map(Double.init)
    var total = 0.0
    for column in 0..<32 {
      let quant =
        scale == 0 ? 0 : min(7, max(-8, (columns[column] / Double(scale)).rounded(.toNearestOrEven)))
      let error = (quant * Double(scale) - columns[column]) / Double(factor[column * stride + column])
      total += error * error
      for other in column + 1..<max(32, column + 1) {
        columns[other] += error * Double(factor[column * stride + other])
      }
    }
    return total
  }

  /// Of the scales about the one of least squares the one that costs least with feedback.
  @Test func feedbackChooses() {
    let stride = 37
    var random = RandomFloats(seed: 3)
    var (chosenCost, squaresCost) = (0.0, 0.0)
    var flips = 0
    for _ in 0..<200 {
      let x = random.floats(32)
      var factor = random.floats(32 * stride)
      for column in 0..<32 { factor[column * stride + column] = 0.5 + abs(factor[column * stride + column]) }
      let costs = (0..<32).map { 1 / (factor[$0 * stride + $0] * factor[$0 * stride + $0]) }
      let chosen = BlockScale.fourBits(x, costs: costs, factor: factor, stride: stride)
      let squares = BlockScale.leastSquares(x, costs: costs)
      let best = cost(x, chosen, factor, stride: stride)
      for share in [0.84, 0.93, 1, 1.08, -0.84, -1, -1.13] as [Float] {
        let other = cost(x, Float16(share * Float(squares)), factor, stride: stride)
        // Rounding in `Float` may send a column the other way.
        #expect(best <= 1.02 * other, "\(share)")
      }
      chosenCost += best
      squaresCost += cost(x, squares, factor, stride: stride)
      if (chosen < 0) != (squares < 0) { flips += 1 }
    }
    #expect(chosenCost < 0.85 * squaresCost, "\(chosenCost) of \(squaresCost)")
    #expect(flips > 20 && flips < 180, "\(flips)")
  }

  @Test func nothingHasNoScale() {
    let (x, ones) = ([Float](repeating: 0, count: 32), [Float](repeating: 1, count: 1024))
    #expect(BlockScale.fourBits(x, costs: ones, factor: ones, stride: 32) == 0)
    #expect(BlockScale.eightBits(x) == 0)
    // Half precision does not hold what one infinite weight would ask for.
    var huge = x
    huge[5] = .infinity
    #expect(BlockScale.fourBits(huge, costs: ones, factor: ones, stride: 32) == 0)
  }
}
