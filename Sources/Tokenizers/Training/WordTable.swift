/// Distinct words and how often each occurred: an arena and an open-addressing index.
///
/// Memory is the words' bytes and 40 bytes per distinct word, whatever the length of the text.
final class WordTable: @unchecked Sendable {
  // Safe: one thread at a time adds to a table, and none does while others read it.

  struct Entry {
    var start: Int
    var length: UInt32
    var tag: UInt32
    var count: Int
  }

  private(set) var entries: UnsafeMutablePointer<Entry>
  private(set) var count = 0
  private var capacity: Int
  private(set) var arena: UnsafeMutablePointer<UInt8>
  private(set) var arenaCount = 0
  private var arenaCapacity: Int
  /// Entry + 1; 0 is free.
  private var slots: UnsafeMutablePointer<UInt32>
  private var mask: Int
  /// Occurrences of all words.
  private(set) var total = 0

  init() {
    capacity = 1 << 10
    entries = .allocate(capacity: capacity)
    arenaCapacity = 1 << 14
    arena = .allocate(capacity: arenaCapacity)
    mask = (1 << 12) - 1
    slots = .allocate(capacity: mask + 1)
    slots.initialize(repeating: 0, count: mask + 1)
  }

  deinit {
    entries.deallocate()
    arena.deallocate()
    slots.deallocate()
  }

  /// The bytes of a word.
  func bytes(_ index: Int) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(start: arena + entries[index].start, count: Int(entries[index].length))
  }

  /// Counts a word that is not empty.
  @inline(__always)
  func add(_ word: UnsafePointer<UInt8>, _ length: Int, times: Int = 1) {
    total &+= times
    let hash = StringTable.hash(word, length)
    // The upper half tells words apart, the lower half finds the slot.
    let tag = UInt32(truncatingIfNeeded: hash &>> 32)
    var slot = Int(truncatingIfNeeded: hash) & mask
    while true {
      let found = slots[slot]
      if found == 0 { break }
      // Safe: a taken slot names an entry below `count`, whose bytes lie in the arena.
      let entry = entries + Int(found &- 1)
      if entry.pointee.tag == tag, Int(entry.pointee.length) == length,
        WordTable.areEqual(arena + entry.pointee.start, word, length)
      {
        entry.pointee.count &+= times
        return
      }
      slot = (slot &+ 1) & mask
    }
    insert(word, length, tag, times, slot)
  }

  /// Lets go of the words; `total` stays.
  func removeWords() {
    entries.deallocate()
    arena.deallocate()
    slots.deallocate()
    count = 0
    arenaCount = 0
    capacity = 1 << 10
    entries = .allocate(capacity: capacity)
    arenaCapacity = 1 << 14
    arena = .allocate(capacity: arenaCapacity)
    mask = (1 << 12) - 1
    slots = .allocate(capacity: mask + 1)
    slots.initialize(repeating: 0, count: mask + 1)
  }

  /// Adds the words of another table.
  func add(_ other: WordTable) {
    for index in 0..<other.count {
      let entry = other.entries[index]
      add(other.arena + entry.start, Int(entry.length), times: entry.count)
    }
  }

  @inline(__always)
  private static func areEqual(
    _ left: UnsafePointer<UInt8>, _ right: UnsafePointer<UInt8>, _ count: Int
  ) -> Bool {
    var at = 0
    while at &+ 8 <= count {
      // Safe: eight bytes are left in both.
      let x = UnsafeRawPointer(left + at).loadUnaligned(as: UInt64.self)
      let y = UnsafeRawPointer(right + at).loadUnaligned(as: UInt64.self)
      if x != y { return false }
      at &+= 8
    }
    while at < count {
      if left[at] != right[at] { return false }
      at &+= 1
    }
    return true
  }

  @inline(never)
  private func insert(
    _ word: UnsafePointer<UInt8>, _ length: Int, _ tag: UInt32, _ times: Int, _ slot: Int
  ) {
    if count == capacity {
      capacity *= 2
      entries = grow(entries, to: capacity)
    }
    if arenaCount + length > arenaCapacity {
      arenaCapacity = max(2 * arenaCapacity, arenaCount + length)
      arena = grow(arena, to: arenaCapacity)
    }
    precondition(count < Int(UInt32.max) - 1, "more than 4294967294 distinct words")
    (arena + arenaCount).initialize(from: word, count: length)
    entries[count] = Entry(start: arenaCount, length: UInt32(length), tag: tag, count: times)
    arenaCount += length
    count += 1
    slots[slot] = UInt32(count)
    if 2 * count > mask { rehash() }
  }

  private func rehash() {
    mask = 2 * mask + 1
    slots.deallocate()
    slots = .allocate(capacity: mask + 1)
    slots.initialize(repeating: 0, count: mask + 1)
    for index in 0..<count {
      let entry = entries[index]
      var slot = Int(truncatingIfNeeded: StringTable.hash(arena + entry.start, Int(entry.length))) & mask
      while slots[slot] != 0 { slot = (slot &+ 1) & mask }
      slots[slot] = UInt32(index + 1)
    }
  }
}
