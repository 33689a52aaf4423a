import CIntrinsics
import Synchronization

/// The matrix of a linear map in a compact type, laid out for the products of this engine.
///
/// Outputs stand in tiles of 32. A tile is one stream of units, each the blocks of its 32 outputs over the same inputs: first
/// their scales, then their elements, so that one load of 64 bytes serves 16 outputs × 4 inputs (8 bits), × 2 (16 bits) or × 8
/// (4 bits: the first half of a group's inputs low, the last half high). The missing outputs of the last tile are zeros.
///
/// A matrix may wait to be packed until its second product. The first takes each tile from the file through a few kilobytes of
/// scratch: the first token need not wait for new memory, which the system clears before it gives it, and what is used once never
/// takes any.
public final class PackedMatrix: @unchecked Sendable {
  // Safe: the tiles are written before their address is, under `pending`, and never again.

  /// Writes the blocks of some outputs, row after row as a file holds them, to memory.
  public typealias RowReader = @Sendable (Range<Int>, UnsafeMutableRawPointer) -> Void

  /// Outputs of a tile.
  static let tileOutputs = 32

  /// How elements are encoded.
  public let type: WeightType
  /// Channels out; the rows of the file.
  public let outputs: Int
  /// Channels in; the columns.
  public let inputs: Int
  /// Bytes in memory.
  public let byteCount: Int

  /// Units of a tile.
  let units: Int
  /// Where memory is taken from.
  private let arena: WeightArena?
  /// The tiles once they are packed.
  private let packed: Atomic<UnsafeMutableRawPointer?>
  private let pending: Mutex<Pending?>

  /// What a matrix is packed from.
  private struct Pending {
    let rows: RowReader
    let release: @Sendable (Range<Int>) -> Void
    var wasUsed = false
  }

  /// Tiles, the last perhaps with fewer outputs.
  var tileCount: Int { (outputs + PackedMatrix.tileOutputs - 1) / PackedMatrix.tileOutputs }
  /// Bytes of a tile.
  var tileBytes: Int { units * type.bytesPerUnit }

  /// Packs a matrix.
  ///
  /// - Parameters:
  ///   - arena: memory that is taken first, as long as there is some.
  ///   - pool: threads that share the tiles.
  ///   - rows: writes the blocks of some outputs, row after row as a file holds them, to memory; called for several ranges at the
  ///     same time, each range once.
  /// - Precondition: both extents are positive and blocks divide `inputs`.
  /// - Throws: the first error of `rows`.
  public convenience init(
    type: WeightType, outputs: Int, inputs: Int, arena: WeightArena? = nil, pool: WorkerPool,
    rows: (Range<Int>, UnsafeMutableRawPointer) throws -> Void
  ) throws {
    self.init(type: type, outputs: outputs, inputs: inputs, arena: arena, pending: nil)
    packed.store(try pack(pool: pool, rows: rows), ordering: .releasing)
  }

  /// Describes a matrix that is packed when it is multiplied with for the second time, or with many rows.
  ///
  /// - Parameters:
  ///   - arena: as above.
  ///   - rows: as above; called by several threads, until all is packed.
  ///   - release: told of outputs that have been packed, now and then of some and in the end of all: what they were read from is
  ///     not needed any more.
  /// - Precondition: both extents are positive and blocks divide `inputs`.
  public convenience init(
    type: WeightType, outputs: Int, inputs: Int, arena: WeightArena? = nil, rows: @escaping RowReader,
    release: @escaping @Sendable (Range<Int>) -> Void = { _ in }
  ) {
    self.init(
      type: type, outputs: outputs, inputs: inputs, arena: arena,
      pending: Pending(rows: rows, release: release))
  }

