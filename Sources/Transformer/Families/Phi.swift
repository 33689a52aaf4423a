import Kernels

extension DecoderFamily {
  /// Phi 1, 1.5 and 2: attention and feed-forward maps side by side behind one layer norm, biases everywhere.
  ///
  /// - SeeAlso: arXiv:2309.05463; `PhiForCausalLM` in Hugging Face transformers.
  static let phi = DecoderFamily(
    modelTypes: ["phi"],
    configure: { reader in
      var configuration = try llamaConfiguration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 51_200, channels: 2048, inner: 8192, layers: 24, context: 2048,
          epsilonField: "layer_norm_eps", epsilon: 1e-5, fraction: RotaryFraction(fallback: 0.5),
          activation: "gelu_new", beginOfSequence: 1, endOfSequence: 2))
      let epsilon = configuration.normalization.epsilon
      configuration.normalization = .layerNorm(epsilon: epsilon)
      configuration.isGated = false
      configuration.isParallel = true
      configuration.sharesParallelNorm = true
      configuration.biases = [.attention, .feedForward, .head]
      if try reader.boolean("qk_layernorm", default: false) {
        configuration.queryKeyNormalization = QueryKeyNormalization(
          kind: .layerNorm, extent: .head, epsilon: epsilon, hasBias: true)
      }
      return configuration
    },
    knownFields: llamaFields.union(["layer_norm_eps", "qk_layernorm"]),
    prefixes: ["model.", ""],
    tensors: { _ in
      [
        .tokenEmbedding: .init("embed_tokens"), .finalNorm: .init("final_layernorm"),
        .head: .init("lm_head", isPrefixed: false),
      ]
    },
    layerTensors: { configuration, _ in
      var tensors = llamaLayerTensors
      tensors[.feedForwardNorm] = nil
      tensors[.attentionOutput] = .init("layers.{layer}.self_attn.dense")
      tensors[.feedForwardInput] = .init("layers.{layer}.mlp.fc1")
      tensors[.feedForwardOutput] = .init("layers.{layer}.mlp.fc2")
      if configuration.queryKeyNormalization != nil {
        tensors[.queryNorm] = .init("layers.{layer}.self_attn.q_layernorm")
        tensors[.keyNorm] = .init("layers.{layer}.self_attn.k_layernorm")
      }
      return tensors
    },
    buffers: llamaBuffers)

  /// Phi 3 and 4: Llama with fused maps, and frequencies of their own beyond the context of training.
  ///
  /// - SeeAlso: arXiv:2404.14219; `Phi3ForCausalLM` in Hugging Face transformers.
  static let phi3 = DecoderFamily(
    modelTypes: ["phi3"],
    configure: { reader in
      try reader.require("mlp_bias", toBe: { $0.bool == false }, because: "Phi 3 has no such biases")
      try reader.require("attention_bias", toBe: { $0.bool == false }, because: "Phi 3 has no such biases")
      try reader.require("lm_head_bias", toBe: { $0.bool == false }, because: "Phi 3 has no such bias")
      var configuration = try llamaConfiguration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 32_064, channels: 3072, inner: 8192, context: 4096, epsilon: 1e-5,
          fraction: RotaryFraction(fallback: 1, roundsUp: true), originalContext: 4096, beginOfSequence: 1,
          endOfSequence: 32_000, padding: 32_000))
      try readWindow(reader, into: &configuration, fallback: nil)
      return configuration
    },
    knownFields: llamaFields.union([
      "sliding_window", "mlp_bias", "attention_bias", "lm_head_bias", "full_attn_mod", "interpolate_factor",
    ]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in
      llamaLayerTensors.merging([
        .queryKeyValue: .init("layers.{layer}.self_attn.qkv_proj"),
        .feedForwardInput: .init("layers.{layer}.mlp.gate_up_proj"),
      ]) { $1 }
    },
    buffers: llamaBuffers)
}
