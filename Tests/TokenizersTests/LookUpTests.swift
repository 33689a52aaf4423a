import Testing

@testable import Tokenizers

/// The tables behind the models and normalisers, against plain ways to the same.
@Suite struct LookUpTests {
  private func table(_ texts: [[UInt8]]) -> StringTable {
    let table = StringTable(capacity: 1)
    for (index, text) in texts.enumerated() {
      _ = text.withUnsafeBufferPointer { table.insert($0, UInt32(index)) }
    }
    return table
  }

  @Test func theTrieFindsWhatIsThere() {
    for seed in UInt64(0)..<60 {
      var random = SeededGenerator(seed: seed)
      let alphabet = [2, 3, 17, 256].randomElement(using: &random)!
      let texts = (0..<Int.random(in: 0...[5, 300, 3000].randomElement(using: &random)!, using: &random)).map
      { _ in
        (0..<Int.random(in: 0...9, using: &random)).map { _ in
          UInt8(Int.random(in: 0..<alphabet, using: &random))
        }
      }
      let known = table(texts)
      let trie = ByteTrie(known)
      for _ in 0..<300 {
        let text = (0..<10).map { _ in UInt8(Int.random(in: 0..<alphabet, using: &random)) }
        var node = ByteTrie.root
        var isOnPath = true
        var longest = (length: 0, value: ByteTrie.none)
        for length in 1...text.count {
          let prefix = Array(text[..<length])
          let expected = prefix.withUnsafeBufferPointer { known.find($0) }
          if isOnPath {
            node = trie.child(node, prefix[length - 1])
            isOnPath = node != ByteTrie.root
          }
          #expect((isOnPath ? trie.value(node) : ByteTrie.none) == expected ?? ByteTrie.none, "seed \(seed)")
          if let expected { longest = (length, expected) }
        }
        let found = text.withUnsafeBufferPointer { trie.longestPrefix($0.baseAddress!, $0.count) }
        #expect(found == longest, "seed \(seed)")
      }
    }
  }

  @Test func everyTextOfALargeVocabularyIsFound() {
    var random = SeededGenerator(seed: 5)
    let texts = (0..<60_000).map { _ in Array(random.text(maximumLength: 6).utf8) }
    let known = table(texts)
    let trie = ByteTrie(known)
    for text in texts where !text.isEmpty {
      let node = trie.node(of: text)
      let expected = text.withUnsafeBufferPointer { known.find($0) }
      #expect(node.map { trie.value($0) } == expected)
    }
    #expect(trie.node(of: []) == ByteTrie.root)
  }

  /// Texts of characters that every version of Unicode in use treats alike.
  @Test func clustersEqualThoseOfSwift() {
    let parts = [
      "a", "é", "e\u{301}", "中", " ", "\r\n", "\n", "\r", "\u{300}", "\u{5B0}", "\u{200D}", "👨", "👩‍👧", "🇨",
      "🇳", "👍🏽", "❤️", "ᄒ",
      "ᅡ", "ᆫ", "한", "하", "ก", "ำ", "क", "\u{94D}", "ि", "\u{600}", "\u{110BD}", "x", "©", "™",
    ]
    for seed in UInt64(0)..<4000 {
      var random = SeededGenerator(seed: seed)
      var text = (0..<Int.random(in: 1...8, using: &random)).map { _ in parts.randomElement(using: &random)! }
        .joined()
      let expected = text.map { String($0).utf8.count }
      let found = text.withUTF8 { bytes in
        var lengths: [Int] = []
        var at = 0
        while at < bytes.count {
          let end = GraphemeClusters.end(bytes.baseAddress!, at, bytes.count)
          lengths.append(end - at)
          at = end
        }
        return lengths
      }
      #expect(found == expected, "seed \(seed): \(text.unicodeScalars.map { String($0.value, radix: 16) })")
    }
  }

  @Test func textsAreEqualByTheirBytes() throws {
    let composed = "\u{E9}"
    let decomposed = "e\u{301}"
    #expect(composed == decomposed)
    #expect(ExactText(composed) != ExactText(decomposed))
    var added = AddedTokens()
    added.add(
      [AddedToken(content: composed), AddedToken(content: decomposed, isSpecial: false)], modelSize: 3
    ) { _ in nil }
    #expect(added.id(for: composed) == 3)
    #expect(added.id(for: decomposed) == 4)
    #expect(added.isSpecial(composed))
    #expect(!added.isSpecial(decomposed))
  }

  @Test func base64() {
    #expect(Base64.decode("") == [])
    #expect(Base64.decode("AQIDBA==") == [1, 2, 3, 4])
    #expect(Base64.decode("AQIDBAU=") == [1, 2, 3, 4, 5])
    #expect(Base64.decode("+/8A") == [0xFB, 0xFF, 0])
    for wrong in ["A", "AB", "ABC", "A===", "AQ==AQ==", "AR==", "AQ=A", "A Q=", "A-_B", "AQI\u{E9}"] {
      #expect(Base64.decode(wrong) == nil, "\(wrong)")
    }
  }
}
