import JSON
import Kernels
import Testing

@testable import Tokenizers

private func learn(
  _ configuration: TokenizerTrainingConfiguration, _ lines: [String], threads: Int = 2
) throws -> TrainedTokenizer {
  var text: [UInt8] = []
  var ranges: [Range<Int>] = []
  for line in lines {
    ranges.append(text.count..<text.count + line.utf8.count)
    text += line.utf8
  }
  return try learn(configuration, text, ranges, threads: threads)
}

@Suite("Learning tokenizers")
struct TrainingTests {
  @Test("Characters are in the order of their code points and decode without spaces")
  func characters() throws {
    var configuration = TokenizerTrainingConfiguration(model: .characters)
    let trained = try learn(configuration, ["to be,\n", "人 or 工\n"])
    let expected = ["\n", " ", ",", "b", "e", "o", "r", "t", "人", "工"]
    #expect(trained.texts.map { String(decoding: $0, as: UTF8.self) } == expected)
    #expect(trained.tokenCount == 14)
    try withFolder { folder in
      try trained.write(to: folder)
      let tokenizer = try Tokenizer.load(from: folder)
      #expect(tokenizer.vocabularySize == expected.count)
      let text = "be 人\n\n  to"
      #expect(tokenizer.decode(try tokenizer.encode(text)) == text)
      #expect(throws: TokenizerError.self) { try tokenizer.encode("xyz") }
    }
    configuration.specialTokens = ["<unk>", "<s>"]
    configuration.minimumFrequency = 2
    let second = try learn(configuration, ["aab\n", "aac\n"])
    #expect(second.texts.map { String(decoding: $0, as: UTF8.self) } == ["<unk>", "<s>", "\n", "a"])
    try withFolder { folder in
      try second.write(to: folder)
      #expect(try Tokenizer.load(from: folder).encode("abba") == [3, 0, 0, 3])
    }
    configuration.vocabularySize = 3
    configuration.minimumFrequency = 0
    #expect(try learn(configuration, ["aab\n"]).texts.count == 3)
  }

