import ArgumentParser
import Inkstone

/// How keys and values are kept, and what makes decoding faster without changing what comes out.
struct SessionOptions: ParsableArguments {
  @OptionGroup var cache: CacheTypeOptions

  @Option(
    help: ArgumentHelp(
      "Keep the prompt's keys and values in a file, and of a later prompt run only what differs.",
      valueName: "path"))
  var promptCache: String?

  @Option(
    help: ArgumentHelp(
      "Guess up to n tokens at a time from what the text has said before; the result stays the same.",
      valueName: "n"))
  var promptLookup: Int?

  @Option(
    name: [.customLong("md", withSingleDash: true), .customLong("draft-model"), .customLong("model-draft")],
    help: ArgumentHelp(
      "Guess with a smaller model of the same vocabulary; the result stays the same.", valueName: "model"))
  var draftModel: String?

  @Option(
    name: [.customLong("draft-max"), .customLong("draft")],
    help: ArgumentHelp("Tokens that the draft model guesses at a time (default: 7).", valueName: "n"))
  var draftMax: Int?

  /// The types of the KV cache.
  var cacheTypes: KeyValueTypes { cache.types }

  /// Whether tokens are guessed.
  var drafts: Bool { promptLookup != nil || draftModel != nil }

  func validate() throws {
    if let promptLookup, promptLookup < 1 {
      throw ValidationError("--prompt-lookup must be 1 or more, is \(promptLookup)")
    }
    if let draftMax, draftMax < 1 { throw ValidationError("--draft-max must be 1 or more, is \(draftMax)") }
    if draftMax != nil, draftModel == nil {
      throw ValidationError("--draft-max is for a draft model; add -md MODEL or leave it out")
    }
    if promptLookup != nil, draftModel != nil {
      throw ValidationError("--prompt-lookup and -md both guess tokens; keep one")
    }
  }

  /// What guesses; `nil` if nothing does.
  ///
  /// - Parameters:
  ///   - capacity: positions of prompt and output.
  func makeDrafter(for model: LanguageModel, plan: DecodingPlan) throws -> (any Drafter)? {
    guard drafts else { return nil }
    if plan.beamCount > 1 || plan.sequenceCount > 1 {
      throw UsageError(
        "--prompt-lookup and -md guess for one sequence; leave them out, or --num-beams and --num-return-sequences"
      )
    }
    if let promptLookup { return PromptLookup(maximum: promptLookup) }
    guard let draftModel else { return nil }
    let draft = try LanguageModel.load(from: draftModel, engine: model.engine)
    let (size, draftSize) = (
      model.decoder.configuration.vocabularySize, draft.decoder.configuration.vocabularySize
    )
    guard size == draftSize else {
      throw UsageError(
        "\(draftModel): has a vocabulary of \(draftSize) tokens, \(model.folder) has \(size); a draft model must have "
          + "the same")
    }
    if let tokenizer = model.tokenizer, let other = draft.tokenizer,
      let token = (0..<size).first(where: { tokenizer.token(for: $0) != other.token(for: $0) })
    {
      throw UsageError(
        "\(draftModel): token \(token) is another than in \(model.folder); a draft model must have the same vocabulary"
      )
    }
    let context = draft.decoder.configuration.contextLength
    return ModelDrafter(
      try InferenceSession(
        decoder: draft.decoder, engine: model.engine, capacity: min(plan.maximumLength, context)),
      maximum: draftMax ?? InferenceSession.alikeRows - 1)
  }
}
