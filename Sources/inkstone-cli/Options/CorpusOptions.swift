import ArgumentParser
import Corpora
import Inkstone

/// Where documents come from.
struct CorpusOptions: ParsableArguments {
  @Argument(
    help: ArgumentHelp(
      "Text or JSON lines, plain or gzip; - or a pipe is standard input.", valueName: "files"))
  var files: [String] = []

  @Option(
    help: ArgumentHelp(
      "What a document is: line, paragraph (up to a blank line), file, jsonl, or auto: jsonl for .jsonl and "
        + ".ndjson, otherwise line.", valueName: "layout"))
  var documents: DocumentLayout = .automatic

  @Option(help: ArgumentHelp("The field of JSON lines that is the text.", valueName: "name"))
  var field = "text"

  @Option(
    name: [.customShort("t"), .customLong("threads")],
    help: "Threads (default: the cores that affinity and control group allow).")
  var threads: Int?

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Say nothing but errors.")
  var quiet = false

  func validate() throws {
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads must be from 1 to 1024, is \(threads)")
    }
  }

  /// Threads that work.
  func makePool() -> WorkerPool { WorkerPool(threadCount: threads ?? WorkerPool.defaultThreadCount()) }

  /// The files, or standard input when there are none and something is piped in.
  func resolvedFiles() throws -> [String] {
    if !files.isEmpty { return files }
    guard StandardStreams.hasPipedInput else {
      throw UsageError("no text: give files, or a text through a pipe")
    }
    return ["-"]
  }

  /// A reader of the files.
  ///
  /// - Parameter files: to read in place of those given.
  func makeReader(
    pool: WorkerPool, keepsLineEnds: Bool = false, files: [String]? = nil
  ) throws -> DocumentReader {
    try DocumentReader(
      paths: try files ?? resolvedFiles(),
      names: files == nil ? nil : try resolvedFiles().map { $0 == "-" ? "standard input" : $0 },
      layout: documents, field: field, keepsLineEnds: keepsLineEnds,
      pool: pool)
  }
}

extension DocumentLayout: ExpressibleByArgument {}
