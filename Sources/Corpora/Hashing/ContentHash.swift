/// A 64-bit hash of bytes that is the same on every machine and in every version: it goes into files.
///
/// Fast and well mixed, and no defence against somebody who looks for collisions.
package struct ContentHash {
  private var state: UInt64
  private var tail: UInt64 = 0
  private var tailCount = 0
  private var byteCount: UInt64 = 0

  /// Hashes of different seeds are independent of each other.
  init(seed: UInt64 = 0) { state = ContentHash.mix(seed ^ 0x6A09_E667_F3BC_C908) }

  /// The hash of bytes in one piece.
  package static func of(_ bytes: UnsafeRawBufferPointer, seed: UInt64 = 0) -> UInt64 {
    var hash = ContentHash(seed: seed)
    hash.update(bytes)
    return hash.value
  }

  /// Adds bytes; how they are cut into calls does not matter.
  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    byteCount &+= UInt64(bytes.count)
    var at = 0
    while tailCount != 0, at < bytes.count {
      add(bytes[at])
      at += 1
    }
    var state = state
    while at &+ 8 <= bytes.count {
      // Safe: eight bytes are left.
      let word = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: at, as: UInt64.self))
      state = ContentHash.fold(state ^ word)
      at &+= 8
    }
    self.state = state
    while at < bytes.count {
      add(bytes[at])
      at += 1
    }
  }

  /// The hash of what was added so far.
  var value: UInt64 {
    ContentHash.mix(ContentHash.fold(state ^ tail) ^ byteCount)
  }

  private mutating func add(_ byte: UInt8) {
    tail |= UInt64(byte) << UInt64(8 * tailCount)
    tailCount += 1
    if tailCount == 8 {
      state = ContentHash.fold(state ^ tail)
      tail = 0
      tailCount = 0
    }
  }

  @inline(__always)
  private static func fold(_ value: UInt64) -> UInt64 {
    let product = value.multipliedFullWidth(by: 0x9E37_79B9_7F4A_7C15)
    return product.high ^ product.low ^ value
  }

  /// SplitMix64's finaliser: every bit of the input reaches every bit of the result.
  static func mix(_ value: UInt64) -> UInt64 {
    var z = value &+ 0x9E37_79B9_7F4A_7C15
    z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
    z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
    return z ^ (z >> 31)
  }
}
