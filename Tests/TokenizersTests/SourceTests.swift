import Checkpoints
import Foundation
import JSON
import Testing

@testable import Tokenizers

/// The files from which a tokenizer can come, and what is wrong with damaged ones.
@Suite struct SourceTests {
  private func temporary<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: "inkstone-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    return try body(folder)
  }

  private func fixture(_ path: String) -> URL { Fixtures.reference.appending(path: path) }

  /// Of several sources in a folder the first of the order counts.
  @Test func theOrderOfSources() throws {
    try temporary { folder in
      func copy(_ from: String) throws {
        let name = from.split(separator: "/").last!
        try FileManager.default.copyItem(at: fixture(from), to: folder.appending(path: String(name)))
      }
      #expect(!Tokenizer.exists(in: folder.path))
      let sources = [
        ["bert_words/vocab.txt"], ["gpt2_files/vocab.json", "gpt2_files/merges.txt"],
        ["pieces_pairs/tokenizer.model"], ["unigram_t5/tokenizer.json"],
      ]
      let names = ["bert_words", "gpt2_files", "pieces_pairs", "unigram_t5"]
      for (files, name) in zip(sources, names) {
        for file in files { try copy(file) }
        #expect(Tokenizer.exists(in: folder.path))
        let text = "The model 北京's"
        let expected = try Fixtures.tokenizer(name).encode(text, addSpecialTokens: false)
        #expect(
          try Tokenizer.load(from: folder.path).encode(text, addSpecialTokens: false) == expected, "\(name)")
      }
    }
  }

  @Test func aSingleFileCountsAlone() throws {
    let model = try Tokenizer.load(from: fixture("pieces_pairs/tokenizer.model").path)
    #expect(try model.encode("the model") == Fixtures.tokenizer("pieces_pairs").encode("the model"))
    let words = try Tokenizer.load(from: fixture("bert_words/vocab.txt").path)
    #expect(words.named("mask_token") == words.id(for: "[MASK]"))
    let gguf = fixture("gguf_pairs/vocab.gguf").path
    let tokenizer = try Tokenizer.load(from: gguf)
    #expect(Tokenizer.exists(in: gguf))
    #expect(tokenizer.endsOfGeneration == [tokenizer.endOfSequence!])
    let other = try Tokenizer.load(from: GGUFFile(path: gguf).metadata)
    #expect(try other.encode("the model") == tokenizer.encode("the model"))
  }

  /// With a configuration beside it, a tokenizer.model has special tokens that are found in a text.
  @Test func specialTokensBesideATokenizerModel() throws {
    try temporary { folder in
      try FileManager.default.copyItem(
        at: fixture("pieces_pairs/tokenizer.model"), to: folder.appending(path: "tokenizer.model"))
      let plain = try Tokenizer.load(from: folder.path)
      #expect(try plain.encode("<s>a</s>").count > 4)
      #expect(plain.beginOfSequence == 1)
      #expect(plain.decode([1] + (try plain.encode("a")), skipSpecialTokens: false) == "a")
      for (config, begins, decoded) in [
        (#"{"tokenizer_class":"LlamaTokenizer","add_bos_token":true,"legacy":true}"#, true, "<s> the model"),
        (#"{"add_eos_token":true}"#, false, "the model</s>"),
      ] {
        try Data(config.utf8).write(to: folder.appending(path: "tokenizer_config.json"))
        let tokenizer = try Tokenizer.load(from: folder.path)
        let ids = try tokenizer.encode("the model")
        #expect(ids.first == 1 || !begins)
        #expect((ids.last == 2) == !begins)
        #expect(tokenizer.decode(ids, skipSpecialTokens: false) == decoded)
        #expect(try Array(tokenizer.encode("<s>a", addSpecialTokens: false).prefix(1)) == [1])
        // Between the special tokens all is as in the package itself.
        #expect(
          try tokenizer.encode("the model", addSpecialTokens: false) == plain.encode("the model"))
      }
    }
  }

  // MARK: tokenizer.model

  /// A message of protobuf, as far as these tests need it.
  private struct Message {
    var bytes: [UInt8] = []

    static func varint(_ value: UInt64) -> [UInt8] {
      var value = value
      var out: [UInt8] = []
      while value >= 0x80 {
        out.append(UInt8(value & 0x7F) | 0x80)
        value >>= 7
      }
      return out + [UInt8(value)]
    }

    mutating func add(_ field: Int, _ content: [UInt8]) {
      bytes += Message.varint(UInt64(field << 3 | 2)) + Message.varint(UInt64(content.count)) + content
    }

    mutating func add(_ field: Int, _ number: UInt64) {
      bytes += Message.varint(UInt64(field << 3)) + Message.varint(number)
    }

    mutating func add(_ field: Int, _ number: Float) {
      bytes += Message.varint(UInt64(field << 3 | 5))
      withUnsafeBytes(of: number.bitPattern.littleEndian) { bytes += Array($0) }
    }
  }

  private func piece(_ text: String, _ score: Float = -1, kind: UInt64 = 1) -> [UInt8] {
    var message = Message()
    message.add(1, Array(text.utf8))
    message.add(2, score)
    message.add(3, kind)
    return message.bytes
  }

  private func model(_ pieces: [[UInt8]], trainer: Message = Message(), normalizer: Message = Message())
    -> Data
  {
    var message = Message()
    for piece in pieces { message.add(1, piece) }
    message.add(2, trainer.bytes)
    message.add(3, normalizer.bytes)
    message.add(77, [1, 2, 3])  // a field from the future
    return Data(message.bytes)
  }

  private func load(_ data: Data, name: String = "tokenizer.model") throws -> Tokenizer {
    try temporary { folder in
      try data.write(to: folder.appending(path: name))
      return try Tokenizer.load(from: folder.appending(path: name).path)
    }
  }

  @Test func aModelOfAFewPieces() throws {
    let tokenizer = try load(model([piece("<unk>", 0, kind: 2), piece("▁"), piece("a"), piece("▁a", -0.5)]))
    #expect(try tokenizer.encode("a aab") == [3, 3, 2, 0])
    #expect(tokenizer.decode([3, 3, 2, 0]) == "a aa \u{2047} ")
  }

  @Test func wrongModels() throws {
    var fallback = Message()
    fallback.add(35, UInt64(1))
    let unknown = piece("<unk>", 0, kind: 2)
    let long = String(repeating: "a", count: 8000)
    let cases: [(Data, String)] = [
      (Data(), "pieces: is empty"),
      (Data([0x0A]), "a number is cut off"),
      (Data([0x0A, 0x7F, 1]), "does not fit into the 1 that are left"),
      (Data([0x0A] + Array(repeating: 0xFF, count: 9) + [0x01]), "does not fit"),
      (Data([0x0A] + Array(repeating: 0xFF, count: 9) + [0x02]), "more than 64 bits"),
      (Data(Array(repeating: 0x80, count: 20)), "more than 64 bits"),
      (Data([0x0B]), "the wire type 3"), (Data([0x02, 0]), "the number 0"),
      (Data([0x0D, 1, 2]), "is cut off"),
      (Data("no model at all".utf8), "sentencepiece model"), (Data([0x10, 0x01]), "pieces: is empty"),
      (model([piece("a")]), "no piece of the kind UNKNOWN"),
      (model([unknown, piece("<u>", 0, kind: 2)]), "2 pieces of the kind UNKNOWN"),
      (model([unknown, piece("")]), "pieces[1]: is empty"),
      (model([unknown, piece("a\0")]), "null character"), (model([unknown, piece(long)]), "8000"),
      (model([unknown, piece("a"), piece("a")]), "pieces[2]: has the text a of an earlier piece"),
      (model([unknown, piece("a", .nan)]), "pieces[1]: has the score nan"),
      (model([unknown, piece("a", -.infinity)]), "pieces[1]: has the score -inf"),
      (model([unknown, piece("<0x0A>", kind: 6)]), "byte_fallback is false"),
      (model([unknown, piece("<0xZZ>", kind: 6)], trainer: fallback), "none of <0x00> to <0xFF>"),
      (model([unknown, piece("<0x-1>", kind: 6)], trainer: fallback), "none of <0x00> to <0xFF>"),
      (model([unknown, piece("<0x0A>", kind: 6)], trainer: fallback), "lacks the byte 0"),
    ]
    for (data, expected) in cases {
      do {
        _ = try load(data)
        Issue.record("loaded, though \(expected)")
      } catch {
        #expect("\(error)".contains(expected), "\(error)")
        #expect("\(error)".contains("tokenizer.model"), "\(error)")
      }
    }
  }

  /// A trie with one rule, whose units can then be damaged.
  private func rules(
    _ change: (inout [UInt32]) -> Void = { _ in }, size: Int? = nil, texts: [UInt8] = [0x62, 0]
  ) -> [UInt8] {
    var units = [UInt32](repeating: 1 << 31, count: 256)
    units[0] = 1 << 10  // the root's children lie at 1 ^ byte
    let a = UInt32(0x61 ^ 1)
    units[Int(a)] = (a ^ 2) << 10 | 1 << 8 | 0x61  // "a" ends a rule, whose value lies at 2
    units[2] = 1 << 31
    change(&units)
    let count = UInt32(size ?? 4 * units.count)
    var out: [UInt8] = []
    for unit in [count] + units { withUnsafeBytes(of: unit.littleEndian) { out += Array($0) } }
    return out + texts
  }

  @Test func rulesAreChecked() throws {
    func load(_ rules: [UInt8]) throws -> Tokenizer {
      var normalizer = Message()
      normalizer.add(2, rules)
      return try self.load(model([piece("<unk>", 0, kind: 2), piece("▁b")], normalizer: normalizer))
    }
    #expect(try load(rules()).encode("a") == [1])
    let a = 0x61 ^ 1
    let cases: [([UInt8], String)] = [
      ([1, 2, 3], "too short"), (rules(size: 1 << 30), "says that its trie has"),
      (rules(size: 4), "no multiple of 1024"),
      (rules(texts: [0x62]), "without an end"), (rules(texts: [0xFF, 0]), "not UTF-8"),
      (rules(texts: []), "without an end"),
      (rules({ $0[a] = 0x1F_FFFF << 10 | 1 << 8 | 0x61 }), "leaf at"),
      (rules({ $0[2] = 1 << 31 | 4000 }), "a replacement at 4000"),
      (rules({ $0[2] = 1 << 31 | 1 }, texts: [0xC3, 0xA9, 0]), "inside of a character"),
    ]
    for (rules, expected) in cases {
      let error = #expect(throws: TokenizerError.self) { try load(rules) }
      #expect(error?.description.contains(expected) == true, "\(error as Any), not \(expected)")
    }
  }

  /// Flipped bits, cut ends and lost pieces: either an error, or a tokenizer that works.
  @Test(
    arguments: Fixtures.names.filter { $0.hasPrefix("pieces") || $0.hasPrefix("gguf") || $0 == "bert_words" })
  func damagedFilesNeverCrash(name: String) throws {
    let path = Fixtures.path(name)
    let file =
      path.hasSuffix(".gguf")
      ? URL(filePath: path)
      : fixture(name).appending(path: name == "bert_words" ? "vocab.txt" : "tokenizer.model")
    let original = try Data(contentsOf: file)
    for seed in UInt64(0)..<120 {
      var random = SeededGenerator(seed: seed)
      var data = original
      switch seed % 3 {
      case 0:
        for _ in 0..<Int.random(in: 1...12, using: &random) {
          // Most of the faults to the front, where counts and kinds are.
          let at = Int.random(in: 0..<(seed % 2 == 0 ? data.count : min(data.count, 900)), using: &random)
          data[at] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        }
      case 1: data.removeLast(Int.random(in: 1..<data.count, using: &random))
      default:
        let start = Int.random(in: 0..<data.count, using: &random)
        data.removeSubrange(start..<min(data.count, start + Int.random(in: 1...40, using: &random)))
      }
      if let tokenizer = try? load(data, name: file.lastPathComponent) {
        _ = try? tokenizer.encode(random.text(maximumLength: 20))
        _ = tokenizer.decode(
          (0..<40).map { _ in Int.random(in: -1...tokenizer.vocabularySize, using: &random) })
      }
    }
  }

  // MARK: GGUF

  /// A GGUF file of metadata alone.
  private func gguf(_ values: [(key: String, type: UInt32, bytes: [UInt8])]) -> Data {
    func number<Number: FixedWidthInteger>(_ value: Number) -> [UInt8] {
      withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }
    var out = Array("GGUF".utf8) + number(UInt32(3)) + number(UInt64(0)) + number(UInt64(values.count))
    for value in values {
      out += number(UInt64(value.key.utf8.count)) + Array(value.key.utf8) + number(value.type) + value.bytes
    }
    return Data(out + [UInt8](repeating: 0, count: -out.count & 31))
  }

  private func text(_ text: String) -> [UInt8] {
    withUnsafeBytes(of: UInt64(text.utf8.count).littleEndian) { Array($0) } + Array(text.utf8)
  }

  private func array(_ type: UInt32, _ elements: [[UInt8]]) -> [UInt8] {
    withUnsafeBytes(of: type.littleEndian) { Array($0) }
      + withUnsafeBytes(of: UInt64(elements.count).littleEndian) { Array($0) } + elements.joined()
  }

  private func integers(_ values: [Int32]) -> [UInt8] {
    array(5, values.map { value in withUnsafeBytes(of: value.littleEndian) { Array($0) } })
  }

  private func floats(_ values: [Float]) -> [UInt8] {
    array(6, values.map { value in withUnsafeBytes(of: value.bitPattern.littleEndian) { Array($0) } })
  }

  private func vocabulary(
    _ model: String, _ tokens: [String], _ more: [(key: String, type: UInt32, bytes: [UInt8])] = []
  ) -> Data {
    gguf(
      [
        ("tokenizer.ggml.model", 8, text(model)),
        ("tokenizer.ggml.tokens", 9, array(8, tokens.map { text($0) })),
      ] + more.map { ("tokenizer.ggml." + $0.key, $0.type, $0.bytes) })
  }

  @Test func byteTokensThatAreNone() throws {
    let tokens = ["<unk>", "<s>", "</s>", "<0x41>", "<0x-1>", "<0xZZ>", "<0x+1>", "▁", "b", ""]
    let kinds = integers([2, 3, 3, 6, 6, 6, 6, 1, 1, 1])
    let scores = floats([Float](repeating: 0, count: tokens.count))
    let tokenizer = try load(
      vocabulary("llama", tokens, [("token_type", 9, kinds), ("scores", 9, scores)]), name: "v.gguf")
    #expect(try tokenizer.encode("bA") == [1, 7, 8, 3])
    #expect(tokenizer.decode([8, 3, 4, 5]) == "bA<0x-1><0xZZ>")
    #expect(tokenizer.token(for: 9) == "[EMPTY_9]")
  }

  @Test func wrongVocabularies() throws {
    let merges = array(8, [text("a b")])
    let cases: [(Data, String)] = [
      (gguf([]), "tokenizer.ggml.model: is missing"),
      (vocabulary("rwkv", ["a"]), "tokenizer.ggml.model of type rwkv"),
      (vocabulary("gpt2", ["a"]), "tokenizer.ggml.merges: is missing"),
      (vocabulary("gpt2", ["a"], [("merges", 9, merges)]), "the token b"),
      (
        vocabulary("gpt2", ["a"], [("pre", 8, text("never-heard-of")), ("merges", 9, merges)]),
        "never-heard-of"
      ),
      (vocabulary("llama", []), "has 0 entries"),
      (vocabulary("llama", ["a"], [("scores", 9, floats([]))]), "0 entries for 1 tokens"),
      (vocabulary("llama", ["a"], [("scores", 9, floats([.nan]))]), "scores[0]: is nan"),
      (vocabulary("llama", ["a"], [("token_type", 9, integers([]))]), "0 entries for 1 tokens"),
      (vocabulary("llama", ["a"], [("add_bos_token", 7, [1])]), "bos_token_id is not set"),
      (vocabulary("llama", ["a"], [("token_type", 9, floats([1]))]), "token_type"),
      (vocabulary("t5", ["a"], [("precompiled_charsmap", 9, array(0, [[1], [2]]))]), "too short"),
      (gguf([("tokenizer.ggml.model", 4, [1, 0, 0, 0])]), "tokenizer.ggml.model"),
    ]
    for (data, expected) in cases {
      do {
        _ = try load(data, name: "v.gguf")
        Issue.record("loaded, though \(expected)")
      } catch {
        #expect("\(error)".contains(expected), "\(error), not \(expected)")
        #expect("\(error)".contains("v.gguf"), "\(error)")
      }
    }
  }
}
