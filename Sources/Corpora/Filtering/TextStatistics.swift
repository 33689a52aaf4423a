import Tokenizers

/// The numbers that the limits are about.
struct TextStatistics {
  private let text: [UInt8]
  private let words: TextWords
  private let lines: [ArraySlice<UInt8>]

  init(_ text: UnsafeBufferPointer<UInt8>, _ words: TextWords) {
    self.text = Array(text)
    self.words = words
    lines = self.text.split(separator: UInt8(ascii: "\n")).map { TextStatistics.trimmed($0) }.filter {
      !$0.isEmpty
    }
  }

  /// The value for a limit; `nil` where it says nothing about this text, or is not counted here.
  func value(_ limit: FilterConfiguration.Limit) -> Double? {
    switch limit {
    case .minimumWords, .maximumWords: words.count
    case .minimumMeanWordLength, .maximumMeanWordLength: meanWordLength
    case .maximumSymbolRatio: symbolRatio
    case .maximumBulletLines: share(of: lines) { TextStatistics.beginsWithBullet($0) }
    case .maximumEllipsisLines: share(of: lines) { TextStatistics.endsWithEllipsis($0) }
    case .minimumAlphabeticWords: share(of: words.words) { $0.hasLetter }
    case .minimumStopWords: stopWordCount
    case .maximumDuplicateLines: Repetition.duplicates(lines).share
    case .maximumDuplicateLineCharacters: Repetition.duplicates(lines).characterShare
    case .maximumDuplicateParagraphs: Repetition.duplicates(paragraphs).share
    case .maximumDuplicateParagraphCharacters: Repetition.duplicates(paragraphs).characterShare
    case .minimumSentences: Double(sentenceCount)
    default: nil
    }
  }

  /// Whether the text of type-setters' samples is in it.
  var holdsPlaceholder: Bool { TextStatistics.holds("lorem ipsum", in: text[...]) }

  private func share<Element>(of elements: [Element], _ isCounted: (Element) -> Bool) -> Double? {
    elements.isEmpty ? nil : Double(elements.count(where: isCounted)) / Double(elements.count)
  }

  /// Of words in scripts with spaces, where those are most of the text.
  private var meanWordLength: Double? {
    let spaced = words.words.filter { !$0.isCharacter }
    guard !words.isWithoutSpaces, !spaced.isEmpty else { return nil }
    return Double(spaced.reduce(0) { $0 + $1.characters }) / Double(spaced.count)
  }

  /// Hash signs, or ellipses, per word: the larger.
  private var symbolRatio: Double? {
    guard words.count > 0 else { return nil }
    let hashes = text.count { $0 == UInt8(ascii: "#") }
    var ellipses = 0
    var at = 0
    while at < text.count {
      if text[at] == UInt8(ascii: "."), text[at...].starts(with: "...".utf8) {
        ellipses += 1
        while at < text.count, text[at] == UInt8(ascii: ".") { at += 1 }
      } else {
        if text[at] == 0xE2, text[at...].starts(with: "…".utf8) { ellipses += 1 }
        at += 1
      }
    }
    return Double(max(hashes, ellipses)) / words.count
  }

  /// How many of Gopher's English words occur, in a text that is mostly of Latin letters.
  private var stopWordCount: Double? {
    let letters = words.letters.values.reduce(0, +)
    guard 2 * (words.letters[.latin] ?? 0) > letters else { return nil }
    var found = Set<String>()
    for word in words.words where word.characters <= 6 {
      let letters = text[word.start..<word.end].filter { (0x41...0x5A).contains($0 & ~0x20) }
      let text = String(decoding: letters, as: UTF8.self).lowercased()
      if TextStatistics.stopWords.contains(text) { found.insert(text) }
    }
    return Double(found.count)
  }

  private static let stopWords: Set<String> = ["the", "be", "to", "of", "and", "that", "have", "with"]

