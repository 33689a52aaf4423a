import ArgumentParser
import Inkstone

/// Prompts made of a template, fields and examples.
struct PromptTemplateOptions: ParsableArguments {
  @Option(
    help: ArgumentHelp(
      "Make the prompt from this file, whose fields {{ name }} are set with --set; {{ prompt }} is the prompt given.",
      valueName: "path"))
  var template: String?

  @Option(
    help: ArgumentHelp(
      "Set a field of --template to a text, or to a file's with @path (without its last line end; @@ begins a text with "
        + "@). Repeatable.", valueName: "name=text"))
  var set: [String] = []

  @Option(
    help: ArgumentHelp(
      "Examples to show before the prompt: JSON or JSON Lines with input and output. A template gets them as {{ examples "
        + "}}, a conversation as turns; without either, each is an input and an output on lines of their own.",
      valueName: "path"))
  var examples: String?

  /// Whether a flag asks for anything.
  var isActive: Bool { template != nil || examples != nil }

  func validate() throws {
    if template == nil, !set.isEmpty {
      throw ValidationError(
        "--set fills a field of --template, which is not given; add it or leave --set out")
    }
    var names: Set<Substring> = []
    for assignment in set {
      guard let equals = assignment.firstIndex(of: "="), equals > assignment.startIndex else {
        throw ValidationError("--set \(assignment) must be name=text")
      }
      guard names.insert(assignment[..<equals]).inserted else {
        throw ValidationError("--set gives \(assignment[..<equals]) more than once; keep one")
      }
    }
  }

  /// The template that the prompt goes into, if there is one.
  func loadTemplate() throws -> PromptTemplate? {
    try template.map { try PromptTemplate(TextFile.read($0), name: $0) }
  }

  /// The fields that `--set` gives.
  func fields() throws -> [String: String] {
    var fields: [String: String] = [:]
    for assignment in set {
      let parts = assignment.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(
        String.init)
      fields[parts[0]] = try PromptTemplateOptions.value(parts[1])
    }
    return fields
  }

  private static func value(_ text: String) throws -> String {
    if text.hasPrefix("@@") { return String(text.dropFirst()) }
    guard text.hasPrefix("@") else { return text }
    var content = try TextFile.read(String(text.dropFirst()))
    if content.last?.isNewline == true { content.removeLast() }
    return content
  }

  /// The examples that `--examples` gives.
  func loadExamples() throws -> [PromptExample] { try examples.map(PromptExample.load) ?? [] }
}

/// The prompt of `generate`, by whatever flags it is given.
struct PromptBuilder {
  let prompt: PromptOptions
  let prompting: PromptTemplateOptions
  let chat: ChatTemplateOptions

  /// Checks what does not go together.
  func validate() throws {
    if prompt.promptIds != nil, prompting.isActive || chat.isActive {
      throw ValidationError("--prompt-ids is a whole prompt; leave the flags that make one of a text out")
    }
    if !chat.isActive, chat.tools != nil || chat.chatTemplateKwargs != nil {
      throw ValidationError(
        "--tools and --chat-template-kwargs are for a chat template; add --chat-template default or --system")
    }
  }

  /// The tokens of the prompt.
  func tokens(for model: LanguageModel) throws -> [Int] {
    guard prompting.isActive || chat.isActive else { return try prompt.tokens(for: model) }
    guard let tokenizer = model.tokenizer else {
      throw UsageError("\(model.folder) holds no tokenizer; give token ids with --prompt-ids")
    }
    let examples = try prompting.loadExamples()
    let template = try prompting.loadTemplate()
    let opening = try chat.openingMessages()
    let text = try self.text(template, examples: examples, hasMessages: chat.messages != nil)
    guard chat.isActive else { return try tokenizer.encode(text ?? "", addSpecialTokens: true) }

    var messages = opening
    // With a template, that has shown the examples.
    for example in template == nil ? examples : [] {
      messages += [.user(example.input), .assistant(example.output)]
    }
    if let text { messages.append(.user(text)) }
    guard let layout = try chat.template(for: model) else {
      ChatTemplateOptions.warn(about: model)
      return try tokenizer.encode(
        messages.compactMap(\.content).joined(separator: "\n"), addSpecialTokens: true)
    }
    return try tokenizer.encode(
      layout.render(messages, chat.options()), addSpecialTokens: false)
  }

  /// The text of the prompt; `nil` where the messages given are all there is.
  private func text(
    _ template: PromptTemplate?, examples: [PromptExample], hasMessages: Bool
  ) throws -> String? {
    var fields = try prompting.fields()
    let wantsPrompt = template?.fields.contains("prompt") ?? !hasMessages
    // A pipe is waited for only by what has a use for it.
    let given = try prompt.text(isRequired: template == nil && !hasMessages, readsPipe: wantsPrompt)
    if let given {
      guard fields["prompt"] == nil else {
        throw UsageError("the prompt is given more than once: as such, and with --set prompt=; keep one")
      }
      fields["prompt"] = given
    }
    if let template { return try template.render(fields, examples: examples) }
    if examples.isEmpty || chat.isActive { return given }
    return try PromptTemplate.fewShot.render(fields, examples: examples)
  }
}
