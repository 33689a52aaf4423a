import Kernels

extension DecoderFamily {
  /// OLMo 2: Llama with norms after each part instead of before, and over all queries and all keys.
  ///
  /// - SeeAlso: arXiv:2501.00656; `Olmo2ForCausalLM` in Hugging Face transformers.
  static let olmo2 = DecoderFamily(
    modelTypes: ["olmo2"],
    configure: { reader in
      var configuration = try llamaConfiguration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 50_304, context: 2048, epsilon: 1e-5, endOfSequence: 50_279, padding: 1))
      configuration.normalization.placement = .after
      configuration.queryKeyNormalization = QueryKeyNormalization(
        kind: .rootMeanSquare, extent: .all, epsilon: configuration.normalization.epsilon)
      if try reader.boolean("attention_bias", default: false) { configuration.biases.insert(.attention) }
      return configuration
    },
    knownFields: llamaFields.union(["attention_bias"]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in
      var tensors = llamaLayerTensors
      tensors[.attentionNorm] = nil
      tensors[.feedForwardNorm] = nil
      tensors[.queryNorm] = .init("layers.{layer}.self_attn.q_norm")
      tensors[.keyNorm] = .init("layers.{layer}.self_attn.k_norm")
      tensors[.attentionPostNorm] = .init("layers.{layer}.post_attention_layernorm")
      tensors[.feedForwardPostNorm] = .init("layers.{layer}.post_feedforward_layernorm")
      return tensors
    },
    buffers: llamaBuffers)

  /// SmolLM3: Llama with layers that have no position embedding at all.
  ///
  /// - SeeAlso: arXiv:2501.18795; `SmolLM3ForCausalLM` in Hugging Face transformers.
  static let smolLM3 = DecoderFamily(
    modelTypes: ["smollm3"],
    configure: { reader in
      var configuration = try llamaConfiguration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 128_256, channels: 2048, layers: 36, heads: 16, keyValueHeads: 4, context: 32_768,
          epsilon: 1e-6, base: 2e6, tiesWordEmbeddings: true, beginOfSequence: 128_000,
          endOfSequence: 128_001,
          padding: 128_004))
      if try reader.boolean("attention_bias", default: false) { configuration.biases.insert(.attention) }
      if try reader.boolean("mlp_bias", default: false) { configuration.biases.insert(.feedForward) }

      let interval = try reader.integer("no_rope_layer_interval", default: 4)
      let flags = try reader.optionalIntegers("no_rope_layers")
      guard flags.map({ $0.count >= configuration.layerCount }) ?? true else {
        throw reader.error("no_rope_layers", "has fewer entries than there are layers")
      }
      // 1 stands for a layer with a rotary embedding, for all the field's name.
      let isTurned = (0..<configuration.layerCount).map { layer in
        flags.map { $0[layer] != 0 } ?? !(layer + 1).isMultiple(of: interval)
      }
      for layer in 0..<configuration.layerCount where !isTurned[layer] {
        configuration.layers[layer].rotary = nil
      }
      let usesWindows = try reader.boolean("use_sliding_window", default: false)
      if try reader.optionalInteger("sliding_window") != nil {
        try readWindows(
          reader, into: &configuration, defaultWindow: 1, usesWindow: { usesWindows && !isTurned[$0] })
      }
      return configuration
    },
    knownFields: llamaFields.union([
      "attention_bias", "mlp_bias", "no_rope_layers", "no_rope_layer_interval", "use_sliding_window",
      "sliding_window", "layer_types", "max_window_layers", "pretraining_tp",
    ]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in llamaLayerTensors },
    buffers: llamaBuffers)

  /// Granite: Llama with a multiplier at every joint.
  ///
  /// - SeeAlso: `GraniteForCausalLM` in Hugging Face transformers; arXiv:2203.03466 for the multipliers.
  static let granite = DecoderFamily(
    modelTypes: ["granite"],
    configure: { reader in
      var configuration = try llamaConfiguration(
        reader, defaults: LlamaDefaults(context: 2048, epsilon: 1e-6, beginOfSequence: 1, endOfSequence: 2))
      if try reader.boolean("attention_bias", default: false) { configuration.biases.insert(.attention) }
      if try reader.boolean("mlp_bias", default: false) { configuration.biases.insert(.feedForward) }
      configuration.embeddingScale = Float(try reader.number("embedding_multiplier", default: 1))
      configuration.attentionScale = Float(try reader.number("attention_multiplier", default: 1))
      configuration.residualScale = Float(try reader.number("residual_multiplier", default: 1))
      configuration.logitScale = Float(1 / (try reader.positiveNumber("logits_scaling", default: 1)))
      return configuration
    },
    knownFields: llamaFields.union([
      "attention_bias", "mlp_bias", "embedding_multiplier", "attention_multiplier", "residual_multiplier",
      "logits_scaling", "pretraining_tp",
    ]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in llamaLayerTensors },
    buffers: llamaBuffers)

  /// Cohere's Command: parallel parts behind one layer norm without bias, neighbouring channels turned, scaled logits.
  ///
  /// - SeeAlso: `CohereForCausalLM` in Hugging Face transformers.
  static let cohere = DecoderFamily(
    modelTypes: ["cohere"],
    configure: { reader in
      var configuration = try llamaConfiguration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 256_000, channels: 8192, inner: 22_528, layers: 40, heads: 64, context: 8192,
          epsilonField: "layer_norm_eps", epsilon: 1e-5, base: 500_000, pairing: .neighbours,
          tiesWordEmbeddings: true, beginOfSequence: 5, endOfSequence: 255_001, padding: 0))
      let epsilon = configuration.normalization.epsilon
      configuration.normalization = .layerNorm(epsilon: epsilon, hasBias: false)
      configuration.isParallel = true
      configuration.sharesParallelNorm = true
      configuration.logitScale = Float(try reader.number("logit_scale", default: 0.0625))
      if try reader.boolean("attention_bias", default: false) { configuration.biases.insert(.attention) }
      if try reader.boolean("use_qk_norm", default: false) {
        configuration.queryKeyNormalization = QueryKeyNormalization(
          kind: .layerNorm, extent: .ownHead, epsilon: epsilon)
      }
      return configuration
    },
    knownFields: llamaFields.union(["layer_norm_eps", "logit_scale", "attention_bias", "use_qk_norm"]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { configuration, _ in
      var tensors = llamaLayerTensors
      tensors[.feedForwardNorm] = nil
      if configuration.queryKeyNormalization != nil {
        tensors[.queryNorm] = .init("layers.{layer}.self_attn.q_norm", rowOrder: .headRows)
        tensors[.keyNorm] = .init("layers.{layer}.self_attn.k_norm", rowOrder: .headRows)
      }
      return tensors
    },
    buffers: llamaBuffers)

  /// StarCoder2: Llama with layer norms, biases, windows, and feed-forward maps without a gate.
  ///
  /// - SeeAlso: arXiv:2402.19173; `Starcoder2ForCausalLM` in Hugging Face transformers.
  static let starCoder2 = DecoderFamily(
    modelTypes: ["starcoder2"],
    configure: { reader in
      try reader.require("norm_type", toBe: { $0.string == "layer_norm" }, because: "only layer_norm")
      try reader.require("mlp_type", toBe: { $0.string == "default" }, because: "only the ungated maps")
      var configuration = try llamaConfiguration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 49_152, channels: 3072, inner: 12_288, layers: 30, heads: 24, keyValueHeads: 2,
          context: 4096,
          epsilonField: "norm_epsilon", epsilon: 1e-5, activation: "gelu_pytorch_tanh",
          tiesWordEmbeddings: true,
          beginOfSequence: 50_256, endOfSequence: 50_256))
      configuration.normalization = .layerNorm(epsilon: configuration.normalization.epsilon)
      configuration.isGated = false
      if try reader.boolean("use_bias", default: true) { configuration.biases = [.attention, .feedForward] }
      try readWindow(reader, into: &configuration, fallback: nil)
      return configuration
    },
    knownFields: llamaFields.union([
      "norm_epsilon", "use_bias", "sliding_window", "norm_type", "mlp_type", "activation_function",
      "layer_norm_epsilon", "attention_softmax_in_fp32", "scale_attention_softmax_in_fp32",
      "scale_attn_weights",
    ]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in
      llamaLayerTensors.merging([
        .feedForwardInput: .init("layers.{layer}.mlp.c_fc"),
        .feedForwardOutput: .init("layers.{layer}.mlp.c_proj"),
      ]) { $1 }
    },
    buffers: llamaBuffers)
}
