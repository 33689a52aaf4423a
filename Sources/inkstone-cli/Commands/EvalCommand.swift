import ArgumentParser
import Foundation
import Inkstone

/// `inkstone eval`: how good a model is, in figures.
struct EvalCommand: ModelCommand {
  static let configuration = CommandConfiguration(
    commandName: "eval",
    abstract: "Measure a model: bits per byte of texts, questions, repetition and copying of samples.",
    discussion: """
      Examples:
        inkstone eval -m MODEL --text held-out=test.txt --text book=book.jsonl
        inkstone eval -m MODEL --questions exam.jsonl --json
        inkstone eval -m MODEL --prompt "人工智能是" --samples-per-prompt 20 -n 100 \\
          --temp 0.8 --training-text train.jsonl
        inkstone eval --samples written.jsonl --training-text train.txt

      Texts. A .jsonl file, plain or gzip, holds a document on each line, in "text";
      any other file is one document. Each is scored by itself, first token included
      (behind the model's begin or end token), in windows as by inkstone perplexity;
      so bits per byte stand beside those of a compressor.

      Questions, a JSON object on each line:
        {"prompt": "水的化学式是", "choices": ["H2O", "CO2"], "answer": 0}
        {"text": "床前明月光，疑是地上", "target": "霜"}
      "question" may stand for "prompt", and "answer" be the text of a choice. A
      choice is right when its log p is the highest (acc), or the highest per
      character (acc_norm) or per byte (acc_bytes), as in lm-evaluation-harness. A
      target is right when greedy decoding writes it; perplexity is of whole targets,
      as of LAMBADA. Between prompt and choice comes a space, but none beside white
      space, Han, kana or full-width characters; --delimiter gives another text.

      Samples are drawn from each prompt, 128 tokens by default, with the seed (0)
      plus the prompt's number; the flags are those of inkstone generate. Or they
      are read with --samples. Over all of them, in words and single Chinese
      characters:
        distinct-n  different n-grams over all n-grams
        repetition  4-grams that occur again within a sample, mean (seq-rep-4)
        self-BLEU   BLEU-4 of each with all others as references, mean
        loops       samples whose end says the same over and over
        broken      samples with bytes that are no character
        verbatim    n-grams of --gram characters that stand in --training-text,
                    and the longest part that does; white space does not count
      --training-text is streamed: memory grows with the samples alone.

      Keys of --json: "model"; "texts", each with "name", "documents", "tokens",
      "bytes", "characters", "nll", "stderr", "perplexity", "bits_per_byte",
      "bits_per_character"; "questions", each with "name", "choice" ("count", "acc",
      "acc_stderr", "acc_norm", "acc_norm_stderr", "acc_bytes", "acc_bytes_stderr")
      and "cloze" ("count", "acc", "acc_stderr", "perplexity", "token_perplexity");
      "samples" with "count", "units", "distinct" (four), "repetition", "self_bleu",
      "loop_rate", "broken_rate", "gram", "verbatim_share", "longest_match" (its
      characters) and "texts", each with "prompt", "text", "verbatim_share",
      "longest_match" (its text). What was not measured is null.
      """)

  @OptionGroup var model: ModelOptions
  @OptionGroup var adapter: AdapterOptions
  @OptionGroup(title: "Engine") var engine: EngineOptions

  @Option(
    help: ArgumentHelp("A text to predict, by a name for the table (repeatable).", valueName: "name=file"))
  var text: [String] = []

  @Option(help: ArgumentHelp("Tokens that the model sees at once (default: its context).", valueName: "n"))
  var window: Int?

  @Option(help: ArgumentHelp("Tokens from one window to the next (default: half a window).", valueName: "n"))
  var stride: Int?

  @Option(
    help: ArgumentHelp("Questions to answer, by a name for the table (repeatable).", valueName: "name=file"))
  var questions: [String] = []

  @Option(help: ArgumentHelp("The text between prompt and choice.", valueName: "text"))
  var delimiter: String?

  @Option(
    name: [.customShort("p"), .customLong("prompt")],
    help: ArgumentHelp("A prompt to continue (repeatable).", valueName: "text"))
  var prompt: [String] = []

