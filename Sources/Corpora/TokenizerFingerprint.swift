import Tokenizers

extension Tokenizer {
  /// A digest of the vocabulary: 64 hexadecimal digits.
  ///
  /// Covers every id with its text and whether it is special, so that tokens of one vocabulary are not taken for
  /// those of another. The same for `tokenizer.json` and the `vocab.json` it was made from.
  ///
  /// - Complexity: O(vocabulary).
  public func fingerprint() -> String {
    var hash = SHA256()
    hash.update("inkstone vocabulary 1\n".utf8)
    for id in 0..<vocabularySize {
      guard let text = token(for: id) else { continue }
      hash.update("\(id) \(isSpecial(id) ? "special" : "plain") \(text.utf8.count) ".utf8)
      hash.update(text.utf8)
      hash.update("\n".utf8)
    }
    return hexadecimal(hash.finish())
  }
}

/// Two lower-case digits per byte.
func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
  let digits = Array("0123456789abcdef".unicodeScalars)
  var text = ""
  for byte in bytes {
    text.unicodeScalars.append(digits[Int(byte >> 4)])
    text.unicodeScalars.append(digits[Int(byte & 15)])
  }
  return text
}
