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
  /// Fields of `config.json` that were read or are known to have no influence on the numbers.
  let knownFields: Set<String>
  /// What tensor names may begin with; the one that the checkpoint uses is found out.
  let prefixes: [String]
  /// Tensors outside the blocks.
  let tensors: [ModelSlot: WeightDeclaration]
  /// Tensors of one block; `{layer}` in the name stands for its number.
  let layerTensors: [LayerSlot: WeightDeclaration]
  /// Buffers that checkpoints of this family carry and that are no weights.
  let buffers: [String]

  /// Every family, in the order in which help and documents list them.
  static let all: [DecoderFamily] = [.gpt2]

  /// The family of a `model_type`.
  static func named(_ modelType: String) -> DecoderFamily? {
    all.first { $0.modelTypes.contains(modelType) }
  }
}

/// A tensor outside the blocks.
enum ModelSlot: Sendable {
  case tokenEmbedding, positionEmbedding, finalNormWeight, finalNormBias, headWeight
}

/// A tensor of a block.
enum LayerSlot: Sendable {
  case attentionNormWeight, attentionNormBias
  case queryKeyValueWeight, queryKeyValueBias
  case attentionOutputWeight, attentionOutputBias
  case feedForwardNormWeight, feedForwardNormBias
  case feedForwardInputWeight, feedForwardInputBias
  case feedForwardOutputWeight, feedForwardOutputBias
}

/// Where a tensor is found in a checkpoint and what it must look like.
struct WeightDeclaration: Sendable {
  /// The name without prefix.
  let name: String
  /// The shape that the configuration calls for.
  let shape: @Sendable (DecoderConfiguration) -> [Int]
  /// The order of a matrix.
  var layout: LinearWeight.Layout = .outputMajor
  /// Whether the family's prefix comes before the name.
  var isPrefixed = true
  /// Whether a checkpoint may lack it.
  var isOptional = false
}

/// Fields of `config.json` that every family may carry and that do not change a forward pass.
let neutralConfigurationFields: Set<String> = [
  "architectures", "attn_implementation", "attn_pdrop", "attention_dropout", "auto_map", "bos_token_id",
  "chunk_size_feed_forward", "cross_attention_hidden_size", "decoder_start_token_id", "dtype", "embd_pdrop",
  "eos_token_id", "finetuning_task", "gradient_checkpointing", "id2label", "initializer_range", "is_decoder",
  "is_encoder_decoder", "keys_to_ignore_at_inference", "label2id", "model_type", "name_or_path",
  "output_attentions",
  "output_hidden_states", "output_past", "pad_token_id", "prefix", "problem_type", "pruned_heads",
  "resid_pdrop",
  "return_dict", "sep_token_id", "summary_activation", "summary_first_dropout", "summary_proj_to_labels",
  "summary_type", "summary_use_proj", "task_specific_params", "tf_legacy_loss", "tie_encoder_decoder",
  "tie_word_embeddings", "tokenizer_class", "torch_dtype", "torchscript", "transformers_version",
  "use_bfloat16",
  "use_cache", "n_ctx", "gradient_checkpointing_kwargs",
  // Generation settings that older models keep in config.json.
  "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
  "diversity_penalty",
  "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
  "no_repeat_ngram_size",
  "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
  "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
  "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens",
]