  private init(type: WeightType, outputs: Int, inputs: Int, arena: WeightArena?, pending: Pending?) {
    precondition(
      outputs > 0 && inputs > 0 && inputs.isMultiple(of: type.elementsPerBlock),
      "a packed map of \(type) from \(inputs) to \(outputs) channels")
    self.type = type
    self.outputs = outputs
    self.inputs = inputs
    units = (inputs + type.inputsPerUnit - 1) / type.inputsPerUnit
    byteCount = PackedMatrix.byteCount(type, outputs: outputs, inputs: inputs)
    self.arena = arena
    packed = Atomic(nil)
    self.pending = Mutex(pending)
  }

  deinit { packed.load(ordering: .acquiring).map(free) }

  /// Whether its tiles are in memory.
  var isPacked: Bool { packed.load(ordering: .acquiring) != nil }

  /// The tiles for one product.
  ///
  /// - Parameters:
  ///   - streams: whether the product asks for each tile once, one after the other.
  ///   - pool: threads that pack them, if it is time to.
  func tiles(streams: Bool, pool: WorkerPool) -> PackedTiles {
    if let base = packed.load(ordering: .acquiring) { return PackedTiles(self, base: base) }
    return pending.withLock { state in
      // Another thread may have been quicker.
      guard let source = state else {
        return PackedTiles(self, base: packed.load(ordering: .acquiring)!)
      }
      if streams, !source.wasUsed {
        state!.wasUsed = true
        return PackedTiles(self, rows: source.rows)
      }
      // Safe: a reader that is not told to fail does not.
      let base = try! pack(pool: pool, rows: source.rows, release: source.release)
      packed.store(base, ordering: .releasing)
      state = nil
      source.release(0..<outputs)
      return PackedTiles(self, base: base)
    }
  }

  /// Packs what waits for its second product, on the calling thread.
  func packNow() {
    if !isPacked { _ = tiles(streams: false, pool: WorkerPool(threadCount: 1)) }
  }

  /// Bytes of packed rows after which what they were read from is given back: every thread stops meanwhile, so large pieces.
  private static let releasedBytes = 1 << 21

  /// Packs all tiles into new memory.
  private func pack(
    pool: WorkerPool, rows: (Range<Int>, UnsafeMutableRawPointer) throws -> Void,
    release: (Range<Int>) -> Void = { _ in }
  ) throws -> UnsafeMutableRawPointer {
    let bytes = arena?.take(byteCount) ?? allocateWeights(byteCount: byteCount)
    let failure = FirstFailure()
    let tasks = min(tileCount, 256)
    pool.run(tasks) { task in
      let scratch = UnsafeMutableRawPointer.allocate(byteCount: tileRowBytes, alignment: 64)
      defer { scratch.deallocate() }
      let tiles = tileCount * task / tasks..<tileCount * (task + 1) / tasks
      for tile in tiles where !failure.hasFailed {
        do {
          try pack(tile, rows: rows, scratch: scratch, into: bytes + tile * tileBytes)
        } catch {
          failure.set(error)
          return
        }
      }
      let piece = max(1, PackedMatrix.releasedBytes / tileRowBytes)
      if tiles.upperBound / piece > tiles.lowerBound / piece {
        let first = max(0, min(tiles.lowerBound, tiles.upperBound - piece))
        let width = PackedMatrix.tileOutputs
        release(first * width..<min(tiles.upperBound * width, outputs))
      }
    }
    if let error = failure.error {
      free(bytes)
      throw error
    }
    return bytes
  }

  private func free(_ bytes: UnsafeMutableRawPointer) {
    if arena?.contains(bytes) != true { bytes.deallocate() }
  }

  /// Bytes of a row of blocks, with what is missing of its last unit.
  private var rowBytes: Int { units * type.inputsPerUnit / type.elementsPerBlock * type.bytesPerBlock }

  /// Bytes of the rows of a tile.
  fileprivate var tileRowBytes: Int { PackedMatrix.tileOutputs * rowBytes }

