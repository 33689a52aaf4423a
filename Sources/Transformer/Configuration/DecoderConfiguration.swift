import Kernels

/// What distinguishes one decoder-only transformer from another, before any weight is seen.
///
/// A family (`Families/`) fills it from the model's `config.json`; the forward pass reads nothing else. What a
/// family does not set is as in GPT-2: sequential blocks with layer norms before each part, and no more.
public struct DecoderConfiguration: Sendable, Equatable {
  /// The family's name in `config.json` (`model_type`), such as `gpt2`.
  public var modelType: String
  /// Tokens that the model knows, V.
  public var vocabularySize: Int
  /// Positions that the model was made for.
  public var contextLength: Int
  /// Channels of the residual stream, C.
  public var hiddenSize: Int
  /// Blocks, L.
  public var layerCount: Int

  // MARK: Embedding

  /// Channels of the token embeddings; where they are not C, a map leads from one to the other and back.
  public var embeddingSize: Int
  /// What token embeddings are multiplied by.
  public var embeddingScale: Float = 1
  /// Whether token embeddings are normalised.
  public var normalizesEmbedding = false
  /// The learned embedding of positions, if there is one.
  public var learnedPositions: LearnedPositions?

  // MARK: Attention

  /// Heads of attention.
  public var attention: AttentionShape
  /// What products of queries and keys are multiplied by.
  public var attentionScale: Float
  /// Whether the scale of layer l is divided by l + 1 besides.
  public var scalesAttentionByInverseLayer = false
  /// c of c·tanh(score/c).
  public var attentionSoftCap: Float?
  /// Biases that grow with the position of the key.
  public var positionBias: LinearPositionBias?
  /// The rotary embeddings that layers refer to.
  public var rotaryEmbeddings: [RotaryEmbedding] = []
  /// Normalisation of queries and keys, if there is one.
  public var queryKeyNormalization: QueryKeyNormalization?
  /// What differs between layers, (L).
  public var layers: [LayerConfiguration]

  // MARK: Block

  /// The norms of blocks and the last one.
  public var normalization: Normalization
  /// Whether attention and feed-forward maps read the same residual stream, side by side.
  public var isParallel = false
  /// Whether parallel parts share one norm.
  public var sharesParallelNorm = false
  /// Whether the residual connection starts after the norm instead of before.
  public var residualFollowsNorm = false
  /// What each part is multiplied by before it is added to the residual stream.
  public var residualScale: Float = 1

  // MARK: Feed-forward

  /// Channels between the two maps of the feed-forward block.
  public var feedForwardSize: Int
  /// The feed-forward block's nonlinearity.
  public var activation: Activation
  /// Whether one half of the inner channels gates the other.
  public var isGated = false
  /// The mixture that replaces the feed-forward block in layers with experts.
  public var experts: ExpertConfiguration?

  // MARK: Head

  /// Which linear maps have a bias.
  public var biases: LinearBiases = []
  /// Whether there is a norm after the last block.
  public var hasFinalNorm = true
  /// What logits are multiplied by.
  public var logitScale: Float = 1
  /// c of c·tanh(logit/c).
  public var logitSoftCap: Float?
  /// Whether the output head is the token embedding when the checkpoint holds no head of its own.
  public var tiesWordEmbeddings: Bool

  // MARK: Tokens

  /// End-of-sequence tokens of `config.json`, which generation falls back to.
  public var endOfSequenceTokens: [Int] = []
  /// The beginning-of-sequence token of `config.json`, if any.
  public var beginOfSequenceToken: Int?
  /// The padding token of `config.json`, if any.
  public var paddingToken: Int?
}

/// A learned embedding of positions.
public struct LearnedPositions: Sendable, Equatable {
  /// Positions that it knows: none beyond can be computed.
  public var count: Int
  /// Rows of the table that come before that of position 0.
  public var offset: Int

  /// Describes the table.
  public init(count: Int, offset: Int = 0) {
    self.count = count
    self.offset = offset
  }
}

/// What one layer has that others may not.
public struct LayerConfiguration: Sendable, Equatable {
  /// Its rotary embedding, by place in `rotaryEmbeddings`; nothing for a layer without.
  public var rotary: Int?
  /// Positions that a query sees, its own included; nothing for all.
  public var window: Int?
  /// Whether a mixture of experts takes the place of the feed-forward block.
  public var hasExperts: Bool

  /// Describes a layer.
  public init(rotary: Int? = nil, window: Int? = nil, hasExperts: Bool = false) {
    self.rotary = rotary
    self.window = window
    self.hasExperts = hasExperts
  }
}

/// The norms of a model.
public struct Normalization: Sendable, Equatable {
  /// Where norms stand.
  public enum Placement: Sendable, Equatable {
    /// Before each part: x += f(norm(x)).
    case before
    /// After each part: x += norm(f(x)).
    case after
    /// Both: x += norm(f(norm(x))).
    case around
    /// After the residual connection: x = norm(x + f(x)).
    case afterResidual
  }

  /// What rows are divided by.
  public var kind: NormalizationWeight.Kind
  /// ε.
  public var epsilon: Float
  /// Whether there is a β.
  public var hasBias: Bool
  /// Whether there is a γ; without, rows are normalised and no more.
  public var hasWeight = true
  /// What is added to γ: 1 where checkpoints hold γ − 1.
  public var offset: Float
  /// Where norms stand.
  public var placement: Placement

