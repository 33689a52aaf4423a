import Checkpoints
import Foundation
import JSON
import Testing

@testable import Tokenizers

/// Files and texts that are wrong: an error that says so, never a crash.
@Suite struct BadInputTests {
  /// Loads a tokenizer.json given as text.
  private func load(_ text: String, name: String = "tokenizer.json") throws -> Tokenizer {
    try load(Data(text.utf8), name: name)
  }

  private func load(_ data: Data, name: String = "tokenizer.json") throws -> Tokenizer {
    let folder = FileManager.default.temporaryDirectory.appending(path: "inkstone-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    try data.write(to: folder.appending(path: name))
    return try Tokenizer.load(from: folder.path)
  }

  private func file(
    model: String = #"{"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":[["a","b"]]}"#, rest: String = ""
  ) -> String {
    #"{"version":"1.0","model":\#(model)\#(rest)}"#
  }

  @Test func aSmallFileLoads() throws {
    #expect(try load(file()).encode("abxa") == [2, 0])
    #expect(try load("\u{FEFF}" + file()).encode("ba") == [1, 0])
  }

  @Test(arguments: [
    (#"{"type":"BPE","vocab":{"a":0},"merges":[["a","q"]]}"#, "model.merges[0]: the token q"),
    (#"{"type":"BPE","vocab":{"a":0},"merges":["a"]}"#, "model.merges[0]"),
    (#"{"type":"BPE","vocab":{"a":0},"merges":[7]}"#, "model.merges[0]"),
    (#"{"type":"BPE","vocab":{"a":-1},"merges":[]}"#, "the id of a is not an integer"),
    (#"{"type":"BPE","vocab":{"a":1.5},"merges":[]}"#, "the id of a is not an integer"),
    (#"{"type":"BPE","vocab":{"a":4294967295},"merges":[]}"#, "the id of a is not an integer"),
    (#"{"type":"BPE","vocab":{"a":4294967294},"merges":[]}"#, "number the tokens from 0"),
    (#"{"type":"BPE","vocab":{"a":99999999999999999999},"merges":[]}"#, "the id of a"),
    (#"{"type":"BPE","vocab":[],"merges":[]}"#, "model.vocab: is an array"),
    (#"{"type":"BPE","merges":[]}"#, "model.vocab: is missing"),
    (#"{"type":"BPE","vocab":{}}"#, "model.merges: is missing"),
    (#"{"type":"BPE","vocab":{},"merges":[],"dropout":0.5}"#, "model.dropout: is 0.5"),
    (#"{"type":"Trie","vocab":{}}"#, "model of type Trie is not supported"),
    (#"{"type":"WordLevel","vocab":{}}"#, "model.unk_token: is missing"),
    (#"{"vocab":{}}"#, "model.type: is missing"),
    (#"{"type":"Unigram","vocab":[["a"]]}"#, "model.vocab[0]: is not a token and its score"),
    (#"{"type":"Unigram","vocab":[["a","b"]]}"#, "model.vocab[0]"),
    (#"{"type":"Unigram","vocab":[["a",0]],"unk_id":1}"#, "model.unk_id: is 1 in a vocabulary of 1"),
    (#"{"type":"Unigram","vocab":{"a":0}}"#, "model.vocab: is an object"),
    (#"{"type":"WordPiece","vocab":{"a":0},"unk_token":"u"}"#, "continuing_subword_prefix: is missing"),
    (
      #"{"type":"WordPiece","vocab":{"a":0},"unk_token":"u","continuing_subword_prefix":"","max_input_chars_per_word":-1}"#,
      "max_input_chars_per_word: is not an integer"
    ),
    ("[]", "model: is an array"), ("null", "model: is missing"),
  ])
  func wrongModels(model: String, expected: String) throws {
    let error = #expect(throws: TokenizerError.self) { try load(file(model: model)) }
    #expect(error!.description.contains(expected), "\(error!)")
    #expect(error!.description.contains("tokenizer.json"), "\(error!)")
  }

  @Test(arguments: [
    (#","normalizer":{"type":"Upside"}"#, "normalizer of type Upside is not supported"),
    (
      #","pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Sideways"}]}"#,
      "pre_tokenizer.pretokenizers[0] of type Sideways"
    ),
    (#","decoder":{"type":"Inside"}"#, "decoder of type Inside is not supported"),
    (#","post_processor":{"type":"Outside"}"#, "post_processor of type Outside"),
    (
      #","post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>"}}],"special_tokens":{}}"#,
      "<s> is not among special_tokens"
    ),
    (
      #","pre_tokenizer":{"type":"Split","pattern":{"Regex":"("},"behavior":"Isolated"}"#,
      "the pattern ( cannot be used"
    ),
    (
      #","pre_tokenizer":{"type":"Split","pattern":{"Regex":"\\p{Klingon}"},"behavior":"Isolated"}"#,
      "property Klingon is not supported"
    ),
    (
      #","pre_tokenizer":{"type":"Split","pattern":{"Regex":"a"},"behavior":"Gone"}"#,
      "behavior: has the unknown value Gone"
    ),
    (
      #","pre_tokenizer":{"type":"Split","pattern":7,"behavior":"Isolated"}"#,
      "pre_tokenizer.pattern: is an integer"
    ),
    (
      #","normalizer":{"type":"Precompiled","precompiled_charsmap":"?"}"#,
      "precompiled_charsmap: is not base64"
    ),
    (
      #","normalizer":{"type":"Precompiled","precompiled_charsmap":"AQIDBA=="}"#,
      "precompiled_charsmap: is too short"
    ),
    (#","normalizer":{"type":"BertNormalizer"}"#, "normalizer.lowercase: is missing"),
    (#","pre_tokenizer":{"type":"FixedLength","length":0}"#, "pre_tokenizer.length: is 0"),
    (
      #","pre_tokenizer":{"type":"Metaspace","replacement":"▁","add_prefix_space":false,"prepend_scheme":"first"}"#,
      "add_prefix_space: is false, but prepend_scheme is first"
    ),
    (#","added_tokens":[{"id":1}]"#, "added_tokens[0].content: is missing"),
    (#","added_tokens":{}"#, "added_tokens: is an object"),
    (
      #","decoder":{"type":"Strip","content":"ab","start":1,"stop":0}"#,
      "decoder.content: is not a single character"
    ),
    (#","decoder":{"type":"Strip","content":"a","start":-1,"stop":0}"#, "decoder.start: is not an integer"),
    (#","truncation":{}"#, "truncation.max_length: is missing"),
  ])
  func wrongParts(rest: String, expected: String) throws {
    let error = #expect(throws: TokenizerError.self) { try load(file(rest: rest)) }
    #expect(error!.description.contains(expected), "\(error!)")
  }

  @Test func wrongFiles() throws {
    #expect(throws: FileError.missing(path: "/no/such/folder")) {
      try Tokenizer.load(from: "/no/such/folder")
    }
    let empty = #expect(throws: TokenizerError.self) { try load("{}", name: "other.json") }
    #expect(empty!.description.contains("tokenizer.model, vocab.json and merges.txt, or vocab.txt"))
    let text = #expect(throws: JSONDocumentError.self) { try load("hello") }
    #expect(text!.description.contains("tokenizer.json: not valid JSON"))
    let nought = #expect(throws: FileError.self) { try load("") }
    #expect(nought!.description.contains("tokenizer.json: the file is empty"))
    #expect(throws: TokenizerError.self) { try load("[]") }
    #expect(throws: JSONDocumentError.self) { try load(String(repeating: "[", count: 100_000)) }
    #expect(throws: TokenizerError.self) { try load(#"{"version":"2.0"}"#) }
  }

  /// A pipe that nobody writes to must not be waited for.
  @Test(arguments: [
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt",
    "added_tokens.json", "config.json",
  ])
  func pipesAndFoldersInPlaceOfFiles(name: String) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "inkstone-\(UUID())").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let path = "\(folder)/\(name)"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    for (other, text) in [("vocab.json", #"{"a":0,"b":1,"ab":2}"#), ("merges.txt", "a b\n")]
    where other != name {
      try Data(text.utf8).write(to: URL(filePath: "\(folder)/\(other)"))
    }
    #expect(mkfifo(path, 0o600) == 0)
    #expect(Tokenizer.exists(in: folder))
    for place in [folder, path] {
      #expect(throws: FileError.notRegular(path: path)) { try Tokenizer.load(from: place) }
    }
    try FileManager.default.removeItem(atPath: path)
    try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    #expect(throws: FileError.isDirectory(path: path)) { try Tokenizer.load(from: folder) }
    try FileManager.default.removeItem(atPath: path)
    if name != "vocab.json", name != "merges.txt" {
      #expect(try Tokenizer.load(from: folder).encode("ab") == [2])
    }
  }

  @Test func textThatIsNotUTF8() throws {
    let tokenizer = try load(file())
    let wrong: [([UInt8], Int)] = [
      ([0xFF], 0), ([0x61, 0xC3], 1), ([0x61, 0x62, 0xED, 0xA0, 0x80], 2), ([0xC0, 0x80], 0),
      (Array("aaaaaaaaaa".utf8) + [0xF4, 0x90, 0x80, 0x80], 10), ([0xE4, 0xBD, 0x61], 0),
    ]
    for (bytes, offset) in wrong {
      _ = bytes.withUnsafeBufferPointer { buffer in
        #expect(throws: TokenizerError.invalidUTF8(offset: offset)) {
          try tokenizer.encode(utf8: buffer, addSpecialTokens: true)
        }
      }
    }
    #expect(
      try tokenizer.encode(utf8: UnsafeBufferPointer(start: nil, count: 0), addSpecialTokens: true) == [])
  }

  @Test func wordsWithoutAToken() throws {
    let scored = try load(file(model: #"{"type":"Unigram","vocab":[["a",-1]]}"#))
    #expect(try scored.encode("aa") == [0, 0])
    #expect(throws: TokenizerError.self) { try scored.encode("b") }
    let wordPieces = try load(
      file(
        model: #"{"type":"WordPiece","vocab":{"a":0},"unk_token":"u","continuing_subword_prefix":"#
          + #""a","max_input_chars_per_word":9}"#))
    #expect(try wordPieces.encode("a") == [0])
    #expect(throws: TokenizerError.self) { try wordPieces.encode("b") }
    let words = try load(file(model: #"{"type":"WordLevel","vocab":{"a":0},"unk_token":"<unk>"}"#))
    #expect(try words.encode("a") == [0])
    #expect(throws: TokenizerError.self) { try words.encode("b") }
    let pairs = try load(file(model: #"{"type":"BPE","vocab":{"a":0},"merges":[],"unk_token":"<unk>"}"#))
    #expect(throws: TokenizerError.self) { try pairs.encode("b") }
  }

  /// Flipped bits, cut ends and swapped pieces of real files.
  @Test(arguments: Fixtures.names)
  func damagedFilesNeverCrash(name: String) throws {
    let file = Fixtures.reference.appending(path: name + "/tokenizer.json")
    guard let original = try? Data(contentsOf: file) else { return }
    for seed in UInt64(0)..<40 {
      var random = SeededGenerator(seed: seed)
      var data = original
      switch seed % 4 {
      case 0:
        for _ in 0..<Int.random(in: 1...20, using: &random) {
          data[Int.random(in: 0..<data.count, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        }
      case 1: data.removeLast(Int.random(in: 1..<data.count, using: &random))
      case 2:
        // A number becomes another kind of value.
        let values = [
          "-1", "4294967296", "1e99", "null", "\"x\"", "[]", "{}", "true", "99999999999999999999",
        ]
        let text = String(decoding: data, as: UTF8.self)
        let parts = text.split(separator: ":", maxSplits: .max, omittingEmptySubsequences: false)
        var kept = parts.map(String.init)
        let at = Int.random(in: 1..<kept.count, using: &random)
        let end = kept[at].firstIndex { $0 == "," || $0 == "}" || $0 == "]" } ?? kept[at].endIndex
        kept[at] = values.randomElement(using: &random)! + kept[at][end...]
        data = Data(kept.joined(separator: ":").utf8)
      default:
        let start = Int.random(in: 0..<data.count, using: &random)
        let end = Int.random(in: start...data.count, using: &random)
        data.removeSubrange(start..<min(end, start + 200))
      }
      // Either it loads and works, or it is an error.
      if let tokenizer = try? load(data) {
        _ = try? tokenizer.encode(random.text(maximumLength: 20))
        _ = tokenizer.decode(Array(0..<20))
      }
    }
  }
}
