import Testing

@testable import Kernels

/// Single roundings: the results are exact.
@Suite struct ElementwiseTests {
  @Test(arguments: rowSizes)
  func biases(columns: Int) {
    let rows = columns > 10_000 ? 1 : 3
    var random = RandomFloats(seed: columns)
    let x = random.floats(rows * columns)
    let bias = GuardedMatrix(random.floats(columns))
    for (name, addBias) in [("fast", addBias), ("naive", addBiasReference)] {
      let source = GuardedMatrix(rows: rows, columns: columns, gap: 2) { x[$0 * columns + $1] }
      addBias(source.view, bias.view.base)
      for row in 0..<rows {
        #expect(source.row(row) == (0..<columns).map { x[row * columns + $0] + bias.row(0)[$0] }, "\(name)")
      }
      #expect(source.isIntact && bias.isIntact, "\(name), \(columns) columns")
    }
  }

  @Test(arguments: rowSizes)
  func scaling(count: Int) {
    var random = RandomFloats(seed: count)
    let x = GuardedMatrix(random.floats(count))
    for (name, scale) in [("fast", scaleRow), ("naive", scaleRowReference)] {
      let y = GuardedMatrix(columns: count) { _, _ in 0 }
      scale(x.view.base, -0.3, y.view.base, count)
      #expect(y.row(0) == x.row(0).map { -0.3 * $0 } && y.isIntact, "\(name)")
    }
  }

  @Test(arguments: [1, 7, 16, 65, 768])
  func embeddings(channels: Int) {
    var random = RandomFloats(seed: channels)
    let table = GuardedMatrix(rows: 11, columns: channels, gap: 1) { _, _ in random.float() }
    let ids = [3, 0, 10, 3]
    for (name, embed) in [("fast", embed), ("naive", embedReference)] {
      let y = GuardedMatrix(rows: 4, columns: channels, gap: 4) { _, _ in .infinity }
      embed(ids, table.view.readOnly, y.view, false)
      for (row, id) in ids.enumerated() { #expect(y.row(row) == table.row(id), "\(name)") }
      embed(ids, table.view.readOnly, y.view, true)
      for (row, id) in ids.enumerated() { #expect(y.row(row) == table.row(id).map { 2 * $0 }, "\(name)") }
      #expect(y.isIntact, "\(name)")
    }
  }
}
