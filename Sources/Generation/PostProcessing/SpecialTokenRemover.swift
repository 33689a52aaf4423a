/// Removes the texts of special tokens, such as `<|endoftext|>`, wherever they stand.
///
/// Decoding leaves special tokens out by itself; this is for those that a model spells out in plain text because
/// its training data did.
public struct SpecialTokenRemover: PostProcessingStep {
  private let reducer: PatternReducer

  /// Makes the step.
  ///
  /// - Parameter tokens: compared exactly, letter case included; empty ones are passed over.
  public init(_ tokens: [String]) {
    reducer = PatternReducer(
      PatternMatcher(tokens, foldsCase: false), action: .drop, respectsWords: false)
  }

  /// The text without special tokens, and without those that the removal of others would put together.
  ///
  /// - Complexity: O(bytes + tokens found · their number).
  public func apply(to text: String) -> String { reducer.apply(to: text) }
}
