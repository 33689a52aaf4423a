import Foundation
import JSON
import Kernels
import Testing

@testable import Tokenizers

/// What `tokenizers` learned from a text (Tests/Reference/Corpora/generate.py).
private enum TrainingFixtures {
  static let folder = Fixtures.root.appending(path: "Tests/Reference/Corpora")
  static let document = try! Fixtures.json(folder.appending(path: "training.json"))
  static let text = Array(try! Data(contentsOf: folder.appending(path: "text.txt")))

  /// The lines with their line feeds, as `Tokenizer.train(files)` reads them.
  static var lines: [Range<Int>] {
    var out: [Range<Int>] = []
    var start = 0
    for (at, byte) in text.enumerated() where byte == 0x0A {
      out.append(start..<at + 1)
      start = at + 1
    }
    if start < text.count { out.append(start..<text.count) }
    return out
  }
}

/// Learns from sequences of a text.
func learn(
  _ configuration: TokenizerTrainingConfiguration, _ text: [UInt8], _ sequences: [Range<Int>],
  threads: Int = 2
) throws -> TrainedTokenizer {
  let trainer = try TokenizerTrainer(configuration, pool: WorkerPool(threadCount: threads))
  try text.withUnsafeBufferPointer { try trainer.add($0, sequences: sequences) }
  return try trainer.train()
}

/// A folder that goes away again.
func withFolder<Result>(_ body: (String) throws -> Result) throws -> Result {
  let folder = FileManager.default.temporaryDirectory.appending(path: "inkstone-\(UUID().uuidString)")
  defer { try? FileManager.default.removeItem(at: folder) }
  return try body(folder.path)
}

@Suite("Learning as tokenizers does")
struct TrainingReferenceTests {
  @Test("The whole tokenizer.json is the same, and so are the tokens", arguments: 0..<8)
  func files(index: Int) throws {
    let cases = try #require(TrainingFixtures.document["files"]?.array)
    try #require(cases.count == 8)
    let expected = cases[index]
    var configuration = TokenizerTrainingConfiguration()
    configuration.pattern = try #require(expected["pattern"]?.string)
    configuration.vocabularySize = try #require(expected["vocab_size"]?.int)
    configuration.specialTokens = try #require(expected["special_tokens"]?.array).compactMap(\.string)
    configuration.minimumFrequency = expected["min_frequency"]?.int ?? 0
    configuration.maximumTokenLength = expected["max_token_length"]?.int
    configuration.addsPrefixSpace = expected["prefix_space"]?.bool ?? false
    configuration.includesAllBytes = expected["seen_bytes"]?.bool == false
    let trained = try learn(configuration, TrainingFixtures.text, TrainingFixtures.lines)
    #expect(trained.document == expected["tokenizer"])
    try withFolder { folder in
      try trained.write(to: folder)
      let tokenizer = try Tokenizer.load(from: folder)
      let ids = try TrainingFixtures.text.withUnsafeBufferPointer {
        try tokenizer.encode(utf8: $0, addSpecialTokens: false)
      }
      #expect(ids == expected["ids"]?.array?.compactMap(\.int))
    }
  }

  @Test("A document as one sequence is cut across its lines")
  func whole() throws {
    var configuration = TokenizerTrainingConfiguration()
    configuration.vocabularySize = 600
    configuration.specialTokens = []
    let trained = try learn(configuration, TrainingFixtures.text, [0..<TrainingFixtures.text.count])
    #expect(trained.document["model"]?["merges"] == TrainingFixtures.document["whole"])
  }

  @Test("Neither threads nor the order of the text change the result")
  func orders() throws {
    for model in TokenizerTrainingConfiguration.Model.allCases {
      var configuration = TokenizerTrainingConfiguration(model: model)
      configuration.vocabularySize = 700
      let lines = TrainingFixtures.lines
      let one = try learn(configuration, TrainingFixtures.text, lines, threads: 1)
      for threads in [2, 3] {
        let other = try learn(configuration, TrainingFixtures.text, lines.reversed(), threads: threads)
        #expect(other.document == one.document, "\(model), \(threads) threads")
        #expect(other.tokenCount == one.tokenCount && other.byteCount == one.byteCount)
      }
    }
  }

  @Test("The tokens of the summary are those of the text")
  func tokenCounts() throws {
    for model in TokenizerTrainingConfiguration.Model.allCases {
      var configuration = TokenizerTrainingConfiguration(model: model)
      configuration.vocabularySize = 700
      let trained = try learn(configuration, TrainingFixtures.text, TrainingFixtures.lines)
      #expect(trained.byteCount == TrainingFixtures.text.count)
      try withFolder { folder in
        try trained.write(to: folder)
        let tokenizer = try Tokenizer.load(from: folder)
        let count = try TrainingFixtures.lines.reduce(0) { count, line in
          try TrainingFixtures.text.withUnsafeBufferPointer {
            count
              + (try tokenizer.encode(
                utf8: UnsafeBufferPointer(rebasing: $0[line]), addSpecialTokens: false
              ).count)
          }
        }
        #expect(trained.tokenCount == count, "\(model)")
      }
    }
  }
}
