import Foundation

/// A text that a model wrote, with what is known about it.
public struct GeneratedText: Sendable {
  /// The text, without prompt, special tokens and stop string.
  public let text: String
  /// Its new tokens, end token and stop string included.
  public let tokens: [Int]
  /// log p of each new token under the model alone.
  public let logProbabilities: [Float]
  /// The score by which beam search ranked it; `nil` without beams.
  public let score: Float?
  /// Why it ended.
  public let finishReason: FinishReason
}

/// Why a model cannot be asked.
public enum LanguageModelError: Error, Equatable, CustomStringConvertible {
  /// The model folder holds no tokeniser.
  case noTokenizer(folder: String)

  /// One line with the fix.
  public var description: String {
    switch self {
    case .noTokenizer(let folder):
      "\(folder) holds no tokenizer; add tokenizer.json (or vocab.json and merges.txt), or use token ids"
    }
  }
}

extension LanguageModel {
  /// Continues a prompt, best sequence first.
  ///
  /// ```swift
  /// var settings = GenerationConfiguration()
  /// settings.beamCount = 5
  /// settings.noRepeatNGramSize = 2
  /// settings.maximumLength = 50
  /// let texts = try await model.generate("人工智能是", settings)
  /// ```
  ///
  /// - Parameters:
  ///   - prompt: the text to continue.
  ///   - configuration: settings that go over the model's own.
  /// - Throws: an error that names the setting or the file; `CancellationError` when the task is cancelled.
  public func generate(
    _ prompt: String, _ configuration: GenerationConfiguration = GenerationConfiguration()
  ) async throws -> [GeneratedText] {
    let interruption = InterruptionFlag()
    return try await withTaskCancellationHandler {
      let result = try await LanguageModel.onThread {
        try self.generate(prompt, configuration, interruption: interruption, onPiece: nil)
      }
      try Task.checkCancellation()
      return result
    } onCancel: {
      interruption.raise()
    }
  }

  /// Continues a prompt piece by piece, as the tokens come.
  ///
  /// ```swift
  /// for try await piece in model.stream("Once upon a time") { print(piece, terminator: "") }
  /// ```
  ///
  /// The pieces joined are the text. With beams, which are known at the end only, there is one piece. Ending the
  /// loop early ends the generation.
  ///
  /// - Parameters: as of `generate(_:_:)`.
  public func stream(
    _ prompt: String, _ configuration: GenerationConfiguration = GenerationConfiguration()
  ) -> AsyncThrowingStream<String, any Error> {
    AsyncThrowingStream { continuation in
      let interruption = InterruptionFlag()
      continuation.onTermination = { _ in interruption.raise() }
      Task {
        do {
          try await LanguageModel.onThread {
            let texts = try self.generate(prompt, configuration, interruption: interruption) {
              continuation.yield($0)
            }
            if texts.first?.score != nil, let best = texts.first { continuation.yield(best.text) }
          }
          continuation.finish()
        } catch {
          continuation.finish(throwing: error)
        }
      }
    }
  }

  /// log p(x_t | x_<t) of every token of a text but the first, in nats.
  ///
  /// - Parameter text: at least two tokens, no more than the model's context.
  /// - Returns: the tokens, and one score fewer than there are tokens.
  public func score(_ text: String) throws -> (tokens: [Int], logProbabilities: [Double]) {
    let tokens = try requiredTokenizer().encode(text, addSpecialTokens: true)
    return (tokens, try Scorer(decoder: decoder, engine: engine).logProbabilities(of: tokens))
  }

  /// Makes a session sized for a plan.
  ///
  /// - Parameter cacheTypes: how keys and values are kept.
  public func makeSession(
    for plan: DecodingPlan, cacheTypes: KeyValueTypes = KeyValueTypes()
  ) throws -> InferenceSession {
    try InferenceSession(
      decoder: decoder, engine: engine, capacity: plan.maximumLength,
      maximumRows: max(plan.beamCount, plan.sequenceCount), cacheTypes: cacheTypes)
  }

