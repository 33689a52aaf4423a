import Foundation
import JSON
import Testing

@testable import Tokenizers

/// Committed tokenizers against what transformers, sentencepiece and llama.cpp give for them.
@Suite struct ReferenceTests {
  @Test func fixturesAreThere() {
    #expect(Fixtures.names.count >= 45)
  }

  @Test(arguments: Fixtures.names)
  func equalsTheReference(name: String) throws {
    let tokenizer = try Fixtures.tokenizer(name)
    let file = try Fixtures.json(Fixtures.reference.appending(path: name + "/cases.json"))
    try ReferenceTests.compare(tokenizer, file, name)
    let size = try #require(file["size"]?.int)
    #expect(tokenizer.vocabularySize >= size)
    for member in try #require(file["named"]?.object).members {
      #expect(tokenizer.named(member.key) == member.value.int, "\(name): \(member.key)")
    }
    let special = Set(try #require(file["special"]?.array).compactMap(\.int))
    for id in 0..<tokenizer.vocabularySize {
      #expect(tokenizer.isSpecial(id) == special.contains(id), "\(name): \(id)")
    }
  }

  /// Compares a tokenizer with the cases of a file.
  static func compare(_ tokenizer: Tokenizer, _ file: JSONValue, _ name: String) throws {
    let cases = try #require(file["cases"]?.array)
    #expect(!cases.isEmpty)
    for item in cases {
      let text = try #require(item["text"]?.string)
      let ids = try #require(item["ids"]?.array).compactMap(\.int)
      #expect(try tokenizer.encode(text) == ids, "\(name): \(text.debugDescription)")
      let plain = item["plain"]?.array?.compactMap(\.int) ?? ids
      #expect(
        try tokenizer.encode(text, addSpecialTokens: false) == plain, "\(name): \(text.debugDescription)")
      // BERT's vocabularies in GGUF are decoded as BERT does it, not as llama.cpp does.
      if file["encodeOnly"] != nil { continue }
      let decoded = item["decoded"]?.string ?? text
      let skipped = item["skipped"]?.string ?? text
      // Compared by scalars: `==` on strings holds canonically equal ones for the same.
      #expect(
        Array(tokenizer.decode(ids, skipSpecialTokens: false).unicodeScalars)
          == Array(decoded.unicodeScalars),
        "\(name): \(ids)")
      #expect(Array(tokenizer.decode(ids).unicodeScalars) == Array(skipped.unicodeScalars), "\(name): \(ids)")
    }
  }

  @Test(arguments: Fixtures.names)
  func idsAndTokensAreInverse(name: String) throws {
    let tokenizer = try Fixtures.tokenizer(name)
    for id in 0..<tokenizer.vocabularySize {
      guard let token = tokenizer.token(for: id) else { continue }
      // An added token that is looked for in normalised text is known by two texts.
      if tokenizer.storage.added.tokens[UInt32(id)]?.isNormalized == true { continue }
      #expect(tokenizer.id(for: token) == id, "\(name): \(id) \(token)")
    }
    #expect(tokenizer.token(for: tokenizer.vocabularySize) == nil)
    #expect(tokenizer.token(for: -1) == nil)
    #expect(tokenizer.id(for: "no such token") == nil)
  }

  @Test(arguments: Fixtures.names)
  func streamedPiecesJoinToTheWhole(name: String) throws {
    let tokenizer = try Fixtures.tokenizer(name)
    for seed in UInt64(0)..<60 {
      var random = SeededGenerator(seed: seed)
      let ids = (0..<Int.random(in: 0...40, using: &random)).map { _ in
        Int.random(in: -1...tokenizer.vocabularySize, using: &random)
      }
      for skips in [false, true] {
        var stream = tokenizer.makeStreamDecoder(skipSpecialTokens: skips)
        let pieces = ids.map { stream.append($0) } + [stream.finish()]
        #expect(
          Array(pieces.joined().utf8) == Array(tokenizer.decode(ids, skipSpecialTokens: skips).utf8),
          "\(name), seed \(seed)")
      }
    }
  }

  @Test func theStreamHoldsBackHalfCharacters() throws {
    let tokenizer = try Fixtures.tokenizer("gpt2")
    let ids = try tokenizer.encode("\u{10FFFD}a")
    var stream = tokenizer.makeStreamDecoder(skipSpecialTokens: true)
    #expect(ids.dropLast(2).allSatisfy { stream.append($0).isEmpty })
    #expect(stream.append(ids[ids.count - 2]) == "\u{10FFFD}")
    #expect(stream.append(ids[ids.count - 1]) == "a")
    #expect(stream.append(ids[0]) == "")
    #expect(stream.finish() == "\u{FFFD}")
  }
}
