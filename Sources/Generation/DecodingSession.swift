/// What a decoding loop asks of a model: rows that begin with one shared prompt and then go their own ways.
///
/// The buffers of logits that a session returns belong to it, stay valid until its next call, and may be
/// overwritten by the caller (logits processors work in place).
public protocol DecodingSession: AnyObject {
  /// Tokens that the model scores, V.
  var vocabularySize: Int { get }

  /// Positions that the model or its cache can hold.
  var contextLength: Int { get }

  /// Sequences that are decoded side by side at the moment.
  var rowCount: Int { get }

  /// Runs the prompt; afterwards there is one row, which continues from it.
  ///
  /// - Parameter tokens: at least one token id, each below `vocabularySize`.
  /// - Returns: (V) logits for the token after the prompt.
  func prefill(_ tokens: [Int]) throws -> UnsafeMutableBufferPointer<Float>

  /// Makes row *i* continue from what was row `parents[i]`; there are `parents.count` rows afterwards.
  ///
  /// A row may be parent to several, or to none. Costs no copy of keys and values.
  func select(parents: [Int])

  /// Appends one token to every row.
  ///
  /// - Parameter tokens: one token id per row.
  /// - Returns: (rows, V) logits, row-major, for the token after.
  func step(_ tokens: [Int]) throws -> UnsafeMutableBufferPointer<Float>
}
