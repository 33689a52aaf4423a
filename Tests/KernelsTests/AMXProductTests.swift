import Testing

@testable import Kernels

@Suite(.enabled(if: AMX.isOffered, "this build or this machine has no AMX"))
struct AMXProductTests {
  /// op(A)·op(B) of guarded matrices.
  private func multiply(
    _ a: GuardedMatrix, transposeA: Bool, _ b: GuardedMatrix, transposeB: Bool, into c: GuardedMatrix,
    _ precision: ProductPrecision = .bf16, accumulate: Bool = false, threads: Int = 2,
    panelMemory: Int = 1 << 20
  ) {
    let (a, b) = (a.view.readOnly, b.view.readOnly)
    AMXProduct.multiply(
      transposeA ? AMXOperand(columnsOf: a, precision) : AMXOperand(rowsOf: a, precision),
      transposeB ? AMXOperand(rowsOf: b, precision) : AMXOperand(columnsOf: b, precision),
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
      for (precision, accumulate) in [
        (ProductPrecision.bf16, false), (.bf16, true), (.f32, false), (.f32, true),
      ] {
        func kept(_ value: Float) -> Double { Double(precision == .f32 ? value : rounded(value)) }
        let c = GuardedMatrix(rows: m, columns: n, gap: 3) { Float($0 - $1) / 64 }
        // Little memory: the terms come in several blocks.
        multiply(
          a, transposeA: transposeA, b, transposeB: transposeB, into: c, precision, accumulate: accumulate,
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
              let product = kept(x) * kept(y)
              sum += product
              size += abs(product)
            }
            // Of 32 terms twice 16 are added up, then two sums, then what is there; of floats six times, of which the last counts
            // most, and what is left out is less than one rounding.
            let steps = (k + 31) / 32
            let allowed = Double(precision == .f32 ? 2 * steps + 19 : steps + 18) * size * 0x1p-24
            worst = max(worst, abs(Double(c.view.row(row)[column]) - sum) / max(allowed, 1e-30))
          }
        }
        #expect(worst <= 1, "\(precision), transposed \(transposeA) \(transposeB), accumulate \(accumulate)")
      }
    }
  }

  /// A row has the same bits alone, in a part and in the whole, with any threads and however the terms are cut.
  @Test(arguments: ProductPrecision.allCases) func nothingBesideChangesABit(precision: ProductPrecision) {
    var random = RandomFloats(seed: 3)
    let (m, n, k) = (129, 150, 1211)
    let a = GuardedMatrix(&random, rows: m, columns: k)
    let b = GuardedMatrix(&random, rows: n, columns: k)
    func product(_ rows: Range<Int>, _ columns: Range<Int>, threads: Int, panelMemory: Int) -> [[Float]] {
      let c = GuardedMatrix(rows: rows.count, columns: columns.count) { _, _ in 0 }
      AMXProduct.multiply(
        AMXOperand(rowsOf: a.view.readOnly.rows(rows), precision),
        AMXOperand(rowsOf: b.view.readOnly.rows(columns), precision),
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

  /// Elements of every magnitude, negative ones and such whose last bits matter.
  @Test func floatsLoseNothing() {
    let values: [Float] = [
      1, -1, 1 + 0x1p-23, 1 - 0x1p-24, 0x1.fffffep-1, -0x1.555556p5, 0x1p-100, 0x1.234568p60, 3.25, 0,
    ]
    // One term: the product of two floats, rounded once.
    let a = GuardedMatrix(rows: 10, columns: 1) { row, _ in values[row] }
    let b = GuardedMatrix(rows: 1, columns: 10) { _, column in values[column] }
    let c = GuardedMatrix(rows: 10, columns: 10) { _, _ in 7 }
    multiply(a, transposeA: false, b, transposeB: false, into: c, .f32)
    for row in 0..<10 {
      for column in 0..<10 {
        let product = Double(values[row]) * Double(values[column])
        let error = abs(Double(c.row(row)[column]) - product)
        #expect(error <= abs(product) * 0x1p-23 + 0x1p-126, "\(values[row]) · \(values[column])")
      }
    }
  }

  /// A map and its gradients with enough rows and channels for floats to go this way, against sums in double precision.
  @Test(arguments: [LinearWeight.Layout.outputMajor, .inputMajor], ProductPrecision.allCases)
  func mapsAndTheirGradients(layout: LinearWeight.Layout, precision: ProductPrecision) {
    let (rows, inputs, outputs) = (131, 515, 522)
    var random = RandomFloats(seed: 77)
    let pool = WorkerPool(threadCount: 2)
    let x = GuardedMatrix(&random, rows: rows, columns: inputs)
    let dY = GuardedMatrix(&random, rows: rows, columns: outputs)
    let (values, bias) = (random.floats(inputs * outputs), random.floats(outputs))
    func kept(_ value: Float) -> Double { Double(precision == .f32 ? value : rounded(value)) }
    func place(_ output: Int, _ input: Int) -> Int {
      layout == .outputMajor ? output * inputs + input : input * outputs + output
    }
    /// What a sum of some terms and a number that is there may differ by.
    func check(_ found: Float, _ start: Double, _ terms: [(Float, Float)], _ what: String) {
      let products = terms.map { kept($0.0) * kept($0.1) }
      let size = products.reduce(abs(start)) { $0 + abs($1) }
      let allowed = Double(2 * ((terms.count + 31) / 32) + 20) * size * 0x1p-24
      #expect(abs(Double(found) - products.reduce(start, +)) <= allowed, "\(what)")
    }
    values.withUnsafeBufferPointer { values in
      bias.withUnsafeBufferPointer { bias in
        let weight = LinearWeight(
          values: values.baseAddress!, bias: bias.baseAddress!, inputs: inputs, outputs: outputs,
          layout: layout)
        let y = GuardedMatrix(rows: rows, columns: outputs, gap: 2) { _, _ in 0.5 }
        BLASEngine(pool: pool, precision: precision).linear(
          x.view.readOnly, weight, into: y.view, epilogue: .add)
        let dX = GuardedMatrix(rows: rows, columns: inputs, gap: 2) { _, _ in -0.25 }
        linearBackwardInput(
          dY.view.readOnly, weight, into: dX.view, accumulate: true, precision: precision, pool: pool)
        var dW = [Float](repeating: 2, count: inputs * outputs)
        linearBackwardWeight(
          dY.view.readOnly, x.view.readOnly, layout: layout, into: &dW, precision: precision, pool: pool)
        #expect(y.isIntact && dX.isIntact)
        // Every seventh or so, the last ones among them.
        for row in stride(from: rows - 1, through: 0, by: -13) {
          for output in stride(from: outputs - 1, through: 0, by: -7) {
            check(
              y.row(row)[output], Double(bias[output]) + 0.5,
              (0..<inputs).map { (x.view.row(row)[$0], values[place(output, $0)]) }, "y \(row), \(output)")
          }
          for input in stride(from: inputs - 1, through: 0, by: -7) {
            check(
              dX.row(row)[input], -0.25,
              (0..<outputs).map { (dY.view.row(row)[$0], values[place($0, input)]) }, "dX \(row), \(input)")
          }
        }
        for output in stride(from: outputs - 1, through: 0, by: -11) {
          for input in stride(from: inputs - 1, through: 0, by: -13) {
            check(
              dW[place(output, input)], 2,
              (0..<rows).map { (dY.view.row($0)[output], x.view.row($0)[input]) }, "dW \(output), \(input)")
          }
        }
      }
    }
  }

  /// A NaN or ∞ spoils the row or the column that it belongs to and nothing beside.
  @Test(arguments: ProductPrecision.allCases) func notNumbersStayWhereTheyAre(precision: ProductPrecision) {
    for value in [Float.nan, .infinity] {
      for transposeB in [false, true] {
        let a = GuardedMatrix(rows: 2, columns: 3) { Float($0 * 3 + $1 + 1) }
        let b = GuardedMatrix(rows: transposeB ? 70 : 3, columns: transposeB ? 3 : 70) { row, column in
          (transposeB ? (column, row) : (row, column)) == (1, 1) ? value : 1
        }
        let c = GuardedMatrix(rows: 2, columns: 70) { _, _ in 0 }
        multiply(a, transposeA: false, b, transposeB: transposeB, into: c, precision)
        for row in 0..<2 {
          for column in 0..<70 {
            let result = c.row(row)[column]
            if column == 1 {
              // As a sum ∞ is ∞ and what is left of it, which is no number.
              #expect(value.isNaN || precision == .f32 ? result.isNaN : result == value)
            } else {
              #expect(result == (row == 0 ? 6 : 15))
            }
          }
        }
      }
    }
  }
}
