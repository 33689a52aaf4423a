import CYAML
import Checkpoints
import JSON

/// Reads YAML as the JSON document that it stands for.
///
/// Plain scalars follow the core schema of YAML 1.2: `true` and `false`, `null` and `~`, whole numbers and numbers;
/// everything else, and whatever is quoted, is a string. Anchors and tags are refused: settings need none.
/// - SeeAlso: https://yaml.org/spec/1.2.2, section 10.3
enum YAML {
  /// Reads a file of one document.
  ///
  /// - Throws: `TrainingError.syntax` with the line, or `FileError`.
  static func load(_ path: String) throws -> JSONValue {
    let bytes = try readFile(path, limit: 16 << 20)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw TrainingError.syntax(path: path, line: 1, reason: "is not UTF-8 text")
    }
    return try parse(text, path: path)
  }

  /// Reads a text of one document.
  static func parse(_ text: String, path: String) throws -> JSONValue {
    var parser = yaml_parser_t()
    guard yaml_parser_initialize(&parser) == 1 else {
      throw TrainingError.syntax(path: path, line: 1, reason: "there is no memory to read it")
    }
    defer { yaml_parser_delete(&parser) }
    let bytes = Array(text.utf8)
    return try bytes.withUnsafeBufferPointer { bytes in
      yaml_parser_set_input_string(&parser, bytes.baseAddress, bytes.count)
      return try withUnsafeMutablePointer(to: &parser) { parser in
        var reader = Reader(parser: parser, path: path)
        return try reader.document()
      }
    }
  }

  /// A scalar without quotes.
  static func plain(_ text: String) -> JSONValue {
    switch text {
    case "", "~", "null", "Null", "NULL": return .null
    case "true", "True", "TRUE": return .bool(true)
    case "false", "False", "FALSE": return .bool(false)
    default: break
    }
    let digits = text.hasPrefix("-") || text.hasPrefix("+") ? text.dropFirst() : text[...]
    guard let first = digits.first, first.isNumber || first == "." else { return .string(text) }
    // 1_000_000 is easier to read than 1000000, and no word begins with a digit and looks like that.
    let bare = text.replacing("_", with: "")
    if let number = Int(bare) { return .integer(number) }
    if let number = Double(bare), number.isFinite { return .number(number) }
    return .string(text)
  }

  private struct Reader {
    let parser: UnsafeMutablePointer<yaml_parser_t>
    let path: String

    /// What one event says.
    enum Event {
      case scalar(String, isPlain: Bool)
      case sequenceStart, sequenceEnd, mappingStart, mappingEnd, documentEnd, streamEnd, other
    }

    func error(_ reason: String) -> TrainingError {
      .syntax(path: path, line: Int(parser.pointee.mark.line) + 1, reason: reason)
    }

    mutating func document() throws -> JSONValue {
      while true {
        let event = try next()
        if case .streamEnd = event { return [:] }
        if case .other = event { continue }
        let value = try value(event, depth: 0)
        guard case .documentEnd = try next() else { throw error("more than one value") }
        while true {
          switch try next() {
          case .streamEnd: return value
          default: throw error("more than one document")
          }
        }
      }
    }

    mutating func next() throws -> Event {
      var event = yaml_event_t()
      guard yaml_parser_parse(parser, &event) == 1 else {
        let problem = parser.pointee.problem.map { String(cString: $0) } ?? "cannot be read"
        throw TrainingError.syntax(
          path: path, line: Int(parser.pointee.problem_mark.line) + 1, reason: "no YAML: \(problem)")
      }
      defer { yaml_event_delete(&event) }
      switch event.type {
      case YAML_SCALAR_EVENT:
        let scalar = event.data.scalar
        guard scalar.anchor == nil, scalar.tag == nil else {
          throw error("anchors and tags are not supported")
        }
        let bytes = UnsafeBufferPointer(start: scalar.value, count: scalar.length)
        return .scalar(
          String(decoding: bytes, as: UTF8.self), isPlain: scalar.style == YAML_PLAIN_SCALAR_STYLE)
      case YAML_SEQUENCE_START_EVENT: return .sequenceStart
      case YAML_SEQUENCE_END_EVENT: return .sequenceEnd
      case YAML_MAPPING_START_EVENT: return .mappingStart
      case YAML_MAPPING_END_EVENT: return .mappingEnd
      case YAML_DOCUMENT_END_EVENT: return .documentEnd
      case YAML_STREAM_END_EVENT: return .streamEnd
      case YAML_ALIAS_EVENT: throw error("aliases are not supported")
      default: return .other
      }
    }

    mutating func value(_ event: Event, depth: Int) throws -> JSONValue {
      guard depth < 64 else { throw error("is nested too deeply") }
      switch event {
      case .scalar(let text, let isPlain): return isPlain ? YAML.plain(text) : .string(text)
      case .sequenceStart:
        var elements: [JSONValue] = []
        while true {
          let event = try next()
          if case .sequenceEnd = event { return .array(elements) }
          elements.append(try value(event, depth: depth + 1))
        }
      case .mappingStart:
        var members: [JSONObject.Member] = []
        while true {
          let event = try next()
          if case .mappingEnd = event { return .object(JSONObject(members)) }
          guard case .scalar(let key, _) = event else { throw error("a key must be a word") }
          guard !members.contains(where: { $0.key == key }) else { throw error("\(key) is given twice") }
          members.append(.init(key: key, value: try value(try next(), depth: depth + 1)))
        }
      default: throw error("a value is missing")
      }
    }
  }
}
