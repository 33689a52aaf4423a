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

      A reference is a folder with reference.json and reference.safetensors (see Tests/Reference). Logits are
      compared in one prefill, token by token through the cache, and in uneven chunks. What is skipped is said, and
      never counts as passed.

      Keys of --json: "holds", "passed", "failed", "skipped", and "checks", each with "case", "what",
      "largest_error", "allowed", "verdict" (passed, failed, skipped) and "detail".
      Exit status: 0 when all that ran holds, 1 when a check fails or nothing ran, 2 when the reference is unreadable.
      """)

  @OptionGroup var model: ModelOptions
  @OptionGroup var engine: EngineOptions

  @Argument(help: "The reference's folder.")
  var reference: String

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let reference = try Reference.load(from: reference)
    let model = try LanguageModel.load(from: try model.resolvedFolder())
    let verifier = Verifier(
      reference: reference, decoder: model.decoder, tokenizer: model.tokenizer,
      generationConfiguration: model.generationConfiguration, engine: try engine.makeEngine())
    let report = try verifier.run()
    try StandardStreams.write(json ? report.json.text(.indented) + "\n" : table(report))
    if !report.holds { throw ExitCode(1) }
  }

  private func table(_ report: VerificationReport) -> String {
    var rows = [["case", "what", "largest error", "allowed", "verdict"]]
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
        check.allowed.map(scientific) ?? (isSkipped ? "" : "exact"), verdict,
      ])
    }
    let widths = (0..<4).map { column in rows.map { $0[column].count }.max()! }
    var text = rows.map { row in
      zip(row, widths).map { $0 + String(repeating: " ", count: $1 - $0.count) }.joined(separator: "  ")
        + "  " + row[4] + "\n"
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
