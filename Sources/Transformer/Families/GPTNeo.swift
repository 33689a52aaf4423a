import JSON
import Kernels

extension DecoderFamily {
  /// GPT-Neo: GPT-2 with windows in some layers and scores that are not scaled.
  ///
  /// - SeeAlso: `GPTNeoForCausalLM` in Hugging Face transformers; doi:10.5281/zenodo.5297715
  static let gptNeo = DecoderFamily(
    modelTypes: ["gpt_neo"],
    configure: { reader in
      let channels = try reader.integer("hidden_size", default: 2048)
      let size = ClassicShape(
        channels: channels, heads: try reader.headCount("num_heads", "num_attention_heads", default: 16),
        layers: try reader.layerCount("num_layers", "num_hidden_layers", default: 24),
        context: try reader.integer("max_position_embeddings", default: 2048),
        inner: try reader.integer("intermediate_size", default: 4 * channels))
      var configuration = try classicConfiguration(
        reader, size, headsField: "num_heads", vocabulary: 50_257,
        epsilon: try reader.positiveNumber("layer_norm_epsilon", default: 1e-5),
        activation: try reader.activation("activation_function", default: "gelu_new"),
        biases: [.attentionOutput, .feedForward], tiesWordEmbeddings: true, beginOfSequence: 50_256,
        endOfSequence: 50_256)
      configuration.learnedPositions = LearnedPositions(count: size.context)
      configuration.attentionScale = 1
      let window = try reader.integer("window_size", default: 256)
      for (layer, name) in try attentionTypes(reader, count: size.layers).enumerated() where name == "local" {
        configuration.layers[layer].window = window
      }
      return configuration
    },
    knownFields: [
      "hidden_size", "num_heads", "num_attention_heads", "num_layers", "num_hidden_layers", "vocab_size",
      "max_position_embeddings", "intermediate_size", "activation_function", "layer_norm_epsilon",
      "window_size",
      "attention_types", "attention_layers",
    ],
    prefixes: ["transformer.", ""],
    tensors: { _ in gptTensors },
    layerTensors: { _, _ in
      gptLayerTensors.merging([
        .queryKeyValue: .init(
          "h.{layer}.attn.attention.q_proj", "h.{layer}.attn.attention.k_proj",
          "h.{layer}.attn.attention.v_proj"),
        .attentionOutput: .init("h.{layer}.attn.attention.out_proj"),
      ]) { $1 }
    },
    buffers: ["h.{layer}.attn.attention.bias", "h.{layer}.attn.attention.masked_bias"])

  /// `[[["global", "local"], 12]]`: lists of layers, each as often as the number after it says.
  private static func attentionTypes(_ reader: ConfigurationReader, count: Int) throws -> [String] {
    let field = "attention_types"
    var types: [String] = []
    for item in try reader.optionalArray(field) ?? [.array([.array(["global", "local"]), 12])] {
      guard let pair = item.array, pair.count == 2, let names = pair[0].array, let times = pair[1].int,
        times >= 0, times <= count
      else { throw reader.error(field, "must be a list of [names, how often] for \(count) layers") }
      for _ in 0..<times where types.count <= count { types += names.map { $0.string ?? "" } }
    }
    guard types.count == count else {
      throw reader.error(field, "describes \(types.count) layers, num_layers is \(count)")
    }
    if let unknown = types.first(where: { $0 != "global" && $0 != "local" }) {
      throw reader.error(field, "\"\(unknown)\" is not supported; known: global, local")
    }
    return types
  }
}

/// Maps and norms outside the blocks, as GPT-2 and its relatives call them.
let gptTensors: [ModelSlot: WeightDeclaration] = [
  .tokenEmbedding: .init("wte"), .positionEmbedding: .init("wpe"), .finalNorm: .init("ln_f"),
  .head: .init("lm_head", isPrefixed: false),
]

/// Norms and feed-forward maps of a block, as GPT-2 and its relatives call them.
let gptLayerTensors: [LayerSlot: WeightDeclaration] = [
  .attentionNorm: .init("h.{layer}.ln_1"), .feedForwardNorm: .init("h.{layer}.ln_2"),
  .feedForwardInput: .init("h.{layer}.mlp.c_fc"), .feedForwardOutput: .init("h.{layer}.mlp.c_proj"),
]
