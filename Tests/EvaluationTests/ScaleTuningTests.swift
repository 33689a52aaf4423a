import Foundation
import Inkstone
import JSON
import Testing
import Training
import _TestSupport

/// Scales of blocks, tuned so that a quantised model says what it said before.
@Suite struct ScaleTuningTests {
  /// Matrices as a family lays them out: (inputs, outputs), three in one with rows in an order of its own, or one by one.
  private static func description(_ family: String) throws -> ModelDescription {
    let document: JSONValue =
      switch family {
      case "gpt2":
        [
          "model_type": "gpt2", "n_layer": 2, "n_head": 4, "n_embd": 64, "n_inner": 96, "vocab_size": 101,
          "n_positions": 32, "bos_token_id": 1, "eos_token_id": 1,
        ]
      case "gpt_neox":
        [
          "model_type": "gpt_neox", "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64,
          "intermediate_size": 128, "vocab_size": 97, "max_position_embeddings": 32,
          "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 1,
        ]
      case "mixtral":
        [
          "model_type": "mixtral", "num_hidden_layers": 1, "num_attention_heads": 4, "num_key_value_heads": 2,
          "hidden_size": 64, "intermediate_size": 64, "vocab_size": 97, "num_local_experts": 3,
          "num_experts_per_tok": 2, "max_position_embeddings": 32, "bos_token_id": 1, "eos_token_id": 1,
        ]
      default:
        [
          "model_type": "qwen2", "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "hidden_size": 64, "intermediate_size": 160, "vocab_size": 103, "max_position_embeddings": 32,
          "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 1,
        ]
      }
    return try ModelDescription(document, path: family)
  }

  private static func windows(_ count: Int, vocabulary: Int, seed: UInt64) -> [[Int]] {
    var random = SeededGenerator(seed: seed)
    return (0..<count).map { index in
      (0..<(index.isMultiple(of: 3) ? 17 : 32)).map { _ in Int.random(in: 0..<vocabulary, using: &random) }
    }
  }

  /// The mean of Σ p·ln(p/q) over all places of some windows.
  private func divergence(_ model: String, from original: String, _ windows: [[Int]]) throws -> Double {
    func logProbabilities(_ path: String) throws -> [[Double]] {
      let decoder = try Decoder.load(from: path)
      let session = try InferenceSession(decoder: decoder, engine: NaiveEngine())
      let vocabulary = decoder.configuration.vocabularySize
      return try windows.flatMap { window in
        session.reset()
        return try window.map { token in
          let scores = try Array(session.append([token])).map(Double.init)
          let sum = scores.reduce(0) { $0 + exp($1) }
          precondition(scores.count == vocabulary)
          return scores.map { $0 - log(sum) }
        }
      }
    }
    let (p, q) = (try logProbabilities(original), try logProbabilities(model))
    let total = zip(p, q).reduce(0.0) { total, rows in
      zip(rows.0, rows.1).reduce(total) { $0 + exp($1.0) * ($1.0 - $1.1) }
    }
    return total / Double(p.count)
  }

  @Test(arguments: ["gpt2", "gpt_neox", "qwen2"])
  func theModelSaysWhatItSaidBefore(family: String) throws {
    let folder = try TemporaryFolder()
    let description = try Self.description(family)
    try RandomWeights(description, seed: 5).save(to: folder("model"))
    let vocabulary = description.configuration.vocabularySize
    let windows = Self.windows(24, vocabulary: vocabulary, seed: 6)
    let others = Self.windows(6, vocabulary: vocabulary, seed: 7)
    let quantized = try #require(
      try ModelQuantizer.quantize(model: folder("model"), as: .q4_0, calibration: windows))
    func write(_ name: String) throws -> String {
      _ = try ModelConversion.writeGGUF(
        from: folder("model"), to: folder(name), as: .q4_0, quantized: quantized)
      return folder(name)
    }
    let before = try divergence(write("before.gguf"), from: folder("model"), others)

    // One step over all that there is: what is measured before it is the model as the file has it, but for the tables.
    let untouched = try #require(
      try ScaleTuning.tune(quantized, model: folder("model"), calibration: Array(others[..<4]), passes: 1))
    let expected = try divergence(folder("before.gguf"), from: folder("model"), Array(others[..<4]))
    #expect(untouched.first == untouched.last)
    #expect(untouched.first < expected && untouched.first > 0.2 * expected, "\(untouched) of \(expected)")

    let tuned = try #require(
      try ScaleTuning.tune(quantized, model: folder("model"), calibration: windows, passes: 4))
    #expect(tuned.last < 0.9 * tuned.first, "\(tuned)")
    #expect(tuned.scaleCount == untouched.scaleCount && tuned.scaleCount > 1000)
    let after = try divergence(write("after.gguf"), from: folder("model"), others)
    #expect(after < 0.95 * before, "\(after) of \(before)")
  }

  @Test func whatIsEndedChangesNothing() throws {
    let folder = try TemporaryFolder()
    let description = try Self.description("qwen2")
    try RandomWeights(description, seed: 5).save(to: folder("model"))
    let windows = Self.windows(9, vocabulary: 103, seed: 6)
    let quantized = try #require(
      try ModelQuantizer.quantize(model: folder("model"), as: .q4_0, calibration: windows))
    func bytes(_ name: String) throws -> [UInt8] {
      _ = try ModelConversion.writeGGUF(
        from: folder("model"), to: folder(name), as: .q4_0, quantized: quantized)
      return try readFile(folder(name))
    }
    let before = try bytes("before.gguf")
    let ended = try ScaleTuning.tune(quantized, model: folder("model"), calibration: windows, passes: 2) {
      done, count in
      #expect(count == 18)
      return done < 14
    }
    #expect(ended == nil)
    #expect(try bytes("after.gguf") == before)
  }

  @Test func mixturesAreRefused() throws {
    let folder = try TemporaryFolder()
    try RandomWeights(Self.description("mixtral"), seed: 5).save(to: folder("model"))
    let windows = Self.windows(2, vocabulary: 97, seed: 6)
    let quantized = try #require(
      try ModelQuantizer.quantize(model: folder("model"), as: .q4_0, calibration: windows))
    #expect(throws: TrainingError.mixture(modelType: "mixtral")) {
      try ScaleTuning.tune(quantized, model: folder("model"), calibration: windows, passes: 1)
    }
  }
}
