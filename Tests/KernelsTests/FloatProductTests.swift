import Testing

@testable import Kernels

@Suite struct FloatProductTests {
  /// Around whole tiles of 6 × 64 and 12 × 32, and around whole stretches of 256 terms.
  @Test(arguments: [
    (1, 1, 1), (2, 31, 5), (3, 33, 17), (5, 64, 16), (6, 65, 15), (7, 96, 255), (11, 32, 256), (12, 16, 257),
    (13, 127, 40), (17, 130, 513), (25, 7, 300), (41, 200, 31),
  ])
  func equalsTheSumInItsOrder(m: Int, n: Int, k: Int) {
    var random = RandomFloats(seed: m * 10_000 + n * 100 + k)
    for (transposeA, transposeB) in [(false, false), (false, true), (true, false), (true, true)] {
      for accumulate in [false, true] {
        let a = GuardedMatrix(&random, rows: transposeA ? k : m, columns: transposeA ? m : k)
        let b = GuardedMatrix(&random, rows: transposeB ? n : k, columns: transposeB ? k : n)
        let c = GuardedMatrix(rows: m, columns: n, gap: 3) { Float($0 - $1) / 64 }
        FloatProduct.multiply(
          transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k, a: a.view.base,
          strideA: a.view.rowStride, b: b.view.base, strideB: b.view.rowStride, accumulate: accumulate,
          c: c.view.base, strideC: c.view.rowStride)
        #expect(c.isIntact)
        var isEqual = true
        for row in 0..<m {
          for column in 0..<n {
            var sum = accumulate ? Float(row - column) / 64 : 0
            for term in 0..<k {
              let x = transposeA ? a.view.row(term)[row] : a.view.row(row)[term]
              let y = transposeB ? b.view.row(column)[term] : b.view.row(term)[column]
              // As the build multiplies and adds: rounded once or twice.
              let vectors = [x, y, sum].map { FloatVector(repeating: $0) }
              sum = multiplyAdd(vectors[0], vectors[1], vectors[2])[0]
            }
            isEqual = isEqual && c.view.row(row)[column] == sum
          }
        }
        #expect(isEqual, "transposed \(transposeA) \(transposeB), accumulate \(accumulate)")
      }
    }
  }

  /// A row has the same bits alone, in a part and in the whole.
  @Test func neitherRowsNorColumnsBesideChangeABit() {
    var random = RandomFloats(seed: 3)
    let (m, n, k) = (29, 150, 411)
    let a = GuardedMatrix(&random, rows: m, columns: k)
    let b = GuardedMatrix(&random, rows: n, columns: k)
    func product(rows: Range<Int>, columns: Range<Int>) -> [[Float]] {
      let c = GuardedMatrix(rows: rows.count, columns: columns.count) { _, _ in 0 }
      FloatProduct.multiply(
        transposeA: false, transposeB: true, m: rows.count, n: columns.count, k: k,
        a: a.view.row(rows.lowerBound),
        strideA: a.view.rowStride, b: b.view.row(columns.lowerBound), strideB: b.view.rowStride,
        accumulate: false,
        c: c.view.base, strideC: c.view.rowStride)
      return (0..<rows.count).map { c.row($0) }
    }
    let whole = product(rows: 0..<m, columns: 0..<n)
    for (rows, columns) in [(4..<5, 0..<n), (0..<13, 64..<n), (7..<m, 3..<90), (28..<29, 149..<150)] {
      let isSame = product(rows: rows, columns: columns) == whole[rows].map { Array($0[columns]) }
      #expect(isSame, "\(rows) × \(columns)")
    }
  }

  /// A NaN or ∞ spoils the row or the column that it belongs to and nothing beside.
  @Test func notNumbersStayWhereTheyAre() {
    for value in [Float.nan, .infinity] {
      for transposeB in [false, true] {
        let a: [Float] = [1, 2, 3, 4, 5, 6]
        var b = [Float](repeating: 1, count: 3 * 70)
        b[transposeB ? 4 : 71] = value
        var c = [Float](repeating: 0, count: 140)
        FloatProduct.multiply(
          transposeA: false, transposeB: transposeB, m: 2, n: 70, k: 3, a: a, strideA: 3, b: b,
          strideB: transposeB ? 3 : 70, accumulate: false, c: &c, strideC: 70)
        for index in c.indices {
          if index % 70 == 1 {
            #expect(value.isNaN ? c[index].isNaN : c[index] == value)
          } else {
            #expect(c[index] == (index < 70 ? 6 : 15))
          }
        }
      }
    }
  }

  @Test func withoutTermsNothingIsAdded() {
    for precision in ProductPrecision.allCases {
      for accumulate in [false, true] {
        var c: [Float] = [1, 2, 3, 4]
        precision.multiply(
          m: 2, n: 2, k: 0, a: [0], strideA: 1, b: [0], strideB: 2, accumulate: accumulate, c: &c, strideC: 2)
        #expect(c == (accumulate ? [1, 2, 3, 4] : [0, 0, 0, 0]))
      }
    }
  }
}