  /// Stretches of lines with blank ones between.
  private var paragraphs: [ArraySlice<UInt8>] {
    var out: [ArraySlice<UInt8>] = []
    var start: Int?
    var end = 0
    for line in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      if TextStatistics.trimmed(line).isEmpty {
        if let first = start { out.append(text[first..<end]) }
        start = nil
      } else {
        if start == nil { start = line.startIndex }
        end = line.endIndex
      }
    }
    if let first = start { out.append(text[first..<end]) }
    return out
  }

  /// Ends of sentences: a mark of the end, in scripts with spaces before a space or the end of the text.
  private var sentenceCount: Int {
    var count = 0
    var isEnd = false
    text.withUnsafeBufferPointer { text in
      guard let base = text.baseAddress else { return }
      var at = 0
      while at < text.count {
        let (value, length) = UTF8Bytes.scalar(base, at)
        switch value {
        case 0x3002, 0xFF01, 0xFF1F, 0xFF0E, 0xFF61, 0x0964, 0x061F, 0x06D4:
          if !isEnd { count += 1 }
          isEnd = true
        case 0x21, 0x2E, 0x3F:
          let next = at + 1 < text.count ? UTF8Bytes.scalar(base, at + 1).value : 0x20
          let closes = UnicodeText.kind(next) == .space || LineRules.closing.contains(next) || next == 0x21
          if closes || next == 0x2E || next == 0x3F, !isEnd { count += 1 }
          isEnd = true
        default:
          if !LineRules.closing.contains(value) { isEnd = false }
        }
        at += length
      }
    }
    return count
  }

  static func trimmed(_ line: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    let isSpace = { (byte: UInt8) in byte == 0x20 || (0x09...0x0D).contains(byte) }
    var rest = line.drop(while: isSpace)
    while let last = rest.last, isSpace(last) { rest.removeLast() }
    return rest
  }

  private static let bullets = "•‣▶◀◦■□▪▫–●○·-*".unicodeScalars.map { Array(String($0).utf8) }

  private static func beginsWithBullet(_ line: ArraySlice<UInt8>) -> Bool {
    bullets.contains { line.starts(with: $0) }
  }

  private static func endsWithEllipsis(_ line: ArraySlice<UInt8>) -> Bool {
    line.suffix(3).elementsEqual("...".utf8) || line.suffix(3).elementsEqual("…".utf8)
  }

  /// Whether ASCII in lower case occurs, whatever its case in the text.
  static func holds(_ wanted: StaticString, in text: ArraySlice<UInt8>) -> Bool {
    let count = wanted.utf8CodeUnitCount
    let first = wanted.utf8Start[0]
    guard text.count >= count else { return false }
    for at in text.startIndex...(text.endIndex - count) where text[at] | 0x20 == first {
      let isSame = (0..<count).allSatisfy { index in
        let byte = text[at + index]
        return ((0x41...0x5A).contains(byte) ? byte | 0x20 : byte) == wanted.utf8Start[index]
      }
      if isSame { return true }
    }
    return false
  }
}

/// The rules of C4 that take lines out of a text.
struct LineRules {
  private let minimumWords: Double?
  private let wantsPunctuation: Bool
  private let removesScripts: Bool

  init(_ configuration: FilterConfiguration) {
    minimumWords = configuration.value(.minimumLineWords)
    wantsPunctuation = configuration.applies(.terminalPunctuation)
    removesScripts = configuration.applies(.scriptLines)
  }

  /// Quotation marks and brackets that may follow the end of a sentence.
  static let closing: Set<UInt32> = [
    0x22, 0x27, 0x29, 0x5D, 0xBB, 0x2019, 0x201D, 0x300D, 0x300F, 0x3009, 0x300B, 0xFF09, 0x3011,
  ]
  /// What a line may end in: `.`, `!`, `?`, a quotation mark, and their like in other scripts.
  private static let ends: Set<UInt32> = [
    0x21, 0x22, 0x2E, 0x3F, 0xBB, 0x2019, 0x201D, 0x3002, 0x300D, 0x300F, 0xFF01, 0xFF1F, 0xFF0E, 0xFF61,
    0x0964,
    0x061F, 0x06D4,
  ]

  /// The text without the lines that break a rule; `nil` when it stays.
  ///
  /// Blank lines between those that stay are kept.
  func apply(to text: UnsafeBufferPointer<UInt8>, _ removed: inout Int) -> [UInt8]? {
    guard minimumWords != nil || wantsPunctuation || removesScripts else { return nil }
    var kept: [Slice<UnsafeBufferPointer<UInt8>>] = []
    for line in text.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
      let body = TextStatistics.trimmed(Array(line)[...])
      if body.isEmpty || holds(body) { kept.append(line) } else { removed += 1 }
    }
    guard removed > 0 else { return nil }
    return Array(TextStatistics.trimmed(Array(kept.joined(separator: [UInt8(ascii: "\n")]))[...]))
  }

  private func holds(_ line: ArraySlice<UInt8>) -> Bool {
    line.withUnsafeBufferPointer { line in
      guard let base = line.baseAddress else { return false }
      if wantsPunctuation {
        let last = UTF8Bytes.scalarBefore(base, line.count).value
        // An ellipsis is no end.
        guard LineRules.ends.contains(last), !line.suffix(3).elementsEqual("...".utf8) else { return false }
      }
      if removesScripts, TextStatistics.holds("javascript", in: Array(line)[...]) { return false }
      if let minimumWords, TextWords(line).count < minimumWords { return false }
      return true
    }
  }
}
