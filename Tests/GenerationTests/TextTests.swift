import Testing

@testable import Generation

/// A tokenizer of bytes: token b is the byte b, tokens from 256 on are special and read `<n>`.
///
/// As byte-level decoders do, it holds an incomplete character back; a byte that cannot follow becomes U+FFFD.
private struct ByteDecoder: StreamingTextDecoder {
  var skipsSpecialTokens = false
  private var pending: [UInt8] = []

  init(skipsSpecialTokens: Bool = false) { self.skipsSpecialTokens = skipsSpecialTokens }

  mutating func append(_ id: Int) -> String {
    guard id < 256 else { return skipsSpecialTokens ? "" : finish() + "<\(id)>" }
    pending.append(UInt8(id))
    let needed =
      switch pending[0] {
      case 0xC2...0xDF: 2
      case 0xE0...0xEF: 3
      case 0xF0...0xF4: 4
      default: 1
      }
    if pending.count < needed, pending.dropFirst().allSatisfy({ $0 & 0xC0 == 0x80 }) { return "" }
    return finish()
  }

  mutating func finish() -> String {
    defer { pending = [] }
    return String(decoding: pending, as: UTF8.self)
  }
}

@Suite("Text")
struct TextTests {
  private static func tokens(_ text: String) -> [Int] { text.utf8.map { Int($0) } }

  private static func pieces(
    _ tokens: [Int], stops: [String] = [], prompt: [Int] = [], skipsSpecialTokens: Bool = false
  ) -> [String] {
    var streamer = TextStreamer(
      decoder: ByteDecoder(skipsSpecialTokens: skipsSpecialTokens), stopStrings: stops,
      comparisonDecoder: skipsSpecialTokens ? ByteDecoder() : nil, prompt: prompt)
    var pieces: [String] = []
    for token in tokens { pieces.append(streamer.append(token)) }
    return pieces + [streamer.finish()]
  }

  private static func scalars(_ text: String) -> [Unicode.Scalar] { Array(text.unicodeScalars) }

