import Kernels

extension DecoderFamily {
  /// GPT-2: learned positions, pre-norm blocks, one fused QKV projection, `Conv1D` matrices (in, out).
  ///
  /// - SeeAlso: Radford et al., "Language Models are Unsupervised Multitask Learners" (2019);
  ///   `GPT2LMHeadModel` in Hugging Face transformers.
  static let gpt2 = DecoderFamily(
    modelTypes: ["gpt2"],
    configure: { reader in
      let channels = try reader.integer("n_embd", "hidden_size", default: 768)
      let heads = try reader.integer("n_head", "num_attention_heads", default: 12)
      let layers = try reader.integer("n_layer", "num_hidden_layers", default: 12)
      let vocabulary = try reader.integer("vocab_size", default: 50_257)
      guard channels.isMultiple(of: heads) else {
        throw reader.error("n_head", "\(heads) heads do not divide n_embd = \(channels)")
      }
      try reader.require(
        "add_cross_attention", toBe: { $0.bool == false }, because: "only decoders without an encoder")
      try reader.require(
        "pruned_heads", toBe: { $0.object?.members.isEmpty == true },
        because: "save the pruned model as a new one")
      try reader.require(
        "quantization_config", toBe: { _ in false }, because: "use the unquantised checkpoint")

      let name = try reader.string("activation_function", default: "gelu_new")
      guard let activation = Activation(named: name) else {
        throw reader.error(
          "activation_function",
          "\"\(name)\" is unknown; known: \(Activation.knownNames.joined(separator: ", "))")
      }

      let headDimension = channels / heads
      let scales = try reader.boolean("scale_attn_weights", default: true)
      return DecoderConfiguration(
        modelType: "gpt2",
        vocabularySize: vocabulary,
        contextLength: try reader.integer("n_positions", "max_position_embeddings", default: 1024),
        hiddenSize: channels,
        layerCount: layers,
        attention: AttentionShape(
          queryHeadCount: heads, keyValueHeadCount: heads, headDimension: headDimension),
        attentionScale: scales ? 1 / Float(headDimension).squareRoot() : 1,
        scalesAttentionByInverseLayer: try reader.boolean("scale_attn_by_inverse_layer_idx", default: false),
        feedForwardSize: try reader.integer("n_inner", default: 4 * channels),
        activation: activation,
        normalizationEpsilon: Float(try reader.positiveNumber("layer_norm_epsilon", default: 1e-5)),
        tiesWordEmbeddings: try reader.boolean("tie_word_embeddings", default: true),
        endOfSequenceTokens: try reader.tokens("eos_token_id", default: 50_256, below: vocabulary),
        beginOfSequenceToken: try reader.tokens("bos_token_id", default: 50_256, below: vocabulary).first,
        paddingToken: try reader.tokens("pad_token_id", below: vocabulary).first)
    },
    knownFields: neutralConfigurationFields.union([
      "n_embd", "hidden_size", "n_head", "num_attention_heads", "n_layer", "num_hidden_layers", "vocab_size",
      "n_positions", "max_position_embeddings", "n_inner", "activation_function", "layer_norm_epsilon",
      "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn",
      "add_cross_attention",
      "quantization_config",
    ]),
    prefixes: ["transformer.", ""],
    tensors: [
      .tokenEmbedding: .init(name: "wte.weight", shape: { [$0.vocabularySize, $0.hiddenSize] }),
      .positionEmbedding: .init(name: "wpe.weight", shape: { [$0.contextLength, $0.hiddenSize] }),
      .finalNormWeight: .init(name: "ln_f.weight", shape: { [$0.hiddenSize] }),
      .finalNormBias: .init(name: "ln_f.bias", shape: { [$0.hiddenSize] }),
      .headWeight: .init(
        name: "lm_head.weight", shape: { [$0.vocabularySize, $0.hiddenSize] }, isPrefixed: false,
        isOptional: true),
    ],
    layerTensors: [
      .attentionNormWeight: .init(name: "h.{layer}.ln_1.weight", shape: { [$0.hiddenSize] }),
      .attentionNormBias: .init(name: "h.{layer}.ln_1.bias", shape: { [$0.hiddenSize] }),
      .queryKeyValueWeight: .init(
        name: "h.{layer}.attn.c_attn.weight", shape: { [$0.hiddenSize, 3 * $0.hiddenSize] },
        layout: .inputMajor),
      .queryKeyValueBias: .init(name: "h.{layer}.attn.c_attn.bias", shape: { [3 * $0.hiddenSize] }),
      .attentionOutputWeight: .init(
        name: "h.{layer}.attn.c_proj.weight", shape: { [$0.hiddenSize, $0.hiddenSize] }, layout: .inputMajor),
      .attentionOutputBias: .init(name: "h.{layer}.attn.c_proj.bias", shape: { [$0.hiddenSize] }),
      .feedForwardNormWeight: .init(name: "h.{layer}.ln_2.weight", shape: { [$0.hiddenSize] }),
      .feedForwardNormBias: .init(name: "h.{layer}.ln_2.bias", shape: { [$0.hiddenSize] }),
      .feedForwardInputWeight: .init(
        name: "h.{layer}.mlp.c_fc.weight", shape: { [$0.hiddenSize, $0.feedForwardSize] }, layout: .inputMajor
      ),
      .feedForwardInputBias: .init(name: "h.{layer}.mlp.c_fc.bias", shape: { [$0.feedForwardSize] }),
      .feedForwardOutputWeight: .init(
        name: "h.{layer}.mlp.c_proj.weight", shape: { [$0.feedForwardSize, $0.hiddenSize] },
        layout: .inputMajor),
      .feedForwardOutputBias: .init(name: "h.{layer}.mlp.c_proj.bias", shape: { [$0.hiddenSize] }),
    ],
    // Causal masks that were saved as if they were weights.
    buffers: ["h.{layer}.attn.bias", "h.{layer}.attn.masked_bias"])
}
