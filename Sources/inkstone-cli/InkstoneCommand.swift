import ArgumentParser
import Foundation
import Inkstone

/// The program: parses, dispatches, and turns every error into one line and an exit status.
@main
struct InkstoneCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "inkstone",
    abstract: "Generate text with a GPT on an ordinary CPU.",
    discussion: """
      Examples:
        inkstone "人工智能是" --max-length 50 --num-beams 5 \\
          --no-repeat-ngram-size 2 --early-stopping
        inkstone -m MODEL "Once upon a time" -n 100 --temp 0.8 --seed 7
        echo "人工智能是" | inkstone --json
        inkstone chat -m MODEL --system "Answer briefly."
        inkstone verify -m MODEL MODEL/reference
        inkstone doctor

      MODEL is a folder in Hugging Face's layout, a GGUF file, or the name of a
      bundled model; without -m it is INKSTONE_MODEL, then \(BundledModels.standardName).
      Exit status: 0 done, 1 a check failed, 2 bad use or input, 130 interrupted.
      """,
    version: versionText,
    subcommands: [
      GenerateCommand.self, ChatCommand.self, ScoreCommand.self, PerplexityCommand.self, TokenizeCommand.self,
      DetokenizeCommand.self, InspectCommand.self, ConvertCommand.self, QuantizeCommand.self,
      VerifyCommand.self,
      EvalCommand.self, TrainCommand.self, FinetuneCommand.self, FuseCommand.self, ReportCommand.self,
      BenchCommand.self, DoctorCommand.self, TokenizerCommand.self, DataCommand.self,
      CompletionCommand.self, ManualCommand.self,
    ],
    defaultSubcommand: GenerateCommand.self)

  /// What `--version` prints.
  private static var versionText: String {
    """
    inkstone \(inkstoneVersion)
    BLAS: OpenBLAS \(BLAS.version), core type \(BLAS.coreType)
    instruction set: \(ProcessorFeatures.current.compiledIn.joined(separator: " "))
    """
  }

  /// The parser's words in one line, with the help that explains them.
  private static func usageMessage(for error: any Error) -> String {
    let words = message(for: error).split(whereSeparator: \.isNewline).map(String.init)
    let help = fullMessage(for: error).split(whereSeparator: \.isNewline).last { $0.contains("--help'") }
    let hint = help.map { "; " + $0.trimmingPrefix { $0 == " " }.replacing("See '", with: "see '") } ?? ""
    return words.joined(separator: " ") + hint
  }

  /// Refuses what a variable says and nobody understands: figures would be taken for another product's.
  private static func checkVariables() throws {
    let variables = ProcessInfo.processInfo.environment
    if let value = variables[AMX.variable], !["", "0", "1"].contains(value) {
      throw ValidationError("\(AMX.variable) is \"\(value)\", not 0 or 1; choose one or unset it")
    }
    let variable = MatrixMultiplier.variable
    guard let name = variables[variable], !name.isEmpty,
      MatrixMultiplier(available: name) == nil
    else { return }
    throw ValidationError("\(variable) is \"\(name)\", not \(MatrixMultiplier.names); choose one or unset it")
  }

  static func main() async {
    BLAS.endThreadsOfItsOwn()
    StandardStreams.ignoreClosedPipes()
    let arguments = ArgumentNormalization.normalize(Array(CommandLine.arguments.dropFirst()))
    var parsed: (any ParsableCommand)?
    do {
      // Alone at a terminal, somebody wants to know what to do; in a pipe there is a prompt to come.
      if arguments.isEmpty, StandardStreams.isInputTerminal { return try Welcome.show() }
      var command = try parseAsRoot(arguments)
      parsed = command
      // What is wrong with a variable is for doctor to say.
      if !(command is DoctorCommand) { try checkVariables() }
      if var asynchronous = command as? any AsyncParsableCommand {
        try await asynchronous.run()
      } else {
        try command.run()
      }
    } catch let code as ExitCode {
      exit(withError: code)
    } catch {
      let code = exitCode(for: error)
      if code == .success {
        exit(withError: error)
      } else if code == .validationFailure {
        StandardStreams.report(usageMessage(for: error))
      } else {
        StandardStreams.report((parsed as? any ModelCommand)?.message(for: error) ?? "\(error)")
      }
      exit(withError: ExitCode(2))
    }
  }
}
