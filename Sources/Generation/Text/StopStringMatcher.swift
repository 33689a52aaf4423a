/// Finds the first place in a stream of UTF-8 where one of several texts ends.
///
/// Compares bytes, so that canonically equivalent characters stay different, as they are to a tokenizer.
/// Per text, the state is the length of its longest prefix that the stream ends with (Knuth, Morris and Pratt,
/// SIAM J. Comput. 6, 1977), O(1) amortised per byte.
struct StopStringMatcher {
  /// Bytes of each text, and for each prefix length the longest proper prefix that is also its suffix.
  private struct Pattern {
    let bytes: [UInt8]
    let fallback: [Int]

    init(_ text: String) {
      bytes = Array(text.utf8)
      var fallback = [0, 0]
      var length = 0
      for position in bytes.indices.dropFirst() {
        while length > 0, bytes[position] != bytes[length] { length = fallback[length] }
        if bytes[position] == bytes[length] { length += 1 }
        fallback.append(length)
      }
      self.fallback = fallback
    }
  }

  private let patterns: [Pattern]
  private var matched: [Int]

  /// - Parameter texts: none of them empty.
  init(_ texts: [String]) {
    precondition(texts.allSatisfy { !$0.isEmpty }, "an empty stop string")
    patterns = texts.map(Pattern.init)
    matched = Array(repeating: 0, count: texts.count)
  }

  /// Bytes of the longest text.
  var longest: Int { patterns.map(\.bytes.count).max() ?? 0 }

  /// Bytes at the end of the stream that could begin one of the texts.
  var heldBack: Int { matched.max() ?? 0 }

  /// Takes one byte.
  /// - Returns: the length of the longest text that ends with this byte; `nil` when none does.
  mutating func append(_ byte: UInt8) -> Int? {
    var found: Int?
    for (index, pattern) in patterns.enumerated() {
      var length = matched[index]
      if length == pattern.bytes.count { length = pattern.fallback[length] }
      while length > 0, pattern.bytes[length] != byte { length = pattern.fallback[length] }
      if pattern.bytes[length] == byte { length += 1 }
      matched[index] = length
      if length == pattern.bytes.count { found = max(found ?? 0, length) }
    }
    return found
  }
}

/// Says of each token of a sequence whether it completes a stop string.
///
/// The text of prompt and output is one stream: a stop string that begins in the prompt and is completed by
/// the output counts, one that lies wholly in the prompt does not (as in transformers `StopStringCriteria`).
struct StopStringDetector {
  private var decoder: any StreamingTextDecoder
  private var matcher: StopStringMatcher

  init(_ texts: [String], decoder: any StreamingTextDecoder, prompt: some Collection<Int>) {
    self.decoder = decoder
    matcher = StopStringMatcher(texts)
    // A token has a byte at least, so older tokens cannot reach into a match with the first new one.
    for token in prompt.suffix(matcher.longest) { _ = append(token) }
  }

  /// Takes one token; true when a stop string ends within its text.
  mutating func append(_ token: Int) -> Bool {
    var found = false
    for byte in decoder.append(token).utf8 where matcher.append(byte) != nil { found = true }
    return found
  }
}
