extension Tokenizer {
  /// The tokens that parts of a text lie in.
  ///
  /// - Parameters:
  ///   - parts: bytes of the text's UTF-8, not empty, ascending and apart from one another; they begin and end at
  ///     characters' edges.
  ///   - ids: the tokens of the text, without those that a post-processor adds.
  ///   - text: the text.
  /// - Returns: for each part, the tokens from that of its first byte to that of its last. A byte-level tokenizer's
  ///   tokens spell the text, so this is exact; of others, it is where the text up to an edge has other tokens.
  /// - Throws: as `encode`.
  package func tokenRanges(of parts: [Range<Int>], in ids: [Int], text: String) throws -> [Range<Int>] {
    let bytes = Array(text.utf8)
    if let ends = tokenEnds(of: ids, spelling: bytes) {
      var token = 0
      return parts.map { part in
        while token < ends.count, ends[token] <= part.lowerBound { token += 1 }
        let first = token
        while token < ends.count, ends[token] < part.upperBound { token += 1 }
        return first..<min(token + 1, ends.count)
      }
    }
    func count(before offset: Int) throws -> Int {
      let start = try bytes[..<offset].withUnsafeBufferPointer {
        try encode(utf8: $0, addSpecialTokens: false)
      }
      return zip(start, ids).prefix { $0 == $1 }.count
    }
    return try parts.map { part in
      let first = try count(before: part.lowerBound)
      return
        first..<max(first, part.upperBound == bytes.count ? ids.count : try count(before: part.upperBound))
    }
  }

  /// The byte at which each token ends, where tokens spell a text byte for byte.
  private func tokenEnds(of ids: [Int], spelling text: [UInt8]) -> [Int]? {
    guard storage.decoders.count == 1, case .byteLevel = storage.decoders[0] else { return nil }
    var bytes: [UInt8] = []
    let ends = ids.map { id in
      if let key = UInt32(exactly: id), let text = storage.added.texts[key] {
        bytes += Array(text.utf8)
      } else {
        _ = storage.vocabulary.appendDecodedBytes(of: id, to: &bytes)
      }
      return bytes.count
    }
    // Normalisation or an added space: then the places are others.
    return bytes == text ? ends : nil
  }
}
