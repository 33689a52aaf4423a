import JSON
import Kernels

/// Why a `config.json` cannot be used.
public struct ConfigurationError: Error, Equatable, CustomStringConvertible {
  /// The file.
  public let path: String
  /// The field, or nothing when the whole file is at fault.
  public let field: String?
  /// What is wrong and what would be right.
  public let reason: String

  /// One line: file, field, reason.
  public var description: String {
    field.map { "\(path): \($0): \(reason)" } ?? "\(path): \(reason)"
  }
}

/// Reads the fields of a `config.json` and remembers which were asked for.
struct ConfigurationReader {
  let path: String
  /// The field that holds the section, for messages; nothing at the top.
  private let outer: String?
  private let object: JSONObject

  private init(path: String, field: String, object: JSONObject) {
    self.path = path
    outer = field
    self.object = object
  }

  init(_ document: JSONValue, path: String) throws {
    guard let object = document.object else {
      throw ConfigurationError(path: path, field: nil, reason: "must be a JSON object, is \(document.kind)")
    }
    self.path = path
    outer = nil
    self.object = object
  }

  func error(_ name: String, _ reason: String) -> ConfigurationError {
    ConfigurationError(path: path, field: field(name), reason: reason)
  }

  private func field(_ name: String) -> String { outer.map { "\($0).\(name)" } ?? name }

  /// The value of the first of the spellings that is there and not `null`.
  private func value(_ names: [String]) -> (name: String, value: JSONValue)? {
    for name in names {
      if let value = object[name], !value.isNull { return (name, value) }
    }
    return nil
  }

  /// A whole number of at least `minimum`; `nil` when absent or `null`.
  func optionalInteger(_ names: String..., minimum: Int = 1) throws -> Int? {
    guard let (name, value) = value(names) else { return nil }
    guard let number = value.int else {
      throw error(name, "must be a whole number, is \(value.text().prefix(60))")
    }
    // Products of a few extents must fit 64 bits; no real model comes near.
    guard (minimum...Int(Int32.max)).contains(number) else {
      throw error(name, "must be from \(minimum) to \(Int32.max), is \(number)")
    }
    return number
  }

  /// A whole number of at least 1, or the family's default.
  func integer(_ names: String..., default fallback: Int) throws -> Int {
    for name in names {
      if let number = try optionalInteger(name) { return number }
    }
    return fallback
  }

  /// A finite number; `nil` when absent or `null`.
  func optionalNumber(_ name: String) throws -> Double? {
    guard let (_, value) = value([name]) else { return nil }
    guard let number = value.double, number.isFinite else {
      throw error(name, "must be a number, is \(value.text().prefix(60))")
    }
    return number
  }

  /// A finite number, or the family's default.
  func number(_ name: String, default fallback: Double) throws -> Double {
    try optionalNumber(name) ?? fallback
  }

  /// Finite numbers; `nil` when absent or `null`.
  func optionalNumbers(_ name: String) throws -> [Double]? {
    guard let (_, value) = value([name]) else { return nil }
    guard let elements = value.array else { throw error(name, "must be a list of numbers, is \(value.kind)") }
    return try elements.map { element in
      guard let number = element.double, number.isFinite else {
        throw error(name, "must be a list of numbers, holds \(element.text().prefix(60))")
      }
      return number
    }
  }

  /// Whole numbers from 0; `nil` when absent or `null`.
  func optionalIntegers(_ name: String) throws -> [Int]? {
    try optionalNumbers(name)?.map { number in
      guard let integer = Int(exactly: number), integer >= 0 else {
        throw error(name, "must be a list of whole numbers, holds \(number)")
      }
      return integer
    }
  }

  /// Strings; `nil` when absent or `null`.
  func optionalStrings(_ name: String) throws -> [String]? {
    guard let (_, value) = value([name]) else { return nil }
    guard let elements = value.array else { throw error(name, "must be a list of strings, is \(value.kind)") }
    return try elements.map { element in
      guard let text = element.string else {
        throw error(name, "must be a list of strings, holds \(element.text().prefix(60))")
      }
      return text
    }
  }

  /// The elements of a list; `nil` when absent or `null`.
  func optionalArray(_ name: String) throws -> [JSONValue]? {
    guard let (_, value) = value([name]) else { return nil }
    guard let elements = value.array else { throw error(name, "must be a list, is \(value.kind)") }
    return elements
  }

