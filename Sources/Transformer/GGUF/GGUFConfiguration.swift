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
/// knows by architecture) is filled in here, and what its metadata has no key for is taken from `inkstone.config`,
/// the model's own `config.json`, where the file was written here.
/// - SeeAlso: `gguf/constants.py`, `llama-model.cpp` and `models/` of llama.cpp.
struct GGUFConfiguration {
  /// The key of a `config.json` that says more than GGUF's own keys can.
  static let ownKey = "inkstone.config"

  private let settings: any GGUFSettings
  private let architecture: GGUFArchitecture
  private let shape: (String) -> [Int]?
  private let values: (String) throws -> [Float]?
  private var members: [JSONObject.Member] = []

  /// The fields of `config.json`.
  var document: JSONValue { .object(JSONObject(members)) }

  /// Reads the metadata.
  ///
  /// - Parameters:
  ///   - settings: the metadata.
  ///   - architecture: what the model is.
  ///   - shape: extents of a tensor of the file, row-major; `nil` when there is none.
  ///   - values: the elements of one of the tensors that are part of the configuration.
  init(
    _ settings: any GGUFSettings, _ architecture: GGUFArchitecture, shape: @escaping (String) -> [Int]?,
    values: @escaping (String) throws -> [Float]?
  ) throws {
    self.settings = settings
    self.architecture = architecture
    self.shape = shape
    self.values = values
    if let own = try GGUFConfiguration.own(settings) {
      members = own.members.filter { $0.key != "tie_word_embeddings" }
      set("tie_word_embeddings", !has("output.weight"))
    } else {
      try fill()
    }
  }

  /// The model's own `config.json`, if the file holds it.
  static func own(_ settings: any GGUFSettings) throws -> JSONObject? {
    guard let text = try settings.string(ownKey) else { return nil }
    do {
      if let object = try JSONValue.parse(text, maximumDepth: 32).object { return object }
    } catch let fault as JSONError {
      throw settings.error(ownKey, "is \(fault)")
    }
    throw settings.error(ownKey, "is not a JSON object")
  }

  // MARK: Metadata

  private func key(_ name: String) -> String { "\(architecture.name).\(name)" }

  /// A whole number that must be the same in all layers.
  private func integer(_ name: String) throws -> Int? {
    guard settings.isArray(key(name)) else { return try settings.integer(key(name)) }
    let values = Set(try settings.integers(key(name)) ?? [])
    guard values.count == 1 else {
      throw settings.error(key(name), "differs from layer to layer, which is not supported")
    }
    return values.first
  }

  private func required(_ name: String) throws -> Int {
    guard let value = try integer(name) else {
      throw settings.error(key(name), "is missing; the file is incomplete, convert the model again")
    }
    return value
  }

  private func number(_ name: String) throws -> Double? {
    guard let value = try settings.number(key(name)) else { return nil }
    guard value.isFinite else { throw settings.error(key(name), "must be a number, is \(value)") }
    return GGUFConfiguration.decimal(value)
  }

  /// A number that was stored as a `Float` as the short decimal that it stands for: 1e-05, not 9.999999747378752e-06.
  private static func decimal(_ value: Double) -> Double {
    Double(Float(value)) == value ? Double("\(Float(value))") ?? value : value
  }

  private static func decimals(_ values: [Float]) -> JSONValue {
    .array(values.map { .number(decimal(Double($0))) })
  }

  private func flag(_ name: String) throws -> Bool? { try settings.boolean(key(name)) }

  private func has(_ tensor: String) -> Bool { shape(tensor) != nil }

  // MARK: Fields

  private mutating func set(_ name: String, _ value: JSONValue) {
    members.append(.init(key: name, value: value))
  }

  /// A field that stays out when there is no value, so that the family's default counts.
  private mutating func set(_ name: String, _ value: Int?) { if let value { set(name, .integer(value)) } }

  private mutating func set(_ name: String, _ value: Double?) { if let value { set(name, .number(value)) } }

  private mutating func set(_ name: String, _ value: Bool) { set(name, .bool(value)) }

  /// Extents that most fields follow from.
  private struct Size {
    var channels: Int
    var layers: Int
    var heads: Int
    var groups: Int
    var dimension: Int
    var inner: Int?
    var context: Int
    var epsilon: Double?
  }

