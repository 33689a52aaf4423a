import Checkpoints
import Foundation
import JSON
import Kernels
import Testing

@testable import Transformer

/// The committed models of every family.
private enum Models {
  static let root = URL(filePath: #filePath).deletingLastPathComponent().appending(
    path: "../Reference/Fixtures"
  ).standardizedFileURL.path

  static let names: [String] = ((try? FileManager.default.contentsOfDirectory(atPath: root)) ?? []).filter {
    FileManager.default.fileExists(atPath: "\(root)/\($0)/config.json")
  }.sorted()

  static func document(_ name: String) throws -> JSONValue {
    try JSONDocument.load("\(root)/\(name)/config.json")
  }
}

/// A document with some fields set, or removed where `nil` stands.
private func changed(_ document: JSONValue, _ changes: [String: JSONValue?]) -> JSONValue {
  var members = (document.object?.members ?? []).filter { changes[$0.key] == nil }
  for (key, value) in changes {
    if let value { members.append(.init(key: key, value: value)) }
  }
  return .object(JSONObject(members))
}

@Suite struct FamilyTests {
  @Test func everyFamilyHasAModelToMeasureAgainst() throws {
    let types = try Set(Models.names.map { try Models.document($0).object?["model_type"]?.string ?? "" })
    #expect(types == Set(ModelDescription.knownModelTypes))
  }

