import Kernels

extension DecoderFamily {
  /// GPT-BigCode (StarCoder, SantaCoder): GPT-2 whose heads may share one key and one value.
  ///
  /// - SeeAlso: arXiv:2305.06161; `GPTBigCodeForCausalLM` in Hugging Face transformers.
  static let gptBigCode = DecoderFamily(
    modelTypes: ["gpt_bigcode"],
    configure: { reader in
      let channels = try reader.integer("n_embd", "hidden_size", default: 768)
      let shares = try reader.boolean("multi_query", default: true)
      let size = ClassicShape(
        channels: channels, heads: try reader.headCount("n_head", "num_attention_heads", default: 12),
        groups: shares ? 1 : nil, layers: try reader.layerCount("n_layer", "num_hidden_layers", default: 12),
        context: try reader.integer("n_positions", "max_position_embeddings", default: 1024),
        inner: try reader.integer("n_inner", default: 4 * channels))
      var configuration = try classicConfiguration(
        reader, size, headsField: "n_head", vocabulary: 50_257,
        epsilon: try reader.positiveNumber("layer_norm_epsilon", default: 1e-5),
        activation: try reader.activation("activation_function", default: "gelu_pytorch_tanh"),
        biases: [.attention, .feedForward], tiesWordEmbeddings: true, beginOfSequence: 50_256,
        endOfSequence: 50_256)
      configuration.learnedPositions = LearnedPositions(count: size.context)
      if try !reader.boolean("scale_attn_weights", default: true) { configuration.attentionScale = 1 }
      return configuration
    },
    knownFields: [
      "n_embd", "hidden_size", "n_head", "num_attention_heads", "n_layer", "num_hidden_layers", "vocab_size",
      "n_positions", "max_position_embeddings", "n_inner", "activation_function", "layer_norm_epsilon",
      "multi_query", "scale_attn_weights", "attention_softmax_in_fp32", "scale_attention_softmax_in_fp32",
      "inference_runner", "validate_runner_input", "pre_allocate_kv_cache", "max_sequence_length",
      "max_batch_size", "pad_key_length", "num_key_value_heads",
    ],
    prefixes: ["transformer.", ""],
    tensors: { _ in gptTensors },
    layerTensors: { configuration, _ in
      let shares = configuration.attention.keyValueHeadCount != configuration.attention.queryHeadCount
      return gptLayerTensors.merging([
        .queryKeyValue: .init("h.{layer}.attn.c_attn", rowOrder: shares ? .stacked : .perHead),
        .attentionOutput: .init("h.{layer}.attn.c_proj"),
      ]) { $1 }
    },
    buffers: ["bias", "h.{layer}.attn.bias", "h.{layer}.attn.masked_bias"])
}