  /// Packs one tile.
  ///
  /// - Parameters:
  ///   - scratch: `tileRowBytes` bytes.
  ///   - target: `tileBytes` bytes.
  fileprivate func pack(
    _ tile: Int, rows: (Range<Int>, UnsafeMutableRawPointer) throws -> Void, scratch: UnsafeMutableRawPointer,
    into target: UnsafeMutableRawPointer
  ) rethrows {
    let width = PackedMatrix.tileOutputs
    let range = tile * width..<min((tile + 1) * width, outputs)
    let fileRowBytes = inputs / type.elementsPerBlock * type.bytesPerBlock
    try rows(range, scratch)
    // What rows lack, an odd last input and the outputs beyond the last, is zero.
    if fileRowBytes != rowBytes {
      for row in (0..<range.count).reversed() {
        (scratch + row * rowBytes).copyMemory(from: scratch + row * fileRowBytes, byteCount: fileRowBytes)
        (scratch + row * rowBytes + fileRowBytes).initializeMemory(
          as: UInt8.self, repeating: 0, count: rowBytes - fileRowBytes)
      }
    }
    (scratch + range.count * rowBytes).initializeMemory(
      as: UInt8.self, repeating: 0, count: (width - range.count) * rowBytes)
    interleave(scratch, rowBytes: rowBytes, into: target)
  }

  /// Bytes of a matrix of some type, were it packed.
  public static func byteCount(_ type: WeightType, outputs: Int, inputs: Int) -> Int {
    (outputs + tileOutputs - 1) / tileOutputs * ((inputs + type.inputsPerUnit - 1) / type.inputsPerUnit)
      * type.bytesPerUnit
  }

  /// Arranges the rows of one tile.
  private func interleave(_ rows: UnsafeRawPointer, rowBytes: Int, into tile: UnsafeMutableRawPointer) {
    guard type.isQuantized else { return interleaveHalves(rows, rowBytes: rowBytes, into: tile) }
    let width = PackedMatrix.tileOutputs
    let unitBytes = type.bytesPerUnit
    let blockBytes = rowBytes / units
    for unit in 0..<units {
      let target = tile + unit * unitBytes
      interleaveElements(rows + unit * blockBytes, rowBytes: rowBytes, into: target)
      for lane in 0..<width {
        let block = rows + lane * rowBytes + unit * blockBytes
        /// Copies 16-bit numbers to the lane's place in one row of the unit.
        func half(_ source: Int, _ offset: Int) {
          target.storeBytes(
            of: block.loadUnaligned(fromByteOffset: source, as: UInt16.self), toByteOffset: offset + lane * 2,
            as: UInt16.self)
        }
        func word(_ value: UInt32, _ offset: Int) {
          target.storeBytes(of: value, toByteOffset: offset + lane * 4, as: UInt32.self)
        }
        /// Four low or high halves of bytes.
        func nibbles(_ source: Int, _ shift: UInt32) -> UInt32 {
          block.loadUnaligned(fromByteOffset: source, as: UInt32.self) >> shift & 0x0F0F_0F0F
        }
        func byte(_ value: UInt8, _ offset: Int) {
          target.storeBytes(of: value, toByteOffset: offset + lane, as: UInt8.self)
        }
        switch type {
        case .f16, .bf16: break
        case .q8_0, .q4_0: half(0, 0)
        case .q5_0:
          half(0, 0)
          let high = block.loadUnaligned(fromByteOffset: 2, as: UInt32.self)
          var spread: UInt32 = 0
          // Bit 8·t + s is the fifth bit of input 4·s + t: one shift and a mask give a step's four.
          for input in 0..<32 { spread |= (high >> UInt32(input) & 1) << UInt32(8 * (input % 4) + input / 4) }
          word(spread, 64)
        case .q4_K, .q5_K:
          half(0, 0)
          half(2, 64)
          for group in 0..<8 {
            let (scale, minimum) = scaleAndMinimum(block + 4, group)
            // The group's elements are right behind them, so that all is read from end to end.
            let target = 128 + group * (type == .q4_K ? 576 : 704)
            byte(scale, target)
            byte(minimum, target + width)
            guard type == .q5_K else { continue }
            var spread: UInt32 = 0
            for input in 0..<32 {
              let fifth = block.load(fromByteOffset: 16 + input, as: UInt8.self) >> UInt8(group) & 1
              spread |= UInt32(fifth) << UInt32(8 * (input % 4) + input / 4)
            }
            word(spread, target + 64)
          }
        case .q6_K:
          half(208, 0)
          for group in 0..<16 {
            // The scales of two groups, then their elements.
            byte(
              block.load(fromByteOffset: 192 + group, as: UInt8.self),
              64 + group / 2 * 832 + group % 2 * width)
          }
          for group in 0..<16 {
            let target = 128 + group / 2 * 832 + group % 2 * 384
            let low = group / 8 * 64 + group % 4 * 16
            let lowShift = UInt32(group / 4 % 2 * 4)
            for index in 0..<2 {
              word(
                nibbles(low + index * 4, lowShift) | nibbles(low + 8 + index * 4, lowShift) << 4,
                target + index * 128)
            }
            let high = 128 + group / 8 * 32 + group % 2 * 16
            var pairs: UInt32 = 0
            for step in 0..<4 {
              let four = block.loadUnaligned(fromByteOffset: high + step * 4, as: UInt32.self)
              pairs |= (four >> UInt32(group / 2 % 4 * 2) & 0x0303_0303) << UInt32(step * 2)
            }
            word(pairs, target + 256)
          }
        }
      }
    }
  }

