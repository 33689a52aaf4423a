import JSON
import Testing

@testable import Generation

@Suite("Configuration")
struct ConfigurationTests {
  /// One value other than the default for every field.
  private static let full: JSONValue = [
    "max_length": 90, "max_new_tokens": 30, "min_length": 3, "min_new_tokens": 2, "max_time": 1.5,
    "stop_strings": ["a", "b"], "ignore_eos": true, "do_sample": true, "num_beams": 4,
    "early_stopping": "never",
    "length_penalty": 0.5, "num_return_sequences": 2, "seed": 7, "temperature": 0.7, "top_k": 20,
    "top_p": 0.9,
    "min_p": 0.1, "top_h": 0.4, "typical_p": 0.8, "epsilon_cutoff": 0.01, "eta_cutoff": 0.02,
    "sampler_order": "llama.cpp", "repetition_penalty": 1.1, "repetition_penalty_window": 64,
    "encoder_repetition_penalty": 1.2, "no_repeat_ngram_size": 3, "encoder_no_repeat_ngram_size": 2,
    "bad_words_ids": [[1], [2, 3]], "sequence_bias": [[[4, 5], -1.5]], "forced_bos_token_id": 6,
    "forced_eos_token_id": 7, "exponential_decay_length_penalty": [5, 1.2], "suppress_tokens": [8],
    "begin_suppress_tokens": [9], "renormalize_logits": true, "remove_invalid_values": true,
    "eos_token_id": [10, 11], "bos_token_id": 12, "pad_token_id": 13,
  ]

  @Test("every field is read, and every field merges")
  func fields() throws {
    let configuration = try GenerationConfiguration(ConfigurationTests.full)
    for child in Mirror(reflecting: configuration).children where child.label != "remarks" {
      #expect("\(child.value)" != "nil", "\(child.label ?? "") is not read")
    }
    #expect(configuration.earlyStopping == .never)
    #expect(configuration.forcedLastTokens == [7])
    #expect(configuration.endTokens == [10, 11])
    #expect(configuration.sequenceBiases == [.init(tokens: [4, 5], bias: -1.5)])
    #expect(configuration.lengthDecay == .init(start: 5, factor: 1.2))

    #expect(GenerationConfiguration().merged(over: configuration) == configuration)
    #expect(configuration.merged(over: GenerationConfiguration()) == configuration)
    var flags = GenerationConfiguration()
    flags.topK = 1
    flags.endTokens = []
    let merged = flags.merged(over: configuration)
    #expect(merged.topK == 1 && merged.endTokens == [] && merged.topP == 0.9)
  }

  @Test("null leaves a field open; unknown fields are remarked on, harmless ones accepted")
  func leniency() throws {
    let configuration = try GenerationConfiguration([
      "top_k": nil, "transformers_version": "4.1", "use_cache": true, "num_beam_groups": 1,
      "guidance_scale": 1.0,
      "diversity_penalty": 0.0, "penalty_alpha": nil, "chat_format": "chatml", "output_scores": false,
    ])
    #expect(configuration.topK == nil)
    #expect(configuration.remarks == ["test: the field chat_format is not known; ignored"])
  }

  @Test("a model's files: one or the other")
  func modelFiles() throws {
    let config: JSONValue = ["eos_token_id": 5, "max_length": 33, "n_embd": 8, "model_type": "gpt2"]
    let alone = try GenerationConfiguration(generationConfiguration: nil, modelConfiguration: config)
    #expect(alone.endTokens == [5] && alone.maximumLength == 33 && alone.remarks.isEmpty)
    let both = try GenerationConfiguration(
      generationConfiguration: ["bos_token_id": 1], modelConfiguration: config)
    #expect(both.endTokens == nil && both.beginToken == 1)
  }

  @Test(
    "a wrong value names file and field",
    arguments: [
      ("max_new_tokens", 0, "test: max_new_tokens must be 1 or more, but is 0"),
      ("max_new_tokens", "9", "test: max_new_tokens must be an integer, but is \"9\""),
      ("temperature", -0.5, "test: temperature must be 0 (greedy) or a positive number, but is -0.5"),
      ("top_p", 1.5, "test: top_p must be between 0 and 1, but is 1.5"),
      ("top_k", 2.5, "test: top_k must be an integer, but is 2.5"),
      ("early_stopping", "maybe", "test: early_stopping must be true, false or \"never\", but is \"maybe\""),
      ("do_sample", 1, "test: do_sample must be true or false, but is 1"),
      (
        "eos_token_id", [1, "x"], "test: eos_token_id must be a token id or a list of them, but is [1, \"x\"]"
      ),
      ("stop_strings", [""], "test: stop_strings must be texts that are not empty, but is [\"\"]"),
      ("bad_words_ids", [[-1]], "test: bad_words_ids must be a token id (0 or more), but is -1"),
      (
        "penalty_alpha", 0.6,
        "test: penalty_alpha is 0.6, which is not implemented and would change the output; "
          + "remove it or set it to 0"
      ),
      (
        "dola_layers", "high",
        "test: dola_layers is \"high\", which is not implemented and would change the output; "
          + "remove it or set it to null"
      ),
    ] as [(String, JSONValue, String)])
  func wrongValues(field: String, value: JSONValue, message: String) {
    let json = JSONValue.object(JSONObject([.init(key: field, value: value)]))
    let error = #expect(throws: GenerationError.self) { try GenerationConfiguration(json) }
    #expect(error?.description == message)
  }

