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
  return AttentionShape(queryHeadCount: heads, keyValueHeadCount: groups, headDimension: dimension)
}

/// The fields that `readRotaryEmbedding` reads.
let rotaryFields: Set<String> = [
  "rope_parameters", "rope_theta", "rope_scaling", "partial_rotary_factor",
  "original_max_position_embeddings",
]

/// The rotary embedding, in either spelling: `rope_parameters`, or `rope_theta` with `rope_scaling`.
///
/// - Parameters:
///   - headDimension: channels of a head.
///   - context: `max_position_embeddings`.
///   - defaultBase: where no field gives the base.
///   - defaultFraction: of a head's channels that turn, where no field gives it.
///   - section: the entry of `rope_parameters` to read, where there is one per type of layer.
/// - SeeAlso: `modeling_rope_utils` in Hugging Face transformers 5.23.
func readRotaryEmbedding(
  _ reader: ConfigurationReader, headDimension: Int, context: Int, defaultBase: Double,
  defaultFraction: Double = 1, pairing: RotaryPairing = .halves, section: String? = nil
) throws -> RotaryEmbedding {
  // The older spelling beats the newer, as in transformers.
  var settings = try reader.section("rope_scaling") ?? reader.section("rope_parameters")
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

  let base = try positive("rope_theta") ?? reader.positiveNumber("rope_theta", default: defaultBase)
  let fraction =
    try positive("partial_rotary_factor")
    ?? reader.positiveNumber("partial_rotary_factor", default: defaultFraction)
  let dimension = Int(Double(headDimension) * fraction)
  guard dimension > 0, dimension.isMultiple(of: 2), dimension <= headDimension else {
    throw reader.error(
      fraction == 1 ? "head_dim" : "partial_rotary_factor",
      "a rotary embedding turns an even number of a head's \(headDimension) channels, not \(dimension)")
  }
  let type = try settings?.optionalString("rope_type") ?? settings?.optionalString("type") ?? "default"
  // Where the model has a field of its own for the original context, that field counts.
  func originalContext() throws -> Int {
    try reader.optionalInteger("original_max_position_embeddings")
      ?? settings?.optionalInteger("original_max_position_embeddings") ?? context
  }

  var embedding = RotaryEmbedding(dimension: dimension, base: base, pairing: pairing)
  switch type {
  case "default": break
  case "linear":
    embedding.scaling = .linear(factor: try required("factor"))
  case "dynamic", "dynamic_ntk", "ntk":
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
///   - defaultWindow: where `sliding_window` is absent; `nil` where the model then uses none.
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
