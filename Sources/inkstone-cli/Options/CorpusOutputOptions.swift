import ArgumentParser
import Corpora
import Inkstone

/// Where documents and the report go.
struct CorpusOutputOptions: ParsableArguments {
  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp(
      "The file to write (default: standard output): JSON lines for .jsonl and .ndjson, compressed for .gz.",
      valueName: "path"))
  var output: String?

  @Option(
    help: ArgumentHelp(
      "How documents are written: line, paragraph, file or jsonl (default: by the name, or as they were read).",
      valueName: "layout"))
  var outputDocuments: DocumentWriter.Layout?

  @Option(help: ArgumentHelp("Write a report as JSON: what each step did, with samples.", valueName: "path"))
  var report: String?

  @Option(help: ArgumentHelp("Samples per step in the report.", valueName: "n"))
  var samples = 5

  func validate() throws {
    guard (0...10_000).contains(samples) else {
      throw ValidationError("--samples must be from 0 to 10000, is \(samples)")
    }
  }

  /// A writer for documents of an input.
  func makeWriter(for corpus: CorpusOptions) throws -> DocumentWriter {
    let path = output == "-" ? nil : output
    let layout =
      try outputDocuments
      ?? DocumentWriter.layout(of: path, input: corpus.documents, inputPaths: corpus.resolvedFiles())
    if let path { return try DocumentWriter(path: path, layout: layout, field: corpus.field) }
    return DocumentWriter(layout: layout, field: corpus.field) { try StandardStreams.write($0) }
  }

  /// Writes the report, and a table of it on standard error.
  func finish(_ result: CorpusReport, quiet: Bool, seconds: Double) throws {
    if let report {
      var result = result
      result.details.members.append(.init(key: "seconds", value: .number(seconds)))
      try AtomicFile.write(result.document.text(.indented) + "\n", to: report)
    }
    if !quiet { StandardStreams.note(result.table) }
  }
}

extension DocumentWriter.Layout: ExpressibleByArgument {}
