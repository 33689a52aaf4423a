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
  /// What a person should know before the first step, one line each.
  package let notes: [String]
  /// Held-out questions, when examples are learned.
  package let questions: [HeldOutQuestion]
  private let source: any BatchSource
  private let companions: Companions
  private let folder: RunFolder
  private let pool: WorkerPool
  private let pass: TrainingPass
  private let optimizer: Optimizer
  private var state = State()

  /// What stands beside the weights, and what the model writes now and then.
  private struct Companions {
    var tokenizer: Tokenizer?
    var files: [(name: String, contents: [UInt8])] = []
    var endTokens: [Int]?
    /// What a sample begins with: for people, and as tokens.
    var prompt: (text: String, tokens: [Int])?
  }

  /// What a checkpoint holds beside weights and moments.
  private struct State {
    /// Steps done.
    var step = 0
    /// Steps that changed the weights.
    var updates = 0
    /// Tokens seen.
    var tokens = 0
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
    var settings = settings
    pool = WorkerPool(threadCount: settings.threads ?? WorkerPool.defaultThreadCount())
    let description: ModelDescription
    switch settings.purpose {
    case .pretraining:
      let data = try TrainingData(settings, pool: pool)
      source = try BlockSource(data, settings)
      description = try Trainer.description(settings, data)
      try Trainer.check(description, settings, data)
      companions = try Trainer.companions(settings, data, description)
      (notes, questions) = ([], [])
    case .fineTuning:
      guard let base = settings.initFrom else {
        throw TrainingError.setting(
          source: "settings", key: "model", reason: "is missing; give the model folder to start from")
      }
      guard !GGUFFile.recognises(base) else {
        throw TrainingError.setting(
          source: "settings", key: "model",
          reason: "\(base) is a GGUF file; make a folder of it with inkstone convert")
      }
      description = try ModelDescription.load(from: base)
      try Trainer.check(description, settings)
      let data = try FineTuningData(settings, description, model: base)
      let examples = ExampleSource(data, settings)
      if let epochs = settings.epochs { settings.iters = examples.sampler.steps(epochs: epochs) }
      source = examples
      var companions = Companions(tokenizer: data.tokenizer, files: data.files, endTokens: data.endTokens)
      if let text = settings.samplePrompt {
        companions.prompt = (text + "\n", try data.prompt(text))
      } else if let question = data.questions.first {
        companions.prompt = (question.text + "\n", question.prompt)
      }
      self.companions = companions
      (notes, questions) = (data.notes, data.questions)
    }
    self.settings = settings
    folder = try RunFolder(out, resumes: resumes)
    if let initial = settings.initFrom {
      model =
        settings.lora
        ? try TrainableModel(
          folder: initial, adapters: settings.adapter, seed: UInt64(settings.seed), pool: pool)
        : try TrainableModel(folder: initial)
    } else {
      model = try TrainableModel(
        description, deviation: settings.initStd, seed: UInt64(settings.seed), pool: pool)
    }
    // Weights and two moments in each checkpoint, one of them on its way, and the models.
    try folder.checkSpace(for: model.parameters.count * 4 * (3 * (settings.keepLast + 1) + 3))
    optimizer = try Optimizer(model.parameters, pool: pool)
    pass = try TrainingPass(
      model.decoder, model.parameters, adapters: model.adapters, precision: settings.precision,
      recomputes: settings.recompute, pool: pool)
    if resumes {
      if let step = folder.steps.last { try load(folder.checkpoint(step)) }
    } else {
      try AtomicFile.write(
        JSONValue.object(
          JSONObject([
            .init(key: "command", value: .string(settings.purpose.rawValue)),
            .init(key: "settings", value: settings.document),
            .init(key: "model", value: description.document),
            .init(key: "parameters", value: .integer(model.parameters.parameterCount)),
            .init(key: "threads", value: .integer(pool.threadCount)),
            .init(key: "blas", value: .string(BLAS.configuration)),
          ])
        ).text(.indented) + "\n", to: folder.settings)
    }
  }

  /// What stands beside a model that learns from one long sequence.
  private static func companions(
    _ settings: TrainingSettings, _ data: TrainingData, _ description: ModelDescription
  ) throws -> Companions {
    var companions = Companions(
      tokenizer: data.tokenizer, files: data.tokenizerFiles, endTokens: data.endOfText.map { [$0] })
    if let tokenizer = data.tokenizer {
      var prompt = try tokenizer.encode(settings.samplePrompt ?? "", addSpecialTokens: true)
      if prompt.isEmpty { prompt = try data.endOfText.map { [$0] } ?? data.training.tokens(at: 0, count: 1) }
      companions.prompt = (settings.samplePrompt ?? "", prompt)
    }
    let configuration = description.configuration
    var members: [JSONObject.Member] = []
    func add(_ key: String, _ value: Int?) {
      if let value { members.append(.init(key: key, value: .integer(value))) }
    }
    add("bos_token_id", configuration.beginOfSequenceToken)
    add("eos_token_id", configuration.endOfSequenceTokens.first)
    add("pad_token_id", configuration.paddingToken)
    companions.files.append(
      (
        "generation_config.json",
        Array((JSONValue.object(JSONObject(members)).text(.indented) + "\n").utf8)
      ))
    return companions
  }

  /// The settings of a run that is there.
  ///
  /// - Throws: `TrainingError.run` or `FileError`.
  package static func resumed(
    _ folder: String, _ purpose: TrainingPurpose = .pretraining
  ) throws -> TrainingSettings {
    let path = (folder.hasSuffix("/") ? folder : folder + "/") + "run.json"
    guard fileExists(path) else {
      throw TrainingError.run(path: folder, reason: "holds no run to resume; leave out --resume to begin one")
    }
    let document = try JSONDocument.load(path)
    let command = document["command"]?.string ?? TrainingPurpose.pretraining.rawValue
    guard command == purpose.rawValue else {
      throw TrainingError.run(
        path: folder, reason: "is a run of inkstone \(command); resume it with that command")
    }
    var settings = try TrainingSettings(
      document: document["settings"] ?? [:], source: path, purpose: purpose)
    settings.out = folder
    return settings
  }

  // MARK: Before and after

  /// The tokenizer, if the run has one.
  package var tokenizer: Tokenizer? { companions.tokenizer }

  /// Tokens that end what the model writes.
  package var endTokens: [Int] { companions.endTokens ?? [] }

  /// The model as it was, and what computes it.
  ///
  /// - Throws: what loading it throws.
  package func baseModel() throws -> (decoder: Decoder, engine: any ComputeEngine) {
    let engine = BLASEngine(pool: pool)
    guard model.adapters == nil, let folder = settings.initFrom else { return (model.decoder, engine) }
    return (try Decoder.load(from: folder), engine)
  }

  /// The model as it is now, and what computes it.
  package var tunedModel: (decoder: Decoder, engine: any ComputeEngine) {
    (model.decoder, model.engine(pool: pool))
  }

  /// Keeps a document beside the run's curves.
  package func record(_ document: JSONValue, as name: String) throws {
    try AtomicFile.write(document.text(.indented) + "\n", to: folder.path + "/" + name)
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
    try check(description, settings)
    let configuration = description.configuration
    guard data.vocabularySize <= configuration.vocabularySize else {
      throw TrainingError.data(
        path: data.training.path,
        reason: "has a vocabulary of \(data.vocabularySize) tokens, and the model knows "
          + "\(configuration.vocabularySize); pack the text with the model's tokenizer, or set vocab_size")
    }
  }

  private static func check(_ description: ModelDescription, _ settings: TrainingSettings) throws {
    let configuration = description.configuration
    guard settings.blockSize <= configuration.contextLength else {
      throw TrainingError.setting(
        source: "settings", key: "block_size",
        reason: "is \(settings.blockSize), and the model has \(configuration.contextLength) positions")
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
    onEvent(
      .started(
        RunSummary(
          parameterCount: model.parameters.parameterCount, trainingTokenCount: source.trainingTokenCount,
          validationTokenCount: source.validationTokenCount, tokensPerStep: source.tokensPerStep,
          stepCount: settings.iters,
          firstStep: state.step, productRate: rate, threadCount: pool.threadCount)))

    // Where a model that knows something already begins.
    if state.step == 0, settings.purpose == .fineTuning {
      try validate(batches: 0, metrics, onEvent)
    }
    var savedStep = state.step
    var pace: Double?
    while state.step < settings.iters {
      let begun = clock.now
      let outcome = try step()
      let seconds = begun.duration(to: clock.now).seconds
      state.step += 1
      pace = pace.map { 0.95 * $0 + 0.05 * seconds } ?? seconds
      switch outcome {
      case .done(let loss, let norm, let tokens):
        let step = StepMetrics(
          step: state.step, loss: loss, learningRate: settings.learningRate(step: state.step - 1),
          gradientNorm: norm, tokensPerSecond: Double(tokens) / seconds,
          fractionOfPeak: model.operationsPerToken * Double(tokens) / seconds / rate,
          secondsLeft: pace! * Double(settings.iters - state.step))
        try metrics.append(
          "step", step: step.step,
          [
            "loss": .number(step.loss), "learning_rate": .number(step.learningRate),
            "gradient_norm": .number(norm), "tokens_per_second": .number(step.tokensPerSecond),
            "fraction_of_peak": .number(step.fractionOfPeak), "tokens": .integer(state.tokens),
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
          step: state.step, firstLoss: nil, validationLoss: nil,
          seconds: start.duration(to: clock.now).seconds,
          isInterrupted: true, sample: nil, model: folder.checkpoint(savedStep))
      }
    }

    let loss = try validate(batches: 0, metrics, onEvent)
    let seconds = start.duration(to: clock.now).seconds
    let text = try sample(metrics, onEvent)
    try RunFolder.write(folder.model) { try writeModel(to: $0) }
    let first = try MetricsLog.read(folder.metrics).first {
      $0["type"]?.string == "validation" && $0["step"]?.int == 0
    }
    return RunResult(
      step: state.step, firstLoss: first?["loss"]?.double, validationLoss: loss, seconds: seconds,
      isInterrupted: false, sample: text,
      model: folder.model)
  }

  private enum Outcome {
    case done(loss: Double, norm: Double, tokens: Int)
    case skipped(String)
  }

  /// Computes gradients and changes the weights.
  private func step() throws -> Outcome {
    let parameters = model.parameters
    let batches = try source.batches(step: state.step)
    // The mean is over the targets of the whole step, however its passes share them.
    let targets = max(1, batches.reduce(0) { $0 + $1.targetCount })
    let tokens = batches.reduce(0) { $0 + $1.tokenCount }
    var total = 0.0
    for (index, batch) in batches.enumerated() {
      let dropout = DropoutSettings(
        residual: Float(settings.dropout), attention: Float(settings.attentionDropout ?? settings.dropout),
        seed: UInt64(settings.seed), step: state.step, batch: index)
      total += try pass.run(
        batch, targetCount: targets, labelSmoothing: Float(settings.labelSmoothing), dropout: dropout)
    }
    let loss = total / Double(targets)
    state.tokens += tokens
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
    return .done(loss: loss, norm: norm, tokens: tokens)
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
    var total = 0.0
    var count = 0
    try source.forEachValidationBatch(limit: batches) { batch in
      total += try pass.run(batch, targetCount: batch.targetCount, wantsGradient: false)
      count += batch.targetCount
    }
    return count > 0 ? total / Double(count) : nil
  }

  /// A text that the model writes now.
  private func sample(_ metrics: MetricsLog, _ onEvent: (TrainingEvent) -> Void) throws -> String? {
    guard settings.sampleTokens > 0, let tokenizer = companions.tokenizer,
      let (shown, prompt) = companions.prompt
    else { return nil }
    let context = model.decoder.configuration.contextLength
    var configuration = GenerationConfiguration()
    configuration.samples = true
    configuration.temperature = settings.sampleTemperature
    configuration.seed = UInt64(settings.seed)
    configuration.maximumNewTokens = max(1, min(settings.sampleTokens, context - prompt.count))
    configuration.endTokens = companions.endTokens
    let plan = try configuration.plan(
      promptLength: prompt.count, contextLength: context,
      vocabularySize: model.decoder.configuration.vocabularySize, source: "sample_prompt")
    let session = try InferenceSession(
      decoder: model.decoder, engine: model.engine(pool: pool), capacity: plan.maximumLength)
    let result = try generate(prompt: prompt, plan: plan, session: session)
    let text = shown + tokenizer.decode(result.sequences.first?.tokens ?? [], skipSpecialTokens: true)
    try metrics.append("sample", step: state.step, ["text": .string(text)])
    onEvent(.sample(step: state.step, text: text))
    return text
  }

  // MARK: Checkpoints

  /// Writes a folder that transformers loads.
  private func writeModel(to path: String) throws {
    try model.save(to: path, base: settings.initFrom)
    for file in companions.files {
      try file.contents.withUnsafeBytes { try AtomicFile.write($0, to: path + "/" + file.name) }
    }
  }

  private func save(_ path: String) throws {
    try RunFolder.write(path) { temporary in
      try writeModel(to: temporary)
      try model.adapters?.saveState(to: temporary)
      try model.parameters.save(optimizer.first, to: temporary + "/optimizer-first.safetensors")
      try model.parameters.save(optimizer.second, to: temporary + "/optimizer-second.safetensors")
      // Bit patterns: a number in decimals may come back as another one.
      func bits(_ value: Double?) -> JSONValue {
        value.map { .string(String($0.bitPattern, radix: 16)) } ?? .null
      }
      let document: JSONValue = [
        "step": .integer(state.step), "updates": .integer(state.updates), "tokens": .integer(state.tokens),
        "average": bits(state.average), "best": bits(state.best),
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
    state = State(
      step: step, updates: updates, tokens: document["tokens"]?.int ?? step * source.tokensPerStep,
      average: number("average"), best: number("best"))
    try model.load(path)
    try model.parameters.load(path + "/optimizer-first.safetensors", into: optimizer.first)
    try model.parameters.load(path + "/optimizer-second.safetensors", into: optimizer.second)
  }
}
