import Checkpoints
import JSON

/// What a model says about itself in its `config.json`, before its weights are opened.
public struct ModelDescription: Sendable {
  /// What the model looks like.
  public let configuration: DecoderConfiguration
  /// Fields of `config.json` that the family does not know and that say nothing about numbers: they are passed over.
  public let unknownFields: [String]
  /// Fields of `config.json` that the family does not know and that may change the numbers: such a model is not loaded.
  public let unknownSettings: [String]
  /// The `config.json` itself.
  public let document: JSONValue
  let family: DecoderFamily
  private let path: String

  /// Reads a folder's `config.json`, or the metadata of a GGUF file.
  public static func load(from folder: String) throws -> ModelDescription {
    // A file can only be GGUF; what else it is, its reader says.
    if GGUFFile.recognises(folder) || (fileExists(folder) && !folderExists(folder)) {
      return try GGUFModel(path: folder).description
    }
    let path = folder.hasSuffix("/") ? folder + "config.json" : folder + "/config.json"
    return try ModelDescription(try JSONDocument.load(path), path: path)
  }

  /// Reads a `config.json` that is in memory.
  ///
  /// - Parameters:
  ///   - document: the whole of it.
  ///   - path: what a message calls it.
  /// - Throws: `ConfigurationError` or `DecoderError.unknownFamily`.
  public init(_ document: JSONValue, path: String) throws {
    let reader = try ConfigurationReader(document, path: path)
    let modelType = try reader.string("model_type", default: "")
    guard let family = DecoderFamily.named(modelType) else {
      throw DecoderError.unknownFamily(
        path: path, modelType: modelType, known: ModelDescription.knownModelTypes)
    }
    try reader.refuseUnsupportedSettings()
    configuration = try family.configure(reader)
    let unknown = reader.fields(notIn: family.knownFields.union(neutralConfigurationFields))
    unknownFields = unknown.filter { !reader.mayBeSetting($0) }
    unknownSettings = unknown.filter { reader.mayBeSetting($0) }
    self.path = path
    self.document = document
    self.family = family
  }

  /// Refuses a model with settings that the family does not know: its numbers would not be what they should be.
  func refuseUnknownSettings() throws {
    guard !unknownSettings.isEmpty else { return }
    throw ConfigurationError(
      path: path, field: unknownSettings.prefix(5).map(printable).joined(separator: ", "),
      reason: "unknown to \(configuration.modelType) and may change the numbers; remove it if it does not")
  }

  /// A name from a file as a message may show it: in one line, and short.
  private func printable(_ name: String) -> String {
    let text = name.debugDescription.dropFirst().dropLast()
    return text.utf8.count > 200 ? text.prefix(100) + "…" : String(text)
  }

  /// Values of `model_type` that the engine knows.
  public static var knownModelTypes: [String] { DecoderFamily.all.flatMap(\.modelTypes) }

  /// How many weights of which kind the model has.
  public var parameterCounts: ParameterCounts {
    let table = ParameterTable(family, configuration)
    var counts = ParameterCounts()
    func elements(_ parameter: Parameter) -> Int { saturatingProduct(parameter.rows, parameter.columns) }
    func add(_ parameter: Parameter, times: Int = 1) {
      let count = saturatingProduct(elements(parameter), times)
      switch parameter.kind {
      case .matrix, .embedding: counts.matrices = saturatingSum(counts.matrices, count)
      case .normWeight, .bias: counts.vectors = saturatingSum(counts.vectors, count)
      }
    }
    for (slot, declaration) in family.tensors(configuration) {
      for parameter in table.parameters(of: slot, declaration) {
        switch (slot, parameter.kind) {
        case (.tokenEmbedding, _): counts.tokenEmbedding = elements(parameter)
        case (.positionEmbedding, _): counts.positionEmbedding = elements(parameter)
        case (.head, .matrix): counts.head = elements(parameter)
        default: add(parameter)
        }
      }
    }
    for layer in 0..<configuration.layerCount {
      // One expert stands for all.
      for (slot, declaration) in family.layerTensors(configuration, layer) {
        let times = slot == .expertInput || slot == .expertOutput ? configuration.experts?.count ?? 0 : 1
        for parameter in table.parameters(of: slot, declaration, layer: layer, expert: 0) {
          add(parameter, times: times)
        }
      }
    }
    return counts
  }
}

/// How many weights of which kind a model has; `Int.max` stands for more than can be counted.
public struct ParameterCounts: Sendable, Equatable {
  /// Rows of embeddings, one per token of the vocabulary.
  public internal(set) var tokenEmbedding = 0
  /// Rows of embeddings, one per position.
  public internal(set) var positionEmbedding = 0
  /// The matrices of all blocks: each weight is multiplied once per token.
  public internal(set) var matrices = 0
  /// Biases and norms.
  public internal(set) var vectors = 0
  /// The output head; 0 when it is the token embedding.
  public internal(set) var head = 0

  /// All of them.
  public var total: Int {
    [tokenEmbedding, positionEmbedding, matrices, vectors, head].reduce(0) { saturatingSum($0, $1) }
  }
}

/// a·b for a, b ≥ 0, at most `Int.max`.
private func saturatingProduct(_ a: Int, _ b: Int) -> Int {
  let (product, overflow) = a.multipliedReportingOverflow(by: b)
  return overflow ? .max : product
}

/// a + b for a, b ≥ 0, at most `Int.max`.
private func saturatingSum(_ a: Int, _ b: Int) -> Int {
  let (sum, overflow) = a.addingReportingOverflow(b)
  return overflow ? .max : sum
}
