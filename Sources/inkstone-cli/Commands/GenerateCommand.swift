import ArgumentParser
import Inkstone

/// `inkstone generate`: the main job.
struct GenerateCommand: ModelCommand {
  static let configuration = CommandConfiguration(
    commandName: "generate",
    abstract: "Continue a prompt (the default command).",
    discussion: """
      Examples:
        inkstone generate -m MODEL "人工智能是" --max-length 50 --num-beams 5 \\
          --no-repeat-ngram-size 2 --early-stopping
        inkstone generate -m MODEL "Once upon a time" -n 100 --temp 0.8 --top-p 0.95
        cat article.txt | inkstone generate -m MODEL "In short:" -n 60
        inkstone generate -m MODEL --prompt-ids 1,2,3 --json
        inkstone generate -m MODEL "从前" -n 200 --post --wrap 72 --format markdown
        inkstone generate -m MODEL --system "Answer in one word." "Capital of France?"
        inkstone generate -m MODEL --template t.txt --set text=@in.txt --set lang=zh
        inkstone generate -m MODEL --examples shots.jsonl "sea otter" --stop $'\\n'
        inkstone generate -m MODEL -f prompts.jsonl --batch-size 8 -n 50 --json
        inkstone generate -m MODEL "Once" --do-sample --num-return-sequences 8
        inkstone generate -m MODEL -f article.txt --prompt-lookup 7 -v
        inkstone generate -m MODEL -f long.txt --prompt-cache long.kv -ctk q8_0 -ctv q8_0

      The text goes to standard output and nothing else does. Results equal those
      of transformers 5.23 (float32, batch 1) where nothing is drawn at random. A
      setting comes from the first of: flag, --generation-config, the model's
      generation_config.json, the default.

      Keys of --json: "prompt_ids"; "sequences", each with "text", "token_ids" (new
      ones, end token included), "logprobs", "score" (with beams), "finish_reason"
      (stop, length, stop_string, interrupted); "usage" with "prompt_tokens",
      "completion_tokens"; "timings" with "load_ms", "prompt_ms",
      "prompt_per_second", "predicted_ms", "predicted_per_second", and where tokens
      are guessed "draft_n", "draft_n_accepted"; where --prompt-cache spared some,
      "cached_tokens" in "usage".

      Prompts of a file that ends in .jsonl, or of -f FILE with --batch-size, are an
      object on each line with "prompt", "prompt_ids" or "messages". So many sequences
      go through the model together, each gets what it gets alone (draws too: they
      depend on seed, sequence and position), and the results come in the order of the
      lines: an object each with --json, else texts with an empty line between.

      --prompt-lookup and -md guess tokens and look at several in one pass. Every token
      is still chosen from the model's own scores, with the same draw as without: the
      output is the same, greedy or sampled. A pass of up to eight tokens gives each the
      scores that it gets alone, to the bit; longer guesses are cut to that. -ctk and
      -ctv keep the context in half or a quarter of the memory; scores then differ by
      about 1e-3 (f16) or 1e-2 (q8_0) of their size.

      --system, --chat-template and --messages make the prompt a conversation, laid
      out by the model's chat template as transformers' apply_chat_template does it; a
      model without one completes the texts as they are. --template makes the prompt
      from a file in the language of those templates (jinja2): a field that is not
      set, and a --set that is not used, are errors. --examples FILE holds pairs:
        {"input": "cheese", "output": "fromage"}
      They become turns of a conversation, or {{ examples }} of --template:
        {% for example in examples %}{{ example.input }} => {{ example.output }}
        {% endfor %}{{ prompt }} =>
      or else an input and an output on lines of their own, an empty line between.

      Post-processing is off until one of its flags turns it on. A sequence whose text
      it changed then has the model's own as "raw_text"; tokens and scores stay.
      """)

  @OptionGroup var prompt: PromptOptions
  @OptionGroup var model: ModelOptions
  @OptionGroup var adapter: AdapterOptions
  @OptionGroup(title: "Prompt templates and examples") var prompting: PromptTemplateOptions
  @OptionGroup(title: "Conversations") var chat: ChatTemplateOptions
  @OptionGroup(title: "Generation") var generation: GenerationOptions
  @OptionGroup(title: "Post-processing") var postProcessing: PostProcessingOptions
  @OptionGroup(title: "Context and speed") var session: SessionOptions
  @OptionGroup(title: "Engine") var engine: EngineOptions

