import Foundation
import Inkstone
import Testing
import _TestSupport

/// Conversations: what the model reads, what of it is known already, and what happens when the context ends.
@Suite struct ConversationTests {
  private static let fixtures = URL(filePath: #filePath).deletingLastPathComponent()
    .appending(path: "../Reference/Fixtures").standardizedFileURL.path

  private func withModel<Result>(
    template: String? = ChatModelFolder.template, _ body: (LanguageModel) throws -> Result
  ) throws -> Result {
    let folder = FileManager.default.temporaryDirectory.appending(path: "inkstone-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try ChatModelFolder.write(to: folder, from: Self.fixtures + "/gpt2-plain", template: template)
    return try body(LanguageModel.load(from: folder, engine: BLASEngine(threadCount: 1)))
  }

  private func settings(_ count: Int) -> GenerationConfiguration {
    var settings = GenerationConfiguration()
    settings.maximumNewTokens = count
    settings.samples = false
    return settings
  }

  @Test func theModelReadsWhatTheTemplateWrites() throws {
    try withModel { model in
      let conversation = try Conversation(with: model)
      conversation.messages = [.system("Be."), .user("Hi")]
      let tokens = try conversation.tokens(of: conversation.messages)
      #expect(model.tokenizer?.decode(tokens, skipSpecialTokens: false) == "Be.<e><u>Hi<e><a>")
      #expect(conversation.template?.specialTokens["eos_token"] == "<e>")
      conversation.options.variables = ["shout": "!"]
      let shouted = try conversation.tokens(of: [.user("a")])
      #expect(model.tokenizer?.decode(shouted, skipSpecialTokens: false) == "<u>a<e><a>!")
    }
  }

  /// An answer in the midst of a conversation is the one that a fresh session gives to the whole of it.
  @Test func whatIsKnownIsNotRunAgain() throws {
    try withModel { model in
      let conversation = try Conversation(with: model)
      var pieces: [String] = []
      let first = try conversation.send("ab", settings(5)) { pieces.append($0) }
      #expect(first.promptTokens == 5 && first.reusedTokens == 0)
      #expect(pieces.joined() == first.text && conversation.messages.count == 2)
      let second = try conversation.send("cd", settings(5))
      let prompt = try conversation.tokens(of: Array(conversation.messages.dropLast()))
      // All but the answer's last token was run; it is text that is tokenised as it was generated.
      #expect(second.reusedTokens >= first.promptTokens && second.reusedTokens < prompt.count)
      let fresh = try Conversation(with: model)
      fresh.messages = Array(conversation.messages.dropLast())
      #expect(try fresh.answer(settings(5)).tokens == second.tokens)
      // Going back: what was said is still there up to where it differs.
      conversation.messages = [.user("ax")]
      let third = try conversation.answer(settings(5))
      #expect(third.reusedTokens == 2)
      let other = try Conversation(with: model)
      other.messages = [.user("ax")]
      #expect(try other.answer(settings(5)).tokens == third.tokens)
    }
  }

  @Test func aFullContextKeepsTheConversation() throws {
    try withModel { model in
      let conversation = try Conversation(with: model, contextLength: 30)
      conversation.messages = [.system("S"), .user("0123456789"), .assistant("abcdefgh")]
      let before = conversation.messages
      // 2 + 12 + 10 tokens, and 8 of the next turn.
      #expect(throws: ConversationError.contextExceeded(tokens: 32, context: 30)) {
        try conversation.send("12345", settings(2))
      }
      #expect(conversation.messages == before)
      conversation.dropsOldestTurns = true
      let answer = try conversation.send("12345", settings(2))
      #expect(answer.droppedMessages == 2 && answer.promptTokens == 10)
      #expect(conversation.messages.count == 5)
      // A single message that is too long cannot be helped.
      #expect(throws: ConversationError.self) {
        try conversation.send(String(repeating: "x", count: 40), settings(2))
      }
      #expect(conversation.messages.count == 5)
    }
  }