  @Test("every range is checked, from files and from flags")
  func ranges() throws {
    let wrong: [(String, JSONValue)] = [
      ("max_length", 0), ("min_length", -1), ("min_new_tokens", -1), ("max_time", -1), ("num_beams", 0),
      ("num_beams", 100_000), ("num_return_sequences", 0), ("top_k", -1), ("min_p", 2), ("top_h", 0),
      ("typical_p", 0), ("epsilon_cutoff", -0.1), ("eta_cutoff", 1.1), ("repetition_penalty", 0),
      ("repetition_penalty_window", -2), ("encoder_repetition_penalty", -1), ("no_repeat_ngram_size", -1),
      ("encoder_no_repeat_ngram_size", -1), ("sequence_bias", [[[], 1]]), ("forced_bos_token_id", -1),
      ("forced_eos_token_id", [-1]), ("exponential_decay_length_penalty", [-9_223_372_036_854_775_808, 2]),
      ("suppress_tokens", [-3]),
      ("begin_suppress_tokens", [-3]), ("seed", -1), ("num_beam_groups", 2), ("guidance_scale", 2),
    ]
    for (field, value) in wrong {
      let json = JSONValue.object(JSONObject([.init(key: field, value: value)]))
      let error = #expect(throws: GenerationError.self, "\(field)") { try GenerationConfiguration(json) }
      #expect(error?.description.contains("test: \(field)") == true, "\(field)")
    }
    #expect(throws: GenerationError.self) { try GenerationConfiguration([1, 2]) }
    var flags = GenerationConfiguration()
    flags.topP = -1
    let error = #expect(throws: GenerationError.self) {
      try flags.plan(promptLength: 1, contextLength: 10, vocabularySize: 10)
    }
    #expect(error?.description == "--top-p must be between 0 and 1, but is -1.0")
  }

  private static func plan(
    _ settings: JSONValue, promptLength: Int = 5, contextLength: Int = 100, vocabularySize: Int = 50
  ) throws -> DecodingPlan {
    try GenerationConfiguration(settings)
      .plan(promptLength: promptLength, contextLength: contextLength, vocabularySize: vocabularySize)
  }

  @Test("lengths")
  func lengths() throws {
    #expect(try ConfigurationTests.plan([:]).maximumLength == 25)
    #expect(try ConfigurationTests.plan([:], contextLength: 12).maximumLength == 12)
    #expect(try ConfigurationTests.plan([:], contextLength: 12).notes.isEmpty)
    #expect(try ConfigurationTests.plan(["max_length": 50]).maximumLength == 50)
    let both = try ConfigurationTests.plan(["max_length": 50, "max_new_tokens": 3])
    #expect(both.maximumLength == 8 && both.notes.count == 1)
    let long = try ConfigurationTests.plan(["max_new_tokens": 9_223_372_036_854_775_807])
    #expect(long.maximumLength == 100 && long.endsAtContext && long.notes.count == 1)
    #expect(try ConfigurationTests.plan(["min_new_tokens": 4, "min_length": 90]).minimumLength == 9)
    #expect(try ConfigurationTests.plan(["min_length": 90]).notes.count == 1)
    #expect(throws: GenerationError.promptTooLong(promptLength: 5, limit: 5, limitName: "max_length")) {
      try ConfigurationTests.plan(["max_length": 5])
    }
    #expect(throws: GenerationError.promptTooLong(promptLength: 5, limit: 5, limitName: "the context length"))
    {
      try ConfigurationTests.plan(["max_new_tokens": 5], contextLength: 5)
    }
    #expect(throws: GenerationError.emptyPrompt) { try ConfigurationTests.plan([:], promptLength: 0) }
  }

  @Test(
    "contradictions",
    arguments: [
      ["num_return_sequences": 2], ["num_return_sequences": 2, "do_sample": true, "temperature": 0],
      ["num_return_sequences": 4, "num_beams": 3], ["exponential_decay_length_penalty": [1, 1.5]],
      ["suppress_tokens": [3, 4], "forced_bos_token_id": 3],
      ["suppress_tokens": [3], "forced_eos_token_id": [3]],
    ] as [JSONValue])
  func contradictions(settings: JSONValue) {
    let error = #expect(throws: GenerationError.self) { try ConfigurationTests.plan(settings) }
    guard case .contradiction = error else {
      Issue.record("\(settings.text()): \(String(describing: error))")
      return
    }
  }

  @Test("tokens that are addressed must exist; end tokens need not")
  func tokenRanges() throws {
    for settings: JSONValue in [
      ["sequence_bias": [[[1, 50], 1.0]]], ["bad_words_ids": [[50]]], ["forced_bos_token_id": 50],
      ["forced_eos_token_id": 50], ["exponential_decay_length_penalty": [1, 1.5], "eos_token_id": 50],
    ] {
      let error = #expect(throws: GenerationError.self) { try ConfigurationTests.plan(settings) }
      #expect(error?.description.contains("token id 50, but the model has tokens 0 to 49") == true)
    }
    for settings: JSONValue in [["eos_token_id": 50256], ["eos_token_id": -1], ["suppress_tokens": [99]]] {
      #expect(try ConfigurationTests.plan(settings).maximumLength == 25)
    }
  }

  @Test("the fill token")
  func fillToken() throws {
    #expect(try ConfigurationTests.plan(["pad_token_id": 4, "eos_token_id": 3]).fillToken == 4)
    #expect(try ConfigurationTests.plan(["pad_token_id": 0, "eos_token_id": 3]).fillToken == 0)
    #expect(try ConfigurationTests.plan(["eos_token_id": [3, 5]]).fillToken == 3)
    #expect(
      try ConfigurationTests.plan(["num_beams": 2, "pad_token_id": 4, "eos_token_id": 3]).fillToken == 4)
    #expect(
      try ConfigurationTests.plan(["num_beams": 2, "pad_token_id": 0, "eos_token_id": 3]).fillToken == 3)
    #expect(try ConfigurationTests.plan(["num_beams": 2, "pad_token_id": 4]).fillToken == -1)
  }
}
