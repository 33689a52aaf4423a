import CPCRE2
import Synchronization

/// A bracketed class or a shorthand of a pattern, spelled for PCRE2.
struct RegexClass {
  /// The class in PCRE2's syntax, brackets included.
  let text: String
  /// Its members, case-folding aside.
  let members: CodePointSet

  /// A set with a name in patterns, and the PCRE2 items that come nearest to it.
  struct NamedSet {
    var members: CodePointSet
    /// Inside of a class; `nil` to spell the ranges.
    var base: String?

    static func word(inClass: Bool) -> NamedSet {
      NamedSet(
        members: inClass ? .wordInClass : .word, base: #"\p{L}\p{M}\p{Nd}\p{Nl}\p{Pc}"#)
    }

    var negated: NamedSet { NamedSet(members: members.complement, base: nil) }

    /// The items that spell the set within brackets: PCRE2's own class with what it lacks, or the ranges.
    func items() -> String {
      guard let base else { return RegexClass.spelled(members) }
      let known = RegexClass.members(ofPCREClass: base)
      guard known.subtracting(members).ranges.isEmpty else { return RegexClass.spelled(members) }
      return base + RegexClass.spelled(members.subtracting(known))
    }
  }

  /// Parses a class at `[`.
  static func parse(_ pattern: [Unicode.Scalar], _ at: inout Int) throws(RegexTranslation.Failure)
    -> RegexClass
  {
    at += 1
    let isNegated = at < pattern.count && pattern[at] == "^"
    if isNegated { at += 1 }
    var items = ""
    var members = CodePointSet()
    var left: CodePointSet?
    var isPlain = true
    var isFirst = true
    while true {
      guard at < pattern.count else { throw .init(reason: "a class is not closed") }
      let scalar = pattern[at]
      if scalar == "]", !isFirst {
        at += 1
        break
      }
      isFirst = false
      if scalar == "[" {
        if let named = try posix(pattern, &at) {
          items += named.items()
          members = members.union(named.members)
        } else {
          let inner = try parse(pattern, &at)
          members = members.union(inner.members)
          isPlain = false
        }
      } else if scalar == "&", at + 1 < pattern.count, pattern[at + 1] == "&" {
        at += 2
        left = left.map { $0.intersection(members) } ?? members
        members = CodePointSet()
        isPlain = false
      } else if scalar == "\\", let named = try shorthandInClass(pattern, &at) {
        items += named.items()
        members = members.union(named.members)
      } else {
        let low = try literal(pattern, &at)
        var high = low
        if at + 1 < pattern.count, pattern[at] == "-", pattern[at + 1] != "]" {
          at += 1
          guard pattern[at] != "[" else { throw .init(reason: "a class is the end of a range") }
          high = try literal(pattern, &at)
          guard low <= high else { throw .init(reason: "a range in a class is empty") }
        }
        let range = CodePointSet([low...high])
        items += spelled(range)
        members = members.union(range)
      }
    }
    if let left { members = left.intersection(members) }
    if isNegated { members = members.complement }
    guard isPlain else { return RegexClass(text: bracketed(members), members: members) }
    return RegexClass(text: (isNegated ? "[^" : "[") + items + "]", members: members)
  }

  private static func bracketed(_ members: CodePointSet) -> String {
    members.ranges.isEmpty ? "(?!)" : "[" + spelled(members) + "]"
  }

  private static func literal(
    _ pattern: [Unicode.Scalar], _ at: inout Int
  ) throws(RegexTranslation.Failure) -> UInt32 {
    guard pattern[at] == "\\" else {
      defer { at += 1 }
      return pattern[at].value
    }
    at += 1
    guard at < pattern.count else { throw .init(reason: "it ends in a backslash") }
    if let value = try character(pattern, &at) { return value }
    let scalar = pattern[at]
    at += 1
    if scalar == "b" { return 8 }
    guard !(scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil)) else {
      throw .init(reason: "\\\(scalar) in a class is not supported")
    }
    return scalar.value
  }

  private static func shorthandInClass(
    _ pattern: [Unicode.Scalar], _ at: inout Int
  ) throws(RegexTranslation.Failure) -> NamedSet? {
    at += 1
    if let set = try shorthand(pattern, &at, inClass: true) { return set }
    at -= 1
    return nil
  }

