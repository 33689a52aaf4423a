import Checkpoints
import JSON

/// The chat templates of a model, by name; most have one, `default`.
public struct ChatTemplateSet: Sendable, Equatable {
  /// A template's text and where it comes from.
  struct Source: Sendable, Equatable {
    let text: String
    let origin: String
  }

  private let sources: [String: Source]

  /// A single template, such as a GGUF file holds as `tokenizer.chat_template`.
  ///
  /// - Parameter origin: what errors call it.
  public init(_ source: String, origin: String = "chat template") {
    sources = ["default": Source(text: source, origin: origin)]
  }

  private init(sources: [String: Source]) { self.sources = sources }

  /// The names, sorted.
  public var names: [String] { sources.keys.sorted() }

  /// Reads the templates of a GGUF file (`tokenizer.chat_template`, and `tokenizer.chat_template.NAME` for others), or
  /// of a model folder.
  ///
  /// Of a folder as transformers does: `chat_template.jinja` and
  /// `additional_chat_templates/*.jinja`; without such files, `chat_template` of `tokenizer_config.json`, a text or a
  /// list of objects with `name` and `template`.
  ///
  /// - Returns: `nil` where there is no template.
  /// - Throws: `FileError`, `JSONDocumentError`, or `ChatTemplateError.malformed` that names file and field.
  public static func load(from folder: String) throws -> ChatTemplateSet? {
    if !folderExists(folder), GGUFFile.recognises(folder) { return try fromGGUF(folder) }
    let base = folder.hasSuffix("/") ? folder : folder + "/"
    var sources: [String: Source] = [:]
    let additional = base + "additional_chat_templates"
    if folderExists(additional) {
      for entry in try folderEntries(additional) where entry.hasSuffix(".jinja") {
        sources[String(entry.dropLast(6))] = try read(additional + "/" + entry)
      }
    }
    if fileExists(base + "chat_template.jinja") {
      sources["default"] = try read(base + "chat_template.jinja")
    }
    if sources.isEmpty { sources = try fromConfiguration(base + "tokenizer_config.json") }
    return sources.isEmpty ? nil : ChatTemplateSet(sources: sources)
  }

  private static func fromGGUF(_ path: String) throws -> ChatTemplateSet? {
    let metadata = try GGUFFile(path: path).metadata
    let key = "tokenizer.chat_template"
    var sources: [String: Source] = [:]
    for found in metadata.keys where found == key || found.hasPrefix(key + ".") {
      guard let text = try metadata.string(found) else { continue }
      let name = found == key ? "default" : String(found.dropFirst(key.count + 1))
      sources[name] = Source(text: text, origin: "\(path) (\(found))")
    }
    return sources.isEmpty ? nil : ChatTemplateSet(sources: sources)
  }

  private static func read(_ path: String) throws -> Source {
    let bytes = try readFile(path, limit: 1 << 24, acceptingPipes: false)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw ChatTemplateError.malformed(file: path, field: "the template", reason: "is not UTF-8")
    }
    return Source(text: text, origin: path)
  }

  private static func fromConfiguration(_ path: String) throws -> [String: Source] {
    guard fileExists(path) else { return [:] }
    func malformed(_ field: String, _ reason: String) -> ChatTemplateError {
      .malformed(file: path, field: field, reason: reason)
    }
    switch try JSONDocument.load(path)["chat_template"] {
    case nil, .null?: return [:]
    case .string(let text)?: return ["default": Source(text: text, origin: path)]
    case .array(let list)?:
      var sources: [String: Source] = [:]
      for (index, element) in list.enumerated() {
        guard let name = element["name"]?.string, let text = element["template"]?.string else {
          throw malformed("chat_template[\(index)]", "must be an object with \"name\" and \"template\"")
        }
        sources[name] = Source(text: text, origin: "\(path) (\(name))")
      }
      return sources
    case .object(let object)?:
      var sources: [String: Source] = [:]
      for member in object.members {
        guard let text = member.value.string else {
          throw malformed("chat_template.\(member.key)", "must be a text, is \(member.value.kind)")
        }
        sources[member.key] = Source(text: text, origin: "\(path) (\(member.key))")
      }
      return sources
    case let other?: throw malformed("chat_template", "must be a text or a list, is \(other.kind)")
    }
  }

  /// One of the templates.
  ///
  /// - Parameters:
  ///   - name: which; by default `tool_use` where there are tools and such a template, else the only or the default
  ///     one.
  ///   - hasTools: whether tools will be laid out.
  ///   - specialTokens: the model's special tokens by role.
  /// - Throws: `ChatTemplateError` for a name that is not there, `TemplateError` for a template that cannot be read.
  public func template(
    named name: String? = nil, hasTools: Bool = false, specialTokens: [String: String] = [:]
  ) throws -> ChatTemplate {
    let chosen = name ?? (hasTools && sources["tool_use"] != nil ? "tool_use" : "default")
    guard let source = sources[chosen] else {
      guard let name else { throw ChatTemplateError.noDefault(names: names) }
      throw ChatTemplateError.unknownName(name: name, names: names)
    }
    return try ChatTemplate(source.text, name: source.origin, specialTokens: specialTokens)
  }
}
