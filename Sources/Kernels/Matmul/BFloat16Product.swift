import CIntrinsics

/// Products of floats that are rounded to bfloat16 on the way: a GEMM in the manner of GotoBLAS.
///
/// A stretch of the terms at a time, A is packed in panels of 8 rows and B in tiles of 48 columns, as pairs of terms in words,
/// so that one instruction multiplies 16 columns by two terms. 8 × 48 sums stay in registers.
///
/// On one core of a Zen 5 EPYC that other work shared, packing included, 1.8 times the rate of SGEMM in the same seconds
/// (512 × 768 × 2048: 175 against 99 GFLOP/s).
/// - SeeAlso: Goto and van de Geijn 2008, doi:10.1145/1356052.1356053
enum BFloat16Product {
  /// Columns of a tile of B.
  static let tileColumns = 48
  /// Rows of a panel of A.
  static let panelRows = 8
  /// Terms of a stretch: a tile of B and a panel of A stay in the first cache.
  private static let depth = 384
  private static let scratch = ScratchMemory()

  /// C ← op(A)·op(B), or C ← C + op(A)·op(B); see `ProductPrecision.multiply`, which checks the extents.
  ///
  /// - Accuracy: products are exact, sums follow the terms in pairs; subnormal operands count as 0 where the CPU's
  ///   instruction has it so.
  static func multiply(
    transposeA: Bool, transposeB: Bool, m: Int, n: Int, k: Int, a: UnsafePointer<Float>, strideA: Int,
    b: UnsafePointer<Float>, strideB: Int, accumulate: Bool, c: UnsafeMutablePointer<Float>, strideC: Int
  ) {
    let panels = (m + panelRows - 1) / panelRows
    let panelWords = panels * panelRows * (depth / 2)
    scratch.withMemory((panelWords + tileColumns * (depth / 2)) * 4) { memory in
      let packedA = memory.bindMemory(to: UInt32.self, capacity: panelWords)
      let packedB = (memory + panelWords * 4).bindMemory(
        to: UInt32.self, capacity: tileColumns * (depth / 2))
      for first in stride(from: 0, to: k, by: depth) {
        let terms = min(depth, k - first)
        let units = (terms + 1) / 2
        packPanels(
          a + first * (transposeA ? strideA : 1), laneStride: transposeA ? 1 : strideA,
          termStride: transposeA ? strideA : 1, lanes: m, terms: terms, into: packedA)
        for column in stride(from: 0, to: n, by: tileColumns) {
          let columns = min(tileColumns, n - column)
          packTile(
            b + first * (transposeB ? 1 : strideB) + column * (transposeB ? strideB : 1),
            laneStride: transposeB ? strideB : 1, termStride: transposeB ? 1 : strideB, lanes: columns,
            terms: terms, into: packedB)
          for panel in 0..<panels {
            let row = panel * panelRows
            multiplyPanel(
              packedA + row * units, packedB, units: units, into: c + row * strideC + column, stride: strideC,
              rows: min(panelRows, m - row), columns: columns, accumulate: accumulate || first > 0)
          }
        }
      }
    }
  }

  // MARK: Packing

  /// Packs rows of A in panels of 8: word 8·u + i of a panel holds terms 2·u and 2·u + 1 of row i.
  private static func packPanels(
    _ source: UnsafePointer<Float>, laneStride: Int, termStride: Int, lanes: Int, terms: Int,
    into panels: UnsafeMutablePointer<UInt32>
  ) {
    let units = (terms + 1) / 2
    for lane in stride(from: 0, to: lanes, by: 16) {
      let first = UnsafeMutableRawPointer(panels + lane * units)
      let second = first + units * 32
      let hasSecond = lanes - lane > panelRows
      packLanes(
        source + lane * laneStride, laneStride: laneStride, termStride: termStride,
        lanes: min(16, lanes - lane),
        terms: terms
      ) { unit, words in
        // Safe: within the panels.
        (first + unit &* 32).storeBytes(of: words.lowHalf, as: SIMD8<UInt32>.self)
        if hasSecond { (second + unit &* 32).storeBytes(of: words.highHalf, as: SIMD8<UInt32>.self) }
      }
    }
  }

  /// Packs columns of B in a tile of 48: word 48·u + i holds terms 2·u and 2·u + 1 of column i.
  ///
  /// What lies beyond the last sixteen columns is left as it is, and what is computed from it is not stored.
  private static func packTile(
    _ source: UnsafePointer<Float>, laneStride: Int, termStride: Int, lanes: Int, terms: Int,
    into tile: UnsafeMutablePointer<UInt32>
  ) {
    for lane in stride(from: 0, to: lanes, by: 16) {
      let target = UnsafeMutableRawPointer(tile + lane)
      packLanes(
        source + lane * laneStride, laneStride: laneStride, termStride: termStride,
        lanes: min(16, lanes - lane),
        terms: terms
      ) { unit, words in
        // Safe: within the tile.
        (target + unit &* (tileColumns &* 4)).storeBytes(of: words, as: ByteVector.self)
      }
    }
  }

