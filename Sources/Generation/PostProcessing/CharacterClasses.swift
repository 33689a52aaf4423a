// What the steps want to know of a character. Each table is small and closed: it says which characters a step
// touches, so it names them instead of leaning on a Unicode property that a later version may widen.

extension Unicode.Scalar {
  /// Han, kana or bopomofo: scripts written without spaces, with full-width punctuation.
  ///
  /// Hangul is not among them: Korean puts spaces between words and uses half-width punctuation.
  var isIdeograph: Bool {
    switch value {
    case 0x2E80...0x2FDF, 0x3005...0x3007, 0x3021...0x3029, 0x3041...0x30FA, 0x30FC...0x30FF, 0x3105...0x312F,
      0x31A0...0x31BF, 0x31F0...0x31FF, 0x3400...0x4DBF, 0x4E00...0x9FFF, 0xF900...0xFAFF, 0xFF66...0xFF9D,
      0x20000...0x3FFFD:
      true
    default: false
    }
  }

  /// Punctuation that only Chinese and Japanese use.
  var isFullWidthPunctuation: Bool {
    switch value {
    case 0x3001...0x3003, 0x3008...0x3011, 0x3014...0x301F, 0x30FB, 0xFF01...0xFF0F, 0xFF1A...0xFF20,
      0xFF3B...0xFF40, 0xFF5B...0xFF65:
      true
    default: false
    }
  }

  /// Punctuation that Chinese shares with Western languages: curly quotes, ellipsis, dash, middle dot.
  var isSharedPunctuation: Bool {
    switch self {
    case "\u{201C}", "\u{201D}", "\u{2018}", "\u{2019}", "…", "—", "·": true
    default: false
    }
  }

  /// A letter or digit of a script that sets words apart, such as Latin, Cyrillic and Arabic.
  var isWordCharacter: Bool {
    if isASCII {
      return switch self {
      case "a"..."z", "A"..."Z", "0"..."9": true
      default: false
      }
    }
    if isIdeograph || isFullWidthPunctuation { return false }
    switch value {
    // Thai, Lao, Tibetan, Myanmar, Khmer have no spaces; Hangul glues particles to its words.
    case 0x0E00...0x0EFF, 0x0F00...0x109F, 0x1100...0x11FF, 0x1780...0x17FF, 0x3130...0x318F, 0xA960...0xA97F,
      0xAC00...0xD7FF:
      return false
    default: return properties.isAlphabetic || properties.numericType != nil
    }
  }

  /// Space within a line: everything of that kind, from the tab to the ideographic space.
  var isHorizontalSpace: Bool {
    switch value {
    case 0x09, 0x20, 0xA0, 0x1680, 0x2000...0x200A, 0x202F, 0x205F, 0x3000: true
    default: false
    }
  }

  /// The end of a line or paragraph, in any of its spellings.
  var isLineEnd: Bool {
    switch value {
    case 0x0A...0x0D, 0x85, 0x2028, 0x2029: true
    default: false
    }
  }

  /// Shows nothing and stands alone: zero-width space, byte-order mark, word joiner, soft hyphen.
  ///
  /// Joiners within a character (an emoji family, Persian, Indic conjuncts) belong to that character.
  var isInvisible: Bool {
    switch value {
    case 0xAD, 0x180E, 0x200B...0x200D, 0x2060, 0xFEFF: true
    default: false
    }
  }

  /// A closing quotation mark or bracket.
  var isCloser: Bool {
    switch self {
    case "\u{201D}", "\u{2019}", "」", "』", "）", "】", "》", "〉", "〕", "〗", "］", "｝", "｣", ")", "]", "}", "»":
      true
    default: false
    }
  }

  /// An opening quotation mark or bracket.
  var isOpener: Bool {
    switch self {
    case "\u{201C}", "\u{2018}", "「", "『", "（", "【", "《", "〈", "〔", "〖", "［", "｛", "｢", "(", "[", "{", "«":
      true
    default: false
    }
  }

  /// What may not begin a line (kinsoku): closers, and marks that belong to what stands before them.
  var isForbiddenAtLineStart: Bool {
    if isCloser { return true }
    switch self {
    case "、", "。", "，", "．", "！", "？", "；", "：", "｡", "､", "…", "·", "・", "％", "‰", "～", ",", ".", "!", "?",
      ";",
      ":", "%":
      return true
    default: return false
    }
  }

  /// The half-width form of a full-width ASCII character, and any other scalar itself.
  var halfWidth: Unicode.Scalar {
    (0xFF01...0xFF5E).contains(value) ? Unicode.Scalar(value - 0xFEE0)! : self
  }

  /// Columns of a terminal: 2 for East Asian wide and full-width, 1 for others and for ambiguous ones.
  ///
  /// - SeeAlso: Unicode Standard Annex 11.
  var columnCount: Int {
    if value < 0x300 { return value < 0x20 || (0x7F..<0xA0).contains(value) || value == 0xAD ? 0 : 1 }
    if isIdeograph { return (0xFF66...0xFF9D).contains(value) ? 1 : 2 }
    switch value {
    case 0x1100...0x115F, 0x2FF0...0x303E, 0x3099...0x33FF, 0xA000...0xA4CF, 0xA960...0xA97F, 0xAC00...0xD7A3,
      0xFE10...0xFE19, 0xFE30...0xFE6F, 0xFF01...0xFF60, 0xFFE0...0xFFE6:
      return 2
    default: break
    }
    switch properties.generalCategory {
    case .nonspacingMark, .enclosingMark, .format, .control, .lineSeparator, .paragraphSeparator: return 0
    default: return properties.isEmojiPresentation ? 2 : 1
    }
  }
}

extension TextCharacter {
  /// A space or tab of any kind.
  var isSpace: Bool { isSingle && scalar.isHorizontalSpace }

  /// The end of a line, CR LF included.
  var isLineEnd: Bool { scalar.isLineEnd && (isSingle || bytes.count == 2) }

  /// Han, kana or bopomofo, with variation selectors or without.
  var isIdeograph: Bool { scalar.isIdeograph }

  /// Han, kana or bopomofo, or punctuation that belongs to them alone.
  var isChinese: Bool { scalar.isIdeograph || scalar.isFullWidthPunctuation }

  /// A letter or digit of a script that sets words apart, marks included.
  var isWordCharacter: Bool { scalar.isWordCharacter }

  /// An emoji: shown as one by default, or asked to be by a variation selector.
  var isEmoji: Bool {
    scalar.value > 0x20E2
      && (scalar.properties.isEmojiPresentation || (!isSingle && scalar.properties.isEmoji))
  }

  /// Columns of a terminal that it takes; a tab counts as four.
  var columnCount: Int {
    if isOnly("\t") { return 4 }
    return isEmoji || (0x1F1E6...0x1F1FF).contains(scalar.value) && !isSingle ? 2 : scalar.columnCount
  }
}
