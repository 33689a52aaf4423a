import CIntrinsics

/// y = x·Wᵀ, or y += x·Wᵀ, for a packed matrix.
///
/// Quantised weights meet activations that are rounded to 8 bits per block of 32, as llama.cpp's do. bfloat16 meets activations
/// rounded to bfloat16 where `roundsActivations` and the build has the instruction; else 16-bit floats are widened and nothing is
/// lost but in the sums. Every row is computed alike, whatever rows stand beside it and however many threads there are.
///
/// - Parameters:
///   - x: (R, inputs).
///   - y: (R, outputs).
///   - finish: called for each part of y once it is there, with its columns.
func packedProduct(
  _ x: MatrixView, _ matrix: PackedMatrix, roundsActivations: Bool, into y: MutableMatrixView,
  accumulate: Bool, pool: WorkerPool, scratch: ScratchMemory, finish: (MutableMatrixView, Int) -> Void
) {
  precondition(
    x.rows == y.rows && x.columns == matrix.inputs && y.columns == matrix.outputs,
    "(\(x.rows), \(x.columns)) × (\(matrix.inputs), \(matrix.outputs)) into (\(y.rows), \(y.columns))")
  guard x.rows > 0 else { return }

  /// Cuts the outputs into bands of tiles and the rows into blocks, and runs `body(source, columns, rows)` for each tile.
  func share(rowBlock: Int = 252, _ body: (UnsafeRawPointer, Range<Int>, Range<Int>) -> Void) {
    let tiles = matrix.tiles(streams: x.rows <= rowBlock, pool: pool)
    // Threads that count references to one object wait for each other: tiles in place are reached without it.
    let (base, tileBytes, outputs) = (tiles.base, matrix.tileBytes, matrix.outputs)
    let width = PackedMatrix.tileOutputs
    func run(_ range: Range<Int>, _ rows: Range<Int>) {
      func columns(_ tile: Int) -> Range<Int> { tile * width..<min((tile + 1) * width, outputs) }
      if let base {
        for tile in range { body(base + tile * tileBytes, columns(tile), rows) }
      } else {
        scratch.withMemory(tiles.scratchByteCount) { memory in
          for tile in range { body(tiles.pack(tile, into: memory), columns(tile), rows) }
        }
      }
      let columns = range.lowerBound * width..<min(range.upperBound * width, outputs)
      finish(y.columns(columns).rows(rows), columns.lowerBound)
    }
    // Reading the matrix is the work.
    if x.rows <= rowsPerPass { return pool.runShrinking(matrix.tileCount) { run($0, 0..<x.rows) } }
    let tilesPerBand = (matrix.tileCount + 63) / 64
    let bands = (matrix.tileCount + tilesPerBand - 1) / tilesPerBand
    let blocks = (x.rows + rowBlock - 1) / rowBlock
    pool.run(bands * blocks) { task in
      let (band, block) = task.quotientAndRemainder(dividingBy: blocks)
      let rows = block * rowBlock..<min((block + 1) * rowBlock, x.rows)
      run(band * tilesPerBand..<min((band + 1) * tilesPerBand, matrix.tileCount), rows)
    }
  }

  func quantized<Format: QuantizedFormat>(_ format: Format.Type) {
    let usesAMX = AMXQuantizedRows.isPreferred(format, rows: x.rows)
    let rowBytes = QuantizedRows.byteCount(rows: x.rows, inputs: x.columns)
    let panelBytes = usesAMX ? AMXQuantizedRows.byteCount(rows: x.rows, inputs: x.columns) : 0
    scratch.withMemory(panelBytes + rowBytes) { all in
      let memory = all + panelBytes
      let rows = QuantizedRows(
        memory: memory, rows: x.rows, inputs: x.columns, groupLength: Format.stepsPerGroup * 4)
      let panels = AMXQuantizedRows(rows, count: x.rows, memory: all)
      pool.run(x.rows, grain: max(1, 16_384 / x.columns)) { range in
        for row in range {
          rows.quantize(x.row(row), row: row, offset: Format.offset)
          if usesAMX { panels.arrange(row) }
        }
      }
      if usesAMX {
        return share(rowBlock: 512) { tile, columns, range in
          panels.multiply(
            format, tile: tile, rows: range, into: y.columns(columns), accumulate: accumulate,
            scratch: scratch)
        }
      }
      share { tile, columns, range in
        multiplyQuantized(
          format, tile: tile, units: matrix.units, x: rows, rows: range, into: y.columns(columns),
          accumulate: accumulate)
      }
    }
  }

  switch matrix.type {
  case .q8_0: quantized(FormatQ8_0.self)
  case .q4_0: quantized(FormatQ4_0.self)
  case .q5_0: quantized(FormatQ5_0.self)
  case .q4_K: quantized(FormatQ4_K.self)
  case .q5_K: quantized(FormatQ5_K.self)
  case .q6_K: quantized(FormatQ6_K.self)
  case .bf16 where roundsActivations && AMX.isInUse:
    AMXProduct.multiply(
      AMXOperand(rowsOf: x, .bf16),
      AMXPackedOperand(matrix: matrix, base: matrix.tiles(streams: false, pool: pool).base!),
      accumulate: accumulate, into: y,
      pool: pool
    ) { rows, columns in finish(y.columns(columns).rows(rows), columns.lowerBound) }
  case .bf16 where roundsActivations && ink_has_bfloat16_dots != 0:
    scratch.withMemory(x.rows * matrix.units * 4) { memory in
      let pairs = memory.bindMemory(to: UInt32.self, capacity: x.rows * matrix.units)
      pool.run(x.rows, grain: max(1, 16_384 / x.columns)) { range in
        for row in range {
          roundToBFloat16(x.row(row), count: x.columns, into: pairs + row * matrix.units)
        }
      }
      share { tile, columns, range in
        multiplyBFloat16(
          tile: tile, units: matrix.units, x: pairs, rows: range, into: y.columns(columns),
          accumulate: accumulate)
      }
    }
  case .bf16, .f16:
    share { tile, columns, range in
      multiplyWidened(
        matrix, tile: tile, x: x, rows: range, into: y.columns(columns), accumulate: accumulate)
    }
  }
}

