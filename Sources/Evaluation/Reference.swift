import Checkpoints
import Generation
import JSON

/// Why a reference cannot be used.
public struct ReferenceError: Error, Equatable, CustomStringConvertible {
  /// The file.
  public let path: String
  /// The case and field, or nothing when the whole file is at fault.
  public let field: String?
  /// What is wrong.
  public let reason: String

  /// One line: file, field, reason.
  public var description: String { field.map { "\(path): \($0): \(reason)" } ?? "\(path): \(reason)" }
}

/// A regression reference: what another implementation (or this one, earlier) computed for a model.
///
/// The format is described in `Tests/Reference/README.md`.
public struct Reference: Sendable {
  /// One replayable computation.
  public struct Case: Sendable {
    /// Its name, unique in the file.
    public let name: String
    let fields: JSONValue
    let path: String

    /// Token ids of the input.
    func tokens(_ key: String) throws -> [Int]? {
      guard let value = fields[key] else { return nil }
      return try Case.tokens(value) ?? { throw fault(key, "must be a list of token ids") }()
    }

    /// Rows of token ids.
    func rows(_ key: String) throws -> [[Int]]? {
      guard let value = fields[key] else { return nil }
      guard let rows = value.array?.map(Case.tokens), !rows.contains(where: { $0 == nil }) else {
        throw fault(key, "must be a list of lists of token ids")
      }
      return rows.map { $0! }
    }

    /// Numbers, `nil` where the file has `null`.
    func numbers(_ key: String) throws -> [Double?]? {
      guard let value = fields[key] else { return nil }
      guard let array = value.array, array.allSatisfy({ $0.isNull || $0.double != nil }) else {
        throw fault(key, "must be a list of numbers")
      }
      return array.map(\.double)
    }

    /// A number.
    func number(_ key: String) throws -> Double? {
      guard let value = fields[key] else { return nil }
      return try value.double ?? { throw fault(key, "must be a number") }()
    }

    /// A text.
    func text(_ key: String) throws -> String? {
      guard let value = fields[key] else { return nil }
      return try value.string ?? { throw fault(key, "must be a string") }()
    }

    /// A list of texts.
    func texts(_ key: String) throws -> [String]? {
      guard let value = fields[key] else { return nil }
      guard let texts = value.array?.map(\.string), !texts.contains(nil) else {
        throw fault(key, "must be a list of strings")
      }
      return texts.compactMap { $0 }
    }

    func fault(_ key: String, _ reason: String) -> ReferenceError {
      ReferenceError(path: path, field: "case \"\(name)\", \(key)", reason: reason)
    }

    private static func tokens(_ value: JSONValue) -> [Int]? {
      guard let ids = value.array?.map(\.int), !ids.contains(nil) else { return nil }
      return ids.compactMap { $0 }
    }
  }

  /// Versions of what computed it, as the file tells them.
  public let generator: JSONValue
  /// The cases, in order.
  public let cases: [Case]
  /// The file.
  public let path: String
  private let tensors: Checkpoint?

  /// Opens a reference.
  ///
  /// - Parameter path: a folder that holds `reference.json` (or `reference/reference.json`), or that file itself.
  /// - Throws: `ReferenceError`, or an error of `Checkpoints` that names the file.
  public static func load(from path: String) throws -> Reference {
    let folder = path.hasSuffix("/") ? String(path.dropLast()) : path
    var file = folder
    if !folder.hasSuffix(".json") {
      file = "\(folder)/reference.json"
      if !fileExists(file), fileExists("\(folder)/reference/reference.json") {
        file = "\(folder)/reference/reference.json"
      }
    }
    let document = try JSONDocument.load(file)
    guard let entries = document["cases"]?.array else {
      throw ReferenceError(path: file, field: "cases", reason: "must be a list of cases")
    }
    var names: Set<String> = []
    let cases = try entries.enumerated().map { index, entry in
      guard entry.object != nil, let name = entry["name"]?.string else {
        throw ReferenceError(path: file, field: "cases[\(index)]", reason: "must be an object with a name")
      }
      guard names.insert(name).inserted else {
        throw ReferenceError(path: file, field: "cases[\(index)]", reason: "a second case named \"\(name)\"")
      }
      return Case(name: name, fields: entry, path: file)
    }
    let data = String(file.dropLast("json".count)) + "safetensors"
    return Reference(
      generator: document["generator"] ?? nil, cases: cases, path: file,
      tensors: fileExists(data) ? try Checkpoint(path: data) : nil)
  }

  /// A tensor of the reference's data file.
  ///
  /// - Throws: `ReferenceError` when it is not there or does not have the shape.
  func floats(_ name: String, shape: [Int], of entry: Case) throws -> [Float] {
    guard let record = tensors?.tensor(named: name) else {
      throw entry.fault(name, "is not in the data file beside it (reference.safetensors)")
    }
    guard record.shape == shape else {
      throw entry.fault(
        name, "has shape \(record.shape), this model gives \(shape); is it another model's reference?")
    }
    return try record.floats()
  }
}
