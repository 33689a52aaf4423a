/// The merges of a byte-pair encoding: (left, right) → (rank, merged token), by open addressing.
final class MergeTable: @unchecked Sendable {
  /// What a pair of tokens becomes.
  struct Merge: Equatable {
    /// The place in the list of merges, lower ones applied first; `UInt32.max` where there is no merge.
    var rank: UInt32
    /// The token that replaces the pair.
    var token: UInt32

    static let none = Merge(rank: .max, token: 0)
  }

  // Safe to share: written only while building. Slots are (key, rank << 32 | token); a free slot has a
  // value of all ones, which no merge has because ranks stay below 2^32 − 1.
  private let slots: UnsafeMutablePointer<(key: UInt64, value: UInt64)>
  /// One bit for each of eight hash values per slot.
  ///
  /// Most pairs never merge, and this tells so from a memory small enough for the processor's cache.
  private let filter: UnsafeMutablePointer<UInt64>
  private let size: Int
  private let shift: UInt64

  /// Reserves room for so many merges; no more may be inserted.
  init(capacity: Int) {
    var bits: UInt64 = 4
    while (1 << bits) * 2 < capacity * 3 { bits += 1 }
    size = 1 << bits
    shift = 64 - bits
    slots = .allocate(capacity: size)
    slots.initialize(repeating: (0, .max), count: size)
    filter = .allocate(capacity: size / 8)
    filter.initialize(repeating: 0, count: size / 8)
  }

  deinit {
    slots.deallocate()
    filter.deallocate()
  }

  /// The place of a key in the filter; without its lower three bits, the place in the slots.
  @inline(__always)
  private func home(_ key: UInt64) -> Int {
    let mixed = (key ^ (key &>> 29)) &* 0x9E37_79B9_7F4A_7C15
    return Int(truncatingIfNeeded: mixed &>> (shift &- 3))
  }

  /// Adds a merge; a pair that is already there takes the new one, as a hash map would.
  func insert(_ left: UInt32, _ right: UInt32, _ merge: Merge) {
    let key = UInt64(left) << 32 | UInt64(right)
    let home = home(key)
    filter[home >> 6] |= 1 << UInt64(home & 63)
    var slot = home >> 3
    while slots[slot].value != .max, slots[slot].key != key { slot = (slot + 1) & (size - 1) }
    slots[slot] = (key, UInt64(merge.rank) << 32 | UInt64(merge.token))
  }

  /// All merges, the lowest rank first.
  func sorted() -> [(left: UInt32, right: UInt32, merge: Merge)] {
    (0..<size).filter { slots[$0].value != .max }.map { slot in
      let (key, value) = slots[slot]
      let merge = Merge(rank: UInt32(value >> 32), token: UInt32(truncatingIfNeeded: value))
      return (UInt32(key >> 32), UInt32(truncatingIfNeeded: key), merge)
    }.sorted { $0.merge.rank < $1.merge.rank }
  }

  /// The merge of two neighbours, `.none` when they never merge.
  @inline(__always)
  func find(_ left: UInt32, _ right: UInt32) -> Merge {
    let key = UInt64(left) &<< 32 | UInt64(right)
    let home = home(key)
    if filter[home &>> 6] &>> UInt64(home & 63) & 1 == 0 { return .none }
    var slot = home &>> 3
    while true {
      let (stored, value) = slots[slot]
      if value == .max { return .none }
      if stored == key {
        return Merge(
          rank: UInt32(truncatingIfNeeded: value &>> 32), token: UInt32(truncatingIfNeeded: value))
      }
      slot = (slot &+ 1) & (size &- 1)
    }
  }
}
