import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// How a session keeps keys and values.
public struct KeyValueTypes: Sendable, Equatable {
  /// Of keys.
  public var keys: KeyValueType
  /// Of values.
  public var values: KeyValueType

  /// Names the types.
  public init(keys: KeyValueType = .f32, values: KeyValueType = .f32) {
    self.keys = keys
    self.values = values
  }

  /// Bytes that one position of one layer takes.
  public func byteCount(_ shape: AttentionShape) -> Int {
    shape.keyValueHeadCount
      * (keys.byteCount(dimension: shape.headDimension) + values.byteCount(dimension: shape.headDimension))
  }
}

/// Keys and values of past positions, in virtual memory that costs what is used of it.
///
/// Storage is (layer, K|V, slot, head, position, channel). A sequence is not tied to a slot: what all rows have in common, the
/// trunk (the prompt, and what beams agree on), lies in slot 0 and exists once; from there on each row has runs of positions in
/// slots of its own or of those that it comes from. When beams are reordered only these short lists change. Where the rows agree
/// on more, that is moved to the trunk, each position once.
///
/// Layers that see a window of positions keep the latest ones only, where that is fewer than the capacity.
public final class KeyValueCache {
  /// Positions that a row can hold.
  public let capacity: Int
  /// Rows that can be held at once.
  public let maximumRows: Int
  /// How keys and values are kept.
  public let types: KeyValueTypes
  /// Rows in use.
  public private(set) var rowCount = 0
  /// Positions filled, the same for all rows.
  public private(set) var length = 0

  /// One entry per layer.
  let layers: UnsafeMutablePointer<KeyValueLayer>
  let layerCount: Int
  let shape: AttentionShape
  let windows: [Int?]
  private let byteCount: Int
  private let base: UnsafeMutableRawPointer

  /// Positions from the start that all rows have in slot 0.
  private var trunk = 0
  /// What each row has beyond the trunk.
  private var own: [[KeyValueRun]]
  private var spare: [[KeyValueRun]]
  /// The most positions that were filled since the cache was empty: what they took the place of is lost.
  private var highWater = 0
  /// Kept from step to step, so that none allocates once sizes have settled.
  private var segment: AttentionSegment

  /// Reserves address space; no page of it costs memory before it is written.
  ///
  /// - Parameters:
  ///   - windows: positions that each layer sees; nothing for all.
  ///   - slack: positions that a layer with a window keeps beyond it: as many may be written at once, and taken back.
  /// - Throws: `DecoderError.memory` when even the address space is refused.
  public init(
    layerCount: Int, shape: AttentionShape, capacity: Int, maximumRows: Int,
    types: KeyValueTypes = KeyValueTypes(), windows: [Int?]? = nil, slack: Int = 512
  ) throws {
    precondition(capacity > 0 && maximumRows > 0 && slack > 0 && layerCount >= 0)
    self.capacity = capacity
    self.maximumRows = maximumRows
    self.types = types
    self.shape = shape
    self.layerCount = layerCount

    var total = 0
    func product(_ factors: [Int]) throws -> Int {
      try factors.reduce(1) { product, factor in
        let (next, overflow) = product.multipliedReportingOverflow(by: factor)
        guard !overflow else { throw DecoderError.memory(bytes: .max, purpose: "the KV cache") }
        return next
      }
    }
    let keySize = types.keys.byteCount(dimension: shape.headDimension)
    let valueSize = types.values.byteCount(dimension: shape.headDimension)
    // Every layer takes what a layer without a window takes, at most: so much is checked before anything is allocated.
    _ = try product([
      keySize + valueSize + 128, capacity, shape.keyValueHeadCount, maximumRows, layerCount + 1,
    ])
    let windows = windows ?? [Int?](repeating: nil, count: layerCount)
    precondition(windows.count == layerCount, "\(windows.count) windows for \(layerCount) layers")
    self.windows = windows
    var extents: [(offset: Int, period: Int)] = []
    extents.reserveCapacity(layerCount)
    for window in windows {
      let kept = window.map { $0 > capacity - min(slack, capacity) ? capacity : $0 + slack } ?? capacity
      extents.append((total, kept))
      let places = kept * shape.keyValueHeadCount * maximumRows
      // Each part begins a cache line.
      total += (places * keySize + 63) / 64 * 64 + (places * valueSize + 63) / 64 * 64
    }
    byteCount = max(total, 1)
    #if os(Linux)
      let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    #else
      let flags = MAP_PRIVATE | MAP_ANON
    #endif
    guard let memory = mmap(nil, byteCount, PROT_READ | PROT_WRITE, flags, -1, 0), memory != MAP_FAILED else {
      throw DecoderError.memory(bytes: byteCount, purpose: "the KV cache")
    }
    base = memory
    layers = .allocate(capacity: max(layerCount, 1))
    for (index, (offset, period)) in extents.enumerated() {
      let places = period * shape.keyValueHeadCount * maximumRows
      (layers + index).initialize(
        to: KeyValueLayer(
          keys: memory + offset, values: memory + offset + (places * keySize + 63) / 64 * 64,
          keyType: types.keys, valueType: types.values, slotStride: period * shape.keyValueHeadCount,
          headStride: period, period: period < capacity ? period : .max))
    }
    own = [[KeyValueRun]](repeating: [], count: maximumRows)
    spare = own
    segment = AttentionSegment(
      rows: 0..<0, layers: UnsafePointer(layers), writes: [], plan: AttentionPlan(sharedRuns: []))
  }

