/// Cuts what comes after the last whole sentence: a model that reaches its length limit stops anywhere.
///
/// A semicolon completes no sentence, and neither does an abbreviation such as Mr. at the very end. Emoji after
/// the last sentence stay with it. A text without a whole sentence is kept as it is.
public struct WholeSentenceCutter: LayoutAwareStep {
  /// Makes the step.
  public init() {}

  /// The text up to the end of its last whole sentence.
  ///
  /// - Complexity: O(bytes).
  public func apply(to text: String) -> String { apply(to: text, wrapper: nil) }

  func apply(to text: String, wrapper: LineWrapper?) -> String {
    let characters = TextCharacters(text)
    let segmenter = SentenceSegmenter(characters, wrapper: wrapper)
    for line in segmenter.lines().reversed() {
      guard let last = segmenter.sentences(in: line).last(where: { $0.ending == .full }) else { continue }
      let tail = last.contentEnd..<characters.count
      let isDecoration = tail.allSatisfy { characters[$0].isEmoji || segmenter.isBlank($0) }
      guard isDecoration else { return characters.text(0..<last.contentEnd) }
      let end = tail.last { !segmenter.isBlank($0) }.map { $0 + 1 } ?? last.contentEnd
      return characters.text(0..<end)
    }
    return text
  }
}
