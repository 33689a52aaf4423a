import Kernels

extension DecoderFamily {
  /// Qwen2: Llama with biases of queries, keys and values, and windows in its later layers.
  ///
  /// - SeeAlso: arXiv:2407.10671; `Qwen2ForCausalLM` in Hugging Face transformers.
  static let qwen2 = DecoderFamily(
    modelTypes: ["qwen2"],
    configure: { reader in
      var configuration = try llamaConfiguration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 151_936, inner: 22_016, keyValueHeads: 32, context: 32_768, epsilon: 1e-6))
      configuration.biases.insert(.queryKeyValue)
      try readQwenWindows(reader, into: &configuration)
      return configuration
    },
    knownFields: llamaFields.union(qwenFields),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in llamaLayerTensors },
    buffers: llamaBuffers)

  /// Qwen3: Llama with normalised queries and keys, and windows as in Qwen2.
  ///
  /// - SeeAlso: arXiv:2505.09388; `Qwen3ForCausalLM` in Hugging Face transformers.
  static let qwen3 = DecoderFamily(
    modelTypes: ["qwen3"],
    configure: { reader in
      var configuration = try qwen3Configuration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 151_936, inner: 22_016, keyValueHeads: 32, headDimension: 128, context: 32_768,
          epsilon: 1e-6))
      try readQwenWindows(reader, into: &configuration)
      return configuration
    },
    knownFields: llamaFields.union(qwenFields).union(["attention_bias"]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in qwen3LayerTensors },
    buffers: llamaBuffers)

  /// Qwen3 with mixtures of experts in some or all layers.
  ///
  /// - SeeAlso: arXiv:2505.09388; `Qwen3MoeForCausalLM` in Hugging Face transformers.
  static let qwen3MixtureOfExperts = DecoderFamily(
    modelTypes: ["qwen3_moe"],
    configure: { reader in
      var configuration = try qwen3Configuration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 151_936, channels: 2048, inner: 6144, layers: 24, keyValueHeads: 4, context: 32_768,
          epsilon: 1e-6))
      if try reader.boolean("use_sliding_window", default: false) {
        try readWindow(reader, into: &configuration, fallback: 4096)
      }
      // Files that transformers 5 saves say num_local_experts.
      let count = try reader.optionalInteger("num_experts", "num_local_experts", minimum: 0) ?? 128
      let perToken = try reader.integer("num_experts_per_tok", default: 8)
      let step = try reader.integer("decoder_sparse_step", default: 1)
      let dense = Set(try reader.optionalIntegers("mlp_only_layers") ?? [])
      for layer in 0..<configuration.layerCount {
        configuration.layers[layer].hasExperts =
          count > 0 && !dense.contains(layer) && (layer + 1).isMultiple(of: step)
      }
      if count > 0 {
        try checkExperts(reader, count: count, perToken: perToken)
        configuration.experts = ExpertConfiguration(
          count: count, perToken: perToken,
          feedForwardSize: try reader.integer("moe_intermediate_size", default: 768),
          normalizesShares: try reader.boolean("norm_topk_prob", default: false))
      }
      return configuration
    },
    knownFields: llamaFields.union(qwenFields).union([
      "attention_bias", "num_experts", "num_local_experts", "num_experts_per_tok", "decoder_sparse_step",
      "mlp_only_layers", "moe_intermediate_size", "norm_topk_prob", "output_router_logits",
      "router_aux_loss_coef",
    ]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { configuration, layer in
      guard configuration.layers[layer].hasExperts else { return qwen3LayerTensors }
      return qwen3LayerTensors.filter { $0.key != .feedForwardInput && $0.key != .feedForwardOutput }.merging(
        [
          .router: .init("layers.{layer}.mlp.gate"),
          .expertInput: .init(
            "layers.{layer}.mlp.experts.{expert}.gate_proj", "layers.{layer}.mlp.experts.{expert}.up_proj"),
          .expertOutput: .init("layers.{layer}.mlp.experts.{expert}.down_proj"),
        ]) { $1 }
    },
    buffers: llamaBuffers)
}

/// Fields of the Qwen families besides Llama's.
private let qwenFields: Set<String> = [
  "use_sliding_window", "sliding_window", "max_window_layers", "layer_types", "use_mrope",
]

private let qwen3LayerTensors = llamaLayerTensors.merging([
  .queryNorm: .init("layers.{layer}.self_attn.q_norm"),
  .keyNorm: .init("layers.{layer}.self_attn.k_norm"),
]) { $1 }

/// Windows from a certain layer on, or in the layers that are listed, if windows are used at all.
private func readQwenWindows(
  _ reader: ConfigurationReader, into configuration: inout DecoderConfiguration
) throws {
  try readWindows(
    reader, into: &configuration,
    defaultWindow: try reader.boolean("use_sliding_window", default: false) ? 4096 : nil,
    usesWindow: { $0 >= (try reader.optionalInteger("max_window_layers", minimum: 0) ?? 28) })
}

private func qwen3Configuration(
  _ reader: ConfigurationReader, defaults: LlamaDefaults
) throws -> DecoderConfiguration {
  var configuration = try llamaConfiguration(reader, defaults: defaults)
  if try reader.boolean("attention_bias", default: false) { configuration.biases.insert(.attention) }
  configuration.queryKeyNormalization = QueryKeyNormalization(
    kind: .rootMeanSquare, extent: .head, epsilon: configuration.normalization.epsilon)
  return configuration
}
