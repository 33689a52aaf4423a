import JSON

extension GenerationConfiguration {
  /// Reads a `generation_config.json`, or a configuration file in the same format.
  ///
  /// `null` leaves a field open. Fields without effect on the output are accepted; a field this engine does not
  /// know is passed over with a remark; one that would change the output and is not implemented is an error
  /// unless its value is neutral.
  ///
  /// - Parameters:
  ///   - json: the document, an object.
  ///   - source: the name of the file, for messages.
  /// - Throws: `GenerationError` that names file and field.
  public init(json: JSONValue, source: String) throws {
    try self.init(json: json, source: source, remarksUnknownFields: true)
  }

  /// Reads what a model's own files say about generating, by the rule of transformers' `from_pretrained`.
  ///
  /// Where a `generation_config.json` exists it alone counts, even for the special tokens; otherwise the fields
  /// of the same names in `config.json` do.
  ///
  /// - Parameters:
  ///   - generationConfiguration: the contents of `generation_config.json`, if there is one.
  ///   - modelConfiguration: the contents of `config.json`.
  /// - Throws: `GenerationError` that names file and field.
  public init(generationConfiguration: JSONValue?, modelConfiguration: JSONValue) throws {
    if let generationConfiguration {
      try self.init(json: generationConfiguration, source: "generation_config.json")
    } else {
      // Most of config.json is about the model: what is unknown here is none of our business.
      try self.init(json: modelConfiguration, source: "config.json", remarksUnknownFields: false)
    }
  }

  private init(json: JSONValue, source: String, remarksUnknownFields: Bool) throws {
    guard case .object(let object) = json else {
      throw GenerationError.invalidSetting(name: source, requirement: "an object", found: json.kind)
    }
    self.init()
    var fields = FieldReader(object: object, source: source)

    maximumLength = try fields.integer("max_length")
    maximumNewTokens = try fields.integer("max_new_tokens")
    minimumLength = try fields.integer("min_length")
    minimumNewTokens = try fields.integer("min_new_tokens")
    maximumTime = try fields.number("max_time")
    stopStrings = try fields.value("stop_strings", "a string or a list of strings") { value in
      value.string.map { [$0] } ?? FieldReader.list(value, \.string)
    }
    ignoresEndTokens = try fields.boolean("ignore_eos")

    samples = try fields.boolean("do_sample")
    beamCount = try fields.integer("num_beams")
    earlyStopping = try fields.value("early_stopping", "true, false or \"never\"") { value in
      switch value {
      case .bool(true): .whenFull
      case .bool(false): .heuristic
      case .string("never"): .never
      default: nil
      }
    }
    lengthPenalty = try fields.number("length_penalty")
    returnedSequenceCount = try fields.integer("num_return_sequences")
    seed = try fields.value("seed", "an integer of 0 or more") { $0.int.flatMap { UInt64(exactly: $0) } }

    temperature = try fields.number("temperature")
    topK = try fields.integer("top_k")
    topP = try fields.number("top_p")
    minimumP = try fields.number("min_p")
    topH = try fields.number("top_h")
    typicalP = try fields.number("typical_p")
    epsilonCutoff = try fields.number("epsilon_cutoff")
    etaCutoff = try fields.number("eta_cutoff")
    samplerOrder = try fields.value("sampler_order", "\"transformers\" or \"llama.cpp\"") {
      $0.string.flatMap(SamplerOrder.init(rawValue:))
    }

    repetitionPenalty = try fields.number("repetition_penalty")
    repetitionPenaltyWindow = try fields.integer("repetition_penalty_window")
    promptRepetitionPenalty = try fields.number("encoder_repetition_penalty")
    noRepeatNGramSize = try fields.integer("no_repeat_ngram_size")
    promptNoRepeatNGramSize = try fields.integer("encoder_no_repeat_ngram_size")
    badWords = try fields.value("bad_words_ids", "a list of lists of token ids") { value in
      FieldReader.list(value) { FieldReader.list($0, \.int) }
    }
    sequenceBiases = try fields.value("sequence_bias", "a list of [[token ids], bias]") { value in
      FieldReader.list(value) { pair in
        guard let pair = pair.array, pair.count == 2, let tokens = FieldReader.list(pair[0], \.int),
          let bias = pair[1].double
        else { return nil }
        return SequenceBias(tokens: tokens, bias: Float(bias))
      }
    }
    forcedFirstToken = try fields.integer("forced_bos_token_id")
    forcedLastTokens = try fields.tokens("forced_eos_token_id")
    lengthDecay = try fields.value("exponential_decay_length_penalty", "[start, factor]") { value in
      guard let pair = value.array, pair.count == 2, let start = pair[0].int, let factor = pair[1].double
      else { return nil }
      return LengthDecay(start: start, factor: factor)
    }
    suppressedTokens = try fields.tokenList("suppress_tokens")
    suppressedFirstTokens = try fields.tokenList("begin_suppress_tokens")
    renormalizesScores = try fields.boolean("renormalize_logits")
    removesInvalidValues = try fields.boolean("remove_invalid_values")

    endTokens = try fields.tokens("eos_token_id")
    beginToken = try fields.integer("bos_token_id")
    padToken = try fields.integer("pad_token_id")

    try fields.requireNeutral()
    if remarksUnknownFields {
      remarks = fields.unknown.map { "\(source): the field \($0) is not known; ignored" }
    }
    try validate(source: source)
  }
}

