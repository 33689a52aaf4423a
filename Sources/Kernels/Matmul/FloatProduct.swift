import CIntrinsics

/// Products of floats whose sums stay in the registers of AVX-512: 6 × 64 of them.
///
/// A is read where it lies, each element spread over a register; B is packed in tiles of 64 columns, 256 terms at a time, which the
/// second cache holds. OpenBLAS packs both and passes over C twice.
///
/// Every sum adds its terms in their order, each rounded once, whatever the tile: how a product is cut, and which rows are computed
/// beside a row, changes no bit.
///
/// Faster than OpenBLAS 0.3.21 by some 12 % on a Zen 4 EPYC (`Benchmarks/README.md`).
/// - SeeAlso: Goto and van de Geijn 2008, doi:10.1145/1356052.1356053
enum FloatProduct {
  /// Columns of a tile of B.
  static let tileColumns = 64
  /// Rows of A whose sums are in registers at a time.
  static let tileRows = 6
  /// Terms of a tile of B.
  private static let depth = 256
  private static let scratch = ScratchMemory()

  /// Whether it takes over from OpenBLAS.
  static var isPreferred: Bool { MatrixMultiplier.inUse != .openBLAS }

  /// C ← op(A)·op(B), or C ← C + op(A)·op(B); see `ProductPrecision.multiply`, which checks the extents.
  static func multiply(
    transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int, a: UnsafePointer<Float>, strideA: Int,
    b: UnsafePointer<Float>, strideB: Int, accumulate: Bool, c: UnsafeMutablePointer<Float>, strideC: Int
  ) {
    let (rowStride, termStride) = transposeA ? (1, strideA) : (strideA, 1)
    /// Where a tile of B begins.
    func place(_ first: Int, _ column: Int) -> UnsafePointer<Float> {
      transposeB ? b + column * strideB + first : b + first * strideB + column
    }
    scratch.withMemory(depth * tileColumns * MemoryLayout<Float>.stride) { memory in
      let tile = memory.bindMemory(to: Float.self, capacity: depth * tileColumns)
      for first in stride(from: 0, to: k, by: depth) {
        let terms = min(depth, k - first)
        for column in stride(from: 0, to: n, by: tileColumns) {
          let columns = min(tileColumns, n - column)
          let source = place(first, column)
          if transposeB {
            packTransposed(source, stride: strideB, columns: columns, terms: terms, into: tile)
          } else {
            pack(source, stride: strideB, columns: columns, terms: terms, into: tile)
          }
          let next = column + tileColumns < n ? (first, column + tileColumns) : (first + depth, 0)
          let (nextTerms, nextColumns) = (min(depth, k - next.0), min(tileColumns, n - next.1))
          let stripe = Stripe(
            a: a + first * termStride, rowStride: rowStride, termStride: termStride, rows: m,
            tile: UnsafePointer(tile), terms: terms, c: c + column, stride: strideC, columns: columns,
            accumulates: accumulate || first > 0)
          var ahead =
            nextTerms <= 0
            ? LinesOfRows(nothingAt: source)
            : transposeB
              ? LinesOfRows(place(next.0, next.1), rows: nextColumns, stride: strideB, columns: nextTerms)
              : LinesOfRows(place(next.0, next.1), rows: nextTerms, stride: strideB, columns: nextColumns)
          if columns > 32 {
            stripe.multiply(
              SixRows<WideRow>.self, FourRows<WideRow>.self, TwoRows<WideRow>.self, OneRow<WideRow>.self,
              &ahead)
          } else {
            stripe.multiply(
              TwelveRows<NarrowRow>.self, FourRows<NarrowRow>.self, TwoRows<NarrowRow>.self,
              OneRow<NarrowRow>.self, &ahead)
          }
        }
      }
    }
  }

  // MARK: Packing

  /// Packs columns of rows that follow each other: float 64·t + i is term t of column i; columns that are missing are 0.
  private static func pack(
    _ source: UnsafePointer<Float>, stride: Int, columns: Int, terms: Int,
    into tile: UnsafeMutablePointer<Float>
  ) {
    var (row, target) = (source, tile)
    // Safe: within the matrix and the tile.
    for _ in 0..<terms {
      if columns == tileColumns {
        for part in 0..<4 { FloatVector(at: row + part &* 16).store(to: target + part &* 16) }
      } else {
        for part in 0..<4 {
          lanes(row + part &* 16, count: columns &- part &* 16).store(to: target + part &* 16)
        }
      }
      row += stride
      target += tileColumns
    }
  }

  /// The same for columns that lie as rows: sixteen of them by sixteen terms at a time.
  private static func packTransposed(
    _ source: UnsafePointer<Float>, stride: Int, columns: Int, terms: Int,
    into tile: UnsafeMutablePointer<Float>
  ) {
    withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 64) { block in
      let words = block.baseAddress!
      let square = words.bindMemory(to: Float.self, capacity: 256)
      for part in Swift.stride(from: 0, to: tileColumns, by: 16) {
        for first in Swift.stride(from: 0, to: terms, by: 16) {
          let count = min(16, terms - first)
          for lane in 0..<16 {
            let column = part &+ lane
            // Safe: within the matrix.
            let vector =
              column < columns ? lanes(source + (column &* stride &+ first), count: count) : FloatVector.zero
            vector.store(to: square + lane &* 16)
          }
          ink_transpose_words16(words)
          for term in 0..<count {
            FloatVector(at: square + term &* 16).store(to: tile + ((first &+ term) &* tileColumns &+ part))
          }
        }
      }
    }
  }
}

