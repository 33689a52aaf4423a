import Kernels

extension DecoderFamily {
  /// OPT: GPT-2 with separate maps, norms before or after the residual connection, and embeddings that may be narrower
  /// than the residual stream.
  ///
  /// - SeeAlso: arXiv:2205.01068; `OPTForCausalLM` in Hugging Face transformers.
  static let opt = DecoderFamily(
    modelTypes: ["opt"],
    configure: { reader in
      let size = ClassicShape(
        channels: try reader.integer("hidden_size", default: 768),
        heads: try reader.headCount("num_attention_heads", default: 12),
        layers: try reader.layerCount("num_hidden_layers", default: 12),
        context: try reader.integer("max_position_embeddings", default: 2048),
        inner: try reader.integer("ffn_dim", default: 3072))
      var configuration = try classicConfiguration(
        reader, size, headsField: "num_attention_heads", vocabulary: 50_272, epsilon: 1e-5,
        activation: try reader.activation("activation_function", default: "relu"), biases: [],
        tiesWordEmbeddings: true, beginOfSequence: 2, endOfSequence: 2, padding: 1)
      // The first two rows of the table of positions belong to no position.
      configuration.learnedPositions = LearnedPositions(count: size.context, offset: 2)
      configuration.embeddingSize = try reader.integer("word_embed_proj_dim", default: size.channels)
      if try reader.boolean("enable_bias", default: true) {
        configuration.biases = [.attention, .feedForward]
      }
      if try !reader.boolean("layer_norm_elementwise_affine", default: true) {
        configuration.normalization.hasWeight = false
        configuration.normalization.hasBias = false
      }
      if try !reader.boolean("do_layer_norm_before", default: true) {
        configuration.normalization.placement = .afterResidual
      }
      configuration.hasFinalNorm =
        try configuration.normalization.placement == .before
        && !reader.boolean("_remove_final_layer_norm", default: false)
      return configuration
    },
    knownFields: [
      "hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size", "max_position_embeddings",
      "ffn_dim",
      "activation_function", "word_embed_proj_dim", "enable_bias", "layer_norm_elementwise_affine",
      "do_layer_norm_before",
    ],
    prefixes: ["model.decoder.", "decoder.", ""],
    tensors: { configuration in
      var tensors: [ModelSlot: WeightDeclaration] = [
        .tokenEmbedding: .init("embed_tokens"), .positionEmbedding: .init("embed_positions"),
        .head: .init("lm_head", isPrefixed: false),
      ]
      if configuration.embeddingSize != configuration.hiddenSize {
        tensors[.embeddingProjection] = .init("project_in")
        tensors[.outputProjection] = .init("project_out")
      }
      if configuration.hasFinalNorm { tensors[.finalNorm] = .init("final_layer_norm") }
      return tensors
    },
    layerTensors: { configuration, _ in
      let isBefore = configuration.normalization.placement == .before
      return [
        isBefore ? .attentionNorm : .attentionPostNorm: .init("layers.{layer}.self_attn_layer_norm"),
        .queryKeyValue: .init(
          "layers.{layer}.self_attn.q_proj", "layers.{layer}.self_attn.k_proj",
          "layers.{layer}.self_attn.v_proj"),
        .attentionOutput: .init("layers.{layer}.self_attn.out_proj"),
        isBefore ? .feedForwardNorm : .feedForwardPostNorm: .init("layers.{layer}.final_layer_norm"),
        .feedForwardInput: .init("layers.{layer}.fc1"),
        .feedForwardOutput: .init("layers.{layer}.fc2"),
      ]
    })
}
