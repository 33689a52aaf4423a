import Generation
import Kernels
import Transformer

/// One engine's speed in one test, beside the machine's limit.
public struct ModelMeasurement: Sendable {
  /// What was timed.
  public let test: ModelTest
  /// The engine's name.
  public let engine: String
  /// How weights are held, by the name that `--dtype` knows.
  public let weightType: String
  /// Bytes of all weights.
  public let weightByteCount: Int
  /// Its threads.
  public let threadCount: Int
  /// Tokens of a prompt that were computed at once.
  public let chunk: Int
  /// How keys and values were kept.
  public let cacheTypes: KeyValueTypes
  /// Seconds of each repetition.
  public let sampleSeconds: [Double]
  /// Tokens per second of each slice, in time.
  public let sliceRates: [Double]
  /// Tokens per second that the machine allows, measured right before each of these slices.
  public let sliceLimits: [Double]

  /// Tokens per second of each repetition.
  public var sampleRates: [Double] { sampleSeconds.map { Double(test.countedTokens) / $0 } }
  /// The limits' median in tokens per second.
  public var limit: Double { SampleStatistics(sliceLimits)?.median ?? 0 }
  /// The measured share of the limit, slice by slice.
  public var fractionOfLimit: SampleStatistics? { .pairedRatios(sliceRates, sliceLimits) }

  /// With the repetitions of another measurement of the same test.
  func appending(_ other: ModelMeasurement) -> ModelMeasurement {
    ModelMeasurement(
      test: test, engine: engine, weightType: weightType, weightByteCount: weightByteCount,
      threadCount: threadCount, chunk: chunk, cacheTypes: cacheTypes,
      sampleSeconds: sampleSeconds + other.sampleSeconds, sliceRates: sliceRates + other.sliceRates,
      sliceLimits: sliceLimits + other.sliceLimits)
  }
}

/// Times a decoder's prefill and generation, alternating with the machine's limit in short slices.
///
/// Tokens are arbitrary and nothing is sampled from the scores: what is timed is the forward pass.
public final class ModelBenchmark {
  /// How long and how often.
  public struct Settings: Sendable {
    /// Repetitions of each test.
    public var repetitions = 5
    /// Tokens of a prompt that are computed at once.
    public var chunk = 512
    /// How keys and values are kept.
    public var cacheTypes = KeyValueTypes()
    /// Seconds of a slice.
    public var sliceDuration = 0.5
    /// Seconds of a measurement of the limit.
    public var limitDuration = 0.25
    /// Whether each test runs once, or for a moment, before it counts.
    public var warmsUp = true
    /// How weights are held, by the name that `--dtype` knows.
    public var weightType = "f32"

    /// The defaults: five repetitions in slices of half a second.
    public init() {}
  }

  private let decoder: Decoder
  private let model: ModelDescription
  private let weightByteCount: Int
  private let limits: MachineLimits
  private let settings: Settings
  private let isInterrupted: () -> Bool

  /// Prepares.
  ///
  /// - Parameters:
  ///   - isInterrupted: asked between slices; once true, tests end early and are left out.
  public init(
    decoder: Decoder, model: ModelDescription, limits: MachineLimits, settings: Settings = Settings(),
    isInterrupted: @escaping () -> Bool = { false }
  ) {
    self.decoder = decoder
    self.model = model
    weightByteCount = decoder.weights.byteCount(of: model)
    self.limits = limits
    self.settings = settings
    self.isInterrupted = isInterrupted
  }

  /// Refuses a test that is longer than the model's context.
  public static func check(_ test: ModelTest, of model: ModelDescription) throws {
    let context = model.configuration.contextLength
    guard test.positions <= context else {
      throw BenchmarkError.contextExceeded(test: test.name, positions: test.positions, context: context)
    }
  }

  /// Times a test for some engines, slice by slice in turn.
  ///
  /// - Returns: one measurement per engine; none when interrupted.
  public func run(_ test: ModelTest, engines: [any ComputeEngine]) throws -> [ModelMeasurement] {
    try run(test, engines: engines, repetitions: settings.repetitions, warmsUp: settings.warmsUp)
  }

