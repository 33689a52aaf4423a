/// One character of a text as a reader sees it: an extended grapheme cluster.
///
/// - SeeAlso: Unicode Standard Annex 29.
struct TextCharacter {
  /// Its first scalar.
  let scalar: Unicode.Scalar
  /// Whether that scalar is all of it.
  let isSingle: Bool
  /// Its bytes in the text.
  let bytes: Range<Int>

  /// Whether it is this scalar and nothing else.
  func isOnly(_ other: Unicode.Scalar) -> Bool { isSingle && scalar == other }
}

/// A text cut into characters, once, so that a step looks at plain values and copies plain bytes.
///
/// Everything that a step removes, keeps or replaces is a whole element of this, which is why no step can
/// break a character.
struct TextCharacters: RandomAccessCollection {
  /// The text as UTF-8.
  let utf8: [UInt8]
  private let characters: [TextCharacter]

  var startIndex: Int { 0 }
  var endIndex: Int { characters.count }
  subscript(index: Int) -> TextCharacter { characters[index] }

  /// - Complexity: O(bytes).
  init(_ text: String) {
    var text = text
    text.makeContiguousUTF8()
    utf8 = Array(text.utf8)
    var characters: [TextCharacter] = []
    characters.reserveCapacity(utf8.count)
    var start = 0
    var index = text.startIndex
    while index != text.endIndex {
      let next = text.index(after: index)
      let end = start + text.utf8.distance(from: index, to: next)
      let scalar = text.unicodeScalars[index]
      characters.append(
        TextCharacter(scalar: scalar, isSingle: UTF8.width(scalar) == end - start, bytes: start..<end))
      start = end
      index = next
    }
    self.characters = characters
  }

  /// The text of one character.
  func text(of index: Int) -> String { text(index..<index + 1) }

  /// The text of consecutive characters.
  func text(_ range: Range<Int>) -> String {
    guard !range.isEmpty else { return "" }
    let bytes =
      characters[range.lowerBound].bytes.lowerBound..<characters[range.upperBound - 1].bytes.upperBound
    return String(decoding: utf8[bytes], as: UTF8.self)
  }

  /// Whether two characters would not stay what they are side by side: two halves of a flag, say, or a letter
  /// and a mark that stood alone.
  func fuse(_ first: Int, _ second: Int) -> Bool {
    let (left, right) = (characters[first], characters[second])
    if left.isPlain, right.isPlain { return false }
    return Self.fuse(text(of: first), text(of: second))
  }

  /// Whether two characters would not stay what they are side by side.
  static func fuse(_ first: String, _ second: String) -> Bool {
    let joined = first + second
    return joined.utf8.distance(from: joined.startIndex, to: joined.index(after: joined.startIndex))
      != first.utf8.count
  }
}

extension TextCharacter {
  /// Whether it is one of those that make up most texts and fuse with none of their kind.
  var isPlain: Bool {
    isSingle && (scalar.isASCII && scalar.value >= 0x20 || (0x4E00...0x9FFF).contains(scalar.value))
  }
}

/// A text put together from whole characters of another and from new ones.
struct TextBuilder {
  private var bytes: [UInt8] = []

  init(capacity: Int) { bytes.reserveCapacity(capacity) }

  mutating func append(_ source: TextCharacters, _ range: Range<Int>) {
    guard !range.isEmpty else { return }
    bytes +=
      source.utf8[source[range.lowerBound].bytes.lowerBound..<source[range.upperBound - 1].bytes.upperBound]
  }

  mutating func append(_ source: TextCharacters, _ index: Int) { bytes += source.utf8[source[index].bytes] }

  mutating func append(_ scalar: Unicode.Scalar) { bytes += Array(UTF8.encode(scalar)!) }

  var text: String { String(decoding: bytes, as: UTF8.self) }
}

/// Whether two texts have the same bytes; `==` also takes canonically equivalent ones for equal.
func isIdentical(_ first: String, _ second: String) -> Bool { first.utf8.elementsEqual(second.utf8) }
