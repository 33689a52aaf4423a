/// Removes each sentence that was there before, and keeps the first.
///
/// Sentences are the same if they differ only in letter case, full or half width, quotation marks, the number of
/// marks at the end, or white space. A short one (under eight columns: 是的。 Yes.) may well be said twice, and goes
/// only where it directly follows itself. A line that loses all its sentences goes too.
public struct RepeatedSentenceRemover: LayoutAwareStep {
  /// Columns from which a sentence is removed anywhere.
  private static let shortWidth = 8

  /// Makes the step.
  public init() {}

  /// The text without repeated sentences.
  ///
  /// - Complexity: O(bytes) as a rule: once more for each time that a removal makes new sentences.
  public func apply(to text: String) -> String { apply(to: text, wrapper: nil) }

  func apply(to text: String, wrapper: LineWrapper?) -> String {
    var text = text
    // What follows an abbreviation decides whether it ends a sentence, so a removal may join two others.
    while let shorter = RepeatedSentenceRemover.removing(from: text, wrapper) { text = shorter }
    return text
  }

  /// The text after one round; `nil` if there is nothing to remove.
  private static func removing(from text: String, _ wrapper: LineWrapper?) -> String? {
    let characters = TextCharacters(text)
    let segmenter = SentenceSegmenter(characters, wrapper: wrapper)
    var seen: Set<String> = []
    var previous = ""
    var removesAny = false
    /// The lines that stay, and whether something was removed since the one before.
    var kept: [(pieces: [Range<Int>], line: Range<Int>, followsGap: Bool)] = []
    var hasGap = false

    for line in segmenter.lines() {
      var pieces: [Range<Int>] = []
      let sentences = segmenter.sentences(in: line)
      for sentence in sentences {
        let (key, width) = key(characters, sentence.range.lowerBound..<sentence.contentEnd)
        let isNew = seen.insert(key).inserted
        if !key.isEmpty, key == previous || (!isNew && width >= shortWidth) { continue }
        previous = key
        pieces.append(sentence.range)
      }
      let removed = sentences.count - pieces.count
      removesAny = removesAny || removed > 0
      if removed == 0 {
        let isBlank = line.allSatisfy { characters[$0].isSpace }
        let isAfterBlank = kept.last.map { entry in
          entry.pieces.allSatisfy { $0.allSatisfy { characters[$0].isSpace } }
        }
        // The blank line that set off a removed paragraph goes with it.
        if hasGap, isBlank, isAfterBlank ?? true { continue }
        kept.append((pieces, line, hasGap))
        hasGap = false
      } else if pieces.isEmpty {
        hasGap = true
      } else {
        // The spaces before a sentence that ended the line have nothing to set off any more.
        if sentences.last!.range != pieces.last! {
          var end = pieces.last!.upperBound
          while end > pieces.last!.lowerBound, segmenter.isBlank(end - 1) { end -= 1 }
          pieces[pieces.count - 1] = pieces.last!.lowerBound..<end
        }
        kept.append((pieces, line, hasGap))
        hasGap = false
      }
    }
    guard removesAny else { return nil }
    if hasGap {
      while let last = kept.last, last.pieces.allSatisfy({ $0.allSatisfy { characters[$0].isSpace } }) {
        kept.removeLast()
      }
    }

    var builder = TextBuilder(capacity: characters.utf8.count)
    for (number, entry) in kept.enumerated() {
      if number > 0 {
        // Its own line end comes before the line, where it is the first one after the line kept before.
        let end = kept[number - 1].line.upperBound
        builder.append(characters, end)
      }
      for piece in entry.pieces { builder.append(characters, piece) }
    }
    return builder.text
  }

  /// What is compared of a sentence, and its columns without white space.
  private static func key(_ characters: TextCharacters, _ range: Range<Int>) -> (key: String, width: Int) {
    var key = ""
    var width = 0
    var hasSpace = false
    var last: Unicode.Scalar?
    for index in range {
      let character = characters[index]
      if character.isSpace || character.isLineEnd {
        hasSpace = true
        continue
      }
      guard character.isSingle else {
        key += characters.text(of: index)
        width += character.columnCount
        last = nil
        hasSpace = false
        continue
      }
      var scalar = character.scalar.halfWidth
      switch scalar {
      case "\"", "'", "\u{201C}", "\u{201D}", "\u{2018}", "\u{2019}", "「", "」", "『", "』": continue
      case "。", "｡", "!", "…": scalar = "."
      case "、": scalar = ","
      default: break
      }
      if scalar.isInvisible { continue }
      let isMark = scalar.isForbiddenAtLineStart
      if isMark, scalar == last { continue }
      if hasSpace, let last, last.isWordCharacter, scalar.isWordCharacter { key += " " }
      hasSpace = false
      last = scalar
      if !isMark { width += character.columnCount }
      if scalar.isASCII {
        key.unicodeScalars.append(
          ("A"..."Z").contains(scalar) ? Unicode.Scalar(scalar.value + 32)! : scalar)
      } else if scalar.isIdeograph {
        key.unicodeScalars.append(scalar)
      } else {
        key += scalar.properties.lowercaseMapping
      }
    }
    // Nothing but marks is no sentence to compare.
    return width == 0 ? ("", 0) : (key, width)
  }
}