  @Test("WordPiece learns whole words from the frequent ones")
  func wordPiece() throws {
    var configuration = TokenizerTrainingConfiguration(model: .wordPiece)
    configuration.vocabularySize = 60
    configuration.lowercases = true
    let lines = Array(repeating: "The thing thinks, 人工 thinking Things\n", count: 9)
    let trained = try learn(configuration, lines)
    let texts = trained.texts.map { String(decoding: $0, as: UTF8.self) }
    #expect(Array(texts[..<5]) == ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"])
    #expect(texts.contains("thinking") && texts.contains("人") && texts.contains("##s"))
    #expect(!texts.contains { $0.contains("T") || $0.contains("人工") })
    // What does not begin a word comes after the characters, in order.
    let marked = texts.filter { $0.count == 3 && $0.hasPrefix("##") }
    #expect(marked == marked.sorted())
    try withFolder { folder in
      try trained.write(to: folder)
      let tokenizer = try Tokenizer.load(from: folder)
      #expect(tokenizer.unknown == 1)
      #expect(
        try tokenizer.encode("THINKING, 人 q").compactMap { tokenizer.token(for: $0) } == [
          "thinking", ",", "人", "[UNK]",
        ])
    }
  }

  @Test("The limit of the alphabet leaves out the rarest characters")
  func alphabetLimit() throws {
    var configuration = TokenizerTrainingConfiguration()
    configuration.specialTokens = []
    configuration.includesAllBytes = false
    configuration.alphabetLimit = 3
    configuration.vocabularySize = 4
    let trained = try learn(configuration, ["aabbccx", "aabcy"])
    #expect(trained.texts.map { String(decoding: $0, as: UTF8.self) }.prefix(3) == ["a", "b", "c"])
    #expect(trained.mergeCount == 1)
    #expect(TokenizerTrainer.alphabet([1: 5, 2: 5, 3: 5, 4: 9], limit: 2) == [4, 1])
  }

  @Test("A tokenizer that begins texts puts its token before each, and not where that is declined")
  func beginOfSequence() throws {
    for (tokens, begin) in [(["<pad>", "<|endoftext|>"], 1), (["<|endoftext|>", "<x>", "<s>"], 2)] {
      var configuration = TokenizerTrainingConfiguration()
      configuration.specialTokens = tokens
      let plain = try learn(configuration, ["ab ab ab"])
      configuration.addsBeginOfSequence = true
      let trained = try learn(configuration, ["ab ab ab"])
      #expect(plain.texts == trained.texts && plain.tokenCount == trained.tokenCount)
      try withFolder { folder in
        try trained.write(to: folder)
        let tokenizer = try Tokenizer.load(from: folder)
        let ids = try tokenizer.encode("ab ab", addSpecialTokens: false)
        #expect(!ids.contains(begin))
        #expect(try tokenizer.encode("ab ab") == [begin] + ids)
        #expect(try tokenizer.encode("") == [begin])
        #expect(tokenizer.beginOfSequence == begin)
      }
    }
  }

  @Test("Text without anything to merge makes a vocabulary of bytes")
  func nothingToMerge() throws {
    let trained = try learn(TokenizerTrainingConfiguration(), ["a", "b"])
    #expect(trained.vocabularySize == 257 && trained.mergeCount == 0 && trained.tokenCount == 2)
  }

  @Test("What makes no sense is refused by name")
  func settings() throws {
    func fault(_ change: (inout TokenizerTrainingConfiguration) -> Void) -> String? {
      var configuration = TokenizerTrainingConfiguration()
      change(&configuration)
      do {
        _ = try learn(configuration, ["ab ab"])
        return nil
      } catch {
        return "\(error)"
      }
    }
    #expect(fault { _ in } == nil)
    #expect(fault { $0.vocabularySize = 0 }?.contains("vocabulary size") == true)
    #expect(fault { $0.vocabularySize = .max }?.contains("vocabulary size") == true)
    #expect(fault { $0.vocabularySize = 256 }?.contains("no room") == true)
    #expect(fault { $0.vocabularySize = 257 } == nil)
    #expect(fault { $0.specialTokens = ["a", ""] }?.contains("empty") == true)
    #expect(fault { $0.specialTokens = ["<s>", "<s>"] }?.contains("twice") == true)
    #expect(fault { $0.alphabetLimit = 0 }?.contains("alphabet limit") == true)
    #expect(fault { $0.maximumTokenLength = 0 }?.contains("token length") == true)
    #expect(fault { ($0.model, $0.maximumTokenLength) = (.characters, 5) }?.contains("byte-pair") == true)
    #expect(fault { $0.pattern = "(" }?.contains("(") == true)
    #expect(fault { ($0.model, $0.specialTokens) = (.wordPiece, []) }?.contains("[UNK]") == true)
    #expect(fault { ($0.addsPrefixSpace, $0.pattern) = (true, "qwen2") }?.contains("prefix space") == true)
    #expect(fault { $0.addsBeginOfSequence = true } == nil)
    #expect(
      fault { ($0.addsBeginOfSequence, $0.specialTokens) = (true, ["<x>"]) }?.contains("<|endoftext|>")
        == true)
    #expect(throws: TokenizerTrainingError.noText) { try learn(TokenizerTrainingConfiguration(), [""]) }
    #expect(throws: TokenizerTrainingError.noText) { try learn(TokenizerTrainingConfiguration(), []) }
  }

  @Test("Bytes that are no text are named by their place, whichever thread finds them")
  func invalidText() throws {
    for threads in [1, 3] {
      let trainer = try TokenizerTrainer(
        TokenizerTrainingConfiguration(), pool: WorkerPool(threadCount: threads))
      let text: [UInt8] = Array("good\n".utf8) + [0x61, 0xFF, 0x0A] + Array("fine\n".utf8) + [0xE4, 0xBA]
      let ranges = [0..<5, 5..<8, 8..<13, 13..<15]
      #expect(throws: TokenizerError.invalidUTF8(offset: 6)) {
        try text.withUnsafeBufferPointer { try trainer.add($0, sequences: ranges) }
      }
    }
  }

  @Test("Progress can end the training")
  func interruption() throws {
    let trainer = try TokenizerTrainer(TokenizerTrainingConfiguration(), pool: WorkerPool(threadCount: 1))
    var random = SeededGenerator(seed: 1)
    let text = (0..<5000).map { _ in UInt8.random(in: 97...122, using: &random) }
    try text.withUnsafeBufferPointer { try trainer.add($0, sequences: [0..<text.count]) }
    #expect(throws: TokenizerTrainingError.interrupted) { try trainer.train { _ in false } }
  }

  @Test("Roles are given to special tokens by their usual names")
  func roles() throws {
    var configuration = TokenizerTrainingConfiguration()
    configuration.specialTokens = ["<unk>", "<s>", "</s>", "<pad>"]
    try withFolder { folder in
      try learn(configuration, ["ab"]).write(to: folder)
      let tokenizer = try Tokenizer.load(from: folder)
      #expect(
        [tokenizer.unknown, tokenizer.beginOfSequence, tokenizer.endOfSequence, tokenizer.padding] == [
          0, 1, 2, 3,
        ])
      #expect(tokenizer.isSpecial(2))
    }
  }
}
