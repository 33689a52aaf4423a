#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// A string as Python has it: a sequence of code points, compared and measured by them.
///
/// Swift's `String` compares by canonical equivalence and counts grapheme clusters, so "é" in its two spellings
/// would be one dictionary key and have one length. The bytes are UTF-8; a lone surrogate, which a template can
/// spell as `"\ud83d"`, has the three bytes that UTF-8 would give it.
struct Text: Sendable {
  let bytes: [UInt8]
  /// Whether code points and bytes are the same.
  let isASCII: Bool
  /// Whether `escape` or `safe` made it: such a text escapes what is added to it.
  var isMarkup: Bool

  init(bytes: [UInt8], isMarkup: Bool = false) {
    self.bytes = bytes
    self.isMarkup = isMarkup
    var all: UInt8 = 0
    for byte in bytes { all |= byte }
    isASCII = all < 0x80
  }

  init(_ bytes: ArraySlice<UInt8>, isMarkup: Bool = false) {
    self.init(bytes: Array(bytes), isMarkup: isMarkup)
  }

  init(_ string: String, isMarkup: Bool = false) { self.init(bytes: Array(string.utf8), isMarkup: isMarkup) }

  init(codePoints: some Sequence<UInt32>, isMarkup: Bool = false) {
    var bytes: [UInt8] = []
    for point in codePoints { Text.append(point, to: &bytes) }
    self.init(bytes: bytes, isMarkup: isMarkup)
  }

  static let empty = Text(bytes: [])

  var isEmpty: Bool { bytes.isEmpty }

  /// Code points, as `len` counts.
  var count: Int {
    if isASCII { return bytes.count }
    var count = 0
    for byte in bytes where byte & 0xC0 != 0x80 { count += 1 }
    return count
  }

  /// The text for the world outside; a lone surrogate becomes U+FFFD.
  var string: String { String(decoding: bytes, as: UTF8.self) }

  /// The same letters without the mark of `escape`.
  var plain: Text {
    var copy = self
    copy.isMarkup = false
    return copy
  }

  func marked(like other: Text) -> Text {
    var copy = self
    copy.isMarkup = other.isMarkup
    return copy
  }

  /// The code points.
  var codePoints: [UInt32] {
    if isASCII { return bytes.map(UInt32.init) }
    var points: [UInt32] = []
    points.reserveCapacity(bytes.count)
    var offset = 0
    while offset < bytes.count {
      let (point, length) = Text.codePoint(bytes, at: offset)
      points.append(point)
      offset += length
    }
    return points
  }

  /// The code point at a byte offset, and its bytes.
  static func codePoint(_ bytes: [UInt8], at offset: Int) -> (point: UInt32, length: Int) {
    let first = UInt32(bytes[offset])
    let length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
    if length == 1 { return (first, 1) }
    var point = first & (0x7F >> UInt32(length))
    for index in 1..<length where offset + index < bytes.count {
      point = point << 6 | UInt32(bytes[offset + index] & 0x3F)
    }
    return (point, min(length, bytes.count - offset))
  }

  /// Writes a code point, surrogates included.
  static func append(_ point: UInt32, to bytes: inout [UInt8]) {
    switch point {
    case 0..<0x80: bytes.append(UInt8(point))
    case 0x80..<0x800: bytes += [UInt8(0xC0 | point >> 6), UInt8(0x80 | point & 0x3F)]
    case 0x800..<0x10000:
      bytes += [UInt8(0xE0 | point >> 12), UInt8(0x80 | point >> 6 & 0x3F), UInt8(0x80 | point & 0x3F)]
    default:
      bytes += [
        UInt8(0xF0 | point >> 18 & 0x07), UInt8(0x80 | point >> 12 & 0x3F), UInt8(0x80 | point >> 6 & 0x3F),
        UInt8(0x80 | point & 0x3F),
      ]
    }
  }

  /// The byte offset of a code point; the end for one past the last.
  func byteOffset(of index: Int) -> Int {
    if isASCII { return min(index, bytes.count) }
    var seen = -1
    for (offset, byte) in bytes.enumerated() where byte & 0xC0 != 0x80 {
      seen += 1
      if seen == index { return offset }
    }
    return bytes.count
  }

  /// Code points before a byte offset.
  func index(ofByte offset: Int) -> Int {
    if isASCII { return offset }
    var count = 0
    for byte in bytes[..<offset] where byte & 0xC0 != 0x80 { count += 1 }
    return count
  }

  /// The code points of a range, as a text.
  func slice(_ range: Range<Int>) -> Text {
    guard !range.isEmpty else { return Text(bytes: [], isMarkup: isMarkup) }
    let start = byteOffset(of: range.lowerBound)
    guard !isASCII else {
      return Text(bytes[start..<min(range.upperBound, bytes.count)], isMarkup: isMarkup)
    }
    var (end, left) = (start, range.count)
    while end < bytes.count, left > 0 {
      end += 1
      while end < bytes.count, bytes[end] & 0xC0 == 0x80 { end += 1 }
      left -= 1
    }
    return Text(bytes[start..<end], isMarkup: isMarkup)
  }

  /// The code point at an index within the text.
  func character(at index: Int) -> Text { slice(index..<index + 1) }

