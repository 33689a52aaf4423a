import CIntrinsics

/// The products of some rows with one tile of a quantised matrix.
///
/// y[r][o] = Σ_g s_x[r][g]·s_w[g][o]·Σ_i q_x[r][i]·(q_w[i][o] − offset) − Σ_b m[b][o]·Σ_i x[r][i]. The inner sums are exact
/// integers and the outer ones follow the inputs in order, so a row's result is the same bits whatever rows stand beside it.
///
/// - Parameters:
///   - tile: the tile's units.
///   - first: the first row of `x`.
///   - y: (Rows.count, columns).
@inline(__always)
func multiplyTile<Format: QuantizedFormat, Rows: TileRows>(
  _ format: Format.Type, _ rowsType: Rows.Type, tile: UnsafeRawPointer, units: Int, x: QuantizedRows,
  first: Int, into y: UnsafeMutablePointer<Float>, stride: Int, columns: Int, accumulate: Bool
) {
  var rows = Rows()
  let blocks = x.blocks
  let rowWords = blocks &* 8
  let rowGroups = blocks &* 8 / Format.stepsPerGroup
  var words = UnsafePointer(x.words + first &* rowWords)
  var starts = UnsafePointer(x.starts + first &* rowGroups)
  var scales = UnsafePointer(x.scales + first &* blocks)
  var sums = UnsafePointer(x.weightedSums + first &* blocks)
  var unit = tile
  // Safe: all products and sums of indices stay within the buffers of `x` and the tile.
  for _ in 0..<units {
    for group in 0..<Format.groupsPerUnit {
      rows.each(from: 0) { row, index in
        row.integers0 = SIMD16(repeating: starts[index &* rowGroups])
        row.integers1 = row.integers0
      }
      for step in 0..<Format.stepsPerGroup {
        let (first, second) = Format.quants(unit, group: group, step: step)
        rows.each(from: 0) { row, index in
          let four = ByteVector(repeating: words[index &* rowWords &+ step])
          row.integers0 = ink_dot_bytes16(row.integers0, first, four)
          row.integers1 = ink_dot_bytes16(row.integers1, second, four)
        }
      }
      let (scale0, scale1) = Format.scales(unit, group: group)
      rows.each(from: 0) { row, index in
        let scale = FloatVector(repeating: scales[index &* blocks])
        row.sums0 = multiplyAdd(ink_int_to_float16(row.integers0) * scale, scale0, row.sums0)
        row.sums1 = multiplyAdd(ink_int_to_float16(row.integers1) * scale, scale1, row.sums1)
      }
      if Format.hasMinima {
        let (minimum0, minimum1) = Format.minima(unit, group: group)
        rows.each(from: 0) { row, index in
          let sum = FloatVector(repeating: -sums[index &* blocks])
          row.sums0 = multiplyAdd(minimum0, sum, row.sums0)
          row.sums1 = multiplyAdd(minimum1, sum, row.sums1)
        }
        sums += 1
      }
      words += Format.stepsPerGroup
      starts += 1
      // Two groups of 16 share a scale of the activations.
      if Format.stepsPerGroup == 8 || group & 1 == 1 { scales += 1 }
    }
    unit += Format.unitBytes
  }
  rows.store(to: y, stride: stride, columns: columns, accumulate: accumulate)
}

/// The products of some rows with one tile of bfloat16, as sums of pairs.
///
/// - Parameter x: (rows, units) pairs of bfloat16, rows `units` apart.
@inline(__always)
func multiplyTile<Rows: TileRows>(
  _ rowsType: Rows.Type, tile: UnsafeRawPointer, units: Int, pairs x: UnsafePointer<UInt32>,
  into y: UnsafeMutablePointer<Float>, stride: Int, columns: Int, accumulate: Bool
) {
  var rows = Rows()
  for unit in 0..<units {
    let source = tile + unit &* 128  // Safe: within the tile.
    let first = source.load(as: ByteVector.self)
    let second = source.load(fromByteOffset: 64, as: ByteVector.self)
    rows.each(from: 0) { row, index in
      let pair = ByteVector(repeating: x[index &* units &+ unit])
      row.sums0 = ink_dot_bfloat16(row.sums0, first, pair)
      row.sums1 = ink_dot_bfloat16(row.sums1, second, pair)
    }
  }
  rows.store(to: y, stride: stride, columns: columns, accumulate: accumulate)
}

