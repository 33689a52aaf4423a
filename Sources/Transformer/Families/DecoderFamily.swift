import JSON
import Kernels

/// Everything that the engine knows about one family of models: how its `config.json` reads and what its
/// tensors are called.
///
/// Adding a family means writing one of these and listing it in `all`.
struct DecoderFamily: Sendable {
  /// `model_type` values that this family answers to.
  let modelTypes: [String]
  /// Reads the configuration.
  let configure: @Sendable (ConfigurationReader) throws -> DecoderConfiguration
  /// Fields of `config.json` that are read, or known to have no influence on the numbers, besides the neutral ones.
  let knownFields: Set<String>
  /// What tensor names may begin with; the one that the checkpoint uses is found out.
  let prefixes: [String]
  /// Maps and norms outside the blocks.
  let tensors: @Sendable (DecoderConfiguration) -> [ModelSlot: WeightDeclaration]
  /// Maps and norms of a block.
  ///
  /// `{layer}` in a name stands for the layer's number, `{expert}` for the expert's.
  let layerTensors: @Sendable (DecoderConfiguration, Int) -> [LayerSlot: WeightDeclaration]
  /// Buffers that checkpoints of this family carry and that are no weights.
  var buffers: [String] = []

  /// Every family, in the order in which help and documents list them.
  static let all: [DecoderFamily] = [
    .gpt2, .gptNeo, .gptNeoX, .gptJ, .opt, .bloom, .gptBigCode, .falcon, .starCoder2, .llama, .mistral,
    .mixtral,
    .qwen2, .qwen3, .qwen3MixtureOfExperts, .gemma, .gemma2, .gemma3, .phi, .phi3, .stableLM, .olmo2,
    .smolLM3,
    .granite, .cohere,
  ]

  /// The family of a `model_type`.
  static func named(_ modelType: String) -> DecoderFamily? {
    all.first { $0.modelTypes.contains(modelType) }
  }
}

/// A map or norm outside the blocks.
enum ModelSlot: Sendable, Hashable, CaseIterable {
  case tokenEmbedding, positionEmbedding, embeddingNorm, embeddingProjection, finalNorm, outputProjection,
    head
}

/// A map or norm of a block.
enum LayerSlot: Sendable, Hashable, CaseIterable {
  case attentionNorm, queryKeyValue, queryNorm, keyNorm, attentionOutput, attentionPostNorm
  case feedForwardNorm, feedForwardInput, feedForwardOutput, feedForwardPostNorm
  case router, expertInput, expertOutput
}

/// Where a map or norm is found in a checkpoint.
///
/// Its matrix is called `name.weight` there, its bias `name.bias`; extents follow from the configuration.
struct WeightDeclaration: Sendable {
  /// How the rows of tensors become the rows of the engine's matrix.
  enum RowOrder: Sendable {
    /// Tensor after tensor.
    case stacked
    /// One tensor of queries, keys and values in which each head has its three side by side, (H, 3, D).
    case perHead
    /// One tensor in which each group has its queries, then its key, then its value, (G, H/G + 2, D).
    case perGroup
    /// One tensor for all experts, (experts, rows, columns).
    case perExpert
    /// The weights of one norm per head, (heads, D).
    case headRows
  }

  /// The tensors that are stacked, without prefix and suffix.
  let names: [String]
  /// The order of a matrix in memory.
  var layout: LinearWeight.Layout = .outputMajor
  /// How rows become rows.
  var rowOrder: RowOrder = .stacked
  /// Whether the family's prefix comes before the name.
  var isPrefixed = true
  /// What follows the name of a matrix.
  var suffix = ".weight"

  init(
    _ names: String..., layout: LinearWeight.Layout = .outputMajor, rowOrder: RowOrder = .stacked,
    isPrefixed: Bool = true, suffix: String = ".weight"
  ) {
    self.init(names: names, layout: layout, rowOrder: rowOrder, isPrefixed: isPrefixed, suffix: suffix)
  }

  init(
    names: [String], layout: LinearWeight.Layout = .outputMajor, rowOrder: RowOrder = .stacked,
    isPrefixed: Bool = true, suffix: String = ".weight"
  ) {
    precondition(!names.isEmpty)
    self.names = names
    self.layout = layout
    self.rowOrder = rowOrder
    self.isPrefixed = isPrefixed
    self.suffix = suffix
  }
}

/// Fields of `config.json` that every family may carry and that do not change a forward pass.
let neutralConfigurationFields = generationConfigurationFields.union([
  "architectures", "attn_implementation", "attn_pdrop", "attention_dropout", "auto_map", "bos_token_id",
  "chunk_size_feed_forward", "cross_attention_hidden_size", "decoder_start_token_id", "dtype",
  "embd_pdrop", "eos_token_id", "finetuning_task", "gradient_checkpointing", "id2label",
  "initializer_range", "is_decoder", "is_encoder_decoder", "keys_to_ignore_at_inference", "label2id",
  "model_type", "name_or_path", "output_attentions", "output_hidden_states", "output_past", "pad_token_id",
  "prefix", "problem_type", "pruned_heads", "resid_pdrop", "return_dict", "sep_token_id",
  "summary_activation", "summary_first_dropout", "summary_proj_to_labels", "summary_type",
  "summary_use_proj", "task_specific_params", "tf_legacy_loss", "tie_encoder_decoder",
  "tie_word_embeddings", "tokenizer_class", "torch_dtype", "torchscript", "transformers_version",
  "use_bfloat16", "use_cache", "n_ctx", "gradient_checkpointing_kwargs", "add_cross_attention",
  "quantization_config", "cache_implementation", "unsloth_fixed", "ignore_index",
  "attention_probs_dropout_prob", "hidden_dropout", "hidden_dropout_prob", "classifier_dropout", "dropout",
  "activation_dropout", "residual_dropout", "embedding_dropout", "resid_dropout", "embed_dropout",
  "layerdrop", "init_std", "unk_token_id", "use_flash_attn", "is_llama_config", "inference",
  "per_layer_config", "fsdp", "tokenizer_vocab_size", "predict_special_tokens", "num_labels",
  "pretraining_tp", "max_sequence_length", "transformers.js_config", "eos_token_ids", "xla_device",
])

/// Settings of generation that older models keep in `config.json`.
package let generationConfigurationFields: Set<String> = [
  "max_length", "min_length", "max_new_tokens", "min_new_tokens", "max_time", "penalty_alpha",
  "epsilon_cutoff", "eta_cutoff", "min_p", "renormalize_logits", "guidance_scale", "sequence_bias",
  "low_memory", "do_sample", "early_stopping", "num_beams", "num_beam_groups", "diversity_penalty",
  "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
  "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences",
  "output_scores", "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id",
  "remove_invalid_values", "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
]
