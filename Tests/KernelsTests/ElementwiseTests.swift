import Testing

@testable import Kernels

/// Single roundings: the results are exact.
@Suite struct ElementwiseTests {
  @Test(arguments: rowSizes)
  func additions(columns: Int) {
    let rows = columns > 10_000 ? 1 : 3
    var random = RandomFloats(seed: columns)
    let x = random.floats(rows * columns)
    let y = random.floats(rows * columns)
    let bias = GuardedMatrix(random.floats(columns))
    let expectedSum = zip(x, y).map { $1 + $0 }
    for (name, add, addBias) in [("fast", add, addBias), ("naive", addReference, addBiasReference)] {
      let source = GuardedMatrix(rows: rows, columns: columns, gap: 2) { x[$0 * columns + $1] }
      let target = GuardedMatrix(rows: rows, columns: columns, gap: 5) { y[$0 * columns + $1] }
      add(source.view.readOnly, target.view)
      #expect((0..<rows).flatMap(target.row) == expectedSum, "\(name)")
      addBias(source.view, bias.view.base)
      for row in 0..<rows {
        #expect(source.row(row) == (0..<columns).map { x[row * columns + $0] + bias.row(0)[$0] }, "\(name)")
      }
      #expect(source.isIntact && target.isIntact && bias.isIntact, "\(name), \(columns) columns")
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
    let y = GuardedMatrix(rows: 4, columns: channels, gap: 4) { _, _ in .infinity }
    ids.withUnsafeBufferPointer { ids in
      embed(ids, table: table.view.readOnly, into: y.view)
      for (row, id) in ids.enumerated() { #expect(y.row(row) == table.row(id)) }
      embed(ids, table: table.view.readOnly, into: y.view, accumulate: true)
      for (row, id) in ids.enumerated() { #expect(y.row(row) == table.row(id).map { 2 * $0 }) }
    }
    #expect(y.isIntact)
  }
}
