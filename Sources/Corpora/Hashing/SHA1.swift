/// SHA-1's first four bytes, which `datasketch` takes for a hash of 32 bits.
///
/// - SeeAlso: FIPS 180-4; `sha1_hash32` of datasketch.
enum SHA1 {
  /// The first word of the digest, read least significant byte first.
  static func hash32(_ bytes: UnsafePointer<UInt8>, _ count: Int) -> UInt32 {
    var state = State()
    var at = 0
    withUnsafeTemporaryAllocation(byteCount: 128, alignment: 4) { block in
      while at &+ 64 <= count {
        compress(UnsafeRawPointer(bytes + at), &state)
        at &+= 64
      }
      let left = count - at
      let size = left < 56 ? 64 : 128
      for index in 0..<size { block[index] = index < left ? bytes[at + index] : 0 }
      block[left] = 0x80
      block.storeBytes(of: (UInt64(count) * 8).bigEndian, toByteOffset: size - 8, as: UInt64.self)
      compress(UnsafeRawPointer(block.baseAddress!), &state)
      if size == 128 { compress(UnsafeRawPointer(block.baseAddress! + 64), &state) }
    }
    return state.a.byteSwapped
  }

  private struct State {
    var a: UInt32 = 0x6745_2301
    var b: UInt32 = 0xEFCD_AB89
    var c: UInt32 = 0x98BA_DCFE
    var d: UInt32 = 0x1032_5476
    var e: UInt32 = 0xC3D2_E1F0
  }

  @inline(__always)
  private static func rotate(_ value: UInt32, _ count: UInt32) -> UInt32 {
    value &<< count | value &>> (32 &- count)
  }

  /// One block of 64 bytes.
  private static func compress(_ block: UnsafeRawPointer, _ state: inout State) {
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 80) { words in
      // Safe: the standard's additions are modulo 2^32; 64 bytes are there, and 80 words.
      let w = words.baseAddress!
      for index in 0..<16 {
        w[index] = UInt32(bigEndian: block.loadUnaligned(fromByteOffset: 4 &* index, as: UInt32.self))
      }
      for index in 16..<80 {
        w[index] = rotate(w[index &- 3] ^ w[index &- 8] ^ w[index &- 14] ^ w[index &- 16], 1)
      }
      var (a, b, c, d, e) = (state.a, state.b, state.c, state.d, state.e)
      for index in 0..<20 {
        let next = rotate(a, 5) &+ (d ^ b & (c ^ d)) &+ e &+ 0x5A82_7999 &+ w[index]
        (e, d, c, b, a) = (d, c, rotate(b, 30), a, next)
      }
      for index in 20..<40 {
        let next = rotate(a, 5) &+ (b ^ c ^ d) &+ e &+ 0x6ED9_EBA1 &+ w[index]
        (e, d, c, b, a) = (d, c, rotate(b, 30), a, next)
      }
      for index in 40..<60 {
        let next = rotate(a, 5) &+ (b & c | d & (b | c)) &+ e &+ 0x8F1B_BCDC &+ w[index]
        (e, d, c, b, a) = (d, c, rotate(b, 30), a, next)
      }
      for index in 60..<80 {
        let next = rotate(a, 5) &+ (b ^ c ^ d) &+ e &+ 0xCA62_C1D6 &+ w[index]
        (e, d, c, b, a) = (d, c, rotate(b, 30), a, next)
      }
      state.a &+= a
      state.b &+= b
      state.c &+= c
      state.d &+= d
      state.e &+= e
    }
  }
}