  deinit {
    munmap(base, byteCount)
    layers.deallocate()
  }

  /// Bytes that the positions filled take, of all rows, as long as these have nothing beyond the trunk in common.
  public var usedByteCount: Int {
    let perPosition = types.byteCount(shape)
    let others = max(0, rowCount - 1)
    var bytes = 0
    for index in 0..<layerCount {
      let kept = min(length, layers[index].period)
      bytes += perPosition * (kept + others * min(length - trunk, kept))
    }
    return bytes
  }

  /// Forgets everything and gives the memory back to the system.
  public func removeAll() {
    length = 0
    rowCount = 0
    trunk = 0
    highWater = 0
    for row in own.indices { own[row].removeAll(keepingCapacity: true) }
    madvise(base, byteCount, MADV_DONTNEED)
  }

  /// Whether a single row's positions from a length on can be forgotten: where a layer keeps the latest positions only, those
  /// that the tokens after that length would see may be gone.
  func canTruncate(to newLength: Int) -> Bool {
    guard newLength > 0, newLength < length else { return true }
    for index in 0..<layerCount where layers[index].period != .max {
      let window = windows[index] ?? capacity
      let first = max(0, newLength - window + 1)
      if first + layers[index].period < highWater { return false }
    }
    return true
  }

  /// Forgets the positions of a single row from a length on.
  /// - Precondition: `canTruncate(to:)`.
  func truncate(to newLength: Int) {
    precondition(rowCount <= 1, "one row can be shortened, there are \(rowCount)")
    precondition((0...length).contains(newLength), "\(newLength) of \(length) positions")
    precondition(canTruncate(to: newLength), "what \(newLength) of \(length) positions see is gone")
    if newLength == 0 { return removeAll() }
    length = newLength
    trunk = newLength
  }

  /// Makes room for `count` positions of a single row, which follow one another in a forward pass.
  ///
  /// - Returns: where their keys and values go, and what each of them attends to; `rows` is for the caller to set.
  func appendPositions(_ count: Int) -> AttentionSegment {
    precondition(rowCount <= 1, "a prompt goes to one row, there are \(rowCount)")
    precondition(length + count <= capacity, "\(length) + \(count) positions in a cache of \(capacity)")
    rowCount = 1
    setWrites(1) { _ in KeyValueRun(slot: 0, start: length, count: count) }
    length += count
    trunk = length
    highWater = max(highWater, length)
    setPlan(isCausal: true)
    return segment
  }