  @Option(help: ArgumentHelp("Prompts, one on each line.", valueName: "file"))
  var prompts: String?

  @Option(help: ArgumentHelp("Samples of each prompt.", valueName: "n"))
  var samplesPerPrompt = 4

  @Option(
    help: ArgumentHelp(
      "Texts to measure instead, one on each line or in \"text\" of JSON lines (repeatable).",
      valueName: "file"))
  var samples: [String] = []

  @Option(
    help: ArgumentHelp("What the model was trained on, text or JSON lines (repeatable).", valueName: "file"))
  var trainingText: [String] = []

  @Option(help: ArgumentHelp("Characters of an n-gram that counts as copied.", valueName: "n"))
  var gram = 20

  @OptionGroup(title: "Generation") var generation: GenerationOptions

  @Flag(help: "Print one JSON object.")
  var json = false

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("Write to a file instead of standard output.", valueName: "path"))
  var output: String?

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Show no progress on a terminal.")
  var quiet = false

  func validate() throws {
    guard samplesPerPrompt > 0 else {
      throw ValidationError("--samples-per-prompt must be 1 or more, is \(samplesPerPrompt)")
    }
    guard gram > 0 else { throw ValidationError("--gram must be 1 or more, is \(gram)") }
    guard samples.isEmpty || (prompt.isEmpty && prompts == nil) else {
      throw ValidationError("--samples are there already and --prompt asks for others; keep one")
    }
    guard generation.numReturnSequences == nil else {
      throw ValidationError("--num-return-sequences is --samples-per-prompt here")
    }
    let hasSamples = !samples.isEmpty || !prompt.isEmpty || prompts != nil
    guard trainingText.isEmpty || hasSamples else {
      throw ValidationError("--training-text is what samples are looked for in; add --prompt or --samples")
    }
    guard hasSamples || !text.isEmpty || !questions.isEmpty else {
      throw ValidationError("nothing to measure: give --text, --questions, --prompt or --samples")
    }
  }

  func run() throws {
    Interruption.install()
    // Files are looked at before a model is loaded.
    let texts = try NamedFile.all(text)
    let questions = try NamedFile.all(questions).map { ($0.name, try EvaluationQuestion.load($0.path)) }
    for path in trainingText where !fileExists(path) { throw FileError.missing(path: path) }
    let prompts = try prompt + (self.prompts.map(EvaluationRun.lines) ?? [])
    let settings = try generation.configuration()

    let needsModel = !texts.isEmpty || !questions.isEmpty || !prompts.isEmpty
    let model =
      needsModel ? try engine.load(try modelFolder(), adapter: adapter.lora) : nil
    var run = EvaluationRun(model: model, quiet: quiet)
    for file in texts { try run.measure(text: file, window: window, stride: stride) }
    for (name, questions) in questions { try run.ask(questions, name: name, delimiter: delimiter) }
    if !prompts.isEmpty {
      try run.generate(prompts, count: samplesPerPrompt, settings: settings)
    } else if !samples.isEmpty {
      try run.read(samples: samples)
    }
    try run.measureSamples(trainingText: trainingText, gram: gram)
    let report = json ? run.json.text(.indented) + "\n" : run.table
    if let output { try AtomicFile.write(report, to: output) } else { try StandardStreams.write(report) }
  }
}

/// A file and what a report calls it: `name=file`, or a file alone.
struct NamedFile {
  let name: String
  let path: String

  /// Reads the values of a flag.
  ///
  /// - Throws: `FileError` for a file that is not there.
  static func all(_ values: [String]) throws -> [NamedFile] {
    try values.map { value in
      let parts = value.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      // A file whose own name has a sign of equality is meant, if it is there.
      let file =
        parts.count == 2 && !parts[0].isEmpty && !fileExists(value)
        ? NamedFile(name: parts[0], path: parts[1])
        : NamedFile(name: URL(filePath: value).lastPathComponent, path: value)
      guard fileExists(file.path) else { throw FileError.missing(path: file.path) }
      return file
    }
  }
}
