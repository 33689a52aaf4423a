import Kernels

extension DecoderFamily {
  /// Llama: root-mean-square norms, rotary positions, grouped heads, gated feed-forward maps.
  ///
  /// - SeeAlso: arXiv:2302.13971; `LlamaForCausalLM` in Hugging Face transformers.
  static let llama = DecoderFamily(
    modelTypes: ["llama"],
    configure: { reader in
      var configuration = try llamaConfiguration(
        reader, defaults: LlamaDefaults(context: 2048, epsilon: 1e-6, beginOfSequence: 1, endOfSequence: 2))
      if try reader.boolean("attention_bias", default: false) { configuration.biases.insert(.attention) }
      if try reader.boolean("mlp_bias", default: false) { configuration.biases.insert(.feedForward) }
      return configuration
    },
    knownFields: llamaFields.union(["attention_bias", "mlp_bias", "pretraining_tp"]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in llamaLayerTensors },
    buffers: llamaBuffers)

  /// Mistral: Llama whose queries see a window of keys.
  ///
  /// - SeeAlso: arXiv:2310.06825; `MistralForCausalLM` in Hugging Face transformers.
  static let mistral = DecoderFamily(
    modelTypes: ["mistral"],
    configure: { reader in
      var configuration = try llamaConfiguration(
        reader,
        defaults: LlamaDefaults(
          inner: 14_336, keyValueHeads: 8, context: 131_072, epsilon: 1e-6, beginOfSequence: 1,
          endOfSequence: 2))
      try readWindow(reader, into: &configuration, fallback: 4096)
      return configuration
    },
    knownFields: llamaFields.union(["sliding_window"]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in llamaLayerTensors },
    buffers: llamaBuffers)
}

/// What a relative of Llama assumes where its `config.json` is silent.
struct LlamaDefaults {
  var vocabulary = 32_000
  var channels = 4096
  var inner = 11_008
  var layers = 32
  var heads = 32
  /// Key/value heads where the field is absent; as many as query heads when `nil`.
  var keyValueHeads: Int?
  var headDimension: Int?
  var context: Int
  var epsilonField = "rms_norm_eps"
  var epsilon: Double
  var base = 10_000.0
  var fraction: RotaryFraction?
  var pairing = RotaryPairing.halves
  var originalContext: Int?
  /// The entry of `rope_parameters` to read, where there is one per type of layer.
  var rotarySection: String?
  var activationField = "hidden_act"
  var activation = "silu"
  var tiesWordEmbeddings = false
  var beginOfSequence: Int?
  var endOfSequence: Int?
  var padding: Int?
}

/// Reads what the relatives of Llama have in common.
func llamaConfiguration(
  _ reader: ConfigurationReader, defaults: LlamaDefaults
) throws -> DecoderConfiguration {
  let channels = try reader.integer("hidden_size", default: defaults.channels)
  let heads = try reader.headCount("num_attention_heads", default: defaults.heads)
  let groups =
    try reader.optionalInteger("num_key_value_heads")
    ?? (reader.contains("num_key_value_heads") ? heads : defaults.keyValueHeads ?? heads)
  let layers = try reader.layerCount("num_hidden_layers", default: defaults.layers)
  let vocabulary = try reader.integer("vocab_size", default: defaults.vocabulary)
  let context = try reader.integer("max_position_embeddings", default: defaults.context)
  let shape = try readAttentionShape(
    reader, channels: channels, heads: heads, groups: groups, defaultDimension: defaults.headDimension)
  let rotary = try readRotaryEmbedding(
    reader, headDimension: shape.headDimension, context: context, defaultBase: defaults.base,
    fraction: defaults.fraction, pairing: defaults.pairing, section: defaults.rotarySection,
    defaultOriginalContext: defaults.originalContext)
  return DecoderConfiguration(
    modelType: try reader.string("model_type", default: ""),
    vocabularySize: vocabulary,
    contextLength: rotary?.context(trainedFor: context) ?? context,
    hiddenSize: channels,
    layerCount: layers,
    embeddingSize: channels,
    attention: shape,
    attentionScale: 1 / Float(shape.headDimension).squareRoot(),
    rotaryEmbeddings: rotary.map { [$0] } ?? [],
    layers: [LayerConfiguration](
      repeating: LayerConfiguration(rotary: rotary == nil ? nil : 0), count: layers),
    normalization: .rootMeanSquare(
      epsilon: Float(try reader.positiveNumber(defaults.epsilonField, default: defaults.epsilon))),
    feedForwardSize: try reader.integer("intermediate_size", default: defaults.inner),
    activation: try reader.activation(defaults.activationField, default: defaults.activation),
    isGated: true,
    tiesWordEmbeddings: try reader.boolean("tie_word_embeddings", default: defaults.tiesWordEmbeddings),
    endOfSequenceTokens: try reader.tokens(
      "eos_token_id", default: defaults.endOfSequence, below: vocabulary),
    beginOfSequenceToken: try reader.tokens(
      "bos_token_id", default: defaults.beginOfSequence, below: vocabulary
    ).first,
    paddingToken: try reader.tokens("pad_token_id", default: defaults.padding, below: vocabulary).first)
}

/// The fields that `llamaConfiguration` reads.
let llamaFields: Set<String> = rotaryFields.union([
  "hidden_size", "num_attention_heads", "num_key_value_heads", "num_hidden_layers", "vocab_size",
  "max_position_embeddings", "head_dim", "rms_norm_eps", "intermediate_size", "hidden_act",
])

/// Maps and norms outside the blocks, as Llama calls them.
let llamaTensors: [ModelSlot: WeightDeclaration] = [
  .tokenEmbedding: .init("embed_tokens"), .finalNorm: .init("norm"),
  .head: .init("lm_head", isPrefixed: false),
]

/// Maps and norms of a block, as Llama calls them.
let llamaLayerTensors: [LayerSlot: WeightDeclaration] = [
  .attentionNorm: .init("layers.{layer}.input_layernorm"),
  .queryKeyValue: .init(
    "layers.{layer}.self_attn.q_proj", "layers.{layer}.self_attn.k_proj", "layers.{layer}.self_attn.v_proj"),
  .attentionOutput: .init("layers.{layer}.self_attn.o_proj"),
  .feedForwardNorm: .init("layers.{layer}.post_attention_layernorm"),
  .feedForwardInput: .init("layers.{layer}.mlp.gate_proj", "layers.{layer}.mlp.up_proj"),
  .feedForwardOutput: .init("layers.{layer}.mlp.down_proj"),
]

/// Frequencies of rotary embeddings that were saved as if they were weights.
let llamaBuffers = ["layers.{layer}.self_attn.rotary_emb.inv_freq", "rotary_emb.inv_freq"]
