/// Texts made of what trips text processing up, the same ones for a seed.
struct RandomText {
  private var state: UInt64

  init(seed: UInt64) { state = seed &* 0x9E37_79B9_7F4A_7C15 | 1 }

  /// SplitMix64.
  mutating func next() -> UInt64 {
    state &+= 0x9E37_79B9_7F4A_7C15
    var value = state
    value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
    value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
    return value ^ (value >> 31)
  }

  mutating func number(_ bound: Int) -> Int { Int(next() % UInt64(bound)) }

  mutating func choice<Element>(_ elements: [Element]) -> Element { elements[number(elements.count)] }

  static let chinese = [
    "我", "你", "好", "的", "天气", "人工智能", "今天很好", "混蛋", "王八", "王八蛋", "蛋", "，", "。", "！", "？", "；", "……",
    "、", "“", "”", "「", "」", "（", "）", "《", "》", "：", "——", "\u{3000}", "一", "十",
  ]
  static let english = [
    "a", "I", "the", "The", "class", "ass", "bad word", "damn", "Mr.", "e.g.", "etc.", "U.S.", "J.", "3.14",
    "1.", "2",
    "don't", "ok", " ", " ", " ", ".", ",", "!", "?", "...", ";", ":", "(", ")", "\"", "'", "-",
    "http://a.b/c?d=e",
    "<|endoftext|>", "</s>", "<|", "|>", "endoftext", "*", "f*", "`", "```", "~~~", "ａｓｓ",
  ]
  static let awkward = [
    "👨‍👩‍👧", "👍🏽", "🇨🇳", "🇨", "🇺", "e\u{301}", "\u{301}", "\u{200D}", "\u{200B}", "\u{FEFF}", "\u{FE0F}", "한국어",
    "ᄒ", "ᅡ",
    "\u{600}", "क\u{94D}", "ष", "\t", "\u{A0}", "\n", "\n", "\n\n", "\r\n", "\r", "\u{2028}", "\u{85}",
    "字\u{E0100}",
    "ß", "İ", "ﬁ", "\0", "😀", "𠮷", "g̈", "า", "ก",
  ]

  /// Up to `count` pieces; some texts keep to a few pieces, so that things repeat.
  mutating func text(_ count: Int) -> String {
    let pools = [
      Self.chinese, Self.english, Self.chinese + Self.english, Self.chinese + Self.english + Self.awkward,
      Self.awkward,
    ]
    var pool = choice(pools)
    if number(2) == 0 { pool = (0..<(1 + number(5))).map { _ in choice(pool) } }
    var text = ""
    while text.unicodeScalars.count < count {
      let piece = choice(pool)
      text += number(12) == 0 ? String(repeating: piece, count: 1 + number(8)) : piece
      if number(30) == 0 { break }
      if number(40) == 0, !text.isEmpty {
        let tail = String(text.suffix(1 + number(10)))
        text += String(repeating: tail, count: 1 + number(6))
      }
    }
    return text
  }

  /// Sentences, Chinese and English, some of them again, the last one cut off.
  mutating func prose(sentences count: Int) -> String {
    let chinese = [
      "我们", "今天", "人工智能", "改变", "世界", "，", "、", "“很好”", "《红楼梦》", "的", "（中国）", "走吧", " 你", "GPT", "3.5",
    ]
    let english = [
      "the", "a model", "Mr. Smith", "writes", "e.g. text,", "at 5 p.m.", "3.14", "of", "(really)", "\"so\"",
      "J. K. Li",
      "quickly", "state-of-the-art", "😀",
    ]
    var sentences: [String] = []
    for _ in 0..<count {
      if !sentences.isEmpty, number(4) == 0 {
        sentences.append(choice(sentences))
      } else if number(2) == 0 {
        let words = (0..<(1 + number(10))).map { _ in choice(chinese) }.joined()
        sentences.append(words + choice(["。", "！", "？", "……", "；", "也.", "。”"]))
      } else {
        let words = (0..<(1 + number(12))).map { _ in choice(english) }.joined(separator: " ")
        sentences.append(" " + words + choice([". ", "! ", "? ", "... ", ".\n", ".\n\n"]))
      }
    }
    let text = sentences.joined()
    return String(text.dropLast(number(5)))
  }
}

/// What a text consists of, byte for byte: `Character` takes canonically equivalent ones for equal.
func characters(_ text: String) -> [[UInt8]] { text.map { Array(String($0).utf8) } }
