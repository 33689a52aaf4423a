import Kernels

/// What distinguishes one decoder-only transformer from another, before any weight is seen.
///
/// A family (`Families/`) fills it from the model's `config.json`; the forward pass reads nothing else.
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
  /// Heads of attention.
  public var attention: AttentionShape
  /// What scores are multiplied by before the softmax.
  public var attentionScale: Float
  /// Whether the scale of layer l is divided by l + 1 besides.
  public var scalesAttentionByInverseLayer: Bool
  /// Channels between the two maps of the feed-forward block.
  public var feedForwardSize: Int
  /// The feed-forward block's nonlinearity.
  public var activation: Activation
  /// ε of every layer norm.
  public var normalizationEpsilon: Float
  /// Whether the output head is the token embedding when the checkpoint holds no head of its own.
  public var tiesWordEmbeddings: Bool
  /// End-of-sequence tokens of `config.json`, which generation falls back to.
  public var endOfSequenceTokens: [Int]
  /// The beginning-of-sequence token of `config.json`, if any.
  public var beginOfSequenceToken: Int?
  /// The padding token of `config.json`, if any.
  public var paddingToken: Int?
}

extension DecoderConfiguration {
  /// What the scores of one layer are multiplied by before the softmax.
  public func attentionScale(layer: Int) -> Float {
    scalesAttentionByInverseLayer ? attentionScale / Float(layer + 1) : attentionScale
  }

  /// Bytes of keys and values that one position of one sequence costs.
  public var cacheBytesPerPosition: Int {
    2 * layerCount * attention.keyValueWidth * MemoryLayout<Float>.size
  }
}
