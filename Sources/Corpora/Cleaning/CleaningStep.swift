import Tokenizers

/// One way to clean a text.
///
/// Steps are applied in the order in which they stand here.
public enum CleaningStep: String, Sendable, CaseIterable {
  /// Bytes that are no UTF-8 become U+FFFD. Without this step they are an error.
  case repair
  /// Tags and comments go away, scripts and styles with what is in them; entities become characters.
  case html
  /// Marks of headings, lists, emphasis, code, tables and quotes go away; links leave their text.
  case markdown
  /// Characters that nobody sees go away: controls, byte-order marks, zero-width spaces, directions, private use.
  case controls
  /// Full-width letters, digits and signs become ordinary ones and half-width katakana become full ones; the
  /// punctuation of Chinese and Japanese text stays as it is.
  case width
  /// Composed characters in place of a letter and its marks (NFC).
  case normalForm = "nfc"
  /// One kind of space and of line end; no spaces around lines, no runs of them, at most one blank line.
  case whitespace

  /// The steps that are taken unless told otherwise: all but `repair`.
  public static let usual = Set(allCases).subtracting([.repair])

  /// The text after the step; `nil` when it stays as it is.
  ///
  /// - Parameter text: UTF-8, but for `repair`.
  func apply(to text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    switch self {
    case .repair: UTF8Repair.apply(to: text)
    case .html: HTMLCleaning.apply(to: text)
    case .markdown: MarkdownCleaning.apply(to: text)
    case .controls: ControlCleaning.apply(to: text)
    case .width: WidthCleaning.apply(to: text)
    case .normalForm: UnicodeText.composed(text)
    case .whitespace: WhitespaceCleaning.apply(to: text)
    }
  }
}

/// Bytes that are no text.
enum UTF8Repair {
  /// Each bad byte, or beginning of a character that breaks off, becomes U+FFFD.
  static func apply(to text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    guard UTF8Bytes.firstInvalidByte(text) != nil else { return nil }
    return Array(String(decoding: text, as: UTF8.self).utf8)
  }
}

/// Rewrites text character by character.
enum CharacterCleaning {
  /// The text with each character passed through the body, which appends what takes its place, or leaves it.
  ///
  /// - Parameter body: value, position and length of a character beyond ASCII or below U+0020 or U+007F, and the
  ///   output; false leaves the character as it is.
  @inline(__always)
  static func apply(
    to text: UnsafeBufferPointer<UInt8>, from first: Int = 0,
    _ body: (UInt32, Int, Int, inout [UInt8]) -> Bool
  ) -> [UInt8]? {
    guard let base = text.baseAddress else { return nil }
    var out: [UInt8] = []
    var scratch: [UInt8] = []
    var copied = 0
    var at = first
    while at < text.count {
      if text[at] >= 0x20, text[at] < 0x7F {
        at &+= 1
        continue
      }
      let (value, length) = UTF8Bytes.scalar(base, at)
      scratch.removeAll(keepingCapacity: true)
      if body(value, at, length, &scratch) {
        if out.isEmpty { out.reserveCapacity(text.count) }
        out.append(contentsOf: text[copied..<at])
        out.append(contentsOf: scratch)
        copied = at &+ length
      }
      at &+= length
    }
    if copied == 0 { return nil }
    out.append(contentsOf: text[copied...])
    return out
  }
}

/// Characters that nobody sees.
enum ControlCleaning {
  static func apply(to text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    CharacterCleaning.apply(to: text) { value, _, _, _ in isRemoved(value) }
  }

  /// Tab, line ends and the vertical ones are white space and stay; so do the joiners that scripts and emoji
  /// need (U+200C, U+200D), and variation selectors.
  static func isRemoved(_ value: UInt32) -> Bool {
    switch value {
    case 0x09...0x0D, 0x85: false
    case 0x00...0x1F, 0x7F...0x9F, 0xAD: true
    case 0x200C, 0x200D: false
    case 0x180E, 0x200B...0x200F, 0x202A...0x202E, 0x2060...0x206F, 0xFEFF, 0xFFF0...0xFFFB: true
    case 0xE000...0xF8FF, 0xF0000...0x10FFFF: true
    case 0xE0000...0xE007F: false  // tags of flags
    case 0xFDD0...0xFDEF: true
    default: value & 0xFFFE == 0xFFFE
    }
  }
}

