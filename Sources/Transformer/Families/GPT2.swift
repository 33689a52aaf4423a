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
      let heads = try reader.headCount("n_head", "num_attention_heads", default: 12)
      let layers = try reader.layerCount("n_layer", "num_hidden_layers", default: 12)
      let vocabulary = try reader.integer("vocab_size", default: 50_257)
      let context = try reader.integer("n_positions", "max_position_embeddings", default: 1024)
      guard channels.isMultiple(of: heads) else {
        throw reader.error("n_head", "\(heads) heads do not divide n_embd = \(channels)")
      }
      let shape = AttentionShape(
        queryHeadCount: heads, keyValueHeadCount: heads, headDimension: channels / heads)
      let scales = try reader.boolean("scale_attn_weights", default: true)
      return DecoderConfiguration(
        modelType: "gpt2",
        vocabularySize: vocabulary,
        contextLength: context,
        hiddenSize: channels,
        layerCount: layers,
        embeddingSize: channels,
        learnedPositions: LearnedPositions(count: context),
        attention: shape,
        attentionScale: scales ? 1 / Float(shape.headDimension).squareRoot() : 1,
        scalesAttentionByInverseLayer: try reader.boolean("scale_attn_by_inverse_layer_idx", default: false),
        layers: [LayerConfiguration](repeating: LayerConfiguration(), count: layers),
        normalization: .layerNorm(
          epsilon: Float(try reader.positiveNumber("layer_norm_epsilon", default: 1e-5))),
        feedForwardSize: try reader.integer("n_inner", default: 4 * channels),
        activation: try reader.activation("activation_function", default: "gelu_new"),
        biases: [.attention, .feedForward],
        tiesWordEmbeddings: try reader.boolean("tie_word_embeddings", default: true),
        endOfSequenceTokens: try reader.tokens("eos_token_id", default: 50_256, below: vocabulary),
        beginOfSequenceToken: try reader.tokens("bos_token_id", default: 50_256, below: vocabulary).first,
        paddingToken: try reader.tokens("pad_token_id", below: vocabulary).first)
    },
    knownFields: [
      "n_embd", "hidden_size", "n_head", "num_attention_heads", "n_layer", "num_hidden_layers", "vocab_size",
      "n_positions", "max_position_embeddings", "n_inner", "activation_function", "layer_norm_epsilon",
      "scale_attn_weights", "scale_attn_by_inverse_layer_idx", "reorder_and_upcast_attn",
    ],
    prefixes: ["transformer.", ""],
    tensors: { _ in gptTensors },
    layerTensors: { _, _ in
      [
        .attentionNorm: .init("h.{layer}.ln_1"),
        .queryKeyValue: .init("h.{layer}.attn.c_attn", layout: .inputMajor),
        .attentionOutput: .init("h.{layer}.attn.c_proj", layout: .inputMajor),
        .feedForwardNorm: .init("h.{layer}.ln_2"),
        .feedForwardInput: .init("h.{layer}.mlp.c_fc", layout: .inputMajor),
        .feedForwardOutput: .init("h.{layer}.mlp.c_proj", layout: .inputMajor),
      ]
    },
    // Causal masks that were saved as if they were weights.
    buffers: ["h.{layer}.attn.bias", "h.{layer}.attn.masked_bias"])
}