  @Option(
    help: ArgumentHelp(
      "Sequences that are decoded together, of prompts that are lines of a file (default: 8).",
      valueName: "n"))
  var batchSize: Int?

  @Option(
    name: [.customShort("c"), .customLong("ctx-size")],
    help: ArgumentHelp("Positions to make room for (default: what the request needs).", valueName: "n"))
  var contextSize: Int?

  @Flag(help: "Begin the text with the prompt.")
  var echo = false

  @Option(
    help: ArgumentHelp(
      "text: the text alone; markdown, json: with tokens, log-probabilities, scores, finish reason and timings "
        + "(default: text).", valueName: "format"))
  var format: OutputFormat?

  @Flag(help: "Print one JSON object; the same as --format json.")
  var json = false

  @Option(
    name: [.customShort("o"), .customLong("output")],
    help: ArgumentHelp("Write to a file instead of standard output.", valueName: "path"))
  var output: String?

  @Flag(help: "Print the text when it is complete instead of as it comes.")
  var noStream = false

  @Flag(help: "Keep special tokens in the text.")
  var special = false

  @Flag(
    name: [.customShort("v"), .customLong("verbose")],
    help: "Say on standard error what is used and how long it takes.")
  var verbose = false

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Say nothing on standard error but errors.")
  var quiet = false

  func validate() throws {
    if let contextSize, contextSize < 1 {
      throw ValidationError("--ctx-size must be 1 or more, is \(contextSize)")
    }
    if json, let format, format != .json {
      throw ValidationError("--json and --format \(format.rawValue) contradict each other; keep one")
    }
    try PromptBuilder(prompt: prompt, prompting: prompting, chat: chat).validate()
    try validateBatch()
    if verbose, quiet { throw ValidationError("--verbose and --quiet contradict each other; keep one") }
  }

  func modelFolder() throws -> String {
    let talks = (chat.system != nil || chat.messages != nil) && adapter.lora == nil
    return try model.resolvedFolder(preferring: talks ? BundledModels.chatName : nil)
  }

  func run() throws {
    Diagnostics.configure(verbose: verbose, quiet: quiet)
    let clock = ContinuousClock()
    let start = clock.now
    let format = self.format ?? (json ? .json : .text)
    if isBatch { return try runBatch(format: format, start: start) }
    let flags = try generation.configuration()
    // Word lists are read first, so that a wrong path is told before a model is loaded.
    let makeProcessor = try postProcessing.makeProcessor(keepsSpecialTokens: special)
    let model = try engine.load(try modelFolder(), adapter: adapter.lora, check: .whenUsed)
    let processor = try makeProcessor.map { $0(try specialTokens(of: model)) }
    let tokens = try PromptBuilder(prompt: prompt, prompting: prompting, chat: chat).tokens(for: model)
    let vocabulary = model.decoder.configuration.vocabularySize
    let context = min(contextSize ?? .max, model.decoder.configuration.contextLength)
    let plan = try flags.merged(over: model.generationConfiguration).plan(
      promptLength: tokens.count, contextLength: context, vocabularySize: vocabulary)
    let inference = try model.makeSession(for: plan, cacheTypes: session.cacheTypes)
    let caching = try session.promptCache.map { try PromptCachingSession(inference, path: $0) }
    let drafter = try session.makeDrafter(for: model, plan: plan)
    let loadDuration = clock.now - start
    for field in model.decoder.unknownConfigurationFields {
      Diagnostics.log.warning("\(model.folder)/config.json: \(field) is unknown and has no effect")
    }
    for note in plan.notes { Diagnostics.log.warning("\(note)") }
    describe(model, context: inference.capacity)

    Interruption.install()
    // Post-processing waits for the whole text: any of its steps may depend on the end.
    let streams =
      !noStream && format == .text && processor == nil && output == nil && plan.beamCount == 1
      && plan.sequenceCount == 1
    var streamer: TextStreamer?
    // The prompt is written with the first token: weights that are looked at when they are used may turn out to be damaged.
    var opening = ""
    if streams, model.tokenizer != nil {
      let (prompt, first) = try makeStreamer(model, plan, tokens)
      (opening, streamer) = (prompt, first)
    }
    var failure: (any Error)?
    let result = try generate(
      prompt: tokens, plan: plan, session: caching ?? inference,
      stopDecoder: model.tokenizer?.makeStreamDecoder(skipSpecialTokens: false),
      interruption: Interruption.flag,
      onToken: { _, token, _ in
        guard streamer != nil, failure == nil else { return }
        let piece = opening + streamer!.append(token)
        opening = ""
        do {
          try StandardStreams.write(piece)
        } catch {
          // Nobody reads any more: there is no point in going on.
          failure = error
          Interruption.flag.raise()
        }
      }, drafter: drafter)
    if let failure { throw failure }
    if let caching, let obstacle = caching.obstacle, let path = session.promptCache {
      Diagnostics.log.notice("\(path): \(obstacle); the prompt was run, and the file is written anew")
    }

    let texts = try texts(of: result, model, plan, tokens, processor, format)
    if streamer != nil {
      try StandardStreams.write(opening + streamer!.finish() + "\n")
    } else {
      let text = GenerationDocument(
        prompt: tokens, result: result, texts: texts, loadDuration: loadDuration,
        cachedTokens: caching?.reusedCount,
        tokenText: model.tokenizer.map { tokenizer in { tokenizer.decode([$0], skipSpecialTokens: false) } }
      ).rendered(as: format)
      if let output { try AtomicFile.write(text, to: output) } else { try StandardStreams.write(text) }
    }
    report(result, prompt: tokens.count, load: loadDuration)
    if let caching {
      Diagnostics.log.info("cached    \(caching.reusedCount) of \(tokens.count) prompt tokens")
    }
    Diagnostics.log.info(
      "KV cache  \(byteText(inference.cacheByteCount)), keys \(session.cacheTypes.keys), values \(session.cacheTypes.values)"
    )
    if result.interrupted { throw ExitCode(Interruption.exitStatus) }
  }

