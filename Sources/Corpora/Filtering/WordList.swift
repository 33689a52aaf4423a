import Tokenizers

/// Words to look for in texts.
struct WordList: Sendable {
  private let words: Set<[UInt8]>
  /// First bytes, so that most places are passed over.
  private var isFirst = [Bool](repeating: false, count: 256)
  private let lengths: [Int]

  /// - Parameter words: spaces around them do not count, and neither does case in ASCII.
  init(_ words: [String]) {
    self.words = Set(words.map { WordList.folded(Array($0.utf8)) }.filter { !$0.isEmpty })
    lengths = Set(self.words.map(\.count)).sorted()
    for word in self.words { isFirst[Int(word[0])] = true }
  }

  var isEmpty: Bool { words.isEmpty }

  private static func folded(_ bytes: [UInt8]) -> [UInt8] {
    let isSpace = { (byte: UInt8) in byte == 0x20 || (0x09...0x0D).contains(byte) }
    var rest = bytes.drop(while: isSpace)
    while let last = rest.last, isSpace(last) { rest.removeLast() }
    return rest.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
  }

  /// The first of the words that the text holds.
  ///
  /// A word that begins (ends) with a letter or digit of a script with spaces is not found behind (before) another.
  func firstMatch(in text: UnsafeBufferPointer<UInt8>) -> String? {
    guard !words.isEmpty, let base = text.baseAddress else { return nil }
    let lower = WordList.folding(text)
    var at = 0
    while at < lower.count {
      if isFirst[Int(lower[at])], lower[at] & 0xC0 != 0x80 {
        for length in lengths where length <= lower.count - at {
          let end = at + length
          guard words.contains(Array(lower[at..<end])) else { continue }
          if WordList.isBoundary(base, text.count, at), WordList.isBoundary(base, text.count, end) {
            return String(decoding: lower[at..<end], as: UTF8.self)
          }
        }
      }
      at += 1
    }
    return nil
  }

  private static func folding(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8] {
    text.map { (0x41...0x5A).contains($0) ? $0 | 0x20 : $0 }
  }

  private static func isBoundary(_ text: UnsafePointer<UInt8>, _ count: Int, _ at: Int) -> Bool {
    guard at > 0, at < count else { return true }
    return !(isOfWord(UTF8Bytes.scalarBefore(text, at).value) && isOfWord(UTF8Bytes.scalar(text, at).value))
  }

  private static func isOfWord(_ value: UInt32) -> Bool {
    switch UnicodeText.kind(value) {
    case .letter: !Script.of(value).hasNoSpaces
    case .number, .mark: true
    default: false
    }
  }
}
