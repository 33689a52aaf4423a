import ArgumentParser
import Corpora
import Foundation
import Inkstone

/// What `inkstone eval` measures, step by step, and the report of it.
struct EvaluationRun {
  /// A text that a model wrote.
  private struct Sample {
    let prompt: String?
    let text: String
  }

  /// Samples are held in memory, some hundred bytes for each of theirs.
  private static let largestSamples = 1 << 28

  private let model: LanguageModel?
  private var progress: ProgressLine
  private var texts: [(name: String, results: TextResults)] = []
  private var questions: [(name: String, results: QuestionResults)] = []
  private var samples: [Sample] = []
  private var diversity: SampleDiversity?
  private var overlap: [VerbatimOverlap.Result]?
  private var gram = 0

  /// - Parameter model: may be missing where only texts are measured that are there.
  init(model: LanguageModel?, quiet: Bool) {
    self.model = model
    progress = ProgressLine(quiet: quiet)
  }

  /// The lines of a file that are not empty.
  static func lines(_ path: String) throws -> [String] {
    let lines = try TextFile.read(path).split(whereSeparator: \.isNewline).map(String.init)
    guard !lines.isEmpty else { throw FileError.empty(path: path) }
    return lines
  }

  // MARK: Texts and questions

  private func modelAndTokenizer() throws -> (LanguageModel, Tokenizer) {
    guard let model else { throw UsageError("no model: give a model folder with -m") }
    guard let tokenizer = model.tokenizer else { throw LanguageModelError.noTokenizer(folder: model.folder) }
    return (model, tokenizer)
  }

  mutating func measure(text file: NamedFile, window: Int?, stride: Int?) throws {
    let (model, tokenizer) = try modelAndTokenizer()
    var evaluator = TextEvaluator(
      decoder: model.decoder, engine: model.engine, tokenizer: tokenizer, window: window, stride: stride)
    if !evaluator.scoresFirstTokens {
      Diagnostics.log.notice("the model has no token that begins a text: first tokens are given, not scored")
    }
    let isCorpus = EvaluationRun.isJSONLines(file.path)
    let reader = try DocumentReader(
      paths: [file.path], layout: isCorpus ? .jsonl : .file, pool: WorkerPool(threadCount: 1))
    var line = progress
    while let batch = try reader.next() {
      for document in batch.documents.indices {
        let goesOn = try batch.withDocument(document) { text in
          do {
            return try evaluator.add(utf8: text) { tokens in
              line.show { "\(file.name): \(tokens) tokens" }
              return !Interruption.flag.isRaised
            }
          } catch let error as TokenizerError {
            throw UsageError("\(file.path), line \(batch.lines[document]): \(error)")
          }
        }
        if !goesOn { try Interruption.check(&line) }
      }
    }
    line.clear()
    do {
      texts.append((file.name, try evaluator.results()))
    } catch is ScoringError {
      throw UsageError("\(file.path): the text is empty")
    }
  }

  private static func isJSONLines(_ path: String) -> Bool {
    let name = path.hasSuffix(".gz") ? String(path.dropLast(3)) : path
    return name.hasSuffix(".jsonl") || name.hasSuffix(".ndjson")
  }

  mutating func ask(_ questions: [EvaluationQuestion], name: String, delimiter: String?) throws {
    let (model, tokenizer) = try modelAndTokenizer()
    let evaluator = QuestionEvaluator(
      decoder: model.decoder, engine: model.engine, tokenizer: tokenizer, delimiter: delimiter)
    var line = progress
    let results = try evaluator.answer(questions) { done in
      line.show { "\(name): \(done) of \(questions.count) questions" }
      return !Interruption.flag.isRaised
    }
    guard let results else { return try Interruption.check(&line) }
    line.clear()
    self.questions.append((name, results))
  }

  // MARK: Samples

