import Testing

@testable import Kernels

@Suite struct LayerNormTests {
  private typealias Normalisation = (
    MatrixView, UnsafePointer<Float>, UnsafePointer<Float>?, Float, MutableMatrixView
  ) -> Void

  /// The fast implementation and the naive one, with the roundings that a term of a sum of n passes through.
  private let implementations: [(name: String, normalise: Normalisation, roundings: (Int) -> Double)] = [
    ("fast", { layerNorm($0, weight: $1, bias: $2, epsilon: $3, into: $4) }, { min(Double($0), 8) }),
    ("naive", { layerNormReference($0, weight: $1, bias: $2, epsilon: $3, into: $4) }, { Double($0) }),
  ]

  /// With z the normalised value, an error of the mean shifts z by its share of σ, an error of σ scales it, and
  /// z, product and sum are rounded.
  @Test(arguments: rowSizes)
  func equalsADoubleReference(columns: Int) {
    let rows = columns > 10_000 ? 2 : 5
    let inputs: [(number: Int, offset: Float, spread: Float, epsilon: Float)] = [
      (0, 0, 1, 1e-5), (1, 100, 0.5, 1e-5), (2, 0, 1e-3, 1e-5), (3, -3, 40, 1e-12),
    ]
    for (number, offset, spread, epsilon) in inputs {
      let seed = columns * 10 + number
      var random = RandomFloats(seed: seed)
      let x = (0..<rows * columns).map { _ in offset + spread * random.float() }
      let weight = GuardedMatrix(random.floats(columns))
      let bias = GuardedMatrix(random.floats(columns))
      for (name, normalise, roundings) in implementations {
        for (hasBias, inPlace) in [(true, false), (false, false), (true, true)] {
          let source = GuardedMatrix(rows: rows, columns: columns, gap: 3) { x[$0 * columns + $1] }
          let target = inPlace ? source : GuardedMatrix(rows: rows, columns: columns, gap: 7) { _, _ in 0 }
          normalise(
            source.view.readOnly, weight.view.base, hasBias ? UnsafePointer(bias.view.base) : nil, epsilon,
            target.view)
          for row in 0..<rows {
            let values: [Double] = x[row * columns..<(row + 1) * columns].map { Double($0) }
            let mean: Double = values.reduce(0, +) / Double(columns)
            let squares: [Double] = values.map { ($0 - mean) * ($0 - mean) }
            let deviation: Double = (squares.reduce(0, +) / Double(columns) + Double(epsilon)).squareRoot()
            let largest: Double = values.reduce(0) { max($0, abs($1)) }
            for (column, value) in target.row(row).enumerated() {
              let gamma = Double(weight.view.base[column])
              let beta = hasBias ? Double(bias.view.base[column]) : 0
              let z = (values[column] - mean) / deviation
              let exact = z * gamma + beta
              let normalised: Double = (largest / deviation + abs(z)) * (4 + roundings(columns))
              let bound: Double = (normalised * abs(gamma) + abs(exact)) * roundingUnit
              #expect(abs(Double(value) - exact) <= bound, "\(name), seed \(seed), at \(row), \(column)")
            }
          }
          #expect(source.isIntact && target.isIntact, "\(name), \(columns) columns")
        }
      }
    }
  }

  @Test func aConstantRowBecomesTheBias() {
    let row = GuardedMatrix(columns: 37) { _, _ in 12.5 }
    let weight = [Float](repeating: 2, count: 37)
    let bias = (0..<37).map { Float($0) }
    layerNorm(row.view.readOnly, weight: weight, bias: bias, epsilon: 1e-5, into: row.view)
    #expect(row.row(0) == bias)
  }
}