  /// Without a length, an answer goes on to an end token or to the end of the context, not to twenty tokens.
  @Test func anAnswerMayFillTheContext() throws {
    try withModel { model in
      let conversation = try Conversation(with: model)
      var settings = GenerationConfiguration()
      settings.ignoresEndTokens = true
      let answer = try conversation.send("a", settings)
      #expect(answer.promptTokens + answer.tokens.count == 48 && answer.finishReason == .length)
      #expect(conversation.filledLength == 48)
      settings.returnedSequenceCount = 2
      settings.samples = true
      #expect(throws: ConversationError.severalSequences(2)) { try conversation.answer(settings) }
    }
  }

  @Test func beamsAnswerAtOnce() throws {
    try withModel { model in
      let conversation = try Conversation(with: model)
      _ = try conversation.send("x", settings(3))
      var settings = settings(4)
      settings.beamCount = 3
      var pieces: [String] = []
      let answer = try conversation.send("y", settings) { pieces.append($0) }
      #expect(pieces == [answer.text])
      #expect(try conversation.send("z", self.settings(3)).reusedTokens > 0)
    }
  }

  @Test func aModelWithoutTemplateCompletes() throws {
    try withModel(template: nil) { model in
      #expect(model.chatTemplates == nil)
      let conversation = try Conversation(with: model)
      let tokens = try conversation.tokens(of: [.system("Be."), .user("Hi"), .assistant("x")])
      #expect(model.tokenizer?.decode(tokens, skipSpecialTokens: false) == "Be.\nHi\nx")
    }
  }

  @Test func aRefusalOfTheTemplateIsToldAndForgotten() throws {
    try withModel { model in
      let conversation = try Conversation(with: model)
      conversation.messages = [ChatMessage(role: "narrator", content: "x")]
      let error = #expect(throws: TemplateError.self) { try conversation.send("y") }
      #expect(error?.kind == .raised && error?.message == "no role narrator")
      #expect(conversation.messages.count == 1)
    }
  }

  @Test func aTaskMayAsk() async throws {
    let model = try withModel { $0 }
    let answer = try await model.chat([.user("ab")], settings(4))
    let conversation = try Conversation(with: model)
    #expect(try conversation.send("ab", settings(4)).tokens == answer.tokens)
  }

  /// Cutting a session short leaves what running the rest alone would give, in every family.
  @Test(arguments: [
    "gpt2-plain", "mistral-window", "gemma3_text-two-bases", "llama-dynamic", "phi3-longrope",
    "bloom-seven-heads",
    "qwen3_moe-sparse-steps", "gpt_neo-local-windows",
  ])
  func sessionsCanBeShortened(name: String) throws {
    let decoder = try Decoder.load(from: Self.fixtures + "/" + name)
    let engine = NaiveEngine()
    let count = min(decoder.configuration.contextLength, 40) - 4
    let vocabulary = decoder.configuration.vocabularySize
    let tokens = (0..<count).map { ($0 * 7 + 3) % vocabulary }
    for kept in [0, 1, count / 2, count - 1] {
      let session = try InferenceSession(decoder: decoder, engine: engine)
      try session.append(tokens)
      let left = session.truncate(to: kept)
      #expect(left == kept || (left == 0 && decoder.configuration.stableLength ?? .max < count))
      let other = tokens[..<left] + tokens.suffix(4).map { ($0 + 1) % vocabulary }
      let scores = try withExtendedLifetime(session) { try Array(session.append(Array(other[left...]))) }
      let fresh = try InferenceSession(decoder: decoder, engine: engine)
      if left > 0 { try fresh.append(Array(other[..<left])) }
      let wanted = try withExtendedLifetime(fresh) { try Array(fresh.append(Array(other[left...]))) }
      #expect(scores == wanted, "\(name), \(kept) kept")
    }
  }
}
