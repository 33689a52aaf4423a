import Kernels

extension DecoderFamily {
  /// GPT-NeoX (Pythia, Dolly): parallel parts behind a norm each, partly turned heads.
  ///
  /// - SeeAlso: arXiv:2204.06745; `GPTNeoXForCausalLM` in Hugging Face transformers.
  static let gptNeoX = DecoderFamily(
    modelTypes: ["gpt_neox"],
    configure: { reader in
      let size = ClassicShape(
        channels: try reader.integer("hidden_size", default: 6144),
        heads: try reader.headCount("num_attention_heads", default: 64),
        layers: try reader.layerCount("num_hidden_layers", default: 44),
        context: try reader.integer("max_position_embeddings", default: 2048),
        inner: try reader.integer("intermediate_size", default: 24_576))
      var configuration = try classicConfiguration(
        reader, size, headsField: "num_attention_heads", vocabulary: 50_432,
        epsilon: try reader.positiveNumber("layer_norm_eps", default: 1e-5),
        activation: try reader.activation("hidden_act", default: "gelu"), biases: .feedForward,
        tiesWordEmbeddings: false, beginOfSequence: 0, endOfSequence: 2)
      if try reader.boolean("attention_bias", default: true) { configuration.biases.insert(.attention) }
      configuration.isParallel = try reader.boolean("use_parallel_residual", default: true)
      configuration.turnAllLayers(
        by: try readRotaryEmbedding(
          reader, headDimension: configuration.attention.headDimension, context: size.context,
          defaultBase: 10_000, baseField: "rotary_emb_base",
          fraction: RotaryFraction(field: "rotary_pct", fallback: 0.25, roundsUp: true)))
      return configuration
    },
    knownFields: rotaryFields.union([
      "hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size", "max_position_embeddings",
      "intermediate_size", "layer_norm_eps", "hidden_act", "attention_bias", "use_parallel_residual",
      "rotary_emb_base", "rotary_pct",
    ]),
    prefixes: ["gpt_neox.", ""],
    tensors: { _ in
      [
        .tokenEmbedding: .init("embed_in"), .finalNorm: .init("final_layer_norm"),
        .head: .init("embed_out", isPrefixed: false),
      ]
    },
    layerTensors: { _, _ in
      [
        .attentionNorm: .init("layers.{layer}.input_layernorm"),
        .queryKeyValue: .init("layers.{layer}.attention.query_key_value", rowOrder: .perHead),
        .attentionOutput: .init("layers.{layer}.attention.dense"),
        .feedForwardNorm: .init("layers.{layer}.post_attention_layernorm"),
        .feedForwardInput: .init("layers.{layer}.mlp.dense_h_to_4h"),
        .feedForwardOutput: .init("layers.{layer}.mlp.dense_4h_to_h"),
      ]
    },
    buffers: [
      "layers.{layer}.attention.bias", "layers.{layer}.attention.masked_bias",
      "layers.{layer}.attention.rotary_emb.inv_freq", "rotary_emb.inv_freq",
    ])
}
