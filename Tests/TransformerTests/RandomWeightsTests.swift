import Foundation
import JSON
import Kernels
import Testing
import Transformer

@Suite struct RandomWeightsTests {
  private func description(tied: Bool) throws -> ModelDescription {
    try ModelDescription(
      [
        "model_type": "gpt2", "n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 50, "n_positions": 20,
        "tie_word_embeddings": .bool(tied), "bos_token_id": 49, "eos_token_id": 49,
      ], path: "test")
  }

  private func scores(_ decoder: Decoder) throws -> [Float] {
    let session = try InferenceSession(decoder: decoder, engine: NaiveEngine())
    return try withExtendedLifetime(session) { try Array(session.append([1, 2, 3])) }
  }

  @Test(arguments: [true, false])
  func countsEveryWeight(tied: Bool) throws {
    let counts = try description(tied: tied).parameterCounts
    let block = 16 * 48 + 48 + 16 * 16 + 16 + 2 * 16 * 64 + 64 + 16 + 4 * 16
    #expect(counts.total == 50 * 16 + 20 * 16 + 2 * block + 2 * 16 + (tied ? 0 : 50 * 16))
    #expect(counts.matrices == 2 * (16 * 48 + 16 * 16 + 2 * 16 * 64))
    #expect(try RandomWeights(description(tied: tied)).makeDecoder().weights.isHeadTied == tied)
  }

  @Test func sameSeedSameWeights() throws {
    let one = try scores(RandomWeights(description(tied: true), seed: 3).makeDecoder())
    let same = try scores(RandomWeights(description(tied: true), seed: 3).makeDecoder())
    let other = try scores(RandomWeights(description(tied: true), seed: 4).makeDecoder())
    #expect(one == same)
    #expect(one != other)
  }

  /// What is written is what is computed with, for a reader that knows nothing of random weights.
  @Test(arguments: [true, false])
  func savedFolderIsTheSameModel(tied: Bool) throws {
    let folder = FileManager.default.temporaryDirectory.appending(
      path: "inkstone-random-\(UUID().uuidString)"
    ).path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let weights = try RandomWeights(description(tied: tied))
    try weights.save(to: folder)
    #expect(try scores(Decoder.load(from: folder)) == scores(weights.makeDecoder()))
  }
}
