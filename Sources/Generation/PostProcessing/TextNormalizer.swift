/// Brings white space and Chinese punctuation into one form.
///
/// White space: tabs, no-break, ideographic and other spaces become plain ones, runs of them one; spaces at line
/// ends and invisible characters go, and so do spaces between Chinese characters. Line ends become `\n`, at most one
/// blank line stays between paragraphs and none at either end of the text. Indentation by plain spaces stays.
///
/// Punctuation: `, . ! ? : ;` after Chinese become full-width where Chinese follows or the line ends, parentheses
/// where they stand after Chinese and enclose some; repeated marks become one, a row of stops an ellipsis (……).
/// What stands beside letters or digits (decimals, addresses, English) stays, and so does code between backticks.
public struct TextNormalizer: LayoutAwareStep {
  /// Makes the step.
  public init() {}

  /// The text in normal form.
  ///
  /// - Complexity: O(bytes) as a rule: again for each time that a change makes another possible.
  public func apply(to text: String) -> String { apply(to: text, wrapper: nil) }

  func apply(to text: String, wrapper: LineWrapper?) -> String {
    var text = text
    while true {
      let before = text
      text = TextNormalizer.round(text, wrapper)
      if isIdentical(text, before) { return text }
    }
  }

  private static func round(_ text: String, _ wrapper: LineWrapper?) -> String {
    let characters = TextCharacters(text)
    let softBreaks = wrapper?.softBreaks(in: characters) ?? []
    var lines: [NormalizedLine] = []
    var fence: Unicode.Scalar?
    var start = 0
    while start <= characters.count {
      var end = start
      while end < characters.count, !characters[end].isLineEnd { end += 1 }
      var line = NormalizedLine(characters, start..<end)
      if softBreaks.contains(start - 1) { line.takeNeighbor(before: start - 1) }
      if softBreaks.contains(end) { line.takeNeighbor(after: end) }
      if let mark = line.fence, fence == nil || fence == mark {
        fence = fence == nil ? mark : nil
        line.isCode = true
      } else {
        line.isCode = fence != nil
      }
      if !line.isCode { line.normalize(isFirst: lines.isEmpty) }
      // One blank line in a row, none at the beginning.
      let repeatsBlank = line.isBlank && (lines.last?.isBlank ?? true)
      if !repeatsBlank || line.isCode && !lines.isEmpty { lines.append(line) }
      start = end + 1
    }
    while let last = lines.last, last.isBlank { lines.removeLast() }

    var builder = TextBuilder(capacity: characters.utf8.count)
    for (number, line) in lines.enumerated() {
      if number > 0 { builder.append("\n") }
      for piece in line.pieces {
        if let source = piece.source {
          builder.append(characters, source)
        } else {
          builder.append(piece.scalar)
        }
      }
    }
    return builder.text
  }
}

/// A line on its way to normal form.
private struct NormalizedLine {
  /// A character that stays as it is, or a scalar that takes the place of one.
  struct Piece {
    var scalar: Unicode.Scalar
    var isSingle = true
    /// The character of the text; `nil` for a new one.
    var source: Int?
    /// Whether it belongs to code.
    var isCode = false

    var isSpace: Bool { isSingle && !isCode && scalar.isHorizontalSpace }
    var isChinese: Bool { !isCode && (scalar.isIdeograph || scalar.isFullWidthPunctuation) }

    func isOnly(_ other: Unicode.Scalar) -> Bool { isSingle && !isCode && scalar == other }

    init(_ scalar: Unicode.Scalar) { self.scalar = scalar }

    init(_ character: TextCharacter, source: Int) {
      scalar = character.scalar
      isSingle = character.isSingle
      self.source = source
    }
  }

  private let characters: TextCharacters
  var pieces: [Piece]
  /// What stands on the lines before and after, where the line ends between are only layout.
  private var before: Piece?
  private var after: Piece?
  /// Whether the line belongs to a fenced block, and is left alone.
  var isCode = false

  init(_ characters: TextCharacters, _ range: Range<Int>) {
    self.characters = characters
    pieces = range.map { Piece(characters[$0], source: $0) }
  }

  /// Takes note of what ends the line before a line end.
  mutating func takeNeighbor(before end: Int) {
    var index = end - 1
    while index >= 0, characters[index].isSpace || NormalizedLine.isHalfWidthMark(characters[index]) {
      index -= 1
    }
    if index >= 0 { before = Piece(characters[index], source: index) }
  }

