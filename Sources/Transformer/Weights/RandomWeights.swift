import Checkpoints
import JSON
import Kernels

/// Weights drawn at random under the names that the family's checkpoints use.
///
/// A model of any shape without a download, for measurements: it computes as a real one does and says nothing.
/// Matrices and embeddings have a standard deviation of 0.02, as GPT-2's have before training.
public struct RandomWeights {
  /// What the model looks like.
  public let description: ModelDescription
  private var tensors: [String: RandomMatrix] = [:]
  private var names: [String] = []

  /// Draws the weights.
  ///
  /// - Parameters:
  ///   - description: the shape of the model.
  ///   - seed: the same seed gives the same weights.
  /// - Throws: `DecoderError.memory` when their bytes cannot even be counted.
  public init(_ description: ModelDescription, seed: UInt64 = 1) throws {
    guard description.parameterCounts.total <= Int.max / 16 else {
      throw DecoderError.memory(bytes: .max, purpose: "the weights")
    }
    self.description = description
    let table = ParameterTable(description.family, description.configuration)
    for parameter in table.parameters { add(parameter, seed: seed) }
  }

  private mutating func add(_ parameter: Parameter, seed: UInt64) {
    // Several parameters may share a tensor, as the experts of a layer do in some checkpoints.
    for piece in parameter.pieces where tensors[piece.tensor] == nil {
      tensors[piece.tensor] = RandomMatrix(
        shape: piece.shape,
        centre: parameter.kind == .normWeight ? 1 - description.configuration.normalization.offset : 0,
        seed: mixed(seed) ^ UInt64(names.count + 1))
      names.append(piece.tensor)
    }
  }

  /// A decoder with these weights.
  ///
  /// - Parameters:
  ///   - format: how matrices are held; packed ones are drawn row by row, and never lie in memory as floats.
  ///   - threadCount: threads that pack them.
  public func makeDecoder(
    format: WeightFormat = .float32, threadCount: Int = WorkerPool.defaultThreadCount()
  ) throws -> Decoder {
    let loader = WeightLoader(
      family: description.family, configuration: description.configuration, source: self)
    return Decoder(
      configuration: description.configuration,
      weights: try loader.load(format, threadCount: threadCount),
      unknownConfigurationFields: description.unknownFields)
  }

  /// Bytes that the weights will take in a format.
  public func byteCount(_ format: WeightFormat) throws -> Int {
    try WeightLoader(family: description.family, configuration: description.configuration, source: self)
      .byteCount(format)
  }

  /// Writes a folder in Hugging Face's layout, which other engines can read: `config.json` and `model.safetensors`.
  ///
  /// - Throws: `FileError`, for a folder that cannot be made or a full disk among others.
  public func save(to folder: String) throws {
    let base = folder.hasSuffix("/") ? folder : folder + "/"
    try createFolder(folder)
    try SafetensorsWriter.write(
      to: base + "model.safetensors",
      names.map { TensorDeclaration(name: $0, type: .f32, shape: tensors[$0]!.shape) },
      metadata: ["format": "pt"], alignment: SafetensorsWriter.modelAlignment
    ) { tensor, append in
      let buffer = tensors[tensor.name]!.buffer()
      try withExtendedLifetime(buffer) { try append(UnsafeRawBufferPointer(buffer.elements)) }
    }
    try AtomicFile.write(description.document.text(.indented) + "\n", to: base + "config.json")
  }
}

extension RandomWeights: WeightSource {
  var path: String { "random weights" }

  var tensorNames: [String] { names }

  func shape(of name: String) -> [Int]? { tensors[name]?.shape }

  func path(of name: String) -> String { path }

  func floats(of name: String) throws -> (values: UnsafePointer<Float>, owner: AnyObject) {
    guard let tensor = tensors[name] else { throw DecoderError.missingTensor(path: path, name: name) }
    let buffer = tensor.buffer()
    return (UnsafePointer(buffer.elements.baseAddress!), buffer)
  }

  func matrix(of name: String) throws -> (any StoredMatrix)? {
    tensors[name].flatMap { $0.shape.count > 1 ? $0 : nil }
  }
}

/// Numbers spread evenly over centre ± 0.02·√3, whose standard deviation is 0.02; each a function of its place.
private struct RandomMatrix: StoredMatrix {
  let shape: [Int]
  let centre: Float
  let seed: UInt64

  var type: TensorType { .f32 }
  var columns: Int { shape.last ?? 1 }
  var rows: Int { shape.dropLast().reduce(1, *) }

  func copyFloats(row: Int, columns range: Range<Int>, into target: UnsafeMutablePointer<Float>) {
    fill(target, from: row * columns + range.lowerBound, count: range.count)
  }

  /// All of them.
  func buffer() -> FloatBuffer {
    let buffer = FloatBuffer(count: shape.reduce(1, *))
    fill(buffer.elements.baseAddress!, from: 0, count: buffer.elements.count)
    return buffer
  }

  private func fill(_ elements: UnsafeMutablePointer<Float>, from start: Int, count: Int) {
    let scale = 0.02 * Float(3).squareRoot() / Float(1 << 23)
    for index in 0..<count {
      let draw = mixed(seed &+ UInt64(start &+ index) &* 0x9E37_79B9_7F4A_7C15)
      elements[index] = centre + (Float(draw >> 40) - Float(1 << 23)) * scale
    }
  }
}

/// The output function of SplitMix64.
/// - SeeAlso: Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators" (2014).
private func mixed(_ state: UInt64) -> UInt64 {
  var z = state
  z = (z ^ z >> 30) &* 0xBF58_476D_1CE4_E5B9
  z = (z ^ z >> 27) &* 0x94D0_49BB_1331_11EB
  return z ^ z >> 31
}