  /// Arranges those elements of a unit that lie in words as they will: sixteen outputs at a time.
  ///
  /// - Parameters:
  ///   - blocks: the first output's; the others' follow every `rowBytes`.
  ///   - unit: receives them behind their scales.
  private func interleaveElements(
    _ blocks: UnsafeRawPointer, rowBytes: Int, into unit: UnsafeMutableRawPointer
  ) {
    for half in 0..<2 {
      let (source, target) = (blocks + half * 16 * rowBytes, unit + half * 64)
      switch type {
      case .q8_0: ink_interleave_8_words(source + 2, rowBytes, target + 64, 0x8080_8080)
      case .q4_0: ink_interleave_4_words(source + 2, rowBytes, target + 64)
      case .q5_0: ink_interleave_4_words(source + 6, rowBytes, target + 192)
      case .q4_K, .q5_K:
        let (first, place, step) = type == .q4_K ? (16, 192, 576) : (48, 320, 704)
        for group in 0..<8 {
          ink_interleave_nibbles(
            source + first + group / 2 * 32, rowBytes, target + place + group * step,
            UInt32(group % 2 * 4))
        }
      case .q6_K, .f16, .bf16: break
      }
    }
  }

  /// The same for 16-bit types: pairs of inputs are words, of which eight of each output are turned at a time.
  private func interleaveHalves(_ rows: UnsafeRawPointer, rowBytes: Int, into tile: UnsafeMutableRawPointer) {
    typealias Lanes = SIMD16<UInt32>
    let unitBytes = type.bytesPerUnit
    let count = (rowBytes + 3) / 4
    withUnsafeTemporaryAllocation(byteCount: 1024, alignment: 64) { square in
      let square = square.baseAddress!
      for first in stride(from: 0, to: count, by: 8) {
        // The end of a row may be half a word.
        let bytes = min(32, rowBytes - first * 4)
        func words(_ lane: Int) -> SIMD8<UInt32> {
          let source = rows + lane * rowBytes + first * 4
          if bytes == 32 { return source.loadUnaligned(as: SIMD8<UInt32>.self) }
          var some = SIMD8<UInt32>.zero
          withUnsafeMutableBytes(of: &some) { $0.baseAddress!.copyMemory(from: source, byteCount: bytes) }
          return some
        }
        for lane in 0..<16 {
          // Whole registers: a load has to wait for what two stores put together.
          let row = Lanes(lowHalf: words(lane), highHalf: words(lane + 16))
          square.storeBytes(of: row, toByteOffset: lane * 64, as: Lanes.self)
        }
        ink_transpose_words16(square)
        for word in 0..<min(8, count - first) {
          for half in 0..<2 {
            let lanes = square.load(fromByteOffset: (half * 8 + word) * 64, as: Lanes.self)
            if type == .bf16 {
              tile.storeBytes(of: lanes, toByteOffset: (first + word) * unitBytes + half * 64, as: Lanes.self)
              continue
            }
            let unit = (first + word) * 2
            let place = unit * unitBytes + half * 32
            tile.storeBytes(
              of: SIMD16<UInt16>(truncatingIfNeeded: lanes), toByteOffset: place, as: SIMD16<UInt16>.self)
            guard unit + 1 < units else { continue }
            tile.storeBytes(
              of: SIMD16<UInt16>(truncatingIfNeeded: lanes &>> 16), toByteOffset: place + unitBytes,
              as: SIMD16<UInt16>.self)
          }
        }
      }
    }
  }

