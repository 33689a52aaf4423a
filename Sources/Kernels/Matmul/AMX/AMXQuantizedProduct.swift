import CIntrinsics

/// Products of many quantised rows with tiles of a quantised matrix, by the matrix registers of AMX: the same bits as `multiplyTile`
/// makes.
///
/// Sums of integers over a group of 32 inputs are exact in any order. They go through memory, a few groups of 32 rows by 32 outputs at a
/// time, to where scales are multiplied and groups added up. (Groups of 16 leave half of each product empty: with `q6_K` it is slower.)
struct AMXQuantizedRows {
  /// Rows of a panel.
  static let panelRows = 32
  /// Whether it is faster than `multiplyTile`: a tile is unpacked for all rows.
  static func isPreferred<Format: QuantizedFormat>(_ format: Format.Type, rows: Int) -> Bool {
    AMX.isInUse && rows >= 32 && Format.stepsPerGroup == 8
  }

  /// Inputs of a group.
  private static let length = 32
  /// Groups whose sums are in memory at a time.
  ///
  /// Four kilobytes each, which should stay in the first cache: with 2 to 4 of them a product is 1.2 to 1.4 times as fast as with 8.
  private static let groupsTogether = 3

  /// The rows with their scales.
  let rows: QuantizedRows
  /// How many there are.
  let count: Int
  /// For each panel, group after group, two squares of 16 rows by a group.
  private let panels: UnsafeMutableRawPointer

  /// Bytes of the panels of some rows.
  static func byteCount(rows: Int, inputs: Int) -> Int {
    (rows + panelRows - 1) / panelRows * panelRows * inputs
  }

  /// Divides memory of `byteCount` bytes.
  init(_ rows: QuantizedRows, count: Int, memory: UnsafeMutableRawPointer) {
    self.rows = rows
    self.count = count
    panels = memory
  }

  private var panelBytes: Int { AMXQuantizedRows.panelRows * rows.blocks * 32 }

  /// Arranges a quantised row.
  func arrange(_ row: Int) {
    let length = AMXQuantizedRows.length
    let (panel, lane) = row.quotientAndRemainder(dividingBy: AMXQuantizedRows.panelRows)
    let source = UnsafeRawPointer(rows.words + row * rows.blocks * 8)
    let target = panels + panel * panelBytes + lane * length
    for group in 0..<rows.blocks {
      (target + group * AMXQuantizedRows.panelRows * length).copyMemory(
        from: source + group * length, byteCount: length)
    }
  }

  /// Some rows, from a whole panel on, with one tile.
  ///
  /// - Parameters:
  ///   - y: (R, outputs of the tile).
  ///   - scratch: for the tile, unpacked.
  func multiply<Format: QuantizedFormat>(
    _ format: Format.Type, tile: UnsafeRawPointer, rows range: Range<Int>, into y: MutableMatrixView,
    accumulate: Bool, scratch: ScratchMemory
  ) {
    precondition(
      range.lowerBound.isMultiple(of: AMXQuantizedRows.panelRows) && Format.stepsPerGroup == 8,
      "rows from \(range.lowerBound) on, \(Format.stepsPerGroup) steps of a group")
    let groups = rows.blocks
    let length = AMXQuantizedRows.length
    let groupBytes = PackedMatrix.tileOutputs * length
    let together = AMXQuantizedRows.groupsTogether
    let sumBytes = AMXQuantizedRows.panelRows * PackedMatrix.tileOutputs * 4
    scratch.withMemory((together + 1) * sumBytes + groups * (groupBytes + 256)) { memory in
      let totals = memory.bindMemory(to: Float.self, capacity: sumBytes / 4)
      let integers = memory + sumBytes
      let factors = (integers + together * sumBytes).bindMemory(to: Float.self, capacity: groups * 64)
      let quants = integers + together * sumBytes + groups * 256
      unpack(format, tile, factors: factors, quants: quants)

      ink_configure_matrix_registers(Int32(length))
      for panel in range.lowerBound / AMXQuantizedRows.panelRows..<(range.upperBound + 31)
        / AMXQuantizedRows.panelRows
      {
        let first = panel * AMXQuantizedRows.panelRows
        let rowCount = min(AMXQuantizedRows.panelRows, range.upperBound - first)
        let left = UnsafeRawPointer(panels + panel * panelBytes)
        for start in stride(from: 0, to: groups, by: together) {
          let end = min(start + together, groups)
          func multiply(_ group: Int, before: UnsafeMutableRawPointer) {
            let (a, b) = (left + group * groupBytes, UnsafeRawPointer(quants) + group * groupBytes)
            if rowCount > 16 {
              ink_multiply_group_int8(a, b, Int32(length), before, true)
            } else {
              ink_multiply_group_int8(a, b, Int32(length), before, false)
            }
          }
          // What the registers hold at first goes where the last sums will be.
          multiply(start, before: integers + (end - start - 1) * sumBytes)
          for group in start + 1..<end { multiply(group, before: integers + (group - start - 1) * sumBytes) }
          ink_store_sums(integers + (end - start - 1) * sumBytes, 128, true)
          for row in stride(from: 0, to: rowCount, by: 4) {
            // Four together, though the last may be fewer: what the others have been is not stored.
            addGroups(
              format, start..<end, row: first + row, integers: integers + row * 128, sumBytes: sumBytes,
              factors: factors, totals: totals + row * 32)
          }
        }
        for row in 0..<rowCount {
          put(totals + row * 32, to: y.row(first + row), columns: y.columns, accumulate: accumulate)
        }
      }
      ink_release_matrix_registers()
    }
  }

