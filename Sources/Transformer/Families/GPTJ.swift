import Kernels

extension DecoderFamily {
  /// GPT-J: parallel parts behind one norm, neighbouring channels turned.
  ///
  /// - SeeAlso: `GPTJForCausalLM` in Hugging Face transformers; github.com/kingoflolz/mesh-transformer-jax
  static let gptJ = DecoderFamily(
    modelTypes: ["gptj"],
    configure: { reader in
      let channels = try reader.integer("n_embd", "hidden_size", default: 4096)
      let size = ClassicShape(
        channels: channels, heads: try reader.headCount("n_head", "num_attention_heads", default: 16),
        layers: try reader.layerCount("n_layer", "num_hidden_layers", default: 28),
        context: try reader.integer("n_positions", "max_position_embeddings", default: 2048),
        inner: try reader.integer("n_inner", default: 4 * channels))
      var configuration = try classicConfiguration(
        reader, size, headsField: "n_head", vocabulary: 50_400,
        epsilon: try reader.positiveNumber("layer_norm_epsilon", default: 1e-5),
        activation: try reader.activation("activation_function", default: "gelu_new"),
        biases: [.feedForward, .head], tiesWordEmbeddings: false, beginOfSequence: 50_256,
        endOfSequence: 50_256)
      configuration.isParallel = true
      configuration.sharesParallelNorm = true
      let dimension = configuration.attention.headDimension
      let turned =
        try reader.optionalInteger("rotary_dim") ?? (reader.contains("rotary_dim") ? dimension : 64)
      guard turned.isMultiple(of: 2), turned <= dimension else {
        throw reader.error(
          "rotary_dim", "must be an even number of the \(dimension) channels of a head, is \(turned)")
      }
      configuration.turnAllLayers(
        by: RotaryEmbedding(dimension: turned, base: 10_000, pairing: .neighbours))
      return configuration
    },
    knownFields: [
      "n_embd", "hidden_size", "n_head", "num_attention_heads", "n_layer", "num_hidden_layers", "vocab_size",
      "n_positions", "max_position_embeddings", "n_inner", "activation_function", "layer_norm_epsilon",
      "rotary_dim", "rotary", "scale_attn_weights",
    ],
    prefixes: ["transformer.", ""],
    tensors: { _ in gptTensors.filter { $0.key != .positionEmbedding } },
    layerTensors: { _, _ in
      [
        .attentionNorm: .init("h.{layer}.ln_1"),
        .queryKeyValue: .init("h.{layer}.attn.q_proj", "h.{layer}.attn.k_proj", "h.{layer}.attn.v_proj"),
        .attentionOutput: .init("h.{layer}.attn.out_proj"),
        .feedForwardInput: .init("h.{layer}.mlp.fc_in"),
        .feedForwardOutput: .init("h.{layer}.mlp.fc_out"),
      ]
    },
    buffers: ["h.{layer}.attn.bias", "h.{layer}.attn.masked_bias", "h.{layer}.attn.embed_positions"])
}
