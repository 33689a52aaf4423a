import JSON

/// Reads the fields of one JSON object; every error names file and field.
struct FieldReader {
  let file: String
  let path: String
  let object: JSONObject

  /// - Throws: `TokenizerError.malformed` when the value is no object.
  init(_ value: JSONValue, file: String, path: String) throws {
    guard let object = value.object else {
      throw TokenizerError.malformed(file: file, field: path, reason: "is \(value.kind), not an object")
    }
    self.init(object, file: file, path: path)
  }

  init(_ object: JSONObject, file: String, path: String) {
    self.object = object
    self.file = file
    self.path = path
  }

  /// The full name of a field.
  func name(_ key: String) -> String { path.isEmpty ? key : path + "." + key }

  /// A field's value; `nil` when it is absent or null.
  subscript(key: String) -> JSONValue? {
    guard let value = object[key], !value.isNull else { return nil }
    return value
  }

  func malformed(_ key: String, _ reason: String) -> TokenizerError {
    .malformed(file: file, field: name(key), reason: reason)
  }

  func unsupported(_ type: String) -> TokenizerError {
    .unsupported(file: file, part: path, type: type)
  }

  private func required<Value>(_ key: String, _ value: Value?) throws -> Value {
    guard let value else { throw malformed(key, "is missing") }
    return value
  }

  /// The `type` of a part.
  func type() throws -> String { try string("type") }

  func string(_ key: String) throws -> String { try required(key, optionalString(key)) }

  func optionalString(_ key: String) throws -> String? {
    guard let value = self[key] else { return nil }
    guard let text = value.string else { throw malformed(key, "is \(value.kind), not a string") }
    return text
  }

  func bool(_ key: String, default fallback: Bool? = nil) throws -> Bool {
    guard let value = self[key] else { return try required(key, fallback) }
    guard let truth = value.bool else { throw malformed(key, "is \(value.kind), not true or false") }
    return truth
  }

  /// An integer from 0 to 2³² − 1.
  func count(_ key: String, default fallback: Int? = nil) throws -> Int {
    guard let value = self[key] else { return try required(key, fallback) }
    guard case .integer(let number) = value, UInt32(exactly: number) != nil else {
      throw malformed(key, "is not an integer from 0 to 4294967295")
    }
    return number
  }

  func array(_ key: String) throws -> [JSONValue] {
    guard let value = self[key] else { throw malformed(key, "is missing") }
    guard let array = value.array else { throw malformed(key, "is \(value.kind), not an array") }
    return array
  }

  /// A text of one character.
  func scalar(_ key: String) throws -> Unicode.Scalar {
    let text = try string(key)
    guard let first = text.unicodeScalars.first, text.unicodeScalars.count == 1 else {
      throw malformed(key, "is not a single character")
    }
    return first
  }

  /// One of the cases of an enumeration.
  func choice<Choice: RawRepresentable<String>>(_ key: String, default fallback: Choice? = nil) throws
    -> Choice
  {
    guard let text = try optionalString(key) else { return try required(key, fallback) }
    guard let choice = Choice(rawValue: text) else { throw malformed(key, "has the unknown value \(text)") }
    return choice
  }

  /// The object in a field; `nil` when it is absent or null.
  func part(_ key: String) throws -> FieldReader? {
    try self[key].map { try FieldReader($0, file: file, path: name(key)) }
  }

  /// The objects of an array.
  func parts(_ key: String) throws -> [FieldReader] {
    try array(key).enumerated().map { index, value in
      try FieldReader(value, file: file, path: "\(name(key))[\(index)]")
    }
  }
}