/// The most rows that go together.
private let rowsPerPass = Int(ink_tile_rows)

/// All rows of a range with one tile, as many together as registers hold.
private func multiplyQuantized<Format: QuantizedFormat>(
  _ format: Format.Type, tile: UnsafeRawPointer, units: Int, x: QuantizedRows, rows: Range<Int>,
  into y: MutableMatrixView, accumulate: Bool
) {
  var row = rows.lowerBound
  @inline(__always)
  func pass<Rows: TileRows>(_ type: Rows.Type) {
    multiplyTile(
      format, type, tile: tile, units: units, x: x, first: row, into: y.row(row), stride: y.rowStride,
      columns: y.columns, accumulate: accumulate)
    row += Rows.count
  }
  while row < rows.upperBound {
    switch min(rows.upperBound - row, rowsPerPass) {
    case 1: pass(OneTileRow.self)
    case 2: pass(TwoTileRows.self)
    case 3: pass(ThreeTileRows.self)
    case 4: pass(FourTileRows.self)
    case 5: pass(FiveTileRows.self)
    default: pass(SixTileRows.self)
    }
  }
}

private func multiplyBFloat16(
  tile: UnsafeRawPointer, units: Int, x: UnsafePointer<UInt32>, rows: Range<Int>,
  into y: MutableMatrixView, accumulate: Bool
) {
  var row = rows.lowerBound
  @inline(__always)
  func pass<Rows: TileRows>(_ type: Rows.Type) {
    multiplyTile(
      type, tile: tile, units: units, pairs: x + row * units, into: y.row(row), stride: y.rowStride,
      columns: y.columns, accumulate: accumulate)
    row += Rows.count
  }
  while row < rows.upperBound {
    switch min(rows.upperBound - row, rowsPerPass) {
    case 1: pass(OneTileRow.self)
    case 2: pass(TwoTileRows.self)
    case 3: pass(ThreeTileRows.self)
    case 4: pass(FourTileRows.self)
    case 5: pass(FiveTileRows.self)
    default: pass(SixTileRows.self)
    }
  }
}

private func multiplyWidened(
  _ matrix: PackedMatrix, tile: UnsafeRawPointer, x: MatrixView, rows: Range<Int>,
  into y: MutableMatrixView, accumulate: Bool
) {
  var row = rows.lowerBound
  @inline(__always)
  func pass<Rows: TileRows>(_ type: Rows.Type) {
    multiplyTile(
      type, tile: tile, inputs: matrix.inputs, isBFloat16: matrix.type == .bf16, floats: x.row(row),
      xStride: x.rowStride, into: y.row(row), stride: y.rowStride, columns: y.columns,
      accumulate: accumulate)
    row += Rows.count
  }
  while row < rows.upperBound {
    switch min(rows.upperBound - row, rowsPerPass) {
    case 1: pass(OneTileRow.self)
    case 2: pass(TwoTileRows.self)
    case 3: pass(ThreeTileRows.self)
    case 4: pass(FourTileRows.self)
    case 5: pass(FiveTileRows.self)
    default: pass(SixTileRows.self)
    }
  }
}

/// Rounds a row to bfloat16, ties to even, two to a word; an odd row ends with a zero.
private func roundToBFloat16(_ x: UnsafePointer<Float>, count: Int, into pairs: UnsafeMutablePointer<UInt32>)
{
  @inline(__always)
  func rounded(_ value: Float) -> UInt32 {
    let bits = value.bitPattern
    // Safe: a pattern that is not NaN is at most that of −∞ and carries nowhere. NaN stays NaN: its quiet bit is set.
    return value == value ? (bits &+ (0x7FFF &+ (bits &>> 16 & 1))) &>> 16 : bits &>> 16 | 0x40
  }
  for pair in 0..<count / 2 { pairs[pair] = rounded(x[2 &* pair]) | rounded(x[2 &* pair &+ 1]) &<< 16 }
  if count & 1 == 1 { pairs[count / 2] = rounded(x[count &- 1]) }
}
