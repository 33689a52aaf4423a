import Checkpoints
import JSON
import Kernels
import Testing
import Transformer

@testable import Training

let referenceFolder = #filePath.split(separator: "/").dropLast(2).reduce("") { "\($0)/\($1)" } + "/Reference"

@Suite struct StepTests {
  /// Ten steps of AdamW with clipping follow PyTorch's losses.
  @Test func tenStepsFollowPyTorch() throws {
    let document = try JSONDocument.load(referenceFolder + "/Training/steps.json")
    let cases = try #require(document["cases"]?.array)
    #expect(cases.count == 4)
    for entry in cases {
      let name = try #require(entry["model"]?.string)
      let batches = try #require(entry["batches"]?.array)
      let losses = try #require(entry["losses"]?.array)
      let pool = WorkerPool(threadCount: 2)
      let model = try TrainableModel(folder: referenceFolder + "/Fixtures/" + name)
      let pass = try TrainingPass(model.decoder, model.parameters, pool: pool)
      let optimizer = try Optimizer(model.parameters, pool: pool)
      let settings = TrainingSettings()
      for (step, pair) in zip(batches, losses).enumerated() {
        let rows = try #require(pair.0.array).map { try #require($0.array).map { try #require($0.int) } }
        let batch = TokenBatch(sequences: rows)
        // In two passes, whose gradients add up to those of one.
        var total = 0.0
        for part in [0..<1, 1..<rows.count] {
          total += try pass.run(
            TokenBatch(inputs: Array(batch.inputs[part]), targets: Array(batch.targets[part])),
            targetCount: batch.targetCount)
        }
        let expected = try #require(pair.1.double)
        let loss = total / Double(batch.targetCount)
        #expect(abs(loss - expected) <= 1e-5 * expected, "\(name), step \(step)")
        optimizer.update(settings, learningRate: 1e-3, step: step + 1, norm: optimizer.gradientNorm)
      }
    }
  }

  /// With operands in bfloat16, gradients point where those of single precision do, whatever the number of threads.
  @Test(arguments: ["gpt2-plain", "llama-linear", "qwen3-query-key-norm"])
  func roundedGradientsStayNear(name: String) throws {
    let results = try [(ProductPrecision.f32, 2), (.bf16, 1), (.bf16, 3)].map { precision, count in
      let model = try TrainableModel(folder: referenceFolder + "/Fixtures/" + name)
      let pass = try TrainingPass(
        model.decoder, model.parameters, precision: precision, pool: WorkerPool(threadCount: count))
      let size = model.decoder.configuration.vocabularySize
      // Rows enough for a product of many rows.
      let batch = TokenBatch(
        sequences: (0..<8).map { row in (0..<13).map { (row * 31 + $0 * 7) % size } })
      let loss = try pass.run(batch, targetCount: batch.targetCount) / Double(batch.targetCount)
      return (loss: loss, gradients: [Float](model.parameters.gradients.elements))
    }
    let (exact, rounded, threaded) = (results[0], results[1], results[2])
    #expect(abs(rounded.loss - exact.loss) <= 0.01 * exact.loss)
    #expect(rounded.loss == threaded.loss && rounded.gradients == threaded.gradients)
    #expect(rounded.gradients != exact.gradients, "nothing was rounded")
    func product(_ a: [Float], _ b: [Float]) -> Double {
      zip(a, b).reduce(0) { $0 + Double($1.0) * Double($1.1) }
    }
    let cosine =
      product(exact.gradients, rounded.gradients)
      / (product(exact.gradients, exact.gradients) * product(rounded.gradients, rounded.gradients))
      .squareRoot()
    #expect(cosine > 0.999, "\(cosine)")
  }

  /// Dropout draws the same mask forwards and backwards: gradients follow differences of the loss.
  @Test(arguments: ["gpt2-plain", "llama-linear"])
  func gradientsFollowTheLossWithDropout(name: String) throws {
    let pool = WorkerPool(threadCount: 2)
    let model = try TrainableModel(folder: referenceFolder + "/Fixtures/" + name)
    let pass = try TrainingPass(model.decoder, model.parameters, pool: pool)
    let size = model.decoder.configuration.vocabularySize
    let batch = TokenBatch(sequences: [(0..<9).map { $0 * 7 % size }, (0..<6).map { $0 * 11 % size }])
    let dropout = DropoutSettings(residual: 0.2, attention: 0.3, seed: 3, step: 5, batch: 1)
    func loss() throws -> Double {
      try pass.run(
        batch, targetCount: batch.targetCount, labelSmoothing: 0.1, dropout: dropout, wantsGradient: false)
        / Double(batch.targetCount)
    }
    _ = try pass.run(batch, targetCount: batch.targetCount, labelSmoothing: 0.1, dropout: dropout)
    let plain = try pass.run(batch, targetCount: batch.targetCount, wantsGradient: false)
    #expect(abs(plain / Double(batch.targetCount) - (try loss())) > 1e-3, "nothing was dropped")
    let parameters = model.parameters
    for slot in parameters.slots {
      // Along the gradient of one parameter, the loss changes by its squared norm.
      let gradient = Array(
        UnsafeBufferPointer(start: parameters.gradients.base + slot.start, count: slot.parameter.count))
      let square = gradient.reduce(0) { $0 + Double($1) * Double($1) }
      guard square > 1e-6 else { continue }
      let weights = parameters.values.base + slot.start
      let start = Array(UnsafeBufferPointer(start: weights, count: gradient.count))
      let step = Float(2e-3 / square.squareRoot())
      for index in gradient.indices { weights[index] = start[index] + step * gradient[index] }
      let above = try loss()
      for index in gradient.indices { weights[index] = start[index] - step * gradient[index] }
      let below = try loss()
      for index in gradient.indices { weights[index] = start[index] }
      let slope = (above - below) / (2 * Double(step))
      #expect(abs(slope - square) <= 0.02 * square, "\(slot.name)")
    }
  }

  @Test func threadsAndPaddingChangeNothing() throws {
    let folder = referenceFolder + "/Fixtures/llama-linear"
    let gradients = try [1, 3].map { count in
      let model = try TrainableModel(folder: folder)
      let pass = try TrainingPass(model.decoder, model.parameters, pool: WorkerPool(threadCount: count))
      let batch = TokenBatch(sequences: [[1, 5, 9, 2, 7], [3, 3, 8]])
      let loss = try pass.run(batch, targetCount: 6)
      // The same row with targets that do not count after it.
      let ignored = TokenBatch(
        inputs: [[1, 5, 9, 2, 4, 4], [3, 3]], targets: [[5, 9, 2, 7, -100, -100], [3, 8]])
      #expect(ignored.targetCount == 6)
      let again = try pass.run(ignored, targetCount: 6, wantsGradient: false)
      #expect(abs(loss - again) <= 1e-5)
      return [Float](model.parameters.gradients.elements) + [Float(loss)]
    }
    #expect(gradients[0] == gradients[1])
  }
}
