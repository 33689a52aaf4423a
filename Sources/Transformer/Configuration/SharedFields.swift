import JSON
import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

// Fields of `config.json` that many families read alike.

/// Heads of attention, their dimension given or derived.
func readAttentionShape(
  _ reader: ConfigurationReader, channels: Int, heads: Int, groups: Int, defaultDimension: Int? = nil
) throws -> AttentionShape {
  guard heads.isMultiple(of: groups) else {
    throw reader.error(
      "num_key_value_heads", "\(groups) key/value heads do not divide num_attention_heads = \(heads)")
  }
  let given = try reader.optionalInteger("head_dim") ?? defaultDimension
  guard let dimension = given ?? (channels >= heads ? channels / heads : nil) else {
    throw reader.error("num_attention_heads", "\(heads) heads are more than hidden_size = \(channels)")
  }
  guard dimension <= 65_536 else { throw reader.error("head_dim", "must be at most 65536, is \(dimension)") }
  return AttentionShape(queryHeadCount: heads, keyValueHeadCount: groups, headDimension: dimension)
}

/// The fields that `readRotaryEmbedding` reads.
let rotaryFields: Set<String> = [
  "rope_parameters", "rope_theta", "rope_scaling", "partial_rotary_factor",
  "original_max_position_embeddings",
]

/// The share of a head's channels that turn, in families where it may be less than all.
struct RotaryFraction {
  /// The field outside `rope_parameters`; inside it is always `partial_rotary_factor`.
  var field = "partial_rotary_factor"
  /// Where no field gives it.
  var fallback: Double
  /// Whether an odd number of channels is rounded up to whole pairs; else it is an error.
  var roundsUp = false
}

/// The rotary embedding, in either spelling: `rope_parameters`, or `rope_theta` with `rope_scaling`.
///
/// - Parameters:
///   - headDimension: channels of a head.
///   - context: `max_position_embeddings`.
///   - defaultBase: where no field gives the base.
///   - baseField: what gives the base outside `rope_parameters`.
///   - fraction: how the share of channels that turn is given; all turn, whatever the file says, without it.
///   - section: the entry of `rope_parameters` to read, where there is one per type of layer.
///   - readsScaling: whether `rope_scaling` is meant for this embedding.
///   - defaultOriginalContext: where no field outside `rope_parameters` gives the original context.
/// - Returns: nothing when no channel turns.
/// - SeeAlso: `modeling_rope_utils` in Hugging Face transformers 5.23.
func readRotaryEmbedding(
  _ reader: ConfigurationReader, headDimension: Int, context: Int, defaultBase: Double,
  baseField: String = "rope_theta", fraction: RotaryFraction? = nil, pairing: RotaryPairing = .halves,
  section: String? = nil, readsScaling: Bool = true, defaultOriginalContext: Int? = nil
) throws -> RotaryEmbedding? {
  // The older spelling beats the newer, as in transformers.
  var settings = try readsScaling ? reader.section("rope_scaling") : nil
  settings = try settings ?? reader.section("rope_parameters")
  if let section, let inner = try settings?.section(section) { settings = inner }

  func positive(_ name: String) throws -> Double? {
    guard let number = try settings?.optionalNumber(name) else { return nil }
    guard number > 0 else { throw settings!.error(name, "must be above 0, is \(number)") }
    return number
  }
  func required(_ name: String) throws -> Double {
    guard let number = try positive(name) else { throw settings!.error(name, "is missing") }
    return number
  }

  let base = try positive("rope_theta") ?? reader.positiveNumber(baseField, default: defaultBase)
  var dimension = headDimension
  if let fraction {
    let share =
      try settings?.optionalNumber("partial_rotary_factor") ?? reader.optionalNumber(fraction.field)
      ?? fraction.fallback
    guard (0...1).contains(share) else {
      throw reader.error(fraction.field, "must be from 0 to 1, is \(share)")
    }
    dimension = Int(Double(headDimension) * share)
  }
  guard dimension > 0 else { return nil }
  let pairedDimension = (dimension + 1) / 2 * 2
  let isOdd = dimension != pairedDimension
  guard !isOdd || fraction?.roundsUp == true && pairedDimension <= headDimension else {
    throw reader.error(
      dimension == headDimension ? "head_dim" : "partial_rotary_factor",
      "a rotary embedding turns an even number of a head's \(headDimension) channels, not \(dimension)")
  }
  let type = try settings?.optionalString("rope_type") ?? settings?.optionalString("type") ?? "default"
  // Where the model has a field of its own for the original context, that field counts.
  func originalContext() throws -> Int {
    try reader.optionalInteger("original_max_position_embeddings") ?? defaultOriginalContext
      ?? settings?.optionalInteger("original_max_position_embeddings") ?? context
  }

  guard !isOdd || ["default", "linear", "dynamic"].contains(type) else {
    throw reader.error("partial_rotary_factor", "\(dimension) channels do not pair up, as \(type) needs")
  }
  var embedding = RotaryEmbedding(
    dimension: pairedDimension, exponentDimension: dimension, base: base, pairing: pairing)
  switch type {
  case "default": break
  case "linear":
    embedding.scaling = .linear(factor: try required("factor"))
  case "dynamic", "dynamic_ntk", "ntk":
    guard dimension > 2 else { throw settings!.error("rope_type", "dynamic turns more than 2 channels") }
    embedding.scaling = .dynamic(factor: try required("factor"), originalContext: context)
  case "llama3":
    let low = try required("low_freq_factor")
    let high = try required("high_freq_factor")
    guard high > low else {
      throw settings!.error("high_freq_factor", "must be above low_freq_factor = \(low)")
    }
    embedding.scaling = .llama3(
      factor: try required("factor"), lowFrequencyFactor: low, highFrequencyFactor: high,
      originalContext: try originalContext())
  case "yarn":
    let original = try originalContext()
    let factor = try positive("factor") ?? Double(context) / Double(original)
    embedding.scaling = .yarn(
      factor: factor, fast: try positive("beta_fast") ?? 32, slow: try positive("beta_slow") ?? 1,
      originalContext: original, isTruncated: try settings?.boolean("truncate", default: true) ?? true)
    func scale(_ multiplier: Double) -> Double {
      factor <= 1 ? 1 : 0.1 * multiplier * log(factor) + 1
    }
    let (numerator, denominator) = (
      try settings?.optionalNumber("mscale") ?? 0, try settings?.optionalNumber("mscale_all_dim") ?? 0
    )
    embedding.attentionFactor =
      try positive("attention_factor")
      ?? (numerator != 0 && denominator != 0 ? scale(numerator) / scale(denominator) : scale(1))
  case "longrope", "su":
    let original = try originalContext()
    func factors(_ name: String) throws -> [Float] {
      guard let factors = try settings?.optionalNumbers(name) else {
        throw settings!.error(name, "is missing")
      }
      guard factors.count == dimension / 2, factors.allSatisfy({ $0 > 0 }) else {
        throw settings!.error(
          name, "must be \(dimension / 2) numbers above 0, one per pair of channels, has \(factors.count)")
      }
      return factors.map { Float($0) }
    }
    embedding.scaling = .longrope(
      short: try factors("short_factor"), long: try factors("long_factor"), originalContext: original)
    let factor = try positive("factor") ?? Double(context) / Double(original)
    embedding.attentionFactor =
      try positive("attention_factor")
      ?? (factor <= 1 || original < 2
        ? 1 : (1 + log(factor) / log(Double(original))).squareRoot())
  default:
    throw settings!.error(
      "rope_type", "\"\(type)\" is unknown; known: default, linear, dynamic, llama3, yarn, longrope")
  }
  return embedding
}

