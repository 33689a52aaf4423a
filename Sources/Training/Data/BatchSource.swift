import Kernels

/// Where a run's batches come from.
protocol BatchSource {
  /// Tokens to learn from.
  var trainingTokenCount: Int { get }
  /// Tokens to validate on.
  var validationTokenCount: Int { get }
  /// Tokens of a step, about.
  var tokensPerStep: Int { get }

  /// The passes of a step, from 0.
  func batches(step: Int) throws -> [TokenBatch]

  /// What is validated on, batch after batch.
  ///
  /// - Parameters:
  ///   - limit: how many batches, spread over all that there are; 0 for all.
  ///   - body: hears of each.
  func forEachValidationBatch(limit: Int, _ body: (TokenBatch) throws -> Void) throws
}

/// Blocks of one long sequence.
struct BlockSource: BatchSource {
  let sampler: BlockSampler
  let data: TrainingData
  let settings: TrainingSettings

  init(_ data: TrainingData, _ settings: TrainingSettings) throws {
    self.data = data
    self.settings = settings
    sampler = try BlockSampler(data.training, settings)
  }

  var trainingTokenCount: Int { data.training.count }

  var validationTokenCount: Int { data.validation?.count ?? 0 }

  var tokensPerStep: Int { settings.batchSize * settings.blockSize * settings.gradAccumulationSteps }

  func batches(step: Int) throws -> [TokenBatch] {
    try (0..<settings.gradAccumulationSteps).map { try sampler.batch(step: step, pass: $0) }
  }

  func forEachValidationBatch(limit: Int, _ body: (TokenBatch) throws -> Void) throws {
    guard let validation = data.validation else { return }
    for ranges in validation.validationBatches(settings, batches: limit) {
      try body(
        TokenBatch(
          sequences: try ranges.map { try validation.tokens(at: $0.lowerBound, count: $0.count) }))
    }
  }
}

/// Examples, each a sequence of its own.
struct ExampleSource: BatchSource {
  let sampler: ExampleSampler
  let data: FineTuningData
  let settings: TrainingSettings
  let trainingTokenCount: Int
  let validationTokenCount: Int

  init(_ data: FineTuningData, _ settings: TrainingSettings) {
    self.data = data
    self.settings = settings
    sampler = ExampleSampler(data.training, settings)
    trainingTokenCount = data.training.reduce(0) { $0 + $1.tokens.count }
    validationTokenCount = data.validation.reduce(0) { $0 + $1.tokens.count }
  }

  var tokensPerStep: Int {
    let passes = max(1, sampler.passes(0).count)
    return trainingTokenCount / passes * settings.gradAccumulationSteps
  }

  func batches(step: Int) -> [TokenBatch] { sampler.batches(step: step) }

  func forEachValidationBatch(limit: Int, _ body: (TokenBatch) throws -> Void) throws {
    guard !data.validation.isEmpty else { return }
    let passes = ExampleSampler.passes(Array(data.validation.indices), data.validation, settings)
    let count = limit == 0 ? passes.count : min(limit, passes.count)
    for index in 0..<count {
      try body(TokenBatch(passes[index * passes.count / count].map { data.validation[$0] }))
    }
  }
}
