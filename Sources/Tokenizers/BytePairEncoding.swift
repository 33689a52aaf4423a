/// Byte-pair encoding: a word's units are merged pairwise, the lowest rank first, until no pair merges.
///
/// Equal to the `BPE` model of `tokenizers`, with its order of unknown and fallback tokens.
/// - SeeAlso: Sennrich et al., arXiv:1508.07909.
struct BytePairEncoding: Sendable {
  /// Where a word begins: bytes (after a final `ByteLevel`) or characters.
  enum Unit: Sendable {
    case byte
    case character
  }

  let unit: Unit
  /// Keys are the words as they reach the model: raw bytes for `.byte`, text for `.character`.
  let vocabulary: StringTable
  let merges: MergeTable
  /// For `.byte`, the token of each single byte; `missing` where the vocabulary has none.
  let byteTokens: [UInt32]
  /// Every byte has a token and none is spelled with a prefix or suffix, so a word's units are plain look-ups.
  let hasAllBytes: Bool
  /// The fallback tokens of each byte value `<0x00>`…`<0xFF>`; `nil` without `byte_fallback`.
  let fallback: [UInt32]?
  /// The unknown token, and whether neighbours share one.
  let unknown: UInt32?
  let fusesUnknown: Bool
  /// Named by the file but absent from the vocabulary: an error as soon as it is needed.
  let missingUnknown: String?
  let prefix: [UInt8]
  let suffix: [UInt8]
  /// A whole word that is in the vocabulary is taken as it is.
  let ignoresMerges: Bool
  /// Several strings share a token, so stale queue entries must be judged as `tokenizers` does.
  let hasSharedTokens: Bool

  static let missing = UInt32.max

  /// Appends the tokens of a word that is not empty.
  func encode(
    _ word: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [UInt32], scratch: inout ModelScratch
  ) throws {
    if ignoresMerges, let token = vocabulary.find(word, count) {
      tokens.append(token)
      return
    }
    if count <= WordCache.maximumWord {
      let hash = StringTable.hash(word, count)
      if scratch.cache.append(word, count, hash, to: &tokens) { return }
      let start = tokens.count
      try encodeUncached(word, count, into: &tokens, scratch: &scratch)
      scratch.cache.insert(word, count, hash, tokens: tokens[start...])
    } else {
      try encodeUncached(word, count, into: &tokens, scratch: &scratch)
    }
  }

  private func encodeUncached(
    _ word: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [UInt32], scratch: inout ModelScratch
  ) throws {
    scratch.symbols.removeAll(keepingCapacity: true)
    try appendUnits(word, count, to: &scratch.symbols)
    let symbols = scratch.symbols.count
    if symbols <= PairMerging.scanLimit, !hasSharedTokens {
      let left = scratch.symbols.withUnsafeMutableBufferPointer {
        PairMerging.mergeByScanning($0, merges)
      }
      tokens.append(contentsOf: scratch.symbols[..<left])
    } else {
      PairMerging.mergeByQueue(&scratch, merges)
      tokens.append(contentsOf: scratch.symbols)
    }
  }

  /// The first symbols of a word: one per unit, with fallback and unknown tokens in place.
  private func appendUnits(_ word: UnsafePointer<UInt8>, _ count: Int, to symbols: inout [UInt32]) throws {
    if hasAllBytes {
      byteTokens.withUnsafeBufferPointer { tokens in
        for at in 0..<count { symbols.append(tokens[Int(word[at])]) }
      }
      return
    }
    var pending = false
    var at = 0
    while at < count {
      let length = unit == .byte ? 1 : UTF8Bytes.scalar(word, at).length
      let token = unitToken(word, at, length, isLast: at + length == count)
      if token != BytePairEncoding.missing {
        if pending, let unknown { symbols.append(unknown) }
        pending = false
        symbols.append(token)
      } else if !appendFallback(word, at, length, isLast: at + length == count, to: &symbols) {
        if let missingUnknown {
          throw TokenizerError.unencodable(
            reason: "a character is not in the vocabulary and neither is the unknown token \(missingUnknown)")
        }
        if let unknown {
          // The unknown token waits for the next known unit (fallback bytes pass it by), as in `tokenizers`.
          if pending, !fusesUnknown { symbols.append(unknown) }
          pending = true
        }
      }
      at += length
    }
    if pending, let unknown { symbols.append(unknown) }
  }

  @inline(__always)
  private func unitToken(_ word: UnsafePointer<UInt8>, _ at: Int, _ length: Int, isLast: Bool) -> UInt32 {
    if prefix.isEmpty, suffix.isEmpty {
      if unit == .byte { return byteTokens[Int(word[at])] }
      return vocabulary.find(word + at, length) ?? BytePairEncoding.missing
    }
    let spelled = affixed(word, at, length, isLast: isLast)
    return spelled.withUnsafeBufferPointer { vocabulary.find($0) } ?? BytePairEncoding.missing
  }

  /// A unit with the declared prefix (unless first) and suffix (when last).
  private func affixed(_ word: UnsafePointer<UInt8>, _ at: Int, _ length: Int, isLast: Bool) -> [UInt8] {
    var spelled = at == 0 ? [] : prefix
    spelled.append(contentsOf: UnsafeBufferPointer(start: word + at, count: length))
    if isLast { spelled += suffix }
    return spelled
  }

  private func appendFallback(
    _ word: UnsafePointer<UInt8>, _ at: Int, _ length: Int, isLast: Bool, to symbols: inout [UInt32]
  ) -> Bool {
    guard let fallback else { return false }
    var spelled = affixed(word, at, length, isLast: isLast)
    if unit == .byte {
      // `tokenizers` falls back to the bytes of the character that stands for the byte.
      let bytes = spelled
      spelled = []
      bytes.withUnsafeBufferPointer { ByteAlphabet.appendCharacters(of: $0, to: &spelled) }
    }
    guard spelled.allSatisfy({ fallback[Int($0)] != BytePairEncoding.missing }) else { return false }
    for byte in spelled { symbols.append(fallback[Int(byte)]) }
    return true
  }
}

/// What a model writes to while it encodes; one per encoding at a time.
struct ModelScratch {
  var cache = WordCache()
  var symbols: [UInt32] = []
  var links: [PairMerging.Link] = []
  var queue: [PairMerging.Candidate] = []
  /// Of a `Unigram`.
  var steps: [Unigram.Step] = []
  /// Of sentencepiece's own models.
  var spans: [SentencePieceModel.Span] = []
  var agenda: [SentencePieceModel.Candidate] = []
  var floatSteps: [SentencePieceModel.Step] = []
}