  @Test func anUnknownFamilyIsNamed() throws {
    #expect {
      try ModelDescription(["model_type": "mamba"], path: "config.json")
    } throws: { error in
      "\(error)".contains("config.json") && "\(error)".contains("\"mamba\"") && "\(error)".contains("smollm3")
    }
  }

  // MARK: Unknown fields

  @Test(arguments: Models.names)
  func aSettingThatNobodyKnowsIsRefused(name: String) throws {
    let document = try Models.document(name)
    #expect(try ModelDescription(document, path: "config.json").unknownSettings.isEmpty)
    for value: JSONValue in [0.5, 3, true, [1, 2], ["scale": 2]] {
      let description = try ModelDescription(changed(document, ["query_squeeze": value]), path: "config.json")
      #expect {
        try description.refuseUnknownSettings()
      } throws: { error in
        "\(error)".hasPrefix("config.json: query_squeeze: unknown to ")
      }
    }
    // What is off, empty or a text asks for nothing.
    for value: JSONValue in [.null, false, "squeezed", [], [:]] {
      let description = try ModelDescription(changed(document, ["query_squeeze": value]), path: "config.json")
      #expect(throws: Never.self) { try description.refuseUnknownSettings() }
      #expect(description.unknownFields == ["query_squeeze"])
    }
  }

  @Test func anUnknownSettingKeepsTheModelFromLoading() throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "inkstone-\(UUID().uuidString)").path
    try FileManager.default.copyItem(atPath: "\(Models.root)/granite-multipliers", toPath: folder)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    _ = try Decoder.load(from: folder)
    let document = changed(try Models.document("granite-multipliers"), ["key_multiplier": 2])
    try document.text(.indented).write(toFile: "\(folder)/config.json", atomically: true, encoding: .utf8)
    #expect(throws: ConfigurationError.self) { try Decoder.load(from: folder) }
  }

  // MARK: Spellings

  /// `rope_parameters` and `rope_theta` with `rope_scaling` say the same.
  @Test(arguments: [
    ("llama-llama3-rotary", "rope_theta", "partial_rotary_factor"), ("llama-dynamic", "rope_theta", ""),
    ("llama-yarn", "rope_theta", ""), ("llama-yarn-mscale", "rope_theta", ""),
    ("llama-linear", "rope_theta", ""),
    ("phi-grouped-query-key-norm", "rope_theta", "partial_rotary_factor"),
    ("gpt_neox-sequential-odd-rotary", "rotary_emb_base", "rotary_pct"), ("phi3-longrope", "rope_theta", ""),
    ("cohere-query-key-norm", "rope_theta", ""), ("falcon-multi-query", "rope_theta", ""),
  ])
  func bothSpellingsOfRotarySettingsAreRead(name: String, base: String, fraction: String) throws {
    let document = try Models.document(name)
    let fields = try #require(document.object)
    let expected = try ModelDescription(document, path: "").configuration
    if let new = fields["rope_parameters"]?.object {
      var changes: [String: JSONValue?] = ["rope_parameters": .some(nil)]
      changes[base] = new["rope_theta"]
      if let part = new["partial_rotary_factor"] { changes[fraction] = part }
      let rest = new.members.filter {
        !["rope_theta", "rope_type", "partial_rotary_factor"].contains($0.key)
      }
      for spelling in ["type", "rope_type"] {
        changes["rope_scaling"] = .object(
          JSONObject(rest + [.init(key: spelling, value: new["rope_type"] ?? "default")]))
        #expect(try ModelDescription(changed(document, changes), path: "").configuration == expected)
      }
    } else {
      var members = (fields["rope_scaling"]?.object?.members ?? []).map {
        $0.key == "type" ? .init(key: "rope_type", value: $0.value) : $0
      }
      if let theta = fields[base] { members.append(.init(key: "rope_theta", value: theta)) }
      if let part = fields[fraction] { members.append(.init(key: "partial_rotary_factor", value: part)) }
      let new = changed(
        document,
        [
          "rope_scaling": .some(nil), base: .some(nil), fraction: .some(nil),
          "rope_parameters": .object(JSONObject(members)),
        ])
      #expect(try ModelDescription(new, path: "").configuration == expected)
    }
  }

  @Test func theOlderSpellingWins() throws {
    let document = changed(
      try Models.document("llama-linear"),
      ["rope_parameters": ["rope_type": "default"], "rope_scaling": ["type": "linear", "factor": 9.0]])
    let embeddings = try ModelDescription(document, path: "").configuration.rotaryEmbeddings
    #expect(embeddings.map(\.scaling) == [.linear(factor: 9)])
  }

  /// A share of the head that a family does not know is not heeded, as in transformers.
  @Test func onlySomeFamiliesTurnPartOfAHead() throws {
    func turned(_ name: String, _ field: String) throws -> [Int] {
      let document = changed(try Models.document(name), [field: 0.5])
      return try ModelDescription(document, path: "").configuration.rotaryEmbeddings.map(\.dimension)
    }
    #expect(try turned("llama-dynamic", "partial_rotary_factor") == [8])
    #expect(try turned("phi-plain", "partial_rotary_factor") == [4])
    #expect(try turned("stablelm-query-key-norms", "partial_rotary_factor") == [4])
    #expect(try turned("gpt_neox-parallel", "rotary_pct") == [4])
    #expect(try turned("gpt_neox-parallel", "partial_rotary_factor") == [2])
  }

  @Test func anOddShareIsRoundedUpToPairs() throws {
    let embedding = try #require(
      try ModelDescription(Models.document("gpt_neox-sequential-odd-rotary"), path: "").configuration
        .rotaryEmbeddings.first)
    #expect(embedding.dimension == 6 && embedding.exponentDimension == 5)
    #expect(embedding.inverseFrequencies(sequenceLength: 1).count == 3)
    let none = changed(try Models.document("gpt_neox-parallel"), ["rotary_pct": 0.1])
    #expect(try ModelDescription(none, path: "").configuration.layers.allSatisfy { $0.rotary == nil })
  }

  // MARK: Settings that do not hold together

  static let contradictions: [(model: String, changes: [String: JSONValue?], field: String)] = [
    ("llama-dynamic", ["num_key_value_heads": 2], "num_key_value_heads"),
    ("llama-dynamic", ["head_dim": 7], "head_dim"),
    ("llama-dynamic", ["rope_scaling": ["type": "spiral", "factor": 2]], "rope_scaling.rope_type"),
    ("llama-dynamic", ["rope_scaling": ["type": "linear"]], "rope_scaling.factor"),
    ("llama-dynamic", ["rope_scaling": ["type": "linear", "factor": 0]], "rope_scaling.factor"),
    (
      "llama-dynamic", ["rope_scaling": ["type": "linear", "factor": 2, "mrope_section": [2, 1, 1]]],
      "rope_scaling.mrope_section"
    ),
    ("llama-dynamic", ["hidden_act": "geglu"], "hidden_act"),
    ("llama-dynamic", ["rms_norm_eps": 0], "rms_norm_eps"),
    ("llama-dynamic", ["num_attention_heads": 1_000_000], "num_attention_heads"),
    ("llama-dynamic", ["num_hidden_layers": 1_000_000], "num_hidden_layers"),
    ("llama-dynamic", ["quantization_config": ["bits": 4]], "quantization_config"),
    ("mistral-window", ["sliding_window": 0], "sliding_window"),
    ("qwen3-windows-listed", ["layer_types": ["full_attention"]], "layer_types"),
    (
      "qwen3-windows-listed", ["layer_types": ["full_attention", "chunked_attention", "full_attention"]],
      "layer_types"
    ),
    ("gemma2-caps", ["attn_logit_softcapping": 0], "attn_logit_softcapping"),
    ("gemma2-caps", ["use_bidirectional_attention": true], "use_bidirectional_attention"),
    ("phi-plain", ["partial_rotary_factor": 0.375], "partial_rotary_factor"),
    ("phi3-partial-window", ["mlp_bias": true], "mlp_bias"),
    (
      "phi3-longrope", ["rope_scaling": ["type": "longrope", "short_factor": [1, 1]]],
      "rope_scaling.short_factor"
    ),
    ("stablelm-parallel", ["partial_rotary_factor": 2], "partial_rotary_factor"),
    ("smollm3-every-second-rotary", ["no_rope_layers": [1, 0]], "no_rope_layers"),
    ("granite-multipliers", ["logits_scaling": 0], "logits_scaling"),
    ("starcoder2-window", ["norm_type": "rms_norm"], "norm_type"),
    ("mixtral-two-of-three", ["num_experts_per_tok": 4], "num_experts_per_tok"),
    ("qwen3_moe-dense-layer", ["mlp_only_layers": [-1]], "mlp_only_layers"),
    ("gpt_neo-local-windows", ["attention_types": [[["global"], 1]]], "attention_types"),
    ("gpt_neo-local-windows", ["attention_types": [[["global", "strided"], 1]]], "attention_types"),
    ("gpt_neox-parallel", ["num_attention_heads": 3], "num_attention_heads"),
    ("gptj-interleaved", ["rotary_dim": 3], "rotary_dim"),
    ("gptj-interleaved", ["rotary_dim": 64], "rotary_dim"),
    ("opt-norm-before", ["num_attention_heads": 4], "num_attention_heads"),
    ("bloom-seven-heads", ["slow_but_exact": true, "pretraining_tp": 2], "pretraining_tp"),
    ("falcon-new-two-norms", ["parallel_attn": false], "parallel_attn"),
    ("falcon-multi-query", ["num_ln_in_parallel_attn": 2], "num_ln_in_parallel_attn"),
    ("falcon-new-two-norms", ["num_kv_heads": 4], "num_attention_heads"),
  ]

  @Test(arguments: contradictions.indices)
  func aContradictionNamesItsField(index: Int) throws {
    let (model, changes, field) = Self.contradictions[index]
    let document = changed(try Models.document(model), changes)
    #expect {
      try ModelDescription(document, path: "config.json")
    } throws: { error in
      (error as? ConfigurationError)?.field == field
    }
  }

  /// Whatever a `config.json` holds, it is read or refused, in little time and memory.
  @Test(arguments: Models.names)
  func noConfigurationTraps(name: String) throws {
    let document = try Models.document(name)
    let values: [JSONValue] = [
      .null, true, false, 0, 1, 2, 3, -1, 7, 2_147_483_647, 9_223_372_036_854_775_807, 0.5, -0.5, 1e300,
      1e-300, "",
      "linear", [], [0], [[["local"], 9_000_000]], ["full_attention"], [:],
      ["factor": -1, "rope_type": "yarn"],
      ["rope_type": "dynamic", "factor": 1e300], ["rope_type": "llama3", "factor": 8],
      ["full_attention": ["rope_type": "linear", "factor": 2]],
      ["rope_type": "longrope", "long_factor": [1e300]],
    ]
    var read = 0
    for field in document.object?.members.map(\.key) ?? [] where field != "model_type" {
      for value in values {
        guard let description = try? ModelDescription(changed(document, [field: value]), path: "") else {
          continue
        }
        read += 1
        #expect(description.parameterCounts.total > 0)
        for embedding in description.configuration.rotaryEmbeddings {
          #expect(embedding.inverseFrequencies(sequenceLength: 100).count == embedding.dimension / 2)
        }
      }
    }
    #expect(read > 10)
  }

  // MARK: Frequencies that change with the length

  /// Weights that must be made are refused where they do not fit; those that lie in a file as they are need no memory.
  @Test func weightsBeyondMemoryAreRefused() throws {
    let (description, source) = try openModel("\(Models.root)/llama-llama3-rotary")
    let loader = WeightLoader(
      family: description.family, configuration: description.configuration, source: source)
    let all = try loader.byteCount(.asStored)
    let made = try loader.byteCount(.asStored, countsMapped: false)
    #expect(made > 0 && made < all)
    _ = try loader.load(.asStored, available: made)
    #expect(throws: DecoderError.weightMemory(path: source.path, bytes: made, available: made - 1)) {
      _ = try loader.load(.asStored, available: made - 1)
    }
  }

  /// A session that grows past the original context gives what one that starts beyond it gives.
  @Test func longSequencesAreRecomputed() throws {
    let decoder = try Decoder.load(from: "\(Models.root)/phi3-longrope")
    let tokens = (0..<16).map { $0 * 11 % decoder.configuration.vocabularySize }
    #expect(decoder.configuration.stableLength == 8)
    func whole(_ tokens: [Int]) throws -> [Float] {
      let session = try InferenceSession(decoder: decoder, engine: NaiveEngine())
      return try withExtendedLifetime(session) { Array(try session.append(tokens)) }
    }
    func differ(_ a: [Float], _ b: [Float]) -> Float { zip(a, b).map { abs($0 - $1) }.max() ?? .infinity }

    let session = try InferenceSession(decoder: decoder, engine: NaiveEngine(), maximumRows: 2)
    _ = try session.append(Array(tokens[..<6]))
    for length in 7...10 {
      let scores = Array(try session.step([tokens[length - 1]]))
      #expect(differ(scores, try whole(Array(tokens[..<length]))) < 1e-4, "\(length) tokens")
    }
    #expect(differ(Array(try session.append(Array(tokens[10..<13]))), try whole(Array(tokens[..<13]))) < 1e-4)

    // Rows that differ, and change places, before the step that makes the sequence a long one.
    session.reset()
    _ = try session.append(Array(tokens[..<5]))
    session.select(parents: [0, 0])
    _ = try session.step([1, 2])
    _ = try session.step([3, 4])
    session.select(parents: [1, 0])
    var scores = Array(try session.step([5, 6]))
    scores = Array(try session.step([7, 8]))
    let vocabulary = decoder.configuration.vocabularySize
    let prompt = Array(tokens[..<5])
    #expect(differ(Array(scores[..<vocabulary]), try whole(prompt + [2, 4, 5, 7])) < 1e-4)
    #expect(differ(Array(scores[vocabulary...]), try whole(prompt + [1, 3, 6, 8])) < 1e-4)
    withExtendedLifetime(session) {}
  }

  /// The dynamic kind exists for what lies beyond the trained context.
  @Test func dynamicFrequenciesStretchTheContext() throws {
    let document = try Models.document("llama-dynamic")
    #expect(try ModelDescription(document, path: "").configuration.contextLength == 56)
    let linear = changed(document, ["rope_scaling": ["type": "linear", "factor": 3.5]])
    #expect(try ModelDescription(linear, path: "").configuration.contextLength == 16)
  }
}