  /// Takes note of what begins the line after a line end.
  mutating func takeNeighbor(after end: Int) {
    if end + 1 < characters.count { after = Piece(characters[end + 1], source: end + 1) }
  }

  var isBlank: Bool { pieces.allSatisfy { $0.isSingle && $0.scalar.isHorizontalSpace } }

  /// The mark of the fence (``` or ~~~) that the line is, if it is one.
  var fence: Unicode.Scalar? {
    let content = pieces.drop { $0.isSpace }
    guard let first = content.first, first.isOnly("`") || first.isOnly("~") else { return nil }
    return content.prefix(3).filter { $0.isOnly(first.scalar) }.count == 3 ? first.scalar : nil
  }

  mutating func normalize(isFirst: Bool) {
    markCode()
    dropInvisible()
    normalizeSpaces(isFirst: isFirst)
    widenParentheses()
    widenMarks()
    collapseMarks()
    dropSpacesBetweenChinese()
  }

  // MARK: Code

  /// Marks what stands between equal runs of backticks (CommonMark's code spans).
  private mutating func markCode() {
    var runs: [Range<Int>] = []
    var index = 0
    while index < pieces.count {
      let start = index
      while index < pieces.count, pieces[index].isOnly("`") { index += 1 }
      if index > start { runs.append(start..<index) } else { index += 1 }
    }
    var next: [Int?] = Array(repeating: nil, count: runs.count)
    var latest: [Int: Int] = [:]
    for number in runs.indices.reversed() {
      next[number] = latest[runs[number].count]
      latest[runs[number].count] = number
    }
    var number = 0
    while number < runs.count {
      if let closing = next[number] {
        for position in runs[number].lowerBound..<runs[closing].upperBound { pieces[position].isCode = true }
        number = closing + 1
      } else {
        number += 1
      }
    }
  }

  // MARK: White space

  private mutating func dropInvisible() {
    guard pieces.contains(where: { isInvisible($0) }) else { return }
    var kept: [Piece] = []
    kept.reserveCapacity(pieces.count)
    for (index, piece) in pieces.enumerated() {
      // Where it keeps two characters apart that would become one, it has a use.
      if isInvisible(piece), index + 1 == pieces.count || !fuse(kept.last, pieces[index + 1]) { continue }
      kept.append(piece)
    }
    pieces = kept
  }

  private func isInvisible(_ piece: Piece) -> Bool {
    piece.isSingle && !piece.isCode && piece.scalar.isInvisible
  }

  private mutating func normalizeSpaces(isFirst: Bool) {
    var kept: [Piece] = []
    kept.reserveCapacity(pieces.count)
    var index = 0
    while index < pieces.count {
      guard pieces[index].isSpace else {
        kept.append(pieces[index])
        index += 1
        continue
      }
      let start = index
      while index < pieces.count, pieces[index].isSpace { index += 1 }
      if index == pieces.count { break }
      let run = pieces[start..<index]
      // A tab followed by a lone combining mark: a space would take the mark on.
      if fuse(Piece(" "), pieces[index]) {
        kept.append(run.last!)
      } else if start > 0 {
        kept.append(Piece(" "))
      } else if !isFirst, run.allSatisfy({ $0.isOnly(" ") || $0.isOnly("\t") }) {
        for space in run {
          kept += Array(repeating: Piece(" "), count: space.isOnly("\t") ? 4 : 1)
        }
      }
    }
    pieces = kept
  }

  private mutating func dropSpacesBetweenChinese() {
    var kept: [Piece] = []
    kept.reserveCapacity(pieces.count)
    for (index, piece) in pieces.enumerated() {
      if piece.isSpace, let left = kept.last, left.isChinese, index + 1 < pieces.count,
        pieces[index + 1].isChinese
      {
        continue
      }
      kept.append(piece)
    }
    pieces = kept
  }

  private func fuse(_ left: Piece?, _ right: Piece) -> Bool {
    guard let left else { return false }
    let isPlain = { (piece: Piece) in
      piece.isSingle && (piece.scalar.isASCII && piece.scalar.value >= 0x20 || piece.scalar.isIdeograph)
    }
    if isPlain(left), isPlain(right) { return false }
    return TextCharacters.fuse(text(left), text(right))
  }

  private func text(_ piece: Piece) -> String {
    piece.source.map { characters.text(of: $0) } ?? String(piece.scalar)
  }

  // MARK: Punctuation

