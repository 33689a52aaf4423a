/// Random numbers that depend on seed, sequence, position and draw alone, not on what was drawn before.
///
/// Philox4x32-10: ten rounds of multiplication and exchange over a counter, under a key.
///
/// - SeeAlso: Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
struct RandomStream {
  private let key: SIMD2<UInt32>
  private let sequence: UInt32

  /// - Parameters:
  ///   - seed: the key.
  ///   - sequence: which of several sequences draws; each has a stream of its own.
  init(seed: UInt64, sequence: Int) {
    key = SIMD2(UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    self.sequence = UInt32(truncatingIfNeeded: sequence)
  }

  /// A number in [0, 1) of 53 random bits.
  /// - Parameters:
  ///   - position: tokens before the one that is drawn.
  ///   - draw: which of several draws at that position.
  func uniform(position: Int, draw: Int = 0) -> Double {
    let counter = SIMD4<UInt32>(
      UInt32(truncatingIfNeeded: position), UInt32(truncatingIfNeeded: position >> 32),
      UInt32(truncatingIfNeeded: draw), sequence)
    let block = RandomStream.block(counter: counter, key: key)
    let bits = UInt64(block[0]) << 32 | UInt64(block[1])
    return Double(bits >> 11) * 0x1p-53
  }

  /// One block of four words.
  static func block(counter: SIMD4<UInt32>, key: SIMD2<UInt32>) -> SIMD4<UInt32> {
    var (counter, key) = (counter, key)
    for _ in 0..<10 {
      let first = counter[0].multipliedFullWidth(by: 0xD251_1F53)
      let second = counter[2].multipliedFullWidth(by: 0xCD9E_8D57)
      counter = SIMD4(
        second.high ^ counter[1] ^ key[0], second.low, first.high ^ counter[3] ^ key[1], first.low)
      key &+= SIMD2(0x9E37_79B9, 0xBB67_AE85)
    }
    return counter
  }
}
