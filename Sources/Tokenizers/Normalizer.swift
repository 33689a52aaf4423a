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

  /// How many bytes at the front of this step's result come from the first character of the whole text.
  ///
  /// `Metaspace` with `first` asks `tokenizers` where a piece came from, and the answer is "the beginning" for all
  /// that the first character became: prefixes included, and nothing when it was removed or became part of a
  /// longer replacement.
  /// - Parameters:
  ///   - beginning: the same of the text that the step is given.
  ///   - result: what the step made of it.
  func beginning(
    _ beginning: Int, of text: UnsafeBufferPointer<UInt8>, in result: UnsafeBufferPointer<UInt8>,
    scratch: RegexScratch
  ) throws -> Int {
    guard beginning > 0, beginning <= text.count, !result.isEmpty else { return 0 }
    let front = UnsafeBufferPointer(rebasing: text[..<beginning])
    switch self {
    case .prepend(let prefix): return prefix.count + beginning
    case .strip(let left, _):
      guard left else { return beginning }
      var start = 0
      while start < text.count {
        let (value, length) = UTF8Bytes.scalar(text.baseAddress!, start)
        guard CodePointSet.whitespace.contains(value) else { break }
        start += length
      }
      return max(0, beginning - start)
    case .replace(let pattern, let content):
      var kept = 0
      var end = 0
      let found = { (start: Int, stop: Int) in
        kept += max(0, min(start, beginning) - min(end, beginning))
        if stop <= beginning { kept += content.count }
        end = stop
      }
      switch pattern {
      case .text(let wanted): PreTokenizer.forEachOccurrence(of: wanted, in: text, found)
      case .regex(let regex): try regex.forEachMatch(in: text, scratch: scratch, found)
      }
      return kept + max(0, beginning - min(end, beginning))
    case .normalForm:
      // As many characters of the whole as there would be without what follows.
      let alone = try apply(to: front, scratch: scratch) ?? Array(front)
      var characters = alone.reduce(0) { $0 + ($1 & 0xC0 != 0x80 ? 1 : 0) }
      var at = 0
      while at < result.count, characters > 0 || result[at] & 0xC0 == 0x80 {
        if result[at] & 0xC0 != 0x80 { characters -= 1 }
        at += 1
      }
      return at
    case .precompiled(let rules): return rules.beginning(beginning, of: text)
    default: return try apply(to: front, scratch: scratch)?.count ?? beginning
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
