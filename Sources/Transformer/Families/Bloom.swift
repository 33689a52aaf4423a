import Kernels

extension DecoderFamily {
  /// BLOOM: linear position biases, normalised embeddings.
  ///
  /// - SeeAlso: arXiv:2211.05100; `BloomForCausalLM` in Hugging Face transformers.
  static let bloom = DecoderFamily(
    modelTypes: ["bloom"],
    configure: { reader in
      // With both set, transformers leaves out the biases of two maps.
      if try reader.boolean("slow_but_exact", default: false) {
        try reader.require("pretraining_tp", toBe: { $0.int == 1 }, because: "set slow_but_exact to false")
      }
      let channels = try reader.integer("n_embed", "hidden_size", default: 64)
      let size = ClassicShape(
        channels: channels, heads: try reader.headCount("n_head", "num_attention_heads", default: 8),
        layers: try reader.layerCount("n_layer", "num_hidden_layers", default: 2),
        context: try reader.integer("seq_length", default: 2048), inner: 4 * channels)
      var configuration = try classicConfiguration(
        reader, size, headsField: "n_head", vocabulary: 250_880,
        epsilon: try reader.positiveNumber("layer_norm_epsilon", default: 1e-5),
        activation: try reader.activation("", default: "gelu_new"), biases: [.attention, .feedForward],
        tiesWordEmbeddings: true, beginOfSequence: 1, endOfSequence: 2)
      configuration.normalizesEmbedding = true
      configuration.positionBias = LinearPositionBias(
        slopes: LinearPositionBias.slopes(headCount: size.heads))
      configuration.residualFollowsNorm = try reader.boolean(
        "apply_residual_connection_post_layernorm", default: false)
      return configuration
    },
    knownFields: [
      "n_embed", "hidden_size", "n_head", "num_attention_heads", "n_layer", "num_hidden_layers", "vocab_size",
      "seq_length", "layer_norm_epsilon", "apply_residual_connection_post_layernorm", "slow_but_exact",
      "pretraining_tp", "n_inner", "attention_softmax_in_fp32", "bias_dropout_fusion",
      "masked_softmax_fusion",
      "offset_alibi", "skip_bias_add", "skip_bias_add_qkv",
    ],
    prefixes: ["transformer.", ""],
    tensors: { _ in
      [
        .tokenEmbedding: .init("word_embeddings"), .embeddingNorm: .init("word_embeddings_layernorm"),
        .finalNorm: .init("ln_f"), .head: .init("lm_head", isPrefixed: false),
      ]
    },
    layerTensors: { _, _ in
      falconLayerTensors.merging([
        .queryKeyValue: .init("h.{layer}.self_attention.query_key_value", rowOrder: .perHead),
        .attentionNorm: .init("h.{layer}.input_layernorm"),
        .feedForwardNorm: .init("h.{layer}.post_attention_layernorm"),
      ]) { $1 }
    })
}
