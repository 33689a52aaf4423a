/// A unigram language model: the cut of a word whose tokens have the highest sum of scores.
///
/// Equal to the `Unigram` model of `tokenizers`: sums in double precision, ties to the earlier start, runs of
/// unknown characters joined and then looked up, spelled in bytes, or replaced by the unknown token.
/// - SeeAlso: Kudo, arXiv:1804.10959.
struct Unigram: Sendable {
  /// What an unknown character costs beyond the least likely token.
  static let unknownPenalty = 10.0

  /// The keys of the vocabulary.
  let vocabulary: StringTable
  let trie: ByteTrie
  /// By token id.
  let scores: [Double]
  let unknown: UInt32?
  /// The fallback tokens `<0x00>`…`<0xFF>`; `nil` without `byte_fallback`.
  let fallback: [UInt32]?
  /// The score of a character that no token covers.
  let unknownScore: Double

  /// - Parameters:
  ///   - scores: by token id; all finite.
  ///   - unknownScore: when it is not the lowest score less the penalty.
  init(
    vocabulary: StringTable, scores: [Double], unknown: UInt32?, fallback: [UInt32]?,
    unknownScore: Double? = nil
  ) {
    self.vocabulary = vocabulary
    trie = ByteTrie(vocabulary)
    self.scores = scores
    self.unknown = unknown
    self.fallback = fallback
    self.unknownScore = unknownScore ?? (scores.min() ?? .infinity) - Unigram.unknownPenalty
  }

  /// Appends the tokens of a word that is not empty.
  func encode(
    _ word: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [UInt32], scratch: inout ModelScratch
  ) throws {
    guard count <= WordCache.maximumWord else {
      return try encodeUncached(word, count, into: &tokens, scratch: &scratch)
    }
    let hash = StringTable.hash(word, count)
    if scratch.cache.append(word, count, hash, to: &tokens) { return }
    let start = tokens.count
    try encodeUncached(word, count, into: &tokens, scratch: &scratch)
    scratch.cache.insert(word, count, hash, tokens: tokens[start...])
  }

  /// The best way to reach a place in the word.
  struct Step {
    var score: Double
    /// Where its last token begins; −1 as long as nothing ends here.
    var start: Int32
    var token: UInt32
  }

  private func encodeUncached(
    _ word: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [UInt32], scratch: inout ModelScratch
  ) throws {
    let first = tokens.count
    if scratch.steps.count <= count {
      scratch.steps = [Step](repeating: Step(score: 0, start: -1, token: 0), count: count + count / 2 + 65)
    }
    let complete = scratch.steps.withUnsafeMutableBufferPointer { buffer in
      let steps = buffer.baseAddress!
      for at in 0...count { steps[at].start = -1 }
      steps[0].score = 0
      return scores.withUnsafeBufferPointer { search(word, count, steps, $0.baseAddress!) }
    }
    guard complete else {
      throw TokenizerError.unencodable(
        reason: "a character is not in the vocabulary and the model names no unknown token (unk_id)")
    }
    scratch.steps.withUnsafeBufferPointer { trace(word, count, $0.baseAddress!, &tokens) }
    tokens[first...].reverse()
  }

  /// Fills the steps; false when an unknown character has no token.
  private func search(
    _ word: UnsafePointer<UInt8>, _ count: Int, _ steps: UnsafeMutablePointer<Step>,
    _ scores: UnsafePointer<Double>
  ) -> Bool {
    // Safe: every end is at most `count`, and tokens of the trie are below the number of scores.
    var at = 0
    while at < count {
      let here = steps[at].score
      let character = UTF8Bytes.scalar(word, at).length
      var node = ByteTrie.root
      var end = at
      var coversCharacter = false
      while end < count {
        node = trie.child(node, word[end])
        if node == ByteTrie.root { break }
        end &+= 1
        let token = trie.value(node)
        if token == ByteTrie.none { continue }
        let score = scores[Int(token)] + here
        if steps[end].start < 0 || score > steps[end].score {
          steps[end] = Step(score: score, start: Int32(truncatingIfNeeded: at), token: token)
        }
        if end &- at == character { coversCharacter = true }
      }
      if !coversCharacter {
        let end = at &+ character
        let score = unknownScore + here
        if steps[end].start < 0 || score > steps[end].score {
          guard let unknown else { return false }
          steps[end] = Step(score: score, start: Int32(truncatingIfNeeded: at), token: unknown)
        }
      }
      at &+= character
    }
    return true
  }

  /// Appends the tokens of the best path, last first.
  private func trace(
    _ word: UnsafePointer<UInt8>, _ count: Int, _ steps: UnsafePointer<Step>, _ tokens: inout [UInt32]
  ) {
    var end = count
    var unknownEnd = -1
    while end > 0 {
      let start = Int(steps[end].start)
      if steps[end].token == unknown {
        if unknownEnd < 0 { unknownEnd = end }
      } else {
        if unknownEnd >= 0 { appendUnknown(word + end, unknownEnd - end, &tokens) }
        unknownEnd = -1
        tokens.append(steps[end].token)
      }
      end = start
    }
    if unknownEnd >= 0 { appendUnknown(word, unknownEnd, &tokens) }
  }

  /// Appends what stands for a run of unknown characters, last first.
  private func appendUnknown(_ run: UnsafePointer<UInt8>, _ count: Int, _ tokens: inout [UInt32]) {
    if let token = vocabulary.find(run, count) {
      tokens.append(token)
      return
    }
    if let fallback {
      let bytes = UnsafeBufferPointer(start: run, count: count)
      if bytes.allSatisfy({ fallback[Int($0)] != BytePairEncoding.missing }) {
        for byte in bytes.reversed() { tokens.append(fallback[Int(byte)]) }
        return
      }
    }
    if let unknown { tokens.append(unknown) }
  }
}