/// The first floats of up to sixteen; the others are 0.
@inline(__always)
private func lanes(_ source: UnsafePointer<Float>, count: Int) -> FloatVector {
  count >= 16 ? FloatVector(at: source) : count > 0 ? FloatVector(at: source, count: count) : .zero
}

@inline(__always)
private func put(_ sums: FloatVector, at target: UnsafeMutablePointer<Float>, count: Int) {
  if count >= 16 {
    sums.store(to: target)
  } else if count > 0 {
    sums.store(to: target, count: count)
  }
}

/// All rows by one tile.
private struct Stripe {
  /// (rows, terms), an element every `rowStride` and every `termStride`.
  let a: UnsafePointer<Float>
  let rowStride: Int
  let termStride: Int
  let rows: Int
  /// (terms, 64).
  let tile: UnsafePointer<Float>
  let terms: Int
  /// (rows, columns), rows `stride` apart.
  let c: UnsafeMutablePointer<Float>
  let stride: Int
  let columns: Int
  let accumulates: Bool

  /// As many rows at a time as there are registers for, then fewer.
  @inline(__always)
  func multiply<First: RegisterRows, Second: RegisterRows, Third: RegisterRows, Fourth: RegisterRows>(
    _: First.Type, _: Second.Type, _: Third.Type, _: Fourth.Type, _ ahead: inout LinesOfRows
  ) where First.Row: SumRow, Second.Row: SumRow, Third.Row: SumRow, Fourth.Row: SumRow {
    var row = 0
    while rows - row >= First.count { multiply(First.self, from: &row, &ahead) }
    while rows - row >= Second.count { multiply(Second.self, from: &row, &ahead) }
    while rows - row >= Third.count { multiply(Third.self, from: &row, &ahead) }
    while rows - row >= Fourth.count { multiply(Fourth.self, from: &row, &ahead) }
  }

  /// Some rows.
  @inline(__always)
  private func multiply<Rows: RegisterRows>(
    _: Rows.Type, from first: inout Int, _ ahead: inout LinesOfRows
  ) where Rows.Row: SumRow {
    var sums = Rows()
    let target = c + first * stride
    if accumulates {
      sums.each(from: 0) { row, index in row.load(UnsafePointer(target + index * stride), count: columns) }
    }
    var (x, w) = (a + first * rowStride, tile)
    var lines = ahead
    var rest = terms
    // Asked for between stretches of terms: a condition beside each term costs small products 2 %.
    while rest > 0 {
      let count = min(rest, 32)
      lines.ask(count)
      // Safe: both operands have as many terms.
      for _ in 0..<count {
        sums.each(from: 0) { row, index in row.add(FloatVector(repeating: x[index &* rowStride]), w) }
        x += termStride
        w += FloatProduct.tileColumns
      }
      rest &-= count
    }
    ahead = lines
    sums.each(from: 0) { row, index in row.store(to: target + index * stride, count: columns) }
    first += Rows.count
  }
}

/// The sums of one row.
private protocol SumRow: RegisterRow {
  mutating func load(_ source: UnsafePointer<Float>, count: Int)
  /// Adds the products of one element and as many of a tile.
  mutating func add(_ factor: FloatVector, _ tile: UnsafePointer<Float>)
  func store(to target: UnsafeMutablePointer<Float>, count: Int)
}

/// 64 columns in registers.
private struct WideRow: SumRow {
  private var first = NarrowRow()
  private var second = NarrowRow()

  @inline(__always) init() {}

  @inline(__always)
  mutating func load(_ source: UnsafePointer<Float>, count: Int) {
    first.load(source, count: count)
    second.load(source + 32, count: count - 32)
  }

  @inline(__always)
  mutating func add(_ factor: FloatVector, _ tile: UnsafePointer<Float>) {
    first.add(factor, tile)
    second.add(factor, tile + 32)
  }

  @inline(__always)
  func store(to target: UnsafeMutablePointer<Float>, count: Int) {
    first.store(to: target, count: count)
    second.store(to: target + 32, count: count - 32)
  }
}

/// 32 columns in registers.
private struct NarrowRow: SumRow {
  private var first = FloatVector.zero
  private var second = FloatVector.zero

  @inline(__always) init() {}

  @inline(__always)
  mutating func load(_ source: UnsafePointer<Float>, count: Int) {
    first = lanes(source, count: count)
    second = lanes(source + 16, count: count - 16)
  }

  @inline(__always)
  mutating func add(_ factor: FloatVector, _ tile: UnsafePointer<Float>) {
    first = multiplyAdd(factor, FloatVector(at: tile), first)
    second = multiplyAdd(factor, FloatVector(at: tile + 16), second)
  }

  @inline(__always)
  func store(to target: UnsafeMutablePointer<Float>, count: Int) {
    put(first, at: target, count: count)
    put(second, at: target + 16, count: count - 16)
  }
}