/// Windows of attention, layer by layer.
///
/// - Parameters:
///   - defaultWindow: where `sliding_window` is absent; `nil` where the model uses none whatever the file says.
///   - usesWindow: whether a layer has one where `layer_types` is absent.
func readWindows(
  _ reader: ConfigurationReader, into configuration: inout DecoderConfiguration, defaultWindow: Int?,
  usesWindow: (Int) throws -> Bool
) throws {
  guard let fallback = defaultWindow else { return }
  let window =
    reader.contains("sliding_window") ? try reader.optionalInteger("sliding_window") : fallback
  let types = try readLayerTypes(reader, count: configuration.layerCount)
  for layer in 0..<configuration.layerCount {
    let isWindowed = try types.map { $0[layer] == .sliding } ?? usesWindow(layer)
    configuration.layers[layer].window = isWindowed ? window : nil
  }
}

/// What `layer_types` calls the attention of a layer.
enum LayerType: Sendable {
  case full, sliding
}

/// The entries of `layer_types`; `nil` when absent.
func readLayerTypes(_ reader: ConfigurationReader, count: Int) throws -> [LayerType]? {
  guard let names = try reader.optionalStrings("layer_types") else { return nil }
  guard names.count == count else {
    throw reader.error("layer_types", "has \(names.count) entries for \(count) layers")
  }
  return try names.map { name in
    switch name {
    case "full_attention": .full
    case "sliding_attention": .sliding
    default:
      throw reader.error(
        "layer_types", "\"\(name)\" is not supported; known: full_attention, sliding_attention")
    }
  }
}

/// One window for all layers, or none where the field says `null`.
func readWindow(
  _ reader: ConfigurationReader, into configuration: inout DecoderConfiguration, fallback: Int?
) throws {
  let window =
    try reader.optionalInteger("sliding_window") ?? (reader.contains("sliding_window") ? nil : fallback)
  for layer in 0..<configuration.layerCount { configuration.layers[layer].window = window }
}

/// Refuses mixtures that no token can be given to, and more experts than can be listed.
func checkExperts(_ reader: ConfigurationReader, count: Int, perToken: Int) throws {
  guard count <= 16_384 else { throw reader.error("num_experts", "must be at most 16384, is \(count)") }
  guard perToken <= count else {
    throw reader.error("num_experts_per_tok", "is \(perToken), there are only \(count) experts")
  }
}