  /// Makes the decoder of a sequence's text, which ends before a stop string.
  ///
  /// - Parameter keepsSpecialTokens: whether special tokens appear in the text.
  public func makeStreamer(
    for plan: DecodingPlan, prompt: [Int], keepsSpecialTokens: Bool = false
  ) throws -> TextStreamer {
    let decoder = try requiredTokenizer().makeStreamDecoder(skipSpecialTokens: !keepsSpecialTokens)
    return try makeStreamer(decoder, plan, prompt, keepsSpecialTokens)
  }

  /// The same for a text that is shown after its prompt: the prompt's text, and a decoder that goes on from there,
  /// so that both joined are the decoding of all tokens (a space between words may belong to neither alone).
  public func makeStreamerAfterPrompt(
    for plan: DecodingPlan, prompt: [Int], keepsSpecialTokens: Bool = false
  ) throws -> (promptText: String, streamer: TextStreamer) {
    var decoder = try requiredTokenizer().makeStreamDecoder(skipSpecialTokens: !keepsSpecialTokens)
    let text = prompt.map { decoder.append($0) }.joined()
    return (text, try makeStreamer(decoder, plan, prompt, keepsSpecialTokens))
  }

  private func makeStreamer(
    _ decoder: StreamDecoder, _ plan: DecodingPlan, _ prompt: [Int], _ keepsSpecialTokens: Bool
  ) throws -> TextStreamer {
    TextStreamer(
      decoder: decoder, stopStrings: plan.stopStrings,
      comparisonDecoder: try requiredTokenizer().makeStreamDecoder(skipSpecialTokens: false), prompt: prompt)
  }

  func requiredTokenizer() throws -> Tokenizer {
    guard let tokenizer else { throw LanguageModelError.noTokenizer(folder: folder) }
    return tokenizer
  }

  private func generate(
    _ prompt: String, _ configuration: GenerationConfiguration, interruption: InterruptionFlag,
    onPiece: ((String) -> Void)?
  ) throws -> [GeneratedText] {
    let tokenizer = try requiredTokenizer()
    let tokens = try tokenizer.encode(prompt, addSpecialTokens: true)
    let plan = try configuration.merged(over: generationConfiguration).plan(
      promptLength: tokens.count, contextLength: decoder.configuration.contextLength,
      vocabularySize: decoder.configuration.vocabularySize)
    let session = try makeSession(for: plan)
    var streamer = try makeStreamer(for: plan, prompt: tokens)
    let result = try Generation.generate(
      prompt: tokens, plan: plan, session: session,
      stopDecoder: tokenizer.makeStreamDecoder(skipSpecialTokens: false), interruption: interruption
    ) { sequence, token, _ in
      guard let onPiece, sequence == 0 else { return }
      let piece = streamer.append(token)
      if !piece.isEmpty { onPiece(piece) }
    }
    if let onPiece, plan.beamCount == 1 {
      let rest = streamer.finish()
      if !rest.isEmpty { onPiece(rest) }
    }
    return try result.sequences.map { sequence in
      var streamer = try makeStreamer(for: plan, prompt: tokens)
      return GeneratedText(
        text: sequence.tokens.map { streamer.append($0) }.joined() + streamer.finish(),
        tokens: sequence.tokens,
        logProbabilities: sequence.logProbabilities, score: sequence.score,
        finishReason: sequence.finishReason)
    }
  }

  /// Runs long work off the cooperative threads, which are as few as the cores and must not be held.
  static func onThread<Value: Sendable>(
    _ body: @escaping @Sendable () throws -> Value
  ) async throws -> Value {
    try await withCheckedThrowingContinuation { continuation in
      let thread = Thread { continuation.resume(with: Result { try body() }) }
      thread.name = "inkstone.generate"
      thread.start()
    }
  }
}
