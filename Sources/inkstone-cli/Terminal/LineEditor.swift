/// The message that is being typed: its characters, the cursor among them, and the messages before it.
///
/// Knows keys and nothing of terminals.
struct LineEditor {
  /// What a key asks of the program.
  enum Outcome: Equatable {
    case none
    case submit(String)
    /// Ctrl-C: the line was cleared, or there was none to clear.
    case cancel(wasEmpty: Bool)
    /// Ctrl-D on an empty line.
    case end
    case clearScreen
  }

  private(set) var characters: [Character] = []
  /// Characters before the cursor.
  private(set) var cursor = 0
  private let history: [String]
  /// The place in the history that is shown; its count is the message being typed.
  private var place: Int
  /// What was being typed before the history was looked at.
  private var draft: [Character] = []
  /// What Ctrl-K, Ctrl-U or Ctrl-W took away, for Ctrl-Y.
  private var cut: [Character] = []

  init(history: [String] = []) {
    self.history = history
    place = history.count
  }

  /// The message as it stands.
  var text: String { String(characters) }

  /// Does what a key means.
  mutating func handle(_ key: Key) -> Outcome {
    switch key {
    case .text(let text): insert(text)
    case .paste(let text):
      insert(text.replacing("\r\n", with: "\n").replacing("\r", with: "\n"))
    case .newline: insert("\n")
    case .enter: return .submit(text)
    case .backspace, .control("H"): remove(max(cursor - 1, 0)..<cursor)
    case .delete: remove(cursor..<min(cursor + 1, characters.count))
    case .left, .control("B"): cursor = max(cursor - 1, 0)
    case .right, .control("F"): cursor = min(cursor + 1, characters.count)
    case .wordLeft: cursor = wordStart
    case .wordRight: cursor = wordEnd
    case .home, .control("A"): cursor = lineStart
    case .end, .control("E"): cursor = lineEnd
    case .up, .control("P"): moveUp()
    case .down, .control("N"): moveDown()
    case .control("K"):
      // At the end of a line, the line end itself.
      cutOut(cursor..<(cursor == lineEnd ? min(cursor + 1, characters.count) : lineEnd))
    case .control("U"): cutOut(lineStart..<cursor)
    case .control("W"): cutOut(wordStartBySpace..<cursor)
    case .control("Y"): insert(String(cut))
    case .control("L"): return .clearScreen
    case .control("C"):
      let wasEmpty = characters.isEmpty
      show([])
      place = history.count
      return .cancel(wasEmpty: wasEmpty)
    case .control("D"):
      if characters.isEmpty { return .end }
      remove(cursor..<min(cursor + 1, characters.count))
    case .control: break
    }
    return .none
  }

  // MARK: Changing

  private mutating func insert(_ text: String) {
    // What is typed may join with what stands before or after it, as accents do: all is cut anew.
    let before = String(characters[..<cursor]) + text
    let after = String(characters[cursor...])
    characters = Array(before + after)
    var length = 0
    var index = 0
    let target = before.unicodeScalars.count
    while index < characters.count, length < target {
      length += characters[index].unicodeScalars.count
      index += 1
    }
    cursor = index
  }

  private mutating func remove(_ range: Range<Int>) {
    characters.removeSubrange(range)
    cursor = range.lowerBound
  }

  private mutating func cutOut(_ range: Range<Int>) {
    guard !range.isEmpty else { return }
    cut = Array(characters[range])
    remove(range)
  }

  private mutating func show(_ text: [Character]) {
    characters = text
    cursor = text.count
  }

  // MARK: Places

  private var lineStart: Int {
    characters[..<cursor].lastIndex(of: "\n").map { $0 + 1 } ?? 0
  }

  private var lineEnd: Int { characters[cursor...].firstIndex(of: "\n") ?? characters.count }

  private func isWord(_ index: Int) -> Bool { characters[index].isLetter || characters[index].isNumber }

  private var wordStart: Int {
    var index = cursor
    while index > 0, !isWord(index - 1) { index -= 1 }
    while index > 0, isWord(index - 1) { index -= 1 }
    return index
  }

  private var wordEnd: Int {
    var index = cursor
    while index < characters.count, !isWord(index) { index += 1 }
    while index < characters.count, isWord(index) { index += 1 }
    return index
  }

  /// Where the word before the cursor begins, words parted by white space alone.
  private var wordStartBySpace: Int {
    var index = cursor
    while index > 0, characters[index - 1].isWhitespace { index -= 1 }
    while index > 0, !characters[index - 1].isWhitespace { index -= 1 }
    return index
  }

  // MARK: History

  private mutating func moveUp() {
    if lineStart > 0 {
      // Within a message of several lines, to the same column of the line above.
      let column = cursor - lineStart
      cursor = lineStart - 1
      cursor = min(lineStart + column, cursor)
      return
    }
    guard place > 0 else { return }
    if place == history.count { draft = characters }
    place -= 1
    show(Array(history[place]))
  }

  private mutating func moveDown() {
    if lineEnd < characters.count {
      let column = cursor - lineStart
      cursor = lineEnd + 1
      cursor = min(cursor + column, lineEnd)
      return
    }
    guard place < history.count else { return }
    place += 1
    show(place == history.count ? draft : Array(history[place]))
  }
}