  /// Makes room for one more position of every row.
  ///
  /// - Returns: where the rows' keys and values go, and what each of them attends to; `rows` is for the caller to set.
  func appendStep() -> AttentionSegment {
    precondition(length < capacity, "a cache of \(capacity) positions is full")
    setWrites(rowCount) { KeyValueRun(slot: $0, start: length, count: 1) }
    if rowCount == 1 {
      trunk += 1
    } else {
      // No row but this one has anything at that position yet: every slot is free there.
      for row in 0..<rowCount {
        let last = own[row].count - 1
        if last >= 0, own[row][last].slot == row {
          own[row][last].count += 1
        } else {
          own[row].append(KeyValueRun(slot: row, start: length, count: 1))
        }
      }
    }
    length += 1
    highWater = max(highWater, length)
    setPlan(isCausal: false)
    return segment
  }

  /// Makes row *i* what row `parents[i]` was.
  func select(parents: [Int]) {
    precondition(parents.count <= maximumRows, "\(parents.count) rows in a cache for \(maximumRows)")
    for (row, parent) in parents.enumerated() {
      precondition(parent >= 0 && parent < rowCount, "row \(parent) of \(rowCount)")
      spare[row].removeAll(keepingCapacity: true)
      spare[row].append(contentsOf: own[parent])
    }
    swap(&own, &spare)
    rowCount = parents.count
    if trunk < length { extendTrunk() }
  }

  // MARK: Parts

  private func setWrites(_ count: Int, _ run: (Int) -> KeyValueRun) {
    segment.writes.removeAll(keepingCapacity: true)
    for row in 0..<count { segment.writes.append(run(row)) }
  }

  private func setPlan(isCausal: Bool) {
    segment.plan.isCausal = isCausal
    segment.plan.sharedRuns.removeAll(keepingCapacity: true)
    if trunk > 0 { segment.plan.sharedRuns.append(KeyValueRun(slot: 0, start: 0, count: trunk)) }
    segment.plan.ownRuns.removeAll(keepingCapacity: true)
    segment.plan.ownRunStarts.removeAll(keepingCapacity: true)
    guard trunk < length else { return }
    segment.plan.ownRunStarts.append(0)
    for row in 0..<rowCount {
      segment.plan.ownRuns.append(contentsOf: own[row])
      segment.plan.ownRunStarts.append(segment.plan.ownRuns.count)
    }
  }

  /// Moves to the trunk what all rows have in common beyond it.
  ///
  /// The trunk's positions are free in slot 0 unless they lie there: every row has them elsewhere.
  private func extendTrunk() {
    while let first = own[0].first {
      var count = first.count
      for row in 1..<max(1, rowCount) {
        guard let other = own[row].first, other.slot == first.slot, other.start == first.start else {
          count = 0
          break
        }
        count = min(count, other.count)
      }
      guard count > 0 else { return }
      if first.slot != 0 { move(first.start..<first.start + count, from: first.slot) }
      trunk += count
      for row in 0..<rowCount {
        if own[row][0].count == count {
          own[row].removeFirst()
        } else {
          own[row][0].start += count
          own[row][0].count -= count
        }
      }
    }
  }

  /// Copies positions from a slot to slot 0, in every layer.
  private func move(_ positions: Range<Int>, from slot: Int) {
    let sizes = [
      types.keys.byteCount(dimension: shape.headDimension),
      types.values.byteCount(dimension: shape.headDimension),
    ]
    for index in 0..<layerCount {
      let layer = layers[index]
      for (memory, size) in zip([layer.keys, layer.values], sizes) {
        for head in 0..<shape.keyValueHeadCount {
          // Where the latest positions are kept, older ones must not take their places.
          let first =
            layer.period == .max ? positions.lowerBound : max(positions.lowerBound, length - layer.period)
          var position = first
          while position < positions.upperBound {
            let within = layer.period == .max ? position : position % layer.period
            let count = min(positions.upperBound - position, layer.period - within)
            let place = head * layer.headStride + within
            memcpy(
              memory + place * size, memory + (slot * layer.slotStride + place) * size, count * size)
            position += count
          }
        }
      }
    }
  }

  // MARK: Contents, for files

  /// Channels of a head.
  var headDimension: Int { shape.headDimension }

  /// Declares what was written to slot 0 to be the single row.
  func setSingleRow(length: Int, highWater: Int) {
    precondition(rowCount == 0 && length <= capacity, "\(length) positions in a cache of \(capacity)")
    self.length = length
    self.highWater = highWater
    trunk = length
    rowCount = 1
  }
}
