import Kernels

/// One matrix or vector as the engine holds it, and where its rows lie in a checkpoint.
package struct Parameter: Sendable {
  /// Rows of consecutive places that one tensor holds.
  package struct Run: Sendable, Equatable {
    /// The first row in the tensor.
    package let source: Int
    /// The first row in the engine's matrix.
    package let target: Int
    /// How many rows.
    package let count: Int
  }

  /// A tensor of the checkpoint that holds some of the rows.
  package struct Piece: Sendable {
    /// Its name.
    package let tensor: String
    /// Its extents.
    package let shape: [Int]
    /// Which of its rows go where.
    package let runs: [Run]
  }

  /// What a parameter is to the model.
  package enum Kind: Sendable, Equatable {
    /// A matrix of a linear map.
    case matrix
    /// A table of embeddings.
    case embedding
    /// γ of a norm.
    case normWeight
    /// A bias of a map or a norm.
    case bias
  }

  /// What it is to the model.
  package let kind: Kind
  /// Rows in memory; the elements of a vector.
  package let rows: Int
  /// Columns in memory; 1 for a vector.
  package let columns: Int
  /// The tensors that it consists of.
  package let pieces: [Piece]

  /// Elements.
  package var count: Int { rows * columns }
  /// Whether it is one whole tensor, just as the checkpoint has it.
  package var isWholeTensor: Bool {
    pieces.count == 1 && pieces[0].runs == [Run(source: 0, target: 0, count: rows)]
      && pieces[0].shape.reduce(1, *) == count
  }
}

