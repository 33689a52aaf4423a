import JSON

/// A text with fields, loops and conditions, in the language of jinja2.
///
/// What a template renders equals what jinja2 3.1 renders in its `ImmutableSandboxedEnvironment` as transformers
/// 5.23 sets it up for chat templates: `trim_blocks`, `lstrip_blocks`, the loop controls, `{% generation %}`,
/// `tojson`, `raise_exception`, `strftime_now` and its own `dict` and `namespace`. Left out, with a clear error, is
/// what makes no sense in a template that stands alone: inheritance, other templates, escaping by default, randomness;
/// and integers beyond 64 bits.
///
/// A template is hostile until it has ended: its steps, texts and nesting are bounded (`TemplateLimits`).
///
/// ```swift
/// let template = try JinjaTemplate("{% for word in words %}{{ word|upper }}{% endfor %}", name: "shout")
/// let text = try template.render(["words": ["a", "b"]])
/// ```
public struct JinjaTemplate: Sendable {
  /// The name to use in errors.
  public let name: String
  private let program: Program
  /// Bytes of a template that are read at most.
  private static let maximumSource = 1 << 24

  /// Reads a template.
  ///
  /// - Parameters:
  ///   - source: the template.
  ///   - name: what errors call it, such as its file.
  /// - Throws: `TemplateError` with the line, for what jinja2 calls a syntax or assertion error.
  public init(_ source: String, name: String = "template") throws {
    self.name = name
    program = try JinjaTemplate.naming(name) {
      guard source.utf8.count <= JinjaTemplate.maximumSource else {
        throw TemplateError(.limit, "the template is longer than \(JinjaTemplate.maximumSource) bytes")
      }
      return try DeepStack.run { try Compiler.compile(Parser.parse(source)) }
    }
  }

  /// The names that the template looks for among the variables it is given, those of jinja2's globals left out.
  public var variables: Set<String> { program.inputs.subtracting(Globals.table.keys) }

  /// Renders the template.
  ///
  /// - Parameters:
  ///   - variables: by name; objects keep the order of their keys.
  ///   - isStrict: whether using a variable that is not there is an error; otherwise it prints as nothing.
  ///   - limits: what the rendering may cost.
  ///   - clock: what `strftime_now` reads.
  /// - Returns: the text.
  /// - Throws: `TemplateError` with the line.
  public func render(
    _ variables: JSONObject = JSONObject(), isStrict: Bool = false, limits: TemplateLimits = TemplateLimits(),
    clock: TemplateClock = .system
  ) throws -> String {
    try rendering(variables, isStrict: isStrict, limits: limits, clock: clock).text
  }

  /// Renders the template, and says which parts of the result stood in `{% generation %}` blocks.
  ///
  /// - Returns: the text, and ranges of its UTF-8 bytes in the order of the blocks.
  func rendering(
    _ variables: JSONObject, isStrict: Bool, limits: TemplateLimits, clock: TemplateClock
  ) throws -> (text: String, generated: [Range<Int>]) {
    try JinjaTemplate.naming(name) {
      try DeepStack.run {
        var input: [String: Value] = [:]
        for member in variables.members {
          input[member.key] = try Value(member.value, levels: limits.maximumValueDepth)
        }
        let interpreter = Interpreter(input: input, limits: limits, clock: clock, isStrict: isStrict)
        let bytes = try interpreter.run(program)
        guard let text = String(validating: bytes, as: UTF8.self) else {
          throw TemplateError(.value, "the result holds a lone surrogate, which is no character")
        }
        return (text, interpreter.generated)
      }
    }
  }

  private static func naming<Result>(_ name: String, _ body: () throws -> Result) throws -> Result {
    do {
      return try body()
    } catch var error as TemplateError {
      error.template = name
      throw error
    }
  }
}

extension Value {
  /// - Parameter levels: containers within containers that are taken.
  /// - Throws: `TemplateError.limit` for a document nested deeper.
  init(_ json: JSONValue, levels: Int) throws {
    switch json {
    case .null: self = .none
    case .bool(let value): self = .boolean(value)
    case .integer(let value): self = .integer(value)
    case .number(let value): self = .float(value)
    case .string(let value): self = .text(Text(value))
    case .array(let values):
      try Value.check(levels)
      let elements = try values.map { try Value($0, levels: levels - 1) }
      self = .list(SequenceValue(elements: elements, depth: (elements.map(\.depth).max() ?? 0) + 1))
    case .object(let object):
      try Value.check(levels)
      self = .dictionary(
        DictionaryValue(try object.members.map { ($0.key, try Value($0.value, levels: levels - 1)) }))
    }
  }

  private static func check(_ levels: Int) throws {
    guard levels > 0 else { throw TemplateError(.limit, "a variable is nested too deep") }
  }
}