  /// The same with settings of its own.
  func run(
    _ test: ModelTest, engines: [any ComputeEngine], repetitions: Int, warmsUp: Bool
  ) throws -> [ModelMeasurement] {
    let contenders = try engines.map { try Contender(self, engine: $0, test: test) }
    if warmsUp {
      for contender in contenders where !isInterrupted() { try contender.warmUp() }
    }
    let cost = ModelCost(
      model, test: test, chunk: settings.chunk, weights: decoder.weights, cacheTypes: settings.cacheTypes)
    for _ in 0..<repetitions {
      for contender in contenders {
        guard !isInterrupted() else { return [] }
        try contender.begin()
      }
      while contenders.contains(where: { !$0.isDone }) {
        guard !isInterrupted() else { return [] }
        let limit = limit(of: test.kind, cost)
        for contender in contenders where !contender.isDone {
          guard try contender.runSlice(lasting: settings.sliceDuration, limit: limit, isInterrupted) else {
            return []
          }
        }
      }
    }
    return contenders.map(\.measurement)
  }

  /// Tokens per second that the machine allows now.
  private func limit(of kind: ModelTest.Kind, _ cost: ModelCost) -> Double {
    switch kind {
    case .prompt: limits.multiplicationRate(lasting: settings.limitDuration) / cost.operationsPerToken
    case .generation, .beams, .lookup: limits.readRate(lasting: settings.limitDuration) / cost.bytesPerToken
    }
  }

  /// Compares an engine's scores with the naive engine's, for a short prompt and the two tokens after it.
  ///
  /// - Returns: the largest difference, and the most that is allowed: 5e-5, as in `inkstone verify`, for
  ///   scores up to 1, and in proportion beyond.
  /// - Throws: `BenchmarkError.disagreement`.
  public func verify(_ engine: any ComputeEngine, promptLength: Int = 6) throws -> (
    error: Double, tolerance: Double
  ) {
    let context = decoder.configuration.contextLength
    let tokens = ModelBenchmark.tokens(min(promptLength + 2, context), of: decoder)
    let promptLength = max(1, tokens.count - 2)
    func scores(_ engine: any ComputeEngine) throws -> [Float] {
      let session = try InferenceSession(decoder: decoder, engine: engine, capacity: tokens.count)
      // The scores lie in the session's memory.
      return try withExtendedLifetime(session) {
        var all = Array(try session.append(Array(tokens[..<promptLength])))
        for token in tokens[promptLength...] { all += try session.step([token]) }
        return all
      }
    }
    let (expected, actual) = (try scores(NaiveEngine()), try scores(engine))
    var (error, largest): (Float, Float) = (0, 0)
    for (a, b) in zip(expected, actual) {
      // A NaN on either side must not pass for agreement.
      error = abs(a - b) <= error ? error : abs(a - b)
      largest = max(largest, abs(a))
    }
    let tolerance = 5e-5 * max(1, Double(largest))
    guard Double(error) <= tolerance else {
      throw BenchmarkError.disagreement(
        subject: "scores of engine \(engine.name)", error: Double(error), tolerance: tolerance)
    }
    return (Double(error), tolerance)
  }

  /// Arbitrary tokens of the vocabulary, the same each time.
  private static func tokens(_ count: Int, of decoder: Decoder) -> [Int] {
    tokens(count, vocabularySize: decoder.configuration.vocabularySize)
  }

