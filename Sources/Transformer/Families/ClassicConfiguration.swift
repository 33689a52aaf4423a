import Kernels

/// What the relatives of GPT-2 have in common: layer norms, one size for all heads, ungated feed-forward maps.
///
/// Their fields go by many names, so a family gives the values that it read.
struct ClassicShape {
  var channels: Int
  var heads: Int
  /// Key/value heads; as many as query heads when not given.
  var groups: Int?
  var layers: Int
  var context: Int
  var inner: Int
}

/// The configuration of a relative of GPT-2.
///
/// - Parameters:
///   - headsField: the field to blame when heads do not divide the channels.
///   - beginOfSequence: where `bos_token_id` is absent; so `endOfSequence` and `padding`.
func classicConfiguration(
  _ reader: ConfigurationReader, _ size: ClassicShape, headsField: String, vocabulary defaultVocabulary: Int,
  epsilon: Double, activation: Activation, biases: LinearBiases, tiesWordEmbeddings: Bool,
  beginOfSequence: Int?, endOfSequence: Int?, padding: Int? = nil
) throws -> DecoderConfiguration {
  guard size.channels.isMultiple(of: size.heads) else {
    throw reader.error(headsField, "\(size.heads) heads do not divide \(size.channels) channels")
  }
  let groups = size.groups ?? size.heads
  guard size.heads.isMultiple(of: groups) else {
    throw reader.error(headsField, "\(groups) key/value heads do not divide \(size.heads) heads")
  }
  let shape = AttentionShape(
    queryHeadCount: size.heads, keyValueHeadCount: groups, headDimension: size.channels / size.heads)
  let vocabulary = try reader.integer("vocab_size", default: defaultVocabulary)
  return DecoderConfiguration(
    modelType: try reader.string("model_type", default: ""),
    vocabularySize: vocabulary,
    contextLength: size.context,
    hiddenSize: size.channels,
    layerCount: size.layers,
    embeddingSize: size.channels,
    attention: shape,
    attentionScale: 1 / Float(shape.headDimension).squareRoot(),
    layers: [LayerConfiguration](repeating: LayerConfiguration(), count: size.layers),
    normalization: .layerNorm(epsilon: Float(epsilon)),
    feedForwardSize: size.inner,
    activation: activation,
    biases: biases,
    tiesWordEmbeddings: try reader.boolean("tie_word_embeddings", default: tiesWordEmbeddings),
    endOfSequenceTokens: try reader.tokens("eos_token_id", default: endOfSequence, below: vocabulary),
    beginOfSequenceToken: try reader.tokens("bos_token_id", default: beginOfSequence, below: vocabulary)
      .first,
    paddingToken: try reader.tokens("pad_token_id", default: padding, below: vocabulary).first)
}

extension DecoderConfiguration {
  /// Gives every layer the same rotary embedding.
  mutating func turnAllLayers(by embedding: RotaryEmbedding?) {
    guard let embedding else { return }
    rotaryEmbeddings = [embedding]
    contextLength = embedding.context(trainedFor: contextLength)
    for layer in 0..<layerCount { layers[layer].rotary = 0 }
  }
}
