import JSON
import Kernels

/// How the learning rate moves over a run.
package enum Schedule: String, Sendable, CaseIterable {
  /// Warm-up, then half a cosine down to the minimum.
  case cosine
  /// Warm-up, then a straight line down to the minimum.
  case linear
  /// Warm-up, then the same for ever.
  case constant
  /// Warm-up, a plateau, then a straight line down to the minimum over the last part.  arXiv:2404.06395
  case wsd
}

/// What becomes of a step whose loss or gradient is no number, or far above what came before.
package enum SpikePolicy: String, Sendable, CaseIterable {
  /// The run ends with an error; what was saved stays.
  case stop
  /// The step's gradients are thrown away.
  case skip
}

/// The order in which blocks of the data are seen.
package enum DataOrder: String, Sendable, CaseIterable {
  /// Every block once per epoch, in an order of its own each time.
  case shuffled
  /// Blocks that begin anywhere, drawn with replacement, as nanoGPT draws them.
  case random
}

/// What a run is for.
package enum TrainingPurpose: String, Sendable {
  /// Learning a language from tokens: `inkstone train`.
  case pretraining = "train"
  /// Learning to answer from examples: `inkstone finetune`.
  case fineTuning = "finetune"
}

/// Everything that decides how a run goes: what a file of settings and flags say, and nothing else.
package struct TrainingSettings: Sendable, Equatable {
  /// Which settings there are, and their defaults.
  package let purpose: TrainingPurpose
  package var model: JSONObject?
  package var initFrom: String?
  package var tokenizer: String?
  package var train: String?
  package var valid: String?
  package var validationFraction = 0.1
  package var out: String?
  package var iters = 1000
  package var batchSize = 8
  package var blockSize = 256
  package var gradAccumulationSteps = 1
  package var learningRate = 6e-4
  package var minLearningRate = 6e-5
  package var schedule = Schedule.cosine
  package var warmupIters = 100
  package var decayIters: Int?
  package var beta1 = 0.9
  package var beta2 = 0.95
  package var epsilon = 1e-8
  package var weightDecay = 0.1
  package var gradClip = 1.0
  package var dropout = 0.0
  package var attentionDropout: Double?
  package var labelSmoothing = 0.0
  package var seed = 1337
  package var initStd = 0.02
  package var order = DataOrder.shuffled
  package var precision = ProductPrecision.f32
  package var threads: Int?
  package var stepsPerEval = 250
  package var evalBatches = 20
  package var saveEvery = 500
  package var keepLast = 2
  package var samplePrompt: String?
  package var sampleTokens = 100
  package var sampleTemperature = 0.8
  package var onSpike = SpikePolicy.stop
  package var spikeFactor = 3.0
  package var recompute = false
  // Of fine-tuning.
  package var epochs: Double?
  package var packing = false
  package var trainOnPrompt = false
  package var chatTemplate: String?
  package var lora = false
  package var adapter = AdapterSettings()
  package var answerRows = 20
  package var answerTokens = 128

  /// The defaults of a purpose.
  package init(_ purpose: TrainingPurpose = .pretraining) {
    self.purpose = purpose
    guard purpose == .fineTuning else { return }
    // A model that has learned much already: small steps, few of them, nothing pulled towards zero.
    epochs = 3
    blockSize = 512
    learningRate = 1e-4
    minLearningRate = 0
    warmupIters = 10
    beta2 = 0.999
    weightDecay = 0
    stepsPerEval = 100
    sampleTemperature = 0.7
  }

  /// One setting: its name, what it is, and how it is read and written.
  package struct Declaration: Sendable {
    /// The name in a file; with `-` for `_`, the flag's.
    package let key: String
    /// What it decides, in a few words.
    package let help: String
    let read: @Sendable (inout TrainingSettings, JSONValue) -> String?
    let write: @Sendable (TrainingSettings) -> JSONValue
  }

  /// Every setting of a purpose, in the order of the documentation.
  package static func declarations(_ purpose: TrainingPurpose) -> [Declaration] {
    switch purpose {
    case .pretraining: pretraining + shared
    case .fineTuning: fineTuning + shared
    }
  }

  private static let fineTuning: [Declaration] = [
    text("model", "model folder to start from", \.initFrom),
    text("train", "JSON Lines or a JSON list of examples", \.train),
    text("valid", "the same, to validate on", \.valid),
    number(
      "validation_fraction", "share of the examples that validates, by a hash of the question, without valid",
      \.validationFraction, 0...0.9),
    text(
      "chat_template", "chatml or a file: how conversations are laid out, for a model without a template",
      \.chatTemplate),
    boolean("train_on_prompt", "learn questions too, not the answers only", \.trainOnPrompt),
    Declaration(
      key: "iters", help: "steps, in place of epochs",
      read: { settings, value in
        guard let number = value.int, (1...1_000_000_000).contains(number) else {
          return "must be a whole number from 1 to 1000000000, is \(value.text())"
        }
        settings.iters = number
        settings.epochs = nil
        return nil
      }, write: { $0.epochs == nil ? .integer($0.iters) : .null }),
    optionalNumber("epochs", "how often each example is seen", \.epochs, 1e-6...1e6),
    integer("batch_size", "examples of one pass; packed, sequences", \.batchSize, 1...65_536),
    integer("block_size", "tokens of an example at most", \.blockSize, 1...1_048_576),
    boolean(
      "packing", "fill batch_size × block_size tokens with examples, each attending to itself", \.packing),
    boolean("lora", "learn adapters of low rank, and leave the model as it is", \.lora),
    integer("lora_rank", "of adapters", \.adapter.rank, 1...65_536),
    number("lora_alpha", "their scale times the rank", \.adapter.alpha, 1e-6...1e6),
    number("lora_dropout", "of what they read", \.adapter.dropout, 0...0.99),
    required("lora_targets", "all-linear, or ends of modules' names: q_proj,v_proj", \.adapter.targets),
    choice("lora_init", "default, or pissa: the principal components", \.adapter.initialization),
    integer(
      "answer_rows", "held-out questions to answer before and after; 0 for none", \.answerRows, 0...100_000),
    integer("answer_tokens", "tokens of an answer at most", \.answerTokens, 1...100_000),
  ]

  private static let pretraining: [Declaration] = [
    Declaration(
      key: "model", help: "fields of config.json for a new model: model_type, sizes, ...",
      read: { settings, value in
        guard let object = value.object else { return "must be a mapping of fields of config.json" }
        settings.model = object
        return nil
      }, write: { $0.model.map { .object($0) } ?? .null }),
    text("init_from", "model folder to start from, instead of model", \.initFrom),
    text("tokenizer", "folder of the tokenizer, or characters", \.tokenizer),
    text("train", "token file of data pack, or a text", \.train),
    text("valid", "token file or text to validate on", \.valid),
    number(
      "validation_fraction", "end of the training text that validates, without valid", \.validationFraction,
      0...0.9),
    integer("iters", "steps", \.iters, 1...1_000_000_000),
    integer("batch_size", "sequences of one pass", \.batchSize, 1...65_536),
    integer("block_size", "tokens of a sequence", \.blockSize, 1...1_048_576),
    number("init_std", "standard deviation of new matrices", \.initStd, 0...10),
    choice("order", "shuffled or random", \.order),
  ]

  private static let shared: [Declaration] = [
    text("out", "folder of the run", \.out),
    integer("grad_accumulation_steps", "passes of one step", \.gradAccumulationSteps, 1...32_768),
    number("learning_rate", "after the warm-up", \.learningRate, 0...10),
    number("min_learning_rate", "at the end", \.minLearningRate, 0...10),
    choice("schedule", "cosine, linear, constant or wsd", \.schedule),
    integer("warmup_iters", "steps of the warm-up", \.warmupIters, 0...1_000_000_000),
    optionalInteger(
      "decay_iters",
      "step that the decay ends at; with wsd how many it takes (default: iters; a fifth of them)",
      \.decayIters, 1...1_000_000_000),
    number("beta1", "AdamW", \.beta1, 0...0.999_999),
    number("beta2", "AdamW", \.beta2, 0...0.999_999_9),
    number("epsilon", "AdamW", \.epsilon, 0...1),
    number("weight_decay", "of matrices and tables", \.weightDecay, 0...10),
    number("grad_clip", "largest norm of all gradients; 0 for no limit", \.gradClip, 0...1e9),
    number("dropout", "of embeddings and residual branches", \.dropout, 0...0.99),
    optionalNumber(
      "attention_dropout", "of attention's weights (default: dropout)", \.attentionDropout, 0...0.99),
    number("label_smoothing", "share of probability spread evenly", \.labelSmoothing, 0...0.99),
    integer("seed", "of weights, order and dropout", \.seed, 0...Int(UInt32.max)),
    choice("precision", "f32, or bf16 for the operands of products with weights", \.precision),
    optionalInteger(
      "threads", "default: the cores that affinity and control group allow", \.threads, 1...1024),
    integer("steps_per_eval", "steps between validations; 0 for none", \.stepsPerEval, 0...1_000_000_000),
    integer("eval_batches", "batches of a validation; 0 for all", \.evalBatches, 0...1_000_000_000),
    integer(
      "save_every", "steps between checkpoints; 0 for the last one only", \.saveEvery, 0...1_000_000_000),
    integer("keep_last", "checkpoints to keep", \.keepLast, 1...10_000),
    text("sample_prompt", "text to continue at validations", \.samplePrompt),
    integer("sample_tokens", "tokens of a sample; 0 for none", \.sampleTokens, 0...100_000),
    number("sample_temperature", "of samples", \.sampleTemperature, 0.01...100),
    choice("on_spike", "stop or skip, at a loss that is no number or too high", \.onSpike),
    number("spike_factor", "times the average loss that is too high; 0 for no limit", \.spikeFactor, 0...1e6),
    boolean(
      "recompute", "compute activations again instead of keeping them: less memory, more time", \.recompute),
  ]

  /// Takes one setting.
  ///
  /// - Parameter source: what a message calls the file or the flags.
  /// - Throws: `TrainingError.setting`; for an unknown key with the nearest known one.
  package mutating func set(_ key: String, _ value: JSONValue, source: String) throws {
    let declarations = TrainingSettings.declarations(purpose)
    guard let declaration = declarations.first(where: { $0.key == key }) else {
      let nearest = TrainingSettings.nearest(key, among: declarations.map(\.key))
      throw TrainingError.setting(
        source: source, key: key, reason: "is no setting" + (nearest.map { "; did you mean \($0)?" } ?? ""))
    }
    if let reason = declaration.read(&self, value) {
      throw TrainingError.setting(source: source, key: key, reason: reason)
    }
  }

  /// Takes all settings of a file.
  package mutating func read(_ path: String) throws {
    let document = try YAML.load(path)
    guard let members = document.object?.members else {
      throw TrainingError.syntax(path: path, line: 1, reason: "must be a mapping of settings")
    }
    for member in members { try set(member.key, member.value, source: path) }
  }

  /// Every setting with its value.
  package var document: JSONValue {
    .object(
      JSONObject(
        TrainingSettings.declarations(purpose).map { .init(key: $0.key, value: $0.write(self)) }))
  }

  /// Takes settings that `document` wrote.
  package init(
    document: JSONValue, source: String, purpose: TrainingPurpose = .pretraining
  ) throws {
    self.init(purpose)
    for member in document.object?.members ?? [] where !member.value.isNull {
      try set(member.key, member.value, source: source)
    }
  }

  /// Text as a setting's value, as a file would have it.
  package static func value(_ text: String) -> JSONValue { YAML.plain(text) }

  /// The known word that differs least, when it is near at all.
  static func nearest(_ word: String, among words: [String]) -> String? {
    let wanted = Array(word.replacing("-", with: "_").utf8)
    let distances = words.map { (word: $0, distance: editDistance(wanted, Array($0.utf8))) }
    guard let best = distances.min(by: { $0.distance < $1.distance }),
      best.distance <= max(2, wanted.count / 3)
    else { return nil }
    return best.word
  }

  private static func editDistance(_ a: [UInt8], _ b: [UInt8]) -> Int {
    var row = Array(0...b.count)
    for (i, left) in a.enumerated() {
      var diagonal = row[0]
      row[0] = i + 1
      for (j, right) in b.enumerated() {
        let above = row[j + 1]
        row[j + 1] = left == right ? diagonal : min(diagonal, above, row[j]) + 1
        diagonal = above
      }
    }
    return row[b.count]
  }
}

