/// MT19937 as `numpy.random.RandomState` seeds and reads it.
///
/// - SeeAlso: Matsumoto and Nishimura, doi:10.1145/272991.272995; `legacy_seeding` and `randint` of numpy.
struct MersenneTwister {
  private var state = [UInt32](repeating: 0, count: 624)
  private var position = 624

  init(seed: UInt32) {
    // Safe: the generator's arithmetic is modulo 2^32.
    state[0] = seed
    for index in 1..<624 {
      let before = state[index - 1]
      state[index] = 1_812_433_253 &* (before ^ before >> 30) &+ UInt32(index)
    }
  }

  mutating func next32() -> UInt32 {
    if position == 624 { twist() }
    var value = state[position]
    position += 1
    value ^= value >> 11
    value ^= value << 7 & 0x9D2C_5680
    value ^= value << 15 & 0xEFC6_0000
    return value ^ value >> 18
  }

  /// Two draws, the first in the upper half.
  mutating func next64() -> UInt64 {
    let upper = UInt64(next32())
    return upper << 32 | UInt64(next32())
  }

  /// `randint(low, high, dtype=uint64)` for more than 2^32 values: draws are masked until one fits.
  mutating func integer(in range: Range<UInt64>) -> UInt64 {
    let largest = range.upperBound - range.lowerBound - 1
    precondition(largest > UInt64(UInt32.max), "fewer values are drawn with 32 bits")
    let mask = UInt64.max >> UInt64(largest.leadingZeroBitCount)
    while true {
      let value = next64() & mask
      if value <= largest { return range.lowerBound + value }
    }
  }

  private mutating func twist() {
    for index in 0..<624 {
      let mixed = state[index] & 0x8000_0000 | state[(index + 1) % 624] & 0x7FFF_FFFF
      state[index] = state[(index + 397) % 624] ^ mixed >> 1 ^ (mixed & 1 == 0 ? 0 : 0x9908_B0DF)
    }
    position = 0
  }
}
