import Kernels

extension DecoderFamily {
  /// Gemma: Llama with scaled embeddings and norms whose checkpoints hold γ − 1.
  ///
  /// - SeeAlso: arXiv:2403.08295; `GemmaForCausalLM` in Hugging Face transformers.
  static let gemma = DecoderFamily(
    modelTypes: ["gemma"],
    configure: { reader in
      var configuration = try gemmaConfiguration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 256_000, channels: 3072, inner: 24_576, layers: 28, heads: 16, keyValueHeads: 16,
          headDimension: 256, context: 8192, epsilon: 1e-6, activation: "gelu_pytorch_tanh",
          tiesWordEmbeddings: true, beginOfSequence: 2, endOfSequence: 1, padding: 0))
      // The first files say "gelu" and mean its tanh form.
      if try reader.optionalString("hidden_act") == "gelu" {
        configuration.activation = try reader.activation("", default: "gelu_pytorch_tanh")
      }
      return configuration
    },
    knownFields: llamaFields.union(gemmaFields),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in llamaLayerTensors },
    buffers: llamaBuffers)

  /// Gemma 2: norms before and after each part, soft caps, windows in every second layer.
  ///
  /// - SeeAlso: arXiv:2408.00118; `Gemma2ForCausalLM` in Hugging Face transformers.
  static let gemma2 = DecoderFamily(
    modelTypes: ["gemma2"],
    configure: { reader in
      var configuration = try gemmaConfiguration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 256_000, channels: 2304, inner: 9216, layers: 26, heads: 8, keyValueHeads: 4,
          headDimension: 256, context: 8192, epsilon: 1e-6, activationField: "hidden_activation",
          activation: "gelu_pytorch_tanh", tiesWordEmbeddings: true, beginOfSequence: 2, endOfSequence: 1,
          padding: 0))
      configuration.attentionSoftCap = try readSoftCap(reader, "attn_logit_softcapping", default: 50)
      try readSandwich(reader, into: &configuration, defaultCap: 30, usesWindow: { $0.isMultiple(of: 2) })
      return configuration
    },
    knownFields: llamaFields.union(gemmaFields),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in gemma2LayerTensors },
    buffers: llamaBuffers)

  /// Gemma 3, its text model: Gemma 2 with normalised queries and keys in place of the cap of scores, and another
  /// rotary base in the layers with windows.
  ///
  /// - SeeAlso: arXiv:2503.19786; `Gemma3ForCausalLM` in Hugging Face transformers, which reads
  ///   `attn_logit_softcapping` and does nothing with it.
  static let gemma3 = DecoderFamily(
    modelTypes: ["gemma3_text"],
    configure: { reader in
      var configuration = try gemmaConfiguration(
        reader,
        defaults: LlamaDefaults(
          vocabulary: 262_208, channels: 2304, inner: 9216, layers: 26, heads: 8, keyValueHeads: 4,
          headDimension: 256, context: 131_072, epsilon: 1e-6, rotarySection: "full_attention",
          activationField: "hidden_activation", activation: "gelu_pytorch_tanh", tiesWordEmbeddings: true,
          beginOfSequence: 2, endOfSequence: 1,
          padding: 0))
      configuration.queryKeyNormalization = QueryKeyNormalization(
        kind: .rootMeanSquare, extent: .head, epsilon: configuration.normalization.epsilon, offset: 1)
      let pattern = try reader.integer("sliding_window_pattern", "_sliding_window_pattern", default: 6)
      let isWindowed = { (layer: Int) in !(layer + 1).isMultiple(of: pattern) }
      try readSandwich(reader, into: &configuration, defaultCap: nil, usesWindow: isWindowed)

      let context = try reader.integer("max_position_embeddings", default: 131_072)
      let dimension = configuration.attention.headDimension
      let embeddings = [
        try readRotaryEmbedding(
          reader, headDimension: dimension, context: context, defaultBase: 1e6, section: "full_attention"),
        try readRotaryEmbedding(
          reader, headDimension: dimension, context: context, defaultBase: 10_000,
          baseField: "rope_local_base_freq", section: "sliding_attention", readsScaling: false),
      ]
      configuration.rotaryEmbeddings = embeddings.compactMap { $0 }
      let types = try readLayerTypes(reader, count: configuration.layerCount)
      for layer in 0..<configuration.layerCount {
        configuration.layers[layer].rotary = types.map { $0[layer] == .sliding } ?? isWindowed(layer) ? 1 : 0
      }
      return configuration
    },
    knownFields: llamaFields.union(gemmaFields).union(["sliding_window_pattern", "rope_local_base_freq"]),
    prefixes: ["model.", ""],
    tensors: { _ in llamaTensors },
    layerTensors: { _, _ in
      gemma2LayerTensors.merging([
        .queryNorm: .init("layers.{layer}.self_attn.q_norm"),
        .keyNorm: .init("layers.{layer}.self_attn.k_norm"),
      ]) { $1 }
    },
    buffers: llamaBuffers)
}

/// Fields of the Gemma families besides Llama's.
private let gemmaFields: Set<String> = [
  "attention_bias", "hidden_activation", "query_pre_attn_scalar", "attn_logit_softcapping",
  "final_logit_softcapping", "sliding_window", "sliding_window_size", "layer_types",
  "use_bidirectional_attention",
]

private let gemma2LayerTensors = llamaLayerTensors.merging([
  .attentionPostNorm: .init("layers.{layer}.post_attention_layernorm"),
  .feedForwardNorm: .init("layers.{layer}.pre_feedforward_layernorm"),
  .feedForwardPostNorm: .init("layers.{layer}.post_feedforward_layernorm"),
]) { $1 }

/// What all Gemma families have in common.
private func gemmaConfiguration(
  _ reader: ConfigurationReader, defaults: LlamaDefaults
) throws -> DecoderConfiguration {
  try reader.require(
    "use_bidirectional_attention", toBe: { $0.bool == false }, because: "only decoders look back alone")
  var configuration = try llamaConfiguration(reader, defaults: defaults)
  if try reader.boolean("attention_bias", default: false) { configuration.biases.insert(.attention) }
  configuration.normalization.offset = 1
  configuration.embeddingScale = Float(Double(configuration.hiddenSize).squareRoot())
  return configuration
}

/// What Gemma 2 and 3 have in common: norms around each part, a scale of its own, windows, a cap of logits.
private func readSandwich(
  _ reader: ConfigurationReader, into configuration: inout DecoderConfiguration, defaultCap: Double?,
  usesWindow: (Int) throws -> Bool
) throws {
  configuration.normalization.placement = .around
  let scalar = try reader.positiveNumber("query_pre_attn_scalar", default: 256)
  configuration.attentionScale = Float(1 / scalar.squareRoot())
  configuration.logitSoftCap = try readSoftCap(reader, "final_logit_softcapping", default: defaultCap)
  try readWindows(reader, into: &configuration, defaultWindow: 4096, usesWindow: usesWindow)
}

/// c of c·tanh(x/c); nothing where the file says `null`.
private func readSoftCap(
  _ reader: ConfigurationReader, _ name: String, default fallback: Double?
) throws -> Float? {
  guard let cap = try reader.optionalNumber(name) ?? (reader.contains(name) ? nil : fallback) else {
    return nil
  }
  guard cap > 0 else { throw reader.error(name, "must be above 0, is \(cap)") }
  return Float(cap)
}
