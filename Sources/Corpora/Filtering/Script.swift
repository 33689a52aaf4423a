/// Writing systems, told by the blocks of Unicode that hold their letters.
public enum Script: String, Sendable, CaseIterable {
  case latin, greek, cyrillic, armenian, hebrew, arabic, devanagari, bengali, gurmukhi, gujarati, tamil,
    telugu
  case kannada, malayalam, sinhala, thai, lao, tibetan, myanmar, georgian, ethiopic, khmer, mongolian
  case hiragana, katakana, hangul, han
  /// Letters of other scripts.
  case other

  /// Whether words follow each other without spaces, so that a character stands for a word.
  var hasNoSpaces: Bool {
    switch self {
    case .han, .hiragana, .katakana, .thai, .lao, .khmer, .myanmar, .tibetan: true
    default: false
    }
  }

  /// The script of a letter.
  static func of(_ codePoint: UInt32) -> Script {
    if codePoint < 0x250 { return .latin }
    var (low, high) = (0, blocks.count)
    while low < high {
      let middle = (low + high) / 2
      if blocks[middle].last < codePoint { low = middle + 1 } else { high = middle }
    }
    guard low < blocks.count, blocks[low].first <= codePoint else { return .other }
    return blocks[low].script
  }

  private static let blocks: [(first: UInt32, last: UInt32, script: Script)] = [
    (0x0250, 0x02AF, .latin), (0x0370, 0x03FF, .greek), (0x0400, 0x052F, .cyrillic),
    (0x0531, 0x058F, .armenian),
    (0x0590, 0x05FF, .hebrew), (0x0600, 0x06FF, .arabic), (0x0750, 0x077F, .arabic),
    (0x08A0, 0x08FF, .arabic),
    (0x0900, 0x097F, .devanagari), (0x0980, 0x09FF, .bengali), (0x0A00, 0x0A7F, .gurmukhi),
    (0x0A80, 0x0AFF, .gujarati), (0x0B80, 0x0BFF, .tamil), (0x0C00, 0x0C7F, .telugu),
    (0x0C80, 0x0CFF, .kannada),
    (0x0D00, 0x0D7F, .malayalam), (0x0D80, 0x0DFF, .sinhala), (0x0E00, 0x0E7F, .thai), (0x0E80, 0x0EFF, .lao),
    (0x0F00, 0x0FFF, .tibetan), (0x1000, 0x109F, .myanmar), (0x10A0, 0x10FF, .georgian),
    (0x1100, 0x11FF, .hangul),
    (0x1200, 0x139F, .ethiopic), (0x1780, 0x17FF, .khmer), (0x1800, 0x18AF, .mongolian),
    (0x1C80, 0x1C8F, .cyrillic),
    (0x1C90, 0x1CBF, .georgian), (0x1D00, 0x1DBF, .latin), (0x1E00, 0x1EFF, .latin), (0x1F00, 0x1FFF, .greek),
    (0x2C60, 0x2C7F, .latin), (0x2D00, 0x2D2F, .georgian), (0x2D80, 0x2DDF, .ethiopic),
    (0x2DE0, 0x2DFF, .cyrillic),
    (0x2E80, 0x2FDF, .han), (0x3005, 0x3007, .han), (0x3021, 0x3029, .han), (0x3041, 0x309F, .hiragana),
    (0x30A0, 0x30FF, .katakana), (0x3131, 0x318F, .hangul), (0x31A0, 0x31BF, .other),
    (0x31F0, 0x31FF, .katakana),
    (0x3400, 0x4DBF, .han), (0x4E00, 0x9FFF, .han), (0xA640, 0xA69F, .cyrillic), (0xA720, 0xA7FF, .latin),
    (0xA8E0, 0xA8FF, .devanagari), (0xA960, 0xA97F, .hangul), (0xAB30, 0xAB6F, .latin),
    (0xAC00, 0xD7FF, .hangul),
    (0xF900, 0xFAFF, .han), (0xFB00, 0xFB06, .latin), (0xFB13, 0xFB17, .armenian), (0xFB1D, 0xFB4F, .hebrew),
    (0xFB50, 0xFDFF, .arabic), (0xFE70, 0xFEFE, .arabic), (0xFF21, 0xFF3A, .latin), (0xFF41, 0xFF5A, .latin),
    (0xFF66, 0xFF9F, .katakana), (0xFFA0, 0xFFDC, .hangul), (0x1B000, 0x1B0FF, .hiragana),
    (0x20000, 0x3FFFF, .han),
  ]
}

/// A language as far as its script tells it.
public struct ScriptLanguage: Sendable, Equatable {
  /// The name it was asked for by.
  public let name: String
  /// Scripts whose letters count.
  public let scripts: Set<Script>
  /// Scripts of which there must be some: a Japanese text has kana.
  public let needed: Set<Script>
  /// Scripts of which there may be a few letters only: a Chinese text has no kana.
  public let excluded: Set<Script>

  /// A language by its code or name (zh, en, ja, ko, ru, …), or a script by its name.
  public init?(_ name: String) {
    self.name = name
    let key = name.lowercased()
    let (scripts, needed, excluded): (Set<Script>, Set<Script>, Set<Script>)
    switch key {
    case "zh", "chinese": (scripts, needed, excluded) = ([.han], [], [.hiragana, .katakana, .hangul])
    case "ja", "japanese":
      (scripts, needed, excluded) = ([.han, .hiragana, .katakana], [.hiragana, .katakana], [])
    case "ko", "korean": (scripts, needed, excluded) = ([.hangul, .han], [.hangul], [])
    case "en", "de", "fr", "es", "it", "pt", "nl", "pl", "sv", "tr", "vi", "id", "english", "german",
      "french",
      "spanish":
      (scripts, needed, excluded) = ([.latin], [], [])
    case "ru", "uk", "bg", "russian": (scripts, needed, excluded) = ([.cyrillic], [], [])
    case "el": (scripts, needed, excluded) = ([.greek], [], [])
    case "ar", "fa", "ur": (scripts, needed, excluded) = ([.arabic], [], [])
    case "he": (scripts, needed, excluded) = ([.hebrew], [], [])
    case "hi", "mr", "ne": (scripts, needed, excluded) = ([.devanagari], [], [])
    case "th": (scripts, needed, excluded) = ([.thai], [], [])
    default:
      guard let script = Script(rawValue: key), script != .other else { return nil }
      (scripts, needed, excluded) = ([script], [], [])
    }
    self.scripts = scripts
    self.needed = needed
    self.excluded = excluded
  }

  /// Whether letters are of this language.
  ///
  /// - Parameters:
  ///   - counts: letters by script.
  ///   - minimum: the share of all letters that must be of its scripts.
  func matches(_ counts: [Script: Int], minimum: Double) -> Bool {
    let total = counts.values.reduce(0, +)
    guard total > 0 else { return false }
    func share(_ scripts: Set<Script>) -> Double {
      Double(scripts.reduce(0) { $0 + (counts[$1] ?? 0) }) / Double(total)
    }
    guard share(scripts) >= minimum else { return false }
    // A title or a name in another script does not make another language.
    if !needed.isEmpty, share(needed) < 0.05 { return false }
    return excluded.isEmpty || share(excluded) <= 0.05
  }
}
