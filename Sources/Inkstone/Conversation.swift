/// Why a conversation cannot go on; it stays as it is.
public enum ConversationError: Error, Equatable, CustomStringConvertible {
  /// The conversation fills the context, and leaves no room for an answer.
  case contextExceeded(tokens: Int, context: Int)
  /// Several sequences are asked for, and a conversation goes on with one.
  case severalSequences(Int)

  /// One line with the fix.
  public var description: String {
    switch self {
    case .contextExceeded(let tokens, let context):
      "the conversation has \(tokens) tokens and the context holds \(context); shorten it, begin a new one, or let the "
        + "oldest turns go (--context-shift)"
    case .severalSequences(let count):
      "num_return_sequences is \(count), but a conversation goes on with one answer; leave it out"
    }
  }
}

/// What a model answered, and what it took.
public struct ChatAnswer: Sendable {
  /// The text, without special tokens and stop string.
  public let text: String
  /// Its tokens, end token and stop string included.
  public let tokens: [Int]
  /// Why it ended.
  public let finishReason: FinishReason
  /// Tokens of the conversation as it was laid out.
  public let promptTokens: Int
  /// Those of them that were still known from the turn before.
  public let reusedTokens: Int
  /// Messages that were left out because the context could not hold them.
  public let droppedMessages: Int
  /// Time for what of the conversation was new.
  public let promptDuration: Duration
  /// Time for the answer.
  public let generationDuration: Duration
  /// What the user should hear of, one line each.
  public let notes: [String]
}

/// A conversation with a model, which remembers what it has read.
///
/// ```swift
/// let conversation = try Conversation(with: model)
/// conversation.messages = [.system("Answer in one sentence.")]
/// let answer = try conversation.send("What is a transformer?") { print($0, terminator: "") }
/// ```
///
/// The messages are laid out by the model's chat template. A model without one is not made for conversations: the texts
/// of the messages, each on lines of its own, are completed as they are. For one thread at a time.
public final class Conversation {
  /// The model.
  public let model: LanguageModel
  /// The template; `nil` for a model that has none.
  public let template: ChatTemplate?
  /// What has been said; may be changed between answers.
  public var messages: [ChatMessage] = []
  /// Tools, documents and variables of the template.
  public var options = ChatTemplate.Options()
  /// Whether the oldest turns are left out when the context cannot hold them all.
  ///
  /// The system message stays, and so do
  /// the messages in `messages`.
  public var dropsOldestTurns = false
  /// Positions that the conversation can fill.
  public let contextLength: Int
  /// Tokens that the last answer left in the context.
  public private(set) var filledLength = 0

  private let session: ContinuingSession

  /// Begins a conversation.
  ///
  /// - Parameters:
  ///   - model: has a tokeniser.
  ///   - template: goes over the model's own.
  ///   - contextLength: positions to use; the model's context when not given, and never more.
  /// - Throws: `LanguageModelError.noTokenizer`; `TemplateError` or `ChatTemplateError` for a template that cannot be
  ///   used.
  public init(with model: LanguageModel, template: ChatTemplate? = nil, contextLength: Int? = nil) throws {
    let tokenizer = try model.requiredTokenizer()
    self.model = model
    self.template =
      try template ?? model.chatTemplates.map { try $0.template(specialTokens: tokenizer.specialTokens) }
    self.contextLength = min(
      contextLength ?? .max, model.decoder.configuration.contextLength)
    session = ContinuingSession(
      try InferenceSession(decoder: model.decoder, engine: model.engine, capacity: self.contextLength))
  }

  /// Adds a message of the user and answers it.
  ///
  /// - Parameters: as of `answer`.
  /// - Throws: as `answer`; the message is then not part of the conversation.
  @discardableResult
  public func send(
    _ text: String, _ configuration: GenerationConfiguration = GenerationConfiguration(),
    interruption: InterruptionFlag? = nil, onPiece: ((String) -> Void)? = nil
  ) throws -> ChatAnswer {
    messages.append(.user(text))
    do {
      return try answer(configuration, interruption: interruption, onPiece: onPiece)
    } catch {
      messages.removeLast()
      throw error
    }
  }