  /// Draws samples from each prompt.
  mutating func generate(_ prompts: [String], count: Int, settings: GenerationConfiguration) throws {
    let (model, tokenizer) = try modelAndTokenizer()
    var defaults = GenerationConfiguration()
    if (settings.beamCount ?? 1) <= 1 { defaults.samples = true }
    if settings.maximumLength == nil { defaults.maximumNewTokens = 128 }
    defaults.returnedSequenceCount = count
    var configuration = settings.merged(over: defaults).merged(over: model.generationConfiguration)
    let seed = configuration.seed ?? 0
    for (index, prompt) in prompts.enumerated() {
      configuration.seed = seed &+ UInt64(index)
      let tokens = try tokenizer.encode(prompt, addSpecialTokens: true)
      let plan = try configuration.plan(
        promptLength: tokens.count, contextLength: model.decoder.configuration.contextLength,
        vocabularySize: model.decoder.configuration.vocabularySize)
      let session = try model.makeSession(for: plan)
      let result = try Generation.generate(
        prompt: tokens, plan: plan, session: session,
        stopDecoder: tokenizer.makeStreamDecoder(skipSpecialTokens: false), interruption: Interruption.flag)
      try Interruption.check(&progress)
      for sequence in result.sequences {
        var streamer = try model.makeStreamer(for: plan, prompt: tokens)
        let text = sequence.tokens.map { streamer.append($0) }.joined() + streamer.finish()
        samples.append(Sample(prompt: prompt, text: text))
      }
      let done = samples.count
      progress.show { "\(done) of \(prompts.count * count) samples" }
    }
    progress.clear()
  }

  /// Takes texts that are there.
  mutating func read(samples paths: [String]) throws {
    let reader = try DocumentReader(paths: paths, pool: WorkerPool(threadCount: 1))
    while let batch = try reader.next() {
      for document in batch.documents.indices {
        try batch.withDocument(document) { text in
          guard let text = String(validating: text, as: UTF8.self) else {
            throw UsageError("\(batch.path), line \(batch.lines[document]): is not UTF-8 text")
          }
          samples.append(Sample(prompt: nil, text: text))
        }
      }
    }
    guard !samples.isEmpty else { throw CorpusError.empty(paths: paths) }
  }

  /// Measures the samples, and looks for them in texts.
  mutating func measureSamples(trainingText: [String], gram: Int) throws {
    guard !samples.isEmpty else { return }
    let size = samples.reduce(0) { $0 + $1.text.utf8.count }
    guard size <= EvaluationRun.largestSamples else {
      throw UsageError(
        "the samples come to \(size) bytes, more than \(EvaluationRun.largestSamples); give fewer")
    }
    diversity = SampleDiversity(of: samples.map(\.text))
    guard !trainingText.isEmpty else { return }
    self.gram = gram
    var index = VerbatimOverlap(samples.map(\.text), gramLength: gram)
    for path in trainingText {
      // Lines of a text go on in the next; records of JSON lines do not.
      let isCorpus = EvaluationRun.isJSONLines(path)
      let reader = try DocumentReader(
        paths: [path], keepsLineEnds: !isCorpus,
        pool: WorkerPool(threadCount: WorkerPool.defaultThreadCount()))
      while let batch = try reader.next() {
        for document in batch.documents.indices {
          batch.withDocument(document) { index.read(utf8: $0) }
          if isCorpus { index.endDocument() }
        }
        progress.show("searched", bytes: reader.position, of: reader.totalBytes)
        try Interruption.check(&progress)
      }
      index.endDocument()
    }
    progress.clear()
    overlap = index.results()
  }

  /// The share of all samples' n-grams.
  private var verbatimShare: Double? {
    guard let overlap else { return nil }
    var (found, total) = (0.0, 0.0)
    for result in overlap {
      guard let share = result.share else { continue }
      let grams = Double(result.length - gram + 1)
      found += share * grams
      total += grams
    }
    return total > 0 ? found / total : nil
  }

  private var longestMatch: String? {
    overlap?.map(\.longestMatch).max { $0.unicodeScalars.count < $1.unicodeScalars.count }
  }

  // MARK: Report

