import ArgumentParser
import Inkstone

/// A conversation by turns: messages and commands in, answers out.
struct ChatLoop {
  /// The commands, as `/help` and the help of the program list them.
  static let help = """
    Commands:
      /help           list the commands
      /reset          begin anew; the system message stays
      /system TEXT    set the system message; without a text, remove it
      /retry          answer the last message again
      /undo           take back the last message and its answer
      /save FILE      write the messages as JSON
      /load FILE      go on from messages written so
      /stats          say how much of the context is used and how fast it was
      /exit           leave
    A message that begins with a slash is typed with two.
    """

  private enum Next { case goOn, leave }

  private let conversation: Conversation
  private let settings: GenerationConfiguration
  private let streams: Bool
  private var lastAnswer: ChatAnswer?
  private var answerCount = 0

  init(conversation: Conversation, settings: GenerationConfiguration, streams: Bool) {
    self.conversation = conversation
    self.settings = settings
    self.streams = streams
  }

  /// Talks with whoever sits at the terminal.
  ///
  /// What goes wrong is told, and the conversation goes on.
  mutating func runOnTerminal(history: InputHistory, isQuiet: Bool) throws {
    Interruption.installForConversation()
    if !isQuiet { StandardStreams.note("/help lists the commands, Ctrl-D leaves\n") }
    var reader = MessageReader(prompt: "> ", history: history)
    while let text = try reader.read() {
      do {
        if try take(text) == .leave { return }
      } catch let error as StreamError {
        throw error
      } catch {
        StandardStreams.report("\(error)")
      }
    }
  }

  /// Answers a message on each line of standard input.
  ///
  /// What goes wrong ends the program.
  mutating func runOnLines() throws {
    var input = LineInput()
    while let line = try input.next() {
      // While a line is waited for there is nothing to stop but the program.
      Interruption.install()
      defer { Interruption.uninstall() }
      if try take(line) == .leave { return }
      if Interruption.flag.isRaised { throw ExitCode(Interruption.exitStatus) }
    }
  }

  private mutating func take(_ text: String) throws -> Next {
    if text.allSatisfy(\.isWhitespace) { return .goOn }
    if text.hasPrefix("//") {
      try answer { try $0.send(String(text.dropFirst()), $1, interruption: $2, onPiece: $3) }
    } else if text.hasPrefix("/") {
      return try run(command: text)
    } else {
      try answer { try $0.send(text, $1, interruption: $2, onPiece: $3) }
    }
    return .goOn
  }

  private typealias Ask = (
    Conversation, GenerationConfiguration, InterruptionFlag, @escaping (String) -> Void
  ) throws -> ChatAnswer

  private mutating func answer(_ ask: Ask) throws {
    Interruption.flag.lower()
    var failure: (any Error)?
    let answer = try ask(conversation, settings, Interruption.flag) { [streams] piece in
      guard streams, failure == nil else { return }
      do {
        try StandardStreams.write(piece)
      } catch {
        // Nobody reads any more: there is no point in going on.
        failure = error
        Interruption.flag.raise()
      }
    }
    if let failure { throw failure }
    try StandardStreams.write((streams ? "" : answer.text) + "\n")
    lastAnswer = answer
    answerCount += 1
    for note in answer.notes where answer.finishReason == .length { Diagnostics.log.warning("\(note)") }
    if answer.droppedMessages > 0 {
      Diagnostics.log.warning(
        "the oldest \(answer.droppedMessages) messages did not fit the context and were left out")
    }
    if answer.finishReason == .length, conversation.filledLength >= conversation.contextLength {
      Diagnostics.log.warning("the context of \(conversation.contextLength) tokens is full")
    }
    Diagnostics.log.info(
      """
      read \(answer.promptTokens - answer.reusedTokens) of \(answer.promptTokens) tokens in \
      \(milliseconds(answer.promptDuration)) ms, wrote \(answer.tokens.count) in \
      \(milliseconds(answer.generationDuration)) ms, \(rate(answer.tokens.count, answer.generationDuration)) tokens/s
      """)
  }

  // MARK: Commands

  private mutating func run(command line: String) throws -> Next {
    let parts = line.split(maxSplits: 1, omittingEmptySubsequences: true, whereSeparator: \.isWhitespace)
    let argument = parts.count == 2 ? parts[1].trimmingSuffix(while: \.isWhitespace) : ""
    switch parts[0] {
    case "/help": StandardStreams.note(Self.help + "\n")
    case "/exit", "/quit", "/bye": return .leave
    case "/reset": conversation.messages = systemMessages
    case "/system":
      let others = conversation.messages.dropFirst(systemMessages.count)
      conversation.messages = (argument.isEmpty ? [] : [.system(String(argument))]) + others
    case "/undo":
      guard let last = lastUserMessage else { throw UsageError("there is no message to take back") }
      conversation.messages.removeSubrange(last...)
    case "/retry": try retry()
    case "/save":
      guard !argument.isEmpty else { throw UsageError("/save wants the name of a file") }
      let messages = JSONValue.array(conversation.messages.map { .object($0.fields) })
      try AtomicFile.write(messages.text(.indented) + "\n", to: String(argument))
      Diagnostics.log.notice("\(conversation.messages.count) messages are in \(argument)")
    case "/load":
      guard !argument.isEmpty else { throw UsageError("/load wants the name of a file") }
      let path = String(argument)
      conversation.messages = try ChatMessage.list(from: JSONDocument.load(path), source: path)
      Diagnostics.log.notice("the conversation has \(conversation.messages.count) messages now")
    case "/stats": StandardStreams.note(try statistics())
    default:
      throw UsageError("there is no command \(parts[0]); /help lists them, // begins a message with a slash")
    }
    return .goOn
  }

  private var systemMessages: [ChatMessage] {
    Array(conversation.messages.prefix { $0.role == "system" })
  }

  private var lastUserMessage: Int? { conversation.messages.lastIndex { $0.role == "user" } }

  /// Takes the last answer away and asks for another; with a seed, a different one each time.
  private mutating func retry() throws {
    guard let last = lastUserMessage else { throw UsageError("there is no message to answer again") }
    let before = conversation.messages
    conversation.messages.removeSubrange((last + 1)...)
    do {
      let shift = UInt64(answerCount)
      try answer { conversation, settings, interruption, onPiece in
        var settings = settings
        // The same draws would give the same answer.
        settings.seed = settings.seed.map { $0 &+ shift }
        return try conversation.answer(settings, interruption: interruption, onPiece: onPiece)
      }
    } catch {
      conversation.messages = before
      throw error
    }
  }

  private func statistics() throws -> String {
    let count = conversation.messages.isEmpty ? 0 : try conversation.tokens(of: conversation.messages).count
    var text = "\(conversation.messages.count) messages, \(count) of \(conversation.contextLength) tokens\n"
    if let answer = lastAnswer {
      text += """
        last answer: read \(answer.promptTokens) tokens, \(answer.reusedTokens) of them known, in \
        \(milliseconds(answer.promptDuration)) ms; wrote \(answer.tokens.count) in \
        \(milliseconds(answer.generationDuration)) ms, \
        \(rate(answer.tokens.count, answer.generationDuration)) tokens/s (\(answer.finishReason.rawValue))

        """
    }
    return text
  }
}

extension Substring {
  fileprivate func trimmingSuffix(while predicate: (Character) -> Bool) -> Substring {
    var end = endIndex
    while end > startIndex, predicate(self[index(before: end)]) { end = index(before: end) }
    return self[..<end]
  }
}
