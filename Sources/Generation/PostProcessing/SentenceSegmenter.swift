/// A stretch of a line up to a mark that ends a sentence.
struct Sentence {
  /// How it ends.
  enum Ending {
    /// With 。！？… or . ! ?
    case full
    /// With a semicolon, which sets off what can be repeated but completes nothing.
    case clause
    /// Not at all: the line ends first.
    case none
  }

  /// The characters, closing quotes and the spaces after them included.
  var range: Range<Int>
  /// Where the spaces begin.
  var contentEnd: Int
  /// How it ends.
  var ending: Ending
}

/// Cuts text into lines and lines into sentences, Chinese and English ones.
///
/// - 。！？；… end a sentence, in runs too (？！, ……), and take closing quotes and brackets with them.
/// - `.`, `!` and `?` do so where white space, the end of the line or (after Chinese) more Chinese follows, which
///   leaves decimals, file names and addresses whole. A full stop does not after a title or Latin abbreviation
///   (Mr., e.g.), an initial (J.) or the number of a list item; after another abbreviation (etc., U.S.) or in an
///   ellipsis, not if the text goes on in lower case.
struct SentenceSegmenter {
  let characters: TextCharacters
  /// The width of the lines if the text may have been wrapped: line ends that wrapping makes count as spaces.
  private let softBreaks: Set<Int>

  init(_ characters: TextCharacters, wrapper: LineWrapper? = nil) {
    self.characters = characters
    softBreaks = wrapper?.softBreaks(in: characters) ?? []
  }

  /// The lines, without their ends.
  ///
  /// - Complexity: O(characters).
  func lines() -> [Range<Int>] {
    var lines: [Range<Int>] = []
    var start = 0
    for index in characters.indices where characters[index].isLineEnd && !softBreaks.contains(index) {
      lines.append(start..<index)
      start = index + 1
    }
    lines.append(start..<characters.count)
    return lines
  }

  /// The sentences of a line, which together are the line.
  ///
  /// - Complexity: O(characters).
  func sentences(in line: Range<Int>) -> [Sentence] {
    var sentences: [Sentence] = []
    var start = line.lowerBound
    var index = start
    var hasOpenQuote = false
    while index < line.upperBound {
      if characters[index].isOnly("\"") { hasOpenQuote.toggle() }
      guard isTerminator(index) else {
        index += 1
        continue
      }
      let run = terminatorRun(from: index, to: line.upperBound)
      var end = run.upperBound
      var closesQuote = hasOpenQuote
      while true {
        while end < line.upperBound, isCloser(end, line.upperBound, closesQuote) {
          if characters[end].isOnly("\"") { closesQuote = false }
          end += 1
        }
        // What ends a quotation may be followed by what ends the sentence around it: 他说“好。”。
        let more = terminatorRun(from: end, to: line.upperBound)
        guard !more.isEmpty, end > run.upperBound else { break }
        end = more.upperBound
      }
      for position in run.upperBound..<end where characters[position].isOnly("\"") { hasOpenQuote.toggle() }
      guard let ending = ending(at: run.lowerBound..<end, start: start, line: line) else {
        index = end
        continue
      }
      var next = end
      while next < line.upperBound, isBlank(next) { next += 1 }
      sentences.append(Sentence(range: start..<next, contentEnd: end, ending: ending))
      start = next
      index = next
    }
    if start < line.upperBound {
      var end = line.upperBound
      while end > start, isBlank(end - 1) { end -= 1 }
      sentences.append(Sentence(range: start..<line.upperBound, contentEnd: end, ending: .none))
    }
    return sentences
  }

  /// Whether a character within a line is white space.
  func isBlank(_ index: Int) -> Bool { characters[index].isSpace || characters[index].isLineEnd }

  // MARK: Marks

  private func isTerminator(_ index: Int) -> Bool {
    guard characters[index].isSingle else { return false }
    return switch characters[index].scalar {
    case "。", "！", "？", "；", "…", "｡", "．", ".", "!", "?": true
    default: false
    }
  }

  private func terminatorRun(from start: Int, to limit: Int) -> Range<Int> {
    var end = start
    while end < limit, isTerminator(end) { end += 1 }
    return start..<end
  }

