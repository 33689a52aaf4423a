/// Turns token ids into text one at a time, holding back bytes that do not yet make a character.
///
/// A value type: a copy continues on its own, which is how beams fork. `Tokenizers.StreamDecoder` is one.
public protocol StreamingTextDecoder {
  /// The text that is complete now that this token has come; may be empty.
  mutating func append(_ id: Int) -> String

  /// What was still held back, once no token follows.
  mutating func finish() -> String
}
