/// Memory for the gradients of one pass, used again for the next one.
///
/// Passes differ in their rows where examples are packed, so a piece serves anything from half its size up to all of it, and is
/// replaced when something a little larger is wanted. A new one comes only where all pieces of about that size are in use, so that
/// there are never more of them than were needed at once.
struct GradientMemory: ~Copyable {
  /// Elements of every piece.
  private var capacities: [UnsafeMutablePointer<Float>: Int] = [:]
  /// Pieces that nobody uses.
  private var spare: [UnsafeMutablePointer<Float>] = []

  /// Bytes of all pieces.
  private(set) var byteCount = 0

  deinit { for pointer in capacities.keys { pointer.deallocate() } }

  /// Memory for some elements, at the start of a cache line; what lies in it is undefined.
  mutating func take(_ count: Int) -> UnsafeMutablePointer<Float> {
    let count = max(16, count)
    // The smallest that suffices, or else the largest that does not.
    var (best, room) = (-1, 0)
    for index in spare.indices.reversed() {
      let capacity = capacities[spare[index]]!
      guard capacity >= count / 2, capacity / 2 <= count else { continue }
      let isBetter = room < count ? capacity > room : capacity >= count && capacity < room
      if best < 0 || isBetter { (best, room) = (index, capacity) }
    }
    if best >= 0 {
      let pointer = spare.remove(at: best)
      if room >= count { return pointer }
      capacities[pointer] = nil
      byteCount -= room * MemoryLayout<Float>.stride
      pointer.deallocate()
    }
    let bytes = count * MemoryLayout<Float>.stride
    let pointer = UnsafeMutableRawPointer.allocate(byteCount: bytes, alignment: 64)
      .bindMemory(to: Float.self, capacity: count)
    capacities[pointer] = count
    byteCount += bytes
    return pointer
  }

  /// Takes memory back for the next one who asks.
  mutating func giveBack(_ pointer: UnsafeMutablePointer<Float>) { spare.append(pointer) }
}