  /// Answers the messages and adds the answer to them.
  ///
  /// Without a length in the settings, an answer may fill the context. It ends at the model's end tokens, and at the
  /// tokeniser's, which for a model of conversations is the end of a turn.
  ///
  /// - Parameters:
  ///   - configuration: settings that go over the model's own.
  ///   - interruption: once raised, the answer is what there is.
  ///   - onPiece: receives the text as it comes; with beams at once.
  /// - Throws: `ConversationError`; `TemplateError`; whatever generating throws. The messages then stay as they are.
  @discardableResult
  public func answer(
    _ configuration: GenerationConfiguration = GenerationConfiguration(),
    interruption: InterruptionFlag? = nil,
    onPiece: ((String) -> Void)? = nil
  ) throws -> ChatAnswer {
    let tokenizer = try model.requiredTokenizer()
    var settings = configuration.merged(over: model.generationConfiguration)
    if let count = settings.returnedSequenceCount, count > 1 {
      throw ConversationError.severalSequences(count)
    }
    // A length in the model's own settings is meant for texts that begin anew.
    if settings.maximumNewTokens == nil, configuration.maximumLength == nil {
      settings.maximumLength = contextLength
    }
    if template != nil, let end = tokenizer.endOfSequence, settings.endTokens?.contains(end) != true {
      settings.endTokens = (settings.endTokens ?? []) + [end]
    }
    let (prompt, dropped) = try fittingPrompt(settings)
    let plan = try settings.plan(
      promptLength: prompt.count, contextLength: contextLength,
      vocabularySize: model.decoder.configuration.vocabularySize)
    var streamer = try model.makeStreamer(for: plan, prompt: prompt)
    let session: any DecodingSession
    if plan.beamCount > 1 {
      // Beams need rows, which the conversation's own session has but one of.
      session = try model.makeSession(for: plan)
    } else {
      session = self.session
    }
    let result = try Generation.generate(
      prompt: prompt, plan: plan, session: session,
      stopDecoder: tokenizer.makeStreamDecoder(skipSpecialTokens: false), interruption: interruption
    ) { _, token, _ in
      let piece = streamer.append(token)
      if !piece.isEmpty { onPiece?(piece) }
    }
    let sequence = result.sequences[0]
    if plan.beamCount == 1 {
      let rest = streamer.finish()
      if !rest.isEmpty { onPiece?(rest) }
    }
    var whole = try model.makeStreamer(for: plan, prompt: prompt)
    let text = sequence.tokens.map { whole.append($0) }.joined() + whole.finish()
    if plan.beamCount > 1 { onPiece?(text) }
    messages.append(.assistant(text))
    filledLength = prompt.count + sequence.tokens.count
    return ChatAnswer(
      text: text, tokens: sequence.tokens, finishReason: sequence.finishReason, promptTokens: prompt.count,
      reusedTokens: plan.beamCount > 1 ? 0 : self.session.reusedCount, droppedMessages: dropped,
      promptDuration: result.promptDuration, generationDuration: result.generationDuration, notes: plan.notes)
  }

  /// The tokens of messages as the model reads them.
  ///
  /// A template writes the model's special tokens itself, so none are added to its text.
  public func tokens(of messages: [ChatMessage]) throws -> [Int] {
    let tokenizer = try model.requiredTokenizer()
    if let template {
      return try tokenizer.encode(template.render(messages, options), addSpecialTokens: false)
    }
    let text = messages.compactMap(\.content).joined(separator: "\n")
    return try tokenizer.encode(text, addSpecialTokens: true)
  }

  /// The conversation's tokens, shortened by its oldest turns if that is wanted and needed.
  private func fittingPrompt(_ settings: GenerationConfiguration) throws -> (tokens: [Int], dropped: Int) {
    var kept = messages
    var prompt = try tokens(of: kept)
    guard prompt.count >= contextLength || dropsOldestTurns else { return (prompt, 0) }
    // What is dropped makes room for an answer, not just for its first token.
    let room = dropsOldestTurns ? min(settings.maximumNewTokens ?? .max, contextLength / 4) : 1
    while prompt.count + room > contextLength {
      let first = kept.firstIndex { $0.role != "system" && $0.role != "developer" } ?? kept.count
      // A turn is a message of the user with all that follows it.
      guard dropsOldestTurns,
        let next = kept.indices.dropFirst(first + 1).first(where: { kept[$0].role == "user" })
      else {
        if prompt.count < contextLength { break }
        throw ConversationError.contextExceeded(tokens: prompt.count, context: contextLength)
      }
      kept.removeSubrange(first..<next)
      prompt = try tokens(of: kept)
    }
    return (prompt, messages.count - kept.count)
  }
}

extension LanguageModel {
  /// Answers a conversation.
  ///
  /// ```swift
  /// let answer = try await model.chat([.system("Be brief."), .user("What is attention?")])
  /// ```
  ///
  /// - Parameters:
  ///   - messages: what has been said; a `Conversation` remembers what it has read from one answer to the next.
  ///   - configuration: settings that go over the model's own.
  ///   - options: tools, documents and variables of the template.
  /// - Throws: as `Conversation.answer`; `CancellationError` when the task is cancelled.
  public func chat(
    _ messages: [ChatMessage], _ configuration: GenerationConfiguration = GenerationConfiguration(),
    options: ChatTemplate.Options = ChatTemplate.Options()
  ) async throws -> ChatAnswer {
    let interruption = InterruptionFlag()
    return try await withTaskCancellationHandler {
      let answer = try await LanguageModel.onThread {
        let conversation = try Conversation(with: self)
        (conversation.messages, conversation.options) = (messages, options)
        return try conversation.answer(configuration, interruption: interruption)
      }
      try Task.checkCancellation()
      return answer
    } onCancel: {
      interruption.raise()
    }
  }
}