  /// The texts of all sequences.
  func texts(
    of result: GenerationResult, _ model: LanguageModel, _ plan: DecodingPlan, _ tokens: [Int],
    _ processor: PostProcessor?, _ format: OutputFormat
  ) throws -> [GenerationDocument.Text] {
    try result.sequences.map { sequence in
      guard model.tokenizer != nil else {
        let text = format == .json ? "" : sequence.tokens.map(String.init).joined(separator: " ")
        return GenerationDocument.Text(raw: text, final: text)
      }
      var (opening, streamer) = try makeStreamer(model, plan, tokens)
      for token in sequence.tokens { opening += streamer.append(token) }
      let text = opening + streamer.finish()
      return GenerationDocument.Text(raw: text, final: processor?.apply(to: text) ?? text)
    }
  }

  /// The text before a sequence's own (the prompt's with --echo), and what makes the sequence's.
  private func makeStreamer(
    _ model: LanguageModel, _ plan: DecodingPlan, _ prompt: [Int]
  ) throws -> (opening: String, streamer: TextStreamer) {
    echo
      ? try model.makeStreamerAfterPrompt(for: plan, prompt: prompt, keepsSpecialTokens: special)
      : ("", try model.makeStreamer(for: plan, prompt: prompt, keepsSpecialTokens: special))
  }

  /// The texts of the model's special tokens.
  func specialTokens(of model: LanguageModel) throws -> [String] {
    guard let tokenizer = model.tokenizer else {
      throw UsageError(
        "\(model.folder) holds no tokenizer, so there is no text to post-process; leave its flags out")
    }
    return (0..<model.decoder.configuration.vocabularySize).filter(tokenizer.isSpecial).compactMap(
      tokenizer.token)
  }

  func describe(_ model: LanguageModel, context: Int) {
    let engine = model.engine
    Diagnostics.log.info(
      "\(model.folder): \(model.decoder.configuration.modelType), context \(context)")
    Diagnostics.log.info(
      """
      engine \(engine.name), \(engine.threadCount) \(engine.threadCount == 1 ? "thread" : "threads"), \
      OpenBLAS \(BLAS.version) \(BLAS.coreType)
      """)
  }

  private func report(_ result: GenerationResult, prompt: Int, load: Duration) {
    let generated = result.sequences.reduce(0) { $0 + $1.tokens.count }
    Diagnostics.log.info("load      \(milliseconds(load)) ms")
    Diagnostics.log.info(
      """
      prompt    \(milliseconds(result.promptDuration)) ms, \(prompt) tokens, \
      \(rate(prompt, result.promptDuration)) tokens/s
      """)
    Diagnostics.log.info(
      """
      generated \(milliseconds(result.generationDuration)) ms, \(generated) tokens, \
      \(rate(generated, result.generationDuration)) tokens/s
      """)
    if let counts = result.speculation {
      Diagnostics.log.info(
        """
        guessed   \(counts.drafted) tokens, of which \(counts.accepted) came out; \
        \(result.stepCount) passes
        """)
    }
  }
}
