import Checkpoints
import JSON

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Says with a GGUF file's metadata what a `config.json` would say.
///
/// Families read their configuration from one form only; what GGUF leaves out (activations, flags that llama.cpp
/// knows by architecture) is filled in here.
/// - SeeAlso: `gguf/constants.py` and `llama-model.cpp` of llama.cpp.
struct GGUFConfiguration {
  private let file: GGUFFile
  private let architecture: GGUFArchitecture
  private var members: [JSONObject.Member] = []

  /// The fields of `config.json`.
  var document: JSONValue { .object(JSONObject(members)) }

  init(_ file: GGUFFile, _ architecture: GGUFArchitecture) throws {
    self.file = file
    self.architecture = architecture
    try fill()
  }

  // MARK: Metadata

  private var metadata: GGUFMetadata { file.metadata }

  private func key(_ name: String) -> String { "\(architecture.name).\(name)" }

  private func integer(_ name: String) throws -> Int? {
    // Some files give one value per layer; the engine computes models whose layers are alike.
    guard let type = metadata.type(of: key(name)), type.type == .array else {
      return try metadata.integer(key(name))
    }
    let values = Set(try metadata.integers(key(name)) ?? [])
    guard values.count == 1 else {
      throw metadata.error(key(name), "differs from layer to layer, which is not supported")
    }
    return values.first
  }

  private func requiredInteger(_ name: String) throws -> Int {
    guard let value = try integer(name) else { throw metadata.error(key(name), "is missing") }
    return value
  }

  private func number(_ name: String) throws -> Double? { try metadata.number(key(name)) }

  private func has(_ tensor: String) -> Bool { file.tensor(named: tensor) != nil }

  private mutating func set(_ name: String, _ value: JSONValue) {
    members.append(.init(key: name, value: value))
  }

  private mutating func set(_ name: String, _ value: Int?) { if let value { set(name, .integer(value)) } }

  private mutating func set(_ name: String, _ value: Double?) { if let value { set(name, .number(value)) } }

  private mutating func set(_ name: String, _ value: Bool) { set(name, .bool(value)) }

  // MARK: Fields

