import Testing

@testable import Kernels

@Suite(.enabled(if: AMX.isOffered, "this build or this machine has no AMX"))
struct AMXProductTests {
  /// op(A)·op(B) of guarded matrices.
  private func multiply(
    _ a: GuardedMatrix, transposeA: Bool, _ b: GuardedMatrix, transposeB: Bool, into c: GuardedMatrix,
    accumulate: Bool = false, threads: Int = 2, panelMemory: Int = 1 << 20
  ) {
    AMXProduct.multiply(
      transposeA ? AMXOperand(columnsOf: a.view.readOnly) : AMXOperand(rowsOf: a.view.readOnly),
      transposeB ? AMXOperand(rowsOf: b.view.readOnly) : AMXOperand(columnsOf: b.view.readOnly),
      accumulate: accumulate, into: c.view, pool: WorkerPool(threadCount: threads), panelMemory: panelMemory)
  }

  /// A float's nearest bfloat16, ties to even, by arithmetic.
  private func rounded(_ value: Float) -> Float {
    let step = Float(sign: .plus, exponent: value.exponent - 7, significand: 1)
    return (value / step).rounded(.toNearestOrEven) * step
  }

  /// Around squares of 16 and 32, stretches of 24 steps and panels of 768 rows.
  @Test(arguments: [
    (1, 1, 1), (2, 31, 5), (15, 33, 31), (16, 32, 32), (17, 64, 33), (31, 16, 64), (32, 65, 65),
    (33, 96, 383),
    (48, 17, 385), (64, 130, 769), (100, 7, 1000), (769, 40, 50), (200, 200, 200),
  ])
  func equalsADoubleReference(m: Int, n: Int, k: Int) {
    var random = RandomFloats(seed: m * 10_000 + n * 100 + k)
    for (transposeA, transposeB) in [(false, false), (false, true), (true, false), (true, true)] {
      let a = GuardedMatrix(&random, rows: transposeA ? k : m, columns: transposeA ? m : k)
      let b = GuardedMatrix(&random, rows: transposeB ? n : k, columns: transposeB ? k : n)
      for accumulate in [false, true] {
        let c = GuardedMatrix(rows: m, columns: n, gap: 3) { Float($0 - $1) / 64 }
        // Little memory: the terms come in several blocks.
        multiply(
          a, transposeA: transposeA, b, transposeB: transposeB, into: c, accumulate: accumulate,
          panelMemory: 100_000)
        #expect(c.isIntact)
        var worst = 0.0
        for row in stride(from: 0, to: m, by: m > 300 ? 7 : 1) {
          for column in 0..<n {
            var sum = accumulate ? Double(Float(row - column) / 64) : 0
            var size = abs(sum)
            for term in 0..<k {
              let x = transposeA ? a.view.row(term)[row] : a.view.row(row)[term]
              let y = transposeB ? b.view.row(column)[term] : b.view.row(term)[column]
              let product = Double(rounded(x)) * Double(rounded(y))
              sum += product
              size += abs(product)
            }
            // Of 32 terms twice 16 are added up, then two sums, then what is there.
            let allowed = Double((k + 31) / 32 + 18) * size * 0x1p-24
            worst = max(worst, abs(Double(c.view.row(row)[column]) - sum) / max(allowed, 1e-30))
          }
        }
        #expect(worst <= 1, "transposed \(transposeA) \(transposeB), accumulate \(accumulate)")
      }
    }
  }

  /// A row has the same bits alone, in a part and in the whole, with any threads and however the terms are cut.
  @Test func nothingBesideChangesABit() {
    var random = RandomFloats(seed: 3)
    let (m, n, k) = (129, 150, 1211)
    let a = GuardedMatrix(&random, rows: m, columns: k)
    let b = GuardedMatrix(&random, rows: n, columns: k)
    func product(_ rows: Range<Int>, _ columns: Range<Int>, threads: Int, panelMemory: Int) -> [[Float]] {
      let c = GuardedMatrix(rows: rows.count, columns: columns.count) { _, _ in 0 }
      AMXProduct.multiply(
        AMXOperand(rowsOf: a.view.readOnly.rows(rows)), AMXOperand(rowsOf: b.view.readOnly.rows(columns)),
        accumulate: false, into: c.view, pool: WorkerPool(threadCount: threads),
        panelMemory: panelMemory)
      return (0..<rows.count).map { c.row($0) }
    }
    let whole = product(0..<m, 0..<n, threads: 1, panelMemory: 1 << 24)
    #expect(product(0..<m, 0..<n, threads: 3, panelMemory: 1) == whole)
    for (rows, columns) in [(4..<5, 0..<n), (0..<13, 64..<n), (7..<m, 3..<90), (128..<129, 149..<150)] {
      let isSame =
        product(rows, columns, threads: 2, panelMemory: 400_000) == whole[rows].map { Array($0[columns]) }
      #expect(isSame, "\(rows) × \(columns)")
    }
  }

  /// A NaN or ∞ spoils the row or the column that it belongs to and nothing beside.
  @Test func notNumbersStayWhereTheyAre() {
    for value in [Float.nan, .infinity] {
      for transposeB in [false, true] {
        let a = GuardedMatrix(rows: 2, columns: 3) { Float($0 * 3 + $1 + 1) }
        let b = GuardedMatrix(rows: transposeB ? 70 : 3, columns: transposeB ? 3 : 70) { row, column in
          (transposeB ? (column, row) : (row, column)) == (1, 1) ? value : 1
        }
        let c = GuardedMatrix(rows: 2, columns: 70) { _, _ in 0 }
        multiply(a, transposeA: false, b, transposeB: transposeB, into: c)
        for row in 0..<2 {
          for column in 0..<70 {
            let result = c.row(row)[column]
            if column == 1 {
              #expect(value.isNaN ? result.isNaN : result == value)
            } else {
              #expect(result == (row == 0 ? 6 : 15))
            }
          }
        }
      }
    }
  }
}
