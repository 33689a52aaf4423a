import Checkpoints
import JSON

/// Why a prompt cannot be made of a template and what is put into it.
public enum PromptTemplateError: Error, Equatable, CustomStringConvertible {
  /// The template uses a field that is not given.
  case missingField(name: String, template: String)
  /// A field is given that the template does not use.
  case unusedField(name: String, template: String, fields: [String])
  /// A file of examples holds something else.
  case malformedExamples(file: String, reason: String)

  /// One line with the fix.
  public var description: String {
    switch self {
    case .missingField(let name, let template):
      "\(TemplateError.oneLine(template)): the field {{ \(name) }} is not given; add --set \(name)=text"
    case .unusedField(let name, let template, let fields):
      "\(TemplateError.oneLine(template)): there is no field {{ \(TemplateError.oneLine(name)) }}; "
        + (fields.isEmpty ? "it has none" : "it has \(fields.joined(separator: ", "))")
    case .malformedExamples(let file, let reason):
      "\(TemplateError.oneLine(file)): \(TemplateError.oneLine(reason))"
    }
  }
}

/// What goes in and what should come out: one shot of a few-shot prompt.
public struct PromptExample: Sendable, Equatable {
  /// What a user would write.
  public var input: String
  /// What the model should answer.
  public var output: String

  /// Pairs an input with its output.
  public init(input: String, output: String) {
    self.input = input
    self.output = output
  }

  /// Reads examples from a file: a JSON list, or JSON Lines with an object on each line.
  ///
  /// An object has `input` and `output`; `prompt` and `completion`, or `question` and `answer`, are the same. With an
  /// `instruction` beside the input, that comes first, on lines of its own.
  ///
  /// - Throws: `FileError`; `PromptTemplateError.malformedExamples` that names the file and the example.
  public static func load(from path: String) throws -> [PromptExample] {
    let bytes = try readFile(path, limit: 1 << 26)
    func malformed(_ reason: String) -> PromptTemplateError { .malformedExamples(file: path, reason: reason) }
    let records: [(place: String, value: JSONValue)]
    if bytes.first(where: { !Text.isSpace(UInt32($0)) }) == 0x5B {
      do {
        let document = try bytes.withUnsafeBytes { try JSONValue.parse($0) }
        records = (document.array ?? []).enumerated().map { ("example \($0 + 1)", $1) }
      } catch let error as JSONError {
        throw malformed("\(error)")
      }
    } else {
      records = try bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated().compactMap {
        index, line in
        if line.allSatisfy({ Text.isSpace(UInt32($0)) }) { return nil }
        do {
          return ("line \(index + 1)", try Array(line).withUnsafeBytes { try JSONValue.parse($0) })
        } catch let error as JSONError {
          throw malformed("line \(index + 1) is \(error)")
        }
      }
    }
    guard !records.isEmpty else { throw malformed("holds no examples") }
    return try records.map { place, value in
      for (input, output) in [("input", "output"), ("prompt", "completion"), ("question", "answer")] {
        guard let result = value[output]?.string else { continue }
        let texts = [value["instruction"]?.string, value[input]?.string].compactMap { $0 }.filter {
          !$0.isEmpty
        }
        if value[input] == nil, texts.isEmpty { continue }
        return PromptExample(input: texts.joined(separator: "\n"), output: result)
      }
      throw malformed("\(place) must be an object with the texts \"input\" and \"output\"")
    }
  }
}

/// A prompt with fields, such as `Summarise in {{ lang }}: {{ text }}`, in the language of chat templates.
///
/// Examples, where there are any, are the field `examples`: a list of objects with `input` and `output`.
public struct PromptTemplate: Sendable {
  private let template: JinjaTemplate

  /// How examples and a prompt are laid out where nothing else is said: inputs and outputs each on lines of their own,
  /// an empty line after each example, and the prompt as the last input.
  public static let fewShot: PromptTemplate = {
    let source = """
      {% for example in examples %}
      {{ example.input }}
      {{ example.output }}

      {% endfor %}
      {{ prompt }}


      """
    do {
      return try PromptTemplate(source, name: "few-shot")
    } catch {
      preconditionFailure("\(error)")
    }
  }()

  /// Reads a template.
  ///
  /// - Parameter name: what errors call it, such as its file.
  /// - Throws: `TemplateError` with the line.
  public init(_ source: String, name: String) throws {
    template = try JinjaTemplate(source, name: name)
  }

  /// The names of the fields, sorted.
  public var fields: [String] { template.variables.sorted() }

  /// Puts texts into the fields.
  ///
  /// - Parameters:
  ///   - values: by field; each must be used.
  ///   - examples: for the field `examples`; must be used if there are any.
  /// - Throws: `PromptTemplateError` for a field that is missing or of no use; `TemplateError`.
  public func render(_ values: [String: String], examples: [PromptExample] = []) throws -> String {
    var variables = values.sorted { $0.key < $1.key }.map {
      JSONObject.Member(key: $0.key, value: .string($0.value))
    }
    if !examples.isEmpty {
      let list = examples.map {
        JSONValue.object(["input": .string($0.input), "output": .string($0.output)])
      }
      variables.append(.init(key: "examples", value: .array(list)))
    }
    if let unused = variables.first(where: { !template.variables.contains($0.key) }) {
      throw PromptTemplateError.unusedField(name: unused.key, template: template.name, fields: fields)
    }
    do {
      return try template.render(JSONObject(variables), isStrict: true)
    } catch let error as TemplateError where error.kind == .undefined {
      let missing = fields.first { error.message == "\(Text($0).quoted) is undefined" }
      guard let missing else { throw error }
      throw PromptTemplateError.missingField(name: missing, template: template.name)
    }
  }
}