  static func tokens(_ count: Int, vocabularySize: Int) -> [Int] {
    var state: UInt64 = 7
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % vocabularySize
    }
  }

  /// One engine in one test, somewhere within a repetition.
  private final class Contender {
    private let engine: any ComputeEngine
    private let batch: SessionBatch
    /// One per sequence.
    private let sessions: [InferenceSession]
    private let test: ModelTest
    private let tokens: [Int]
    private let settings: Settings
    private let weightByteCount: Int
    /// Tokens between two looks at the clock.
    private let piece: Int
    private var done = 0
    private var elapsed = 0.0
    private var sampleSeconds: [Double] = []
    private var sliceRates: [Double] = []
    private var sliceLimits: [Double] = []

    init(_ benchmark: ModelBenchmark, engine: any ComputeEngine, test: ModelTest) throws {
      self.test = test
      self.engine = engine
      settings = benchmark.settings
      weightByteCount = benchmark.weightByteCount
      tokens = ModelBenchmark.tokens(test.positions, of: benchmark.decoder)
      // Plain loops take seconds for a few tokens, and cost per token what they cost alone.
      let isNaive = engine is NaiveEngine
      piece =
        test.isWhole
        ? test.tokenCount : test.kind == .generation ? 1 : isNaive ? min(8, test.tokenCount) : test.tokenCount
      let batch = SessionBatch(
        decoder: benchmark.decoder, engine: engine, chunkSize: isNaive ? min(piece, 8) : settings.chunk,
        cacheTypes: settings.cacheTypes)
      self.batch = batch
      sessions = try (0..<test.parallel).map { _ in
        try batch.makeSession(capacity: test.positions, maximumRows: test.beams.count)
      }
    }

    var isDone: Bool { done == test.tokenCount }

    /// Goes back to the start of the test.
    func begin() throws {
      for session in sessions { session.reset() }
      if test.depth > 0, !test.isWhole {
        let depth = Array(tokens[..<test.depth])
        for session in sessions { _ = try batch.prefill([.init(session, depth)]) }
      }
      done = 0
      elapsed = 0
    }

    /// Runs a moment of the test without counting.
    func warmUp() throws {
      try begin()
      let start = ContinuousClock.now
      repeat { _ = try advance() } while !isDone && seconds(since: start) < settings.sliceDuration
    }

    /// Runs on for a while, or to the end of the repetition.
    ///
    /// - Returns: false when interrupted.
    func runSlice(lasting duration: Double, limit: Double, _ isInterrupted: () -> Bool) throws -> Bool {
      let first = done
      var time = 0.0
      repeat {
        time += try advance()
        if isInterrupted() { return false }
      } while !isDone && time < duration
      elapsed += time
      sliceRates.append(Double((done - first) * test.parallel) / time)
      sliceLimits.append(limit)
      if isDone { sampleSeconds.append(elapsed) }
      return true
    }

    /// Goes on by a piece.
    ///
    /// - Returns: the seconds that count.
    private func advance() throws -> Double {
      if test.isWhole { return try generateAll() }
      let start = ContinuousClock.now
      let count = min(piece, test.tokenCount - done)
      let next = Array(tokens[test.depth + done..<test.depth + done + count])
      let parts = sessions.map { SessionBatch.Part($0, next) }
      // A single first token is a prompt too: there is no row to continue yet.
      if test.kind == .prompt || sessions[0].length == 0 {
        _ = try batch.prefill(parts)
      } else {
        _ = try batch.step(parts)
      }
      done += count
      return seconds(since: start)
    }

    /// Searches from the prompt to the end; the prompt does not count.
    private func generateAll() throws -> Double {
      var configuration = GenerationConfiguration()
      configuration.maximumNewTokens = test.tokenCount
      configuration.beamCount = test.beams.count
      configuration.noRepeatNGramSize = test.beams.noRepeatNGramSize
      let prompt = Array(tokens[..<max(1, test.depth)])
      let plan = try configuration.plan(
        promptLength: prompt.count, contextLength: sessions[0].capacity + 1,
        vocabularySize: sessions[0].vocabularySize)
      let result = try generate(
        prompt: prompt, plan: plan, session: sessions[0],
        drafter: test.lookup > 0 ? PromptLookup(maximum: test.lookup) : nil)
      done = test.tokenCount
      return result.generationDuration / .seconds(1)
    }

    var measurement: ModelMeasurement {
      ModelMeasurement(
        test: test, engine: engine.name, weightType: settings.weightType, weightByteCount: weightByteCount,
        threadCount: engine.threadCount, chunk: settings.chunk, cacheTypes: settings.cacheTypes,
        sampleSeconds: sampleSeconds, sliceRates: sliceRates, sliceLimits: sliceLimits)
    }
  }
}