  private func size() throws -> Size {
    let channels = try required("embedding_length")
    let heads = try required("attention.head_count")
    guard heads > 0, channels > 0 else {
      throw settings.error(key("attention.head_count"), "must be above 0")
    }
    let groups = try integer("attention.head_count_kv") ?? heads
    let dimension = try integer("attention.key_length") ?? channels / heads
    guard (1...Int(Int32.max)).contains(dimension) else {
      throw settings.error(key("attention.key_length"), "is \(dimension)")
    }
    if let values = try integer("attention.value_length"), values != dimension {
      throw settings.error(
        key("attention.value_length"), "is \(values) where keys have \(dimension), which is not supported")
    }
    let layers = try required("block_count")
    guard (1...16_384).contains(layers) else {
      throw settings.error(key("block_count"), "must be from 1 to 16384, is \(layers)")
    }
    return Size(
      channels: channels, layers: layers, heads: heads, groups: groups,
      dimension: dimension, inner: try integer("feed_forward_length"),
      context: try required("context_length"),
      epsilon: try number("attention.layer_norm_rms_epsilon") ?? number("attention.layer_norm_epsilon"))
  }

  private mutating func fill() throws {
    let size = try size()
    guard let vocabulary = shape("token_embd.weight")?.first else {
      throw settings.error("general.architecture", "calls for tensor token_embd.weight, which is missing")
    }
    set("architectures", [.string(architecture.className)])
    set("model_type", .string(architecture.modelType))
    set("vocab_size", vocabulary)
    set("tie_word_embeddings", !has("output.weight"))
    try setTokens()
    switch architecture.modelType {
    case "gpt2", "gpt_bigcode", "gptj": try fillGPT(size)
    case "bloom", "falcon", "gpt_neox": try fillClassic(size)
    default: try fillLlama(size)
    }
  }

  /// Special tokens; `null` where the file names none, so that no family's default counts.
  private mutating func setTokens() throws {
    func token(_ name: String) throws -> Int? {
      try settings.integer("tokenizer.ggml.\(name)_token_id").flatMap {
        (0..<Int(Int32.max)).contains($0) ? $0 : nil
      }
    }
    var ends: [Int] = []
    for name in ["eos", "eot", "eom"] {
      if let id = try token(name), !ends.contains(id) { ends.append(id) }
    }
    set("bos_token_id", try token("bos").map { .integer($0) } ?? .null)
    set(
      "eos_token_id",
      ends.count > 1 ? .array(ends.map { .integer($0) }) : ends.first.map { .integer($0) } ?? .null)
    set("pad_token_id", try token("padding").map { .integer($0) } ?? .null)
  }

  /// The relatives of GPT-2, with their own names for sizes.
  private mutating func fillGPT(_ size: Size) throws {
    set("n_embd", size.channels)
    set("n_layer", size.layers)
    set("n_head", size.heads)
    set("n_positions", size.context)
    set("n_inner", size.inner)
    set("layer_norm_epsilon", size.epsilon)
    switch architecture.modelType {
    case "gpt_bigcode":
      set("activation_function", "gelu_pytorch_tanh")
      set("multi_query", size.groups == 1)
    case "gptj":
      set("activation_function", "gelu_new")
      set("rotary_dim", try integer("rope.dimension_count") ?? size.dimension)
    default: set("activation_function", "gelu_new")
    }
  }

  private mutating func fillClassic(_ size: Size) throws {
    set("hidden_size", size.channels)
    switch architecture.modelType {
    case "bloom":
      set("n_layer", size.layers)
      set("n_head", size.heads)
      set("seq_length", size.context)
      set("layer_norm_epsilon", size.epsilon)
    case "falcon":
      set("num_hidden_layers", size.layers)
      set("num_attention_heads", size.heads)
      set("max_position_embeddings", size.context)
      set("layer_norm_epsilon", size.epsilon)
      set("ffn_hidden_size", size.inner)
      set("activation", "gelu")
      let isSeparate = has("blk.0.attn_norm_2.weight")
      let isNew = isSeparate || size.groups > 1 && size.groups < size.heads
      set("new_decoder_architecture", isNew)
      set("multi_query", size.groups == 1)
      set("num_kv_heads", size.groups)
      set("num_ln_in_parallel_attn", isSeparate ? 2 : 1)
      set("parallel_attn", !has("blk.0.ffn_norm.weight"))
      set("alibi", false)
      set("bias", has("blk.0.attn_qkv.bias"))
      try setRotary(size)
    default:
      set("num_hidden_layers", size.layers)
      set("num_attention_heads", size.heads)
      set("max_position_embeddings", size.context)
      set("intermediate_size", size.inner)
      set("layer_norm_eps", size.epsilon)
      set("hidden_act", "gelu")
      set("use_parallel_residual", try flag("use_parallel_residual") ?? true)
      set("attention_bias", has("blk.0.attn_qkv.bias"))
      try setRotary(size)
    }
  }