/// All parameters of a model: their extents, their tensors, and how they make up a `DecoderWeights`.
///
/// Loading, counting, drawing at random, training and saving all follow this one table.
package struct ParameterTable: Sendable {
  let family: DecoderFamily
  /// The model.
  package let configuration: DecoderConfiguration
  let prefix: String
  /// Whether the head is a matrix of its own.
  package let hasOwnHead: Bool

  /// The table of a model.
  ///
  /// - Parameters:
  ///   - prefix: what the checkpoint's names begin with; by default as transformers saves them.
  ///   - hasOwnHead: by default when the model does not tie its embeddings.
  init(
    _ family: DecoderFamily, _ configuration: DecoderConfiguration, prefix: String? = nil,
    hasOwnHead: Bool? = nil
  ) {
    self.family = family
    self.configuration = configuration
    self.prefix = prefix ?? family.prefixes[0]
    self.hasOwnHead = hasOwnHead ?? !configuration.tiesWordEmbeddings
  }

  // MARK: Parameters

  /// The parameters outside the blocks, in the order of the forward pass.
  var modelParameters: [Parameter] {
    let declared = family.tensors(configuration)
    return ModelSlot.allCases.flatMap { slot in
      declared[slot].map { parameters(of: slot, $0) } ?? []
    }
  }

  /// The parameters of one block, in the order of the forward pass.
  ///
  /// - Parameter experts: the experts to list; all when not given.
  func parameters(layer: Int, experts: Range<Int>? = nil) -> [Parameter] {
    let declared = family.layerTensors(configuration, layer)
    return LayerSlot.allCases.flatMap { slot -> [Parameter] in
      guard let declaration = declared[slot] else { return [] }
      switch slot {
      case .expertInput, .expertOutput:
        return (experts ?? 0..<(configuration.experts?.count ?? 0)).flatMap {
          parameters(of: slot, declaration, layer: layer, expert: $0)
        }
      default: return parameters(of: slot, declaration, layer: layer, expert: 0)
      }
    }
  }

  /// All parameters, in the order of the forward pass: the embeddings first, the head last.
  package var parameters: [Parameter] {
    let outside = family.tensors(configuration)
    func model(_ slots: ModelSlot...) -> [Parameter] {
      slots.flatMap { slot in outside[slot].map { parameters(of: slot, $0) } ?? [] }
    }
    return model(.tokenEmbedding, .positionEmbedding, .embeddingNorm, .embeddingProjection)
      + (0..<configuration.layerCount).flatMap { parameters(layer: $0) }
      + model(.finalNorm, .outputProjection, .head)
  }

  func parameters(of slot: ModelSlot, _ declaration: WeightDeclaration) -> [Parameter] {
    let width = configuration.embeddingSize
    let channels = configuration.hiddenSize
    switch slot {
    case .tokenEmbedding:
      return [matrix(declaration, outputs: configuration.vocabularySize, inputs: width, kind: .embedding)]
    case .positionEmbedding:
      let positions = configuration.learnedPositions
      return [
        matrix(
          declaration, outputs: (positions?.count ?? 0) + (positions?.offset ?? 0), inputs: channels,
          kind: .embedding)
      ]
    case .embeddingNorm: return norm(declaration, channels)
    case .finalNorm: return norm(declaration, channels)
    case .embeddingProjection: return [matrix(declaration, outputs: channels, inputs: width)]
    case .outputProjection: return [matrix(declaration, outputs: width, inputs: channels)]
    case .head:
      return (hasOwnHead ? [matrix(declaration, outputs: configuration.vocabularySize, inputs: width)] : [])
        + (configuration.biases.contains(.head)
          ? [vector(declaration, configuration.vocabularySize, suffix: ".bias", kind: .bias)] : [])
    }
  }

  func parameters(
    of slot: LayerSlot, _ declaration: WeightDeclaration, layer: Int, expert: Int
  ) -> [Parameter] {
    let shape = configuration.attention
    let channels = configuration.hiddenSize
    let gates = configuration.isGated ? 2 : 1
    func linear(_ outputs: Int, _ inputs: Int, _ bias: LinearBiases, _ extents: [Int]? = nil) -> [Parameter] {
      let weight = matrix(
        declaration, outputs: outputs, inputs: inputs, extents: extents, layer: layer, expert: expert)
      guard configuration.biases.contains(bias), !bias.isEmpty else { return [weight] }
      return [
        weight,
        vector(
          declaration, outputs, suffix: ".bias", kind: .bias, extents: extents, layer: layer, expert: expert),
      ]
    }
    switch slot {
    case .attentionNorm, .attentionPostNorm, .feedForwardNorm, .feedForwardPostNorm:
      return norm(declaration, channels, layer: layer)
    case .queryNorm, .keyNorm:
      guard let normalization = configuration.queryKeyNormalization else { return [] }
      let heads = slot == .queryNorm ? shape.queryHeadCount : shape.keyValueHeadCount
      let count = normalization.extent == .head ? shape.headDimension : heads * shape.headDimension
      return norm(declaration, count, hasBias: normalization.hasBias, layer: layer)
    case .queryKeyValue:
      return linear(
        shape.queryWidth + 2 * shape.keyValueWidth, channels, .queryKeyValue,
        [shape.queryWidth, shape.keyValueWidth, shape.keyValueWidth])
    case .attentionOutput: return linear(channels, shape.queryWidth, .attentionOutput)
    case .feedForwardInput:
      return linear(gates * configuration.feedForwardSize, channels, .feedForwardInput)
    case .feedForwardOutput: return linear(channels, configuration.feedForwardSize, .feedForwardOutput)
    case .router: return linear(configuration.experts?.count ?? 0, channels, [])
    case .expertInput: return linear(gates * (configuration.experts?.feedForwardSize ?? 0), channels, [])
    case .expertOutput: return linear(channels, configuration.experts?.feedForwardSize ?? 0, [])
    }
  }

  private func norm(
    _ declaration: WeightDeclaration, _ count: Int, hasBias: Bool? = nil, layer: Int = 0
  ) -> [Parameter] {
    guard configuration.normalization.hasWeight else { return [] }
    return [vector(declaration, count, suffix: declaration.suffix, kind: .normWeight, layer: layer)]
      + (hasBias ?? configuration.normalization.hasBias
        ? [vector(declaration, count, suffix: ".bias", kind: .bias, layer: layer)] : [])
  }

  private func matrix(
    _ declaration: WeightDeclaration, outputs: Int, inputs: Int, extents: [Int]? = nil,
    kind: Parameter.Kind = .matrix, layer: Int = 0, expert: Int = 0
  ) -> Parameter {
    guard declaration.layout == .outputMajor else {
      precondition(declaration.names.count == 1, "matrices of (inputs, outputs) cannot be stacked")
      let piece = Parameter.Piece(
        tensor: name(declaration, 0, layer, expert) + declaration.suffix, shape: [inputs, outputs],
        runs: [.init(source: 0, target: 0, count: inputs)])
      return Parameter(kind: kind, rows: inputs, columns: outputs, pieces: [piece])
    }
    return Parameter(
      kind: kind, rows: outputs, columns: inputs,
      pieces: pieces(
        declaration, rows: outputs, trailing: [inputs], suffix: declaration.suffix, extents: extents,
        layer: layer, expert: expert))
  }

  private func vector(
    _ declaration: WeightDeclaration, _ count: Int, suffix: String, kind: Parameter.Kind,
    extents: [Int]? = nil, layer: Int = 0, expert: Int = 0
  ) -> Parameter {
    Parameter(
      kind: kind, rows: count, columns: 1,
      pieces: pieces(
        declaration, rows: count, trailing: [], suffix: suffix, extents: extents, layer: layer, expert: expert
      ))
  }

  /// The tensors of a declaration and where their rows go.
  private func pieces(
    _ declaration: WeightDeclaration, rows: Int, trailing: [Int], suffix: String, extents: [Int]?, layer: Int,
    expert: Int
  ) -> [Parameter.Piece] {
    let shape = configuration.attention
    let parts = declaration.names.count
    let sizes = extents.map { $0.count == parts ? $0 : nil } ?? nil
    let dimension = shape.headDimension
    var start = 0
    return (0..<parts).map { part in
      let count = sizes?[part] ?? rows / parts
      let tensor = name(declaration, part, layer, expert) + suffix
      defer { start += count }
      switch declaration.rowOrder {
      case .stacked:
        return .init(
          tensor: tensor, shape: [count] + trailing, runs: [.init(source: 0, target: start, count: count)])
      case .headRows:
        return .init(
          tensor: tensor, shape: [count / dimension, dimension] + trailing,
          runs: [.init(source: 0, target: start, count: count)])
      case .perExpert:
        return .init(
          tensor: tensor, shape: [configuration.experts?.count ?? 0, count] + trailing,
          runs: [.init(source: expert * count, target: start, count: count)])
      case .perHead:
        let width = shape.queryWidth
        return .init(
          tensor: tensor, shape: [count] + trailing,
          runs: (0..<shape.queryHeadCount).flatMap { head in
            (0..<3).map { part in
              .init(
                source: (3 * head + part) * dimension, target: part * width + head * dimension,
                count: dimension)
            }
          })
      case .perGroup:
        let group = shape.groupSize
        return .init(
          tensor: tensor, shape: [count] + trailing,
          runs: (0..<shape.keyValueHeadCount).flatMap { index -> [Parameter.Run] in
            let source = index * (group + 2) * dimension
            return [
              .init(source: source, target: index * group * dimension, count: group * dimension),
              .init(
                source: source + group * dimension, target: shape.queryWidth + index * dimension,
                count: dimension),
              .init(
                source: source + (group + 1) * dimension,
                target: shape.queryWidth + shape.keyValueWidth + index * dimension, count: dimension),
            ]
          })
      }
    }
  }

  private func name(_ declaration: WeightDeclaration, _ part: Int, _ layer: Int, _ expert: Int) -> String {
    (declaration.isPrefixed ? prefix : "")
      + declaration.names[part].replacing("{layer}", with: "\(layer)").replacing(
        "{expert}", with: "\(expert)")
  }

  // MARK: Names

  /// The names of all tensors outside the blocks that a checkpoint may hold.
  var modelTensorNames: Set<String> {
    var names = Set(modelParameters.flatMap(\.pieces).map(\.tensor))
    if !hasOwnHead, let head = family.tensors(configuration)[.head] {
      names.insert(name(head, 0, 0, 0) + head.suffix)
    }
    return names
  }

  /// The names of all tensors of a block.
  func tensorNames(layer: Int) -> Set<String> {
    Set(parameters(layer: layer).flatMap(\.pieces).map(\.tensor))
  }

  /// The name of the head's matrix, if the family has one.
  static func headName(_ family: DecoderFamily, _ configuration: DecoderConfiguration, prefix: String)
    -> String?
  {
    let table = ParameterTable(family, configuration, prefix: prefix, hasOwnHead: true)
    return family.tensors(configuration)[.head].map { table.name($0, 0, 0, 0) + $0.suffix }
  }

  // MARK: Assembly

  /// Puts a decoder's weights together, all of them floats.
  package func assemble(
    owners: () -> [AnyObject], pointer: (Parameter) throws -> UnsafePointer<Float>
  ) rethrows -> DecoderWeights {
    try assemble(owners: owners, pointer: pointer, inPlace: { _, _ in nil }, packed: { _, _ in nil })
  }

  /// Puts a decoder's weights together.
  ///
  /// - Parameters:
  ///   - owners: what keeps the memory that pointers lead into.
  ///   - stage: told what is asked for next: 0 the embeddings, n the nth block, `PendingChecks.last` what follows the blocks.
  ///   - pointer: the elements of a parameter, (rows, columns); called once for each that is neither packed nor in place, in
  ///     the order of `parameters`.
  ///   - inPlace: the matrix of a map, or of a token embedding that is the head, where it can be used as it lies.
  ///   - packed: the matrix of a map or of the token embedding in compact types, or nothing where it stays as floats.
  package func assemble(
    owners: () -> [AnyObject], stage: (Int) -> Void = { _ in },
    pointer: (Parameter) throws -> UnsafePointer<Float>,
    inPlace: (Parameter, MatrixUse) throws -> MatrixInPlace?,
    packed: (Parameter, MatrixUse) throws -> PackedWeight?
  ) rethrows -> DecoderWeights {
    let outside = family.tensors(configuration)
    let settings = configuration.normalization
    let width = configuration.embeddingSize

    // Stands for γ where the model has none.
    let ones = FloatBuffer(count: settings.hasWeight ? 0 : configuration.hiddenSize)
    ones.elements.initialize(repeating: 1)
    func norm(_ parameters: [Parameter]?) throws -> NormalizationWeight? {
      guard let parameters else { return nil }
      guard let weight = parameters.first else {
        return NormalizationWeight(
          kind: settings.kind, weight: UnsafePointer(ones.elements.baseAddress!), epsilon: settings.epsilon)
      }
      return NormalizationWeight(
        kind: settings.kind, weight: try pointer(weight), bias: try parameters.dropFirst().first.map(pointer),
        offset: settings.offset, epsilon: settings.epsilon)
    }
    func parameters(_ slot: ModelSlot) -> [Parameter] {
      outside[slot].map { self.parameters(of: slot, $0) } ?? []
    }
    func map(_ parameters: [Parameter], _ use: MatrixUse) throws -> LinearWeight {
      let weight = parameters[0]
      if let packed = try packed(weight, use) {
        return LinearWeight(packed, bias: try parameters.dropFirst().first.map(pointer))
      }
      let other: LinearWeight.Layout = use.layout == .outputMajor ? .inputMajor : .outputMajor
      let found = try inPlace(weight, use)
      let values: UnsafePointer<Float>
      var layout = use.layout
      switch found?.elements {
      case .scattered(let matrix):
        return LinearWeight(
          matrix, bias: try parameters.dropFirst().first.map(pointer), unseen: found?.unseen)
      case .transposed(let place): (values, layout) = (place, other)
      case .rows(let place): values = place
      case nil: values = try pointer(weight)
      }
      return LinearWeight(
        values: values, bias: try parameters.dropFirst().first.map(pointer),
        inputs: use.layout == .outputMajor ? weight.columns : weight.rows,
        outputs: use.layout == .outputMajor ? weight.rows : weight.columns, layout: layout,
        unseen: found?.unseen)
    }
    func linear(_ parameters: [Parameter], _ layout: LinearWeight.Layout) throws -> LinearWeight {
      try map(parameters, MatrixUse(role: .projection, layout: layout))
    }

    let table = parameters(.tokenEmbedding)[0]
    // A table that is the head too has the head's type, and is used whole.
    let tableUse = MatrixUse(role: hasOwnHead ? .tokenEmbedding : .head)
    let embedding: EmbeddingTable
    var unseenEmbedding: UnseenMatrix?
    if let packed = try packed(table, tableUse) {
      embedding = .packed(packed)
    } else if !hasOwnHead, let found = try inPlace(table, tableUse), case .rows(let values) = found.elements {
      (embedding, unseenEmbedding) = (.floats(values), found.unseen)
    } else {
      embedding = .floats(try pointer(table))
    }
    let positionEmbedding = try parameters(.positionEmbedding).first.map(pointer)
    let embeddingNorm = try norm(outside[.embeddingNorm].map { self.parameters(of: .embeddingNorm, $0) })
    let embeddingProjection = try outside[.embeddingProjection].map {
      try linear(self.parameters(of: .embeddingProjection, $0), $0.layout)
    }

    var blocks: [BlockWeights] = []
    for layer in 0..<configuration.layerCount {
      stage(layer + 1)
      let declared = family.layerTensors(configuration, layer)
      func parameters(_ slot: LayerSlot, expert: Int = 0) -> [Parameter] {
        declared[slot].map { self.parameters(of: slot, $0, layer: layer, expert: expert) } ?? []
      }
      func linear(_ slot: LayerSlot, expert: Int = 0) throws -> LinearWeight {
        guard let declaration = declared[slot] else {
          preconditionFailure("\(configuration.modelType) declares no \(slot) for layer \(layer)")
        }
        return try map(
          parameters(slot, expert: expert),
          MatrixUse(role: MatrixUse.Role(slot), layer: layer, layout: declaration.layout))
      }
      func blockNorm(_ slot: LayerSlot) throws -> NormalizationWeight? {
        try norm(declared[slot] == nil ? nil : parameters(slot))
      }
      func headNorm(_ slot: LayerSlot) throws -> NormalizationWeight? {
        guard let settings = configuration.queryKeyNormalization else { return nil }
        let weights = parameters(slot)
        return NormalizationWeight(
          kind: settings.kind, weight: try pointer(weights[0]),
          bias: try weights.dropFirst().first.map(pointer),
          offset: settings.offset, epsilon: settings.epsilon)
      }
      let attentionNorm = try blockNorm(.attentionNorm)
      let queryKeyValue = try linear(.queryKeyValue)
      let queryNorm = try headNorm(.queryNorm)
      let keyNorm = try headNorm(.keyNorm)
      let attentionOutput = try linear(.attentionOutput)
      let attentionPostNorm = try blockNorm(.attentionPostNorm)
      let feedForwardNorm = try blockNorm(.feedForwardNorm)
      var feedForward: FeedForwardWeights?
      if !configuration.layers[layer].hasExperts {
        feedForward = .dense(
          FeedForwardMaps(input: try linear(.feedForwardInput), output: try linear(.feedForwardOutput)))
      }
      let feedForwardPostNorm = try blockNorm(.feedForwardPostNorm)
      if feedForward == nil {
        let router = try linear(.router)
        let count = configuration.experts?.count ?? 0
        let inputs = try (0..<count).map { try linear(.expertInput, expert: $0) }
        let outputs = try (0..<count).map { try linear(.expertOutput, expert: $0) }
        feedForward = .experts(
          router: router, zip(inputs, outputs).map { FeedForwardMaps(input: $0, output: $1) })
      }
      blocks.append(
        BlockWeights(
          attentionNorm: attentionNorm, queryKeyValue: queryKeyValue, queryNorm: queryNorm, keyNorm: keyNorm,
          attentionOutput: attentionOutput, attentionPostNorm: attentionPostNorm,
          feedForwardNorm: feedForwardNorm, feedForward: feedForward!,
          feedForwardPostNorm: feedForwardPostNorm))
    }

    stage(PendingChecks.last)
    let finalNorm = try norm(outside[.finalNorm].map { self.parameters(of: .finalNorm, $0) })
    let outputProjection = try outside[.outputProjection].map {
      try linear(self.parameters(of: .outputProjection, $0), $0.layout)
    }
    let head = parameters(.head)
    var (headTable, unseenHead) = (embedding, unseenEmbedding)
    if hasOwnHead {
      let use = MatrixUse(role: .head)
      if let packed = try packed(head[0], use) {
        headTable = .packed(packed)
      } else if let found = try inPlace(head[0], use), case .rows(let values) = found.elements {
        (headTable, unseenHead) = (.floats(values), found.unseen)
      } else {
        headTable = .floats(try pointer(head[0]))
      }
    }
    let bias = try configuration.biases.contains(.head) ? head.last.map(pointer) : nil
    let headWeight =
      switch headTable {
      case .packed(let weight): LinearWeight(weight, bias: bias)
      case .floats(let values):
        LinearWeight(
          values: values, bias: bias, inputs: width, outputs: configuration.vocabularySize,
          layout: .outputMajor, unseen: unseenHead)
      }
    return DecoderWeights(
      embedding: embedding, unseenEmbedding: unseenEmbedding, positionEmbedding: positionEmbedding,
      embeddingNorm: embeddingNorm,
      embeddingProjection: embeddingProjection, blocks: blocks, finalNorm: finalNorm,
      outputProjection: outputProjection, head: headWeight,
      isHeadTied: !hasOwnHead, owners: owners() + [ones])
  }
}
