import JSON

/// One message of a conversation: a role, a content, and whatever else a template may look at.
public struct ChatMessage: Sendable, Equatable {
  /// All fields in their order: `role`, `content`, and for example `tool_calls`, `name`, `reasoning_content`.
  public var fields: JSONObject

  /// A message with a role and a text.
  public init(role: String, content: String) {
    fields = JSONObject([
      .init(key: "role", value: .string(role)), .init(key: "content", value: .string(content)),
    ])
  }

  /// A message as its fields.
  public init(_ fields: JSONObject) { self.fields = fields }

  /// `role`, if it is a text.
  public var role: String? { fields["role"]?.string }

  /// `content`, if it is a text; of a list of parts, the texts of the parts that have one, joined.
  public var content: String? {
    switch fields["content"] {
    case .string(let text)?: text
    case .array(let parts)?: parts.compactMap { $0["text"]?.string }.joined()
    default: nil
    }
  }

  /// A message of the system.
  public static func system(_ content: String) -> ChatMessage {
    ChatMessage(role: "system", content: content)
  }
  /// A message of the user.
  public static func user(_ content: String) -> ChatMessage { ChatMessage(role: "user", content: content) }
  /// A message of the model.
  public static func assistant(_ content: String) -> ChatMessage {
    ChatMessage(role: "assistant", content: content)
  }
}

extension ChatMessage {
  /// Reads messages from a document: a list of objects, or an object with such a list as `messages`.
  ///
  /// - Parameters:
  ///   - document: every message has a `role` that is a text.
  ///   - source: the file to name in errors.
  /// - Throws: `ChatTemplateError.malformedMessages`.
  public static func list(from document: JSONValue, source: String) throws -> [ChatMessage] {
    guard let list = document.array ?? document["messages"]?.array else {
      throw ChatTemplateError.malformedMessages(
        source: source,
        reason: "must be a list of messages or an object with one as \"messages\", is \(document.kind)")
    }
    return try list.enumerated().map { index, element in
      guard let fields = element.object else {
        throw ChatTemplateError.malformedMessages(
          source: source, reason: "message \(index) must be an object, is \(element.kind)")
      }
      guard fields["role"]?.string != nil else {
        throw ChatTemplateError.malformedMessages(
          source: source, reason: "message \(index) must have a \"role\" that is a text")
      }
      return ChatMessage(fields)
    }
  }
}
