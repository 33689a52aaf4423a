import ArgumentParser
import Corpora
import Inkstone

/// `inkstone tokenizer train`: text to a tokenizer.
struct TokenizerTrainCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "train",
    abstract: "Learn a tokenizer from text: byte-level BPE, WordPiece or characters.",
    discussion: """
      Examples:
        inkstone tokenizer train corpus.txt --vocab-size 8000 -o tokenizer
        inkstone tokenizer train zh.jsonl.gz --field content --pattern qwen2 \\
          --special-tokens "<|endoftext|>" "<|im_end|>" -o tokenizer
        inkstone tokenizer train play.txt --model characters -o characters

      Byte-level BPE gives the merges of BpeTrainer of Hugging Face's
      tokenizers on the same text. Each line with its line feed is cut into
      words on its own, as Tokenizer.train(files) does; JSON lines, and
      --documents file or paragraph, take a whole document, as
      train_from_iterator does.

      Writes tokenizer.json and tokenizer_config.json. --json prints one
      object: "vocab_size", "merges", "bytes" and "tokens" of the text,
      "bytes_per_token", "seconds".
      """)

  @OptionGroup var corpus: CorpusOptions

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("The folder to write to.", valueName: "folder"))
  var output: String

  @Option(help: "bpe, wordpiece or characters.")
  var model: TokenizerTrainingConfiguration.Model = .bytePairs

  @Option(help: ArgumentHelp("Tokens in the end, special ones included.", valueName: "n"))
  var vocabSize = 32_000

  @Option(
    parsing: .upToNextOption,
    help: ArgumentHelp(
      "The first tokens (default: <|endoftext|>; for wordpiece BERT's; for characters none).",
      valueName: "tokens"))
  var specialTokens: [String] = []

  @Flag(help: "No special tokens at all.")
  var noSpecialTokens = false

  @Option(
    help: ArgumentHelp(
      "How words are cut (bpe): gpt2, qwen2, llama3 or a regular expression.", valueName: "pattern"))
  var pattern = "gpt2"

  @Option(help: ArgumentHelp("Do not merge pairs that occur less often.", valueName: "n"))
  var minFrequency = 0

  @Option(help: ArgumentHelp("Keep this many characters to begin with.", valueName: "n"))
  var limitAlphabet: Int?

  @Option(help: ArgumentHelp("Do not count pairs of so many bytes or more (bpe).", valueName: "n"))
  var maxTokenLength: Int?

  @Flag(help: "Begin with the bytes that occur, not with all 256 (bpe).")
  var seenBytesOnly = false

  @Flag(help: "Put a space before a text that has none (bpe with the pattern gpt2).")
  var addPrefixSpace = false

  @Flag(help: "Begin every text with the special token that begins texts: <s> or <|endoftext|>.")
  var addBos = false

  @Flag(help: "Put text into lower case without accents (wordpiece).")
  var lowercase = false

  @Flag(help: "Print the summary as one JSON object.")
  var json = false

  func run() throws {
    var configuration = TokenizerTrainingConfiguration(model: model)
    configuration.vocabularySize = vocabSize
    if !specialTokens.isEmpty { configuration.specialTokens = specialTokens }
    if noSpecialTokens { configuration.specialTokens = [] }
    configuration.pattern = pattern
    configuration.minimumFrequency = minFrequency
    configuration.alphabetLimit = limitAlphabet
    configuration.maximumTokenLength = maxTokenLength
    configuration.includesAllBytes = !seenBytesOnly
    configuration.addsPrefixSpace = addPrefixSpace
    configuration.addsBeginOfSequence = addBos
    configuration.lowercases = lowercase

    let pool = corpus.makePool()
    let trainer = try TokenizerTrainer(configuration, pool: pool)
    let reader = try corpus.makeReader(pool: pool, keepsLineEnds: true)
    try createFolder(output)
    Interruption.install()
    var progress = ProgressLine(quiet: corpus.quiet)
    while let batch = try reader.next() {
      try batch.add(to: trainer)
      progress.show("read", bytes: reader.position, of: reader.totalBytes)
      try Interruption.check(&progress)
    }
    let trained: TrainedTokenizer
    do {
      trained = try trainer.train { stage in
        if case .merging(let tokens, let total) = stage {
          progress.show { "merged to \(tokens) of \(total) tokens" }
        }
        return !Interruption.flag.isRaised
      }
    } catch TokenizerTrainingError.interrupted {
      progress.clear()
      throw ExitCode(Interruption.exitStatus)
    }
    try trained.write(to: output)
    progress.clear()
    try report(trained, seconds: progress.elapsed)
  }

  private func report(_ trained: TrainedTokenizer, seconds: Double) throws {
    let bytesPerToken = Double(trained.byteCount) / Double(max(trained.tokenCount, 1))
    if json {
      let document: JSONValue = [
        "vocab_size": .integer(trained.vocabularySize), "merges": .integer(trained.mergeCount),
        "bytes": .integer(trained.byteCount), "tokens": .integer(trained.tokenCount),
        "bytes_per_token": .number(bytesPerToken), "seconds": .number(seconds),
      ]
      try StandardStreams.write(document.text() + "\n")
    } else if !corpus.quiet {
      StandardStreams.note(
        """
        \(output)/tokenizer.json: \(trained.vocabularySize) tokens, \(trained.mergeCount) merges
        \(ProgressLine.size(trained.byteCount)) of text are \(trained.tokenCount) tokens, \
        \(ProgressLine.decimal(bytesPerToken, 2)) bytes each; \(ProgressLine.decimal(seconds, 1)) s

        """)
    }
    if trained.vocabularySize < vocabSize, model != .characters {
      Diagnostics.log.notice(
        "nothing was left to merge: the vocabulary has \(trained.vocabularySize) tokens, not \(vocabSize)")
    }
  }
}

extension TokenizerTrainingConfiguration.Model: ExpressibleByArgument {}