  /// One row as floats.
  ///
  /// - Parameter row: (inputs).
  /// - Accuracy: exact in 16-bit types; quantised elements equal the file's, but for one rounding where they have a minimum.
  public func copyRow(_ index: Int, into row: UnsafeMutablePointer<Float>) {
    precondition(index >= 0 && index < outputs, "row \(index) of a matrix that has \(outputs)")
    if let base = packed.load(ordering: .acquiring) {
      return copyLane(
        index % PackedMatrix.tileOutputs, of: base + index / PackedMatrix.tileOutputs * tileBytes, into: row)
    }
    guard let source = pending.withLock({ $0 }) else { return copyRow(index, into: row) }
    let tiles = PackedTiles(self, rows: source.rows)
    let memory = UnsafeMutableRawPointer.allocate(byteCount: tiles.scratchByteCount, alignment: 64)
    defer { memory.deallocate() }
    copyLane(
      index % PackedMatrix.tileOutputs, of: tiles.pack(index / PackedMatrix.tileOutputs, into: memory),
      into: row)
  }

  /// One output of a tile as floats.
  private func copyLane(_ lane: Int, of tile: UnsafeRawPointer, into row: UnsafeMutablePointer<Float>) {
    let width = PackedMatrix.tileOutputs
    for unit in 0..<units {
      let source = tile + unit * type.bytesPerUnit
      let out = row + unit * type.inputsPerUnit
      func half(_ offset: Int) -> Float {
        Float(Float16(bitPattern: source.load(fromByteOffset: offset + lane * 2, as: UInt16.self)))
      }
      func byte(_ offset: Int) -> UInt8 { source.load(fromByteOffset: offset + lane, as: UInt8.self) }
      /// Byte `input % 4` of the lane's word `input / 4`.
      func element(_ offset: Int, _ input: Int) -> Int32 {
        Int32(
          source.load(fromByteOffset: offset + (input / 4 * width + lane) * 4 + input % 4, as: UInt8.self))
      }
      switch type {
      case .f16: out[0] = half(0)
      case .bf16:
        let pair = source.load(fromByteOffset: lane * 4, as: UInt32.self)
        out[0] = Float(bitPattern: pair << 16)
        if unit * 2 + 1 < inputs { out[1] = Float(bitPattern: pair & 0xFFFF_0000) }
      case .q8_0:
        let scale = half(0)
        for input in 0..<32 { out[input] = scale * Float(element(64, input) - 128) }
      case .q4_0:
        let scale = half(0)
        for input in 0..<32 {
          out[input] = scale * Float((element(64, input % 16) >> (input < 16 ? 0 : 4) & 15) - 8)
        }
      case .q5_0:
        let scale = half(0)
        let high = source.load(fromByteOffset: 64 + lane * 4, as: UInt32.self)
        for input in 0..<32 {
          let low = element(192, input % 16) >> (input < 16 ? 0 : 4) & 15
          let fifth = Int32(high >> UInt32(8 * (input % 4) + input / 4) & 1)
          out[input] = scale * Float((low | fifth << 4) - 16)
        }
      case .q4_K:
        for group in 0..<8 {
          let place = 128 + group * 576
          let factor = half(0) * Float(byte(place))
          let minimum = half(64) * Float(byte(place + width))
          for input in 0..<32 {
            let quant = element(place + 64, input % 16) >> (input < 16 ? 0 : 4) & 15
            out[group * 32 + input] = factor * Float(quant) - minimum
          }
        }
      case .q5_K:
        for group in 0..<8 {
          let place = 128 + group * 704
          let factor = half(0) * Float(byte(place))
          let minimum = half(64) * Float(byte(place + width))
          let high = source.load(fromByteOffset: place + 64 + lane * 4, as: UInt32.self)
          for input in 0..<32 {
            let low = element(place + 192, input % 16) >> (input < 16 ? 0 : 4) & 15
            let fifth = Int32(high >> UInt32(8 * (input % 4) + input / 4) & 1)
            out[group * 32 + input] = factor * Float(low | fifth << 4) - minimum
          }
        }
      case .q6_K:
        for group in 0..<16 {
          let place = 64 + group / 2 * 832
          let factor = half(0) * Float(Int8(bitPattern: byte(place + group % 2 * width)))
          let elements = place + 64 + group % 2 * 384
          for input in 0..<16 {
            let low = element(elements, input % 8) >> (input < 8 ? 0 : 4) & 15
            let high = element(elements + 256, input % 4) >> (input / 4 * 2) & 3
            out[group * 16 + input] = factor * Float((low | high << 4) - 32)
          }
        }
      }
    }
  }
}

