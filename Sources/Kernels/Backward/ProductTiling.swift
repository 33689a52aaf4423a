/// How a product C (m, n) over k terms is cut into tasks: by its extents alone, so that the number of threads
/// changes no bit.
///
/// Every task is a product of its own. Tiles are as large as leaves each of some threads a share, because a small
/// product packs its operands for little work.
struct ProductTiling {
  /// Rows of C.
  let m: Int
  /// Columns of C.
  let n: Int
  /// Tiles along the rows.
  let rowBlocks: Int
  /// Tiles along the columns.
  let columnBlocks: Int
  /// What the first row of a tile is a multiple of.
  let rowStep: Int
  /// What the first column of a tile is a multiple of.
  let columnStep: Int

  /// Cuts a product.
  ///
  /// - Parameter precision: bfloat16 packs its operands itself, and wants tiles that are whole ones of its own.
  init(m: Int, n: Int, k: Int, precision: ProductPrecision = .f32) {
    self.m = m
    self.n = n
    let height = precision == .f32 ? 256 : 512
    let isOwn = FloatProduct.isPreferred
    rowStep = precision == .f32 && isOwn ? FloatProduct.tileRows : 16
    columnStep =
      precision == .f32 ? isOwn ? FloatProduct.tileColumns : 16 : BFloat16Product.tileColumns
    var rows = max(1, (m + height - 1) / height)
    var columns = max(1, (n + 383) / 384)
    // Eight tasks keep a few threads busy, four where they are small, each of at least some two million operations.
    func millions(_ divisor: Int) -> Int {
      m * n / 1_000_000 * k / divisor + m * n % 1_000_000 * k / 1_000_000 / divisor
    }
    let packsBoth = precision == .f32 && !isOwn
    let wanted = packsBoth ? min(8, max(millions(12), min(4, millions(1)))) : min(8, millions(1))
    if precision == .f32, rows * columns < wanted {
      // The cut that packs the least: the columns of one operand for each block of rows and, in OpenBLAS, the rows of the other
      // for each block of columns. With the forward cut nanoGPT's recipe for a CPU takes some 4 % less time than with halves of
      // whatever is longer.
      let (fewestRows, fewestColumns) = (rows, columns)
      var least = Int.max
      for down in fewestRows...max(fewestRows, wanted) {
        var across = max(fewestColumns, (wanted + down - 1) / down)
        // An even number is done in halves.
        if !(down * across).isMultiple(of: 2) { across += 1 }
        guard down == fewestRows || m / down >= 32, across == fewestColumns || n / across >= 64 else {
          continue
        }
        let packed = (packsBoth ? m * across : 0) + n * down
        if packed < least { (least, rows, columns) = (packed, down, across) }
      }
    } else {
      while rows * columns < wanted {
        let (height, width) = ((m + rows - 1) / rows, (n + columns - 1) / columns)
        if width >= height, width > 64 {
          columns *= 2
        } else if height > 32 {
          rows *= 2
        } else {
          break
        }
      }
    }
    rowBlocks = rows
    columnBlocks = columns
  }

  /// How many tasks there are.
  var count: Int { m > 0 && n > 0 ? rowBlocks * columnBlocks : 0 }

  /// What a task computes; neighbours share their columns.
  @inline(__always)
  func tile(_ task: Int) -> (rows: Range<Int>, columns: Range<Int>) {
    let (column, row) = task.quotientAndRemainder(dividingBy: rowBlocks)
    return (
      ProductTiling.part(row, of: rowBlocks, count: m, step: rowStep),
      ProductTiling.part(column, of: columnBlocks, count: n, step: columnStep)
    )
  }

  /// One of `parts` nearly equal ranges of `0..<count`, which begin at multiples of `step`; the last may be empty.
  @inline(__always)
  static func part(_ index: Int, of parts: Int, count: Int, step: Int) -> Range<Int> {
    let steps = (count + step - 1) / step
    return min(count, steps * index / parts * step)..<min(count, steps * (index + 1) / parts * step)
  }
}
