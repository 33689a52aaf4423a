/// A vocabulary of whole words.
struct WordLevel: Sendable {
  let vocabulary: StringTable
  let unknown: UInt32?
  let unknownText: String

  /// Appends the token of a word.
  func encode(_ word: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [UInt32]) throws {
    if let token = vocabulary.find(word, count) {
      tokens.append(token)
    } else if let unknown {
      tokens.append(unknown)
    } else {
      let text = String(decoding: UnsafeBufferPointer(start: word, count: count), as: UTF8.self)
      throw TokenizerError.unencodable(
        reason: "the word \(text.prefix(40)) is not in the vocabulary and neither is the unknown token "
          + unknownText)
    }
  }
}
