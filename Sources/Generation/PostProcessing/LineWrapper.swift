/// Breaks lines that are too wide for a column of text.
///
/// Width is counted in columns of a terminal: Chinese, Japanese, Korean and emoji take two. Lines break at spaces,
/// which go, and beside Chinese or Japanese characters, but no line begins with closing punctuation or ends with an
/// opening bracket (kinsoku). Words stay whole unless they are wider than a line. Lines that fit stay as they are.
public struct LineWrapper: PostProcessingStep {
  /// The most columns of a line.
  public let width: Int

  /// Makes the step.
  ///
  /// - Precondition: a width of 2 or more, which any character fits.
  public init(width: Int) {
    precondition(width >= 2, "lines of \(width) columns")
    self.width = width
  }

  /// The text with line ends put in.
  ///
  /// - Complexity: O(bytes).
  public func apply(to text: String) -> String {
    let characters = TextCharacters(text)
    var builder = TextBuilder(capacity: characters.utf8.count + characters.utf8.count / width)
    var start = 0
    while start <= characters.count {
      var end = start
      while end < characters.count, !characters[end].isLineEnd { end += 1 }
      for (number, piece) in pieces(of: start..<end, in: characters).enumerated() {
        if number > 0 { builder.append("\n") }
        builder.append(characters, piece)
      }
      if end < characters.count { builder.append(characters, end) }
      start = end + 1
    }
    return builder.text
  }

  /// The line ends that this step could have put in, by their places: what follows would not have fitted before.
  func softBreaks(in characters: TextCharacters) -> Set<Int> {
    var breaks: Set<Int> = []
    var start = 0
    var before: Range<Int>?
    while start <= characters.count {
      var end = start
      while end < characters.count, !characters[end].isLineEnd { end += 1 }
      if let before, !before.isEmpty, start < end, !characters[start].isSpace,
        characters[start - 1].isOnly("\n")
      {
        let unit = self.unit(from: start, to: end, in: characters)
        // One column for the space that may have been here.
        if columns(before, in: characters) + 1 + columns(unit, in: characters) > width {
          breaks.insert(start - 1)
        }
      }
      before = pieces(of: start..<end, in: characters).last
      start = end + 1
    }
    return breaks
  }

  /// The lines that a line is broken into.
  private func pieces(of line: Range<Int>, in characters: TextCharacters) -> [Range<Int>] {
    var visibleEnd = line.upperBound
    while visibleEnd > line.lowerBound, characters[visibleEnd - 1].isSpace { visibleEnd -= 1 }
    if columns(line.lowerBound..<visibleEnd, in: characters) <= width { return [line] }

    var pieces: [Range<Int>] = []
    var start = line.lowerBound
    var end = start
    var used = 0
    var index = start
    while index < visibleEnd {
      var spaces = index
      while spaces < visibleEnd, characters[spaces].isSpace { spaces += 1 }
      let unit = self.unit(from: spaces, to: visibleEnd, in: characters)
      let spaceColumns = columns(index..<spaces, in: characters)
      let unitColumns = columns(unit, in: characters)
      if used + spaceColumns + unitColumns <= width {
        used += spaceColumns + unitColumns
        end = unit.upperBound
      } else {
        if end > start { pieces.append(start..<end) }
        start = unit.lowerBound
        end = unit.upperBound
        used = unitColumns
        if used > width {
          let parts = split(unit, in: characters)
          pieces += parts.dropLast()
          start = parts.last!.lowerBound
          used = columns(parts.last!, in: characters)
        }
      }
      index = unit.upperBound
    }
    if end > start { pieces.append(start..<end) }
    return pieces
  }

  /// The characters from here that stay on one line.
  private func unit(from start: Int, to limit: Int, in characters: TextCharacters) -> Range<Int> {
    var end = start + 1
    while end < limit, !characters[end].isSpace, joins(end - 1, end, in: characters) { end += 1 }
    return start..<end
  }

  /// Parts of a unit that is wider than a line; closing punctuation begins one only if it must.
  private func split(_ unit: Range<Int>, in characters: TextCharacters) -> [Range<Int>] {
    var parts: [Range<Int>] = []
    var start = unit.lowerBound
    while start < unit.upperBound {
      var end = start + 1
      var used = characters[start].columnCount
      while end < unit.upperBound, used + characters[end].columnCount <= width {
        used += characters[end].columnCount
        end += 1
      }
      if end < unit.upperBound {
        var better = end
        while better > start, !isBreakable(better - 1, better, in: characters) { better -= 1 }
        if better > start { end = better }
      }
      parts.append(start..<end)
      start = end
    }
    return parts
  }

  /// Whether two characters, no spaces, must stay together where words do.
  private func joins(_ left: Int, _ right: Int, in characters: TextCharacters) -> Bool {
    if !isBreakable(left, right, in: characters) { return true }
    return !isFree(characters[left]) && !isFree(characters[right])
  }

  /// Whether a line may end and another begin here if it must.
  private func isBreakable(_ left: Int, _ right: Int, in characters: TextCharacters) -> Bool {
    let (left, right) = (characters[left], characters[right])
    if right.scalar.isForbiddenAtLineStart || left.scalar.isOpener { return false }
    // Straight quotes may belong to either side, and dashes come in pairs.
    if left.isOnly("\"") || right.isOnly("\"") { return false }
    return !(left.isOnly("—") && right.isOnly("—"))
  }

  /// Whether a line may break on either side of a character.
  private func isFree(_ character: TextCharacter) -> Bool { character.isChinese || character.isEmoji }

  private func columns(_ range: Range<Int>, in characters: TextCharacters) -> Int {
    range.reduce(0) { $0 + characters[$1].columnCount }
  }
}
