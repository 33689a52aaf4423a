/// A configuration made definite for one prompt: lengths, strategy, defaults, seed.
public struct DecodingPlan: Sendable {
  /// Tokens of the prompt, P.
  public let promptLength: Int
  /// Tokens of prompt and output at which every sequence ends.
  public let maximumLength: Int
  /// Whether `maximumLength` is where the context ends, short of the length asked for.
  public let endsAtContext: Bool
  /// Whether tokens are drawn at random.
  public let samples: Bool
  /// Beams, B; 1 means greedy decoding or plain sampling.
  public let beamCount: Int
  /// Sequences to return.
  public let sequenceCount: Int
  /// Where the random stream starts; drawn at random when the configuration leaves it open.
  public let seed: UInt64
  /// Tokens that end a sequence; they stay in the token output.
  public let endTokens: [Int]
  /// Texts that end a sequence.
  public let stopStrings: [String]
  /// What the user should hear of, one line each: shortened lengths, unknown fields, settings overruled.
  public let notes: [String]

  /// The token that fills short rows when sequences are laid out as a rectangle, as `generate` returns them.
  ///
  /// With beams, transformers passes over a pad token of 0 in favour of the first end token, and fills with −1
  /// where no end token is known.
  public let fillToken: Int

  let minimumLength: Int
  let configuration: GenerationConfiguration
}

extension GenerationConfiguration {
  /// Settles lengths and defaults for a prompt, and checks that the settings hold together.
  ///
  /// The rules are those of transformers: `max_new_tokens` beats `max_length`, which counts the prompt; with
  /// neither, the output has 20 tokens or what the context holds. `min_new_tokens` beats `min_length`.
  /// A length beyond the context ends at the context, with a note.
  ///
  /// - Parameters:
  ///   - promptLength: tokens of the prompt, P.
  ///   - contextLength: positions that the model can hold.
  ///   - vocabularySize: tokens that the model scores, V.
  ///   - source: the file to name in messages; `nil` names settings as flags.
  /// - Throws: `GenerationError` for the first setting that is out of range, contradicts another, or does not
  ///   fit prompt, context or vocabulary.
  public func plan(
    promptLength: Int, contextLength: Int, vocabularySize: Int, source: String? = nil
  ) throws -> DecodingPlan {
    try validate(source: source)
    guard promptLength > 0 else { throw GenerationError.emptyPrompt }
    guard promptLength < contextLength else {
      throw GenerationError.promptTooLong(
        promptLength: promptLength, limit: contextLength, limitName: "the context length")
    }
    var notes = remarks

    // Lengths.
    var length: Int
    if let maximumNewTokens {
      if let maximumLength {
        notes.append(
          "max_new_tokens = \(maximumNewTokens) takes precedence over max_length = \(maximumLength)")
      }
      let (sum, overflow) = promptLength.addingReportingOverflow(maximumNewTokens)
      length = overflow ? Int.max : sum
    } else if let maximumLength {
      guard promptLength < maximumLength else {
        throw GenerationError.promptTooLong(
          promptLength: promptLength, limit: maximumLength, limitName: "max_length")
      }
      length = maximumLength
    } else {
      length = min(promptLength + 20, contextLength)
    }
    let endsAtContext = length > contextLength
    if endsAtContext {
      notes.append(
        "the context holds \(contextLength) tokens; generation ends there, short of the \(length) asked for")
      length = contextLength
    }
    var minimumLength = self.minimumLength ?? 0
    if let minimumNewTokens {
      minimumLength = promptLength.addingReportingOverflow(minimumNewTokens).partialValue
      if minimumLength < 0 { minimumLength = Int.max }
    }
    if minimumLength > length {
      notes.append("the minimum length \(minimumLength) is beyond the maximum length \(length)")
    }

    // Strategy.
    let beamCount = self.beamCount ?? 1
    let samples = (self.samples ?? false) && temperature != 0
    let sequenceCount = returnedSequenceCount ?? 1
    if sequenceCount > 1, beamCount == 1, !samples {
      throw GenerationError.contradiction(
        "num_return_sequences is \(sequenceCount), but greedy decoding has one result; "
          + "set do_sample or num_beams")
    }
    if beamCount > 1, sequenceCount > beamCount {
      throw GenerationError.contradiction(
        "num_return_sequences (\(sequenceCount)) must not be above num_beams (\(beamCount))")
    }
    if beamCount == 1, let earlyStopping, earlyStopping != .heuristic {
      notes.append("early_stopping has no effect without num_beams above 1")
    }
    let endTokens = self.endTokens ?? []
    if beamCount > 1, max(2, 1 + endTokens.count) > vocabularySize {
      throw GenerationError.contradiction(
        "num_beams with \(endTokens.count) end tokens needs a larger vocabulary than \(vocabularySize)")
    }

    try checkTokens(vocabularySize: vocabularySize, endTokens: endTokens)

    let firstEndToken = endTokens.first
    let fillToken: Int
    if beamCount > 1 {
      fillToken = firstEndToken == nil ? -1 : (padToken == 0 ? nil : padToken) ?? firstEndToken ?? -1
    } else {
      fillToken = padToken ?? firstEndToken ?? -1
    }

    return DecodingPlan(
      promptLength: promptLength, maximumLength: length, endsAtContext: endsAtContext, samples: samples,
      beamCount: beamCount, sequenceCount: sequenceCount,
      seed: seed ?? UInt64.random(in: 0...UInt64(UInt32.max)), endTokens: endTokens,
      stopStrings: stopStrings ?? [], notes: notes, fillToken: fillToken, minimumLength: minimumLength,
      configuration: self)
  }

  /// Tokens whose scores are addressed must exist, and what is forced must not be forbidden.
  private func checkTokens(vocabularySize: Int, endTokens: [Int]) throws {
    func check(_ field: String, _ tokens: [Int]?) throws {
      guard let id = tokens?.first(where: { $0 < 0 || $0 >= vocabularySize }) else { return }
      throw GenerationError.unknownToken(id: id, place: field, vocabularySize: vocabularySize)
    }
    for bias in sequenceBiases ?? [] { try check("sequence_bias", bias.tokens) }
    for word in badWords ?? [] { try check("bad_words_ids", word) }
    try check("forced_bos_token_id", forcedFirstToken.map { [$0] })
    try check("forced_eos_token_id", forcedLastTokens)
    if lengthDecay != nil {
      guard !endTokens.isEmpty else {
        throw GenerationError.contradiction("exponential_decay_length_penalty needs an eos_token_id")
      }
      try check("eos_token_id", endTokens)
    }
    guard let suppressedTokens else { return }
    let forced = [
      ("forced_bos_token_id", forcedFirstToken.map { [$0] } ?? []),
      ("forced_eos_token_id", forcedLastTokens ?? []),
    ]
    for (field, tokens) in forced where !tokens.isEmpty && Set(tokens).isSubset(of: suppressedTokens) {
      throw GenerationError.contradiction(
        "every token of \(field) is also in suppress_tokens; remove it from one")
    }
  }
}
