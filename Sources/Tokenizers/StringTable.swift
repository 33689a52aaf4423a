/// Byte strings with a 32-bit value each: an arena and an open-addressing index.
///
/// Made for vocabularies: no object and no reference count per string, one probe per look-up as a rule.
final class StringTable: @unchecked Sendable {
  // Written only while building; read-only afterwards, hence safe to share.
  private var arena: [UInt8] = []
  private var starts: [UInt32] = [0]
  private var values: [UInt32] = []
  /// (upper half of the hash, entry + 1); 0 is free.
  private var slots: [UInt64]
  private var mask: Int

  /// Reserves room for so many strings.
  init(capacity: Int, bytes: Int = 0) {
    var size = 16
    while size < capacity + capacity / 2 { size *= 2 }
    slots = [UInt64](repeating: 0, count: size)
    mask = size - 1
    starts.reserveCapacity(capacity + 1)
    values.reserveCapacity(capacity)
    arena.reserveCapacity(bytes)
  }

  /// Entries, repeated keys counted once.
  var count: Int { values.count }

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

  /// The value of a string.
  @inline(__always)
  func find(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt32? {
    let hash = StringTable.hash(bytes, count)
    let tag = hash & 0xFFFF_FFFF_0000_0000
    var slot = Int(truncatingIfNeeded: hash) & mask
    while true {
      let entry = slots[slot]
      if entry == 0 { return nil }
      if entry & 0xFFFF_FFFF_0000_0000 == tag {
        let index = Int(truncatingIfNeeded: entry & 0xFFFF_FFFF) - 1
        if equals(index, bytes, count) { return values[index] }
      }
      slot = (slot &+ 1) & mask
    }
  }

  /// The value of a string.
  func find(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt32? {
    guard let base = bytes.baseAddress else { return find("") }
    return find(base, bytes.count)
  }

  /// The value of a string.
  func find(_ text: String) -> UInt32? {
    var text = text
    return text.withUTF8 { bytes in
      withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 1) {
        find(bytes.baseAddress ?? UnsafePointer($0.baseAddress!), bytes.count)
      }
    }
  }

  /// Adds a string, or gives the one that is there a new value; returns the value it had.
  @discardableResult
  func insert(_ bytes: UnsafeBufferPointer<UInt8>, _ value: UInt32) -> UInt32? {
    if 3 * (values.count + 1) > 2 * slots.count { grow() }
    return withUnsafeTemporaryAllocation(of: UInt8.self, capacity: 1) { empty in
      let base = bytes.baseAddress ?? UnsafePointer(empty.baseAddress!)
      let hash = StringTable.hash(base, bytes.count)
      let tag = hash & 0xFFFF_FFFF_0000_0000
      var slot = Int(truncatingIfNeeded: hash) & mask
      while slots[slot] != 0 {
        if slots[slot] & 0xFFFF_FFFF_0000_0000 == tag {
          let index = Int(truncatingIfNeeded: slots[slot] & 0xFFFF_FFFF) - 1
          if equals(index, base, bytes.count) {
            defer { values[index] = value }
            return values[index]
          }
        }
        slot = (slot + 1) & mask
      }
      values.append(value)
      slots[slot] = tag | UInt64(values.count)
      arena.append(contentsOf: bytes)
      starts.append(UInt32(arena.count))
      return nil
    }
  }

  /// The bytes of an entry in the order of insertion.
  func withEntry<Result>(_ index: Int, _ body: (UnsafeBufferPointer<UInt8>) -> Result) -> Result {
    arena.withUnsafeBufferPointer {
      body(UnsafeBufferPointer(rebasing: $0[Int(starts[index])..<Int(starts[index + 1])]))
    }
  }

  /// The value of an entry in the order of insertion.
  func value(at index: Int) -> UInt32 { values[index] }

  @inline(__always)
  private func equals(_ index: Int, _ bytes: UnsafePointer<UInt8>, _ count: Int) -> Bool {
    let start = Int(starts[index])
    guard Int(starts[index &+ 1]) &- start == count else { return false }
    return arena.withUnsafeBufferPointer {
      // Safe: an entry lies within the arena; an empty one compares nothing.
      guard count > 0, let base = $0.baseAddress else { return true }
      let stored = base + start
      for at in 0..<count where stored[at] != bytes[at] { return false }
      return true
    }
  }

  private func grow() {
    let size = slots.count * 2
    slots = [UInt64](repeating: 0, count: size)
    mask = size - 1
    for index in values.indices {
      let hash = withEntry(index) { bytes in
        bytes.baseAddress.map { StringTable.hash($0, bytes.count) } ?? 0
      }
      var slot = Int(truncatingIfNeeded: hash) & mask
      while slots[slot] != 0 { slot = (slot + 1) & mask }
      slots[slot] = hash & 0xFFFF_FFFF_0000_0000 | UInt64(index + 1)
    }
  }
}
