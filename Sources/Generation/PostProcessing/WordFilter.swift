/// Masks or drops the words of a list.
///
/// Letter case and full-width forms make no difference. A word in letters is found only where no letter or digit
/// touches it (`ass` is not in `class`); Chinese, Japanese and Korean, which set no words apart, are found anywhere.
/// Where words overlap or contain one another, everything that belongs to any of them goes.
public struct WordFilter: PostProcessingStep {
  /// What happens to a word.
  public enum Action: Sendable {
    /// Each of its characters becomes `*`, or `＊` where it is two columns wide.
    case mask
    /// It goes, and so does a space that it leaves over.
    case drop
  }

  private let reducer: PatternReducer

  /// Makes the step.
  ///
  /// - Complexity: O(characters in the list).
  public init(_ words: WordList, action: Action) {
    // A word of mask characters alone would be masked by itself.
    let patterns =
      action == .drop
      ? words.words : words.words.filter { !$0.unicodeScalars.allSatisfy { $0.halfWidth == "*" } }
    reducer = PatternReducer(
      PatternMatcher(patterns, foldsCase: true), action: action, respectsWords: true)
  }

  /// The text without the words.
  ///
  /// - Complexity: O(bytes + matches · length of the longest word), by one pass of an automaton over all words.
  public func apply(to text: String) -> String { reducer.apply(to: text) }
}