  @Test("pieces joined are the whole, or what precedes the first stop string")
  func streaming() {
    var generator = SeededGenerator(seed: 21)
    let alphabet = ["a", "b", "aa", "ab", "é", "e\u{301}", "人工", "🙂", "👩‍👩‍👧", "\n", "z"]
    for round in 0..<3000 {
      let text = (0..<Int.random(in: 0...14, using: &generator))
        .map { _ in alphabet.randomElement(using: &generator)! }.joined()
      let stops = (0..<Int.random(in: 0...3, using: &generator)).map { _ in
        (0..<Int.random(in: 1...3, using: &generator))
          .map { _ in alphabet.randomElement(using: &generator)! }.joined()
      }
      let bytes = Array(text.utf8)
      // The stop string that ends first; of those that end together, the longest.
      var expected = text
      search: for end in 0...bytes.count {
        let matching = stops.map { Array($0.utf8) }.filter { bytes[..<end].suffix($0.count) == $0[...] }
        guard let longest = matching.map(\.count).max() else { continue }
        expected = String(decoding: bytes[..<(end - longest)], as: UTF8.self)
        break search
      }
      let pieces = TextTests.pieces(TextTests.tokens(text), stops: stops)
      #expect(
        TextTests.scalars(pieces.joined()) == TextTests.scalars(expected), "round \(round): \(text), \(stops)"
      )
      #expect(
        TextStreamer.text(of: TextTests.tokens(text), decoder: ByteDecoder(), stopStrings: stops).utf8
          .elementsEqual(expected.utf8))
    }
  }

  @Test("text is given away as soon as it is certain")
  func promptness() {
    #expect(TextTests.pieces(TextTests.tokens("abc")) == ["a", "b", "c", ""])
    #expect(TextTests.pieces(TextTests.tokens("人x")) == ["", "", "人", "x", ""])
    #expect(TextTests.pieces(TextTests.tokens("xaby"), stops: ["abc"]) == ["x", "", "", "aby", ""])
    #expect(TextTests.pieces(TextTests.tokens("aab"), stops: ["ab"]) == ["", "a", "", ""])
    #expect(TextTests.pieces(TextTests.tokens("aabzz"), stops: ["ab"]).joined() == "a")
    #expect(TextTests.pieces(TextTests.tokens("xa"), stops: ["ab"]) == ["x", "", "a"])
    // An incomplete character at the end of all comes out as what the decoder makes of it.
    #expect(TextTests.pieces([0x61, 0xE4, 0xBA]) == ["a", "", "", "\u{FFFD}"])
  }

  @Test("canonically equivalent texts are different texts")
  func canonicalEquivalence() {
    #expect(TextTests.pieces(TextTests.tokens("caf\u{E9}!"), stops: ["e\u{301}"]).joined() == "caf\u{E9}!")
    #expect(TextTests.pieces(TextTests.tokens("cafe\u{301}!"), stops: ["e\u{301}"]).joined() == "caf")
    // A stop string may end within a character that a combining mark extends.
    #expect(TextTests.pieces(TextTests.tokens("cafe\u{301}!"), stops: ["e"]).joined() == "caf")
  }

  @Test("special tokens can stop a text that leaves them out")
  func specialTokens() {
    let tokens = TextTests.tokens("ab") + [300] + TextTests.tokens("cd") + [301] + TextTests.tokens("e")
    #expect(TextTests.pieces(tokens, skipsSpecialTokens: true).joined() == "abcde")
    #expect(TextTests.pieces(tokens, stops: ["<301>"], skipsSpecialTokens: true).joined() == "abcd")
    #expect(TextTests.pieces(tokens, stops: ["b<300>c"], skipsSpecialTokens: true).joined() == "a")
    #expect(TextTests.pieces(tokens, stops: ["<30", "zz"], skipsSpecialTokens: true).joined() == "ab")
    #expect(TextTests.pieces(tokens, stops: ["<302>"], skipsSpecialTokens: true).joined() == "abcde")
  }

  @Test("a stop string may begin in the prompt, not end there")
  func promptBoundary() {
    #expect(
      TextTests.pieces(TextTests.tokens("er: x"), stops: ["\nUser:"], prompt: TextTests.tokens("a\nUs"))
        .joined() == "")
    #expect(
      TextTests.pieces(TextTests.tokens("ok"), stops: ["\nUser:"], prompt: TextTests.tokens("\nUser:"))
        .joined() == "ok")
    #expect(
      TextTests.pieces(TextTests.tokens("ok"), stops: ["\nUser:"], prompt: TextTests.tokens("\nUs")).joined()
        == "ok")
  }

  @Test("generation stops where the text does", arguments: [1, 3])
  func generation(beams: Int) throws {
    // Tokens are printable letters: 97 + token.
    struct LetterDecoder: StreamingTextDecoder {
      mutating func append(_ id: Int) -> String { String(UnicodeScalar(UInt8(97 + id))) }
      mutating func finish() -> String { "" }
    }
    var stopped = 0
    for seed in UInt64(0)..<40 {
      let session = TableSession(seed: seed, vocabularySize: 12, scale: 0.25)
      var configuration = GenerationConfiguration()
      configuration.maximumNewTokens = 25
      configuration.beamCount = beams
      configuration.stopStrings = ["ab", "cde", "ff", "h"]
      let plan = try session.plan([1], configuration)
      let result = try generate(prompt: [1], plan: plan, session: session, stopDecoder: LetterDecoder())
      let tokens = result.sequences[0].tokens
      let whole = TextStreamer.text(of: tokens, decoder: LetterDecoder())
      let cut = TextStreamer.text(
        of: tokens, decoder: LetterDecoder(), stopStrings: plan.stopStrings, prompt: [1])
      if result.sequences[0].finishReason == .stopString {
        stopped += 1
        // The token output keeps the stop string, which is its end.
        #expect(plan.stopStrings.contains { ("b" + whole).hasSuffix($0) }, "seed \(seed)")
        #expect(cut.count < whole.count)
      } else {
        #expect(cut == whole, "seed \(seed)")
        #expect(tokens.count == 25)
      }
    }
    #expect(stopped > 10)
  }
}