/// Takes the fields of one object apart, remembering which it has met.
private struct FieldReader {
  let object: JSONObject
  let source: String
  private var met: Set<String> = []

  init(object: JSONObject, source: String) {
    self.object = object
    self.source = source
  }

  /// Fields that steer caches, compilation, what Python returns, or modes that need a second model.
  private static let withoutEffect: Set<String> = [
    "use_cache", "cache_implementation", "cache_config", "max_cache_len", "return_legacy_cache",
    "prefill_chunk_size", "output_attentions", "output_hidden_states", "output_scores", "output_logits",
    "return_dict_in_generate", "_from_model_config", "_commit_hash", "_original_object_hash",
    "transformers_version", "compile_config", "disable_compile", "continuous_batching_config",
    "decoder_start_token_id", "num_assistant_tokens", "num_assistant_tokens_schedule",
    "assistant_confidence_threshold", "max_matching_ngram_size", "assistant_lookbehind", "target_lookbehind",
    "assistant_ensemble_weight", "speculation_type",
  ]

  /// Fields that change the output in ways not implemented, each with the value that switches it off.
  private static let unimplemented: [(name: String, neutral: JSONValue)] = [
    ("penalty_alpha", 0), ("num_beam_groups", 1), ("diversity_penalty", 0), ("constraints", nil),
    ("force_words_ids", nil), ("dola_layers", nil), ("guidance_scale", 1), ("watermarking_config", nil),
    ("prompt_lookup_num_tokens", nil), ("assistant_early_exit", nil), ("use_mtp", false),
    ("token_healing", false), ("low_memory", false), ("is_assistant", false),
  ]

  /// The field's value by `read`; `nil` where it is absent or null.
  mutating func value<Value>(
    _ name: String, _ requirement: String, _ read: (JSONValue) -> Value?
  ) throws -> Value? {
    met.insert(name)
    guard let json = object[name], !json.isNull else { return nil }
    guard let value = read(json) else {
      throw GenerationError.invalidSetting(
        name: "\(source): \(name)", requirement: requirement, found: FieldReader.brief(json))
    }
    return value
  }

  mutating func integer(_ name: String) throws -> Int? { try value(name, "an integer", \.int) }

  mutating func number(_ name: String) throws -> Double? { try value(name, "a number", \.double) }

  mutating func boolean(_ name: String) throws -> Bool? { try value(name, "true or false", \.bool) }

  mutating func tokens(_ name: String) throws -> [Int]? {
    try value(name, "a token id or a list of them") { json in
      json.int.map { [$0] } ?? FieldReader.list(json, \.int)
    }
  }

  mutating func tokenList(_ name: String) throws -> [Int]? {
    try value(name, "a list of token ids") { FieldReader.list($0, \.int) }
  }

  static func list<Element>(_ json: JSONValue, _ element: (JSONValue) -> Element?) -> [Element]? {
    guard let array = json.array else { return nil }
    let elements = array.compactMap(element)
    return elements.count == array.count ? elements : nil
  }

  func requireNeutral() throws {
    for (name, neutral) in FieldReader.unimplemented {
      guard let json = object[name], !json.isNull, json != neutral else { continue }
      if let number = json.double, number == neutral.double { continue }
      throw GenerationError.unsupportedSetting(
        name: "\(source): \(name)", found: FieldReader.brief(json), neutral: neutral.text())
    }
  }

  var unknown: [String] {
    let known = met.union(FieldReader.withoutEffect).union(FieldReader.unimplemented.map(\.name))
    return object.members.map(\.key).filter { !known.contains($0) }
  }

  private static func brief(_ json: JSONValue) -> String {
    let text = json.text()
    return text.count > 60 ? "\(text.prefix(60))…" : text
  }
}
