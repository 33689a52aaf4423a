import ArgumentParser
import Inkstone

/// `inkstone doctor`: what this build and this machine offer, and where they disagree.
struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "Show the BLAS, threads and instruction sets in use, and what to mend.",
    discussion: """
      Examples:
        inkstone doctor
        inkstone doctor --json

      Keys of --json: "version"; "blas" with "library", "version",
      "configuration", "core_type", "parallelism"; "products"; "amx";
      "lapack"; "threads"; "cpu" with "brand", "compiled_in", "offered";
      "environment"; "warnings", each with "problem" and "fix". The exit status is 0 with and without warnings.
      """)

  @OptionGroup var engine: EngineOptions

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let diagnosis = Diagnosis(threadCount: try engine.resolvedThreadCount())
    try StandardStreams.write((json ? diagnosis.json.text(.indented) : diagnosis.text) + "\n")
  }
}
