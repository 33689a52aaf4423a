import JSON
import Transformer

/// The outline of a model, by a well-known name or in numbers: enough to make one of random weights.
///
/// A shape is a `config.json`, so a family reads it as it reads a model's.
public struct ModelShape: Sendable, Equatable {
  /// The name, such as `gpt2-124m`, or the list of sizes.
  public let name: String
  /// Its `config.json`.
  public let document: JSONValue

  /// The shapes with a name, of families that the engine knows.
  public static var named: [ModelShape] {
    let all = [
      gpt2("gpt2-tiny", layers: 2, heads: 4, channels: 64, vocabulary: 512, context: 1024),
      gpt2("gpt2-124m", layers: 12, heads: 12, channels: 768),
      gpt2("gpt2-355m", layers: 24, heads: 16, channels: 1024),
      gpt2("gpt2-774m", layers: 36, heads: 20, channels: 1280),
      qwen2("qwen2-0.5b", layers: 24, heads: 14, groups: 2, channels: 896, inner: 4864, vocabulary: 151_936),
    ]
    return all.filter { ModelDescription.knownModelTypes.contains($0.document["model_type"]?.string ?? "") }
  }

  /// Finds a shape by its name, or reads a list of sizes.
  ///
  /// - Parameter text: `gpt2-124m`, or `layers=4,heads=4,channels=128,vocabulary=1000,context=1024` with
  ///   `inner` (4 × channels) besides.
  /// - Throws: `BenchmarkError`.
  public init(_ text: String) throws {
    if let known = ModelShape.named.first(where: { $0.name == text }) {
      self = known
      return
    }
    guard text.contains("=") else {
      throw BenchmarkError.unknownShape(name: text, known: ModelShape.named.map(\.name))
    }
    let keys = ["layers", "heads", "channels", "vocabulary", "context", "inner"]
    var sizes: [String: Int] = [:]
    for part in text.split(separator: ",", omittingEmptySubsequences: false) {
      let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map {
        $0.filter { $0 != " " }
      }
      guard pair.count == 2, keys.contains(pair[0]) else {
        throw BenchmarkError.shape(
          text: text, reason: "\"\(part)\" is none of \(keys.map { "\($0)=…" }.joined(separator: ", "))")
      }
      guard let size = Int(pair[1]), (1...Int(Int32.max)).contains(size) else {
        throw BenchmarkError.shape(
          text: text, reason: "\(pair[0]) must be a whole number from 1 to \(Int32.max), is \"\(pair[1])\"")
      }
      guard sizes.updateValue(size, forKey: pair[0]) == nil else {
        throw BenchmarkError.shape(text: text, reason: "\(pair[0]) is given twice; keep one")
      }
    }
    let missing = keys.dropLast().filter { sizes[$0] == nil }
    guard missing.isEmpty else {
      throw BenchmarkError.shape(text: text, reason: "\(missing.joined(separator: ", ")) missing")
    }
    guard sizes["channels"]!.isMultiple(of: sizes["heads"]!) else {
      throw BenchmarkError.shape(
        text: text, reason: "\(sizes["heads"]!) heads do not divide \(sizes["channels"]!) channels")
    }
    self = ModelShape.gpt2(
      text, layers: sizes["layers"]!, heads: sizes["heads"]!, channels: sizes["channels"]!,
      vocabulary: sizes["vocabulary"]!, context: sizes["context"]!, inner: sizes["inner"])
  }

  /// What the family makes of it.
  public func description() throws -> ModelDescription {
    try ModelDescription(document, path: "--shape \(name)")
  }

  private init(name: String, document: JSONValue) {
    self.name = name
    self.document = document
  }

  private static func gpt2(
    _ name: String, layers: Int, heads: Int, channels: Int, vocabulary: Int = 50_257, context: Int = 1024,
    inner: Int? = nil
  ) -> ModelShape {
    let end = JSONValue.integer(vocabulary - 1)
    return ModelShape(
      name: name,
      document: [
        "architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "activation_function": "gelu_new",
        "n_layer": .integer(layers), "n_head": .integer(heads), "n_embd": .integer(channels),
        "n_inner": inner.map { .integer($0) } ?? .null, "n_positions": .integer(context),
        "vocab_size": .integer(vocabulary), "bos_token_id": end, "eos_token_id": end,
      ])
  }

  private static func qwen2(
    _ name: String, layers: Int, heads: Int, groups: Int, channels: Int, inner: Int, vocabulary: Int
  ) -> ModelShape {
    ModelShape(
      name: name,
      document: [
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
        "num_hidden_layers": .integer(layers), "num_attention_heads": .integer(heads),
        "num_key_value_heads": .integer(groups), "hidden_size": .integer(channels),
        "intermediate_size": .integer(inner), "max_position_embeddings": 32_768,
        "vocab_size": .integer(vocabulary), "rms_norm_eps": 1e-6, "rope_theta": 1_000_000,
        "tie_word_embeddings": true, "bos_token_id": 151_643, "eos_token_id": 151_643,
      ])
  }
}
