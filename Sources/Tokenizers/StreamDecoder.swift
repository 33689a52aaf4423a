/// Bytes to text as they arrive: complete characters at once, an incomplete tail when it is complete.
///
/// Ill-formed bytes become U+FFFD as `String(decoding:)` and Rust's `from_utf8_lossy` have it: one for each
/// maximal part of a character.
struct UTF8StreamDecoder: Sendable {
  private var tail: [UInt8] = []

  /// The text that became certain.
  mutating func append(_ bytes: [UInt8]) -> String {
    tail += bytes
    let certain = tail.count - UTF8StreamDecoder.incompleteTail(tail)
    guard certain > 0 else { return "" }
    defer { tail.removeFirst(certain) }
    return String(decoding: tail[..<certain], as: UTF8.self)
  }

  /// U+FFFD for what stayed incomplete.
  mutating func finish() -> String {
    defer { tail = [] }
    return String(decoding: tail, as: UTF8.self)
  }

  /// How many bytes at the end could still become a character.
  static func incompleteTail(_ bytes: [UInt8]) -> Int {
    for length in 1...3 where length <= bytes.count {
      let start = bytes.count - length
      let first = bytes[start]
      if first & 0xC0 == 0x80 { continue }
      let needed = first >= 0xF0 ? 4 : (first >= 0xE0 ? 3 : (first >= 0xC2 ? 2 : 1))
      guard first <= 0xF4, length < needed else { return 0 }
      // The second byte may already make it impossible.
      if length > 1 {
        let second = bytes[start + 1]
        let isPossible =
          switch first {
          case 0xE0: second >= 0xA0
          case 0xED: second <= 0x9F
          case 0xF0: second >= 0x90
          case 0xF4: second <= 0x8F
          default: true
          }
        if !isPossible { return 0 }
      }
      return length
    }
    return 0
  }
}

/// Decodes tokens one at a time, for text that is shown while it is generated.
///
/// The pieces joined, `finish` included, equal `Tokenizer.decode` of all tokens.
public struct StreamDecoder: Sendable {
  private let tokenizer: Tokenizer
  private let skipsSpecialTokens: Bool
  private var chain: DecodingChain

  init(tokenizer: Tokenizer, skipsSpecialTokens: Bool) {
    self.tokenizer = tokenizer
    self.skipsSpecialTokens = skipsSpecialTokens
    chain = DecodingChain(tokenizer.storage.decoders)
  }

  /// The text that became certain by one more token; empty while a character is incomplete.
  ///
  /// An id that the vocabulary does not have adds nothing, as in `decode`.
  public mutating func append(_ id: Int) -> String {
    guard let token = tokenizer.token(for: id), !(skipsSpecialTokens && tokenizer.isSpecial(id)) else {
      return ""
    }
    return chain.push(token)
  }

  /// What was held back, after the last token.
  public mutating func finish() -> String { chain.finish() }
}
