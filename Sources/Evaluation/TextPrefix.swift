import Tokenizers
import Transformer

/// What stands before the first token of a text, so that this one can be scored too.
public enum TextPrefix {
  /// The tokens before a text, none for a model that has nothing to put there.
  ///
  /// They are what the tokenizer adds; else the model's token that begins a text, or the one that ends the text before.
  /// - SeeAlso: `prefix_token_id` of lm-evaluation-harness.
  public static func tokens(tokenizer: Tokenizer, configuration: DecoderConfiguration) -> [Int] {
    // A probe shows what is added before a text, and what behind it.
    if let plain = try? tokenizer.encode("a", addSpecialTokens: false),
      let whole = try? tokenizer.encode("a", addSpecialTokens: true), !plain.isEmpty,
      whole.count > plain.count
    {
      for start in 0...whole.count - plain.count where Array(whole[start..<start + plain.count]) == plain {
        if start > 0 { return Array(whole[..<start]) }
        break
      }
    }
    let candidates = [
      configuration.beginOfSequenceToken, tokenizer.beginOfSequence,
      configuration.endOfSequenceTokens.first, tokenizer.endOfSequence,
    ]
    let token = candidates.compactMap { $0 }.first { (0..<configuration.vocabularySize).contains($0) }
    return token.map { [$0] } ?? []
  }
}
