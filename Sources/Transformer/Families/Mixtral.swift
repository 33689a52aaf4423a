import Kernels

extension DecoderFamily {
  /// Mixtral: Mistral with a mixture of experts in every layer.
  ///
  /// - SeeAlso: arXiv:2401.04088; `MixtralForCausalLM` in Hugging Face transformers.
  static let mixtral = DecoderFamily(
    modelTypes: ["mixtral"],
    configure: { reader in
      var configuration = try llamaConfiguration(
        reader,
        defaults: LlamaDefaults(
          inner: 14_336, keyValueHeads: 8, context: 131_072, epsilon: 1e-5, base: 1e6, beginOfSequence: 1,
          endOfSequence: 2))
      try readWindow(reader, into: &configuration, fallback: nil)
      let count = try reader.integer("num_local_experts", "num_experts", default: 8)
      let perToken = try reader.integer("num_experts_per_tok", default: 2)
      try checkExperts(reader, count: count, perToken: perToken)
      configuration.experts = ExpertConfiguration(
        count: count, perToken: perToken, feedForwardSize: configuration.feedForwardSize,
        normalizesShares: true)
      for layer in 0..<configuration.layerCount { configuration.layers[layer].hasExperts = true }
      return configuration
    },
    knownFields: llamaFields.union([
      "sliding_window", "num_local_experts", "num_experts", "num_experts_per_tok", "output_router_logits",
      "router_aux_loss_coef", "router_jitter_noise",
    ]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in
      llamaLayerTensors.filter { $0.key != .feedForwardInput && $0.key != .feedForwardOutput }.merging([
        .router: .init("layers.{layer}.block_sparse_moe.gate"),
        .expertInput: .init(
          "layers.{layer}.block_sparse_moe.experts.{expert}.w1",
          "layers.{layer}.block_sparse_moe.experts.{expert}.w3"),
        .expertOutput: .init("layers.{layer}.block_sparse_moe.experts.{expert}.w2"),
      ]) { $1 }
    },
    buffers: llamaBuffers)
}