// MARK: Kinds of settings

private typealias Settings = TrainingSettings
// Safe: a key path of a stored property of a value holds nothing that could change.
private struct Path<Value>: @unchecked Sendable {
  let path: WritableKeyPath<TrainingSettings, Value>
}

private func text(
  _ key: String, _ help: String, _ path: WritableKeyPath<Settings, String?>
) -> Settings.Declaration {
  let path = Path(path: path)
  return Settings.Declaration(
    key: key, help: help,
    read: { settings, value in
      switch value {
      case .string(let text): settings[keyPath: path.path] = text
      case .integer(let number): settings[keyPath: path.path] = String(number)
      default: return "must be a text, is \(value.kind)"
      }
      return nil
    }, write: { $0[keyPath: path.path].map { .string($0) } ?? .null })
}

private func required(
  _ key: String, _ help: String, _ path: WritableKeyPath<Settings, String>
) -> Settings.Declaration {
  let path = Path(path: path)
  return Settings.Declaration(
    key: key, help: help,
    read: { settings, value in
      // A list in YAML is as good as commas.
      let list = value.array?.compactMap(\.string)
      guard let text = value.string ?? list?.joined(separator: ","), list?.count == value.array?.count else {
        return "must be a text, is \(value.kind)"
      }
      settings[keyPath: path.path] = text
      return nil
    }, write: { .string($0[keyPath: path.path]) })
}