/// The tiles of a matrix as one product finds them: where they lie, or packed as they are asked for.
struct PackedTiles {
  /// The first tile, which the others follow; nothing where they are not packed.
  let base: UnsafeRawPointer?
  private let matrix: PackedMatrix
  private let rows: PackedMatrix.RowReader?

  fileprivate init(_ matrix: PackedMatrix, base: UnsafeMutableRawPointer) {
    self.matrix = matrix
    self.base = UnsafeRawPointer(base)
    rows = nil
  }

  fileprivate init(_ matrix: PackedMatrix, rows: @escaping PackedMatrix.RowReader) {
    self.matrix = matrix
    base = nil
    self.rows = rows
  }

  /// Bytes that packing a tile takes.
  var scratchByteCount: Int { matrix.tileBytes + matrix.tileRowBytes }

  /// Packs a tile that is not.
  ///
  /// - Parameter scratch: `scratchByteCount` bytes, aligned to 64; the tile is there until another one is.
  func pack(_ tile: Int, into scratch: UnsafeMutableRawPointer) -> UnsafeRawPointer {
    guard let rows else { preconditionFailure("tile \(tile) is packed") }
    matrix.pack(tile, rows: rows, scratch: scratch + matrix.tileBytes, into: scratch)
    return UnsafeRawPointer(scratch)
  }
}

/// Scale and minimum of 6 bits out of twelve bytes, as `q4_K` and `q5_K` store them.
private func scaleAndMinimum(_ packed: UnsafeRawPointer, _ group: Int) -> (scale: UInt8, minimum: UInt8) {
  func byte(_ offset: Int) -> UInt8 { packed.load(fromByteOffset: offset, as: UInt8.self) }
  let first = byte(group & 3)
  let second = byte(4 + (group & 3))
  guard group >= 4 else { return (first & 63, second & 63) }
  let third = byte(8 + (group & 3))
  return (third & 15 | first >> 2 & 48, third >> 4 | second >> 2 & 48)
}
