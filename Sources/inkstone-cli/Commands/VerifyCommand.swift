import ArgumentParser
import Inkstone

/// `inkstone verify`: replay a reference and compare.
struct VerifyCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "verify",
    abstract: "Check a model's numbers against a reference.",
    discussion: """
      Examples:
        inkstone verify -m MODEL MODEL/reference
        inkstone verify -m MODEL MODEL/reference --engine naive --json
        inkstone verify -m MODEL --record frozen      # freeze today's numbers ...
        inkstone verify -m MODEL frozen               # ... and compare later

      A reference is a folder with reference.json and reference.safetensors (see
      Tests/Reference). Logits are compared in one prefill, token by token through
      the cache, and in uneven chunks. What is skipped is said, and never counts as
      passed. --record writes a reference of the present engine: prompts drawn from
      --seed and, where the model has a tokeniser, from --text.

      Keys of --json: "holds", "passed", "failed", "skipped", and "checks", each with
      "case", "what", "largest_error", "allowed", "kl_divergence" and
      "best_token_agreement" (for logits), "verdict" (passed, failed, skipped) and
      "detail".
      Exit status: 0 when all that ran holds, 1 when a check fails or nothing ran, 2
      when the reference is unreadable.
      """)

  @OptionGroup var model: ModelOptions
  @OptionGroup var adapter: AdapterOptions
  @OptionGroup var engine: EngineOptions

  @Argument(help: "The reference's folder.")
  var reference: String?

  @Option(help: ArgumentHelp("Write a reference of this model and engine instead.", valueName: "folder"))
  var record: String?

  @Option(
    help: ArgumentHelp(
      "With --record: a file whose opening becomes a prompt (repeatable).", valueName: "path"))
  var text: [String] = []

  @Option(help: ArgumentHelp("With --record: chooses the random prompts.", valueName: "n"))
  var seed = 1

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    if (reference == nil) == (record == nil) {
      throw ValidationError(
        "give either a reference to check against, or --record with a folder to write one to")
    }
  }

  func run() throws {
    if let record { return try write(to: record) }
    let reference = try Reference.load(from: self.reference ?? "")
    let folder = try model.resolvedFolder()
    let model = try engine.load(folder, adapter: adapter.lora)
    let verifier = Verifier(
      reference: reference, decoder: model.decoder, tokenizer: model.tokenizer,
      generationConfiguration: model.generationConfiguration, engine: model.engine, folder: folder)
    let report = try verifier.run()
    try StandardStreams.write(json ? report.json.text(.indented) + "\n" : table(report))
    if !report.holds { throw ExitCode(1) }
  }

  private func write(to folder: String) throws {
    let model = try engine.load(try model.resolvedFolder(), adapter: adapter.lora)
    var texts = ["人工智能是", "Once upon a time, there was a little girl who"]
    for path in text {
      let bytes = try readFile(path)
      guard let opening = String(validating: bytes, as: UTF8.self) else {
        throw UsageError("\(path): is not UTF-8 text")
      }
      texts.append(String(opening.prefix(2000)))
    }
    let engine = model.engine
    let generator: JSONValue = [
      "inkstone": .string(inkstoneVersion), "engine": .string(engine.name),
      "blas": .string("OpenBLAS \(BLAS.version) \(BLAS.coreType)"),
    ]
    let recorder = Recorder(
      decoder: model.decoder, tokenizer: model.tokenizer,
      generationConfiguration: model.generationConfiguration,
      engine: engine)
    try Recorder.record(recorder, to: folder, texts: texts, seed: seed, generator: generator)
    Diagnostics.log.notice("wrote \(folder)/reference.json and reference.safetensors")
  }

  private func table(_ report: VerificationReport) -> String {
    var rows = [["case", "what", "largest error", "allowed", "KL", "same best", "verdict"]]
    for check in report.checks {
      let isSkipped = if case .skipped = check.verdict { true } else { false }
      let verdict =
        switch check.verdict {
        case .passed: "passed"
        case .failed(let place): "FAILED: \(place)"
        case .skipped(let reason): "skipped: \(reason)"
        }
      rows.append([
        check.caseName, check.subject, check.largestError.map(scientific) ?? "",
        check.allowed.map(scientific) ?? (isSkipped ? "" : "exact"),
        check.distance.map { scientific($0.meanDivergence) } ?? "",
        check.distance.map { "\(($0.agreement * 1000).rounded() / 10) %" } ?? "", verdict,
      ])
    }
    let widths = (0..<6).map { column in rows.map { $0[column].count }.max()! }
    var text = rows.map { row in
      zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: "  ")
        + "  " + row[6] + "\n"
    }.joined()
    text += "\n\(report.passedCount) passed, \(report.failedCount) failed, \(report.skippedCount) skipped\n"
    return text
  }

  /// Two digits and an exponent.
  private func scientific(_ value: Double) -> String {
    guard value.isFinite, value > 0 else { return "\(value)" }
    var exponent = 0
    var mantissa = value
    while mantissa >= 9.95 {
      mantissa /= 10
      exponent += 1
    }
    while mantissa < 0.995 {
      mantissa *= 10
      exponent -= 1
    }
    return "\((mantissa * 10).rounded() / 10)e\(exponent)"
  }
}
