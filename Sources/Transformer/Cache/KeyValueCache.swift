import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Keys and values of past positions, in virtual memory that costs what is used of it.
///
/// Storage is (layer, K|V, slot, head, position, channel). A sequence is not tied to a slot: `origins`
/// says, for each row and position, which slot holds it. When beams are reordered only that small table
/// changes, and what rows have in common (the prompt, the trunk of the beams) exists once.
public final class KeyValueCache {
  /// Positions that a row can hold.
  public let capacity: Int
  /// Rows that can be held at once.
  public let maximumRows: Int
  /// Rows in use.
  public private(set) var rowCount = 0
  /// Positions filled, the same for all rows.
  public private(set) var length = 0

  private let layerCount: Int
  private let slotStride: Int
  private let headStride: Int
  private let layerStride: Int
  private let byteCount: Int
  private let base: UnsafeMutablePointer<Float>

  /// (maximumRows, capacity): the slot of each row's positions.
  private var origins: [UInt16]
  private var spare: [UInt16]

  /// Reserves address space; no page of it costs memory before it is written.
  ///
  /// - Throws: `DecoderError.memory` when even the address space is refused.
  public init(
    layerCount: Int, shape: AttentionShape, capacity: Int, maximumRows: Int
  ) throws {
    precondition(capacity > 0 && maximumRows > 0 && maximumRows <= Int(UInt16.max))
    self.capacity = capacity
    self.maximumRows = maximumRows
    self.layerCount = layerCount
    let extents = [shape.headDimension, capacity, shape.keyValueHeadCount, maximumRows, 2, layerCount, 4]
    var total = 1
    for extent in extents {
      let (product, overflow) = total.multipliedReportingOverflow(by: extent)
      guard !overflow else { throw DecoderError.memory(bytes: .max, purpose: "the KV cache") }
      total = product
    }
    headStride = capacity * shape.headDimension
    slotStride = headStride * shape.keyValueHeadCount
    layerStride = slotStride * maximumRows
    byteCount = max(total, 1)
    #if os(Linux)
      let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    #else
      let flags = MAP_PRIVATE | MAP_ANON
    #endif
    guard let memory = mmap(nil, byteCount, PROT_READ | PROT_WRITE, flags, -1, 0), memory != MAP_FAILED else {
      throw DecoderError.memory(bytes: byteCount, purpose: "the KV cache")
    }
    base = memory.bindMemory(to: Float.self, capacity: max(total / 4, 1))
    origins = [UInt16](repeating: 0, count: maximumRows * capacity)
    spare = origins
  }

  deinit { munmap(base, byteCount) }

  /// The storage of one layer.
  public func layer(_ index: Int) -> KeyValueLayer {
    precondition(index < layerCount)
    let keys = base + 2 * index * layerStride
    return KeyValueLayer(
      keys: keys, values: keys + layerStride, slotStride: slotStride, headStride: headStride)
  }

  /// Forgets everything and gives the memory back to the system.
  public func removeAll() {
    length = 0
    rowCount = 0
    madvise(base, byteCount, MADV_DONTNEED)
  }

  /// Forgets the positions of a single row from a length on.
  func truncate(to newLength: Int) {
    precondition(rowCount <= 1, "one row can be shortened, there are \(rowCount)")
    precondition((0...length).contains(newLength), "\(newLength) of \(length) positions")
    if newLength == 0 { removeAll() } else { length = newLength }
  }

  /// Makes room for `count` positions of a single row.
  ///
  /// - Returns: where their keys and values go, and what each of them attends to.
  func appendPositions(_ count: Int) -> (writes: [KeyValueRun], plan: AttentionPlan) {
    precondition(rowCount <= 1, "a prompt goes to one row, there are \(rowCount)")
    precondition(length + count <= capacity, "\(length) + \(count) positions in a cache of \(capacity)")
    rowCount = 1
    for position in length..<length + count { origins[position] = 0 }
    let write = KeyValueRun(slot: 0, start: length, count: count)
    length += count
    return ([write], AttentionPlan(sharedRuns: runs(of: 0, in: 0..<length), isCausal: true))
  }

  /// Makes room for one more position of every row.
  ///
  /// - Returns: where the rows' keys and values go, and what each of them attends to.
  func appendStep() -> (writes: [KeyValueRun], plan: AttentionPlan) {
    precondition(length < capacity, "a cache of \(capacity) positions is full")
    for row in 0..<rowCount { origins[row * capacity + length] = UInt16(row) }
    let writes = (0..<rowCount).map { KeyValueRun(slot: $0, start: length, count: 1) }
    length += 1
    let trunk = commonLength()
    var own: [KeyValueRun] = []
    var starts = [0]
    for row in 0..<rowCount {
      own += runs(of: row, in: trunk..<length)
      starts.append(own.count)
    }
    return (
      writes,
      AttentionPlan(
        sharedRuns: runs(of: 0, in: 0..<trunk), ownRuns: own, ownRunStarts: trunk == length ? [] : starts)
    )
  }

  /// Makes row *i* what row `parents[i]` was.
  func select(parents: [Int]) {
    precondition(parents.count <= maximumRows, "\(parents.count) rows in a cache for \(maximumRows)")
    for (row, parent) in parents.enumerated() {
      precondition(parent >= 0 && parent < rowCount, "row \(parent) of \(rowCount)")
      spare.replaceSubrange(
        row * capacity..<row * capacity + length,
        with: origins[parent * capacity..<parent * capacity + length])
    }
    swap(&origins, &spare)
    rowCount = parents.count
  }

  /// Positions from the start that all rows have in the same slot.
  private func commonLength() -> Int {
    guard rowCount > 1 else { return length }
    for position in 0..<length {
      let slot = origins[position]
      for row in 1..<rowCount where origins[row * capacity + position] != slot { return position }
    }
    return length
  }

  /// A row's positions as runs of one slot each.
  private func runs(of row: Int, in positions: Range<Int>) -> [KeyValueRun] {
    var runs: [KeyValueRun] = []
    for position in positions {
      let slot = Int(origins[row * capacity + position])
      if let last = runs.indices.last, runs[last].slot == slot {
        runs[last].count += 1
      } else {
        runs.append(KeyValueRun(slot: slot, start: position, count: 1))
      }
    }
    return runs
  }
}
