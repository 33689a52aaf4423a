import CIntrinsics

/// Products of floats by the matrix registers of AMX, rounded to bfloat16 on the way or as sums of three of them.
///
/// Both sides are packed once. 32 × 32 sums are in registers at a time, and every sum adds its terms in one order, 32 of them at a
/// time, however the product is cut and whatever rows are beside it.
///
/// - SeeAlso: Intel 64 and IA-32 Architectures Software Developer's Manual, TDPBF16PS
enum AMXProduct {
  /// Rows of the left operand that are packed at a time.
  private static let chunkRows = 768
  /// Parts of steps of 32 terms that are multiplied before the next tile's: more of them load and store sums less often, fewer keep
  /// the panels in the second cache.
  private static let stretchParts = 24
  /// Bytes of packed panels: beyond what caches hold, memory is all that more of them cost.
  private static let panelMemory = 12 << 20
  /// Bytes of sums that are kept together while their terms pass: a part of the second cache.
  private static let sumMemory = 1024 << 10
  private static let blockBytes = 32 * 32 * MemoryLayout<Float>.stride
  private static let panels = ScratchMemory()
  private static let tiles = ScratchMemory()

  /// Rows, inputs and outputs from which on floats are faster this way: packing them in parts has to pay.
  private static let fewestRows = 128
  private static let fewestChannels = 512

  /// Whether products go this way.
  static func isPreferred(_ precision: ProductPrecision, rows: Int, inputs: Int, outputs: Int) -> Bool {
    switch precision {
    case .bf16: AMX.isInUse && rows > 0
    case .f32:
      MatrixMultiplier.inUse == .amx && rows >= fewestRows && min(inputs, outputs) >= fewestChannels
    }
  }

  /// C ← A·B, or C ← C + A·B.
  ///
  /// - Parameters:
  ///   - left: A, its lanes the rows of C.
  ///   - right: B, its lanes the columns of C.
  ///   - panelMemory: bytes that packed panels may take.
  ///   - finish: called for each part of C once it is there, with its rows and columns.
  static func multiply(
    _ left: AMXOperand, _ right: some AMXRightOperand, accumulate: Bool,
    into c: MutableMatrixView, pool: WorkerPool, panelMemory: Int = panelMemory,
    finish: (Range<Int>, Range<Int>) -> Void = { _, _ in }
  ) {
    precondition(
      left.lanes == c.rows && right.lanes == c.columns && left.terms == right.terms && left.terms > 0
        && left.parts == right.parts,
      "a product of (\(left.lanes), \(left.terms)) and (\(right.terms), \(right.lanes)) into (\(c.rows), \(c.columns))"
    )
    let height = AMXOperand.lanesPerPanel
    let steps = (left.terms + AMXOperand.termsPerStep - 1) / AMXOperand.termsPerStep
    let stretch = stretchParts / left.parts
    let chunks = max(1, (c.rows + chunkRows - 1) / chunkRows)
    let panelsPerChunk = ((c.rows + chunks - 1) / chunks + height - 1) / height
    // As many steps as the memory for panels holds, in even parts of whole stretches.
    let stretches = (steps + stretch - 1) / stretch
    let stretchBytes = stretch * left.stepBytes
    let most = max(1, panelMemory / (panelsPerChunk * stretchBytes))
    let blocks = (stretches + most - 1) / most
    let stretchesPerBlock = (stretches + blocks - 1) / blocks
    let panelBytes = stretchesPerBlock * stretchBytes
    let bands = bandCount(columns: c.columns, threadCount: pool.threadCount)
    // Tiles side by side, as even as they can be.
    let tileCount = (c.columns + height - 1) / height

    panels.withMemory(panelsPerChunk * panelBytes) { packed in
      for chunk in stride(from: 0, to: c.rows, by: panelsPerChunk * height) {
        let rows = chunk..<min(chunk + panelsPerChunk * height, c.rows)
        let count = (rows.count + height - 1) / height
        for block in stride(from: 0, to: stretches, by: stretchesPerBlock) {
          let end = min(block + stretchesPerBlock, stretches)
          func range(_ part: Int) -> Range<Int> { part * stretch..<min((part + 1) * stretch, steps) }
          func place(_ panel: Int, _ part: Int) -> UnsafeMutableRawPointer {
            packed + panel * panelBytes + (part - block) * stretchBytes
          }
          func multiplyBand(_ columns: Range<Int>) {
            ink_configure_matrix_registers(64)
            defer { ink_release_matrix_registers() }
            let group = max(1, sumMemory / (count * blockBytes)) * height
            tiles.withMemory(stretchBytes + blockBytes + count * blockBytes * (group / height)) { memory in
              let edge = (memory + stretchBytes).bindMemory(to: Float.self, capacity: 1024)
              let sums = edge + 1024
              // Tiles whose sums are kept while all parts of their terms pass.
              for first in stride(from: columns.lowerBound, to: columns.upperBound, by: group) {
                let last = min(first + group, columns.upperBound)
                for part in block..<end {
                  for column in stride(from: first, to: last, by: height) {
                    let tile = right.tile(column, steps: range(part), scratch: memory)
                    let squares = count * range(part).count
                    var ahead = linesAhead(column + height, part, first: first, last: last, columns)
                    let perStep = (ahead.count + squares - 1) / squares
                    for panel in 0..<count {
                      let row = rows.lowerBound + panel * height
                      let there = SumBlock(base: c.row(row) + column, stride: c.rowStride)
                      let kept = SumBlock(
                        base: sums + ((column - first) / height * count + panel) * 1024, stride: height)
                      multiplyBlock(
                        place(panel, part), tile, steps: range(part).count, parts: left.parts,
                        from: part > block ? kept : accumulate || part > 0 ? there : nil,
                        into: part + 1 < end ? kept : there, isKept: (part > block, part + 1 < end),
                        rows: min(height, rows.upperBound - row),
                        columns: min(height, columns.upperBound - column),
                        distance: count == 1 && tile.isInPlace ? WeightsAhead.distance : 0, edge: edge,
                        ahead: &ahead, perStep: perStep)
                    }
                  }
                }
              }
            }
          }
          /// What is packed after a tile: the next one, or the first of the next part, or of the next group.
          func linesAhead(
            _ next: Int, _ part: Int, first: Int, last: Int, _ columns: Range<Int>
          ) -> LinesOfRows {
            if next < last { return right.lines(next, steps: range(part)) }
            if part + 1 < end { return right.lines(first, steps: range(part + 1)) }
            return last < columns.upperBound
              ? right.lines(last, steps: range(block)) : LinesOfRows(nothingAt: c.base)
          }
          pool.run(count * (end - block)) { task in
            let (panel, part) = task.quotientAndRemainder(dividingBy: end - block)
            left.pack(
              lane: chunk + panel * height, steps: range(block + part), isLeft: true,
              into: place(panel, block + part))
          }
          pool.run(bands) { band in
            let columns =
              tileCount * band / bands * height..<min(tileCount * (band + 1) / bands * height, c.columns)
            multiplyBand(columns)
            if end == stretches { finish(rows, columns) }
          }
        }
      }
    }
  }

