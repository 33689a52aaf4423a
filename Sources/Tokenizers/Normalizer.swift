/// One step that changes text before it is cut into words.
enum Normalizer: Sendable {
  /// What a `Replace` looks for.
  enum Pattern: Sendable {
    case text([UInt8])
    case regex(Regex)
  }

  case normalForm(NormalForm)
  case lowercase
  case replace(Pattern, with: [UInt8])
  case prepend([UInt8])
  case strip(left: Bool, right: Bool)
  case stripAccents
  /// SentencePiece's rules as `tokenizers` applies them.
  case precompiled(Charsmap)
  case bert(BertNormalizer)
  /// Every byte becomes the character that stands for it.
  case byteLevel
  /// The control characters and spaces of the NMT rules.
  case nmt
  /// All of sentencepiece's own normalising.
  case sentencePiece(SentencePieceNormalizer)

  /// The text after this step; `nil` when it is unchanged.
  ///
  /// - Parameter beginsText: the text is where the whole text begins, not behind an added token.
  func apply(
    to text: UnsafeBufferPointer<UInt8>, beginsText: Bool = true, scratch: RegexScratch
  ) throws -> [UInt8]? {
    guard let base = text.baseAddress, !text.isEmpty else { return nil }
    switch self {
    case .precompiled(let rules): return rules.normalize(text)
    case .bert(let bert): return bert.apply(to: text)
    case .byteLevel:
      var out: [UInt8] = []
      out.reserveCapacity(2 * text.count)
      ByteAlphabet.appendCharacters(of: text, to: &out)
      return out
    case .nmt: return Normalizer.cleanedForTranslation(text)
    case .sentencePiece(let normalizer): return normalizer.apply(to: text, beginsText: beginsText)
    case .normalForm(let form): return form.apply(to: text)
    case .lowercase: return Normalizer.lowercased(text)
    case .replace(let pattern, let content):
      return try Normalizer.replaced(text, pattern, with: content, scratch: scratch)
    case .prepend(let prefix): return prefix + text
    case .strip(let left, let right):
      var start = 0
      var end = text.count
      while left, start < end {
        let (value, length) = UTF8Bytes.scalar(base, start)
        guard CodePointSet.whitespace.contains(value) else { break }
        start += length
      }
      while right, end > start {
        let (value, length) = UTF8Bytes.scalarBefore(base, end)
        guard CodePointSet.whitespace.contains(value) else { break }
        end -= length
      }
      return end - start == text.count ? nil : Array(text[start..<end])
    case .stripAccents:
      var out: [UInt8] = []
      var at = 0
      while at < text.count {
        let (value, length) = UTF8Bytes.scalar(base, at)
        if value < 0x300 || !CodePointSet.strippedMarks.contains(value) {
          out.append(contentsOf: text[at..<(at + length)])
        }
        at += length
      }
      return out
    }
  }

  /// Whether the first character that this step gives no longer counts as the text's first.
  ///
  /// `Metaspace` with `first` asks `tokenizers` where a piece came from. When a step removes what was in front,
  /// or joins several characters into a replacement, the answer is not the beginning any more.
  func losesBeginning(of text: UnsafeBufferPointer<UInt8>, scratch: RegexScratch) throws -> Bool {
    guard let base = text.baseAddress, !text.isEmpty else { return false }
    let first = UTF8Bytes.scalar(base, 0)
    switch self {
    case .strip(let left, _): return left && CodePointSet.whitespace.contains(first.value)
    case .stripAccents: return CodePointSet.strippedMarks.contains(first.value)
    case .bert(let bert): return bert.removes(first.value)
    case .nmt: return Normalizer.isRemovedForTranslation(first.value)
    case .replace(let pattern, let content):
      var loses = false
      let found = { (start: Int, stop: Int) in
        if start == 0, stop > 0 { loses = content.isEmpty || stop > first.length }
      }
      switch pattern {
      case .text(let wanted):
        if text.starts(with: wanted) { found(0, wanted.count) }
      case .regex(let regex): try regex.forEachMatch(in: text, scratch: scratch, found)
      }
      return loses
    default: return false
    }
  }

  private static func isRemovedForTranslation(_ value: UInt32) -> Bool {
    switch value {
    case 0x01...0x08, 0x0B, 0x0E...0x1F, 0x7F, 0x8F, 0x9F: true
    default: false
    }
  }

  private static func cleanedForTranslation(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var at = 0
    while at < text.count {
      let (value, length) = UTF8Bytes.scalar(text.baseAddress!, at)
      switch value {
      case _ where isRemovedForTranslation(value): break
      case 0x09, 0x0A, 0x0C, 0x0D, 0x1680, 0x200B...0x200F, 0x2028, 0x2029, 0x2581, 0xFEFF, 0xFFFD:
        out.append(UInt8(ascii: " "))
      default: for byte in at..<(at + length) { out.append(text[byte]) }
      }
      at += length
    }
    return out
  }

  /// The text with every occurrence of a pattern replaced; `nil` when there is none.
  ///
  /// - Parameter scratch: made only when the pattern is a regular expression.
  static func replaced(
    _ text: UnsafeBufferPointer<UInt8>, _ pattern: Pattern, with content: [UInt8],
    scratch: @autoclosure () -> RegexScratch
  ) throws -> [UInt8]? {
    var out: [UInt8] = []
    var end = 0
    var isFound = false
    let found = { (start: Int, stop: Int) in
      out.append(contentsOf: text[end..<start])
      out.append(contentsOf: content)
      end = stop
      isFound = true
    }
    switch pattern {
    case .text(let wanted): PreTokenizer.forEachOccurrence(of: wanted, in: text, found)
    case .regex(let regex): try regex.forEachMatch(in: text, scratch: scratch(), found)
    }
    guard isFound else { return nil }
    out.append(contentsOf: text[end...])
    return out
  }

  /// Every character's own lower case, context aside.
  static func lowercased(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8] {
    let base = text.baseAddress!
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var at = 0
    while at < text.count {
      let byte = text[at]
      if byte < 0x80 {
        out.append(byte &- 0x41 < 26 ? byte | 0x20 : byte)
        at += 1
        continue
      }
      let (value, length) = UTF8Bytes.scalar(base, at)
      if let mapping = NormalForm.lowercase[value] {
        for scalar in mapping { UTF8Bytes.append(scalar, to: &out) }
      } else {
        out.append(contentsOf: text[at..<(at + length)])
      }
      at += length
    }
    return out
  }
}
