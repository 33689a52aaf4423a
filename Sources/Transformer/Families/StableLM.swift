import Kernels

extension DecoderFamily {
  /// StableLM: Llama with layer norms, partly turned heads, and one norm for each head of queries and keys.
  ///
  /// - SeeAlso: arXiv:2402.17834; `StableLmForCausalLM` in Hugging Face transformers.
  static let stableLM = DecoderFamily(
    modelTypes: ["stablelm"],
    configure: { reader in
      var configuration = try llamaConfiguration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 50_304, channels: 2560, inner: 6912, keyValueHeads: 32, context: 4096,
          epsilonField: "layer_norm_eps", epsilon: 1e-5, fraction: RotaryFraction(fallback: 0.25),
          beginOfSequence: 0, endOfSequence: 0))
      let epsilon = configuration.normalization.epsilon
      configuration.normalization = .layerNorm(epsilon: epsilon)
      configuration.isParallel = try reader.boolean("use_parallel_residual", default: false)
      configuration.sharesParallelNorm = configuration.isParallel
      if try reader.boolean("use_qkv_bias", default: false) { configuration.biases.insert(.queryKeyValue) }
      if try reader.boolean("qk_layernorm", default: false) {
        configuration.queryKeyNormalization = QueryKeyNormalization(
          kind: .layerNorm, extent: .ownHead, epsilon: epsilon)
      }
      return configuration
    },
    knownFields: llamaFields.union([
      "layer_norm_eps", "use_parallel_residual", "use_qkv_bias", "qk_layernorm", "rotary_scaling_factor",
      "norm_eps",
    ]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { configuration, _ in
      var tensors = llamaLayerTensors
      if configuration.isParallel { tensors[.feedForwardNorm] = nil }
      if configuration.queryKeyNormalization != nil {
        func norms(_ name: String, _ heads: Int) -> WeightDeclaration {
          .init(names: (0..<heads).map { "layers.{layer}.self_attn.\(name).norms.\($0)" })
        }
        tensors[.queryNorm] = norms("q_layernorm", configuration.attention.queryHeadCount)
        tensors[.keyNorm] = norms("k_layernorm", configuration.attention.keyValueHeadCount)
      }
      return tensors
    },
    buffers: llamaBuffers)
}
