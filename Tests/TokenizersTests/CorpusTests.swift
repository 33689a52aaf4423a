import Foundation
import JSON
import Testing

@testable import Tokenizers

/// Real tokenizers on texts that lie beside the repository.
@Suite(.enabled(if: Fixtures.hasShared, Fixtures.skipped)) struct CorpusTests {
  /// llama.cpp's texts, each followed by a line with the separator, and a line of ids for each.
  @Test(arguments: [
    ("gpt2", "ggml-vocab-gpt-2"), ("qwen2.5", "ggml-vocab-qwen2"), ("llama2", "ggml-vocab-llama-spm"),
    ("llama2/tokenizer.model", "ggml-vocab-llama-spm"),
    ("llama.cpp/ggml-vocab-gpt-2.gguf", "ggml-vocab-gpt-2"),
    ("llama.cpp/ggml-vocab-llama-spm.gguf", "ggml-vocab-llama-spm"),
    ("llama.cpp/ggml-vocab-bert-bge.gguf", "ggml-vocab-bert-bge"),
  ])
  func equalsTheOutFiles(path: String, name: String) throws {
    let folders = Fixtures.shared.appending(path: "tokenizers")
    let tokenizer = try Tokenizer.load(from: folders.appending(path: path).path)
    let files = folders.appending(path: "llama.cpp")
    let input = try String(contentsOf: files.appending(path: name + ".gguf.inp"), encoding: .utf8)
    let output = try String(contentsOf: files.appending(path: name + ".gguf.out"), encoding: .utf8)
    let texts = input.components(separatedBy: "\n__ggml_vocab_test__\n").dropLast()
    let lines = output.components(separatedBy: "\n").dropLast()
    #expect(texts.count == lines.count)
    #expect(texts.count > 30)
    for (text, line) in zip(texts, lines) {
      let ids = line.split(separator: " ").compactMap { Int($0) }
      // The files hold no special tokens: llama.cpp's own test asks for none.
      #expect(try tokenizer.encode(text, addSpecialTokens: false) == ids, "\(text.debugDescription)")
      #expect(tokenizer.decode(ids, skipSpecialTokens: false).utf8.count > 0 || ids.isEmpty)
    }
  }

  @Test(arguments: ["gpt2", "qwen2.5"])
  func vocabularyAndMergesEqualTokenizerJSON(folder: String) throws {
    let source = Fixtures.shared.appending(path: "tokenizers/" + folder)
    let whole = try Tokenizer.load(from: source.path)
    let copy = FileManager.default.temporaryDirectory.appending(path: "inkstone-\(folder)-\(UUID())")
    try FileManager.default.createDirectory(at: copy, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: copy) }
    for file in ["vocab.json", "merges.txt", "tokenizer_config.json", "added_tokens.json"] {
      try? FileManager.default.copyItem(at: source.appending(path: file), to: copy.appending(path: file))
    }
    let parts = try Tokenizer.load(from: copy.path)
    for seed in UInt64(0)..<300 {
      var random = SeededGenerator(seed: seed)
      let text = random.text(maximumLength: 40) + "<|endoftext|>"
      #expect(try parts.encode(text) == whole.encode(text), "seed \(seed)")
    }
    #expect(parts.vocabularySize == whole.vocabularySize)
  }

  @Test func tinyGPTPromptsEqual() throws {
    let folder = Fixtures.shared.appending(path: "models/tinygpt-slm")
    let tokenizer = try Tokenizer.load(from: folder.path)
    let cases = try #require(Fixtures.json(folder.appending(path: "expected_greedy.json")).array)
    for item in cases {
      let prompt = try #require(item["prompt"]?.string)
      let ids = try #require(item["prompt_ids"]?.array).compactMap(\.int)
      // The file's ids carry <sos> in front and <sep> behind, which the tokenizer does not add by itself.
      #expect(try [0] + tokenizer.encode(prompt) + [4] == ids, "\(prompt)")
      let greedy = try #require(item["greedy_ids"]?.array).compactMap(\.int)
      #expect(tokenizer.decode(greedy) == item["answer"]?.string)
    }
    #expect(tokenizer.beginOfSequence == 0)
    #expect(tokenizer.endOfSequence == 1)
    #expect(tokenizer.padding == 2)
    #expect(tokenizer.unknown == 3)
  }

  @Test func aWholeNovelComesBack() throws {
    let text = try String(
      contentsOf: Fixtures.shared.appending(path: "corpora/en/tinyshakespeare.txt"), encoding: .utf8)
    for folder in ["gpt2", "qwen2.5", "minimind"] {
      let tokenizer = try Tokenizer.load(from: Fixtures.shared.appending(path: "tokenizers/" + folder).path)
      #expect(try tokenizer.decode(tokenizer.encode(text)) == text, "\(folder)")
    }
  }
}
