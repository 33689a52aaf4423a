import Checkpoints
import JSON
import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Writes a model as a GGUF file that llama.cpp loads.
///
/// What the file will say is read back before it is written. Where GGUF's own keys do not say all that the model's
/// `config.json` does, that goes in besides, under a key that only this engine reads, and `notes` tell what
/// llama.cpp will compute otherwise.
public struct GGUFExport {
  /// How matrices are encoded.
  public enum OutputType: String, Sendable, CaseIterable {
    /// As they are computed with.
    case f32
    /// IEEE 754 binary16.
    case f16
    /// bfloat16.
    case bf16
    /// Blocks of 32 with 8 bits a weight.
    case q8_0
    /// Blocks of 32 with 4 bits a weight; the head has 6.
    case q4_0
    /// Blocks of 32 with 5 bits a weight; the head has 6.
    case q5_0
    /// Blocks of 256 with 4 bits a weight, llama.cpp's `Q4_K_M`: the head, and some values and second maps, have 6.
    case q4_K
    /// Blocks of 256 with 5 bits a weight; the head has 6.
    case q5_K
    /// Blocks of 256 with 6 bits a weight.
    case q6_K

    /// The type of the same name in memory; nothing for `f32`.
    public var weightType: WeightType? { WeightType(rawValue: rawValue) }

    /// What a matrix of a type in memory is written as.
    public init(_ type: WeightType) {
      guard let found = OutputType(rawValue: type.rawValue) else {
        preconditionFailure("GGUF is not written as \(type.rawValue)")
      }
      self = found
    }

    /// Finds a type by its name, in capitals or not.
    public init?(name: String) {
      guard let type = OutputType.allCases.first(where: { $0.rawValue.lowercased() == name.lowercased() })
      else {
        return nil
      }
      self = type
    }

    /// `general.file_type`.
    var number: UInt32 {
      switch self {
      case .f32: 0
      case .f16: 1
      case .q4_0: 2
      case .q8_0: 7
      case .q5_0: 8
      case .q4_K: 15
      case .q5_K: 17
      case .q6_K: 18
      case .bf16: 32
      }
    }
  }

  /// What llama.cpp will not do as the model does, one line each.
  public let notes: [String]
  private let description: ModelDescription
  private let source: any WeightSource
  private let architecture: GGUFArchitecture
  private let parts: [Part]
  private let quantized: ModelQuantizer.Result?
  private let settings: [(key: String, value: GGUFValue)]

  /// Opens a model and works out what its file will be.
  ///
  /// - Parameters:
  ///   - model: a folder in Hugging Face's layout, or a GGUF file.
  ///   - quantized: matrices that are in blocks already and are written as they are.
  /// - Throws: `GGUFExportError` for a model that GGUF cannot express, or what `Decoder.load` throws.
  public init(model: String, quantized: ModelQuantizer.Result? = nil) throws {
    let (description, source) = try openModel(model)
    self.quantized = quantized
    try description.refuseUnknownSettings()
    let configuration = description.configuration
    let loader = WeightLoader(family: description.family, configuration: configuration, source: source)
    try loader.check()
    let table = loader.table
    let chosen = GGUFArchitecture.write(configuration.modelType) { name in
      source.tensorNames.contains { $0.contains(".\(name).") }
    }
    guard let architecture = chosen else {
      throw GGUFExportError(
        path: model,
        reason: "GGUF has no architecture for model_type \"\(configuration.modelType)\"; it has "
          + GGUFArchitecture.knownNames.joined(separator: ", "))
    }
    var parts = try GGUFExport.parts(of: source, table, description, architecture)
    let isTied = try GGUFExport.isTied(source, table, description)
    if isTied {
      // A head that only repeats the embedding is left out, unless llama.cpp insists on one.
      parts.removeAll { $0.name == "output.weight" }
      if architecture.needsHead, let embedding = parts.first(where: { $0.name == "token_embd.weight" }) {
        parts.append(embedding.named("output.weight"))
      }
    }
    let shapes = Dictionary(parts.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })

