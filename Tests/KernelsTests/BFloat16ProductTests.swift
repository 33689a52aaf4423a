import Testing

@testable import Kernels

@Suite struct BFloat16ProductTests {
  /// A float's nearest bfloat16, ties to even, by arithmetic.
  private func rounded(_ value: Float) -> Float {
    let step = Float(sign: .plus, exponent: value.exponent - 7, significand: 1)
    return (value / step).rounded(.toNearestOrEven) * step
  }

  @Test(arguments: [
    (1, 1, 1), (3, 5, 2), (7, 47, 9), (8, 48, 32), (9, 49, 33), (16, 15, 63), (17, 96, 65), (41, 101, 383),
    (33, 50, 384), (20, 113, 385), (64, 97, 800),
  ])
  func equalsTheProductOfRoundedOperands(m: Int, n: Int, k: Int) {
    var random = RandomFloats(seed: m * 10_000 + n * 100 + k)
    for (transposeA, transposeB) in [(false, false), (false, true), (true, false), (true, true)] {
      for accumulate in [false, true] {
        let a = GuardedMatrix(&random, rows: transposeA ? k : m, columns: transposeA ? m : k)
        let b = GuardedMatrix(&random, rows: transposeB ? n : k, columns: transposeB ? k : n)
        let c = GuardedMatrix(rows: m, columns: n, gap: 3) { Float($0 - $1) / 64 }
        ProductPrecision.bf16.multiply(
          transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k, a: a.view.base,
          strideA: a.view.rowStride, b: b.view.base, strideB: b.view.rowStride, accumulate: accumulate,
          c: c.view.base, strideC: c.view.rowStride)
        #expect(c.isIntact)
        var worst = 0.0
        for row in 0..<m {
          for column in 0..<n {
            let start = accumulate ? Double(Float(row - column) / 64) : 0
            var sum = start
            var size = abs(start)
            for term in 0..<k {
              let x = transposeA ? a.view.row(term)[row] : a.view.row(row)[term]
              let y = transposeB ? b.view.row(column)[term] : b.view.row(term)[column]
              let product = Double(rounded(x)) * Double(rounded(y))
              sum += product
              size += abs(product)
            }
            // Each of k + 1 additions rounds to half a step of a sum that is at most `size`.
            let allowed = Double(k + 1) * size * 0x1p-24
            worst = max(worst, abs(Double(c.view.row(row)[column]) - sum) / max(allowed, 1e-30))
          }
        }
        #expect(worst <= 1, "transposed \(transposeA) \(transposeB), accumulate \(accumulate)")
      }
    }
  }

  @Test func notNumbersStayWhatTheyAre() {
    for value in [Float.nan, -.nan, .infinity, Float(bitPattern: 0x7FFF_FFFF)] {
      for transposeB in [false, true] {
        let a: [Float] = [1, 2, 3]
        var b = [Float](repeating: 1, count: 3 * 20)
        b[transposeB ? 4 : 21] = value
        var c = [Float](repeating: 0, count: 20)
        ProductPrecision.bf16.multiply(
          transposeB: transposeB, m: 1, n: 20, k: 3, a: a, strideA: 3, b: b, strideB: transposeB ? 3 : 20,
          accumulate: false, c: &c, strideC: 20)
        #expect(value.isNaN ? c[1].isNaN : c[1] == value)
        #expect(c.indices.allSatisfy { $0 == 1 || c[$0] == 6 })
      }
    }
  }
}
