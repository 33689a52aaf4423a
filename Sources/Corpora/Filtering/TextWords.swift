import Tokenizers

/// What the rules look at in a text.
struct TextWords {
  /// A word: a run without spaces in scripts that have them, otherwise one character.
  struct Word {
    var start: Int
    var end: Int
    var characters: Int
    /// Of a script without spaces.
    var isCharacter: Bool
    var hasLetter: Bool
  }

  private(set) var words: [Word] = []
  /// Letters by script.
  private(set) var letters: [Script: Int] = [:]

  /// The number of words, two characters of a script without spaces being one.
  var count: Double {
    let characters = words.count { $0.isCharacter }
    return Double(words.count - characters) + Double(characters) / 2
  }

  /// Whether most words are single characters.
  var isWithoutSpaces: Bool { 2 * words.count { $0.isCharacter } > words.count }

  init(_ text: UnsafeBufferPointer<UInt8>) {
    guard let base = text.baseAddress else { return }
    var counts = [Int](repeating: 0, count: Script.allCases.count)
    var current: Word?
    var at = 0
    while at < text.count {
      let (value, length) = UTF8Bytes.scalar(base, at)
      let end = at + length
      let kind = UnicodeText.kind(value)
      var script: Script?
      if kind == .letter {
        let found = Script.of(value)
        script = found
        counts[TextWords.index[found]!] += 1
      }
      if kind == .space {
        if let word = current { words.append(word) }
        current = nil
      } else if script?.hasNoSpaces == true {
        if let word = current { words.append(word) }
        current = nil
        words.append(Word(start: at, end: end, characters: 1, isCharacter: true, hasLetter: true))
      } else if kind == .punctuation, TextWords.standsAlone(value) {
        // Marks that stand between characters without a space are of no word and end one.
        if let word = current { words.append(word) }
        current = nil
      } else if current != nil {
        current?.end = end
        current?.characters += 1
        if kind == .letter { current?.hasLetter = true }
      } else {
        current = Word(start: at, end: end, characters: 1, isCharacter: false, hasLetter: kind == .letter)
      }
      at = end
    }
    if let word = current { words.append(word) }
    for (index, count) in counts.enumerated() where count > 0 { letters[Script.allCases[index]] = count }
  }

  private static func standsAlone(_ mark: UInt32) -> Bool {
    mark >= 0x3000 || mark == 0x2014 || mark == 0x201C || mark == 0x201D
  }

  private static let index: [Script: Int] = Dictionary(
    uniqueKeysWithValues: Script.allCases.enumerated().map { ($1, $0) })
}