    /// The configuration that a reader of the file will have.
    func readBack(_ settings: [(key: String, value: GGUFValue)]) throws -> DecoderConfiguration {
      let list = GGUFSettingsList(path: model, values: settings)
      let found = try GGUFArchitecture.read(list, path: model) { shapes[$0] != nil }
      let document = try GGUFConfiguration(
        list, found, shape: { isTied && $0 == "output.weight" ? nil : shapes[$0]?.shape },
        values: { shapes[$0]?.values }
      ).document
      return try ModelDescription(document, path: model).configuration
    }
    // The head of the file is what counts, whether or not the model calls it tied.
    var wanted = configuration
    wanted.tiesWordEmbeddings = isTied
    var settings = GGUFExport.settings(description, architecture)
    // An own key that says too little is the only thing that a reader could refuse here.
    var differences = (try? wanted.differences(from: readBack(settings))) ?? ["what GGUF's keys cannot say"]
    notes =
      differences.map { "llama.cpp computes otherwise: GGUF's \(architecture.name) has no key for \($0)" }
      + architecture.notes(configuration, tensors: parts.map(\.name))
    if !differences.isEmpty {
      settings.append((GGUFConfiguration.ownKey, .string(description.document.text())))
      differences = wanted.differences(from: try readBack(settings))
    }
    guard differences.isEmpty else {
      throw GGUFExportError(
        path: model, reason: "GGUF cannot express the model's \(differences.joined(separator: ", "))")
    }
    self.description = description
    self.source = source
    self.architecture = architecture
    self.parts = parts
    self.settings = settings
  }

  /// Tokens at which a text ends or begins, as `config.json` names them.
  public var tokens: (begin: Int?, ends: [Int], padding: Int?) {
    let configuration = description.configuration
    return (
      configuration.beginOfSequenceToken, configuration.endOfSequenceTokens, configuration.paddingToken
    )
  }

  /// The rows of the token embedding.
  public var vocabularySize: Int { description.configuration.vocabularySize }

  /// Writes the file.
  ///
  /// - Parameters:
  ///   - path: the file.
  ///   - type: how matrices are encoded. Vectors, norms, routers and embeddings of positions stay `f32`, and rows that
  ///     blocks do not divide fall back as in llama.cpp. Blocks of the same type are copied.
  ///   - name: `general.name`.
  ///   - vocabulary: keys and values besides, the tokenizer's among them.
  public func write(
    to path: String, as type: OutputType, name: String, vocabulary: [(key: String, value: GGUFValue)]
  ) throws {
    let hasHead = parts.contains { $0.name == "output.weight" }
    let declarations = parts.map { part in
      TensorDeclaration(name: part.name, type: tensorType(part, type, hasHead: hasHead), shape: part.shape)
    }
    let named = Dictionary(parts.map { ($0.name, $0) }, uniquingKeysWith: { first, _ in first })
    var metadata: [(key: String, value: GGUFValue)] = settings.filter { $0.key == "general.architecture" }
    metadata += [
      ("general.type", .string("model")), ("general.name", .string(name)),
      ("general.file_type", .uint32(type.number)), ("general.quantization_version", .uint32(2)),
    ]
    metadata += settings.filter { $0.key != "general.architecture" }
    metadata += vocabulary
    try GGUFWriter.write(to: path, metadata: metadata, declarations) { tensor, append in
      try write(named[tensor.name]!, tensor, append)
    }
  }

  private func tensorType(_ part: Part, _ type: OutputType, hasHead: Bool) -> TensorType {
    let isMatrix = part.shape.count > 1 && part.name.hasSuffix(".weight")
    guard isMatrix, !part.name.hasSuffix("_norm.weight"), part.name != "position_embd.weight",
      !part.name.hasSuffix("ffn_gate_inp.weight")
    else { return .f32 }
    guard let type = type.weightType else { return .f32 }
    let mixture = WeightMixture(
      type: type, layerCount: description.configuration.layerCount,
      expertCount: description.configuration.experts?.count ?? 0)
    let (pattern, layer) = DecoderFamily.pattern(of: part.name.dropLast(".weight".count)) ?? (part.name, 0)
    let chosen =
      switch pattern.split(separator: ".").last {
      case _ where part.name == (hasHead ? "output.weight" : "token_embd.weight"):
        mixture.type(of: .head, layer: 0)
      case "attn_qkv": mixture.type(of: .queryKeyValue, layer: layer)
      case "attn_q": mixture.type(of: .queryKeyValue, layer: layer, part: 0)
      case "attn_k": mixture.type(of: .queryKeyValue, layer: layer, part: 1)
      case "attn_v": mixture.type(of: .queryKeyValue, layer: layer, part: 2)
      case "ffn_down", "ffn_down_exps": mixture.type(of: .feedForwardOutput, layer: layer)
      default: mixture.type(of: .projection, layer: layer)
      }
    return (chosen ?? type).fitting(inputs: part.shape.last ?? 1).tensorType
  }

  // MARK: Tensors

  /// A tensor of the file and what it is made of.
  private struct Part {
    let name: String
    let shape: [Int]
    /// The checkpoint's tensors, several for experts and heads.
    let sources: [String]
    let transform: GGUFArchitecture.Transform
    /// Values that no tensor of the checkpoint holds.
    var values: [Float]?

    /// The same under another name.
    func named(_ name: String) -> Part {
      Part(name: name, shape: shape, sources: sources, transform: transform, values: values)
    }
  }

  /// Whether the head is the token embedding, be it that the checkpoint holds it twice.
  private static func isTied(
    _ source: any WeightSource, _ table: ParameterTable, _ description: ModelDescription
  ) throws -> Bool {
    guard table.hasOwnHead else { return true }
    let configuration = description.configuration
    guard configuration.tiesWordEmbeddings,
      let head = ParameterTable.headName(description.family, configuration, prefix: table.prefix),
      let embedding = table.parameters.first?.pieces.first?.tensor, let shape = source.shape(of: head),
      shape == source.shape(of: embedding)
    else { return false }
    let (left, leftOwner) = try source.floats(of: head)
    let (right, rightOwner) = try source.floats(of: embedding)
    return withExtendedLifetime((leftOwner, rightOwner)) {
      memcmp(left, right, shape.reduce(1, *) * MemoryLayout<Float>.stride) == 0
    }
  }

  private static func parts(
    of source: any WeightSource, _ table: ParameterTable, _ description: ModelDescription,
    _ architecture: GGUFArchitecture
  ) throws -> [Part] {
    var parts: [Part] = []
    var covered: Set<String> = []
    let configuration = description.configuration
    let canonical = description.family.prefixes[0]
    func actual(_ name: String) -> String {
      name.hasPrefix(canonical) ? table.prefix + name.dropFirst(canonical.count) : name
    }
    func add(_ tensor: GGUFArchitecture.Tensor, layer: Int, _ suffix: String) {
      let pattern = actual(tensor.checkpoint).replacing("{layer}", with: "\(layer)") + suffix
      let count =
        switch tensor.transform {
        case .experts: configuration.experts?.count ?? 0
        case .heads:
          tensor.gguf.hasSuffix("attn_q_norm")
            ? configuration.attention.queryHeadCount : configuration.attention.keyValueHeadCount
        default: 1
        }
      let names = (0..<count).map {
        pattern.replacing("{expert}", with: "\($0)").replacing("{head}", with: "\($0)")
      }
      guard let first = names.first, var shape = source.shape(of: first) else { return }
      switch tensor.transform {
      case .transposed where shape.count == 2: shape.reverse()
      case .experts, .heads: shape = [count] + shape
      default: break
      }
      covered.formUnion(names)
      let name = tensor.gguf.replacing("{layer}", with: "\(layer)") + suffix
      parts.append(Part(name: name, shape: shape, sources: names, transform: tensor.transform))
    }
    // In the order of the forward pass: what comes before the blocks, the blocks one after the other, the rest.
    let (layered, outside) = (
      architecture.tensors.filter { $0.gguf.contains("{layer}") },
      architecture.tensors.filter { !$0.gguf.contains("{layer}") }
    )
    for suffix in [".weight", ".bias"] {
      for tensor in outside where !tensor.gguf.hasPrefix("output") { add(tensor, layer: 0, suffix) }
    }
    for layer in 0..<configuration.layerCount {
      for tensor in layered { for suffix in [".weight", ".bias"] { add(tensor, layer: layer, suffix) } }
    }
    for tensor in outside where tensor.gguf.hasPrefix("output") {
      for suffix in [".weight", ".bias"] { add(tensor, layer: 0, suffix) }
    }
    if let missing = table.parameters.flatMap(\.pieces).map(\.tensor).first(where: { !covered.contains($0) })
    {
      throw GGUFExportError(
        path: source.path,
        reason: "tensor \(missing) has no name in GGUF's architecture \(architecture.name)")
    }
    return parts + rotaryParts(configuration)
  }

  /// Frequencies that GGUF keeps as tensors.
  private static func rotaryParts(_ configuration: DecoderConfiguration) -> [Part] {
    guard let rotary = configuration.rotaryEmbeddings.first else { return [] }
    func part(_ name: String, _ factors: [Float]) -> Part {
      Part(name: name, shape: [factors.count], sources: [], transform: .none, values: factors)
    }
    switch rotary.scaling {
    case .llama3:
      var plain = rotary
      plain.scaling = .none
      let ratios = zip(
        plain.inverseFrequencies(sequenceLength: 1), rotary.inverseFrequencies(sequenceLength: 1)
      ).map { $0 / $1 }
      return [part("rope_freqs.weight", ratios)]
    case .longrope(let short, let long, _):
      return short == long && rotary.attentionFactor == 1
        ? [part("rope_freqs.weight", short)]
        : [part("rope_factors_long.weight", long), part("rope_factors_short.weight", short)]
    default: return []
    }
  }

  private func write(_ part: Part, _ tensor: TensorDeclaration, _ append: GGUFWriter.Append) throws {
    if let values = part.values {
      return try values.withUnsafeBufferPointer { try put($0, tensor, append) }
    }
    let attention = description.configuration.attention
    for name in part.sources {
      if try writeRows(name, part, tensor, append) { continue }
      let (values, owner) = try source.floats(of: name)
      let shape = source.shape(of: name)!
      let count = shape.reduce(1, *)
      try withExtendedLifetime(owner) {
        let order = part.transform.rowOrder(
          rows: shape.first ?? 0, heads: attention.queryHeadCount, groups: attention.keyValueHeadCount)
        let isPlain = order == nil && ![.offsetNorm, .transposed].contains(part.transform)
        if isPlain || part.transform == .transposed && shape.count != 2 {
          return try put(UnsafeBufferPointer(start: values, count: count), tensor, append)
        }
        let buffer = FloatBuffer(count: count)
        let target = buffer.elements.baseAddress!
        if let order {
          let columns = count / shape[0]
          for (row, place) in order.enumerated() {
            (target + place * columns).update(from: values + row * columns, count: columns)
          }
        } else if part.transform == .offsetNorm {
          for index in 0..<count { target[index] = values[index] + 1 }
        } else {
          for row in 0..<shape[1] {
            for column in 0..<shape[0] { target[row * shape[0] + column] = values[column * shape[1] + row] }
          }
        }
        try put(UnsafeBufferPointer(buffer.elements), tensor, append)
      }
    }
  }

  /// Writes a matrix row by row: blocks of the file's type as they are, others encoded anew.
  ///
  /// - Returns: false for what is no matrix, or lies across the rows of the file.
  private func writeRows(
    _ name: String, _ part: Part, _ tensor: TensorDeclaration, _ append: GGUFWriter.Append
  ) throws -> Bool {
    guard part.shape.count > 1, part.transform != .offsetNorm, let columns = part.shape.last, columns > 0,
      columns.isMultiple(of: tensor.type.elementsPerBlock),
      let matrix = try quantized?.matrices[name] ?? source.matrix(of: name), matrix.columns == columns,
      matrix.isTransposed == (part.transform == .transposed)
    else { return false }
    let attention = description.configuration.attention
    // For each row of the file, the row of the checkpoint's tensor.
    var places: [Int]?
    if let order = part.transform.rowOrder(
      rows: source.shape(of: name)?.first ?? 0, heads: attention.queryHeadCount,
      groups: attention.keyValueHeadCount)
    {
      var found = [Int](repeating: 0, count: order.count)
      for (row, place) in order.enumerated() { found[place] = row }
      places = found
    }
    let rowBytes = tensor.type.byteCount(elements: columns)!
    let rowsPerPiece = max(1, (1 << 20) / rowBytes)
    var bytes = [UInt8](repeating: 0, count: min(rowsPerPiece, matrix.rows) * rowBytes)
    var values = [Float](repeating: 0, count: columns)
    for first in stride(from: 0, to: matrix.rows, by: rowsPerPiece) {
      let rows = first..<min(first + rowsPerPiece, matrix.rows)
      try matrix.check()
      try bytes.withUnsafeMutableBytes { buffer in
        for row in rows {
          let place = places?[row] ?? row
          let target = UnsafeMutableRawBufferPointer(
            rebasing: buffer[(row - first) * rowBytes..<(row - first + 1) * rowBytes])
          if matrix.type == tensor.type, let stored = matrix.bytes(row: place) {
            if !matrix.isFinite(row: place) { try matrix.throwNonFinite() }
            target.copyMemory(from: UnsafeRawBufferPointer(start: stored, count: rowBytes))
            continue
          }
          matrix.copyFloats(row: place, columns: 0..<columns, into: &values)
          if !values.allSatisfy(\.isFinite) { try matrix.throwNonFinite() }
          let overflow = values.withUnsafeBufferPointer {
            BlockEncoding.encode(tensor.type, $0, into: target)
          }
          if let overflow { throw beyond(tensor, row * columns + overflow) }
        }
        try append(UnsafeRawBufferPointer(rebasing: buffer[..<(rows.count * rowBytes)]))
      }
      matrix.release(rows: rows)
    }
    return true
  }

  private func beyond(_ tensor: TensorDeclaration, _ element: Int) -> GGUFExportError {
    GGUFExportError(
      path: source.path,
      reason:
        "tensor \(tensor.name): element \(element) is beyond \(tensor.type.rawValue); use another --outtype")
  }

  /// Encodes elements in pieces, so that the encoded form of a large matrix is never whole in memory.
  private func put(
    _ values: UnsafeBufferPointer<Float>, _ tensor: TensorDeclaration, _ append: GGUFWriter.Append
  ) throws {
    try encodeInPieces(values, as: tensor.type, append) { beyond(tensor, $0) }
  }
}

/// Encodes elements piece by piece.
///
/// - Parameter error: made of the place of an element that the type cannot hold.
func encodeInPieces(
  _ values: UnsafeBufferPointer<Float>, as type: TensorType,
  _ append: (UnsafeRawBufferPointer) throws -> Void, error: (Int) -> any Error
) throws {
  // A multiple of every block.
  let step = 1 << 20
  var bytes = [UInt8](repeating: 0, count: type.byteCount(elements: min(step, values.count))!)
  for start in stride(from: 0, to: values.count, by: step) {
    let piece = UnsafeBufferPointer(rebasing: values[start..<min(start + step, values.count)])
    let count = type.byteCount(elements: piece.count)!
    try bytes.withUnsafeMutableBytes { buffer in
      let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<count])
      if let index = BlockEncoding.encode(type, piece, into: target) { throw error(start + index) }
      try append(UnsafeRawBufferPointer(target))
    }
  }
}

/// Why a model cannot be written.
public struct GGUFExportError: Error, Equatable, CustomStringConvertible {
  /// The model.
  public let path: String
  /// What is in the way.
  public let reason: String

  /// One line: file, reason.
  public var description: String { "\(path): \(reason)" }
}