  /// A shorthand such as `\s` or `\p{Lu}`, at the character after the backslash.
  static func shorthand(
    _ pattern: [Unicode.Scalar], _ at: inout Int, inClass: Bool
  ) throws(RegexTranslation.Failure) -> NamedSet? {
    guard at < pattern.count else { return nil }
    let scalar = pattern[at]
    let set: NamedSet
    switch scalar {
    case "s", "S": set = NamedSet(members: .whitespace, base: nil)
    case "d", "D": set = NamedSet(members: CodePointSet([.nd]), base: #"\p{Nd}"#)
    case "w", "W": set = .word(inClass: inClass)
    case "h", "H": set = NamedSet(members: CodePointSet([0x30...0x39, 0x41...0x46, 0x61...0x66]), base: nil)
    case "p", "P":
      guard at + 1 < pattern.count, pattern[at + 1] == "{",
        let close = pattern[at...].firstIndex(of: "}")
      else { throw .init(reason: "\\\(scalar) without braces is not supported") }
      var name = String(String.UnicodeScalarView(pattern[(at + 2)..<close]))
      var isNegated = scalar == "P"
      if name.hasPrefix("^") {
        name.removeFirst()
        isNegated.toggle()
      }
      at = close + 1
      let found = try property(name)
      return isNegated ? found.negated : found
    default: return nil
    }
    at += 1
    let isNegated = "SDWH".unicodeScalars.contains(scalar)
    return isNegated ? set.negated : set
  }

  /// A class such as `[:alpha:]`; `nil` when the bracket opens something else.
  private static func posix(
    _ pattern: [Unicode.Scalar], _ at: inout Int
  ) throws(RegexTranslation.Failure) -> NamedSet? {
    guard at + 1 < pattern.count, pattern[at + 1] == ":" else { return nil }
    var end = at + 2
    while end < pattern.count, pattern[end] != ":", pattern[end] != "]" { end += 1 }
    guard end + 1 < pattern.count, pattern[end] == ":", pattern[end + 1] == "]" else { return nil }
    var name = String(String.UnicodeScalarView(pattern[(at + 2)..<end]))
    let isNegated = name.hasPrefix("^")
    if isNegated { name.removeFirst() }
    at = end + 2
    let set =
      switch name {
      case "alpha", "digit", "space": try property(name)
      case "word": NamedSet.word(inClass: true)
      case "xdigit": NamedSet(members: CodePointSet([0x30...0x39, 0x41...0x46, 0x61...0x66]), base: nil)
      default: throw RegexTranslation.Failure(reason: "[:\(name):] is not supported")
      }
    return isNegated ? set.negated : set
  }

  private static func property(_ name: String) throws(RegexTranslation.Failure) -> NamedSet {
    let categories = GeneralCategory.named(name)
    if !categories.isEmpty {
      // The table has no surrogates, and no text has them either.
      return NamedSet(members: CodePointSet(categories), base: "\\p{\(name)}")
    }
    let key = String(name.lowercased().filter { $0 != " " && $0 != "_" && $0 != "-" })
    let long = [
      "letter": "L", "mark": "M", "number": "N", "punctuation": "P", "symbol": "S", "separator": "Z",
      "other": "C", "uppercaseletter": "Lu", "lowercaseletter": "Ll", "titlecaseletter": "Lt",
      "modifierletter": "Lm", "otherletter": "Lo", "nonspacingmark": "Mn", "spacingmark": "Mc",
      "enclosingmark": "Me", "decimalnumber": "Nd", "letternumber": "Nl", "othernumber": "No", "digit": "Nd",
      "control": "Cc",
    ]
    if let short = long[key] { return try property(short) }
    switch key {
    case "alphabetic", "alpha": return NamedSet(members: .alphabetic, base: #"\p{L}\p{Nl}"#)
    case "word": return .word(inClass: false)
    case "space", "whitespace": return NamedSet(members: .whitespace, base: nil)
    case "any": return NamedSet(members: .all, base: nil)
    case "ascii": return NamedSet(members: .ascii, base: nil)
    case "emoji": return NamedSet(members: .emoji, base: nil)
    case "han": return NamedSet(members: .han, base: #"\p{Han}"#)
    case "hiragana": return NamedSet(members: .hiragana, base: #"\p{Hiragana}"#)
    case "katakana": return NamedSet(members: .katakana, base: #"\p{Katakana}"#)
    case "hangul": return NamedSet(members: .hangul, base: #"\p{Hangul}"#)
    case "latin": return NamedSet(members: .latin, base: #"\p{Latin}"#)
    case "cyrillic": return NamedSet(members: .cyrillic, base: #"\p{Cyrillic}"#)
    case "greek": return NamedSet(members: .greek, base: #"\p{Greek}"#)
    case "arabic": return NamedSet(members: .arabic, base: #"\p{Arabic}"#)
    case "thai": return NamedSet(members: .thai, base: #"\p{Thai}"#)
    default: throw .init(reason: "the property \(name) is not supported")
    }
  }

  /// A character written as an escape (`\n`, `\x41`, `\x{4E00}`, `\u4E00`, `\0`), at the letter.
  static func character(
    _ pattern: [Unicode.Scalar], _ at: inout Int
  ) throws(RegexTranslation.Failure) -> UInt32? {
    let simple: [Unicode.Scalar: UInt32] = ["n": 10, "r": 13, "t": 9, "f": 12, "v": 11, "a": 7, "e": 27]
    let scalar = pattern[at]
    if let value = simple[scalar] {
      at += 1
      return value
    }
    let isBraced = scalar == "x" && at + 1 < pattern.count && pattern[at + 1] == "{"
    var digits = ""
    var scan = at + (isBraced ? 2 : 1)
    let limit = isBraced ? 8 : (scalar == "u" ? 4 : 2)
    switch scalar {
    case "x", "u":
      while scan < pattern.count, digits.count < limit, pattern[scan].properties.isASCIIHexDigit {
        digits.unicodeScalars.append(pattern[scan])
        scan += 1
      }
      if isBraced {
        guard scan < pattern.count, pattern[scan] == "}" else { throw .init(reason: "\\x{ is not closed") }
        scan += 1
      }
      guard let value = UInt32(digits, radix: 16), Unicode.Scalar(value) != nil,
        isBraced || scalar != "x" || value < 0x80, scalar != "u" || digits.count == 4
      else { throw .init(reason: "\\\(scalar)\(digits) is no character") }
      at = scan
      return value
    case "0":
      while scan < pattern.count, digits.count < 2, ("0"..."7").contains(pattern[scan]) {
        digits.unicodeScalars.append(pattern[scan])
        scan += 1
      }
      at = scan
      return UInt32(digits.isEmpty ? "0" : digits, radix: 8)
    default: return nil
    }
  }

  /// A literal character, safe inside and outside of brackets.
  static func spelled(_ value: UInt32) -> String { "\\x{" + String(value, radix: 16) + "}" }

  private static func spelled(_ set: CodePointSet) -> String {
    var out = ""
    // Surrogates are no characters to PCRE2.
    let surrogates: ClosedRange<UInt32> = 0xD800...0xDFFF
    for range in set.ranges {
      for part in [
        (range.lowerBound, min(range.upperBound, surrogates.lowerBound - 1)),
        (max(range.lowerBound, surrogates.upperBound + 1), range.upperBound),
      ] where part.0 <= part.1 {
        out += part.0 == part.1 ? spelled(part.0) : spelled(part.0) + "-" + spelled(part.1)
      }
    }
    return out
  }

  private static let cache = Mutex<[String: CodePointSet]>([:])

  /// The members of a class as the linked PCRE2 has them, asked of PCRE2 itself once per class.
  private static func members(ofPCREClass items: String) -> CodePointSet {
    if let known = cache.withLock({ $0[items] }) { return known }
    var ranges: [ClosedRange<UInt32>] = []
    if let code = try? Regex.compile("[\(items)]+") {
      defer { pcre2_code_free_8(code) }
      ranges = allText.withUnsafeBufferPointer { matches(code, $0) }
    }
    let set = CodePointSet(ranges)
    cache.withLock { $0[items] = set }
    return set
  }

  /// Every code point of the planes that hold characters.
  private static let allText: [UInt8] = {
    var text: [UInt8] = []
    for value in [UInt32(0)...0x3FFFF, 0xE0000...0xEFFFF].joined() where !(0xD800...0xDFFF).contains(value) {
      UTF8Bytes.append(value, to: &text)
    }
    return text
  }()

  private static func matches(_ code: OpaquePointer, _ text: UnsafeBufferPointer<UInt8>) -> [ClosedRange<
    UInt32
  >] {
    let data = pcre2_match_data_create_8(1, nil)!
    defer { pcre2_match_data_free_8(data) }
    var ranges: [ClosedRange<UInt32>] = []
    var from = 0
    let base = text.baseAddress!
    while pcre2_match_8(code, base, text.count, from, UInt32(PCRE2_NO_UTF_CHECK), data, nil) > 0 {
      let bounds = pcre2_get_ovector_pointer_8(data)!
      let low = UTF8Bytes.scalar(base, bounds[0]).value
      let high = UTF8Bytes.scalarBefore(base, bounds[1]).value
      // A match may run across the gap between the planes that were looked at.
      if low <= 0x3FFFF, high >= 0xE0000 {
        ranges += [low...0x3FFFF, 0xE0000...high]
      } else {
        ranges.append(low...high)
      }
      from = bounds[1]
    }
    return ranges
  }
}