  /// How many tasks share the columns.
  ///
  /// Some for each thread, but wide enough for the panels, which each of them reads, to be read seldom. No sum depends on it.
  private static func bandCount(columns: Int, threadCount: Int) -> Int {
    let most = max(1, columns / 64)
    let wanted = columns / (4 * threadCount) >= 192 ? 4 * threadCount : 2 * threadCount
    let narrow = (columns / 512 + threadCount - 1) / threadCount * threadCount
    return min(most, max(wanted, narrow))
  }

  /// Where sums of 32 × 32 are.
  private struct SumBlock {
    let base: UnsafeMutablePointer<Float>
    /// Floats from a row to the next.
    let stride: Int
  }

  /// A panel by a tile.
  ///
  /// - Parameters:
  ///   - source: the sums so far; nothing for zeros.
  ///   - isKept: whether source and target have room for a whole block, whatever its extents.
  ///   - distance: how far ahead in the tile to ask for what comes, or 0.
  ///   - edge: 1024 floats for a block that C does not hold whole.
  ///   - ahead: what is packed next, of which `perStep` lines are asked for in each step.
  private static func multiplyBlock(
    _ left: UnsafeRawPointer, _ right: AMXTile, steps: Int, parts: Int, from source: SumBlock?,
    into target: SumBlock, isKept: (source: Bool, target: Bool), rows: Int, columns: Int, distance: Int,
    edge: UnsafeMutablePointer<Float>, ahead: inout LinesOfRows, perStep: Int
  ) {
    let isWhole = columns == 32 && (rows == 32 || rows == 16)
    var (first, last) = (source, target)
    if !isWhole, let source, !isKept.source {
      for row in 0..<rows {
        (edge + row * 32).update(from: source.base + row * source.stride, count: columns)
      }
      first = SumBlock(base: edge, stride: 32)
    }
    if !isWhole, !isKept.target { last = SumBlock(base: edge, stride: 32) }
    @inline(__always)
    func multiply(both: Bool) {
      if let first { ink_load_sums(first.base, first.stride &* 4, both) } else { ink_clear_sums(both) }
      var a = left
      var b = right.base
      // Safe: both operands have as many steps.
      if parts == 1 {
        for _ in 0..<steps {
          if distance > 0 {
            for line in 0..<AMXOperand.partBytes / 64 { ink_prefetch(b + (distance &+ line &* 64)) }
          }
          ahead.ask(perStep)
          ink_multiply_squares_bfloat16(a, b, right.pairStride, both)
          a += AMXOperand.partBytes
          b += AMXOperand.partBytes
        }
      } else {
        for _ in 0..<steps {
          ahead.ask(perStep)
          ink_multiply_squares_float(a, b, both)
          a += 3 &* AMXOperand.partBytes
          b += 3 &* AMXOperand.partBytes
        }
      }
      ink_store_sums(last.base, last.stride &* 4, both)
    }
    if rows > 16 { multiply(both: true) } else { multiply(both: false) }
    if !isWhole, !isKept.target {
      for row in 0..<rows {
        (target.base + row * target.stride).update(from: edge + row * 32, count: columns)
      }
    }
  }
}

