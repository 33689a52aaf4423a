import Kernels

extension DecoderFamily {
  /// Falcon in its three layouts: heads that share one key and value (7B), heads in groups behind one norm or two
  /// (40B, 180B, 11B), and heads of their own with linear position biases (RW).
  ///
  /// - SeeAlso: arXiv:2311.16867; `FalconForCausalLM` in Hugging Face transformers, whose linear biases are added
  ///   once as in its default attention (its eager attention of version 5.23 adds them twice).
  static let falcon = DecoderFamily(
    modelTypes: ["falcon"],
    configure: { reader in
      let channels = try reader.integer("n_embed", "hidden_size", default: 4544)
      let heads = try reader.headCount("num_attention_heads", default: 71)
      let isNew = try reader.boolean("new_decoder_architecture", default: false)
      let shares = try reader.boolean("multi_query", default: true)
      let isParallel = try reader.boolean("parallel_attn", default: true)
      let norms = try reader.optionalInteger("num_ln_in_parallel_attn")
      guard isParallel || !isNew else {
        throw reader.error("parallel_attn", "the new decoder architecture has parallel parts only")
      }
      guard norms ?? 1 <= (isNew ? 2 : 1) else {
        throw reader.error("num_ln_in_parallel_attn", "\(norms ?? 0) norms are not supported in this layout")
      }
      let groups = try reader.optionalInteger("num_kv_heads")
      let size = ClassicShape(
        channels: channels, heads: heads, groups: isNew ? groups : shares ? 1 : nil,
        layers: try reader.layerCount("num_hidden_layers", default: 32),
        context: try reader.integer("max_position_embeddings", default: 2048),
        inner: try reader.integer("ffn_hidden_size", default: 4 * channels))
      var configuration = try classicConfiguration(
        reader, size, headsField: "num_attention_heads", vocabulary: 65_024,
        epsilon: try reader.positiveNumber("layer_norm_epsilon", default: 1e-5),
        activation: try reader.activation("activation", default: "gelu"), biases: [],
        tiesWordEmbeddings: true, beginOfSequence: 11, endOfSequence: 11)
      if try reader.boolean("bias", default: false) { configuration.biases = [.attention, .feedForward] }
      configuration.isParallel = isParallel
      configuration.sharesParallelNorm = isParallel && !(isNew && norms != 1)
      let dimension = configuration.attention.headDimension
      if try reader.boolean("alibi", default: false) {
        configuration.positionBias = LinearPositionBias(
          slopes: LinearPositionBias.slopes(headCount: heads), factor: 1 / Float(dimension).squareRoot(),
          isRoundedToBFloat16: true)
      } else {
        configuration.turnAllLayers(
          by: try readRotaryEmbedding(
            reader, headDimension: dimension, context: size.context, defaultBase: 10_000))
      }
      return configuration
    },
    knownFields: rotaryFields.union([
      "n_embed", "hidden_size", "num_attention_heads", "num_kv_heads", "num_hidden_layers", "vocab_size",
      "max_position_embeddings", "ffn_hidden_size", "layer_norm_epsilon", "activation", "bias", "alibi",
      "new_decoder_architecture", "multi_query", "parallel_attn", "num_ln_in_parallel_attn",
    ]),
    prefixes: ["transformer.", ""],
    tensors: { _ in
      [
        .tokenEmbedding: .init("word_embeddings"), .finalNorm: .init("ln_f"),
        .head: .init("lm_head", isPrefixed: false),
      ]
    },
    layerTensors: { configuration, _ in
      var tensors = falconLayerTensors
      // One group of all heads, or one for each head: the older layouts are in this order too.
      tensors[.queryKeyValue] = .init("h.{layer}.self_attention.query_key_value", rowOrder: .perGroup)
      switch (configuration.isParallel, configuration.sharesParallelNorm) {
      case (true, false):
        tensors[.attentionNorm] = .init("h.{layer}.ln_attn")
        tensors[.feedForwardNorm] = .init("h.{layer}.ln_mlp")
      case (true, true):
        tensors[.attentionNorm] = .init("h.{layer}.input_layernorm")
      case (false, _):
        tensors[.attentionNorm] = .init("h.{layer}.input_layernorm")
        tensors[.feedForwardNorm] = .init("h.{layer}.post_attention_layernorm")
      }
      return tensors
    },
    buffers: [
      "h.{layer}.self_attention.rotary_emb.inv_freq", "h.{layer}.self_attention.maybe_rotary.inv_freq",
    ])
}

/// Maps of a block that Falcon and BLOOM call alike.
let falconLayerTensors: [LayerSlot: WeightDeclaration] = [
  .attentionOutput: .init("h.{layer}.self_attention.dense"),
  .feedForwardInput: .init("h.{layer}.mlp.dense_h_to_4h"),
  .feedForwardOutput: .init("h.{layer}.mlp.dense_4h_to_h"),
]
