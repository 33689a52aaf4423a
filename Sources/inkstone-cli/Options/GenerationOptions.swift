import ArgumentParser
import Inkstone

extension GenerationConfiguration.SamplerOrder: ExpressibleByArgument {}

/// How to generate; every flag left out comes from `--generation-config`, the model, or the defaults.
struct GenerationOptions: ParsableArguments {
  /// The values of `--early-stopping`.
  enum EarlyStopping: String, ExpressibleByArgument, CaseIterable {
    case `true`, `false`, never

    var setting: GenerationConfiguration.EarlyStopping {
      switch self {
      case .true: .whenFull
      case .false: .heuristic
      case .never: .never
      }
    }
  }

  // MARK: Length

  @Option(
    name: [
      .customShort("n"), .customLong("max-new-tokens"), .customLong("n-predict"), .customLong("max-tokens"),
    ],
    help: ArgumentHelp("Tokens to generate.", valueName: "n"))
  var maxNewTokens: Int?

  @Option(help: ArgumentHelp("Tokens of prompt and output together.", valueName: "n"))
  var maxLength: Int?

  @Option(help: ArgumentHelp("Tokens to generate before an end token may come.", valueName: "n"))
  var minNewTokens: Int?

  @Option(help: ArgumentHelp("Tokens of prompt and output before an end token may come.", valueName: "n"))
  var minLength: Int?

  @Option(help: ArgumentHelp("Stop after this many seconds.", valueName: "seconds"))
  var maxTime: Double?

  @Option(
    name: [.customLong("stop"), .customShort("r"), .customLong("reverse-prompt")],
    help: ArgumentHelp("Stop where this text appears, and leave it out (repeatable).", valueName: "text"))
  var stop: [String] = []

  @Flag(help: "Never generate an end token.")
  var ignoreEos = false

  // MARK: Sampling

  @Flag(inversion: .prefixedNo, help: "Draw tokens at random instead of taking the best.")
  var doSample: Bool?

  @Option(
    name: [.customLong("temp"), .customLong("temperature")],
    help: ArgumentHelp("Temperature; implies --do-sample, 0 means greedy.", valueName: "t"))
  var temperature: Double?

  @Option(help: ArgumentHelp("Keep the k best tokens; 0 keeps all.", valueName: "k"))
  var topK: Int?

  @Option(help: ArgumentHelp("Keep the best tokens that make up this probability.", valueName: "p"))
  var topP: Double?

  @Option(help: ArgumentHelp("Drop tokens below this share of the best one's probability.", valueName: "p"))
  var minP: Double?

  @Option(
    name: [.customLong("typical"), .customLong("typical-p")],
    help: ArgumentHelp("Keep the most typical tokens that make up this probability.", valueName: "p"))
  var typical: Double?

  @Option(help: ArgumentHelp("Drop tokens below this probability.", valueName: "p"))
  var epsilonCutoff: Double?

  @Option(help: ArgumentHelp("The same, relative to the entropy.", valueName: "p"))
  var etaCutoff: Double?

  @Option(help: ArgumentHelp("Keep tokens up to this share of the entropy.", valueName: "h"))
  var topH: Double?

  @Option(
    name: [.customShort("s"), .customLong("seed")],
    help: ArgumentHelp("Where the random stream starts (default: a new one each time).", valueName: "n"))
  var seed: UInt64?

  @Option(help: ArgumentHelp("transformers, or llama.cpp (temperature last).", valueName: "order"))
  var samplerOrder: GenerationConfiguration.SamplerOrder?

  // MARK: Repetition and constraints

  @Option(
    name: [.customLong("repetition-penalty"), .customLong("repeat-penalty")],
    help: ArgumentHelp("Make tokens less likely that were seen before; 1 is neutral.", valueName: "x"))
  var repetitionPenalty: Double?

  @Option(help: ArgumentHelp("Tokens that the penalty looks back at; -1 is all.", valueName: "n"))
  var repeatLastN: Int?

  @Option(help: ArgumentHelp("Let no n-gram of this size occur twice; 0 is off.", valueName: "n"))
  var noRepeatNgramSize: Int?

  // MARK: Beams

  @Option(help: ArgumentHelp("Hypotheses of beam search; 1 is off.", valueName: "n"))
  var numBeams: Int?

  @Option(help: ArgumentHelp("Exponent of the length that a beam's score is divided by.", valueName: "x"))
  var lengthPenalty: Double?

  @Option(
    help: ArgumentHelp(
      "End beam search when it is full (true, also without a value), by a heuristic (false), or only when nothing "
        + "can improve (never).", valueName: "when"))
  var earlyStopping: EarlyStopping?

  @Option(help: ArgumentHelp("Sequences to return.", valueName: "n"))
  var numReturnSequences: Int?

  // MARK: A file of settings

  @Option(
    help: ArgumentHelp(
      "Settings in the form of generation_config.json; flags go over them.", valueName: "path"))
  var generationConfig: String?

  /// The settings of flags and file together.
  func configuration() throws -> GenerationConfiguration {
    var flags = GenerationConfiguration()
    flags.maximumNewTokens = maxNewTokens
    flags.maximumLength = maxLength
    flags.minimumNewTokens = minNewTokens
    flags.minimumLength = minLength
    flags.maximumTime = maxTime
    flags.stopStrings = stop.isEmpty ? nil : stop
    flags.ignoresEndTokens = ignoreEos ? true : nil
    flags.samples = doSample ?? temperature.map { $0 > 0 }
    flags.temperature = temperature
    flags.topK = topK
    flags.topP = topP
    flags.minimumP = minP
    flags.typicalP = typical
    flags.epsilonCutoff = epsilonCutoff
    flags.etaCutoff = etaCutoff
    flags.topH = topH
    flags.seed = seed
    flags.samplerOrder = samplerOrder
    flags.repetitionPenalty = repetitionPenalty
    flags.repetitionPenaltyWindow = repeatLastN
    flags.noRepeatNGramSize = noRepeatNgramSize
    flags.beamCount = numBeams
    flags.lengthPenalty = lengthPenalty
    flags.earlyStopping = earlyStopping?.setting
    flags.returnedSequenceCount = numReturnSequences
    try flags.validate()
    guard let path = generationConfig else { return flags }
    return flags.merged(over: try GenerationConfiguration(json: JSONDocument.load(path), source: path))
  }

  func validate() throws {
    if doSample == false, let temperature, temperature > 0 {
      throw ValidationError("--no-do-sample and --temp \(temperature) contradict each other; keep one")
    }
    if doSample == true, temperature == 0 {
      throw ValidationError("--do-sample and --temp 0 contradict each other: a temperature of 0 means greedy")
    }
  }
}