private func boolean(
  _ key: String, _ help: String, _ path: WritableKeyPath<Settings, Bool>
) -> Settings.Declaration {
  let path = Path(path: path)
  return Settings.Declaration(
    key: key, help: help,
    read: { settings, value in
      guard let flag = value.bool else { return "must be true or false, is \(value.text())" }
      settings[keyPath: path.path] = flag
      return nil
    }, write: { .bool($0[keyPath: path.path]) })
}

private func integer(
  _ key: String, _ help: String, _ path: WritableKeyPath<Settings, Int>, _ range: ClosedRange<Int>
) -> Settings.Declaration {
  let path = Path(path: path)
  return integer(
    key, help, range, read: { $0[keyPath: path.path] = $1 }, write: { $0[keyPath: path.path] })
}

private func optionalInteger(
  _ key: String, _ help: String, _ path: WritableKeyPath<Settings, Int?>, _ range: ClosedRange<Int>
) -> Settings.Declaration {
  let path = Path(path: path)
  return integer(
    key, help, range, read: { $0[keyPath: path.path] = $1 }, write: { $0[keyPath: path.path] })
}

private func integer(
  _ key: String, _ help: String, _ range: ClosedRange<Int>,
  read: @escaping @Sendable (inout Settings, Int) -> Void, write: @escaping @Sendable (Settings) -> Int?
) -> Settings.Declaration {
  Settings.Declaration(
    key: key, help: help,
    read: { settings, value in
      guard let number = value.int, range.contains(number) else {
        return "must be a whole number from \(range.lowerBound) to \(range.upperBound), is \(value.text())"
      }
      read(&settings, number)
      return nil
    }, write: { write($0).map { .integer($0) } ?? .null })
}

