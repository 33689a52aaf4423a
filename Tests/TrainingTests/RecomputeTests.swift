import JSON
import Kernels
import Testing
import Transformer

@testable import Training

@Suite struct RecomputeTests {
  /// What is computed again is the same to the bit, dropout and adapters included, and takes less memory.
  @Test(arguments: [
    "gpt2-plain", "llama-linear", "gptj-interleaved", "bloom-residual-after-norm", "gemma2-caps",
    "cohere-query-key-norm", "opt-norm-after-projected", "olmo2-wide-norms", "phi3-partial-window",
    "granite-multipliers",
  ])
  func recomputingChangesNothing(name: String) throws {
    let folder = referenceFolder + "/Fixtures/" + name
    let pool = WorkerPool(threadCount: 2)
    for hasAdapters in [false, true] {
      var results: [(loss: Double, gradients: [Float], bytes: Int)] = []
      for recomputes in [false, true] {
        var settings = AdapterSettings()
        settings.rank = 2
        settings.dropout = 0.2
        settings.initialization = .pissa
        let model =
          hasAdapters
          ? try TrainableModel(folder: folder, adapters: settings, seed: 5, pool: pool)
          : try TrainableModel(folder: folder)
        let pass = try TrainingPass(
          model.decoder, model.parameters, adapters: model.adapters, recomputes: recomputes, pool: pool)
        let size = model.decoder.configuration.vocabularySize
        let batch = TokenBatch(sequences: [(0..<13).map { 3 + $0 * 7 % (size - 3) }, [4, 5, 6, 7], [5, 9]])
        let dropout = DropoutSettings(residual: 0.2, attention: 0.1, seed: 3, step: 5, batch: 1)
        var loss = 0.0
        // Twice, so that what the first pass leaves behind would show.
        for _ in 0..<2 { loss = try pass.run(batch, targetCount: 9, labelSmoothing: 0.1, dropout: dropout) }
        results.append((loss, [Float](model.parameters.gradients.elements), pass.workspaceByteCount))
      }
      #expect(results[0].loss == results[1].loss && results[0].gradients == results[1].gradients)
      #expect(results[0].gradients.contains { $0 != 0 })
    }
  }

  @Test func resultsOfBlocksShareTheirMemory() throws {
    let document: JSONValue = [
      "model_type": "llama", "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 8,
      "num_attention_heads": 2, "intermediate_size": 96, "max_position_embeddings": 64,
    ]
    let description = try ModelDescription(document, path: "model")
    let pool = WorkerPool(threadCount: 1)
    let bytes = try [false, true].map { recomputes in
      let model = try TrainableModel(description, deviation: 0.1, seed: 1, pool: pool)
      let pass = try TrainingPass(model.decoder, model.parameters, recomputes: recomputes, pool: pool)
      _ = try pass.run(TokenBatch(sequences: [(0..<60).map { $0 % 40 }]), targetCount: 59)
      return pass.workspaceByteCount
    }
    #expect(bytes[1] * 5 < bytes[0] * 2, "\(bytes)")
  }

  /// Packed examples make passes of many sizes; memory is that of the largest.
  @Test(arguments: [false, true])
  func passesOfOtherSizesShareTheirMemory(recomputes: Bool) throws {
    let document: JSONValue = [
      "model_type": "llama", "vocab_size": 40, "hidden_size": 32, "num_hidden_layers": 3,
      "num_attention_heads": 2, "intermediate_size": 88, "max_position_embeddings": 128,
    ]
    let description = try ModelDescription(document, path: "model")
    let pool = WorkerPool(threadCount: 1)
    func bytes(_ lengths: [Int]) throws -> Int {
      let model = try TrainableModel(description, deviation: 0.1, seed: 1, pool: pool)
      let pass = try TrainingPass(model.decoder, model.parameters, recomputes: recomputes, pool: pool)
      for length in lengths {
        _ = try pass.run(TokenBatch(sequences: [(0..<length).map { $0 % 40 }]), targetCount: length - 1)
      }
      return pass.workspaceByteCount
    }
    let one = try bytes([100])
    #expect(try bytes([100] + Array(51..<100)) == one)
    #expect(try bytes(Array(20...100)) * 4 <= one * 5)
    #expect(try bytes((0..<200).map { 3 + $0 * 37 % 97 } + [100]) * 4 <= one * 5)
  }
}
