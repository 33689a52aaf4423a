/// Pairs of tokens that may be merged, the best first: the highest count, then the smallest pair.
///
/// An entry's count is the one it was queued with; whether it is still right is the caller's to see.
struct PairQueue {
  struct Entry {
    /// Compared unsigned, as `tokenizers` does: a count below zero is the highest of all.
    var count: UInt64
    /// The left token in the upper half.
    var pair: UInt64
    /// Where the words are: an offset into the positions, or the word itself when there is only one.
    var start: Int
    var length: UInt32
    /// Which of several entries of a pair was made first.
    var sequence: UInt32

    @inline(__always)
    func precedes(_ other: Entry) -> Bool {
      if count != other.count { return count > other.count }
      if pair != other.pair { return pair < other.pair }
      return sequence < other.sequence
    }
  }

  /// A heap with four children per node: half the levels of a binary one, and siblings share cache lines.
  private(set) var entries: UnsafeMutablePointer<Entry>
  private(set) var count = 0
  private var capacity = 1 << 10

  init() { entries = .allocate(capacity: capacity) }

  func deallocate() { entries.deallocate() }

  mutating func push(_ entry: Entry) {
    if count == capacity {
      capacity *= 2
      entries = grow(entries, to: capacity)
    }
    var at = count
    count += 1
    while at > 0 {
      let parent = (at &- 1) &>> 2
      if !entry.precedes(entries[parent]) { break }
      entries[at] = entries[parent]
      at = parent
    }
    entries[at] = entry
  }

  /// The best entry, which stays.
  var first: Entry? { count > 0 ? entries[0] : nil }

  mutating func removeFirst() {
    count -= 1
    if count > 0 { sift(entries[count]) }
  }

  /// Puts another entry in the place of the best.
  mutating func replaceFirst(_ entry: Entry) { sift(entry) }

  private mutating func sift(_ entry: Entry) {
    var at = 0
    while true {
      // Safe: children are compared only below `count`.
      let child = at &* 4 &+ 1
      if child >= count { break }
      var best = child
      var next = child &+ 1
      let end = min(child &+ 4, count)
      while next < end {
        if entries[next].precedes(entries[best]) { best = next }
        next &+= 1
      }
      if !entries[best].precedes(entry) { break }
      entries[at] = entries[best]
      at = best
    }
    entries[at] = entry
  }
}

/// How often each pair of tokens occurs.
struct PairCounts {
  private var keys: UnsafeMutablePointer<UInt64>
  private var values: UnsafeMutablePointer<Int>
  private var mask: Int
  private var count = 0

  private static let free = UInt64.max

  init() {
    mask = (1 << 12) - 1
    keys = .allocate(capacity: mask + 1)
    keys.initialize(repeating: PairCounts.free, count: mask + 1)
    values = .allocate(capacity: mask + 1)
  }

  func deallocate() {
    keys.deallocate()
    values.deallocate()
  }

  @inline(__always)
  private func slot(_ pair: UInt64) -> Int {
    let product = pair.multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
    var slot = Int(truncatingIfNeeded: product.high ^ product.low) & mask
    while keys[slot] != pair, keys[slot] != PairCounts.free { slot = (slot &+ 1) & mask }
    return slot
  }

  /// The count of a pair; 0 when it never occurred.
  subscript(_ pair: UInt64) -> Int {
    let slot = slot(pair)
    return keys[slot] == pair ? values[slot] : 0
  }

  /// Changes the count of a pair.
  mutating func add(_ change: Int, to pair: UInt64) {
    let slot = slot(pair)
    if keys[slot] == pair {
      values[slot] += change
    } else {
      keys[slot] = pair
      values[slot] = change
      count += 1
      if 3 * count > 2 * mask { rehash() }
    }
  }

  /// Lowers the count of a pair that was counted; one that never was stays unknown.
  mutating func subtract(_ change: Int, from pair: UInt64) {
    let slot = slot(pair)
    if keys[slot] == pair { values[slot] -= change }
  }

  private mutating func rehash() {
    let (oldKeys, oldValues, oldSize) = (keys, values, mask + 1)
    mask = 2 * mask + 1
    keys = .allocate(capacity: mask + 1)
    keys.initialize(repeating: PairCounts.free, count: mask + 1)
    values = .allocate(capacity: mask + 1)
    for index in 0..<oldSize where oldKeys[index] != PairCounts.free {
      let slot = slot(oldKeys[index])
      keys[slot] = oldKeys[index]
      values[slot] = oldValues[index]
    }
    oldKeys.deallocate()
    oldValues.deallocate()
  }
}