  /// Llama and its many relatives.
  private mutating func fillLlama(_ size: Size) throws {
    let type = architecture.modelType
    set("hidden_size", size.channels)
    set("num_hidden_layers", size.layers)
    set("num_attention_heads", size.heads)
    set("num_key_value_heads", size.groups)
    if type.hasPrefix("gemma") || type.hasPrefix("qwen3") || size.dimension * size.heads != size.channels {
      set("head_dim", size.dimension)
    }
    set("intermediate_size", size.inner)
    set("max_position_embeddings", size.context)
    let epsilonField =
      switch type {
      case "cohere", "phi", "stablelm": "layer_norm_eps"
      case "starcoder2": "norm_epsilon"
      default: "rms_norm_eps"
      }
    set(epsilonField, size.epsilon)
    let hasBias = has("blk.0.attn_q.bias") || has("blk.0.attn_qkv.bias")
    switch type {
    case "starcoder2": set("use_bias", hasBias)
    case "stablelm": set("use_qkv_bias", hasBias)
    case "qwen2", "phi", "phi3", "mistral", "mixtral": break
    default: set("attention_bias", hasBias)
    }
    if ["llama", "granite", "smollm3"].contains(type) { set("mlp_bias", has("blk.0.ffn_up.bias")) }
    let activation =
      switch type {
      case "starcoder2", "gemma", "gemma2", "gemma3_text": "gelu_pytorch_tanh"
      case "phi": "gelu_new"
      default: "silu"
      }
    set("hidden_act", .string(activation))
    switch type {
    case "gemma", "gemma2", "gemma3_text": try fillGemma(size)
    case "qwen2", "qwen3", "qwen3_moe", "smollm3": try fillQwen(size)
    case "mistral", "mixtral", "phi3", "starcoder2":
      // One window for all layers, or none.
      let windows = try windows(size.layers)
      set("sliding_window", windows.first.flatMap { $0 }.map { .integer($0) } ?? .null)
      if type == "mixtral" {
        set("num_local_experts", try required("expert_count"))
        set("num_experts_per_tok", try required("expert_used_count"))
      }
    case "phi": set("qk_layernorm", has("blk.0.attn_q_norm.weight"))
    case "stablelm":
      set("use_parallel_residual", !has("blk.0.ffn_norm.weight"))
      set("qk_layernorm", has("blk.0.attn_q_norm.weight"))
    case "cohere":
      set("logit_scale", try number("logit_scale"))
      set("use_qk_norm", has("blk.0.attn_q_norm.weight"))
    case "granite":
      set("embedding_multiplier", try number("embedding_scale") ?? 1)
      set("residual_multiplier", try number("residual_scale") ?? 1)
      set("attention_multiplier", try number("attention.scale") ?? 1 / Double(size.dimension).squareRoot())
      set("logits_scaling", try number("logit_scale") ?? 1)
    default: break
    }
    try setRotary(size)
  }

  private mutating func fillGemma(_ size: Size) throws {
    set("hidden_activation", "gelu_pytorch_tanh")
    guard architecture.modelType != "gemma" else { return }
    // The largest model of each generation scales by channels per head instead of by a head's channels.
    let isLargest = size.layers == (architecture.modelType == "gemma2" ? 46 : 62)
    let usual = isLargest ? size.channels / size.heads : size.dimension
    var scalar = try number("attention.scale").map { 1 / ($0 * $0) } ?? Double(usual)
    // transformers wants a whole number where it can be one.
    if abs(scalar - scalar.rounded()) < 1e-5 * scalar { scalar = scalar.rounded() }
    set("query_pre_attn_scalar", Int(exactly: scalar).map { .integer($0) } ?? .number(scalar))
    if architecture.modelType == "gemma2" {
      set("attn_logit_softcapping", .number(try number("attn_logit_softcapping") ?? 50))
      set("final_logit_softcapping", .number(try number("final_logit_softcapping") ?? 30))
    } else {
      set("final_logit_softcapping", try number("final_logit_softcapping").map { .number($0) } ?? .null)
    }
    try setLayerTypes(size.layers)
  }

