/// Byte-level characters back to bytes; a token with any other character counts by its own UTF-8.
struct ByteLevelStage: DecodingStage {
  private var decoder = UTF8StreamDecoder()
  private var fused = ""
  private var isFused = false

  mutating func push(_ piece: DecodedPiece, _ emit: (DecodedPiece) -> Void) {
    switch piece {
    case .token(let token):
      let text = decoder.append(ByteLevelStage.bytes(of: token))
      if !text.isEmpty { emit(.part(text)) }
    case .part(let text):
      // One token of unknown length: whether it is of the alphabet is known at its end.
      isFused = true
      fused += text
    }
  }

  mutating func finish(_ emit: (DecodedPiece) -> Void) {
    var text = isFused ? decoder.append(ByteLevelStage.bytes(of: fused)) : ""
    text += decoder.finish()
    if !text.isEmpty { emit(.part(text)) }
  }

  /// The bytes that a token stands for.
  static func bytes(of token: String) -> [UInt8] {
    var out: [UInt8] = []
    var token = token
    token.withUTF8 {
      if !ByteAlphabet.appendBytes(of: $0, to: &out) { out.append(contentsOf: $0) }
    }
    return out
  }
}

/// Runs of `<0x0A>` tokens to text, or to U+FFFD each when a run is not UTF-8.
struct ByteFallbackStage: DecodingStage {
  private var run: [UInt8] = []
  private var fused: String?

  mutating func push(_ piece: DecodedPiece, _ emit: (DecodedPiece) -> Void) {
    switch piece {
    case .token(let token):
      if let byte = ByteFallbackStage.byte(of: token) {
        run.append(byte)
      } else {
        flush(emit)
        emit(.token(token))
      }
    case .part(let text):
      fused = (fused ?? "") + text
    }
  }

  mutating func finish(_ emit: (DecodedPiece) -> Void) {
    if let fused { push(.token(fused), emit) }
    flush(emit)
  }

  private mutating func flush(_ emit: (DecodedPiece) -> Void) {
    guard !run.isEmpty else { return }
    if run.withUnsafeBufferPointer({ UTF8Bytes.firstInvalidByte($0) }) == nil {
      emit(.token(String(decoding: run, as: UTF8.self)))
    } else {
      for _ in run { emit(.token("\u{FFFD}")) }
    }
    run.removeAll()
  }

  /// The byte that a token such as `<0xE4>` stands for.
  static func byte(of token: String) -> UInt8? {
    let bytes = Array(token.utf8)
    guard bytes.count == 6, bytes.starts(with: "<0x".utf8), bytes[5] == UInt8(ascii: ">") else { return nil }
    let digits = String(decoding: bytes[3..<5], as: UTF8.self)
    // Rust's parser takes a sign before the digits.
    return UInt8(digits, radix: 16)
  }
}

/// All tokens become one.
struct FuseStage: DecodingStage {
  func push(_ piece: DecodedPiece, _ emit: (DecodedPiece) -> Void) {
    switch piece {
    case .token(let text), .part(let text): emit(.part(text))
    }
  }

  func finish(_ emit: (DecodedPiece) -> Void) {}
}

/// Replaces a pattern in every token.
struct ReplaceStage: DecodingStage {
  let pattern: Normalizer.Pattern
  let content: String
  private var held: [UInt8] = []

  init(pattern: Normalizer.Pattern, content: String) {
    self.pattern = pattern
    self.content = content
  }

  mutating func push(_ piece: DecodedPiece, _ emit: (DecodedPiece) -> Void) {
    switch piece {
    case .token(let token): emit(.token(replaced(Array(token.utf8))))
    case .part(let text):
      held += Array(text.utf8)
      guard case .text(let wanted) = pattern else { return }
      let certain = ReplaceStage.certain(held, wanted)
      guard certain > 0 else { return }
      emit(.part(replaced(Array(held[..<certain]))))
      held.removeFirst(certain)
    }
  }

  mutating func finish(_ emit: (DecodedPiece) -> Void) {
    if !held.isEmpty { emit(.part(replaced(held))) }
    held = []
  }