  /// The fields of an object within the file; `nil` when absent, `null` or empty.
  func section(_ name: String) throws -> ConfigurationReader? {
    guard let (_, value) = value([name]) else { return nil }
    guard let object = value.object else { throw error(name, "must be an object, is \(value.kind)") }
    return object.members.isEmpty ? nil : ConfigurationReader(path: path, field: field(name), object: object)
  }

  /// Whether the file gives the field a value, `null` included.
  func contains(_ name: String) -> Bool { object[name] != nil }

  /// A string; `nil` when absent or `null`.
  func optionalString(_ name: String) throws -> String? {
    value([name]) == nil ? nil : try string(name, default: "")
  }

  /// The nonlinearity of the feed-forward block.
  func activation(_ name: String, default fallback: String) throws -> Activation {
    let text = try string(name, default: fallback)
    guard let activation = Activation(named: text) else {
      throw error(name, "\"\(text)\" is unknown; known: \(Activation.knownNames.joined(separator: ", "))")
    }
    return activation
  }

  /// Blocks; few enough to list.
  func layerCount(_ names: String..., default fallback: Int) throws -> Int {
    try count(names, atMost: 16_384) ?? fallback
  }

  /// Heads; few enough to list for every block.
  func headCount(_ names: String..., default fallback: Int) throws -> Int {
    try count(names, atMost: 4096) ?? fallback
  }

  private func count(_ names: [String], atMost limit: Int) throws -> Int? {
    for name in names {
      guard let count = try optionalInteger(name) else { continue }
      guard count <= limit else { throw error(name, "must be at most \(limit), is \(count)") }
      return count
    }
    return nil
  }

  /// Refuses what no family computes.
  func refuseUnsupportedSettings() throws {
    try require(
      "add_cross_attention", toBe: { $0.bool == false }, because: "only decoders without an encoder")
    try require(
      "is_encoder_decoder", toBe: { $0.bool == false }, because: "only decoders without an encoder")
    try require(
      "pruned_heads", toBe: { $0.object?.members.isEmpty == true },
      because: "save the pruned model as a new one")
    try require(
      "quantization_config", toBe: { _ in false }, because: "use the unquantised checkpoint")
  }

  /// A positive, finite number.
  func positiveNumber(_ name: String, default fallback: Double) throws -> Double {
    guard let (_, value) = value([name]) else { return fallback }
    guard let number = value.double, number.isFinite, number > 0 else {
      throw error(name, "must be a number above 0, is \(value.text().prefix(60))")
    }
    return number
  }

  /// A truth value.
  func boolean(_ name: String, default fallback: Bool) throws -> Bool {
    guard let (_, value) = value([name]) else { return fallback }
    guard let flag = value.bool else {
      throw error(name, "must be true or false, is \(value.text().prefix(60))")
    }
    return flag
  }

  /// A string.
  func string(_ name: String, default fallback: String) throws -> String {
    guard let (_, value) = value([name]) else { return fallback }
    guard let text = value.string else { throw error(name, "must be a string, is \(value.kind)") }
    return text
  }

  /// A token id or a list of them; the family's default when absent, none when `null`.
  func tokens(_ name: String, default fallback: Int? = nil, below vocabularySize: Int) throws -> [Int] {
    guard let value = object[name] ?? fallback.map({ .integer($0) }), !value.isNull else { return [] }
    let elements = value.array ?? [value]
    return try elements.map { element in
      guard let id = element.int, id >= -1 else {
        throw error(name, "must be a token id or a list of them, is \(value.text().prefix(60))")
      }
      return id
    }
    // Some models name an id past their vocabulary: it never occurs.
    .filter { (0..<vocabularySize).contains($0) }
  }

  /// Refuses a setting that changes the numbers in a way that the engine does not compute.
  func require(_ name: String, toBe neutral: (JSONValue) -> Bool, because reason: String) throws {
    guard let value = object[name], !value.isNull, !neutral(value) else { return }
    throw error(name, "\(value.text().prefix(60)) is not supported: \(reason)")
  }

  /// Fields that are there and not in the given set.
  func fields(notIn known: Set<String>) -> [String] {
    object.members.map(\.key).filter { !known.contains($0) && !$0.hasPrefix("_") }
  }

  /// Whether a field that nobody knows could be a setting of the model: a number, a switch that is on, a list.
  ///
  /// Text names and describes; what is `null`, off or empty asks for nothing.
  func mayBeSetting(_ name: String) -> Bool {
    guard let value = object[name], !value.isNull, value.bool != false, value.string == nil else {
      return false
    }
    return value.array?.isEmpty != true && value.object?.members.isEmpty != true
  }
}
