import ArgumentParser
import Inkstone

/// How a conversation is laid out.
struct ChatTemplateOptions: ParsableArguments {
  @Option(help: ArgumentHelp("What the model is told first, as a message of the system.", valueName: "text"))
  var system: String?

  @Option(
    help: ArgumentHelp(
      "How the conversation is written down: the name of one of the model's templates (default: default, or tool_use "
        + "with --tools), a file, or a template in the language of jinja2.", valueName: "name|path|text"))
  var chatTemplate: String?

  @Option(
    help: ArgumentHelp(
      "Variables for the template as a JSON object, such as '{\"enable_thinking\": false}'.",
      valueName: "json"))
  var chatTemplateKwargs: String?

  @Option(
    help: ArgumentHelp("Functions that the model may call: a JSON list of schemas.", valueName: "path"))
  var tools: String?

  @Option(
    help: ArgumentHelp(
      "Messages to begin with: a JSON list of objects with role and content, or an object with one as messages.",
      valueName: "path"))
  var messages: String?

  /// Whether a flag asks for a conversation.
  var isActive: Bool { system != nil || chatTemplate != nil || messages != nil }

  func validate() throws {
    if let chatTemplateKwargs {
      guard case .object? = try? JSONValue.parse(chatTemplateKwargs) else {
        throw ValidationError("--chat-template-kwargs must be a JSON object")
      }
    }
  }

  /// The template to use; `nil` for a model that has none, where none is given.
  func template(for model: LanguageModel) throws -> ChatTemplate? {
    let special = model.tokenizer?.specialTokens ?? [:]
    let set = model.chatTemplates
    guard let chatTemplate else {
      return try set?.template(hasTools: tools != nil, specialTokens: special)
    }
    if let set, set.names.contains(chatTemplate) {
      return try set.template(named: chatTemplate, specialTokens: special)
    }
    if chatTemplate.contains("{") {
      return try ChatTemplate(chatTemplate, name: "--chat-template", specialTokens: special)
    }
    guard fileExists(chatTemplate) else {
      let names =
        set.map { "one of its templates (\($0.names.joined(separator: ", ")))" }
        ?? "one of its own, which it has none of"
      throw UsageError(
        "--chat-template \(chatTemplate): there is no such file, and the model does not know it as \(names)")
    }
    return try ChatTemplate(
      TextFile.read(chatTemplate), name: chatTemplate, specialTokens: special)
  }

  /// What else the template is given.
  func options() throws -> ChatTemplate.Options {
    var options = ChatTemplate.Options()
    if let chatTemplateKwargs {
      options.variables = try JSONValue.parse(chatTemplateKwargs).object ?? JSONObject()
    }
    if let tools {
      guard let list = try JSONDocument.load(tools).array, list.allSatisfy({ $0.object != nil }) else {
        throw UsageError("\(tools): must be a list of objects, a JSON schema each")
      }
      options.tools = list
    }
    return options
  }

  /// The messages to begin with, the system's first.
  func openingMessages() throws -> [ChatMessage] {
    let given = try messages.map { try ChatMessage.list(from: JSONDocument.load($0), source: $0) } ?? []
    guard let system else { return given }
    if let messages, given.first?.role == "system" {
      throw UsageError("--system and the system message of \(messages) contradict each other; keep one")
    }
    return [.system(system)] + given
  }

  /// Says that a model is not made for conversations.
  static func warn(about model: LanguageModel) {
    Diagnostics.log.warning(
      "\(model.folder) has no chat template; the texts of the messages are completed as they are")
  }
}

/// Files of text that a user names.
enum TextFile {
  /// The text of a file.
  ///
  /// - Throws: `FileError`; `UsageError` for a file that is not UTF-8.
  static func read(_ path: String) throws -> String {
    let bytes = try readFile(path)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw UsageError("\(path): is not UTF-8 text")
    }
    return text
  }
}
