import Checkpoints
import Generation
import JSON
import Kernels
import Tokenizers
import Transformer

/// Trains a model as its settings say, from the first step or from the last checkpoint.
///
/// Everything that is random is a function of the seed and of where it is used, so a run that was killed goes on bit
/// for bit as if it had not been, with the same number of threads.
package final class Trainer {
  /// How the run goes.
  package let settings: TrainingSettings
  /// The model.
  package let model: TrainableModel
  private let data: TrainingData
  private let sampler: BlockSampler
  private let folder: RunFolder
  private let pool: WorkerPool
  private let pass: TrainingPass
  private let optimizer: Optimizer
  private var state = State()

  /// What a checkpoint holds beside weights and moments.
  private struct State {
    /// Steps done.
    var step = 0
    /// Steps that changed the weights.
    var updates = 0
    /// A running mean of losses.
    var average: Double?
    /// The least validation loss.
    var best: Double?
  }

  /// Opens data and model and checks all that can be checked, before anything is computed.
  ///
  /// - Parameters:
  ///   - settings: how the run goes; for a run that is resumed, what `resumed` read.
  ///   - resumes: whether the folder holds the run's beginning.
  /// - Throws: an error that names the file or the setting, and the fix.
  package init(_ settings: TrainingSettings, resumes: Bool = false) throws {
    guard let out = settings.out else {
      throw TrainingError.setting(
        source: "settings", key: "out", reason: "is missing; give the folder of the run")
    }
    self.settings = settings
    pool = WorkerPool(threadCount: settings.threads ?? WorkerPool.defaultThreadCount())
    data = try TrainingData(settings, pool: pool)
    sampler = try BlockSampler(data.training, settings)
    let description = try Trainer.description(settings, data)
    try Trainer.check(description, settings, data)
    folder = try RunFolder(out, resumes: resumes)
    if let initial = settings.initFrom {
      model = try TrainableModel(folder: initial)
    } else {
      model = try TrainableModel(
        description, deviation: settings.initStd, seed: UInt64(settings.seed), pool: pool)
    }
    // Weights and two moments in each checkpoint, one of them on its way, and the models.
    try folder.checkSpace(for: model.parameters.count * 4 * (3 * (settings.keepLast + 1) + 3))
    optimizer = try Optimizer(model.parameters, pool: pool)
    pass = try TrainingPass(model.decoder, model.parameters, precision: settings.precision, pool: pool)
    if resumes {
      if let step = folder.steps.last { try load(folder.checkpoint(step)) }
    } else {
      try AtomicFile.write(
        JSONValue.object(
          JSONObject([
            .init(key: "settings", value: settings.document),
            .init(key: "model", value: description.document),
            .init(key: "parameters", value: .integer(model.parameters.parameterCount)),
            .init(key: "threads", value: .integer(pool.threadCount)),
            .init(key: "blas", value: .string(BLAS.configuration)),
          ])
        ).text(.indented) + "\n", to: folder.settings)
    }
  }

  /// The settings of a run that is there.
  ///
  /// - Throws: `TrainingError.run` or `FileError`.
  package static func resumed(_ folder: String) throws -> TrainingSettings {
    let path = (folder.hasSuffix("/") ? folder : folder + "/") + "run.json"
    guard fileExists(path) else {
      throw TrainingError.run(path: folder, reason: "holds no run to resume; leave out --resume to begin one")
    }
    let document = try JSONDocument.load(path)
    var settings = try TrainingSettings(document: document["settings"] ?? [:], source: path)
    settings.out = folder
    return settings
  }

  // MARK: Model

  /// What the new model will look like, or what the one to start from does.
  private static func description(_ settings: TrainingSettings, _ data: TrainingData) throws
    -> ModelDescription
  {
    if let folder = settings.initFrom {
      guard settings.model == nil else {
        throw TrainingError.setting(
          source: "settings", key: "model", reason: "and init_from exclude each other; keep one")
      }
      return try ModelDescription.load(from: folder)
    }
    guard var object = settings.model else {
      throw TrainingError.setting(
        source: "settings", key: "model", reason: "is missing; give fields of config.json, or init_from")
    }
    func setDefault(_ key: String, _ value: JSONValue) {
      if object[key] == nil { object.members.append(.init(key: key, value: value)) }
    }
    let type = object["model_type"]?.string ?? ""
    setDefault("vocab_size", .integer(data.vocabularySize))
    if object["n_positions"] == nil {
      setDefault(type == "gpt2" ? "n_positions" : "max_position_embeddings", .integer(settings.blockSize))
    }
    let end = data.endOfText.map { JSONValue.integer($0) } ?? .null
    setDefault("eos_token_id", end)
    setDefault("bos_token_id", data.tokenizer?.beginOfSequence.map { .integer($0) } ?? end)
    if let name = architectures[type] { setDefault("architectures", .array([.string(name)])) }
    setDefault("dtype", "float32")
    let description = try ModelDescription(.object(object), path: "model")
    if let field = description.allUnknownFields.first {
      throw TrainingError.setting(
        source: "model", key: field, reason: "is no field of config.json that \(type) models have")
    }
    return description
  }

  /// What transformers calls the causal models of a type.
  private static let architectures = [
    "gpt2": "GPT2LMHeadModel", "llama": "LlamaForCausalLM", "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM", "mistral": "MistralForCausalLM", "gemma": "GemmaForCausalLM",
    "gemma2": "Gemma2ForCausalLM", "phi": "PhiForCausalLM", "phi3": "Phi3ForCausalLM",
    "gpt_neox": "GPTNeoXForCausalLM", "smollm3": "SmolLM3ForCausalLM", "olmo2": "Olmo2ForCausalLM",
  ]

  private static func check(
    _ description: ModelDescription, _ settings: TrainingSettings, _ data: TrainingData
  ) throws {
    let configuration = description.configuration
    guard settings.blockSize <= configuration.contextLength else {
      throw TrainingError.setting(
        source: "settings", key: "block_size",
        reason: "is \(settings.blockSize), and the model has \(configuration.contextLength) positions")
    }
    guard data.vocabularySize <= configuration.vocabularySize else {
      throw TrainingError.data(
        path: data.training.path,
        reason: "has a vocabulary of \(data.vocabularySize) tokens, and the model knows "
          + "\(configuration.vocabularySize); pack the text with the model's tokenizer, or set vocab_size")
    }
    guard settings.minLearningRate <= settings.learningRate else {
      throw TrainingError.setting(
        source: "settings", key: "min_learning_rate",
        reason: "is \(settings.minLearningRate), above the learning_rate of \(settings.learningRate)")
    }
  }

  // MARK: Steps

  /// Runs to the last step, or until somebody interrupts.
  ///
  /// - Parameters:
  ///   - interruption: looked at after each step; once raised, a checkpoint is saved and the call returns.
  ///   - onEvent: hears of everything that happens.
  /// - Throws: `TrainingError.unstable`, `FileError` for a disk that is full, ...
  package func run(
    interruption: InterruptionFlag? = nil, onEvent: (TrainingEvent) -> Void = { _ in }
  ) throws -> RunResult {
    let clock = ContinuousClock()
    let start = clock.now
    let metrics = try MetricsLog(folder, from: state.step, last: settings.iters)
    let rate = try ProductRate.measure(pool: pool)
    let tokens = settings.batchSize * settings.blockSize * settings.gradAccumulationSteps
    onEvent(
      .started(
        RunSummary(
          parameterCount: model.parameters.parameterCount, trainingTokenCount: data.training.count,
          validationTokenCount: data.validation?.count ?? 0, tokensPerStep: tokens, stepCount: settings.iters,
          firstStep: state.step, productRate: rate, threadCount: pool.threadCount)))

    var savedStep = state.step
    var pace: Double?
    while state.step < settings.iters {
      let begun = clock.now
      let outcome = try step()
      let seconds = begun.duration(to: clock.now).seconds
      state.step += 1
      pace = pace.map { 0.95 * $0 + 0.05 * seconds } ?? seconds
      switch outcome {
      case .done(let loss, let norm):
        let step = StepMetrics(
          step: state.step, loss: loss, learningRate: settings.learningRate(step: state.step - 1),
          gradientNorm: norm, tokensPerSecond: Double(tokens) / seconds,
          fractionOfPeak: 6 * Double(model.parameters.parameterCount) * Double(tokens) / seconds / rate,
          secondsLeft: pace! * Double(settings.iters - state.step))
        try metrics.append(
          "step", step: step.step,
          [
            "loss": .number(step.loss), "learning_rate": .number(step.learningRate),
            "gradient_norm": .number(norm), "tokens_per_second": .number(step.tokensPerSecond),
            "fraction_of_peak": .number(step.fractionOfPeak), "tokens": .integer(step.step * tokens),
          ])
        onEvent(.step(step))
      case .skipped(let reason):
        try metrics.append("skip", step: state.step, ["reason": .string(reason)])
        onEvent(.skipped(step: state.step, reason: reason))
      }

      let isLast = state.step == settings.iters
      if !isLast, settings.stepsPerEval > 0, state.step.isMultiple(of: settings.stepsPerEval) {
        try validate(batches: settings.evalBatches, metrics, onEvent)
        _ = try sample(metrics, onEvent)
      }
      let isInterrupted = interruption?.isRaised ?? false
      if isLast || isInterrupted || settings.saveEvery > 0 && state.step.isMultiple(of: settings.saveEvery) {
        try save(folder.checkpoint(state.step))
        folder.prune(keeping: settings.keepLast)
        savedStep = state.step
        onEvent(.saved(step: state.step, path: folder.checkpoint(state.step)))
      }
      if isInterrupted, !isLast {
        return RunResult(
          step: state.step, validationLoss: nil, seconds: start.duration(to: clock.now).seconds,
          isInterrupted: true, sample: nil, model: folder.checkpoint(savedStep))
      }
    }

    let loss = try validate(batches: 0, metrics, onEvent)
    let seconds = start.duration(to: clock.now).seconds
    let text = try sample(metrics, onEvent)
    try RunFolder.write(folder.model) { try writeModel(to: $0) }
    return RunResult(
      step: state.step, validationLoss: loss, seconds: seconds, isInterrupted: false, sample: text,
      model: folder.model)
  }

  private enum Outcome {
    case done(loss: Double, norm: Double)
    case skipped(String)
  }

  /// Computes gradients and changes the weights.
  private func step() throws -> Outcome {
    let parameters = model.parameters
    let targets = settings.batchSize * settings.blockSize * settings.gradAccumulationSteps
    var total = 0.0
    for index in 0..<settings.gradAccumulationSteps {
      let dropout = DropoutSettings(
        residual: Float(settings.dropout), attention: Float(settings.attentionDropout ?? settings.dropout),
        seed: UInt64(settings.seed), step: state.step, batch: index)
      total += try pass.run(
        try sampler.batch(step: state.step, pass: index), targetCount: targets,
        labelSmoothing: Float(settings.labelSmoothing), dropout: dropout)
    }
    let loss = total / Double(targets)
    let norm = optimizer.gradientNorm
    if let reason = fault(loss: loss, norm: norm) {
      guard settings.onSpike == .skip else {
        throw TrainingError.unstable(
          step: state.step + 1,
          reason: reason + "; the last checkpoint stays: resume with a lower learning_rate or on_spike: skip")
      }
      parameters.clearGradients()
      return .skipped(reason)
    }
    state.average = state.average.map { 0.98 * $0 + 0.02 * loss } ?? loss
    state.updates += 1
    optimizer.update(
      settings, learningRate: settings.learningRate(step: state.step), step: state.updates, norm: norm)
    return .done(loss: loss, norm: norm)
  }

  /// What is wrong with a step, and with which tensor.
  private func fault(loss: Double, norm: Double) -> String? {
    if !loss.isFinite || !norm.isFinite {
      let parameters = model.parameters
      for (memory, what) in [(parameters.values, "weight"), (parameters.gradients, "gradient of")] {
        for slot in parameters.slots
        where !sumOfSquares(memory.base + slot.start, count: slot.parameter.count, pool: pool).isFinite {
          return "the loss is \(loss) and the norm of gradients \(norm): \(what) \(slot.name) is not finite"
        }
      }
      return "the loss is \(loss) and the norm of gradients \(norm)"
    }
    if settings.spikeFactor > 0, let average = state.average, state.updates >= 50,
      loss > settings.spikeFactor * average
    {
      let largest = model.parameters.slots.max { a, b in
        let norms = [a, b].map {
          sumOfSquares(
            model.parameters.gradients.base + $0.start, count: $0.parameter.count, pool: pool)
        }
        return norms[0] < norms[1]
      }
      return "the loss is \(loss), \(loss / average) times the average of before; "
        + "the largest gradient is that of \(largest?.name ?? "no tensor")"
    }
    return nil
  }

  // MARK: Validation and samples

  /// The mean loss over the validation data; keeps the model when it is the best so far.
  @discardableResult
  private func validate(
    batches: Int, _ metrics: MetricsLog, _ onEvent: (TrainingEvent) -> Void
  ) throws -> Double? {
    guard let loss = try validationLoss(batches: batches) else { return nil }
    let isBest = state.best.map { loss < $0 } ?? true
    if isBest {
      state.best = loss
      try RunFolder.write(folder.best) { try writeModel(to: $0) }
    }
    try metrics.append("validation", step: state.step, ["loss": .number(loss)])
    onEvent(.validation(step: state.step, loss: loss, isBest: isBest))
    return loss
  }

  /// The mean loss over the validation data.
  ///
  /// - Parameter batches: how many batches of it; 0 for all.
  package func validationLoss(batches: Int) throws -> Double? {
    guard let validation = data.validation else { return nil }
    var total = 0.0
    var count = 0
    for ranges in validation.validationBatches(settings, batches: batches) {
      let batch = TokenBatch(
        sequences: try ranges.map { try validation.tokens(at: $0.lowerBound, count: $0.count) })
      total += try pass.run(batch, targetCount: batch.targetCount, wantsGradient: false)
      count += batch.targetCount
    }
    return count > 0 ? total / Double(count) : nil
  }

  /// A text that the model writes now.
  private func sample(_ metrics: MetricsLog, _ onEvent: (TrainingEvent) -> Void) throws -> String? {
    guard settings.sampleTokens > 0, let tokenizer = data.tokenizer else { return nil }
    var prompt = try tokenizer.encode(settings.samplePrompt ?? "", addSpecialTokens: true)
    let shown = settings.samplePrompt ?? ""
    if prompt.isEmpty { prompt = try data.endOfText.map { [$0] } ?? data.training.tokens(at: 0, count: 1) }
    let context = model.decoder.configuration.contextLength
    var configuration = GenerationConfiguration()
    configuration.samples = true
    configuration.temperature = settings.sampleTemperature
    configuration.seed = UInt64(settings.seed)
    configuration.maximumNewTokens = max(1, min(settings.sampleTokens, context - prompt.count))
    configuration.endTokens = data.endOfText.map { [$0] }
    let plan = try configuration.plan(
      promptLength: prompt.count, contextLength: context,
      vocabularySize: model.decoder.configuration.vocabularySize, source: "sample_prompt")
    let session = try InferenceSession(
      decoder: model.decoder, engine: BLASEngine(pool: pool), capacity: plan.maximumLength)
    let result = try generate(prompt: prompt, plan: plan, session: session)
    let text = shown + tokenizer.decode(result.sequences.first?.tokens ?? [], skipSpecialTokens: true)
    try metrics.append("sample", step: state.step, ["text": .string(text)])
    onEvent(.sample(step: state.step, text: text))
    return text
  }

  // MARK: Checkpoints

  /// Writes a folder that transformers loads.
  private func writeModel(to path: String) throws {
    try model.parameters.save(model.parameters.values, to: path + "/model.safetensors")
    try AtomicFile.write(model.description.document.text(.indented) + "\n", to: path + "/config.json")
    for file in data.tokenizerFiles {
      try file.contents.withUnsafeBytes { try AtomicFile.write($0, to: path + "/" + file.name) }
    }
    let configuration = model.decoder.configuration
    var members: [JSONObject.Member] = []
    func add(_ key: String, _ value: Int?) {
      if let value { members.append(.init(key: key, value: .integer(value))) }
    }
    add("bos_token_id", configuration.beginOfSequenceToken)
    add("eos_token_id", configuration.endOfSequenceTokens.first)
    add("pad_token_id", configuration.paddingToken)
    try AtomicFile.write(
      JSONValue.object(JSONObject(members)).text(.indented) + "\n", to: path + "/generation_config.json")
  }

  private func save(_ path: String) throws {
    try RunFolder.write(path) { temporary in
      try writeModel(to: temporary)
      try model.parameters.save(optimizer.first, to: temporary + "/optimizer-first.safetensors")
      try model.parameters.save(optimizer.second, to: temporary + "/optimizer-second.safetensors")
      // Bit patterns: a number in decimals may come back as another one.
      func bits(_ value: Double?) -> JSONValue {
        value.map { .string(String($0.bitPattern, radix: 16)) } ?? .null
      }
      let document: JSONValue = [
        "step": .integer(state.step), "updates": .integer(state.updates), "average": bits(state.average),
        "best": bits(state.best),
      ]
      try AtomicFile.write(document.text(.indented) + "\n", to: temporary + "/trainer.json")
    }
  }

  private func load(_ path: String) throws {
    let document = try JSONDocument.load(path + "/trainer.json")
    func number(_ key: String) -> Double? {
      document[key]?.string.flatMap { UInt64($0, radix: 16) }.map { Double(bitPattern: $0) }
    }
    guard let step = document["step"]?.int, let updates = document["updates"]?.int, step >= 0, updates >= 0
    else {
      throw TrainingError.checkpoint(path: path + "/trainer.json", reason: "names no step")
    }
    state = State(step: step, updates: updates, average: number("average"), best: number("best"))
    try model.parameters.load(path + "/model.safetensors", into: model.parameters.values)
    try model.parameters.load(path + "/optimizer-first.safetensors", into: optimizer.first)
    try model.parameters.load(path + "/optimizer-second.safetensors", into: optimizer.second)
  }
}