  /// The figures as aligned columns.
  var table: String {
    var parts: [String] = []
    if !texts.isEmpty {
      let rows = texts.map { name, results in
        [
          name, "\(results.documentCount)", "\(results.perplexity.tokenCount)", "\(results.byteCount)",
          number(results.perplexity.perplexity, 2), number(results.perplexity.bitsPerByte, 4),
          number(results.bitsPerCharacter, 3),
        ]
      }
      parts.append(
        TextTable.aligned(
          ["text", "documents", "tokens", "bytes", "perplexity", "bits/byte", "bits/character"], rows))
    }
    let choices = questions.compactMap { name, results in results.choices.map { (name, $0) } }
    if !choices.isEmpty {
      let rows = choices.map { name, results in
        [
          name, "\(results.accuracy.count)", share(results.accuracy), share(results.perCharacter),
          share(results.perByte),
        ]
      }
      parts.append(TextTable.aligned(["choices", "questions", "acc", "acc_norm", "acc_bytes"], rows))
    }
    let clozes = questions.compactMap { name, results in results.clozes.map { (name, $0) } }
    if !clozes.isEmpty {
      let rows = clozes.map { name, results in
        [
          name, "\(results.accuracy.count)", share(results.accuracy), number(results.perplexity, 2),
          number(results.tokenPerplexity, 2),
        ]
      }
      parts.append(TextTable.aligned(["cloze", "texts", "acc", "perplexity", "per token"], rows))
    }
    if let diversity {
      var rows: [[String]] = []
      for (size, value) in zip(1..., diversity.distinct) {
        rows.append(["distinct-\(size)", number(value, 3)])
      }
      rows += [
        ["repetition", number(diversity.sequenceRepetition, 3)],
        ["self-BLEU", number(diversity.selfBLEU, 3)],
        ["loops", number(diversity.loopRate, 3)], ["broken", number(diversity.brokenRate, 3)],
      ]
      if let longestMatch {
        rows.append(["verbatim, \(gram)-grams", number(verbatimShare, 3)])
        rows.append(["longest copy", "\(longestMatch.unicodeScalars.count)"])
      }
      parts.append(TextTable.aligned(["samples", "\(diversity.sampleCount)"], rows))
    }
    return parts.joined(separator: "\n")
  }

  private func number(_ value: Double?, _ digits: Int) -> String {
    value.map { String(format: "%.\(digits)f", $0) } ?? "—"
  }

  private func share(_ accuracy: Accuracy) -> String {
    "\(number(accuracy.value, 3)) ± \(number(accuracy.standardError, 3))"
  }

  /// Everything, under the keys of the help.
  var json: JSONValue {
    [
      "model": model.map { .string($0.folder) } ?? .null,
      "texts": .array(
        texts.map { name, results in
          [
            "name": .string(name), "documents": .integer(results.documentCount),
            "tokens": .integer(results.perplexity.tokenCount), "bytes": .integer(results.byteCount),
            "characters": .integer(results.characterCount),
            "nll": .number(results.perplexity.meanNegativeLogLikelihood),
            "stderr": .number(results.perplexity.standardError),
            "perplexity": .number(results.perplexity.perplexity),
            "bits_per_byte": .number(results.perplexity.bitsPerByte),
            "bits_per_character": .number(results.bitsPerCharacter),
          ]
        }),
      "questions": .array(
        questions.map { name, results in
          [
            "name": .string(name), "choice": results.choices.map(json) ?? .null,
            "cloze": results.clozes.map(json) ?? .null,
          ]
        }),
      "samples": diversity.map(json) ?? .null,
    ]
  }

  private func json(_ results: QuestionResults.Choices) -> JSONValue {
    [
      "count": .integer(results.accuracy.count), "acc": .number(results.accuracy.value),
      "acc_stderr": .number(results.accuracy.standardError), "acc_norm": .number(results.perCharacter.value),
      "acc_norm_stderr": .number(results.perCharacter.standardError),
      "acc_bytes": .number(results.perByte.value), "acc_bytes_stderr": .number(results.perByte.standardError),
    ]
  }

  private func json(_ results: QuestionResults.Clozes) -> JSONValue {
    [
      "count": .integer(results.accuracy.count), "acc": .number(results.accuracy.value),
      "acc_stderr": .number(results.accuracy.standardError), "perplexity": .number(results.perplexity),
      "token_perplexity": .number(results.tokenPerplexity),
    ]
  }

  private func json(_ diversity: SampleDiversity) -> JSONValue {
    func optional(_ value: Double?) -> JSONValue { value.map { .number($0) } ?? .null }
    let texts = samples.enumerated().map { index, sample -> JSONValue in
      [
        "prompt": sample.prompt.map { .string($0) } ?? .null, "text": .string(sample.text),
        "verbatim_share": optional(overlap?[index].share),
        "longest_match": overlap.map { .string($0[index].longestMatch) } ?? .null,
      ]
    }
    return [
      "count": .integer(diversity.sampleCount), "units": .integer(diversity.unitCount),
      "distinct": .array(diversity.distinct.map(optional)),
      "repetition": optional(diversity.sequenceRepetition), "self_bleu": optional(diversity.selfBLEU),
      "loop_rate": .number(diversity.loopRate), "broken_rate": .number(diversity.brokenRate),
      "gram": overlap == nil ? .null : .integer(gram), "verbatim_share": optional(verbatimShare),
      "longest_match": longestMatch.map { .integer($0.unicodeScalars.count) } ?? .null,
      "texts": .array(texts),
    ]
  }
}