/// Full-width and half-width forms.
enum WidthCleaning {
  static func apply(to text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    guard let base = text.baseAddress else { return nil }
    var skipUntil = 0
    return CharacterCleaning.apply(to: text) { value, at, length, out in
      if at < skipUntil {
        skipUntil = 0
        return true
      }
      switch value {
      case 0x3000:
        out.append(UInt8(ascii: " "))
        return true
      case 0xFF01...0xFF5E where !isPunctuation(value):
        out.append(UInt8(truncatingIfNeeded: value - 0xFEE0))
        return true
      case 0xFF61...0xFF9F:
        var next: UInt32 = 0
        if at + length < text.count { next = UTF8Bytes.scalar(base, at + length).value }
        let (kana, takesMark) = katakana(value, mark: next)
        if takesMark { skipUntil = at + length + 1 }
        UTF8Bytes.append(kana, to: &out)
        return true
      case 0xFFE0...0xFFE6:
        UTF8Bytes.append([0xA2, 0xA3, 0xAC, 0xAF, 0xA6, 0xA5, 0x20A9][Int(value - 0xFFE0)], to: &out)
        return true
      case 0xFFE8...0xFFEE:
        let signs: [UInt32] = [0x2502, 0x2190, 0x2191, 0x2192, 0x2193, 0x25A0, 0x25CB]
        UTF8Bytes.append(signs[Int(value - 0xFFE8)], to: &out)
        return true
      default: return false
      }
    }
  }

  /// Full-width marks that Chinese and Japanese text is set with: ！（），：；？～.
  private static func isPunctuation(_ value: UInt32) -> Bool {
    switch value {
    case 0xFF01, 0xFF08, 0xFF09, 0xFF0C, 0xFF1A, 0xFF1B, 0xFF1F, 0xFF5E: true
    default: false
    }
  }

  /// U+FF61 to U+FF9F in full width.
  private static let katakana: [UInt32] =
    "。「」、・ヲァィゥェォャュョッーアイウエオカキクケコサシスセソタチツテトナニヌネノハヒフヘホマミムメモヤユヨラリルレロワン゛゜"
    .unicodeScalars.map(\.value)

  /// The full form, joined with a voicing mark that follows where it takes one.
  private static func katakana(_ value: UInt32, mark: UInt32) -> (kana: UInt32, takesMark: Bool) {
    let kana = katakana[Int(value - 0xFF61)]
    switch (mark, kana) {
    case (0xFF9E, 0x30A6): return (0x30F4, true)
    case (0xFF9E, 0x30EF): return (0x30F7, true)
    case (0xFF9E, 0x30F2): return (0x30FA, true)
    // カ to チ at odd places, ツ to ト at even ones: the voiced letter comes next.
    case (0xFF9E, 0x30AB...0x30C1) where kana % 2 == 1, (0xFF9E, 0x30C4...0x30C8) where kana % 2 == 0:
      return (kana + 1, true)
    case (0xFF9E, 0x30CF...0x30DB) where kana % 3 == 0x30CF % 3: return (kana + 1, true)
    case (0xFF9F, 0x30CF...0x30DB) where kana % 3 == 0x30CF % 3: return (kana + 2, true)
    default: return (kana, false)
    }
  }
}

/// White space.
enum WhitespaceCleaning {
  static func apply(to text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    guard let base = text.baseAddress else { return nil }
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    let (space, lineFeed) = (UInt8(ascii: " "), UInt8(ascii: "\n"))
    var pendingSpace = false
    var pendingFeeds = 0
    var at = 0
    while at < text.count {
      let (value, length) = UTF8Bytes.scalar(base, at)
      switch value {
      case 0x20, 0x09, 0xA0, 0x1680, 0x2000...0x200A, 0x202F, 0x205F, 0x3000: pendingSpace = true
      case 0x0D where at + 1 < text.count && text[at + 1] == 0x0A: break
      case 0x0A...0x0D, 0x85, 0x2028: pendingFeeds += 1
      case 0x2029: pendingFeeds += 2
      default:
        if !out.isEmpty {
          if pendingFeeds > 0 {
            for _ in 0..<min(pendingFeeds, 2) { out.append(lineFeed) }
          } else if pendingSpace {
            out.append(space)
          }
        }
        pendingSpace = false
        pendingFeeds = 0
        for byte in at..<at + length { out.append(text[byte]) }
      }
      at += length
    }
    return out.elementsEqual(text) ? nil : out
  }
}
