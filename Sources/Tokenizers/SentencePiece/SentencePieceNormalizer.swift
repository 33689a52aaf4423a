/// SentencePiece's normalising: rules, white space, the space in front.
///
/// - SeeAlso: `Normalizer::Normalize` of sentencepiece.
final class SentencePieceNormalizer: Sendable {
  /// The character that stands for a space in the pieces: U+2581.
  static let space: [UInt8] = [0xE2, 0x96, 0x81]

  private let rules: Charsmap?
  /// Symbols that are never changed.
  private let symbols: ByteTrie?
  private let scheme: PreTokenizer.PrependScheme
  private let removesExtraWhitespace: Bool
  private let escapes: Bool
  private let putsSpaceBehind: Bool
  /// Spaces are treated as llama.cpp does for its `t5` vocabularies: one in front of each word.
  private let marksWords: Bool

  init(
    rules: Charsmap?, symbols: ByteTrie?, scheme: PreTokenizer.PrependScheme, removesExtraWhitespace: Bool,
    escapes: Bool, putsSpaceBehind: Bool, marksWords: Bool = false
  ) {
    self.rules = rules
    self.symbols = symbols
    self.scheme = scheme
    self.removesExtraWhitespace = removesExtraWhitespace
    self.escapes = escapes
    self.putsSpaceBehind = putsSpaceBehind
    self.marksWords = marksWords
  }

  /// The normalised text of a text that is not empty.
  func apply(to text: UnsafeBufferPointer<UInt8>, beginsText: Bool) -> [UInt8] {
    let prepends = scheme == .always || (scheme == .first && beginsText)
    var out: [UInt8] = []
    out.reserveCapacity(text.count + text.count / 2 + 16)
    if marksWords {
      markWords(text, prepends, &out)
    } else {
      normalize(text, prepends, &out)
    }
    return out
  }

  /// Calls the body with what the next part of the text becomes; returns how much of the text that is.
  @inline(__always)
  private func step(
    _ text: UnsafePointer<UInt8>, _ count: Int, _ body: (UnsafeBufferPointer<UInt8>) -> Void
  ) -> Int {
    if let symbols {
      let length = symbols.longestPrefix(text, count).length
      if length > 0 {
        body(UnsafeBufferPointer(start: text, count: length))
        return length
      }
    }
    if let rules, let match = rules.longest(text, count) {
      rules.withReplacement(match, body)
      return match.length
    }
    let length = UTF8Bytes.scalar(text, 0).length
    body(UnsafeBufferPointer(start: text, count: length))
    return length
  }

  private func normalize(_ text: UnsafeBufferPointer<UInt8>, _ prepends: Bool, _ out: inout [UInt8]) {
    let base = text.baseAddress!
    let blank = UInt8(ascii: " ")
    let space = escapes ? SentencePieceNormalizer.space : [blank]
    var at = 0
    if removesExtraWhitespace {
      while at < text.count {
        var isSpace = false
        let length = step(base + at, text.count - at) { isSpace = $0.count == 1 && $0[0] == blank }
        guard isSpace else { break }
        at += length
      }
      if at == text.count { return }
    }
    if !putsSpaceBehind, prepends { out += space }
    var followsSpace = removesExtraWhitespace
    while at < text.count {
      at += step(base + at, text.count - at) { part in
        var start = 0
        while followsSpace, start < part.count, part[start] == blank { start += 1 }
        guard start < part.count else { return }
        for byte in part[start...] {
          if byte == blank { out += space } else { out.append(byte) }
        }
        followsSpace = part[part.count - 1] == blank
      }
      if !removesExtraWhitespace { followsSpace = false }
    }
    if removesExtraWhitespace {
      while out.count >= space.count, out[(out.count - space.count)...].elementsEqual(space) {
        out.removeLast(space.count)
      }
    }
    if putsSpaceBehind, prepends { out += space }
  }

  private func markWords(_ text: UnsafeBufferPointer<UInt8>, _ prepends: Bool, _ out: inout [UInt8]) {
    let base = text.baseAddress!
    let blank = UInt8(ascii: " ")
    let space = escapes ? SentencePieceNormalizer.space : [blank]
    var isPrepended = false
    var isInWord = false
    var at = 0
    while at < text.count {
      at += step(base + at, text.count - at) { part in
        for byte in part {
          if byte != blank {
            if !isInWord {
              isInWord = true
              if (!putsSpaceBehind && prepends && !isPrepended) || removesExtraWhitespace {
                out += space
                isPrepended = true
              }
            }
            out.append(byte)
          } else {
            isInWord = false
            if !removesExtraWhitespace { out += space }
          }
        }
      }
    }
    if putsSpaceBehind, prepends { out += space }
  }
}
