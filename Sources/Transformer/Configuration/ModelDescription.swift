import Checkpoints
import JSON

/// What a model says about itself in its `config.json`, before its weights are opened.
public struct ModelDescription: Sendable {
  /// What the model looks like.
  public let configuration: DecoderConfiguration
  /// Fields of `config.json` that the family does not know.
  public let unknownFields: [String]
  /// The `config.json` itself.
  public let document: JSONValue
  let family: DecoderFamily

  /// Reads a folder's `config.json`.
  public static func load(from folder: String) throws -> ModelDescription {
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
    configuration = try family.configure(reader)
    unknownFields = reader.fields(notIn: family.knownFields)
    self.document = document
    self.family = family
  }

  /// Values of `model_type` that the engine knows.
  public static var knownModelTypes: [String] { DecoderFamily.all.flatMap(\.modelTypes) }

  /// How many weights of which kind the model has.
  public var parameterCounts: ParameterCounts {
    func elements(_ declaration: WeightDeclaration?) -> Int {
      guard let declaration else { return 0 }
      return declaration.shape(configuration).reduce(1) { saturatingProduct($0, $1) }
    }
    var counts = ParameterCounts()
    for (slot, declaration) in family.tensors {
      let count = elements(declaration)
      switch slot {
      case .tokenEmbedding: counts.tokenEmbedding = count
      case .positionEmbedding: counts.positionEmbedding = count
      case .headWeight: if !configuration.tiesWordEmbeddings { counts.head = count }
      default: counts.vectors = saturatingSum(counts.vectors, count)
      }
    }
    for declaration in family.layerTensors.values {
      let count = saturatingProduct(elements(declaration), configuration.layerCount)
      if declaration.shape(configuration).count > 1 {
        counts.matrices = saturatingSum(counts.matrices, count)
      } else {
        counts.vectors = saturatingSum(counts.vectors, count)
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
