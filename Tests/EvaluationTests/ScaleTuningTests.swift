import Foundation
import Inkstone
import Testing
import Training
import _TestSupport

/// Scales of blocks, tuned so that a quantised model says what it said before.
@Suite struct ScaleTuningTests {
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
    let description = try WeightFormatTests.description(family, isTied: true)
    try RandomWeights(description, seed: 5).save(to: folder("model"))
    let vocabulary = description.configuration.vocabularySize
    let windows = Self.windows(24, vocabulary: vocabulary, seed: 6)
    let others = Self.windows(6, vocabulary: vocabulary, seed: 7)
    let quantized = try #require(
      try ModelQuantizer.quantize(model: folder("model"), as: .q4_0, calibration: windows))
    // All scales are too large: what is measured is that rather than what rounding costs, and there is much to mend.
    for tensor in try SafetensorsFile(path: folder("model/model.safetensors")).tensors {
      guard let blocks = quantized.blocks(of: tensor.name) else { continue }
      for row in 0..<blocks.rows {
        for block in 0..<blocks.blocksPerRow { blocks.multiplyScale(ofBlock: block, row: row, by: 1.3) }
      }
    }
    func write(_ name: String) throws -> String {
      _ = try ModelConversion.writeGGUF(
        from: folder("model"), to: folder(name), as: .q4_0, quantized: quantized)
      return folder(name)
    }
    let before = try divergence(write("before.gguf"), from: folder("model"), others)

    // What is measured before the first step is the model as the file has it, but for tables, which stay floats.
    let few = Array(others[..<4])
    let untouched = try #require(
      try ScaleTuning.tune(quantized, model: folder("model"), calibration: few, passes: 1))
    let expected = try divergence(folder("before.gguf"), from: folder("model"), few)
    #expect(
      untouched.before <= 1.001 * expected && untouched.before > 0.9 * expected, "\(untouched) of \(expected)"
    )

    let tuned = try #require(
      try ScaleTuning.tune(quantized, model: folder("model"), calibration: windows, passes: 8))
    #expect(tuned.isKept && tuned.after < 0.9 * tuned.before, "\(tuned)")
    #expect(tuned.scaleCount == untouched.scaleCount && tuned.scaleCount > 1000)
    let after = try divergence(write("after.gguf"), from: folder("model"), others)
    #expect(after < 0.85 * before, "\(after) of \(before)")
  }

  /// Scales that do no better on the windows held out are thrown away: the file's bytes say which were kept.
  @Test(arguments: [WeightType.q4_0, .q8_0], [1, 9])
  func scalesThatDoNotHelpStay(type: WeightType, count: Int) throws {
    let folder = try TemporaryFolder()
    let description = try WeightFormatTests.description("gpt2")
    try RandomWeights(description, seed: 5).save(to: folder("model"))
    let windows = Self.windows(count, vocabulary: description.configuration.vocabularySize, seed: 6)
    let quantized = try #require(
      try ModelQuantizer.quantize(model: folder("model"), as: type, calibration: windows))
    func bytes(_ name: String) throws -> [UInt8] {
      _ = try ModelConversion.writeGGUF(
        from: folder("model"), to: folder(name), as: type == .q4_0 ? .q4_0 : .q8_0, quantized: quantized)
      return try readFile(folder(name))
    }
    let before = try bytes("before.gguf")
    let result = try #require(
      try ScaleTuning.tune(quantized, model: folder("model"), calibration: windows, passes: 1))
    #expect(result.isKept == (result.after < result.before))
    #expect(try (bytes("after.gguf") == before) == !result.isKept, "\(result)")
    // 8 bits leave nothing that steps of this size could mend.
    if type == .q8_0 { #expect(!result.isKept, "\(result)") }
  }

  @Test func whatIsEndedChangesNothing() throws {
    let folder = try TemporaryFolder()
    let description = try WeightFormatTests.description("qwen2")
    try RandomWeights(description, seed: 5).save(to: folder("model"))
    let windows = Self.windows(9, vocabulary: 257, seed: 6)
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
      #expect(count == 2 * 8 + 2)
      return done < 14
    }
    #expect(ended == nil)
    #expect(try bytes("after.gguf") == before)
  }

  @Test func mixturesAreRefused() throws {
    let folder = try TemporaryFolder()
    try RandomWeights(WeightFormatTests.description("mixtral"), seed: 5).save(to: folder("model"))
    let windows = Self.windows(2, vocabulary: 97, seed: 6)
    let quantized = try #require(
      try ModelQuantizer.quantize(model: folder("model"), as: .q4_0, calibration: windows))
    #expect(throws: TrainingError.mixture(modelType: "mixtral")) {
      try ScaleTuning.tune(quantized, model: folder("model"), calibration: windows, passes: 1)
    }
  }
}