  /// Full-width parentheses for a pair after Chinese that encloses some.
  private mutating func widenParentheses() {
    guard pieces.contains(where: { $0.isOnly("(") }) else { return }
    var ideographsBefore = [0]
    ideographsBefore.reserveCapacity(pieces.count + 1)
    for piece in pieces {
      ideographsBefore.append(ideographsBefore.last! + (!piece.isCode && piece.scalar.isIdeograph ? 1 : 0))
    }
    var open: [Int] = []
    var closing: [Int: Int] = [:]
    for index in pieces.indices {
      if pieces[index].isOnly("(") {
        open.append(index)
      } else if pieces[index].isOnly(")"), let start = open.popLast() {
        closing[start] = index
      }
    }
    // From the left, so that what stands before a pair is in its final form.
    var lastContent = before
    for index in pieces.indices {
      if let end = closing[index] {
        let touchesWord = end + 1 < pieces.count && pieces[end + 1].scalar.isWordCharacter
        let hasChinese = ideographsBefore[end] > ideographsBefore[index]
        let follows = lastContent?.isChinese ?? pieces[index + 1].isChinese
        if hasChinese, follows, !touchesWord {
          pieces[index] = Piece("（")
          pieces[end] = Piece("）")
        }
      }
      if !pieces[index].isSpace, NormalizedLine.widened(pieces[index]) == nil { lastContent = pieces[index] }
    }
  }

  /// Full-width marks after Chinese, where Chinese follows or nothing.
  private mutating func widenMarks() {
    var index = 0
    var content: Int?
    while index < pieces.count {
      guard NormalizedLine.widened(pieces[index]) != nil else {
        if !pieces[index].isSpace { content = index }
        index += 1
        continue
      }
      let start = index
      while index < pieces.count,
        NormalizedLine.widened(pieces[index]) != nil || isFullWidthMark(pieces[index])
      {
        index += 1
      }
      var following = index
      while following < pieces.count, pieces[following].isSpace { following += 1 }
      let next = following < pieces.count ? pieces[following] : after
      if let content, widens(after: pieces[content], before: next),
        before != nil || !isListNumber(start, index)
      {
        for position in start..<index {
          if let scalar = NormalizedLine.widened(pieces[position]) { pieces[position] = Piece(scalar) }
        }
      }
      content = index - 1
    }
  }

  private func widens(after left: Piece, before right: Piece?) -> Bool {
    guard left.isChinese || (right?.isChinese ?? false) && !left.isCode && left.scalar.isSharedPunctuation
    else {
      return false
    }
    guard let right, !right.isCode else { return right == nil }
    return right.isChinese || right.scalar.isSharedPunctuation || right.isOnly("\"")
  }

  /// Whether the stop belongs to the number of a list item, as in 一.苹果.
  private func isListNumber(_ start: Int, _ end: Int) -> Bool {
    guard end - start == 1, pieces[start].isOnly("."), start <= 3 else { return false }
    return pieces[..<start].allSatisfy { "一二三四五六七八九十".unicodeScalars.contains($0.scalar) }
  }

  private func isFullWidthMark(_ piece: Piece) -> Bool {
    piece.isSingle && !piece.isCode && "，。！？：；、".unicodeScalars.contains(piece.scalar)
  }

  private static func isHalfWidthMark(_ character: TextCharacter) -> Bool {
    character.isSingle && widened(character.scalar) != nil
  }

  private static func widened(_ piece: Piece) -> Unicode.Scalar? {
    piece.isSingle && !piece.isCode ? widened(piece.scalar) : nil
  }

  /// The full-width form of a half-width mark.
  private static func widened(_ scalar: Unicode.Scalar) -> Unicode.Scalar? {
    switch scalar {
    case ",": "，"
    case ".": "。"
    case "!": "！"
    case "?": "？"
    case ":": "："
    case ";": "；"
    default: nil
    }
  }

  /// One of each mark in a row; three stops or more are an ellipsis.
  private mutating func collapseMarks() {
    var kept: [Piece] = []
    kept.reserveCapacity(pieces.count)
    var index = 0
    while index < pieces.count {
      let piece = pieces[index]
      let start = index
      while index < pieces.count, pieces[index].isSingle, !pieces[index].isCode,
        pieces[index].scalar == piece.scalar
      {
        index += 1
      }
      let count = index - start
      guard count > 1 else {
        index = start + 1
        kept.append(piece)
        continue
      }
      switch piece.scalar {
      case "。" where count > 2, "…" where count > 2: kept += [Piece("…"), Piece("…")]
      case "—" where count > 2: kept += pieces[start..<start + 2]
      case "，", "。", "！", "？", "：", "；", "、": kept.append(piece)
      default: kept += pieces[start..<index]
      }
    }
    pieces = kept
  }
}
