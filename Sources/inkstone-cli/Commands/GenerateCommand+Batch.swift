import ArgumentParser
import Inkstone

extension GenerateCommand {
  /// Whether the prompts are the lines of a file.
  var isBatch: Bool { batchSize != nil || prompt.file.map(PromptLines.recognises) ?? false }

  /// Checks what does not go with many prompts.
  func validateBatch() throws {
    if let batchSize, !(1...4096).contains(batchSize) {
      throw ValidationError("--batch-size must be from 1 to 4096, is \(batchSize)")
    }
    guard isBatch else { return }
    guard prompt.file != nil else {
      throw ValidationError(
        "--batch-size decodes the prompts of a file together; give it with -f prompts.jsonl")
    }
    if prompting.isActive {
      throw ValidationError(
        "--template and --examples make one prompt; leave them out with prompts from lines")
    }
    if chat.messages != nil {
      throw ValidationError("--messages is one conversation; write \"messages\" on a line of the file")
    }
    if session.drafts || session.promptCache != nil {
      throw ValidationError(
        "--prompt-lookup, -md and --prompt-cache are for one prompt; leave them out with prompts from lines")
    }
  }

  /// Generates for the prompts of a file, many at a time.
  func runBatch(format: OutputFormat, start: ContinuousClock.Instant) throws {
    let clock = ContinuousClock()
    let flags = try generation.configuration()
    let makeProcessor = try postProcessing.makeProcessor(keepsSpecialTokens: special)
    let model = try engine.load(try modelFolder(), adapter: adapter.lora, check: .whenUsed)
    let processor = try makeProcessor.map { $0(try specialTokens(of: model)) }
    let lines = try PromptLines.load(prompt.file ?? "-", model: model, chat: chat)
    let settings = flags.merged(over: model.generationConfiguration)
    let configuration = model.decoder.configuration
    let context = min(contextSize ?? .max, configuration.contextLength)
    let stopDecoder = model.tokenizer?.makeStreamDecoder(skipSpecialTokens: false)
    var notes: Set<String> = []
    let prompts = try lines.map { line in
      do {
        let plan = try settings.plan(
          promptLength: line.tokens.count, contextLength: context,
          vocabularySize: configuration.vocabularySize)
        for note in plan.notes where notes.insert(note).inserted {
          Diagnostics.log.warning("\(line.place): \(note)")
        }
        return BatchPrompt(tokens: line.tokens, plan: plan, stopDecoder: stopDecoder)
      } catch let error as GenerationError {
        throw UsageError("\(line.place): \(error)")
      }
    }
    let batch = SessionBatch(
      decoder: model.decoder, engine: model.engine, cacheTypes: session.cacheTypes)
    let loadDuration = clock.now - start
    describe(model, context: context)
    Interruption.install()

    // Results come as they are done and are shown in the order of the lines.
    var waiting: [Int: String] = [:]
    var whole = ""
    var next = 0
    var (generated, interrupted) = (0, false)
    let began = clock.now
    try generate(
      prompts, batch: batch, batchSize: batchSize ?? 8, interruption: Interruption.flag
    ) { index, result in
      generated += result.sequences.reduce(0) { $0 + $1.tokens.count }
      interrupted = interrupted || result.interrupted
      let document = GenerationDocument(
        prompt: prompts[index].tokens, result: result,
        texts: try texts(of: result, model, prompts[index].plan, prompts[index].tokens, processor, format),
        loadDuration: loadDuration,
        tokenText: model.tokenizer.map { tokenizer in { tokenizer.decode([$0], skipSpecialTokens: false) } })
      waiting[index] =
        switch format {
        case .json: document.json.text() + "\n"
        case .text, .markdown: document.rendered(as: format) + (index + 1 < prompts.count ? "\n" : "")
        }
      while let text = waiting.removeValue(forKey: next) {
        if output == nil { try StandardStreams.write(text) } else { whole += text }
        next += 1
      }
    }
    // After an interruption some lines have no result, and those after them are shown all the same.
    for index in waiting.keys.sorted() {
      let text = waiting[index]!
      if output == nil { try StandardStreams.write(text) } else { whole += text }
    }
    if let output { try AtomicFile.write(whole, to: output) }
    let duration = clock.now - began
    Diagnostics.log.info("load      \(milliseconds(loadDuration)) ms")
    Diagnostics.log.info(
      """
      batch     \(milliseconds(duration)) ms, \(prompts.count) prompts, \
      \(prompts.reduce(0) { $0 + $1.tokens.count }) tokens in, \(generated) tokens out, \
      \(rate(generated, duration)) tokens/s
      """)
    if interrupted || Interruption.flag.isRaised { throw ExitCode(Interruption.exitStatus) }
  }
}
