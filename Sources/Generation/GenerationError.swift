/// Why a sequence cannot be generated as asked.
public enum GenerationError: Error, Equatable, CustomStringConvertible {
  /// A setting whose value has the wrong type or lies outside its range.
  case invalidSetting(name: String, requirement: String, found: String)
  /// A setting that would change the output and that this engine does not implement.
  case unsupportedSetting(name: String, found: String, neutral: String)
  /// Settings that cannot hold together.
  case contradiction(String)
  /// A prompt without tokens.
  case emptyPrompt
  /// A prompt that leaves no room for a new token.
  case promptTooLong(promptLength: Int, limit: Int, limitName: String)
  /// A token id that the model does not have.
  case unknownToken(id: Int, place: String, vocabularySize: Int)
  /// A model whose logits are NaN or +∞, or −∞ throughout.
  case invalidLogits(position: Int)
  /// A step at which the settings forbid every token.
  case noTokenLeft(position: Int)
  /// Stop strings without a tokenizer to recognise them with.
  case stopStringsNeedText

  /// One line that names the setting and the fix.
  public var description: String {
    switch self {
    case .invalidSetting(let name, let requirement, let found):
      "\(name) must be \(requirement), but is \(found)"
    case .unsupportedSetting(let name, let found, let neutral):
      "\(name) is \(found), which is not implemented and would change the output; remove it or set it to \(neutral)"
    case .contradiction(let text): text
    case .emptyPrompt: "the prompt has no tokens; give at least one"
    case .promptTooLong(let promptLength, let limit, let limitName):
      "the prompt has \(promptLength) tokens, which leaves no room for a new one within \(limitName) = \(limit); "
        + "shorten the prompt or raise \(limitName)"
    case .unknownToken(let id, let place, let vocabularySize):
      "\(place) holds token id \(id), but the model has tokens 0 to \(vocabularySize - 1)"
    case .invalidLogits(let position):
      "the model's logits at position \(position) are not numbers (NaN or infinite): its weights are damaged or "
        + "overflow; check the checkpoint, or set remove_invalid_values to go on regardless"
    case .noTokenLeft(let position):
      "no token can be drawn at position \(position): the settings forbid all of them; relax suppress_tokens, "
        + "bad_words_ids or no_repeat_ngram_size"
    case .stopStringsNeedText: "stop strings need a tokenizer, and this model has none; remove them"
    }
  }
}