  private mutating func fill() throws {
    let modelType = architecture.modelType
    let channels = try requiredInteger("embedding_length")
    let heads = try requiredInteger("attention.head_count")
    let groups = try integer("attention.head_count_kv") ?? heads
    guard heads > 0, channels > 0 else {
      throw metadata.error(key("attention.head_count"), "must be above 0")
    }
    let layers = try requiredInteger("block_count")
    let dimension = try integer("attention.key_length") ?? channels / heads
    if let values = try integer("attention.value_length"), values != dimension {
      throw metadata.error(
        key("attention.value_length"), "is \(values), keys have \(dimension): not supported")
    }
    guard let vocabulary = file.tensor(named: "token_embd.weight")?.shape.first else {
      throw metadata.error("general.architecture", "tensor token_embd.weight is missing")
    }
    let context = try integer("context_length")
    let inner = try integer("feed_forward_length")
    let epsilon =
      try number("attention.layer_norm_rms_epsilon") ?? number("attention.layer_norm_epsilon")
    let turning = try integer("rope.dimension_count") ?? dimension
    let fraction = Double(turning) / Double(max(dimension, 1))

    set("model_type", .string(modelType))
    set("vocab_size", vocabulary)
    set("tie_word_embeddings", !has("output.weight"))
    for (field, name) in [("bos_token_id", "bos"), ("eos_token_id", "eos"), ("pad_token_id", "padding")] {
      if let id = try metadata.integer("tokenizer.ggml.\(name)_token_id") {
        set(field, id)
      } else {
        set(field, .null)
      }
    }
    let usesNewNames = !["gpt2", "gpt_bigcode", "bloom"].contains(modelType)
    set(usesNewNames ? "hidden_size" : modelType == "bloom" ? "hidden_size" : "n_embd", channels)
    set(usesNewNames ? "num_hidden_layers" : "n_layer", layers)
    set(usesNewNames ? "num_attention_heads" : "n_head", heads)
    if modelType == "bloom" {
      set("seq_length", context)
    } else {
      set(usesNewNames ? "max_position_embeddings" : "n_positions", context)
    }
    if !["bloom", "falcon", "gpt2", "gpt_bigcode"].contains(modelType) { set("intermediate_size", inner) }

    switch modelType {
    case "gpt2", "gpt_bigcode":
      set("n_inner", inner)
      set("layer_norm_epsilon", epsilon)
      if modelType == "gpt_bigcode" { set("multi_query", groups == 1) }
    case "bloom": set("layer_norm_epsilon", epsilon)
    case "falcon":
      set("layer_norm_epsilon", epsilon)
      set("ffn_hidden_size", inner)
      let separate = has("blk.0.attn_norm_2.weight")
      set("new_decoder_architecture", separate || groups > 1)
      set("multi_query", groups == 1)
      set("num_kv_heads", groups)
      set("num_ln_in_parallel_attn", separate ? 2 : 1)
      set("parallel_attn", true)
      set("bias", has("blk.0.attn_qkv.bias"))
    case "gpt_neox":
      set("layer_norm_eps", epsilon)
      set("use_parallel_residual", try metadata.boolean(key("use_parallel_residual")) ?? true)
      set("attention_bias", has("blk.0.attn_qkv.bias"))
      set("hidden_act", .string("gelu"))
    case "phi":
      set("layer_norm_eps", epsilon)
      set("num_key_value_heads", groups)
      set("hidden_act", .string("gelu_new"))
    case "starcoder2":
      set("norm_epsilon", epsilon)
      set("num_key_value_heads", groups)
      set("use_bias", has("blk.0.attn_q.bias"))
      set("sliding_window", try window())
      set("hidden_act", .string("gelu_pytorch_tanh"))
    case "stablelm":
      set("layer_norm_eps", epsilon)
      set("num_key_value_heads", groups)
      set(
        "use_parallel_residual",
        try metadata.boolean(key("use_parallel_residual")) ?? !has("blk.0.ffn_norm.weight"))
      set("use_qkv_bias", has("blk.0.attn_q.bias"))
      set("qk_layernorm", has("blk.0.attn_q_norm.weight"))
    default:
      set(modelType == "cohere" ? "layer_norm_eps" : "rms_norm_eps", epsilon)
      set("num_key_value_heads", groups)
      set("head_dim", dimension)
    }

    switch modelType {
    case "llama", "granite":
      set("attention_bias", has("blk.0.attn_q.bias"))
      set("mlp_bias", has("blk.0.ffn_up.bias"))
    case "qwen3", "qwen3_moe", "smollm3", "olmo2", "gemma", "gemma2", "gemma3_text", "cohere":
      set("attention_bias", has("blk.0.attn_q.bias"))
    default: break
    }
    switch modelType {
    case "granite":
      set("embedding_multiplier", try number("embedding_scale"))
      set("residual_multiplier", try number("residual_scale"))
      set("attention_multiplier", try number("attention.scale") ?? 1 / Double(dimension).squareRoot())
      set("logits_scaling", try number("logit_scale"))
    case "cohere":
      set("logit_scale", try number("logit_scale"))
      set("use_qk_norm", has("blk.0.attn_q_norm.weight"))
    case "gemma", "gemma2", "gemma3_text":
      set("hidden_activation", .string("gelu_pytorch_tanh"))
      guard modelType != "gemma" else { break }
      // The largest model of each generation scales by channels per head instead of by a head's channels.
      let isLargest = layers == (modelType == "gemma2" ? 46 : 62)
      set("query_pre_attn_scalar", isLargest ? channels / heads : dimension)
      set("sliding_window", try window() ?? (modelType == "gemma2" ? 4096 : 1024))
      if modelType == "gemma2" {
        set("attn_logit_softcapping", try number("attn_logit_softcapping") ?? 50)
        set("final_logit_softcapping", try number("final_logit_softcapping") ?? 30)
      }
    case "mixtral":
      set("num_local_experts", try requiredInteger("expert_count"))
      set("num_experts_per_tok", try requiredInteger("expert_used_count"))
      set("sliding_window", .null)
    case "mistral": set("sliding_window", .null)
    case "phi3": set("sliding_window", try window().map { .integer($0) } ?? .null)
    case "qwen3_moe":
      set("num_experts", try requiredInteger("expert_count"))
      set("num_experts_per_tok", try requiredInteger("expert_used_count"))
      set("moe_intermediate_size", try requiredInteger("expert_feed_forward_length"))
      set("norm_topk_prob", true)
    default: break
    }
    if !["gpt2", "gpt_bigcode", "bloom"].contains(modelType) {
      try setRotary(fraction: fraction, context: context ?? 0)
    }
  }

