import ArgumentParser
import Inkstone

/// `inkstone chat`: a conversation.
struct ChatCommand: ModelCommand {
  static let configuration = CommandConfiguration(
    commandName: "chat",
    abstract: "Talk with a model.",
    discussion: """
      Examples:
        inkstone chat
        inkstone chat -m MODEL --system "Answer in one sentence." --temp 0.7
        inkstone chat -m MODEL --chat-template-kwargs '{"enable_thinking": false}'
        printf 'Hello!\\nAnd in French?\\n' | inkstone chat -m MODEL

      Messages are laid out by the model's chat template, or by --chat-template. A
      model without one is not made for conversations: the texts are completed as
      they are. What the cache holds of a conversation is not run again.

      On a terminal: Enter sends, Alt-Enter or Ctrl-J begins a new line, pasted text
      stays one message; arrows, Home, End, Ctrl-A/E/K/U/W/Y/L edit; Up and Down
      bring back earlier messages, kept in $XDG_STATE_HOME/inkstone/history. Ctrl-C
      stops an answer, clears the line, and on an empty line leaves, as Ctrl-D does.
      Otherwise every line is a message, and the answers go to standard output.

      \(ChatLoop.help)
      """)

  @OptionGroup var model: ModelOptions
  @OptionGroup var adapter: AdapterOptions
  @OptionGroup(title: "Conversation") var chat: ChatTemplateOptions

  @Flag(help: "Leave the oldest turns out when the context is full, instead of stopping there.")
  var contextShift = false

  @Option(
    name: [.customShort("c"), .customLong("ctx-size")],
    help: ArgumentHelp(
      "Positions that the conversation can fill (default: the model's context).", valueName: "n"))
  var contextSize: Int?

  @Flag(help: "Print an answer when it is complete instead of as it comes.")
  var noStream = false

  @Flag(help: "Keep no history of what is typed.")
  var noHistory = false

  @OptionGroup(title: "Generation") var generation: GenerationOptions
  @OptionGroup(title: "Engine") var engine: EngineOptions

  @Flag(
    name: [.customShort("v"), .customLong("verbose")],
    help: "Say on standard error what is used and how long each answer takes.")
  var verbose = false

  @Flag(name: [.customShort("q"), .customLong("quiet")], help: "Say nothing on standard error but errors.")
  var quiet = false

  func validate() throws {
    if let contextSize, contextSize < 2 {
      throw ValidationError("--ctx-size must be 2 or more, is \(contextSize)")
    }
    if verbose, quiet { throw ValidationError("--verbose and --quiet contradict each other; keep one") }
  }

  func modelFolder() throws -> String {
    // An adapter that is given belongs to the standard model.
    try model.resolvedFolder(preferring: adapter.lora == nil ? BundledModels.chatName : nil)
  }

  func run() throws {
    Diagnostics.configure(verbose: verbose, quiet: quiet)
    let settings = try generation.configuration()
    let opening = try chat.openingMessages()
    let options = try chat.options()
    // What is typed while the model loads is the first message.
    if Terminal.isInteractive { Terminal.waitSilently() }
    defer { Terminal.restore() }
    let model = try engine.load(try modelFolder(), adapter: adapter.lora)
    let conversation = try Conversation(
      with: model, template: try chat.template(for: model), contextLength: contextSize)
    conversation.messages = opening
    conversation.options = options
    conversation.dropsOldestTurns = contextShift
    for field in model.decoder.unknownConfigurationFields {
      Diagnostics.log.warning("\(model.folder)/config.json: \(field) is unknown and has no effect")
    }
    if conversation.template == nil { ChatTemplateOptions.warn(about: model) }
    Diagnostics.log.info(
      "\(model.folder): \(model.decoder.configuration.modelType), context \(conversation.contextLength)")
    var loop = ChatLoop(conversation: conversation, settings: settings, streams: !noStream)
    if Terminal.isInteractive {
      try loop.runOnTerminal(
        history: InputHistory(path: noHistory ? nil : InputHistory.defaultPath), isQuiet: quiet)
    } else {
      try loop.runOnLines()
    }
  }
}
