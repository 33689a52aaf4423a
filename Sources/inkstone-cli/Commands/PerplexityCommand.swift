import ArgumentParser
import Foundation
import Inkstone

/// `inkstone perplexity`: how well a model predicts a text of any length.
struct PerplexityCommand: ModelCommand {
  static let configuration = CommandConfiguration(
    commandName: "perplexity",
    abstract: "Measure perplexity and bits per byte of a text of any length.",
    discussion: """
      Examples:
        inkstone perplexity -m MODEL -f book.txt
        inkstone perplexity -m MODEL -f book.txt --window 512 --stride 256 --json

      Windows overlap: each begins --stride tokens after the one before and scores
      the tokens that none has scored yet, so every token but the first is scored
      once, with at least window − stride tokens before it.

      Keys of --json: "perplexity"; "stderr", the standard error √(var/n) of the mean
      NLL; "nll", the mean in nats; "tokens" scored; "bits_per_byte".
      """)

  @OptionGroup var model: ModelOptions
  @OptionGroup var adapter: AdapterOptions
  @OptionGroup var engine: EngineOptions

  @Option(
    name: [.customShort("f"), .customLong("file")],
    help: ArgumentHelp("The text, UTF-8; - or a pipe reads standard input.", valueName: "path"))
  var file: String?

  @Option(help: ArgumentHelp("Tokens that the model sees at once (default: its context).", valueName: "n"))
  var window: Int?

  @Option(help: ArgumentHelp("Tokens from one window to the next (default: half a window).", valueName: "n"))
  var stride: Int?

  @Flag(help: "Print one JSON object.")
  var json = false

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Show no progress on a terminal.")
  var quiet = false

  func run() throws {
    let folder = try modelFolder()
    let bytes: [UInt8]
    let name: String
    if let file, file != "-" {
      (bytes, name) = (try readFile(file), file)
    } else if file == "-" || StandardStreams.hasPipedInput {
      (bytes, name) = (try StandardStreams.readInput(), "standard input")
    } else {
      throw UsageError("no text: give a file with -f, or a text through a pipe")
    }
    guard !bytes.isEmpty else { throw UsageError("\(name): the text is empty") }
    let model = try engine.load(folder, adapter: adapter.lora)
    guard let tokenizer = model.tokenizer else {
      throw UsageError("\(folder) holds no tokenizer; a text cannot be scored without one")
    }
    let tokens: [Int]
    do {
      tokens = try bytes.withUnsafeBufferPointer { try tokenizer.encode(utf8: $0, addSpecialTokens: true) }
    } catch {
      throw UsageError("\(name): \(error)")
    }
    guard tokens.count > 1 else {
      throw UsageError("\(name): \(ScoringError.tooShort(tokens: tokens.count))")
    }

    Interruption.install()
    let scorer = Scorer(decoder: model.decoder, engine: model.engine)
    let showsProgress = !quiet && StandardStreams.isErrorTerminal
    let result = try scorer.perplexity(of: tokens, byteCount: bytes.count, window: window, stride: stride) {
      done in
      if showsProgress { StandardStreams.showProgress("\(done) of \(tokens.count - 1) tokens") }
      return !Interruption.flag.isRaised
    }
    if showsProgress { StandardStreams.showProgress("") }
    guard let result else { throw ExitCode(Interruption.exitStatus) }

    if json {
      let document: JSONValue = [
        "perplexity": .number(result.perplexity), "stderr": .number(result.standardError),
        "nll": .number(result.meanNegativeLogLikelihood), "tokens": .integer(result.tokenCount),
        "bits_per_byte": .number(result.bitsPerByte),
      ]
      try StandardStreams.write(document.text() + "\n")
    } else {
      try StandardStreams.write(
        """
        perplexity     \(fixed(result.perplexity, width: 0))
        mean NLL       \(fixed(result.meanNegativeLogLikelihood, width: 0)) ± \(fixed(result.standardError, width: 0))
        bits per byte  \(fixed(result.bitsPerByte, width: 0))
        tokens         \(result.tokenCount)

        """)
    }
  }
}
