/// WordPiece: the longest token that a word begins with, then the longest continuation, and so on.
///
/// Equal to the `WordPiece` model of `tokenizers`: a word that cannot be covered whole, or is too long, is the
/// unknown token.
/// - SeeAlso: Devlin et al., arXiv:1810.04805.
struct WordPiece: Sendable {
  let trie: ByteTrie
  /// Put before every word: nothing in BERT's own vocabularies, `▁` in those of GGUF files.
  let wordStart: [UInt8]
  /// The node behind the prefix of continuations (`##`); `nil` when no token has it.
  let continuation: UInt32?
  /// Longer words are unknown without a try.
  let maximumCharacters: Int
  let unknown: UInt32?
  let unknownText: String

  init(
    vocabulary: StringTable, prefix: String, wordStart: String = "", maximumCharacters: Int, unknown: UInt32?,
    unknownText: String
  ) {
    trie = ByteTrie(vocabulary)
    self.wordStart = Array(wordStart.utf8)
    continuation = trie.node(of: Array(prefix.utf8))
    self.maximumCharacters = maximumCharacters
    self.unknown = unknown
    self.unknownText = unknownText
  }

  /// Appends the tokens of a word that is not empty.
  func encode(
    _ word: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [UInt32], scratch: inout ModelScratch
  ) throws {
    guard count <= WordCache.maximumWord else {
      return try encodeUncached(word, count, into: &tokens)
    }
    let hash = StringTable.hash(word, count)
    if scratch.cache.append(word, count, hash, to: &tokens) { return }
    let start = tokens.count
    try encodeUncached(word, count, into: &tokens)
    scratch.cache.insert(word, count, hash, tokens: tokens[start...])
  }

  private func encodeUncached(
    _ word: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [UInt32]
  ) throws {
    let start = tokens.count
    let isCovered: Bool
    if count > maximumCharacters, characters(word, count) > maximumCharacters {
      isCovered = false
    } else if wordStart.isEmpty {
      isCovered = cover(word, count, &tokens)
    } else {
      let whole = wordStart + UnsafeBufferPointer(start: word, count: count)
      isCovered = whole.withUnsafeBufferPointer { cover($0.baseAddress!, $0.count, &tokens) }
    }
    if isCovered { return }
    guard let unknown else {
      throw TokenizerError.unencodable(
        reason: "a word is not in the vocabulary and neither is the unknown token \(unknownText)")
    }
    tokens.removeSubrange(start...)
    tokens.append(unknown)
  }

  /// Appends tokens until the word is covered; false when it cannot be.
  private func cover(_ word: UnsafePointer<UInt8>, _ count: Int, _ tokens: inout [UInt32]) -> Bool {
    var at = 0
    while at < count {
      var node = ByteTrie.root
      if at > 0 {
        guard let continuation else { return false }
        node = continuation
      }
      var token = ByteTrie.none
      var best = at
      var end = at
      while end < count {
        node = trie.child(node, word[end])
        if node == ByteTrie.root { break }
        end &+= 1
        if trie.value(node) != ByteTrie.none {
          token = trie.value(node)
          best = end
        }
      }
      if token == ByteTrie.none { return false }
      tokens.append(token)
      at = best
    }
    return true
  }

  private func characters(_ word: UnsafePointer<UInt8>, _ count: Int) -> Int {
    var characters = 0
    for at in 0..<count where word[at] & 0xC0 != 0x80 { characters += 1 }
    return characters
  }
}