  /// How many bytes can be decided now: up to where an occurrence could have begun and not yet ended.
  private static func certain(_ bytes: [UInt8], _ wanted: [UInt8]) -> Int {
    guard !wanted.isEmpty else { return bytes.count }
    var end = 0
    bytes.withUnsafeBufferPointer { buffer in
      PreTokenizer.forEachOccurrence(of: wanted, in: buffer) { end = $1 }
    }
    var start = max(end, bytes.count - wanted.count + 1)
    while start < bytes.count, !wanted.starts(with: bytes[start...]) { start += 1 }
    // A character is not given out in halves.
    while start > 0, start < bytes.count, bytes[start] & 0xC0 == 0x80 { start -= 1 }
    return start
  }

  private func replaced(_ bytes: [UInt8]) -> String {
    let content = Array(content.utf8)
    let out = bytes.withUnsafeBufferPointer { buffer in
      // A pattern that gives up leaves the token as it is, as there is nobody to tell.
      (try? Normalizer.replaced(buffer, pattern, with: content, scratch: RegexScratch())) ?? nil
    }
    return String(decoding: out ?? bytes, as: UTF8.self)
  }
}

/// Removes up to so many of a character from both ends of every token.
struct StripStage: DecodingStage {
  let content: Unicode.Scalar
  let start: Int
  let stop: Int
  private var leftToCut: Int?
  private var tail = ""

  init(content: Unicode.Scalar, start: Int, stop: Int) {
    self.content = content
    self.start = start
    self.stop = stop
  }

  mutating func push(_ piece: DecodedPiece, _ emit: (DecodedPiece) -> Void) {
    switch piece {
    case .token(let token):
      var scalars = Substring(token).unicodeScalars
      cutStart(&scalars, start)
      emit(.token(String(cutStop(scalars))))
    case .part(let text):
      var scalars = Substring(tail + text).unicodeScalars
      let limit = leftToCut ?? start
      let cut = cutStart(&scalars, limit)
      leftToCut = scalars.isEmpty ? limit - cut : 0
      // The last characters may still turn out to be the end.
      var end = scalars.endIndex
      for _ in 0..<stop where end > scalars.startIndex { end = scalars.index(before: end) }
      tail = String(scalars[end...])
      if end > scalars.startIndex { emit(.part(String(scalars[..<end]))) }
    }
  }

  func finish(_ emit: (DecodedPiece) -> Void) {
    let rest = cutStop(Substring(tail).unicodeScalars)
    if !rest.isEmpty { emit(.part(String(rest))) }
  }

  @discardableResult
  private func cutStart(_ scalars: inout Substring.UnicodeScalarView, _ limit: Int) -> Int {
    var cut = 0
    while cut < limit, scalars.first == content {
      scalars.removeFirst()
      cut += 1
    }
    return cut
  }

  private func cutStop(_ scalars: Substring.UnicodeScalarView) -> Substring.UnicodeScalarView {
    var scalars = scalars
    var cut = 0
    while cut < stop, scalars.last == content {
      scalars.removeLast()
      cut += 1
    }
    return scalars
  }
}

/// Marks of `Metaspace` back to spaces; those of the first token are dropped.
struct MetaspaceStage: DecodingStage {
  let replacement: Unicode.Scalar
  let scheme: PreTokenizer.PrependScheme
  private var isFirst = true

  init(replacement: Unicode.Scalar, scheme: PreTokenizer.PrependScheme) {
    self.replacement = replacement
    self.scheme = scheme
  }

  mutating func push(_ piece: DecodedPiece, _ emit: (DecodedPiece) -> Void) {
    switch piece {
    case .token(let token):
      emit(.token(converted(token, isStart: isFirst)))
      isFirst = false
    case .part(let text):
      // All is one token, the first.
      emit(.part(converted(text, isStart: true)))
    }
  }

  func finish(_ emit: (DecodedPiece) -> Void) {}

  private func converted(_ text: String, isStart: Bool) -> String {
    var out = String.UnicodeScalarView()
    for scalar in text.unicodeScalars {
      if scalar != replacement {
        out.append(scalar)
      } else if !isStart || scheme == .never {
        out.append(" ")
      }
    }
    return String(out)
  }
}

