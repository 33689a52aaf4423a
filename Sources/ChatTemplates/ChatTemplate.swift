import JSON

/// Why a conversation cannot be laid out, beside what a template itself says (`TemplateError`).
public enum ChatTemplateError: Error, Equatable, CustomStringConvertible {
  /// There is no message.
  case emptyConversation
  /// The model has several templates, and none of them is the default.
  case noDefault(names: [String])
  /// There is no template of that name.
  case unknownName(name: String, names: [String])
  /// The file with the template holds something else.
  case malformed(file: String, field: String, reason: String)
  /// The final message cannot be continued.
  case cannotContinue(reason: String)
  /// A document holds no messages.
  case malformedMessages(source: String, reason: String)

  /// One line with the fix.
  public var description: String {
    switch self {
    case .emptyConversation: "the conversation is empty; give at least one message"
    case .noDefault(let names):
      "the model has several chat templates and no default; name one of \(names.joined(separator: ", "))"
    case .unknownName(let name, let names):
      "there is no chat template \"\(TemplateError.oneLine(name))\"; the model has \(names.joined(separator: ", "))"
    case .malformed(let file, let field, let reason):
      "\(TemplateError.oneLine(file)): \(TemplateError.oneLine(field)) \(TemplateError.oneLine(reason))"
    case .cannotContinue(let reason): "the final message cannot be continued: \(reason)"
    case .malformedMessages(let source, let reason):
      "\(TemplateError.oneLine(source)): \(TemplateError.oneLine(reason))"
    }
  }
}

/// How a model wants a conversation written down.
///
/// The text equals that of transformers 5.23's `apply_chat_template(..., tokenize=False)`. It holds the model's
/// special tokens, a first one included: it is encoded without adding any.
public struct ChatTemplate: Sendable {
  /// The template.
  public let template: JinjaTemplate
  /// The model's special tokens by role: `bos_token`, `eos_token` and so on.
  public var specialTokens: [String: String]

  /// Reads a template.
  ///
  /// - Parameters:
  ///   - source: the template in the language of jinja2.
  ///   - name: what errors call it.
  ///   - specialTokens: the model's special tokens by role.
  /// - Throws: `TemplateError` with the line.
  public init(_ source: String, name: String = "chat template", specialTokens: [String: String] = [:]) throws
  {
    template = try JinjaTemplate(source, name: name)
    self.specialTokens = specialTokens
  }

  /// What is laid out beside the messages, and how.
  public struct Options: Sendable {
    /// Functions that the model may call, as JSON schemas.
    public var tools: [JSONValue]?
    /// Documents that the model may draw on, objects with `title` and `text`.
    public var documents: [JSONValue]?
    /// Whether the text ends where the model's answer begins.
    public var addsGenerationPrompt = true
    /// Whether the text ends within the final message, so that the model goes on with it.
    public var continuesFinalMessage = false
    /// Further variables, such as `enable_thinking`; they go over special tokens of the same name.
    public var variables = JSONObject()
    /// What `strftime_now` reads.
    public var clock = TemplateClock.system
    /// What the rendering may cost.
    public var limits = TemplateLimits()

    /// The defaults: neither tools nor documents, ready for an answer.
    public init() {}
  }

  /// The text of a conversation.
  ///
  /// - Parameters:
  ///   - messages: at least one; fields that are `null` count as missing.
  ///   - options: tools, documents, variables.
  /// - Throws: `TemplateError` for what the template says or cannot do, `ChatTemplateError`.
  public func render(_ messages: [ChatMessage], _ options: Options = Options()) throws -> String {
    try rendering(messages, options).text
  }