  private func window() throws -> Int? {
    try integer("attention.sliding_window").flatMap { $0 > 0 ? $0 : nil }
  }

  private mutating func setRotary(fraction: Double, context: Int) throws {
    var rotary: [JSONObject.Member] = []
    func add(_ name: String, _ value: JSONValue) { rotary.append(.init(key: name, value: value)) }
    add("rope_theta", .number(try number("rope.freq_base") ?? 10_000))
    if fraction != 1 { add("partial_rotary_factor", .number(fraction)) }
    let factor = try number("rope.scaling.factor")
    let original = try integer("rope.scaling.original_context_length")
    let scale = try number("rope.scaling.attn_factor")
    let type = try metadata.string(key("rope.scaling.type")) ?? "none"

    if let single = try factors("rope_freqs.weight") {
      // Llama 3's stretching, worked out beforehand: one factor per pair of channels.
      add("rope_type", .string("longrope"))
      add("short_factor", single)
      add("long_factor", single)
      add("attention_factor", .number(1))
      add("original_max_position_embeddings", .integer(max(context, 1)))
    } else if let short = try factors("rope_factors_short.weight"),
      let long = try factors("rope_factors_long.weight")
    {
      add("rope_type", .string("longrope"))
      add("short_factor", short)
      add("long_factor", long)
      if let scale { add("attention_factor", .number(scale)) }
      set("original_max_position_embeddings", original)
    } else {
      switch type {
      case "linear":
        add("rope_type", .string("linear"))
        add("factor", .number(factor ?? 1))
      case "yarn":
        add("rope_type", .string("yarn"))
        add("factor", .number(factor ?? 1))
        if let original { add("original_max_position_embeddings", .integer(original)) }
        if let scale, let factor, factor > 1 {
          add("attention_factor", .number(scale * (0.1 * log(factor) + 1)))
        }
        if let fast = try number("rope.scaling.yarn_beta_fast") { add("beta_fast", .number(fast)) }
        if let slow = try number("rope.scaling.yarn_beta_slow") { add("beta_slow", .number(slow)) }
      case "none", "": add("rope_type", .string("default"))
      default:
        throw metadata.error(
          key("rope.scaling.type"), "\"\(type)\" is not supported; supported: none, linear, yarn, longrope")
      }
    }
    guard architecture.modelType == "gemma3_text" else {
      set("rope_parameters", .object(JSONObject(rotary)))
      return
    }
    set(
      "rope_parameters",
      [
        "full_attention": .object(JSONObject(rotary)),
        "sliding_attention": [
          "rope_type": "default", "rope_theta": .number(try number("rope.freq_base_swa") ?? 10_000),
        ],
      ])
  }

  private func factors(_ tensor: String) throws -> JSONValue? {
    guard let record = file.tensor(named: tensor) else { return nil }
    try record.checkFinite()
    return .array(try record.floats().map { .number(Double($0)) })
  }
}
