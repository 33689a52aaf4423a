import ArgumentParser
import Corpora
import Inkstone

/// `inkstone data pack`: documents to token files.
struct DataPackCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "pack",
    abstract: "Tokenise documents into memory-mapped token files for training and validation.",
    discussion: """
      Examples:
        inkstone data pack corpus.txt -m MODEL -o packed
        inkstone data pack a.jsonl.gz b.jsonl -m tokenizer -o packed \\
          --validation-fraction 0.01
        inkstone data pack play.txt -m characters -o packed --documents file \\
          --validation-fraction 0.1 --split tail

      Writes train.tokens and validation.tokens, with an index of the
      documents beside each. --split hash keeps documents back by a hash of
      their text: the same ones in every run and any order. --split tail
      keeps the end of the text back, as nanoGPT does.

      --json prints one object: "vocab_size", "end_of_text", "train" and
      "validation" with "path", "documents", "tokens" and "bytes" each,
      "seconds".
      """)

  @OptionGroup var corpus: CorpusOptions

  @Option(
    name: [.customShort("m"), .customLong("model"), .customLong("tokenizer")],
    help: ArgumentHelp(
      "Folder of the model or tokenizer, or a tokenizer.json (default: INKSTONE_MODEL, then the bundled model's).",
      valueName: "path"))
  var model: String?

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The folder to write to.", valueName: "folder"))
  var output: String

  @Option(
    help: ArgumentHelp("The part kept for validation; 0 keeps none (default: 0.05).", valueName: "fraction"))
  var validationFraction: Double?

  @Option(help: "What is kept: documents by hash, or the tail of the text.")
  var split: PackConfiguration.Split = .hash

  @Option(
    help: ArgumentHelp(
      "The token that ends each document (default: the tokenizer's eos_token, or <|endoftext|>).",
      valueName: "token"))
  var endOfText: String?

  @Flag(help: "Put no token between documents.")
  var noEndOfText = false

  @Flag(help: "Print the summary as one JSON object.")
  var json = false

  func validate() throws {
    if let validationFraction, !(validationFraction >= 0 && validationFraction < 1) {
      throw ValidationError("--validation-fraction must be from 0 to below 1, is \(validationFraction)")
    }
    if noEndOfText, endOfText != nil {
      throw ValidationError("--end-of-text and --no-end-of-text contradict each other; keep one")
    }
  }

  func run() throws {
    var options = ModelOptions()
    options.model = model
    let tokenizer = try Tokenizer.load(from: try options.resolvedFolder())
    var configuration = PackConfiguration()
    if let validationFraction { configuration.validationFraction = validationFraction }
    configuration.requiresValidation = validationFraction != nil
    configuration.split = split
    configuration.endOfText = try resolvedEndOfText(tokenizer)

    let pool = corpus.makePool()
    let files = try corpus.resolvedFiles()
    let reader = try corpus.makeReader(pool: pool)
    var progress = ProgressLine(quiet: corpus.quiet)
    Interruption.install()
    var characters: Int?
    if split == .tail, configuration.validationFraction > 0 {
      guard reader.totalBytes != nil else { throw PackError.tailOfPipe }
      characters = 0
      let counter = try corpus.makeReader(pool: pool)
      while let batch = try counter.next() {
        characters? += try Packer.countCharacters(of: batch, pool: pool)
        progress.show("counted", bytes: counter.position, of: counter.totalBytes)
      }
    }
    try createFolder(output)
    let paths = (output + "/train.tokens", output + "/validation.tokens")
    let packer = try Packer(
      tokenizer: tokenizer, configuration, trainingPath: paths.0, validationPath: paths.1,
      characters: characters, pool: pool)
    while let batch = try reader.next() {
      try packer.add(batch)
      let tokens = packer.report.training.tokens + packer.report.validation.tokens
      progress.show("packed", bytes: reader.position, of: reader.totalBytes, "\(tokens) tokens")
      try Interruption.check(&progress)
    }
    guard packer.report.training.documents + packer.report.validation.documents > 0 else {
      throw CorpusError.empty(paths: files)
    }
    try packer.finish()
    progress.clear()
    if configuration.validationFraction > 0, packer.report.validation.documents == 0 {
      Diagnostics.log.notice(
        """
        of \(packer.report.training.documents) documents none was kept for validation; --split tail keeps the end \
        of the text
        """)
    }
    try report(
      packer.report, vocabularySize: tokenizer.vocabularySize, endOfText: configuration.endOfText, paths,
      progress.elapsed)
  }

  private func resolvedEndOfText(_ tokenizer: Tokenizer) throws -> Int? {
    if noEndOfText { return nil }
    if let endOfText {
      guard let id = tokenizer.id(for: endOfText) else {
        throw UsageError("--end-of-text: the vocabulary has no token \(endOfText)")
      }
      return id
    }
    if let id = tokenizer.endOfSequence ?? tokenizer.id(for: "<|endoftext|>") { return id }
    Diagnostics.log.notice(
      "the tokenizer names no eos_token: documents follow each other without a token between them")
    return nil
  }

  private func report(
    _ report: PackReport, vocabularySize: Int, endOfText: Int?, _ paths: (String, String), _ seconds: Double
  ) throws {
    let parts = [("train", paths.0, report.training), ("validation", paths.1, report.validation)].filter {
      $0.2.documents > 0
    }
    if json {
      var members: [JSONObject.Member] = [
        .init(key: "vocab_size", value: .integer(vocabularySize)),
        .init(key: "end_of_text", value: endOfText.map { .integer($0) } ?? .null),
      ]
      for (name, path, part) in parts {
        members.append(
          .init(
            key: name,
            value: [
              "path": .string(path), "documents": .integer(part.documents), "tokens": .integer(part.tokens),
              "bytes": .integer(part.bytes),
            ]))
      }
      members.append(.init(key: "seconds", value: .number(seconds)))
      try StandardStreams.write(JSONValue.object(JSONObject(members)).text() + "\n")
    } else if !corpus.quiet {
      for (_, path, part) in parts {
        let bytesPerToken = ProgressLine.decimal(Double(part.bytes) / Double(max(part.tokens, 1)), 2)
        StandardStreams.note(
          "\(path): \(part.tokens) tokens of \(part.documents) documents, \(bytesPerToken) bytes per token\n")
      }
    }
  }
}

extension PackConfiguration.Split: ExpressibleByArgument {}