/// The same as AMX adds them up, to the last bit: of 32 terms those in even and those in odd places apart, then both together, then
/// that to the sum so far.
///
/// - Parameters:
///   - x: (Rows.count, inputs), numbers of bfloat16.
///   - y: (Rows.count, 1 … 32).
/// - SeeAlso: Intel 64 and IA-32 Architectures Software Developer's Manual, TDPBF16PS
@inline(__always)
func multiplyTile<Rows: RegisterRows>(
  _ rowsType: Rows.Type, tile: UnsafeRawPointer, units: Int, chains x: MatrixView, into y: MutableMatrixView,
  accumulate: Bool
) where Rows.Row == ChainRow {
  var rows = Rows()
  if accumulate {
    rows.each(from: 0) { row, index in
      row.sums0 = FloatVector(at: y.row(index), count: min(y.columns, 16))
      if y.columns > 16 { row.sums1 = FloatVector(at: y.row(index) + 16, count: y.columns - 16) }
    }
  }
  let inputs = x.columns
  let sixteen = ByteVector(repeating: 65_536)
  let upper = ByteVector(repeating: 0xFFFF_0000)
  var source = tile
  // Safe: within the tile and the rows.
  for start in stride(from: 0, to: inputs, by: 32) {
    rows.each(from: 0) { row, _ in row.begin() }
    let end = min(start &+ 32, inputs)
    var input = start
    while input < end {
      let first = source.load(as: ByteVector.self)
      let second = source.load(fromByteOffset: 64, as: ByteVector.self)
      let even0 = unsafeBitCast(first &* sixteen, to: FloatVector.self)
      let even1 = unsafeBitCast(second &* sixteen, to: FloatVector.self)
      rows.each(from: 0) { row, index in
        let value = FloatVector(repeating: x.base[index &* x.rowStride &+ input])
        row.even0 = multiplyAdd(even0, value, row.even0)
        row.even1 = multiplyAdd(even1, value, row.even1)
      }
      if input &+ 1 < end {
        let odd0 = unsafeBitCast(first & upper, to: FloatVector.self)
        let odd1 = unsafeBitCast(second & upper, to: FloatVector.self)
        rows.each(from: 0) { row, index in
          let value = FloatVector(repeating: x.base[index &* x.rowStride &+ input &+ 1])
          row.odd0 = multiplyAdd(odd0, value, row.odd0)
          row.odd1 = multiplyAdd(odd1, value, row.odd1)
        }
      }
      source += 128
      input &+= 2
    }
    rows.each(from: 0) { row, _ in row.end() }
  }
  rows.each(from: 0) { row, index in
    row.sums0.store(to: y.row(index), count: min(y.columns, 16))
    if y.columns > 16 { row.sums1.store(to: y.row(index) + 16, count: y.columns - 16) }
  }
}

/// What one row keeps in registers of 32 terms.
struct ChainRow: RegisterRow {
  var even0 = FloatVector.zero
  var even1 = FloatVector.zero
  var odd0 = FloatVector.zero
  var odd1 = FloatVector.zero
  /// Sums so far.
  var sums0 = FloatVector.zero
  var sums1 = FloatVector.zero

  @inline(__always) init() {}

  @inline(__always)
  mutating func begin() { (even0, even1, odd0, odd1) = (.zero, .zero, .zero, .zero) }

  @inline(__always)
  mutating func end() {
    sums0 += even0 + odd0
    sums1 += even1 + odd1
  }
}

/// The products of some rows of floats with one tile of 16-bit floats, each widened first: exact but for the sums.
///
/// - Parameter x: (rows, inputs), rows `xStride` apart.
@inline(__always)
func multiplyTile<Rows: TileRows>(
  _ rowsType: Rows.Type, tile: UnsafeRawPointer, inputs: Int, isBFloat16: Bool,
  floats x: UnsafePointer<Float>,
  xStride: Int, into y: UnsafeMutablePointer<Float>, stride: Int, columns: Int, accumulate: Bool
) {
  var rows = Rows()
  @inline(__always)
  func step(_ input: Int, _ first: FloatVector, _ second: FloatVector) {
    rows.each(from: 0) { row, index in
      let value = FloatVector(repeating: x[index &* xStride &+ input])
      row.sums0 = multiplyAdd(first, value, row.sums0)
      row.sums1 = multiplyAdd(second, value, row.sums1)
    }
  }
  // Safe: within the tile and the row.
  if isBFloat16 {
    let upper = ByteVector(repeating: 0xFFFF_0000)
    for input in Swift.stride(from: 0, to: inputs, by: 2) {
      let source = tile + input &* 64
      let first = source.load(as: ByteVector.self)
      let second = source.load(fromByteOffset: 64, as: ByteVector.self)
      let sixteen = ByteVector(repeating: 65_536)
      step(
        input, unsafeBitCast(first &* sixteen, to: FloatVector.self),
        unsafeBitCast(second &* sixteen, to: FloatVector.self))
      if input &+ 1 < inputs {
        step(
          input &+ 1, unsafeBitCast(first & upper, to: FloatVector.self),
          unsafeBitCast(second & upper, to: FloatVector.self))
      }
    }
  } else {
    for input in 0..<inputs {
      let source = tile + input &* 64
      step(input, ink_halves_to_float16(source), ink_halves_to_float16(source + 32))
    }
  }
  rows.store(to: y, stride: stride, columns: columns, accumulate: accumulate)
}
