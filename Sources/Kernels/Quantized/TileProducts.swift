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
  // A single row: the matrix is read once.
  let ahead = Rows.count == 1 ? WeightsAhead.distance : 0
  // Safe: all products and sums of indices stay within the buffers of `x` and the tile.
  for _ in 0..<units {
    if ahead > 0 {
      for line in Swift.stride(from: 0, to: Format.unitBytes, by: 64) { ink_prefetch(unit + (ahead &+ line)) }
    }
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
  let ahead = Rows.count == 1 ? WeightsAhead.distance : 0
  for unit in 0..<units {
    let source = tile + unit &* 128  // Safe: within the tile.
    if ahead > 0 {
      ink_prefetch(source + ahead)
      ink_prefetch(source + (ahead &+ 64))
    }
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
  let ahead = Rows.count == 1 ? WeightsAhead.distance : 0
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
      if ahead > 0 {
        ink_prefetch(source + ahead)
        ink_prefetch(source + (ahead &+ 64))
      }
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
      if ahead > 0 { ink_prefetch(source + ahead) }
      step(input, ink_halves_to_float16(source), ink_halves_to_float16(source + 32))
    }
  }
  rows.store(to: y, stride: stride, columns: columns, accumulate: accumulate)
}