  private func isCloser(_ index: Int, _ limit: Int, _ hasOpenQuote: Bool) -> Bool {
    let character = characters[index]
    guard character.isSingle else { return false }
    // ASCII quotes look the same on both sides: one closes if another is open, or if nothing follows it.
    if character.scalar == "\"" { return hasOpenQuote || index + 1 == limit || isBlank(index + 1) }
    if character.scalar == "'" { return index + 1 == limit || isBlank(index + 1) }
    return character.scalar.isCloser
  }

  /// How a sentence ends at a run of marks and closing quotes, if it does.
  private func ending(at run: Range<Int>, start: Int, line: Range<Int>) -> Sentence.Ending? {
    let end = run.upperBound
    var holds = (clause: false, chinese: false, question: false, stops: 0, others: 0)
    for index in run where isTerminator(index) {
      switch characters[index].scalar {
      case "；": holds.clause = true
      case "。", "！", "？", "｡": holds.chinese = true
      case "!", "?": holds.question = true
      case ".": holds.stops += 1
      default: holds.others += 1
      }
    }
    if holds.chinese { return .full }
    if holds.clause { return .clause }
    let followsChinese = run.lowerBound > line.lowerBound && characters[run.lowerBound - 1].isChinese
    if followsChinese { return end == line.upperBound || holds.question || !continuesWord(end) ? .full : nil }
    var next = end
    while next < line.upperBound, isBlank(next) { next += 1 }
    let isAtLineEnd = next == line.upperBound
    if holds.question { return isAtLineEnd || next > end || characters[end].isChinese ? .full : nil }
    guard isAtLineEnd || next > end else { return nil }
    let goesOn = !isAtLineEnd && characters[next].scalar.properties.isLowercase
    if holds.stops + holds.others > 1 || holds.others > 0 { return goesOn ? nil : .full }
    return endsAtFullStop(run.lowerBound, start: start, line: line, isAtLineEnd: isAtLineEnd, goesOn: goesOn)
      ? .full : nil
  }

  /// Whether a letter or digit stands here: 第3.5节 and 版本.txt go on after their full stop.
  private func continuesWord(_ index: Int) -> Bool {
    characters[index].isWordCharacter || characters[index].isOnly("/") || characters[index].isOnly("_")
  }

  private func endsAtFullStop(_ stop: Int, start: Int, line: Range<Int>, isAtLineEnd: Bool, goesOn: Bool)
    -> Bool
  {
    // No abbreviation is longer than this; a longer word needs no look at the rest of it.
    let limit = max(start, stop - SentenceSegmenter.longestAbbreviation)
    var first = stop
    while first > limit, characters[first - 1].isWordCharacter || characters[first - 1].isOnly(".") {
      first -= 1
    }
    let word = characters.text(first..<stop).lowercased()
    if SentenceSegmenter.unfinished.contains(word) { return false }
    if !word.isEmpty, word.utf8.allSatisfy({ (0x30...0x39).contains($0) }) {
      var indentation = first
      while indentation > line.lowerBound, isBlank(indentation - 1) { indentation -= 1 }
      if indentation == line.lowerBound { return false }
    }
    if isAtLineEnd { return true }
    if stop - first == 1, characters[first].scalar.properties.isUppercase, !characters[first].isOnly("I") {
      return false
    }
    let isAbbreviation = SentenceSegmenter.openEnded.contains(word) || word.utf8.contains(UInt8(ascii: "."))
    return !(isAbbreviation && goesOn)
  }

  /// Abbreviations that something always follows.
  private static let unfinished: Set<String> = [
    "mr", "mrs", "ms", "dr", "prof", "rev", "gen", "sen", "gov", "capt", "lt", "sgt", "st", "vs", "cf", "e.g",
    "eg",
    "i.e", "ie", "viz", "fig", "figs", "eq", "eqs", "vol", "pp", "approx",
  ]

  /// Abbreviations that may end a sentence.
  private static let openEnded: Set<String> = [
    "etc", "inc", "ltd", "co", "corp", "jr", "sr", "no", "al", "dept", "est", "ave", "blvd", "rd", "jan",
    "feb", "mar",
    "apr", "jun", "jul", "aug", "sep", "sept", "oct", "nov", "dec", "col", "rep", "sec", "ch",
  ]

  private static let longestAbbreviation = 16
}
