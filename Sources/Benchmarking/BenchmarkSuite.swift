import Kernels
import Transformer

/// Everything that `make bench` measures: each operation and the whole model, the naive path against OpenBLAS,
/// each verified before it is timed.
public struct BenchmarkSuite {
  /// How long and how often.
  public struct Settings: Sendable {
    /// Rows of the prompt's operations and tokens of the whole prompt.
    public var promptLength = 512
    /// Tokens that are generated.
    public var generatedLength = 64
    /// Rounds of an operation: limit, OpenBLAS, naive.
    public var operationRounds = 7
    /// Seconds of a slice of an operation.
    public var operationSlice = 0.15
    /// How the whole model is timed.
    public var model = ModelBenchmark.Settings()

    /// The defaults, some minutes for GPT-2 124M on two cores.
    public init() {}
  }

  /// What came out.
  public struct Result: Sendable {
    /// Operations, products first.
    public var operations: [OperationMeasurement] = []
    /// The whole model, OpenBLAS path and naive path of each test.
    public var models: [ModelComparison] = []
    /// The SGEMM limit in FLOP/s, over the whole run.
    public var multiplicationRates: [Double] = []
    /// What OpenBLAS's own threads reach of the SGEMM limit, in turn.
    public var libraryRatios: [Double] = []
    /// The read limit in bytes/s, over the whole run.
    public var readRates: [Double] = []
    /// The largest error of the scores, and what was allowed.
    public var scoreAgreement = (error: 0.0, tolerance: 0.0)
    /// Whether all was measured.
    public var isComplete = false
  }

  /// The naive path beside the OpenBLAS path in one test of the whole model.
  public struct ModelComparison: Sendable {
    /// The OpenBLAS path.
    public let fast: ModelMeasurement
    /// The naive path, on fewer tokens: its loops cost each token the same.
    public let naive: ModelMeasurement

    /// Naive over OpenBLAS in seconds per token, repetition by repetition.
    public var factor: SampleStatistics? {
      let count = min(fast.sampleRates.count, naive.sampleRates.count)
      return .pairedRatios(Array(fast.sampleRates[..<count]), Array(naive.sampleRates[..<count]))
    }
  }

  private let decoder: Decoder
  private let model: ModelDescription
  private let limits: MachineLimits
  private let settings: Settings

  /// Prepares.
  public init(
    decoder: Decoder, model: ModelDescription, limits: MachineLimits, settings: Settings = Settings()
  ) {
    self.decoder = decoder
    self.model = model
    self.limits = limits
    var settings = settings
    let context = model.configuration.contextLength
    settings.promptLength = min(settings.promptLength, context)
    settings.generatedLength = min(settings.generatedLength, context)
    self.settings = settings
  }

  /// Measures everything.
  ///
  /// - Parameters:
  ///   - isInterrupted: asked between slices; once true, what there is gets returned.
  ///   - progress: receives what is measured next.
  /// - Throws: `BenchmarkError.disagreement` when a path computes something else than the naive one.
  public func run(
    isInterrupted: @escaping () -> Bool = { false }, progress: (String) -> Void = { _ in }
  ) throws -> Result {
    var result = Result()
    progress("limits")
    for _ in 0..<5 where !isInterrupted() {
      let library = limits.libraryMultiplicationRate(lasting: settings.operationSlice)
      result.libraryRatios.append(library / limits.multiplicationRate(lasting: settings.operationSlice))
    }

    let engine = BLASEngine(pool: limits.pool)
    progress("agreement of the scores")
    let benchmark = ModelBenchmark(
      decoder: decoder, model: model, limits: limits, settings: settings.model, isInterrupted: isInterrupted)
    result.scoreAgreement = try benchmark.verify(engine)

    let tests = [
      ModelTest(.prompt, tokenCount: settings.promptLength),
      ModelTest(.generation, tokenCount: settings.generatedLength),
    ]
    for test in tests where !isInterrupted() {
      progress("whole model, \(test.name)")
      if let comparison = try compare(test, engine, benchmark) { result.models.append(comparison) }
    }

    let layout = decoder.weights.blocks.first?.queryKeyValue.layout ?? .outputMajor
    let table = OperationTable(configuration: model.configuration, layout: layout, limits: limits)
    for makeOperation in table.operations(promptLength: settings.promptLength) where !isInterrupted() {
      let operation = makeOperation()
      progress("\(operation.name) \(operation.shape)")
      let measurement = try operation.measure(
        limits: limits, rounds: settings.operationRounds, sliceDuration: settings.operationSlice,
        isInterrupted: isInterrupted)
      guard let measurement else { continue }
      result.operations.append(measurement)
      switch measurement.limitName {
      case "SGEMM": result.multiplicationRates.append(measurement.limitRate)
      case "read": result.readRates.append(measurement.limitRate)
      default: break
      }
    }
    result.isComplete = !isInterrupted()
    return result
  }

  /// Times one test for both paths in turn.
  private func compare(
    _ test: ModelTest, _ engine: BLASEngine, _ benchmark: ModelBenchmark
  ) throws -> ModelComparison? {
    let naiveTest = ModelTest(test.kind, tokenCount: min(test.tokenCount, test.kind == .prompt ? 4 : 2))
    var (fast, naive): (ModelMeasurement?, ModelMeasurement?)
    for index in 0..<settings.model.repetitions {
      let one = try benchmark.run(test, engines: [engine], repetitions: 1, warmsUp: index == 0)
      let other = try benchmark.run(naiveTest, engines: [NaiveEngine()], repetitions: 1, warmsUp: false)
      guard let one = one.first, let other = other.first else { return nil }
      fast = fast?.appending(one) ?? one
      naive = naive?.appending(other) ?? other
    }
    guard let fast, let naive else { return nil }
    return ModelComparison(fast: fast, naive: naive)
  }
}
