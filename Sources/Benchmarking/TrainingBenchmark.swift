import JSON
import Kernels
import Training
import Transformer

/// Batch and block of a training step, such as `4x256`.
public struct TrainingTest: Sendable, Equatable {
  /// Sequences.
  public let batch: Int
  /// Tokens of each.
  public let block: Int

  /// Reads `BATCHxBLOCK`; `nil` for anything else.
  public init?(_ text: String) {
    let parts = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
    guard parts.count == 2, let batch = parts[0], let block = parts[1], (1...65_536).contains(batch),
      (1...1_048_576).contains(block)
    else { return nil }
    self.batch = batch
    self.block = block
  }

  /// Names a batch and a block.
  init(batch: Int, block: Int) {
    self.batch = batch
    self.block = block
  }

  /// Tokens of a step.
  public var tokenCount: Int { batch * block }
}

/// How fast a model trains, beside what the machine allows.
public struct TrainingMeasurement: Sendable {
  /// What was timed.
  public let test: TrainingTest
  /// Threads.
  public let threadCount: Int
  /// What the operands of products with weights were rounded to.
  public let precision: ProductPrecision
  /// Tokens per second of each step: forward, backward and optimiser.
  public let rates: [Double]
  /// Tokens per second at the rate of large products measured before each step, for 6 operations per weight.
  public let limits: [Double]
  /// Bytes of weights, gradients, moments, activations and logits.
  public let byteCount: Int

  /// As `bench -o json` prints it.
  public func json(model: String) -> JSONValue {
    let speed = SampleStatistics(rates)
    let limit = SampleStatistics(limits)
    return [
      "model_type": .string(model), "engine": "blas", "dtype": .string(precision.rawValue), "test": "train",
      "n_batch": .integer(test.batch), "n_block": .integer(test.block), "n_threads": .integer(threadCount),
      "blas_core": .string(BLAS.coreType), "avg_ts": .number(speed?.mean ?? 0),
      "stddev_ts": .number(speed?.standardDeviation ?? 0), "samples_ts": .array(rates.map { .number($0) }),
      "limit_ts": .number(limit?.median ?? 0),
      "fraction_of_limit": .number(SampleStatistics.pairedRatios(rates, limits)?.median ?? 0),
      "memory_bytes": .integer(byteCount),
    ]
  }
}

/// Times whole training steps of random weights, alternating with the machine's limit.
public enum TrainingBenchmark {
  /// Runs some steps after one that does not count.
  ///
  /// - Parameters:
  ///   - precision: what the operands of products with weights are rounded to; the limit is always that of SGEMM.
  ///   - repetitions: steps that count.
  ///   - isInterrupted: asked between steps.
  /// - Throws: `TrainingError` or `DecoderError.memory`.
  public static func run(
    _ test: TrainingTest, of description: ModelDescription, limits: MachineLimits,
    precision: ProductPrecision = .f32, repetitions: Int,
    isInterrupted: () -> Bool = { false }
  ) throws -> TrainingMeasurement {
    let steps = try TrainingSteps(test, of: description, precision: precision, pool: limits.pool)
    var rates: [Double] = []
    var allowed: [Double] = []
    for step in 0...repetitions where !isInterrupted() {
      let limit = limits.multiplicationRate(lasting: 0.25) / steps.operationsPerToken
      let batch = steps.batch()
      let time = try seconds { try steps.run(batch) }
      guard step > 0 else { continue }
      rates.append(Double(test.tokenCount) / time)
      allowed.append(limit)
    }
    return TrainingMeasurement(
      test: test, threadCount: limits.threadCount, precision: precision, rates: rates, limits: allowed,
      byteCount: steps.byteCount)
  }
}

/// A model of random weights, and whole training steps of it on random tokens.
final class TrainingSteps {
  /// Six per weight: two for the forward pass, four for the backward pass.
  let operationsPerToken: Double
  /// Bytes of weights, gradients, moments, activations and logits.
  var byteCount: Int { 16 * model.parameters.count + pass.workspaceByteCount }

  private let test: TrainingTest
  private let vocabularySize: Int
  private let model: TrainableModel
  private let pass: TrainingPass
  private let optimizer: Optimizer
  private let settings = TrainingSettings()
  private var done = 0
  private var state: UInt64 = 7

  /// - Throws: `TrainingError` or `DecoderError.memory`.
  init(
    _ test: TrainingTest, of description: ModelDescription, precision: ProductPrecision = .f32,
    pool: WorkerPool
  ) throws {
    self.test = test
    vocabularySize = description.configuration.vocabularySize
    model = try TrainableModel(description, deviation: 0.02, seed: 1, pool: pool)
    pass = try TrainingPass(model.decoder, model.parameters, precision: precision, pool: pool)
    optimizer = try Optimizer(model.parameters, pool: pool)
    operationsPerToken = 6 * Double(model.parameters.parameterCount)
  }

  /// The next batch.
  func batch() -> TokenBatch {
    TokenBatch(
      sequences: (0..<test.batch).map { _ in
        (0...test.block).map { _ in
          state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
          return Int(state >> 33) % vocabularySize
        }
      })
  }

  /// Forward pass, backward pass and optimiser.
  func run(_ batch: TokenBatch) throws {
    done += 1
    _ = try pass.run(batch, targetCount: batch.targetCount)
    optimizer.update(settings, learningRate: 1e-4, step: done, norm: optimizer.gradientNorm)
  }
}
