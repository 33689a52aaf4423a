/// A small number for every code point, found by two memory accesses.
///
/// The upper bits of a code point choose a page, the lower eight a byte in it; pages of one value are shared.
/// Made once for the life of the program, hence never released and safe to share.
final class CodePointTable: @unchecked Sendable {
  private let index: UnsafeMutablePointer<UInt16>
  private let pages: UnsafeMutablePointer<UInt8>

  /// The table of a generated text: value and length of each run, in base 36; the rest is 0.
  convenience init(runs: StaticString) {
    let numbers = CompactText.numbers(runs)
    var values = [UInt8](repeating: 0, count: 0x11_0000)
    var position = 0
    for run in 0..<(numbers.count / 2) {
      let length = numbers[2 * run + 1]
      if numbers[2 * run] != 0 {
        for at in position..<(position + length) { values[at] = UInt8(numbers[2 * run]) }
      }
      position += length
    }
    self.init(values)
  }

  /// The number of the last set that a code point belongs to; 0 for none.
  convenience init(_ sets: [(CodePointSet, UInt8)]) {
    var values = [UInt8](repeating: 0, count: 0x11_0000)
    for (set, value) in sets {
      for range in set.ranges { for at in range { values[Int(at)] = value } }
    }
    self.init(values)
  }

  private init(_ values: [UInt8]) {
    index = .allocate(capacity: 0x1100)
    var bytes: [UInt8] = []
    var uniform = [Int](repeating: -1, count: 256)
    for page in 0..<0x1100 {
      let part = values[(page << 8)..<((page + 1) << 8)]
      let first = part[page << 8]
      let isUniform = part.allSatisfy { $0 == first }
      if isUniform, uniform[Int(first)] >= 0 {
        index[page] = UInt16(uniform[Int(first)])
        continue
      }
      if isUniform { uniform[Int(first)] = bytes.count >> 8 }
      index[page] = UInt16(bytes.count >> 8)
      bytes += part
    }
    pages = .allocate(capacity: bytes.count)
    pages.initialize(from: bytes, count: bytes.count)
  }

  /// The number of a code point below U+110000.
  @inline(__always)
  subscript(codePoint: UInt32) -> UInt8 {
    pages[Int(index[Int(codePoint &>> 8)]) &<< 8 | Int(codePoint & 0xFF)]
  }
}
