/// One change to a generated text.
///
/// Every step of this module keeps characters (extended grapheme clusters) whole and is idempotent: applied to
/// its own result it changes nothing. A step of one's own should do both too.
public protocol PostProcessingStep: Sendable {
  /// The text after this step.
  func apply(to text: String) -> String
}

/// A step that looks across or for line ends, and so wants to know which of them are only layout.
protocol LayoutAwareStep: PostProcessingStep {
  func apply(to text: String, wrapper: LineWrapper?) -> String
}

/// What happens to a generated text before it is shown: any steps one after the other, then wrapping.
///
/// ```swift
/// let processor = PostProcessor.standard(specialTokens: ["<|endoftext|>"])
/// processor.apply(to: "人工智能 正在改变世界,改变世界。人工智能正在改变世界，改变世界。未来")
/// // 人工智能正在改变世界，改变世界。
/// ```
///
/// A step may leave what an earlier one acts upon (a dropped word, two equal sentences that differed by it), so
/// the steps are gone through until none changes anything. That makes the whole idempotent, as its steps are.
public struct PostProcessor: PostProcessingStep {
  /// The steps, in the order in which they apply.
  public var steps: [any PostProcessingStep]
  /// Breaks lines at the very end, since wrapped lines are layout and no longer text; `nil` leaves them long.
  ///
  /// Sentences run on across line ends that it could have made, so on prose the whole is idempotent with a wrapper
  /// too. Whether such a line end had been a space or nothing cannot be told where it splits an overlong word or
  /// code, or comes between a full stop and Chinese: a text with those is better wrapped once only.
  public var wrapper: LineWrapper?

  /// Composes steps.
  public init(_ steps: [any PostProcessingStep], wrapper: LineWrapper? = nil) {
    self.steps = steps
    self.wrapper = wrapper
  }

  /// All that needs no decision of the user: special tokens, white space and punctuation, looping tail, repeated
  /// sentences, last whole sentence.
  ///
  /// - Parameter specialTokens: as `SpecialTokenRemover` takes them.
  public static func standard(specialTokens: [String] = []) -> PostProcessor {
    PostProcessor([
      SpecialTokenRemover(specialTokens), TextNormalizer(), LoopTrimmer(), RepeatedSentenceRemover(),
      WholeSentenceCutter(),
    ])
  }

  /// The text after all steps.
  ///
  /// - Complexity: O(bytes) per round; the second round commonly finds nothing to do.
  public func apply(to text: String) -> String {
    var text = text
    // Ends, because a step that changes something shortens the text or brings it closer to its normal form.
    while true {
      let before = text
      for step in steps {
        if let step = step as? any LayoutAwareStep {
          text = step.apply(to: text, wrapper: wrapper)
        } else {
          text = step.apply(to: text)
        }
      }
      if isIdentical(text, before) { break }
    }
    return wrapper?.apply(to: text) ?? text
  }
}
