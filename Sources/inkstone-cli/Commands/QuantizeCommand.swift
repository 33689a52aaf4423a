import ArgumentParser
import Foundation
import Inkstone
import Training

/// `inkstone quantize`: a model with smaller weights, and what that costs.
struct QuantizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "quantize",
    abstract: "Write a model with weights of fewer bits, and measure what that costs.",
    discussion: """
      Examples:
        inkstone quantize -m MODEL -o model-q8_0.gguf --dtype q8_0
        inkstone quantize -m MODEL -o model-q4_K.gguf --dtype q4_K --evaluate book.txt
        inkstone quantize -m MODEL -o model-q4_0.gguf --dtype q4_0 --gptq \\
          --calibration train.txt --evaluate book.txt
        inkstone quantize -m MODEL -o FOLDER --dtype bf16

      The output is a GGUF file that llama.cpp loads, or for f16 and bf16 a folder
      with safetensors. Weights are rounded to the nearest, block by block; the head
      gets more bits than 4 or 5, in q4_K some other matrices too, and rows that
      blocks do not divide fall back, all as in llama.cpp.

      --gptq (arXiv:2210.17323; q4_0 and q8_0) runs the calibration text through the
      model and rounds column by column, so that later columns make up for the errors
      of earlier ones. --tune then goes over the text again and moves the blocks'
      scales to where the model says what it said before (arXiv:2407.11062), unless
      that helps nothing on an eighth of the text that is held out; it takes the
      memory of training, three times the weights as f32 and more.

      --evaluate measures the perplexity of a text, best not the calibration text: of
      the weights as they were, with --gptq as rounding to nearest leaves them, and as
      the file has them. Beside it stand how far the distributions over the next token
      are from the original's (KL divergence, in nats) and how often the most likely
      token is the same.

      Keys of --json: "output", "type", "bytes"; with --gptq "calibration_tokens" and
      "rounded_matrices"; with --tune "tuned_scales", 0 where the new ones were not
      kept, and "divergence" from the original model, "before" and "after"; with
      --evaluate "tokens", "perplexity" with "before", "after" and with --gptq
      "nearest", and "kl_divergence" and "best_token_agreement" (a share) with
      "after" and "nearest".
      """)

  /// What is written.
  enum Format: String, ExpressibleByArgument, CaseIterable {
    case gguf, safetensors
  }

  @OptionGroup var model: ModelOptions

  @Option(
    name: [.short, .customLong("output")],
    help: ArgumentHelp("The file, or the folder for safetensors.", valueName: "path"))
  var output: String

  @Option(
    help: ArgumentHelp(
      WeightType.allCases.map(\.rawValue).joined(separator: ", ") + ".", valueName: "type"))
  var dtype: WeightType

  @Option(
    help:
      "gguf, or safetensors for f16 and bf16 (default: gguf where --output ends in .gguf or the type needs it)."
  )
  var format: Format?

  @Flag(help: "Round with error feedback instead of to the nearest.")
  var gptq = false

  @Option(help: ArgumentHelp("A text like those the model is for, UTF-8.", valueName: "file"))
  var calibration: String?

  @Option(
    help: ArgumentHelp(
      "Tokens of the calibration text that are used, in windows spread over it.", valueName: "n"))
  var calibrationTokens = 32_768

  @Option(
    help: ArgumentHelp(
      """
      Passes over the calibration text that tune scales (default: 2 for q4_0 and a folder with a dense model of up \
      to 2^30 weights, else 0).
      """, valueName: "n"))
  var tune: Int?

  @Option(help: ArgumentHelp("Measure the perplexity of this text before and after.", valueName: "file"))
  var evaluate: String?

  @Option(
    name: [.customShort("t"), .customLong("threads")],
    help: "Threads (default: the cores that affinity and control group allow).")
  var threads: Int?

  @Flag(help: "Print one JSON object.")
  var json = false

  @Flag(name: .shortAndLong, help: "Say nothing on standard error but errors.")
  var quiet = false

  func validate() throws {
    if gptq, !ErrorFeedback.types.contains(dtype) {
      throw ValidationError(
        "--gptq rounds to \(ErrorFeedback.types.map(\.rawValue).joined(separator: " or ")), not \(dtype.rawValue)"
      )
    }
    if gptq != (calibration != nil) {
      throw ValidationError(
        gptq ? "--gptq needs a --calibration text" : "--calibration is for --gptq; add it")
    }
    if resolvedFormat == .safetensors, CheckpointExport.OutputType(rawValue: dtype.rawValue) == nil {
      throw ValidationError(
        "safetensors hold f16 or bf16; for \(dtype.rawValue) leave --format out or give gguf")
    }
    if let tune {
      guard gptq else { throw ValidationError("--tune is for --gptq; add it") }
      guard (0...1000).contains(tune) else {
        throw ValidationError("--tune must be from 0 to 1000, is \(tune)")
      }
    }
    guard calibrationTokens >= 64 else {
      throw ValidationError("--calibration-tokens must be 64 or more, is \(calibrationTokens)")
    }
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads must be from 1 to 1024, is \(threads)")
    }
  }

  private var resolvedFormat: Format {
    format
      ?? (output.hasSuffix(".gguf") || CheckpointExport.OutputType(rawValue: dtype.rawValue) == nil
        ? .gguf : .safetensors)
  }

  func run() throws {
    Diagnostics.configure(verbose: false, quiet: quiet)
    Interruption.install()
    let source = try model.resolvedFolder()
    if resolvedFormat == .gguf, folderExists(output) {
      throw UsageError("\(output): is a folder; give the path of a file")
    }
    // Texts are read first, so that a wrong path is told before anything is computed.
    let evaluation = try evaluate.map { (try readFile($0), $0) }
    let calibrationText = try calibration.map { (try readFile($0), $0) }
    let threadCount = threads ?? WorkerPool.defaultThreadCount()
    var members: [JSONObject.Member] = []

    var quantized: ModelQuantizer.Result?
    var tuned: ScaleTuning.Result?
    let passes = gptq ? try tuningPasses(source) : 0
    if let (bytes, name) = calibrationText {
      let windows = try calibrationWindows(source, bytes, name)
      quantized = try ModelQuantizer.quantize(
        model: source, as: dtype, calibration: windows, threadCount: threadCount
      ) { showProgress("block \($0) of \($1)") }
      endProgress()
      guard let quantized else { throw ExitCode(Interruption.exitStatus) }
      members += [
        .init(key: "calibration_tokens", value: .integer(windows.reduce(0) { $0 + $1.count })),
        .init(key: "rounded_matrices", value: .integer(quantized.count)),
      ]
      if quantized.count == 0 {
        Diagnostics.log.warning(
          "\(source): no matrix has rows that blocks of \(dtype.rawValue) divide; nothing is rounded with feedback"
        )
      } else if passes > 0 {
        let result = try ScaleTuning.tune(
          quantized, model: source, calibration: windows, passes: passes, threadCount: threadCount
        ) { showProgress("tuning: window \($0) of \($1)") }
        endProgress()
        guard let result else { throw ExitCode(Interruption.exitStatus) }
        members += [
          .init(key: "tuned_scales", value: .integer(result.isKept ? result.scaleCount : 0)),
          .init(
            key: "divergence",
            value: .object(
              JSONObject([
                .init(key: "before", value: .number(result.before)),
                .init(key: "after", value: .number(result.after)),
              ]))),
        ]
        tuned = result
      }
    }
    let notes: [String]
    switch resolvedFormat {
    case .gguf:
      notes = try ModelConversion.writeGGUF(
        from: source, to: output, as: GGUFExport.OutputType(dtype), quantized: quantized)
    case .safetensors:
      try ConvertCommand.refuseExistingModel(output)
      guard let type = CheckpointExport.OutputType(rawValue: dtype.rawValue) else {
        preconditionFailure("\(dtype.rawValue) passed for a type of safetensors")
      }
      notes = try ModelConversion.writeFolder(from: source, to: output, as: type)
    }
    for note in notes { Diagnostics.log.notice("\(source): \(note)") }

    let bytes = try Decoder.weightByteCount(of: output)
    var rows = [
      (
        "weights",
        "\(byteText(bytes)), \(byteText(try Decoder.weightByteCount(of: source, format: .float32))) as f32"
      )
    ]
    members =
      [
        .init(key: "output", value: .string(output)), .init(key: "type", value: .string(dtype.rawValue)),
        .init(key: "bytes", value: .integer(bytes)),
      ] + members
    if let tuned {
      let change = String(format: "divergence %.4g to %.4g nats", tuned.before, tuned.after)
      rows.append(
        (
          "tuned",
          (tuned.isKept ? "\(tuned.scaleCount) scales, " : "nothing was gained, scales stay: ") + change
        ))
    }
    if let (bytes, name) = evaluation {
      var formats = [("after", output, WeightFormat.asStored)]
      if quantized != nil { formats.insert(("nearest", source, .packed(dtype)), at: 0) }
      let (before, others) = try measure(
        source, beside: formats.map { ($0.1, $0.2) }, bytes, name, threadCount)
      func text(_ value: ComparedModel) -> String {
        let change = (value.perplexity.perplexity / before.perplexity - 1) * 100
        return fixed(value.perplexity.perplexity, width: 0) + "  " + (change < 0 ? "" : "+")
          + String(
            format: "%.3f %%  KL divergence %.4g nats, same best token %.2f %%", change,
            value.distance.meanDivergence, value.distance.agreement * 100)
      }
      let named = zip(formats.map(\.0), others)
      rows.append(("before", fixed(before.perplexity, width: 0)))
      rows += named.map { ($0, text($1)) }
      rows.append(("tokens", "\(before.tokenCount)"))
      func object(_ members: [JSONObject.Member], _ value: (ComparedModel) -> Double) -> JSONValue {
        .object(JSONObject(members + named.map { .init(key: $0, value: .number(value($1))) }))
      }
      members += [
        .init(key: "tokens", value: .integer(before.tokenCount)),
        .init(
          key: "perplexity",
          value: object([.init(key: "before", value: .number(before.perplexity))]) {
            $0.perplexity.perplexity
          }
        ),
        .init(key: "kl_divergence", value: object([]) { $0.distance.meanDivergence }),
        .init(key: "best_token_agreement", value: object([]) { $0.distance.agreement }),
      ]
    }
    if json {
      try StandardStreams.write(JSONValue.object(JSONObject(members)).text() + "\n")
    } else {
      try StandardStreams.write(
        rows.map { $0.0 + String(repeating: " ", count: 10 - $0.0.count) + $0.1 + "\n" }.joined())
    }
  }

  private var showsProgress: Bool { !quiet && StandardStreams.isErrorTerminal }

  /// Says how far the work is, on a terminal; returns whether to go on.
  private func showProgress(_ text: String) -> Bool {
    if showsProgress { StandardStreams.showProgress(text) }
    return !Interruption.flag.isRaised
  }

  private func endProgress() { if showsProgress { StandardStreams.showProgress("") } }

  /// Passes over the calibration text that tune scales.
  ///
  /// - Throws: before anything is computed, for a model that cannot be tuned where that is asked for.
  private func tuningPasses(_ source: String) throws -> Int {
    if tune == 0 || (tune == nil && dtype != .q4_0) { return 0 }
    guard folderExists(source) else {
      guard tune == nil else {
        throw UsageError(
          "\(source): scales are tuned of a model in Hugging Face's layout; give its folder, or --tune 0")
      }
      return 0
    }
    let description = try ModelDescription.load(from: source)
    let isMixture = description.configuration.experts != nil
    if let tune {
      guard !isMixture else {
        throw UsageError("\(source): scales of a mixture of experts are not tuned; give --tune 0")
      }
      return tune
    }
    return isMixture || description.parameterCounts.total > 1 << 30 ? 0 : 2
  }

  /// The calibration text in windows that the model can run.
  private func calibrationWindows(_ source: String, _ bytes: [UInt8], _ name: String) throws -> [[Int]] {
    let context = try ModelDescription.load(from: source).configuration.contextLength
    let tokens = try tokens(try tokenizer(of: source), bytes, name)
    let window = min(context, 512, calibrationTokens)
    guard tokens.count >= 16 else {
      throw UsageError("\(name): \(tokens.count) tokens are too few to calibrate with; give a longer text")
    }
    // A text is rarely alike from its start to its end: windows of a long one lie evenly apart.
    let count = min((tokens.count + window - 1) / window, calibrationTokens / window)
    let spread = tokens.count > calibrationTokens ? tokens.count - window : (count - 1) * window
    return (0..<count).map { index in
      let start = count > 1 ? spread * index / (count - 1) : 0
      return Array(tokens[start..<min(start + window, tokens.count)])
    }
  }

  private func tokenizer(of source: String) throws -> Tokenizer {
    guard Tokenizer.exists(in: source) else {
      throw UsageError("\(source) holds no tokenizer; a text cannot be used without one")
    }
    return try Tokenizer.load(from: source)
  }

  private func tokens(_ tokenizer: Tokenizer, _ bytes: [UInt8], _ name: String) throws -> [Int] {
    do {
      return try bytes.withUnsafeBufferPointer { try tokenizer.encode(utf8: $0, addSpecialTokens: true) }
    } catch {
      throw UsageError("\(name): \(error)")
    }
  }

  /// The perplexity of a text with a model as it was, and of others beside it.
  private func measure(
    _ source: String, beside others: [(model: String, format: WeightFormat)], _ bytes: [UInt8],
    _ name: String, _ threadCount: Int
  ) throws -> (Perplexity, [ComparedModel]) {
    let engine = BLASEngine(threadCount: threadCount)
    func scorer(_ model: String, _ format: WeightFormat) throws -> (Scorer, context: Int) {
      let decoder = try Decoder.load(from: model, format: format, threadCount: threadCount)
      return (Scorer(decoder: decoder, engine: engine), decoder.configuration.contextLength)
    }
    // One tokenizer for all, the original's.
    let tokens = try tokens(try tokenizer(of: source), bytes, name)
    guard tokens.count > 1 else {
      throw UsageError("\(name): \(ScoringError.tooShort(tokens: tokens.count))")
    }
    let (original, context) = try scorer(source, .float32)
    let compared = try others.map { try scorer($0.model, $0.format).0 }
    let result: (own: Perplexity, others: [ComparedModel])?
    do {
      result = try original.comparison(
        with: compared, of: tokens, byteCount: bytes.count, window: min(context, 512)
      ) { showProgress("evaluation: \($0) of \(tokens.count - 1) tokens") }
    } catch ScoringError.invalidLogits {
      endProgress()
      throw UsageError("\(source), or what was made of it: \(ScoringError.invalidLogits)")
    }
    endProgress()
    guard let result else { throw ExitCode(Interruption.exitStatus) }
    return (result.own, result.others)
  }
}

extension WeightType: ExpressibleByArgument {
  /// Reads a name of `--dtype`, in capitals or not.
  public init?(argument: String) {
    guard let type = WeightType.allCases.first(where: { $0.rawValue.lowercased() == argument.lowercased() })
    else { return nil }
    self = type
  }
}