private func number(
  _ key: String, _ help: String, _ path: WritableKeyPath<Settings, Double>, _ range: ClosedRange<Double>
) -> Settings.Declaration {
  let path = Path(path: path)
  return number(
    key, help, range, read: { $0[keyPath: path.path] = $1 }, write: { $0[keyPath: path.path] })
}

private func optionalNumber(
  _ key: String, _ help: String, _ path: WritableKeyPath<Settings, Double?>, _ range: ClosedRange<Double>
) -> Settings.Declaration {
  let path = Path(path: path)
  return number(
    key, help, range, read: { $0[keyPath: path.path] = $1 }, write: { $0[keyPath: path.path] })
}

private func number(
  _ key: String, _ help: String, _ range: ClosedRange<Double>,
  read: @escaping @Sendable (inout Settings, Double) -> Void, write: @escaping @Sendable (Settings) -> Double?
) -> Settings.Declaration {
  Settings.Declaration(
    key: key, help: help,
    read: { settings, value in
      guard let number = value.double, range.contains(number) else {
        return "must be a number from \(range.lowerBound) to \(range.upperBound), is \(value.text())"
      }
      read(&settings, number)
      return nil
    }, write: { write($0).map { .number($0) } ?? .null })
}

private func choice<Choice: RawRepresentable & CaseIterable & Sendable>(
  _ key: String, _ help: String, _ path: WritableKeyPath<Settings, Choice>
) -> Settings.Declaration where Choice.RawValue == String {
  let path = Path(path: path)
  return Settings.Declaration(
    key: key, help: help,
    read: { settings, value in
      guard let chosen = value.string.flatMap(Choice.init(rawValue:)) else {
        return "must be one of \(Choice.allCases.map(\.rawValue).joined(separator: ", ")), is \(value.text())"
      }
      settings[keyPath: path.path] = chosen
      return nil
    }, write: { .string($0[keyPath: path.path].rawValue) })
}
