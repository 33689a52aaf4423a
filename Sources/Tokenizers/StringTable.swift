/// Byte strings with a 32-bit value each: an arena and an open-addressing index.
///
/// Made for vocabularies: no object and no reference count per string, one probe per look-up as a rule.
/// Written only while building and read-only afterwards, hence safe to share.
final class StringTable: @unchecked Sendable {
  private struct Entry {
    var start: UInt32
    var count: UInt32
    var value: UInt32
  }

  private var arena: UnsafeMutablePointer<UInt8>
  private var arenaCount = 0
  private var arenaCapacity: Int
  private var entries: UnsafeMutablePointer<Entry>
  private var entryCapacity: Int
  /// (upper half of the hash, entry + 1); 0 is free.
  private var slots: UnsafeMutablePointer<UInt64>
  private var mask: Int
  /// Entries, repeated keys counted once.
  private(set) var count = 0

  private static let tagMask: UInt64 = 0xFFFF_FFFF_0000_0000

  /// Reserves room for so many strings.
  init(capacity: Int, bytes: Int = 0) {
    var size = 16
    while 2 * size < 3 * capacity { size *= 2 }
    slots = .allocate(capacity: size)
    slots.initialize(repeating: 0, count: size)
    mask = size - 1
    entryCapacity = max(16, capacity)
    entries = .allocate(capacity: entryCapacity)
    arenaCapacity = max(64, bytes)
    arena = .allocate(capacity: arenaCapacity)
  }

  deinit {
    slots.deallocate()
    entries.deallocate()
    arena.deallocate()
  }

  /// Mixes eight bytes at a time; not meant to resist an adversary.
  @inline(__always)
  static func hash(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt64 {
    var state = UInt64(truncatingIfNeeded: count) &* 0x9E37_79B9_7F4A_7C15
    let raw = UnsafeRawPointer(bytes)
    var at = 0
    while at &+ 8 <= count {
      state = mix(state ^ raw.loadUnaligned(fromByteOffset: at, as: UInt64.self))
      at &+= 8
    }
    if at < count {
      var tail: UInt64 = 0
      var shift: UInt64 = 0
      while at < count {
        tail |= UInt64(bytes[at]) &<< shift
        shift &+= 8
        at &+= 1
      }
      state = mix(state ^ tail)
    }
    return state
  }

  @inline(__always)
  private static func mix(_ value: UInt64) -> UInt64 {
    let product = value.multipliedFullWidth(by: 0xD6E8_FEB8_6659_FD93)
    return product.high ^ product.low ^ value
  }

  /// The slot of a string: taken by it, or free.
  @inline(__always)
  private func slot(_ bytes: UnsafePointer<UInt8>, _ count: Int, _ hash: UInt64) -> Int {
    let tag = hash & StringTable.tagMask
    var slot = Int(truncatingIfNeeded: hash) & mask
    while true {
      let found = slots[slot]
      if found == 0 { return slot }
      if found & StringTable.tagMask == tag {
        // Safe: a taken slot names an entry below `count`, whose bytes lie in the arena.
        let entry = entries[Int(truncatingIfNeeded: found & ~StringTable.tagMask) &- 1]
        if Int(entry.count) == count {
          let stored = arena + Int(entry.start)
          var at = 0
          while at < count, stored[at] == bytes[at] { at &+= 1 }
          if at == count { return slot }
        }
      }
      slot = (slot &+ 1) & mask
    }
  }

  /// The value of a string.
  @inline(__always)
  func find(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt32? {
    let found = slots[slot(bytes, count, StringTable.hash(bytes, count))]
    return found == 0 ? nil : entries[Int(truncatingIfNeeded: found & ~StringTable.tagMask) &- 1].value
  }

  /// The value of a string.
  func find(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt32? {
    // An empty buffer may have no address; the arena's will do, as nothing is read.
    find(bytes.baseAddress ?? UnsafePointer(arena), bytes.count)
  }

  /// Adds a string, or gives the one that is there a new value; returns the value it had.
  @discardableResult
  func insert(_ bytes: UnsafeBufferPointer<UInt8>, _ value: UInt32) -> UInt32? {
    if 3 * (count + 1) > 2 * (mask + 1) { rehash() }
    let base = bytes.baseAddress ?? UnsafePointer(arena)
    let hash = StringTable.hash(base, bytes.count)
    let slot = slot(base, bytes.count, hash)
    if slots[slot] != 0 {
      let index = Int(slots[slot] & ~StringTable.tagMask) - 1
      defer { entries[index].value = value }
      return entries[index].value
    }
    reserve(bytes.count)
    if let source = bytes.baseAddress { (arena + arenaCount).update(from: source, count: bytes.count) }
    entries[count] = Entry(start: UInt32(arenaCount), count: UInt32(bytes.count), value: value)
    arenaCount += bytes.count
    count += 1
    slots[slot] = hash & StringTable.tagMask | UInt64(count)
    return nil
  }

  /// The bytes of an entry in the order of insertion.
  func withEntry<Result>(_ index: Int, _ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
    precondition(index >= 0 && index < count, "entry \(index) of \(count)")
    return body(
      UnsafeBufferPointer(start: arena + Int(entries[index].start), count: Int(entries[index].count)))
  }

  /// The bytes of an entry in the order of insertion; valid as long as the table, and until the next insertion.
  func bytes(ofEntry index: Int) -> UnsafeBufferPointer<UInt8> {
    precondition(index >= 0 && index < count, "entry \(index) of \(count)")
    return UnsafeBufferPointer(start: arena + Int(entries[index].start), count: Int(entries[index].count))
  }

  /// The value of an entry in the order of insertion.
  func value(ofEntry index: Int) -> UInt32 {
    precondition(index >= 0 && index < count, "entry \(index) of \(count)")
    return entries[index].value
  }

  /// Makes room for one more entry of so many bytes.
  private func reserve(_ bytes: Int) {
    if count == entryCapacity {
      let larger = UnsafeMutablePointer<Entry>.allocate(capacity: 2 * entryCapacity)
      larger.update(from: entries, count: count)
      entries.deallocate()
      entries = larger
      entryCapacity *= 2
    }
    if arenaCount + bytes > arenaCapacity {
      let capacity = max(2 * arenaCapacity, arenaCount + bytes)
      let larger = UnsafeMutablePointer<UInt8>.allocate(capacity: capacity)
      larger.update(from: arena, count: arenaCount)
      arena.deallocate()
      arena = larger
      arenaCapacity = capacity
    }
  }

  private func rehash() {
    let size = 2 * (mask + 1)
    slots.deallocate()
    slots = .allocate(capacity: size)
    slots.initialize(repeating: 0, count: size)
    mask = size - 1
    for index in 0..<count {
      let hash = StringTable.hash(arena + Int(entries[index].start), Int(entries[index].count))
      var slot = Int(truncatingIfNeeded: hash) & mask
      while slots[slot] != 0 { slot = (slot + 1) & mask }
      slots[slot] = hash & StringTable.tagMask | UInt64(index + 1)
    }
  }
}
