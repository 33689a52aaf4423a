import ArgumentParser

/// `inkstone data`: text on its way to training.
struct DataCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "data",
    abstract: "Prepare text for training: clean, dedup, filter, pack.",
    discussion: """
      Examples:
        inkstone data clean raw/*.txt -o clean.txt
        inkstone data dedup clean.txt -o unique.txt --report dedup.json
        inkstone data filter unique.txt -o good.txt --language han
        inkstone data pack good.txt -m MODEL -o packed
      """,
    subcommands: [DataCleanCommand.self, DataDedupCommand.self, DataFilterCommand.self, DataPackCommand.self])
}
