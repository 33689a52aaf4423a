/// One step that cuts normalised text into words.
enum PreTokenizer: Sendable {
  /// What a `Split` looks for.
  enum Pattern: Sendable {
    case text([UInt8])
    case regex(Regex)
    /// A well-known pattern, matched without the regular-expression engine.
    case known(KnownPattern)
  }

  /// Where `Metaspace` puts its mark in front.
  enum PrependScheme: String, Sendable {
    case always, first, never
  }

  /// GPT-2's byte-level step. `mapsBytes` is false when the model itself works on bytes.
  case byteLevel(addsPrefixSpace: Bool, pattern: Pattern?, mapsBytes: Bool)
  case split(Pattern, PreTokenizedText.DelimiterBehavior, inverted: Bool)
  case whitespaceSplit
  /// Words and runs of punctuation: `\w+|[^\w\s]+`.
  case whitespace
  case digits(individually: Bool)
  case punctuation(PreTokenizedText.DelimiterBehavior)
  case delimiter([UInt8])
  case metaspace(replacement: [UInt8], PrependScheme, splits: Bool)
  /// White space removed, punctuation alone.
  case bert
  /// Runs of one script; kana and Han count as one, and spaces go with any.
  case unicodeScripts
  /// Pieces of so many characters.
  case fixedLength(Int)

  /// Applies the step to every piece.
  func apply(to text: inout PreTokenizedText, scratch: RegexScratch) throws {
    switch self {
    case .byteLevel(let addsPrefixSpace, let pattern, let mapsBytes):
      if addsPrefixSpace {
        text.rewrite { _, bytes, out in
          if bytes[0] != UInt8(ascii: " ") { out.append(UInt8(ascii: " ")) }
          out.append(contentsOf: bytes)
        }
      }
      if let pattern { try PreTokenizer.split(&text, pattern, .isolated, inverted: false, scratch) }
      if mapsBytes { text.rewrite { ByteAlphabet.appendCharacters(of: $1, to: &$2) } }
    case .split(let pattern, let behavior, let inverted):
      try PreTokenizer.split(&text, pattern, behavior, inverted: inverted, scratch)
    case .whitespaceSplit:
      text.split(.removed) { PreTokenizer.forEachScalar(in: $0, of: .whitespace, $1) }
    case .whitespace:
      text.split(.removed, inverted: true) { PreTokenizer.forEachWord(in: $0, $1) }
    case .digits(let individually):
      text.split(individually ? .isolated : .contiguous) {
        PreTokenizer.forEachScalar(in: $0, of: .digits, $1)
      }
    case .punctuation(let behavior):
      text.split(behavior) { PreTokenizer.forEachScalar(in: $0, of: .punctuation, $1) }
    case .delimiter(let delimiter):
      text.split(.removed) { PreTokenizer.forEachOccurrence(of: delimiter, in: $0, $1) }
    case .bert: text.cut { PreTokenizer.cutForBert($0, $1, &$2) }
    case .unicodeScripts: text.cut { PreTokenizer.cutAtScripts($0, $1, &$2) }
    case .fixedLength(let length):
      text.cut { bytes, base, out in
        var start = 0
        while start < bytes.count {
          var end = start
          for _ in 0..<length where end < bytes.count {
            end += UTF8Bytes.scalar(bytes.baseAddress!, end).length
          }
          out.append(.init(start: base + UInt32(start), end: base + UInt32(end)))
          start = end
        }
      }
    case .metaspace(let replacement, let scheme, let splits):
      text.rewrite { isBeginning, bytes, out in
        let start = out.count
        for byte in bytes {
          if byte == UInt8(ascii: " ") {
            out.append(contentsOf: replacement)
          } else {
            out.append(byte)
          }
        }
        let isMarked = out[start...].starts(with: replacement)
        if !isMarked, scheme == .always || (scheme == .first && isBeginning) {
          out.insert(contentsOf: replacement, at: start)
        }
      }
      if splits {
        text.split(.mergedWithNext) { PreTokenizer.forEachOccurrence(of: replacement, in: $0, $1) }
      }
    }
  }