  private mutating func fillQwen(_ size: Size) throws {
    let windows = try windows(size.layers)
    set("use_sliding_window", windows.contains { $0 != nil })
    if windows.contains(where: { $0 != nil }) { try setLayerTypes(size.layers) }
    switch architecture.modelType {
    case "smollm3":
      // Every fourth layer is without, unless the file lists them.
      let turns =
        try settings.booleans(key("attention.rope_pattern"))
        ?? (0..<size.layers).map { !($0 + 1).isMultiple(of: 4) }
      set("no_rope_layers", .array(turns.map { .integer($0 ? 1 : 0) }))
    case "qwen3_moe":
      set("num_experts", try required("expert_count"))
      set("num_experts_per_tok", try required("expert_used_count"))
      set("moe_intermediate_size", try integer("expert_feed_forward_length"))
      set("norm_topk_prob", try flag("expert_weights_norm") ?? true)
      let dense = (0..<size.layers).filter { !has("blk.\($0).ffn_gate_inp.weight") }
      set("mlp_only_layers", .array(dense.map { .integer($0) }))
    default: break
    }
  }

  // MARK: Windows

  /// The window of each layer.
  private func windows(_ layers: Int) throws -> [Int?] {
    let isGemma = ["gemma2", "gemma3_text"].contains(architecture.modelType)
    let fallback = architecture.modelType == "gemma2" ? 4096 : nil
    guard let window = try integer("attention.sliding_window") ?? fallback, window > 0 else {
      return [Int?](repeating: nil, count: layers)
    }
    let pattern = "attention.sliding_window_pattern"
    if settings.isArray(key(pattern)) {
      // Truth values, or numbers that stand for them.
      var flags = try? settings.booleans(key(pattern)) ?? []
      if flags == nil { flags = try settings.integers(key(pattern))?.map { $0 != 0 } }
      guard let flags else { throw settings.error(key(pattern), "is missing") }
      guard flags.count >= layers else {
        throw settings.error(key(pattern), "has \(flags.count) entries for \(layers) layers")
      }
      return flags.prefix(layers).map { $0 ? window : nil }
    }
    // One layer of so many sees everything; of Gemma's every second or sixth.
    let period = try integer(pattern) ?? (isGemma ? (architecture.modelType == "gemma2" ? 2 : 6) : 0)
    guard (0...65_536).contains(period) else { throw settings.error(key(pattern), "is \(period)") }
    return (0..<layers).map { period == 0 || $0 % period < period - 1 ? window : nil }
  }

  private mutating func setLayerTypes(_ layers: Int) throws {
    let windows = try windows(layers)
    // transformers wants a number even where no layer uses it.
    set("sliding_window", windows.compactMap { $0 }.first ?? 4096)
    set("layer_types", .array(windows.map { $0 == nil ? "full_attention" : "sliding_attention" }))
  }

  // MARK: Rotary positions

