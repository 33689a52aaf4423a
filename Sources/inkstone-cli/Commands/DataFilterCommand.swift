import ArgumentParser
import Corpora
import Inkstone

/// `inkstone data filter`: documents that are good enough.
struct DataFilterCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "filter",
    abstract: "Keep documents by length, symbols, repetition, language and words.",
    discussion: """
      Examples:
        inkstone data filter corpus.jsonl -o good.jsonl --report filter.json
        inkstone data filter corpus.txt --rules gopher --language zh \\
          --limit min-words=10 --limit max-words=off -o good.txt
        inkstone data filter corpus.txt --rules none \\
          --forbidden-words bad.txt -o good.txt

      Rules and their limits, as in the papers; --limit changes one:
      \(DataFilterCommand.limits)
      A word is what spaces separate; in scripts without spaces two
      characters count as one, and the length of words is not judged.
      min-stop-words (English ones) is for texts in Latin letters. The last
      four have no number: 1 is on. Rules about lines take lines out, the
      others documents. --language is told by the script: zh, ja, ko, en,
      ru, ar, … or a script such as han or latin.
      """)

  /// The limits with the papers' values, for the help.
  private static var limits: String {
    FilterConfiguration.RuleSet.allCases.map { set in
      let limits = FilterConfiguration.Limit.allCases.filter { $0.ruleSet == set }
      let lines = limits.map { limit in
        let value = limit.standard
        let text = value == value.rounded() ? "\(Int(value))" : "\(value)"
        return "  \(set.rawValue)  \(limit.rawValue)"
          + String(repeating: " ", count: 31 - limit.rawValue.count) + text
      }
      return lines.joined(separator: "\n")
    }.joined(separator: "\n")
  }

  @OptionGroup var corpus: CorpusOptions
  @OptionGroup var destination: CorpusOutputOptions

  @Option(help: ArgumentHelp("gopher, c4, both with a comma between, or none.", valueName: "sets"))
  var rules = "gopher,c4"

  @Option(
    name: .customLong("limit"), help: ArgumentHelp("Change a limit (repeatable).", valueName: "name=value"))
  var limits: [String] = []

  @Option(help: ArgumentHelp("Keep documents of this language or script.", valueName: "language"))
  var language: String?

  @Option(help: ArgumentHelp("The share of letters that must be of its script.", valueName: "0…1"))
  var minLanguageShare = 0.5

  @Option(help: ArgumentHelp("Remove documents with one of these words, a line each.", valueName: "path"))
  var forbiddenWords: String?

  @Option(help: ArgumentHelp("Keep only documents with one of these words, a line each.", valueName: "path"))
  var requiredWords: String?

  func run() throws {
    let configuration = try makeConfiguration()
    let pool = corpus.makePool()
    let reader = try corpus.makeReader(pool: pool)
    let writer = try destination.makeWriter(for: corpus)
    let filter = DocumentFilter(configuration, sampleLimit: destination.samples, pool: pool)
    var progress = ProgressLine(quiet: corpus.quiet)
    Interruption.install()
    while let batch = try reader.next() {
      try filter.filter(batch) { text, index in
        try writer.write(text, record: batch.records.isEmpty ? nil : batch.records[index])
      }
      progress.show("filtered", bytes: reader.position, of: reader.totalBytes)
      try Interruption.check(&progress)
    }
    guard filter.report.read.documents > 0 else { throw CorpusError.empty(paths: try corpus.resolvedFiles()) }
    try writer.finish()
    progress.clear()
    var report = filter.report
    report.details.members.append(.init(key: "lines_removed", value: .integer(filter.removedLineCount)))
    try destination.finish(report, quiet: corpus.quiet, seconds: progress.elapsed)
  }

  private func makeConfiguration() throws -> FilterConfiguration {
    var configuration = FilterConfiguration()
    configuration.ruleSets =
      rules == "none"
      ? []
      : Set(
        try rules.split(separator: ",").map { name in
          guard let set = FilterConfiguration.RuleSet(rawValue: String(name)) else {
            throw UsageError("--rules: there is no set \(name); give gopher, c4, both with a comma, or none")
          }
          return set
        })
    for text in limits {
      let parts = text.split(separator: "=", maxSplits: 1).map(String.init)
      guard parts.count == 2, let limit = FilterConfiguration.Limit(rawValue: parts[0]) else {
        throw UsageError("--limit: \(text) names no limit; --help lists them")
      }
      guard let value = parts[1] == "off" ? .nan : Double(parts[1]), value.isNaN == (parts[1] == "off") else {
        throw UsageError("--limit: \(parts[1]) is no number for \(parts[0]); give one, or off")
      }
      configuration.limits[limit] = value
    }
    if let language {
      guard let found = ScriptLanguage(language) else {
        throw UsageError(
          "--language: \(language) is not known; give a code such as zh or en, or a script such as han")
      }
      configuration.language = found
    }
    guard (0...1).contains(minLanguageShare) else {
      throw UsageError("--min-language-share must be from 0 to 1, is \(minLanguageShare)")
    }
    configuration.minimumLanguageShare = minLanguageShare
    configuration.forbiddenWords = try forbiddenWords.map { try DataFilterCommand.words($0) } ?? []
    configuration.requiredWords = try requiredWords.map { try DataFilterCommand.words($0) } ?? []
    return configuration
  }

  private static func words(_ path: String) throws -> [String] {
    let words = String(decoding: try readFile(path), as: UTF8.self).split(whereSeparator: \.isNewline)
      .map { $0.trimmingPrefix { $0 == " " } }.filter { !$0.isEmpty }.map(String.init)
    guard !words.isEmpty else { throw UsageError("\(path): holds no words; write one a line") }
    return words
  }
}
