import ArgumentParser

/// `inkstone tokenizer`: what is done to tokenizers themselves.
struct TokenizerCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenizer",
    abstract: "Learn a tokenizer from text.",
    discussion: """
      Examples:
        inkstone tokenizer train corpus.txt --vocab-size 8000 -o tokenizer
      """,
    subcommands: [TokenizerTrainCommand.self])
}