  /// Each code point as a text.
  var characters: [Text] {
    var result: [Text] = []
    result.reserveCapacity(count)
    var start = 0
    while start < bytes.count {
      let length = Text.codePoint(bytes, at: start).length
      result.append(Text(bytes[start..<start + length]))
      start += length
    }
    return result
  }

  // MARK: Searching

  /// The byte offset of the first occurrence within a range of bytes.
  func firstOffset(of needle: Text, in range: Range<Int>) -> Int? {
    Text.firstOffset(of: needle.bytes, in: bytes, range)
  }

  /// The same for bytes; linear in their number, whatever they are.
  static func firstOffset(of needle: [UInt8], in bytes: [UInt8], _ range: Range<Int>) -> Int? {
    if needle.isEmpty { return range.lowerBound }
    guard needle.count <= range.count else { return nil }
    return needle.count <= 32
      ? directOffset(of: needle, in: bytes, range) : steadyOffset(of: needle, in: bytes, range)
  }

  /// For short needles: at each place where the first byte stands, the others are compared.
  private static func directOffset(of needle: [UInt8], in bytes: [UInt8], _ range: Range<Int>) -> Int? {
    let last = range.upperBound - needle.count
    var start = range.lowerBound
    return bytes.withUnsafeBufferPointer { bytes in
      needle.withUnsafeBufferPointer { needle in
        while start <= last {
          // Safe: the range lies within the bytes.
          guard let found = memchr(bytes.baseAddress! + start, Int32(needle[0]), last - start + 1) else {
            return nil
          }
          start = UnsafeRawPointer(bytes.baseAddress!).distance(to: UnsafeRawPointer(found))
          if memcmp(found, needle.baseAddress!, needle.count) == 0 { return start }
          start += 1
        }
        return nil
      }
    }
  }

  /// For long needles, which may be made to nearly match everywhere: Knuth, Morris and Pratt's search, linear
  /// whatever the bytes are.
  private static func steadyOffset(of needle: [UInt8], in bytes: [UInt8], _ range: Range<Int>) -> Int? {
    var fallback = [0, 0]
    var length = 0
    for position in needle.indices.dropFirst() {
      while length > 0, needle[position] != needle[length] { length = fallback[length] }
      if needle[position] == needle[length] { length += 1 }
      fallback.append(length)
    }
    length = 0
    for position in range {
      while length > 0, bytes[position] != needle[length] { length = fallback[length] }
      if bytes[position] == needle[length] { length += 1 }
      if length == needle.count { return position + 1 - length }
    }
    return nil
  }

  /// The byte offset of the last occurrence within a range of bytes.
  func lastOffset(of needle: Text, in range: Range<Int>) -> Int? {
    if needle.isEmpty { return range.upperBound }
    // Mirrored, so that a periodic text costs no more than another.
    guard
      let found = Text.firstOffset(
        of: Array(needle.bytes.reversed()), in: Array(bytes[range].reversed()), 0..<range.count)
    else { return nil }
    return range.upperBound - found - needle.bytes.count
  }

  func contains(_ needle: Text) -> Bool { firstOffset(of: needle, in: 0..<bytes.count) != nil }

  func hasPrefix(_ prefix: Text) -> Bool { bytes.starts(with: prefix.bytes) }

  func hasSuffix(_ suffix: Text) -> Bool {
    bytes.count >= suffix.bytes.count
      && bytes[(bytes.count - suffix.bytes.count)...].elementsEqual(suffix.bytes)
  }

  // MARK: Stripping

  /// Without the code points of a set at its ends.
  func stripped(left: Bool = true, right: Bool = true, where isStripped: (UInt32) -> Bool = Text.isSpace)
    -> Text
  {
    var start = 0
    var end = bytes.count
    while left, start < end {
      let (point, length) = Text.codePoint(bytes, at: start)
      guard isStripped(point) else { break }
      start += length
    }
    while right, end > start {
      var last = end - 1
      while last > start, bytes[last] & 0xC0 == 0x80 { last -= 1 }
      guard isStripped(Text.codePoint(bytes, at: last).point) else { break }
      end = last
    }
    return start == 0 && end == bytes.count ? self : Text(bytes[start..<end], isMarkup: isMarkup)
  }

  /// White space as `str.isspace` and `\s` have it.
  static func isSpace(_ point: UInt32) -> Bool {
    switch point {
    case 0x09...0x0D, 0x1C...0x20, 0x85, 0xA0, 0x1680, 0x2000...0x200A, 0x2028, 0x2029, 0x202F, 0x205F,
      0x3000:
      true
    default: false
    }
  }

  /// The ends of lines as `str.splitlines` has them.
  static func isLineEnd(_ point: UInt32) -> Bool {
    switch point {
    case 0x0A...0x0D, 0x1C...0x1E, 0x85, 0x2028, 0x2029: true
    default: false
    }
  }
}

extension Text: Equatable, Hashable {
  static func == (left: Text, right: Text) -> Bool { left.bytes == right.bytes }

  func hash(into hasher: inout Hasher) { hasher.combine(bytes) }

  /// By code points, which is the order of UTF-8 bytes too.
  static func < (left: Text, right: Text) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }
}

extension Text: ExpressibleByStringLiteral {
  init(stringLiteral value: String) { self.init(value) }
}
