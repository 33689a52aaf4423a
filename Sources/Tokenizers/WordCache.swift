/// Remembers the tokens of recent words.
///
/// Direct-mapped and bounded: a new word takes the slot of the old one, and when the arenas are full all is
/// forgotten. Not shared between threads; each encoding borrows one.
struct WordCache {
  /// Longer words are not worth remembering: they hardly recur.
  static let maximumWord = 64
  private static let slotBits: UInt64 = 15
  private static let arenaLimit = 1 << 21

  private struct Slot {
    var hash: UInt64 = 0
    var bytes: UInt32 = 0
    var tokens: UInt32 = 0
    var byteCount: UInt16 = 0  // 0 in a free slot: no word is empty
    var tokenCount: UInt16 = 0
  }

  private var slots = [Slot](repeating: Slot(), count: 1 << WordCache.slotBits)
  private var bytes: [UInt8] = []
  private var tokens: [UInt32] = []

  /// Appends the tokens of a word when it is remembered.
  @inline(__always)
  func append(_ word: UnsafePointer<UInt8>, _ count: Int, _ hash: UInt64, to out: inout [UInt32]) -> Bool {
    let slot = slots.withUnsafeBufferPointer {
      $0[Int(truncatingIfNeeded: hash &>> (64 &- WordCache.slotBits))]
    }
    guard slot.hash == hash, Int(slot.byteCount) == count else { return false }
    let same = bytes.withUnsafeBufferPointer { stored in
      for at in 0..<count where stored[Int(slot.bytes) &+ at] != word[at] { return false }
      return true
    }
    guard same else { return false }
    tokens.withUnsafeBufferPointer { stored in
      for at in 0..<Int(slot.tokenCount) { out.append(stored[Int(slot.tokens) &+ at]) }
    }
    return true
  }

  /// Remembers a word of 1 to `maximumWord` bytes.
  mutating func insert(
    _ word: UnsafePointer<UInt8>, _ count: Int, _ hash: UInt64, tokens new: ArraySlice<UInt32>
  ) {
    guard new.count <= Int(UInt16.max) else { return }
    if bytes.count + count > WordCache.arenaLimit || tokens.count + new.count > WordCache.arenaLimit {
      slots.withUnsafeMutableBufferPointer { $0.update(repeating: Slot()) }
      bytes.removeAll(keepingCapacity: true)
      tokens.removeAll(keepingCapacity: true)
    }
    slots[Int(truncatingIfNeeded: hash >> (64 - WordCache.slotBits))] = Slot(
      hash: hash, bytes: UInt32(bytes.count), tokens: UInt32(tokens.count),
      byteCount: UInt16(count), tokenCount: UInt16(new.count))
    bytes.append(contentsOf: UnsafeBufferPointer(start: word, count: count))
    tokens.append(contentsOf: new)
  }
}