/// Joins continuation pieces to what is before them, others by a space.
struct WordPieceStage: DecodingStage {
  let prefix: String
  let cleansUp: Bool
  private var isFirst = true
  private var fused: String?

  init(prefix: String, cleansUp: Bool) {
    self.prefix = prefix
    self.cleansUp = cleansUp
  }

  mutating func push(_ piece: DecodedPiece, _ emit: (DecodedPiece) -> Void) {
    switch piece {
    case .token(var token):
      if !isFirst {
        // By bytes: a mark behind the prefix makes no other prefix of it.
        if token.utf8.starts(with: prefix.utf8) {
          token = String(decoding: token.utf8.dropFirst(prefix.utf8.count), as: UTF8.self)
        } else {
          token = " " + token
        }
      }
      isFirst = false
      emit(.token(cleansUp ? WordPieceStage.cleanedUp(token) : token))
    case .part(let text):
      fused = (fused ?? "") + text
    }
  }

  mutating func finish(_ emit: (DecodedPiece) -> Void) {
    if let fused { push(.token(fused), emit) }
  }

  /// What is cleaned up in every token, in order.
  static let cleanUps: [(String, String)] = [
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
  ]

  static func cleanedUp(_ token: String) -> String {
    var out = token
    for (wanted, content) in cleanUps {
      var stage = ReplaceStage(pattern: .text(Array(wanted.utf8)), content: content)
      stage.push(.token(out)) { if case .token(let text) = $0 { out = text } }
    }
    return out
  }
}

/// The end-of-word suffix to a space, and to nothing in the last token.
struct SuffixStage: DecodingStage {
  let suffix: String
  private var held: String?

  init(suffix: String) {
    self.suffix = suffix
  }

  mutating func push(_ piece: DecodedPiece, _ emit: (DecodedPiece) -> Void) {
    switch piece {
    case .token(let token):
      flush(" ", emit)
      held = token
    case .part(let text): held = (held ?? "") + text
    }
  }

  mutating func finish(_ emit: (DecodedPiece) -> Void) { flush("", emit) }

  private mutating func flush(_ content: String, _ emit: (DecodedPiece) -> Void) {
    guard let token = held else { return }
    held = nil
    var stage = ReplaceStage(pattern: .text(Array(suffix.utf8)), content: content)
    stage.push(.token(token), emit)
  }
}

/// The first of equal neighbours, without padding, its delimiter as a space.
struct ConnectionistStage: DecodingStage {
  let padding: String
  let delimiter: String
  let cleansUp: Bool
  private var last: String?
  private var fused: String?

  init(padding: String, delimiter: String, cleansUp: Bool) {
    self.padding = padding
    self.delimiter = delimiter
    self.cleansUp = cleansUp
  }

  mutating func push(_ piece: DecodedPiece, _ emit: (DecodedPiece) -> Void) {
    switch piece {
    case .token(let token):
      if let last, last.utf8.elementsEqual(token.utf8) { return }
      last = token
      var text = ConnectionistStage.replacing(padding, by: "", in: token)
      if cleansUp {
        text = ConnectionistStage.replacing(delimiter, by: " ", in: WordPieceStage.cleanedUp(text))
      }
      if !text.isEmpty { emit(.token(text)) }
    case .part(let text): fused = (fused ?? "") + text
    }
  }

  mutating func finish(_ emit: (DecodedPiece) -> Void) {
    if let fused { push(.token(fused), emit) }
  }

  private static func replacing(_ wanted: String, by content: String, in token: String) -> String {
    var out = token
    var stage = ReplaceStage(pattern: .text(Array(wanted.utf8)), content: content)
    stage.push(.token(token)) { if case .token(let text) = $0 { out = text } }
    return out
  }
}

/// Tokens joined by single spaces.
struct JoinStage: DecodingStage {
  private var isFirst = true

  mutating func push(_ piece: DecodedPiece, _ emit: (DecodedPiece) -> Void) {
    switch piece {
    case .token(let token): emit(.part(isFirst ? token : " " + token))
    case .part(let text): emit(.part(text))
    }
    isFirst = false
  }

  func finish(_ emit: (DecodedPiece) -> Void) {}
}