  /// A tile as signed bytes less the offset, and the factors of its groups: 32 scales and 32 minima each.
  @inline(__always)
  private func unpack<Format: QuantizedFormat>(
    _ format: Format.Type, _ tile: UnsafeRawPointer, factors: UnsafeMutablePointer<Float>,
    quants: UnsafeMutableRawPointer
  ) {
    let offset = SIMD64<UInt8>(repeating: UInt8(Format.offset))
    var (unit, target, factor) = (tile, quants, factors)
    let half = Format.stepsPerGroup &* 64
    // Safe: within the tile and the memory for it.
    for _ in 0..<rows.blocks / Format.groupsPerUnit {
      for group in 0..<Format.groupsPerUnit {
        for step in 0..<Format.stepsPerGroup {
          let (first, second) = Format.quants(unit, group: group, step: step)
          (target + step &* 64).storeBytes(
            of: unsafeBitCast(first, to: SIMD64<UInt8>.self) &- offset, as: SIMD64<UInt8>.self)
          (target + half + step &* 64).storeBytes(
            of: unsafeBitCast(second, to: SIMD64<UInt8>.self) &- offset, as: SIMD64<UInt8>.self)
        }
        let scales = Format.scales(unit, group: group)
        scales.0.store(to: factor)
        scales.1.store(to: factor + 16)
        if Format.hasMinima {
          let minima = Format.minima(unit, group: group)
          minima.0.store(to: factor + 32)
          minima.1.store(to: factor + 48)
        }
        target += half &* 2
        factor += 64
      }
      unit += Format.unitBytes
    }
  }

  /// Adds some groups of four rows to their totals.
  @inline(__always)
  private func addGroups<Format: QuantizedFormat>(
    _ format: Format.Type, _ groups: Range<Int>, row: Int, integers: UnsafeMutableRawPointer, sumBytes: Int,
    factors: UnsafePointer<Float>, totals: UnsafeMutablePointer<Float>
  ) {
    var sums = FourRows<TotalRow>()
    if groups.lowerBound > 0 {
      sums.each(from: 0) { row, index in
        row.first = FloatVector(at: totals + index &* 32)
        row.second = FloatVector(at: totals + (index &* 32 &+ 16))
      }
    }
    let blocks = rows.blocks
    let last = count - 1
    var source = UnsafeRawPointer(integers)
    // Safe: within the memory of the groups and of the rows.
    for group in groups {
      let factor = factors + group &* 64
      let (scale0, scale1) = (FloatVector(at: factor), FloatVector(at: factor + 16))
      sums.each(from: 0) { sum, index in
        let place = min(row &+ index, last) &* blocks &+ group
        let scale = FloatVector(repeating: rows.scales[place])
        let integers0 = (source + index &* 128).load(as: SIMD16<Int32>.self)
        let integers1 = (source + (index &* 128 &+ 64)).load(as: SIMD16<Int32>.self)
        sum.first = multiplyAdd(ink_int_to_float16(integers0) * scale, scale0, sum.first)
        sum.second = multiplyAdd(ink_int_to_float16(integers1) * scale, scale1, sum.second)
      }
      if Format.hasMinima {
        let (minimum0, minimum1) = (FloatVector(at: factor + 32), FloatVector(at: factor + 48))
        sums.each(from: 0) { sum, index in
          let weighted = FloatVector(
            repeating: -rows.weightedSums[min(row &+ index, last) &* blocks &+ group])
          sum.first = multiplyAdd(minimum0, weighted, sum.first)
          sum.second = multiplyAdd(minimum1, weighted, sum.second)
        }
      }
      source += sumBytes
    }
    sums.each(from: 0) { row, index in
      row.first.store(to: totals + index &* 32)
      row.second.store(to: totals + (index &* 32 &+ 16))
    }
  }

  @inline(__always)
  private func put(
    _ totals: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>, columns: Int, accumulate: Bool
  ) {
    var column = 0
    while column < columns {
      let count = min(16, columns - column)
      let sums = FloatVector(at: totals + column)
      if count == 16 {
        (accumulate ? FloatVector(at: target + column) + sums : sums).store(to: target + column)
      } else {
        (accumulate ? FloatVector(at: target + column, count: count) + sums : sums).store(
          to: target + column, count: count)
      }
      column += 16
    }
  }
}

/// The totals of one row, 32 outputs in registers.
private struct TotalRow: RegisterRow {
  var first = FloatVector.zero
  var second = FloatVector.zero
}
