import Inkstone

/// Prompts of a file, one JSON object on each line.
struct PromptLines {
  /// One of them.
  struct Line {
    /// `path:number`, for messages.
    let place: String
    /// Its tokens.
    let tokens: [Int]
  }

  /// Whether a name is that of JSON lines.
  static func recognises(_ path: String) -> Bool { path.hasSuffix(".jsonl") || path.hasSuffix(".ndjson") }

  /// Reads all lines, so that a mistake in the last is told before anything is run.
  ///
  /// - Throws: `UsageError` with the line's number; whatever templates and tokenizers throw.
  static func load(_ path: String, model: LanguageModel, chat: ChatTemplateOptions) throws -> [Line] {
    let bytes = path == "-" ? try StandardStreams.readInput() : try readFile(path)
    let name = path == "-" ? "standard input" : path
    let opening = try chat.openingMessages()
    var lines: [Line] = []
    var template: ChatTemplate??
    func layOut(_ messages: [ChatMessage]) throws -> [Int] {
      if template == nil { template = .some(try chat.template(for: model)) }
      guard let tokenizer = model.tokenizer else {
        throw UsageError("\(model.folder) holds no tokenizer; give token ids as \"prompt_ids\"")
      }
      guard let layout = template ?? nil else {
        if lines.isEmpty { ChatTemplateOptions.warn(about: model) }
        return try tokenizer.encode(
          messages.compactMap(\.content).joined(separator: "\n"), addSpecialTokens: true)
      }
      return try tokenizer.encode(layout.render(messages, chat.options()), addSpecialTokens: false)
    }

    for (index, text) in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      .enumerated()
    {
      guard !text.allSatisfy({ $0 == 32 || $0 == 9 || $0 == 13 }) else { continue }
      let place = "\(name):\(index + 1)"
      let value: JSONValue
      do {
        value = try text.withUnsafeBytes { try JSONValue.parse($0) }
      } catch {
        throw UsageError("\(place): is not JSON (\(error)); give an object on each line")
      }
      guard let object = value.object else {
        throw UsageError(
          "\(place): must be an object with \"prompt\", \"prompt_ids\" or \"messages\", is \(value.kind)")
      }
      let given = ["prompt", "prompt_ids", "messages"].filter { object[$0] != nil }
      guard given.count == 1 else {
        throw UsageError(
          "\(place): must have one of \"prompt\", \"prompt_ids\" and \"messages\", has "
            + (given.isEmpty ? "none" : given.joined(separator: " and ")))
      }
      var tokens: [Int]
      switch given[0] {
      case "prompt":
        guard let prompt = object["prompt"]?.string else {
          throw UsageError("\(place): \"prompt\" must be a text, is \(object["prompt"]!.kind)")
        }
        guard let tokenizer = model.tokenizer else {
          throw UsageError("\(model.folder) holds no tokenizer; give token ids as \"prompt_ids\"")
        }
        tokens =
          chat.isActive
          ? try layOut(opening + [.user(prompt)]) : try tokenizer.encode(prompt, addSpecialTokens: true)
      case "prompt_ids":
        guard let list = object["prompt_ids"]?.array else {
          throw UsageError("\(place): \"prompt_ids\" must be a list, is \(object["prompt_ids"]!.kind)")
        }
        tokens = []
        for element in list {
          guard let id = element.int, (0..<model.decoder.configuration.vocabularySize).contains(id) else {
            throw UsageError(
              "\(place): \"prompt_ids\" holds \(element.text()), which is no token of the model's "
                + "\(model.decoder.configuration.vocabularySize)")
          }
          tokens.append(id)
        }
      default:
        tokens = try layOut(opening + ChatMessage.list(from: value, source: place))
      }
      guard !tokens.isEmpty else { throw UsageError("\(place): the prompt has no tokens; give at least one") }
      lines.append(Line(place: place, tokens: tokens))
    }
    guard !lines.isEmpty else { throw UsageError("\(name): holds no prompt; give an object on each line") }
    return lines
  }
}