  /// Rounds up to sixteen lanes and hands them over, two terms at a time; missing lanes and an odd last term are 0.
  @inline(__always)
  private static func packLanes(
    _ source: UnsafePointer<Float>, laneStride: Int, termStride: Int, lanes: Int, terms: Int,
    _ store: (Int, ByteVector) -> Void
  ) {
    if laneStride == 1 {
      @inline(__always)
      func term(_ index: Int) -> FloatVector {
        let lane = source + index &* termStride  // Safe: within the matrix.
        return lanes == 16 ? FloatVector(at: lane) : FloatVector(at: lane, count: lanes)
      }
      for unit in 0..<terms / 2 {
        store(unit, ink_round_to_bfloat16_pairs(term(2 &* unit), term(2 &* unit &+ 1)))
      }
      if terms & 1 == 1 { store(terms / 2, ink_round_to_bfloat16_pairs(term(terms - 1), .zero)) }
      return
    }
    precondition(termStride == 1, "neither rows nor columns are contiguous")
    // Sixteen lanes by 32 terms, rounded along the lanes and then transposed.
    withUnsafeTemporaryAllocation(byteCount: 1024 + 128, alignment: 64) { block in
      let words = block.baseAddress!
      let rest = (words + 1024).bindMemory(to: Float.self, capacity: 32)
      if lanes < 16 { words.initializeMemory(as: UInt32.self, repeating: 0, count: 256) }
      for first in Swift.stride(from: 0, to: terms, by: 32) {
        let count = min(32, terms - first)
        for lane in 0..<lanes {
          var row = source + (lane &* laneStride &+ first)  // Safe: within the matrix.
          if count < 32 {
            rest.update(repeating: 0, count: 32)
            rest.update(from: row, count: count)
            row = UnsafePointer(rest)
          }
          (words + lane &* 64).storeBytes(of: ink_round_32_to_bfloat16(row), as: ByteVector.self)
        }
        ink_transpose_words16(words)
        for unit in 0..<(count + 1) / 2 {
          store(first / 2 &+ unit, (words + unit &* 64).load(as: ByteVector.self))
        }
        // The transposition has left what was missing elsewhere.
        if lanes < 16 { words.initializeMemory(as: UInt32.self, repeating: 0, count: 256) }
      }
    }
  }

  // MARK: Multiplying

  /// One panel by one tile.
  ///
  /// - Parameters:
  ///   - a: (units, 8) pairs.
  ///   - b: (units, 48) pairs.
  ///   - c: (rows, columns), rows `stride` apart.
  private static func multiplyPanel(
    _ a: UnsafePointer<UInt32>, _ b: UnsafePointer<UInt32>, units: Int, into c: UnsafeMutablePointer<Float>,
    stride: Int, rows: Int, columns: Int, accumulate: Bool
  ) {
    var sums = EightRows<PanelRow>()
    var pairs = a
    var tile = UnsafeRawPointer(b)
    // Safe: both operands have `units` units.
    for _ in 0..<units {
      let first = tile.load(as: ByteVector.self)
      let second = tile.load(fromByteOffset: 64, as: ByteVector.self)
      let third = tile.load(fromByteOffset: 128, as: ByteVector.self)
      sums.each(from: 0) { row, index in
        let pair = ByteVector(repeating: pairs[index])
        row.first = ink_dot_bfloat16(row.first, first, pair)
        row.second = ink_dot_bfloat16(row.second, second, pair)
        row.third = ink_dot_bfloat16(row.third, third, pair)
      }
      pairs += panelRows
      tile += tileColumns &* 4
    }
    sums.each(from: 0) { row, index in
      guard index < rows else { return }
      let target = c + index * stride
      put(row.first, at: target, count: columns, accumulate: accumulate)
      put(row.second, at: target + 16, count: columns - 16, accumulate: accumulate)
      put(row.third, at: target + 32, count: columns - 32, accumulate: accumulate)
    }
  }

  @inline(__always)
  private static func put(
    _ sums: FloatVector, at target: UnsafeMutablePointer<Float>, count: Int, accumulate: Bool
  ) {
    if count >= 16 {
      (accumulate ? FloatVector(at: target) + sums : sums).store(to: target)
    } else if count > 0 {
      (accumulate ? FloatVector(at: target, count: count) + sums : sums).store(to: target, count: count)
    }
  }
}

/// The sums of one row of a panel, 48 columns in registers.
private struct PanelRow: RegisterRow {
  var first = FloatVector.zero
  var second = FloatVector.zero
  var third = FloatVector.zero
}
