import Checkpoints
import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

extension GGUFExport {
  /// The keys of a model's architecture, as far as GGUF has them.
  static func settings(
    _ description: ModelDescription, _ architecture: GGUFArchitecture
  ) -> [(key: String, value: GGUFValue)] {
    var keys = Keys(architecture: architecture.name)
    keys.values.append(("general.architecture", .string(architecture.name)))
    let configuration = description.configuration
    let shape = configuration.attention
    keys.count("block_count", configuration.layerCount)
    keys.count("context_length", configuration.trainedContext)
    keys.count("embedding_length", configuration.hiddenSize)
    keys.count("feed_forward_length", configuration.feedForwardSize)
    keys.count("attention.head_count", shape.queryHeadCount)
    keys.count("attention.head_count_kv", shape.keyValueHeadCount)
    if shape.queryWidth != configuration.hiddenSize
      || ["gemma", "gemma2", "gemma3", "qwen3", "qwen3moe"].contains(architecture.name)
    {
      keys.count("attention.key_length", shape.headDimension)
      keys.count("attention.value_length", shape.headDimension)
    }
    keys.count("vocab_size", configuration.vocabularySize)
    keys.number(
      configuration.normalization.kind == .rootMeanSquare
        ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
      Double(configuration.normalization.epsilon))
    addWindows(configuration, &keys)
    if let experts = configuration.experts {
      keys.count("expert_count", experts.count)
      keys.count("expert_used_count", experts.perToken)
      if architecture.name == "qwen3moe" {
        keys.count("expert_feed_forward_length", experts.feedForwardSize)
        if !experts.normalizesShares { keys.add("expert_weights_norm", .bool(false)) }
      }
    }
    addScales(description, &keys)
    addRotary(configuration, &keys)
    return keys.values
  }

  /// Keys that begin with the architecture's name.
  private struct Keys {
    let architecture: String
    var values: [(key: String, value: GGUFValue)] = []

    mutating func add(_ key: String, _ value: GGUFValue) { values.append(("\(architecture).\(key)", value)) }
    mutating func count(_ key: String, _ value: Int) { add(key, .uint32(UInt32(clamping: value))) }
    mutating func number(_ key: String, _ value: Double) { add(key, .float32(Float(value))) }
  }

  private static func addWindows(_ configuration: DecoderConfiguration, _ keys: inout Keys) {
    let windows = configuration.layers.map(\.window)
    guard let window = windows.compactMap({ $0 }).first else {
      // Gemma 2 has windows unless the file says otherwise.
      if keys.architecture == "gemma2" { keys.count("attention.sliding_window", 0) }
      return
    }
    keys.count("attention.sliding_window", window)
    let period = keys.architecture == "gemma2" ? 2 : keys.architecture == "gemma3" ? 6 : 0
    let flags = windows.map { $0 != nil }
    if flags != flags.indices.map({ period == 0 || $0 % period < period - 1 }) {
      keys.add("attention.sliding_window_pattern", .booleans(flags))
    }
  }

  private static func addScales(_ description: ModelDescription, _ keys: inout Keys) {
    let configuration = description.configuration
    switch keys.architecture {
    case "falcon": keys.add("tensor_data_layout", .string("jploski"))
    case "gptneox", "stablelm": keys.add("use_parallel_residual", .bool(configuration.isParallel))
    case "gemma2", "gemma3":
      if let cap = configuration.attentionSoftCap { keys.number("attn_logit_softcapping", Double(cap)) }
      if let cap = configuration.logitSoftCap { keys.number("final_logit_softcapping", Double(cap)) }
      let isLargest = configuration.layerCount == (keys.architecture == "gemma2" ? 46 : 62)
      let usual =
        isLargest
        ? configuration.hiddenSize / configuration.attention.queryHeadCount
        : configuration.attention.headDimension
      if configuration.attentionScale != Float(1 / Double(usual).squareRoot()) {
        keys.number("attention.scale", Double(configuration.attentionScale))
      }
    case "granite":
      keys.number("embedding_scale", Double(configuration.embeddingScale))
      keys.number("residual_scale", Double(configuration.residualScale))
      keys.number("attention.scale", Double(configuration.attentionScale))
      keys.number("logit_scale", description.document["logits_scaling"]?.double ?? 1)
    case "command-r": keys.number("logit_scale", Double(configuration.logitScale))
    default: break
    }
  }

  private static func addRotary(_ configuration: DecoderConfiguration, _ keys: inout Keys) {
    guard let rotary = configuration.rotaryEmbeddings.first else {
      // None of a head's channels turn.
      if ["phi2", "phi3", "stablelm", "gptneox"].contains(keys.architecture) {
        keys.count("rope.dimension_count", 0)
      }
      return
    }
    let turns = configuration.layers.map { $0.rotary != nil }
    if keys.architecture == "smollm3", turns != turns.indices.map({ !($0 + 1).isMultiple(of: 4) }) {
      keys.add("attention.rope_pattern", .booleans(turns))
    }
    keys.count("rope.dimension_count", rotary.dimension)
    keys.number("rope.freq_base", rotary.base)
    if keys.architecture == "gemma3", configuration.rotaryEmbeddings.count > 1 {
      keys.number("rope.freq_base_swa", configuration.rotaryEmbeddings[1].base)
    }
    func type(_ name: String) { keys.add("rope.scaling.type", .string(name)) }
    switch rotary.scaling {
    case .llama3, .dynamic: break
    case .none: if keys.architecture == "command-r" { type("none") }
    case .linear(let factor):
      type("linear")
      keys.number("rope.scaling.factor", factor)
    case .yarn(let factor, let fast, let slow, let context, _):
      type("yarn")
      keys.number("rope.scaling.factor", factor)
      keys.count("rope.scaling.original_context_length", context)
      keys.number("rope.scaling.yarn_beta_fast", fast)
      keys.number("rope.scaling.yarn_beta_slow", slow)
      // llama.cpp multiplies by what follows from the factor.
      let usual = factor <= 1 ? 1 : 0.1 * log(factor) + 1
      if abs(rotary.attentionFactor / usual - 1) > 1e-7 {
        keys.number("rope.scaling.attn_factor", rotary.attentionFactor / usual)
      }
    case .longrope(let short, let long, let context):
      guard short != long || rotary.attentionFactor != 1 else { break }
      type("longrope")
      keys.count("rope.scaling.original_context_length", context)
      keys.number("rope.scaling.attn_factor", rotary.attentionFactor)
    }
  }
}

extension DecoderConfiguration {
  /// Positions that the model was trained for, without those that stretched frequencies add.
  fileprivate var trainedContext: Int {
    if case .dynamic(_, let original)? = rotaryEmbeddings.first?.scaling { return original }
    return contextLength
  }
}
