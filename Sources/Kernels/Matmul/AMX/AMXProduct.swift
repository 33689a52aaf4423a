import CIntrinsics

/// Products of floats that are rounded to bfloat16 on the way, by the matrix registers of AMX.
///
/// Both sides are packed once. 32 × 32 sums are in registers at a time, and every sum adds its terms in one order, 32 of them at a
/// time, however the product is cut and whatever rows are beside it.
///
/// - SeeAlso: Intel 64 and IA-32 Architectures Software Developer's Manual, TDPBF16PS
enum AMXProduct {
  /// Rows of the left operand that are packed at a time.
  private static let chunkRows = 768
  /// Steps of 32 terms that are multiplied before the next tile's: more of them load and store sums less often, fewer keep the panels in
  /// the second cache.
  private static let stretchSteps = 24
  /// Bytes of packed panels: beyond what caches hold, memory is all that more of them cost.
  private static let panelMemory = 12 << 20
  private static let panels = ScratchMemory()
  private static let tiles = ScratchMemory()

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
      left.lanes == c.rows && right.lanes == c.columns && left.terms == right.terms && left.terms > 0,
      "a product of (\(left.lanes), \(left.terms)) and (\(right.terms), \(right.lanes)) into (\(c.rows), \(c.columns))"
    )
    let height = AMXOperand.lanesPerPanel
    let steps = (left.terms + AMXOperand.termsPerStep - 1) / AMXOperand.termsPerStep
    let stretch = stretchSteps
    let chunks = max(1, (c.rows + chunkRows - 1) / chunkRows)
    let panelsPerChunk = ((c.rows + chunks - 1) / chunks + height - 1) / height
    // As many steps as the memory for panels holds, in even parts of whole stretches.
    let stretches = (steps + stretch - 1) / stretch
    let stretchBytes = stretch * AMXOperand.stepBytes
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
          pool.run(count * (end - block)) { task in
            let (panel, part) = task.quotientAndRemainder(dividingBy: end - block)
            left.pack(
              lane: chunk + panel * height, steps: range(block + part), isLeft: true,
              into: place(panel, block + part))
          }
          pool.run(bands) { band in
            let columns =
              tileCount * band / bands * height..<min(tileCount * (band + 1) / bands * height, c.columns)
            ink_configure_matrix_registers(64)
            tiles.withMemory(stretchBytes + 4096) { memory in
              let sums = memory.bindMemory(to: Float.self, capacity: 1024)
              for part in block..<end {
                for column in stride(from: columns.lowerBound, to: columns.upperBound, by: height) {
                  let tile = right.tile(column, steps: range(part), scratch: memory + 4096)
                  for panel in 0..<count {
                    let row = rows.lowerBound + panel * height
                    multiplyBlock(
                      place(panel, part), tile, steps: range(part).count,
                      into: c.row(row) + column, stride: c.rowStride,
                      rows: min(height, rows.upperBound - row),
                      columns: min(height, columns.upperBound - column), accumulate: accumulate || part > 0,
                      ahead: count == 1 && tile.isInPlace ? WeightsAhead.distance : 0, sums: sums)
                  }
                }
              }
            }
            ink_release_matrix_registers()
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

  /// A panel by a tile.
  ///
  /// - Parameters:
  ///   - ahead: how far ahead in the tile to ask for what comes, or 0.
  ///   - sums: 1024 floats for a block that C does not hold whole.
  private static func multiplyBlock(
    _ left: UnsafeRawPointer, _ right: AMXTile, steps: Int, into c: UnsafeMutablePointer<Float>,
    stride: Int, rows: Int, columns: Int, accumulate: Bool, ahead: Int,
    sums: UnsafeMutablePointer<Float>
  ) {
    let isWhole = columns == 32 && (rows == 32 || rows == 16)
    let (target, width) = isWhole ? (c, stride) : (sums, 32)
    if !isWhole, accumulate {
      for row in 0..<rows { (sums + row * 32).update(from: c + row * stride, count: columns) }
    }
    @inline(__always)
    func multiply(both: Bool) {
      if accumulate { ink_load_sums(target, width &* 4, both) } else { ink_clear_sums(both) }
      var a = left
      var b = right.base
      // Safe: both operands have as many steps.
      for _ in 0..<steps {
        if ahead > 0 {
          for line in 0..<AMXOperand.stepBytes / 64 { ink_prefetch(b + (ahead &+ line &* 64)) }
        }
        ink_multiply_squares_bfloat16(a, b, right.pairStride, both)
        a += AMXOperand.stepBytes
        b += AMXOperand.stepBytes
      }
      ink_store_sums(target, width &* 4, both)
    }
    if rows > 16 { multiply(both: true) } else { multiply(both: false) }
    if !isWhole {
      for row in 0..<rows { (c + row * stride).update(from: sums + row * 32, count: columns) }
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
  /// The columns from one on over some steps, in place or packed into `scratch`.
  func tile(_ column: Int, steps: Range<Int>, scratch: UnsafeMutableRawPointer) -> AMXTile
}

extension AMXOperand: AMXRightOperand {
  func tile(_ column: Int, steps: Range<Int>, scratch: UnsafeMutableRawPointer) -> AMXTile {
    pack(lane: column, steps: steps, isLeft: false, into: scratch)
    return AMXTile(base: scratch, pairStride: 64)
  }
}

/// A matrix of bfloat16 as it is packed: the squares of a tile lie side by side.
struct AMXPackedOperand: AMXRightOperand {
  let matrix: PackedMatrix
  /// Its tiles.
  let base: UnsafeRawPointer

  var lanes: Int { matrix.outputs }
  var terms: Int { matrix.inputs }

  func tile(_ column: Int, steps: Range<Int>, scratch: UnsafeMutableRawPointer) -> AMXTile {
    let unitBytes = matrix.type.bytesPerUnit
    let unitsPerStep = AMXOperand.termsPerStep / 2
    let source =
      base + column / PackedMatrix.tileOutputs * matrix.tileBytes
      + steps.lowerBound * AMXOperand.stepBytes
    let units = steps.upperBound * unitsPerStep
    guard units > matrix.units else { return AMXTile(base: source, pairStride: unitBytes) }
    // The last step reaches beyond the tile: a copy that ends with zeros.
    let there = (matrix.units - steps.lowerBound * unitsPerStep) * unitBytes
    scratch.copyMemory(from: source, byteCount: there)
    (scratch + there).initializeMemory(
      as: UInt8.self, repeating: 0, count: (units - matrix.units) * unitBytes)
    return AMXTile(base: UnsafeRawPointer(scratch), pairStride: unitBytes)
  }
}
