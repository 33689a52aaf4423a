import Checkpoints
import Kernels

/// Reads named tensors into the slots of a decoder: all of them, or an error.
struct WeightLoader {
  let family: DecoderFamily
  let configuration: DecoderConfiguration
  let source: any WeightSource
  private let prefix: String
  private var owners: [AnyObject]

  init(family: DecoderFamily, configuration: DecoderConfiguration, source: any WeightSource) {
    self.family = family
    self.configuration = configuration
    self.source = source
    owners = []
    prefix =
      family.prefixes.first { prefix in
        family.tensors.values.contains { $0.isPrefixed && source.shape(of: prefix + $0.name) != nil }
      } ?? family.prefixes[0]
  }

  /// Loads every tensor, after checking that the source holds the right ones and no others.
  mutating func load() throws -> DecoderWeights {
    try refuseUnexpectedTensors()
    let tokenEmbedding = try required(.tokenEmbedding)
    let positionEmbedding = try required(.positionEmbedding)
    let finalNorm = NormalizationWeight(
      weight: try required(.finalNormWeight), bias: try optional(.finalNormBias))
    let separateHead = try optional(.headWeight)
    if separateHead == nil, !configuration.tiesWordEmbeddings, let head = family.tensors[.headWeight] {
      throw DecoderError.missingTensor(path: source.path, name: name(of: head))
    }
    var blocks: [BlockWeights] = []
    for layer in 0..<configuration.layerCount { blocks.append(try block(layer)) }
    return DecoderWeights(
      tokenEmbedding: tokenEmbedding, positionEmbedding: positionEmbedding, blocks: blocks,
      finalNorm: finalNorm,
      head: LinearWeight(
        values: separateHead ?? tokenEmbedding, inputs: configuration.hiddenSize,
        outputs: configuration.vocabularySize, layout: .outputMajor),
      isHeadTied: separateHead == nil, owners: owners)
  }

  private mutating func block(_ layer: Int) throws -> BlockWeights {
    let attention = configuration.attention
    let channels = configuration.hiddenSize
    return BlockWeights(
      attentionNorm: try norm(.attentionNormWeight, .attentionNormBias, layer),
      queryKeyValue: try linear(
        .queryKeyValueWeight, .queryKeyValueBias, layer, channels,
        attention.queryWidth + 2 * attention.keyValueWidth),
      attentionOutput: try linear(
        .attentionOutputWeight, .attentionOutputBias, layer, attention.queryWidth, channels),
      feedForwardNorm: try norm(.feedForwardNormWeight, .feedForwardNormBias, layer),
      feedForwardInput: try linear(
        .feedForwardInputWeight, .feedForwardInputBias, layer, channels, configuration.feedForwardSize),
      feedForwardOutput: try linear(
        .feedForwardOutputWeight, .feedForwardOutputBias, layer, configuration.feedForwardSize, channels))
  }

  private mutating func norm(
    _ weight: LayerSlot, _ bias: LayerSlot, _ layer: Int
  ) throws -> NormalizationWeight {
    NormalizationWeight(weight: try required(weight, layer), bias: try optional(bias, layer))
  }

  private mutating func linear(
    _ weight: LayerSlot, _ bias: LayerSlot, _ layer: Int, _ inputs: Int, _ outputs: Int
  ) throws -> LinearWeight {
    LinearWeight(
      values: try required(weight, layer), bias: try optional(bias, layer), inputs: inputs, outputs: outputs,
      layout: family.layerTensors[weight]?.layout ?? .outputMajor)
  }

  // MARK: One tensor

  private mutating func required(_ slot: ModelSlot) throws -> UnsafePointer<Float> {
    let declaration = family.tensors[slot]!
    guard let pointer = try tensor(declaration) else {
      throw DecoderError.missingTensor(path: source.path, name: name(of: declaration))
    }
    return pointer
  }

  private mutating func required(_ slot: LayerSlot, _ layer: Int) throws -> UnsafePointer<Float> {
    let declaration = family.layerTensors[slot]!
    guard let pointer = try tensor(declaration, layer) else {
      throw DecoderError.missingTensor(path: source.path, name: name(of: declaration, layer))
    }
    return pointer
  }

  private mutating func optional(_ slot: ModelSlot) throws -> UnsafePointer<Float>? {
    guard let declaration = family.tensors[slot] else { return nil }
    return declaration.isOptional ? try tensor(declaration) : try required(slot)
  }

  private mutating func optional(_ slot: LayerSlot, _ layer: Int) throws -> UnsafePointer<Float>? {
    guard let declaration = family.layerTensors[slot] else { return nil }
    return declaration.isOptional ? try tensor(declaration, layer) : try required(slot, layer)
  }

  /// The elements of a tensor as `Float`; `nil` when the source has none of that name.
  private mutating func tensor(_ declaration: WeightDeclaration, _ layer: Int = 0) throws -> UnsafePointer<
    Float
  >? {
    let name = name(of: declaration, layer)
    guard let shape = source.shape(of: name) else { return nil }
    let expected = declaration.shape(configuration)
    guard shape == expected else {
      throw DecoderError.wrongShape(path: source.path(of: name), name: name, shape: shape, expected: expected)
    }
    let (values, owner) = try source.floats(of: name)
    owners.append(owner)
    return values
  }

  // MARK: Names

  private func name(of declaration: WeightDeclaration, _ layer: Int = 0) -> String {
    (declaration.isPrefixed ? prefix : "") + DecoderFamily.name(declaration.name, layer: layer)
  }

  private func refuseUnexpectedTensors() throws {
    // Names are matched by their pattern, so that a layer count from a hostile file costs nothing.
    let known = Set(family.layerTensors.values.map(\.name) + family.buffers)
    let outside = Set(family.tensors.values.map { ($0.isPrefixed ? prefix : "") + $0.name })
    let unexpected = source.tensorNames.filter { name in
      if outside.contains(name) { return false }
      guard name.hasPrefix(prefix),
        let (pattern, layer) = DecoderFamily.pattern(of: name.dropFirst(prefix.count))
      else { return true }
      return !known.contains(pattern) || layer >= configuration.layerCount
    }
    guard unexpected.isEmpty else {
      throw DecoderError.unexpectedTensors(path: source.path, names: unexpected.sorted())
    }
  }
}

extension DecoderFamily {
  /// The name of a layer's tensor.
  static func name(_ pattern: String, layer: Int) -> String {
    guard let range = pattern.firstRange(of: "{layer}") else { return pattern }
    return pattern.replacingCharacters(in: range, with: "\(layer)")
  }

  /// A name with its first number replaced by `{layer}`, and that number.
  static func pattern(of name: Substring) -> (pattern: String, layer: Int)? {
    var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard let index = parts.firstIndex(where: { !$0.isEmpty && $0.allSatisfy { ("0"..."9").contains($0) } }),
      let layer = Int(parts[index]), String(layer) == parts[index]
    else { return nil }
    parts[index] = "{layer}"
    return (parts.joined(separator: "."), layer)
  }
}

extension String {
  fileprivate func replacingCharacters(in range: Range<String.Index>, with text: String) -> String {
    self[..<range.lowerBound] + text + self[range.upperBound...]
  }
}

/// Floats that an object owns, aligned for vector loads.
final class FloatBuffer {
  let elements: UnsafeMutableBufferPointer<Float>

  init(count: Int) {
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: max(count, 1) * MemoryLayout<Float>.stride, alignment: 64)
    elements = UnsafeMutableBufferPointer(
      start: memory.bindMemory(to: Float.self, capacity: max(count, 1)), count: count)
  }

  deinit { elements.baseAddress?.deallocate() }
}