  private static func split(
    _ text: inout PreTokenizedText, _ pattern: Pattern, _ behavior: PreTokenizedText.DelimiterBehavior,
    inverted: Bool, _ scratch: RegexScratch
  ) throws {
    switch pattern {
    case .text(let wanted):
      text.split(behavior, inverted: inverted) { forEachOccurrence(of: wanted, in: $0, $1) }
    case .regex(let regex):
      try text.split(behavior, inverted: inverted) { try regex.forEachMatch(in: $0, scratch: scratch, $1) }
    case .known(let known):
      text.split(behavior, inverted: inverted) { known.forEachMatch(in: $0, $1) }
    }
  }

  /// 0 a letter, 1 white space, 2 punctuation.
  private static let bertKinds = CodePointTable([(.whitespace, 1), (.punctuation, 2)])

  private static func cutForBert(
    _ text: UnsafeBufferPointer<UInt8>, _ base: UInt32, _ out: inout [PreTokenizedText.Piece]
  ) {
    guard let bytes = text.baseAddress else { return }
    let kinds = bertKinds
    var start = 0
    var at = 0
    while at < text.count {
      let (value, length) = UTF8Bytes.scalar(bytes, at)
      let kind = kinds[value]
      if kind != 0 {
        if start < at { out.append(.init(start: base + UInt32(start), end: base + UInt32(at))) }
        start = at + length
        if kind == 2 { out.append(.init(start: base + UInt32(at), end: base + UInt32(start))) }
      }
      at += length
    }
    if start < at { out.append(.init(start: base + UInt32(start), end: base + UInt32(at))) }
  }

  private static let scriptNumbers = CodePointTable(runs: CodePointTable.scripts)

  private static func cutAtScripts(
    _ text: UnsafeBufferPointer<UInt8>, _ base: UInt32, _ out: inout [PreTokenizedText.Piece]
  ) {
    guard let bytes = text.baseAddress else { return }
    let scripts = scriptNumbers
    var start = -1
    var last: UInt8 = 0
    var at = 0
    while at < text.count {
      let (value, length) = UTF8Bytes.scalar(bytes, at)
      let script = scripts[value]
      if script != 0, script != last {
        // What is in front of the first script belongs to no piece, as in `tokenizers`.
        if start >= 0 { out.append(.init(start: base + UInt32(start), end: base + UInt32(at))) }
        start = at
        last = script
      }
      at += length
    }
    if start >= 0 { out.append(.init(start: base + UInt32(start), end: base + UInt32(at))) }
  }

  private static func forEachScalar(
    in text: UnsafeBufferPointer<UInt8>, of set: CodePointSet, _ body: (Int, Int) -> Void
  ) {
    guard let base = text.baseAddress else { return }
    var at = 0
    while at < text.count {
      let (value, length) = UTF8Bytes.scalar(base, at)
      if set.contains(value) { body(at, at + length) }
      at += length
    }
  }

  private static func forEachWord(in text: UnsafeBufferPointer<UInt8>, _ body: (Int, Int) -> Void) {
    guard let base = text.baseAddress else { return }
    var start = 0
    var kind = 0  // 0 space, 1 word, 2 other
    var at = 0
    while at < text.count {
      let (value, length) = UTF8Bytes.scalar(base, at)
      let next =
        CodePointSet.wordOfAddedTokens.contains(value)
        ? 1 : (CodePointSet.whitespace.contains(value) ? 0 : 2)
      if next != kind {
        if kind != 0 { body(start, at) }
        start = at
        kind = next
      }
      at += length
    }
    if kind != 0 { body(start, at) }
  }

  static func forEachOccurrence(
    of wanted: [UInt8], in text: UnsafeBufferPointer<UInt8>, _ body: (Int, Int) -> Void
  ) {
    guard let first = wanted.first else { return }
    var at = 0
    while at + wanted.count <= text.count {
      if text[at] == first, text[at..<(at + wanted.count)].elementsEqual(wanted) {
        body(at, at + wanted.count)
        at += wanted.count
      } else {
        at += 1
      }
    }
  }
}
