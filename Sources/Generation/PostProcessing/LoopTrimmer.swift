/// Cuts the tail that says the same thing over and over, as a model does that has fallen into a loop.
///
/// The text ends in a loop when its tail consists of at least `minimumRepetitions` copies of something, the last
/// of which may be cut off. One copy stays; where the loop can be entered at several places, the copy ends with a
/// sentence if one of them does, else with a word.
///
/// Repetition in earnest is short (哈哈哈, very very very), so a loop must also come to `minimumLength` characters
/// without white space, and three times that if it consists of digits, which are more likely a number.
public struct LoopTrimmer: PostProcessingStep {
  /// Whole copies that make a loop.
  public let minimumRepetitions: Int
  /// Characters that make a loop, white space aside.
  public let minimumLength: Int

  /// Makes the step.
  ///
  /// - Precondition: at least two repetitions, and a length of one or more.
  public init(minimumRepetitions: Int = 3, minimumLength: Int = 12) {
    precondition(minimumRepetitions >= 2, "a loop of \(minimumRepetitions) repetitions")
    precondition(minimumLength >= 1, "a loop of \(minimumLength) characters")
    self.minimumRepetitions = minimumRepetitions
    self.minimumLength = minimumLength
  }

  /// The text with one copy of what its tail repeats.
  ///
  /// - Complexity: O(bytes) for each loop found, and what is left after one can end in another only if that is
  ///   shorter by a factor, so there are few.
  public func apply(to text: String) -> String {
    let characters = TextCharacters(text)
    var end = characters.count
    let identifiers = LoopTrimmer.identifiers(characters)
    while let shorter = trimmedEnd(characters, identifiers, end: end) { end = shorter }
    return end == characters.count ? text : characters.text(0..<end)
  }

  /// Where the text ends once its loop is cut; `nil` without a loop.
  private func trimmedEnd(_ characters: TextCharacters, _ identifiers: [UInt32], end: Int) -> Int? {
    var last = end
    while last > 0, isBlank(characters[last - 1]) { last -= 1 }
    let overlaps = LoopTrimmer.overlaps(identifiers, end: last)

    // A tail with period p is as long as p and its overlap with itself moved by p.
    var best: (start: Int, period: Int)?
    var visible = 0
    var digits = 0
    var counts: [(visible: Int, digits: Int)] = [(0, 0)]
    counts.reserveCapacity(last + 1)
    for offset in 0..<last {
      let character = characters[last - 1 - offset]
      if !isBlank(character) { visible += 1 }
      if character.isSingle, character.scalar.properties.numericType == .decimal { digits += 1 }
      counts.append((visible, digits))
    }
    for period in 1..<max(1, last / minimumRepetitions + 1) {
      let length = period + overlaps[period]
      guard length >= period * minimumRepetitions else { continue }
      let needed = counts[length].digits == counts[length].visible ? 3 * minimumLength : minimumLength
      guard counts[length].visible >= needed else { continue }
      let start = last - length
      if best.map({ start + period < $0.start + $0.period }) ?? true { best = (start, period) }
    }
    guard let best else { return nil }

    var cut = best.start + best.period
    var quality = self.quality(characters, cut)
    for candidate in cut + 1..<cut + best.period where quality < 3 {
      let other = self.quality(characters, candidate)
      if other > quality { (cut, quality) = (candidate, other) }
    }
    while cut > 0, isBlank(characters[cut - 1]) { cut -= 1 }
    return cut
  }

  /// How good a place to end before this character is: 3 after a sentence, 2 at a line end, 1 at a word's edge.
  private func quality(_ characters: TextCharacters, _ index: Int) -> Int {
    let (left, right) = (characters[index - 1], characters[index])
    if left.isSingle {
      switch left.scalar {
      case "。", "！", "？", "｡", "!", "?": return right.isSingle && right.scalar.isCloser ? 0 : 3
      case ".", "…": return isBlank(right) || left.scalar == "…" && right.scalar != "…" ? 3 : 0
      case let scalar where scalar.isCloser && index > 1:
        if "。！？…!?.".unicodeScalars.contains(characters[index - 2].scalar) { return 3 }
      default: break
      }
    }
    if left.isLineEnd || right.isLineEnd { return 2 }
    return isBlank(left) || isBlank(right) || left.scalar.isForbiddenAtLineStart && !right.isWordCharacter
      ? 1 : 0
  }

  private func isBlank(_ character: TextCharacter) -> Bool { character.isSpace || character.isLineEnd }

  /// A number for each character, equal where their bytes are.
  private static func identifiers(_ characters: TextCharacters) -> [UInt32] {
    var numbers: [ArraySlice<UInt8>: UInt32] = [:]
    return characters.map { character in
      if character.isSingle { return character.scalar.value }
      // Beyond every scalar.
      let next = 0x110000 + UInt32(numbers.count)
      let bytes = characters.utf8[character.bytes]
      if let number = numbers[bytes] { return number }
      numbers[bytes] = next
      return next
    }
  }

  /// For each shift, how long the reversed text agrees with itself moved by it (the Z function).
  ///
  /// - Complexity: O(end).
  private static func overlaps(_ identifiers: [UInt32], end: Int) -> [Int] {
    var overlaps = [Int](repeating: 0, count: end + 1)
    var left = 0
    var right = 0
    for shift in stride(from: 1, to: end, by: 1) {
      var length = shift < right ? min(right - shift, overlaps[shift - left]) : 0
      while shift + length < end, identifiers[end - 1 - length] == identifiers[end - 1 - shift - length] {
        length += 1
      }
      overlaps[shift] = length
      if shift + length > right { (left, right) = (shift, shift + length) }
    }
    return overlaps
  }
}
