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

  /// The text after this step; `nil` when it is unchanged.
  func apply(to text: UnsafeBufferPointer<UInt8>, scratch: RegexScratch) throws -> [UInt8]? {
    guard let base = text.baseAddress, !text.isEmpty else { return nil }
    switch self {
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
  private static func lowercased(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8] {
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
