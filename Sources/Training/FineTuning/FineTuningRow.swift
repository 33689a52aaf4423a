import ChatTemplates
import Checkpoints
import JSON

/// One example to learn from, as a file has it.
struct FineTuningRow {
  /// What it is.
  enum Content {
    /// A conversation; the messages from a number on are to be learned where the model speaks.
    case conversation([ChatMessage], firstAnswer: Int, tools: [JSONValue]?)
    /// A text and what follows it.
    case completion(prompt: String, answer: String)
    /// A text, all of which is learned.
    case text(String)
  }

  /// The file and the line or row, for messages.
  let place: String
  let content: Content

  // MARK: Files

  /// Reads JSON Lines, or a JSON list.
  ///
  /// - Throws: `FileError`; `TrainingError.data` that names file, line and field.
  static func load(_ path: String) throws -> [FineTuningRow] {
    if folderExists(path) { throw FileError.isDirectory(path: path) }
    let bytes = try readFile(path, limit: 4 << 30)
    func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (0x09...0x0D).contains(byte) }
    var start = bytes.firstIndex { !isSpace($0) } ?? bytes.count
    // A byte order mark is no part of the document.
    if bytes[start...].starts(with: [0xEF, 0xBB, 0xBF]) {
      start += 3
      start = bytes[start...].firstIndex { !isSpace($0) } ?? bytes.count
    }
    guard start < bytes.count else {
      throw TrainingError.data(path: path, reason: "is empty; give JSON Lines with an example on each line")
    }
    func parse(_ part: ArraySlice<UInt8>, _ place: String) throws -> JSONValue {
      do {
        return try part.withUnsafeBytes { try JSONValue.parse($0) }
      } catch let error as JSONError {
        throw TrainingError.data(path: path, reason: "\(place)is \(error)")
      }
    }
    var rows: [FineTuningRow] = []
    if bytes[start] == 0x5B {
      for (index, value) in (try parse(bytes[start...], "").array ?? []).enumerated() {
        rows.append(try FineTuningRow(value, path: path, place: "row \(index + 1)"))
      }
    } else {
      var line = 1
      for part in bytes[start...].split(separator: 0x0A, omittingEmptySubsequences: false) {
        if !part.allSatisfy(isSpace) {
          rows.append(
            try FineTuningRow(try parse(part, "line \(line) "), path: path, place: "line \(line)"))
        }
        line += 1
      }
    }
    guard !rows.isEmpty else { throw TrainingError.data(path: path, reason: "holds no examples") }
    return rows
  }

  // MARK: Rows

  init(_ value: JSONValue, path: String, place: String) throws {
    self.place = "\(path): \(place)"
    func refuse(_ reason: String) -> TrainingError { .data(path: path, reason: "\(place): \(reason)") }
    guard let object = value.object else { throw refuse("must be an object, is \(value.kind)") }
    func text(_ key: String) throws -> String? {
      switch object[key] {
      case nil, .null?: return nil
      case .string(let text)?: return text
      case let other?: throw refuse("\(key) must be a text, is \(other.kind)")
      }
    }
    var tools: [JSONValue]?
    if let value = object["tools"], !value.isNull {
      guard let list = value.array else { throw refuse("tools must be a list, is \(value.kind)") }
      tools = list
    }
    if let messages = object["messages"] ?? object["conversations"] {
      let system = try text("system").map { [ChatMessage.system($0)] } ?? []
      let list = try FineTuningRow.messages(messages, refuse)
      content = .conversation(system + list, firstAnswer: 0, tools: tools)
    } else if let prompt = object["prompt"], let completion = object["completion"] {
      if prompt.array != nil || completion.array != nil {
        let before = try FineTuningRow.messages(prompt, refuse)
        content = .conversation(
          before + (try FineTuningRow.messages(completion, refuse)), firstAnswer: before.count, tools: tools)
      } else {
        guard let prompt = try text("prompt"), let completion = try text("completion") else {
          throw refuse("prompt and completion must be texts")
        }
        content = .completion(prompt: prompt, answer: completion)
      }
    } else if let (question, answer) = try FineTuningRow.task(text) {
      var messages = try text("system").flatMap { $0.isEmpty ? nil : [ChatMessage.system($0)] } ?? []
      if let history = object["history"], !history.isNull {
        for turn in history.array ?? [] {
          guard let turn = turn.array, turn.count == 2, let user = turn[0].string, let reply = turn[1].string
          else { throw refuse("history must be a list of pairs of texts") }
          messages += [.user(user), .assistant(reply)]
        }
      }
      messages += [.user(question), .assistant(answer)]
      content = .conversation(messages, firstAnswer: messages.count - 1, tools: tools)
    } else if let text = try text("text") {
      content = .text(text)
    } else {
      let keys = object.members.prefix(6).map { $0.key.debugDescription }.joined(separator: ", ")
      throw refuse(
        "must have messages, instruction and output, prompt and completion, or text; has \(keys.isEmpty ? "nothing" : keys)"
      )
    }
    if case .conversation(let messages, let first, _) = content,
      !messages[first...].contains(where: { $0.role == "assistant" })
    {
      throw refuse("has no message of the assistant to learn from")
    }
  }

  /// A task and its answer, under the names that instruction data have.
  private static func task(_ text: (String) throws -> String?) throws -> (question: String, answer: String)? {
    for (input, output) in [("input", "output"), ("question", "answer")] {
      guard let answer = try text(output) else { continue }
      let parts = [try text("instruction"), try text(input)].compactMap { $0 }
      guard !parts.isEmpty else { continue }
      // The task, then what it is about, on lines of its own.
      return (parts.filter { !$0.isEmpty }.joined(separator: "\n"), answer)
    }
    return nil
  }

  /// Messages with `role` and `content`, or `from` and `value`.
  private static func messages(
    _ value: JSONValue, _ refuse: (String) -> TrainingError
  ) throws -> [ChatMessage] {
    guard let list = value.array else { throw refuse("messages must be a list, is \(value.kind)") }
    let roles = ["human": "user", "gpt": "assistant"]
    return try list.enumerated().map { index, element in
      guard let fields = element.object else {
        throw refuse("message \(index + 1) must be an object, is \(element.kind)")
      }
      if fields["role"] == nil, let from = fields["from"]?.string, let value = fields["value"]?.string {
        return ChatMessage(role: roles[from] ?? from, content: value)
      }
      guard fields["role"]?.string != nil else {
        throw refuse("message \(index + 1) must have a role that is a text")
      }
      let message = ChatMessage(fields)
      let hasCalls = fields["tool_calls"]?.array?.isEmpty == false
      switch fields["content"] {
      case .string?: break
      case .array? where message.content != nil: break
      case nil where hasCalls, .null? where hasCalls: break
      case let other:
        throw refuse(
          "message \(index + 1) must have a content that is a text, is \(other?.kind ?? "missing")")
      }
      return message
    }
  }

  /// What a held-out split goes by: everything before the last answer, so that no question is on both sides.
  var question: String {
    switch content {
    case .conversation(let messages, _, _):
      let last = messages.lastIndex { $0.role == "assistant" } ?? 0
      return messages[..<last].map { JSONValue.object($0.fields).text() }.joined(separator: "\n")
    case .completion(let prompt, let answer): return prompt.isEmpty ? answer : prompt
    case .text(let text): return text
    }
  }
}
