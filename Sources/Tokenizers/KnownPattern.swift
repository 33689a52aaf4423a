/// The patterns that most byte-level tokenizers declare, matched by hand.
///
/// Each equals its regular expression on every text (KnownPatternTests compares the two), at several times
/// the speed: one table look-up per character and no backtracking.
enum KnownPattern: Sendable, Equatable {
  /// GPT-2: `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
  case gpt2
  /// GPT-4 and its descendants; they differ in how many digits make a word (Qwen2 1, Llama 3 3).
  case cl100k(digits: Int)

  /// GPT-2's pattern as written; also what `ByteLevel` with `use_regex` uses.
  static let gpt2Pattern =
    #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#

  private static func cl100kPattern(_ digits: String) -> String {
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"# + digits
      + #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#
  }

  /// Recognises a pattern by its exact text.
  init?(_ pattern: String) {
    switch pattern {
    case KnownPattern.gpt2Pattern: self = .gpt2
    case KnownPattern.cl100kPattern(#"\p{N}"#): self = .cl100k(digits: 1)
    case KnownPattern.cl100kPattern(#"\p{N}{1,3}"#): self = .cl100k(digits: 3)
    default: return nil
    }
  }

  /// The pattern as written in tokenizer.json.
  var pattern: String {
    switch self {
    case .gpt2: KnownPattern.gpt2Pattern
    case .cl100k(let digits): KnownPattern.cl100kPattern(digits == 1 ? #"\p{N}"# : #"\p{N}{1,3}"#)
    }
  }

  /// Calls the body with the bounds of each match; together they cover the text.
  func forEachMatch(in text: UnsafeBufferPointer<UInt8>, _ body: (Int, Int) -> Void) {
    guard let base = text.baseAddress else { return }
    let scanner = CharacterScanner(text: base, count: text.count)
    var at = 0
    while at < text.count {
      let end =
        switch self {
        case .gpt2: scanner.gpt2Match(at)
        case .cl100k(let digits): scanner.cl100kMatch(at, digits)
        }
      body(at, end)
      at = end
    }
  }
}

/// Looks at a text character by character through the category table.
private struct CharacterScanner {
  static let letter = CategoryTable.mask([.lu, .ll, .lt, .lm, .lo])
  static let number = CategoryTable.mask([.nd, .nl, .no])
  static let space = CategoryTable.mask([.zs, .zl, .zp]) | 1 << UInt32(CategoryTable.controlSpace)
  static let carriageReturn = UInt8(ascii: "\r")
  static let lineFeed = UInt8(ascii: "\n")

  let text: UnsafePointer<UInt8>
  let count: Int
  let table = CategoryTable.shared
  let letter = CharacterScanner.letter
  let number = CharacterScanner.number
  let space = CharacterScanner.space

  @inline(__always)
  func category(_ at: Int) -> (bit: UInt32, length: Int) {
    let (value, length) = UTF8Bytes.scalar(text, at)
    return (table.bit(value), length)
  }

  /// The end of a run of characters inside (or outside) a mask.
  @inline(__always)
  func run(_ start: Int, _ mask: UInt32, _ inside: Bool = true) -> Int {
    var at = start
    while at < count {
      let (bit, length) = category(at)
      if (bit & mask != 0) != inside { break }
      at &+= length
    }
    return at
  }

  /// `'s|'t|'re|'ve|'m|'ll|'d` at an apostrophe: the end, or 0.
  @inline(__always)
  func contraction(_ at: Int, foldsCase: Bool) -> Int {
    guard at &+ 1 < count else { return 0 }
    let fold: UInt8 = foldsCase ? 0x20 : 0
    let first = text[at &+ 1]
    switch first | (first < 0x80 ? fold : 0) {
    case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"): return at &+ 2
    case 0xC5 where foldsCase && at &+ 2 < count && text[at &+ 2] == 0xBF: return at &+ 3  // ſ folds to s
    default: break
    }
    guard at &+ 2 < count else { return 0 }
    let second = text[at &+ 2]
    switch (first | (first < 0x80 ? fold : 0), second | (second < 0x80 ? fold : 0)) {
    case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
      (UInt8(ascii: "l"), UInt8(ascii: "l")):
      return at &+ 3
    default: return 0
    }
  }

  /// `\s+(?!\S)|\s+` at white space: all of a run that ends the text, else all but its last character, of
  /// which there is at least one.
  @inline(__always)
  func spaces(_ start: Int) -> Int {
    var at = start
    var last = start
    while at < count {
      let (bit, length) = category(at)
      if bit & space == 0 { return last > start ? last : at }
      last = at
      at &+= length
    }
    return at
  }

  @inline(__always)
  func gpt2Match(_ at: Int) -> Int {
    let first = text[at]
    if first == UInt8(ascii: "'") {
      let end = contraction(at, foldsCase: false)
      if end > 0 { return end }
    }
    let (bit, length) = category(at)
    var start = at
    var kind = bit
    if first == UInt8(ascii: " ") {
      guard at &+ 1 < count else { return count }
      kind = category(at &+ 1).bit
      if kind & space != 0 { return spaces(at) }
      start = at &+ 1
    } else if kind & space != 0 {
      return spaces(at)
    }
    let from = start == at ? at &+ length : start
    if kind & letter != 0 { return run(from, letter) }
    if kind & number != 0 { return run(from, number) }
    return run(from, letter | number | space, false)
  }

  @inline(__always)
  func cl100kMatch(_ at: Int, _ digits: Int) -> Int {
    let first = text[at]
    if first == UInt8(ascii: "'") {
      let end = contraction(at, foldsCase: true)
      if end > 0 { return end }
    }
    let (bit, length) = category(at)
    if bit & letter != 0 { return run(at &+ length, letter) }
    if bit & number != 0 {
      var end = at &+ length
      var left = digits &- 1
      while left > 0, end < count {
        let (next, step) = category(end)
        if next & number == 0 { break }
        end &+= step
        left &-= 1
      }
      return end
    }
    let isBreak = first == CharacterScanner.carriageReturn || first == CharacterScanner.lineFeed
    if !isBreak, at &+ length < count {
      // [^\r\n\p{L}\p{N}]?\p{L}+
      let (next, step) = category(at &+ length)
      if next & letter != 0 { return run(at &+ length &+ step, letter) }
    }
    if bit & space == 0 || first == UInt8(ascii: " ") {
      //  ?[^\s\p{L}\p{N}]+[\r\n]*
      let start = first == UInt8(ascii: " ") ? at &+ 1 : at
      var end = run(start, letter | number | space, false)
      if end > start {
        while end < count,
          text[end] == CharacterScanner.carriageReturn || text[end] == CharacterScanner.lineFeed
        {
          end &+= 1
        }
        return end
      }
    }
    // \s*[\r\n]+|\s+(?!\S)|\s+ : the run of white space up to its last line break, if it has one.
    var end = at
    var lastBreak = 0
    while end < count {
      let byte = text[end]
      let (next, step) = category(end)
      if next & space == 0 { break }
      end &+= step
      if byte == CharacterScanner.carriageReturn || byte == CharacterScanner.lineFeed { lastBreak = end }
    }
    return lastBreak > 0 ? lastBreak : spaces(at)
  }
}
