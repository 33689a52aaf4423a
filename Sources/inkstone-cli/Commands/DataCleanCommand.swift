import ArgumentParser
import Corpora
import Inkstone

/// `inkstone data clean`: documents without what is no text.
struct DataCleanCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "clean",
    abstract: "Clean documents: markup, invisible characters, width, normal form, white space.",
    discussion: """
      Examples:
        inkstone data clean raw.txt -o clean.txt
        inkstone data clean pages.jsonl.gz --field content -o clean.jsonl.gz
        zcat dump.gz | inkstone data clean --skip markdown > clean.txt
        inkstone data clean notes.md --documents file --only markdown

      Steps, in this order:
        repair      bytes that are no UTF-8 become U+FFFD (off; without it
                    they are an error)
        html        tags, comments, scripts and styles go; entities become
                    characters
        markdown    marks of headings, lists, quotes, tables, code, emphasis
                    and links go
        controls    controls, byte-order marks, zero-width spaces,
                    directions and private use go
        width       full-width letters, digits and signs become ordinary
                    ones, half-width katakana full ones; Chinese and
                    Japanese punctuation stays
        nfc         letters and their marks become composed characters
        whitespace  one kind of space and line end, no runs of them, none
                    around lines

      A document that becomes empty is left out.
      """)

  @OptionGroup var corpus: CorpusOptions
  @OptionGroup var destination: CorpusOutputOptions

  @Option(help: ArgumentHelp("Take these steps only.", valueName: "steps"))
  var only: String?

  @Option(help: ArgumentHelp("Leave these steps out.", valueName: "steps"))
  var skip: String?

  @Flag(help: "Take the step repair too.")
  var repair = false

  func run() throws {
    var steps = try only.map { try DataCleanCommand.steps($0, flag: "--only") } ?? CleaningStep.usual
    if let skip { steps.subtract(try DataCleanCommand.steps(skip, flag: "--skip")) }
    if repair { steps.insert(.repair) }
    let pool = corpus.makePool()
    let reader = try corpus.makeReader(pool: pool)
    let writer = try destination.makeWriter(for: corpus)
    let cleaner = Cleaner(steps: steps, sampleLimit: destination.samples, pool: pool)
    var progress = ProgressLine(quiet: corpus.quiet)
    Interruption.install()
    while let batch = try reader.next() {
      try cleaner.clean(batch) { text, index in
        try writer.write(text, record: batch.records.isEmpty ? nil : batch.records[index])
      }
      progress.show("cleaned", bytes: reader.position, of: reader.totalBytes)
      try Interruption.check(&progress)
    }
    guard cleaner.report.read.documents > 0 else {
      throw CorpusError.empty(paths: try corpus.resolvedFiles())
    }
    try writer.finish()
    progress.clear()
    try destination.finish(cleaner.report, quiet: corpus.quiet, seconds: progress.elapsed)
  }

  private static func steps(_ text: String, flag: String) throws -> Set<CleaningStep> {
    Set(
      try text.split(separator: ",").map { name in
        guard let step = CleaningStep(rawValue: String(name)) else {
          let known = CleaningStep.allCases.map(\.rawValue).joined(separator: ", ")
          throw UsageError("\(flag): there is no step \(name); the steps are \(known)")
        }
        return step
      })
  }
}