  /// Describes the norms.
  public init(
    kind: NormalizationWeight.Kind, epsilon: Float, hasBias: Bool, offset: Float = 0,
    placement: Placement = .before
  ) {
    self.kind = kind
    self.epsilon = epsilon
    self.hasBias = hasBias
    self.offset = offset
    self.placement = placement
  }

  /// A layer norm with weight and bias.
  public static func layerNorm(epsilon: Float, hasBias: Bool = true) -> Normalization {
    Normalization(kind: .layerNorm, epsilon: epsilon, hasBias: hasBias)
  }

  /// A root-mean-square norm.
  public static func rootMeanSquare(
    epsilon: Float, offset: Float = 0, placement: Placement = .before
  ) -> Normalization {
    Normalization(
      kind: .rootMeanSquare, epsilon: epsilon, hasBias: false, offset: offset, placement: placement)
  }
}

/// Norms of queries and keys, before any rotation.
public struct QueryKeyNormalization: Sendable, Equatable {
  /// What is normalised together.
  public enum Extent: Sendable, Equatable {
    /// The channels of a head, with weights that all heads share, (D).
    case head
    /// The channels of a head, with weights of each head's own, (heads, D).
    case ownHead
    /// All channels, (heads·D).
    case all
  }

  /// What rows are divided by.
  public var kind: NormalizationWeight.Kind
  /// What is normalised together.
  public var extent: Extent
  /// ε.
  public var epsilon: Float
  /// Whether there is a β.
  public var hasBias: Bool
  /// What is added to γ.
  public var offset: Float

  /// Describes the norms.
  public init(
    kind: NormalizationWeight.Kind, extent: Extent, epsilon: Float, hasBias: Bool = false, offset: Float = 0
  ) {
    self.kind = kind
    self.extent = extent
    self.epsilon = epsilon
    self.hasBias = hasBias
    self.offset = offset
  }
}

/// A mixture of experts.
public struct ExpertConfiguration: Sendable, Equatable {
  /// Experts of a layer.
  public var count: Int
  /// Experts that a token is given to.
  public var perToken: Int
  /// Channels between the two maps of an expert.
  public var feedForwardSize: Int
  /// Whether the shares of a token's experts are divided by their sum.
  public var normalizesShares: Bool

  /// Describes the mixture.
  public init(count: Int, perToken: Int, feedForwardSize: Int, normalizesShares: Bool) {
    self.count = count
    self.perToken = perToken
    self.feedForwardSize = feedForwardSize
    self.normalizesShares = normalizesShares
  }
}

/// Which linear maps have a bias.
public struct LinearBiases: OptionSet, Sendable {
  /// The bits.
  public let rawValue: Int

  /// Takes the bits as they are.
  public init(rawValue: Int) { self.rawValue = rawValue }

  /// Queries, keys and values.
  public static let queryKeyValue = LinearBiases(rawValue: 1)
  /// The output of attention.
  public static let attentionOutput = LinearBiases(rawValue: 2)
  /// The first map of the feed-forward block.
  public static let feedForwardInput = LinearBiases(rawValue: 4)
  /// The second map of the feed-forward block.
  public static let feedForwardOutput = LinearBiases(rawValue: 8)
  /// The output head.
  public static let head = LinearBiases(rawValue: 16)

  /// Both maps of attention.
  public static let attention: LinearBiases = [.queryKeyValue, .attentionOutput]
  /// Both maps of the feed-forward block.
  public static let feedForward: LinearBiases = [.feedForwardInput, .feedForwardOutput]
}

extension DecoderConfiguration {
  /// How the scores of one layer are made.
  public func attentionScoring(layer: Int) -> AttentionScoring {
    AttentionScoring(
      scale: scalesAttentionByInverseLayer ? attentionScale / Float(layer + 1) : attentionScale,
      softCap: attentionSoftCap, window: layers[layer].window, bias: positionBias)
  }

  /// The most positions that can be computed at all; nothing where only training sets a limit.
  public var maximumPositions: Int? { learnedPositions?.count }

  /// The longest sequence whose early positions are what they are in shorter ones; nothing where they always are.
  ///
  /// Beyond it a sequence that is run in pieces differs from the same one run at once, in transformers as here.
  public var stableLength: Int? { rotaryEmbeddings.compactMap(\.stableLength).min() }

  /// The length beyond which keys that are cached have to be computed anew, with the frequencies of long sequences.
  var recomputationLength: Int? {
    rotaryEmbeddings.compactMap { embedding in
      if case .longrope = embedding.scaling { embedding.stableLength } else { nil }
    }.min()
  }

  /// Bytes of keys and values that one position of one sequence costs, in the layers that keep it.
  public var cacheBytesPerPosition: Int { cacheBytesPerPosition(KeyValueTypes()) }

  /// The same in other types.
  public func cacheBytesPerPosition(_ types: KeyValueTypes) -> Int { layerCount * types.byteCount(attention) }

  /// Bytes of keys and values of one sequence of a length: layers with a window keep that, and a chunk of a prompt.
  public func cacheBytes(_ types: KeyValueTypes, positions: Int, chunkSize: Int = 512) -> Int {
    layers.reduce(0) { sum, layer in
      let kept = layer.window.map {
        min(positions, $0.addingReportingOverflow(max(chunkSize, 64)).partialValue)
      }
      return sum + types.byteCount(attention) * max(0, kept ?? positions)
    }
  }

  /// Channels of the first feed-forward map's output.
  var feedForwardInputWidth: Int { isGated ? 2 * feedForwardSize : feedForwardSize }
}
