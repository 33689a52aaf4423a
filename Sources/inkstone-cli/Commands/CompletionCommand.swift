import ArgumentParser
import Inkstone

/// `inkstone completion`: what makes a shell complete commands and flags.
struct CompletionCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "completion",
    abstract: "Print the completion script of a shell: bash, zsh or fish.",
    discussion: """
      Examples:
        source <(inkstone completion bash)
        inkstone completion zsh > ~/.zfunc/_inkstone
        inkstone completion fish > ~/.config/fish/completions/inkstone.fish

      make install puts all three where the shells look for them. For zsh the folder
      must be in fpath before compinit runs.
      """)

  /// The shells there are scripts for.
  enum Shell: String, ExpressibleByArgument, CaseIterable {
    case bash, zsh, fish

    var parserShell: CompletionShell {
      switch self {
      case .bash: .bash
      case .zsh: .zsh
      case .fish: .fish
      }
    }
  }

  @Argument(help: "The shell.")
  var shell: Shell

  func run() throws {
    try StandardStreams.write(InkstoneCommand.completionScript(for: shell.parserShell) + "\n")
  }
}