  private mutating func setRotary(_ size: Size) throws {
    let count = try integer("rope.dimension_count") ?? size.dimension
    guard count >= 0, count <= size.dimension else {
      throw settings.error(
        key("rope.dimension_count"), "is \(count), more than the \(size.dimension) channels of a head")
    }
    var rotary: [JSONObject.Member] = []
    func add(_ name: String, _ value: JSONValue) { rotary.append(.init(key: name, value: value)) }
    let base = try number("rope.freq_base") ?? 10_000
    add("rope_theta", .number(base))
    if ["phi", "phi3", "stablelm", "gpt_neox"].contains(architecture.modelType) {
      // So that rounding down gives the count again.
      let share = Double(count) / Double(size.dimension)
      let isExact = Int(Double(size.dimension) * share) == count
      add("partial_rotary_factor", .number(isExact ? share : (Double(count) + 0.25) / Double(size.dimension)))
    } else if count != size.dimension {
      throw settings.error(
        key("rope.dimension_count"),
        "is \(count) of \(size.dimension) channels; \(architecture.name) turns all of them")
    }

    if let single = try factors("rope_freqs.weight", count / 2) {
      addStretch(single, base: base, dimension: count, context: size.context, add)
    } else if let short = try factors("rope_factors_short.weight", count / 2),
      let long = try factors("rope_factors_long.weight", count / 2)
    {
      add("rope_type", "longrope")
      add("short_factor", GGUFConfiguration.decimals(short))
      add("long_factor", GGUFConfiguration.decimals(long))
      add("attention_factor", .number(try number("rope.scaling.attn_factor") ?? 1))
      let original = try integer("rope.scaling.original_context_length") ?? size.context
      add("original_max_position_embeddings", .integer(original))
      if architecture.modelType == "phi3" { set("original_max_position_embeddings", original) }
    } else {
      try addScaling(context: size.context, add)
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

  private func addScaling(context: Int, _ add: (String, JSONValue) -> Void) throws {
    let stretch = try number("rope.scaling.factor") ?? number("rope.scale_linear")
    let factor = stretch.flatMap { $0 == 0 ? nil : $0 } ?? 1
    switch try settings.string(key("rope.scaling.type")) ?? "linear" {
    case "none", "": add("rope_type", "default")
    case "linear", "longrope":
      // A file of the longrope kind without factors stretches nothing.
      add("rope_type", factor == 1 ? "default" : "linear")
      if factor != 1 { add("factor", .number(factor)) }
    case "yarn":
      if let mix = try number("rope.scaling.yarn_ext_factor"), mix != 1, mix >= 0 {
        throw settings.error(key("rope.scaling.yarn_ext_factor"), "is \(mix); only 1 is supported")
      }
      func magnitude(_ multiplier: Double) -> Double { factor <= 1 ? 1 : 0.1 * multiplier * log(factor) + 1 }
      let all = try number("rope.scaling.yarn_log_multiplier") ?? 0
      let own =
        try number("rope.scaling.yarn_attn_factor")
        ?? magnitude(1) / (all == 0 ? 1 : magnitude(all)) * (number("rope.scaling.attn_factor") ?? 1)
      add("rope_type", "yarn")
      add("factor", .number(factor))
      add("attention_factor", .number(own))
      add(
        "original_max_position_embeddings",
        .integer(try integer("rope.scaling.original_context_length") ?? context))
      if let fast = try number("rope.scaling.yarn_beta_fast") { add("beta_fast", .number(fast)) }
      if let slow = try number("rope.scaling.yarn_beta_slow") { add("beta_slow", .number(slow)) }
    case let type:
      throw settings.error(
        key("rope.scaling.type"), "\"\(type)\" is not supported; supported: none, linear, yarn, longrope")
    }
  }

  /// What every pair of channels is slowed down by: as Llama 3.1 and 3.2 do it, or else number by number.
  private func addStretch(
    _ factors: [Float], base: Double, dimension: Int, context: Int, _ add: (String, JSONValue) -> Void
  ) {
    let largest = factors.max() ?? 1
    var isKnown = false
    // What cannot be computed at all, the family refuses.
    if dimension > 0, dimension.isMultiple(of: 2) {
      let scaling = RotaryEmbedding.Scaling.llama3(
        factor: Double(largest), lowFrequencyFactor: 1, highFrequencyFactor: 4, originalContext: 8192)
      let plain = RotaryEmbedding(dimension: dimension, base: base).inverseFrequencies(sequenceLength: 1)
      let stretched = RotaryEmbedding(dimension: dimension, base: base, scaling: scaling)
        .inverseFrequencies(sequenceLength: 1)
      isKnown = zip(zip(plain, stretched), factors).allSatisfy {
        abs($0.0 / $0.1 - $1) <= 1e-6 * abs($1)
      }
    }
    if isKnown {
      add("rope_type", "llama3")
      add("factor", .number(Double(largest)))
      add("low_freq_factor", .number(1))
      add("high_freq_factor", .number(4))
      add("original_max_position_embeddings", .integer(8192))
    } else {
      let list = GGUFConfiguration.decimals(factors)
      add("rope_type", "longrope")
      add("short_factor", list)
      add("long_factor", list)
      add("attention_factor", .number(1))
      add("original_max_position_embeddings", .integer(max(context, 1)))
    }
  }

  private func factors(_ tensor: String, _ count: Int) throws -> [Float]? {
    guard let factors = try values(tensor) else { return nil }
    guard factors.count == count, factors.allSatisfy({ $0 > 0 && $0.isFinite }) else {
      throw settings.error(
        key("rope.dimension_count"),
        "calls for \(count) numbers above 0 in tensor \(tensor), which holds \(factors.count)")
    }
    return factors
  }
}