/// 32 columns of a right operand over some steps.
struct AMXTile {
  let base: UnsafeRawPointer
  /// Bytes from a pair of terms to the next: 64 where the squares follow each other, 128 where they lie side by side.
  let pairStride: Int

  /// Whether they are read where they lie in memory.
  var isInPlace: Bool { pairStride != 64 }
}

/// What stands on the right of a product.
protocol AMXRightOperand {
  var lanes: Int { get }
  var terms: Int { get }
  var parts: Int { get }
  /// The columns from one on over some steps, in place or packed into `scratch`.
  func tile(_ column: Int, steps: Range<Int>, scratch: UnsafeMutableRawPointer) -> AMXTile
  /// What packing them will read.
  func lines(_ column: Int, steps: Range<Int>) -> LinesOfRows
}

extension AMXOperand: AMXRightOperand {
  func tile(_ column: Int, steps: Range<Int>, scratch: UnsafeMutableRawPointer) -> AMXTile {
    pack(lane: column, steps: steps, isLeft: false, into: scratch)
    return AMXTile(base: scratch, pairStride: 64)
  }

  func lines(_ column: Int, steps: Range<Int>) -> LinesOfRows {
    let first = steps.lowerBound * AMXOperand.termsPerStep
    let termCount = min(steps.upperBound * AMXOperand.termsPerStep, terms) - first
    let laneCount = min(AMXOperand.lanesPerPanel, lanes - column)
    let start = base + (column * laneStride + first * termStride)
    return termStride == 1
      ? LinesOfRows(start, rows: laneCount, stride: laneStride, columns: termCount)
      : LinesOfRows(start, rows: termCount, stride: termStride, columns: laneCount)
  }
}

/// A matrix of bfloat16 as it is packed: the squares of a tile lie side by side.
struct AMXPackedOperand: AMXRightOperand {
  let matrix: PackedMatrix
  /// Its tiles.
  let base: UnsafeRawPointer

  var lanes: Int { matrix.outputs }
  var terms: Int { matrix.inputs }
  var parts: Int { 1 }

  func tile(_ column: Int, steps: Range<Int>, scratch: UnsafeMutableRawPointer) -> AMXTile {
    let unitBytes = matrix.type.bytesPerUnit
    let unitsPerStep = AMXOperand.termsPerStep / 2
    let source =
      base + column / PackedMatrix.tileOutputs * matrix.tileBytes
      + steps.lowerBound * AMXOperand.partBytes
    let units = steps.upperBound * unitsPerStep
    guard units > matrix.units else { return AMXTile(base: source, pairStride: unitBytes) }
    // The last step reaches beyond the tile: a copy that ends with zeros.
    let there = (matrix.units - steps.lowerBound * unitsPerStep) * unitBytes
    scratch.copyMemory(from: source, byteCount: there)
    (scratch + there).initializeMemory(
      as: UInt8.self, repeating: 0, count: (units - matrix.units) * unitBytes)
    return AMXTile(base: UnsafeRawPointer(scratch), pairStride: unitBytes)
  }

  func lines(_ column: Int, steps: Range<Int>) -> LinesOfRows {
    LinesOfRows(nothingAt: base.assumingMemoryBound(to: Float.self))
  }
}