  /// The text of a conversation, and which parts of it are the model's own: those in `{% generation %}` blocks.
  ///
  /// - Returns: the text, and ranges of its UTF-8 bytes.
  /// - Throws: as `render`.
  public func rendering(
    _ messages: [ChatMessage], _ options: Options = Options()
  ) throws -> (text: String, generated: [Range<Int>]) {
    guard !messages.isEmpty else { throw ChatTemplateError.emptyConversation }
    var objects = messages.map { ChatTemplate.withReasoning(ChatTemplate.withoutNulls($0.fields)) }
    let continued = options.continuesFinalMessage ? try ChatTemplate.mark(&objects, options) : nil
    var variables: [JSONObject.Member] = specialTokens.sorted { $0.key < $1.key }.map {
      .init(key: $0.key, value: .string($0.value))
    }
    variables += options.variables.members
    variables += [
      .init(key: "messages", value: .array(objects.map(JSONValue.object))),
      .init(key: "tools", value: options.tools.map(JSONValue.array) ?? .null),
      .init(key: "documents", value: options.documents.map(JSONValue.array) ?? .null),
      .init(key: "add_generation_prompt", value: .bool(options.addsGenerationPrompt)),
    ]
    var result = try template.rendering(
      JSONObject(variables), isStrict: false, limits: options.limits, clock: options.clock)
    if let continued { result.text = try ChatTemplate.cut(result.text, after: continued) }
    return result
  }

  /// Many templates take a `null` for a text; transformers leaves such fields out.
  private static func withoutNulls(_ message: JSONObject) -> JSONObject {
    JSONObject(message.members.filter { !$0.value.isNull })
  }

  /// Under the names that templates read: a reasoning has had several.
  private static func withReasoning(_ message: JSONObject) -> JSONObject {
    let names = ["reasoning_content", "thinking", "reasoning"]
    guard let reasoning = names.lazy.compactMap({ message[$0] }).first else { return message }
    var members = message.members
    if let index = members.firstIndex(where: { $0.key == "thinking" }) {
      members.insert(members.remove(at: index), at: 0)
    } else {
      members.insert(.init(key: "thinking", value: reasoning), at: 0)
    }
    if let index = members.firstIndex(where: { $0.key == "reasoning_content" }) {
      members[index].value = reasoning
    } else {
      members.append(.init(key: "reasoning_content", value: reasoning))
    }
    return JSONObject(members)
  }

  // MARK: Continuing the final message

  /// Ends in a space, so that a template that trims its messages shows.
  private static let continuationTag = "CONTINUE_FINAL_MESSAGE_TAG "

  /// Puts a tag at the end of the final message's text.
  ///
  /// - Returns: the text without it.
  private static func mark(_ messages: inout [JSONObject], _ options: Options) throws -> String {
    guard !options.addsGenerationPrompt else {
      throw ChatTemplateError.cannotContinue(
        reason: "a new answer is asked for as well (addsGenerationPrompt)")
    }
    let last = messages.count - 1
    guard let index = messages[last].members.lastIndex(where: { $0.key == "content" }) else {
      throw ChatTemplateError.cannotContinue(reason: "it has no content")
    }
    switch messages[last].members[index].value {
    case .string(let text):
      messages[last].members[index].value = .string(text + continuationTag)
      return text
    case .array(var parts):
      guard let part = parts.lastIndex(where: { $0["text"]?.string != nil }), var object = parts[part].object,
        let place = object.members.lastIndex(where: { $0.key == "text" }),
        let text = object.members[place].value.string
      else { throw ChatTemplateError.cannotContinue(reason: "none of its parts is a text") }
      object.members[place].value = .string(text + continuationTag)
      parts[part] = .object(object)
      messages[last].members[index].value = .array(parts)
      return text
    default: throw ChatTemplateError.cannotContinue(reason: "its content is no text")
    }
  }

  /// Ends a text where the tag stands, without the space that the template may have trimmed with it.
  private static func cut(_ text: String, after message: String) throws -> String {
    let bytes = Array(text.utf8)
    let whole = Text(bytes: bytes)
    let tag = Text(String(continuationTag.dropLast()))
    guard whole.contains(Text(message).stripped()),
      let offset = whole.lastOffset(of: tag, in: 0..<bytes.count)
    else {
      throw ChatTemplateError.cannotContinue(reason: "the template does not show it as it is")
    }
    let before = Text(bytes[..<offset])
    let end = offset + tag.bytes.count
    let isUntrimmed = end < bytes.count && bytes[end] == 0x20
    return (isUntrimmed ? before : before.stripped(left: false)).string
  }
}
