import Generation
import JSON
import Kernels
import Tokenizers
import Training
import Transformer

/// Replays the cases of a reference on a model and compares.
public struct Verifier {
  let decoder: Decoder
  let tokenizer: Tokenizer?
  let generationConfiguration: GenerationConfiguration
  let engine: any ComputeEngine
  private let reference: Reference
  private let folder: String?

  /// Prepares a replay.
  ///
  /// - Parameters:
  ///   - generationConfiguration: the model's own settings, which a case's settings go over.
  ///   - folder: the model's folder, from which gradients are computed; without it, their cases are skipped.
  public init(
    reference: Reference, decoder: Decoder, tokenizer: Tokenizer?,
    generationConfiguration: GenerationConfiguration, engine: any ComputeEngine, folder: String? = nil
  ) {
    self.folder = folder
    self.reference = reference
    self.decoder = decoder
    self.tokenizer = tokenizer
    self.generationConfiguration = generationConfiguration
    self.engine = engine
  }

  /// Replays every case.
  ///
  /// - Parameter onCheck: receives each comparison as soon as it is made.
  /// - Throws: `ReferenceError` when the reference cannot be read; a deviation is not an error.
  public func run(onCheck: (VerificationCheck) -> Void = { _ in }) throws -> VerificationReport {
    var checks: [VerificationCheck] = []
    for entry in reference.cases {
      let results = try replay(entry)
      results.forEach(onCheck)
      checks += results
    }
    return VerificationReport(checks: checks)
  }

  private func replay(_ entry: Reference.Case) throws -> [VerificationCheck] {
    if let text = try entry.text("text") { return try compareTokens(entry, text: text) }
    if let rows = try entry.rows("input_ids_batch") { return try compareLoss(entry, rows: rows) }
    guard let tokens = try entry.tokens("input_ids") else {
      return [skip(entry, "case", "holds nothing that this version knows how to replay")]
    }
    var checks: [VerificationCheck] = []
    if let name = try entry.text("logits") {
      checks += try compareLogits(entry, tokens: tokens, tensor: name)
    }
    if let expected = try entry.numbers("token_logprobs") {
      checks.append(try compareLogProbabilities(entry, tokens: tokens, expected: expected))
    }
    if let names = try entry.texts("hidden_states") {
      checks += try compareHiddenStates(entry, tokens: tokens, tensors: names)
    }
    if let rows = try entry.rows("output_ids") {
      checks += try compareOutput(entry, tokens: tokens, rows: rows)
    }
    if let name = try entry.text("processed_scores") {
      checks.append(try compareProcessedScores(entry, tokens: tokens, tensor: name))
    }
    return checks.isEmpty
      ? [skip(entry, "case", "holds nothing that this version knows how to replay")] : checks
  }

  // MARK: Numbers

  /// Logits in one prefill, token by token through the cache, and in uneven chunks.
  private func compareLogits(
    _ entry: Reference.Case, tokens: [Int], tensor: String
  ) throws -> [VerificationCheck] {
    let vocabulary = decoder.configuration.vocabularySize
    let expected = try reference.floats(tensor, shape: [tokens.count, vocabulary], of: entry)
    let ways: [(String, [Int])] = [
      ("logits", [tokens.count]),
      ("logits, through the cache", [Int](repeating: 1, count: tokens.count)),
      ("logits, in uneven chunks", Verifier.unevenChunks(of: tokens.count)),
    ]
    return try ways.map { subject, chunks in
      if let limit = decoder.configuration.stableLength, tokens.count > limit, chunks.count > 1 {
        return skip(
          entry, subject,
          "beyond \(limit) positions this model's angles change with the length of what is run at once")
      }
      return try attempt(entry, subject) {
        let logits = try self.logits(tokens, chunks: chunks)
        var comparison = Comparison(.logits)
        logits.withUnsafeBufferPointer { comparison.compare($0, with: expected) }
        let distance = DistributionDistance(logits, reference: expected, vocabularySize: vocabulary)
        return check(entry, subject, comparison, distance) {
          "position \($0 / vocabulary), token \($0 % vocabulary): \(logits[$0]) instead of \(expected[$0])"
        }
      }
    }
  }

  /// log p(x_t | x_<t) in Double over the engine's logits.
  private func compareLogProbabilities(
    _ entry: Reference.Case, tokens: [Int], expected: [Double?]
  ) throws -> VerificationCheck {
    let subject = "token log-probabilities"
    guard expected.count == tokens.count else {
      throw entry.fault("token_logprobs", "has \(expected.count) entries for \(tokens.count) tokens")
    }
    return try attempt(entry, subject) {
      let vocabulary = decoder.configuration.vocabularySize
      let logits = try self.logits(tokens, chunks: [tokens.count])
      var comparison = Comparison(.logProbability)
      logits.withUnsafeBufferPointer { logits in
        for (index, value) in expected.enumerated() where index > 0 {
          guard let value else { continue }
          let row = logits.baseAddress! + (index - 1) * vocabulary
          comparison.compare(
            logProbability(of: tokens[index], in: row, count: vocabulary), with: value, at: index)
        }
      }
      return check(entry, subject, comparison) { "position \($0)" }
    }
  }

  /// The embeddings and every block's output, the last one after the final norm.
  private func compareHiddenStates(
    _ entry: Reference.Case, tokens: [Int], tensors: [String]
  ) throws -> [VerificationCheck] {
    let configuration = decoder.configuration
    guard tensors.count == configuration.layerCount + 1 else {
      throw entry.fault(
        "hidden_states", "has \(tensors.count) tensors, this model gives \(configuration.layerCount + 1)")
    }
    var states: [[Float]] = []
    let outcome = try attempt(entry, "hidden states") {
      states = try hiddenStates(of: tokens, decoder: decoder, engine: engine)
      return VerificationCheck(caseName: entry.name, subject: "hidden states", verdict: .passed)
    }
    guard outcome.verdict == .passed else { return [outcome] }
    return try tensors.enumerated().map { index, name in
      let width = states[index].count / tokens.count
      let expected = try reference.floats(name, shape: [tokens.count, width], of: entry)
      var comparison = Comparison(.logits)
      states[index].withUnsafeBufferPointer { comparison.compare($0, with: expected) }
      return check(entry, "hidden state \(index)", comparison) {
        "position \($0 / width), channel \($0 % width)"
      }
    }
  }

  /// (T, V) logits of tokens fed in chunks of the given sizes.
  private func logits(_ tokens: [Int], chunks: [Int]) throws -> [Float] {
    let vocabulary = decoder.configuration.vocabularySize
    let session = try InferenceSession(
      decoder: decoder, engine: engine, capacity: max(tokens.count, 1), chunkSize: max(chunks.max() ?? 1, 1))
    var logits = [Float](repeating: 0, count: tokens.count * vocabulary)
    try logits.withUnsafeMutableBufferPointer { buffer in
      var start = 0
      for count in chunks {
        let view = MutableMatrixView(
          buffer.baseAddress! + start * vocabulary, rows: count, columns: vocabulary)
        try session.append(Array(tokens[start..<start + count]), logits: view)
        start += count
      }
    }
    return logits
  }

  /// 1, 3, 3, 5, 5, 7, … as far as they go.
  static func unevenChunks(of count: Int) -> [Int] {
    var chunks: [Int] = []
    var rest = count
    var index = 0
    while rest > 0 {
      let size = min(index.isMultiple(of: 2) ? index + 1 : index + 2, rest)
      chunks.append(size)
      rest -= size
      index += 1
    }
    return chunks
  }

  // MARK: Training

  /// The loss of a batch, and the gradient of every tensor that the case names.
  private func compareLoss(_ entry: Reference.Case, rows: [[Int]]) throws -> [VerificationCheck] {
    guard decoder.configuration.experts == nil else {
      return [skip(entry, "loss", "gradients of mixtures of experts are not computed")]
    }
    guard let folder else { return [skip(entry, "loss", "the model's folder is not known")] }
    guard let expected = try entry.number("loss"), rows.allSatisfy({ $0.count > 1 }), !rows.isEmpty else {
      throw entry.fault("loss", "needs a number and rows of at least two tokens")
    }
    var gradients: LossGradients?
    let loss = try attempt(entry, "loss") {
      let result = try LossGradients(folder: folder, sequences: rows)
      gradients = result
      var comparison = Comparison(.loss)
      comparison.compare(result.loss, with: expected, at: 0)
      return check(entry, "loss", comparison) { _ in "\(result.loss) instead of \(expected)" }
    }
    guard let gradients else { return [loss] }
    return try [loss]
      + (entry.fields["gradients"]?.object?.members ?? []).map { member in
        let (name, value) = (member.key, member.value)
        guard let tensor = value.string else { throw entry.fault("gradients", "\(name) names no tensor") }
        return try attempt(entry, "gradient of \(name)") {
          guard let shape = gradients.shape(of: name) else {
            return failure(entry, "gradient of \(name)", "the model has no such tensor")
          }
          let expected = try reference.floats(tensor, shape: shape, of: entry)
          var comparison = Comparison(.gradient(largest: expected.reduce(0) { max($0, abs($1)) }))
          gradients.gradient(of: name).withUnsafeBufferPointer { comparison.compare($0, with: expected) }
          return check(entry, "gradient of \(name)", comparison) { "element \($0)" }
        }
      }
  }

  // MARK: Tokens

  private func compareTokens(_ entry: Reference.Case, text: String) throws -> [VerificationCheck] {
    guard let tokenizer else { return [skip(entry, "token ids", "the model has no tokenizer")] }
    var checks: [VerificationCheck] = []
    let ids = try entry.tokens("ids") ?? []
    if entry.fields["ids"] != nil {
      checks.append(
        try attempt(entry, "token ids") {
          let special = entry.fields["add_special_tokens"]?.bool ?? true
          return equality(entry, "token ids", try tokenizer.encode(text, addSpecialTokens: special), ids)
        })
    }
    if let decoded = try entry.text("decoded") {
      let skips = entry.fields["skip_special_tokens"]?.bool ?? false
      let result = tokenizer.decode(ids, skipSpecialTokens: skips)
      // Scalars, not characters: canonically equivalent texts are different bytes.
      checks.append(
        equality(
          entry, "decoded text", result.unicodeScalars.map { Int($0.value) },
          decoded.unicodeScalars.map { Int($0.value) }))
    }
    return checks
  }

  /// Settings that the engine refuses: the case fails, the others go on.
  private struct RefusedSettings: Error {
    let check: VerificationCheck
  }

  private func configuration(
    of entry: Reference.Case, subject: String
  ) -> Result<GenerationConfiguration, RefusedSettings> {
    guard let settings = entry.fields["generation_config"] else { return .success(generationConfiguration) }
    do {
      return .success(
        try GenerationConfiguration(json: settings, source: "generation_config").merged(
          over: generationConfiguration))
    } catch {
      return .failure(RefusedSettings(check: failure(entry, subject, "\(error)")))
    }
  }

  private func compareOutput(
    _ entry: Reference.Case, tokens: [Int], rows: [[Int]]
  ) throws -> [VerificationCheck] {
    let settings: GenerationConfiguration
    switch configuration(of: entry, subject: "tokens") {
    case .success(let value): settings = value
    case .failure(let refused): return [refused.check]
    }
    if settings.samples == true {
      return [skip(entry, "tokens", "sampling cannot repeat another implementation's random draws")]
    }
    let scores = try entry.numbers("sequences_scores")
    var checks: [VerificationCheck] = []
    let first = try attempt(entry, "tokens") {
      let plan = try settings.plan(
        promptLength: tokens.count, contextLength: decoder.configuration.contextLength,
        vocabularySize: decoder.configuration.vocabularySize, source: entry.path)
      let session = try InferenceSession(
        decoder: decoder, engine: engine, capacity: plan.maximumLength, maximumRows: plan.beamCount)
      let result = try generate(prompt: tokens, plan: plan, session: session)
      let output = result.filledRows(prompt: tokens, plan: plan)
      if let scores, scores.count == result.sequences.count {
        var comparison = Comparison(.sequenceScore)
        for (index, pair) in zip(result.sequences, scores).enumerated() {
          comparison.compare(Double(pair.0.score ?? .nan), with: pair.1 ?? .nan, at: index)
        }
        checks.append(check(entry, "sequence scores", comparison) { "sequence \($0)" })
      } else if let scores {
        checks.append(
          failure(entry, "sequence scores", "\(result.sequences.count) sequences instead of \(scores.count)"))
      }
      guard output.count == rows.count else {
        return failure(entry, "tokens", "\(output.count) sequences instead of \(rows.count)")
      }
      for (index, pair) in zip(output, rows).enumerated() where pair.0 != pair.1 {
        let place =
          zip(pair.0, pair.1).enumerated().first { $1.0 != $1.1 }?.offset ?? min(pair.0.count, pair.1.count)
        return failure(entry, "tokens", "sequence \(index) differs from position \(place) on")
      }
      return VerificationCheck(caseName: entry.name, subject: "tokens", verdict: .passed)
    }
    return [first] + checks
  }

  private func compareProcessedScores(
    _ entry: Reference.Case, tokens: [Int], tensor: String
  ) throws -> VerificationCheck {
    let settings: GenerationConfiguration
    switch configuration(of: entry, subject: "processed scores") {
    case .success(let value): settings = value
    case .failure(let refused): return refused.check
    }
    let vocabulary = decoder.configuration.vocabularySize
    let expected = try reference.floats(tensor, shape: [vocabulary], of: entry)
    return try attempt(entry, "processed scores") {
      let plan = try settings.plan(
        promptLength: tokens.count, contextLength: decoder.configuration.contextLength,
        vocabularySize: vocabulary, source: entry.path)
      let session = try InferenceSession(decoder: decoder, engine: engine, capacity: tokens.count + 1)
      let scores = try processedScores(prompt: tokens, plan: plan, session: session)
      var comparison = Comparison(.logits)
      scores.withUnsafeBufferPointer { comparison.compare($0, with: expected) }
      return check(entry, "processed scores", comparison) {
        "token \($0): \(scores[$0]) instead of \(expected[$0])"
      }
    }
  }

  // MARK: Results

  /// Runs one comparison; what the engine refuses to do is a failure of the case, not of the verification.
  private func attempt(
    _ entry: Reference.Case, _ subject: String, _ body: () throws -> VerificationCheck
  ) throws -> VerificationCheck {
    do {
      return try body()
    } catch let error as ReferenceError {
      throw error
    } catch {
      return failure(entry, subject, "\(error)")
    }
  }

  private func check(
    _ entry: Reference.Case, _ subject: String, _ comparison: Comparison,
    _ distance: DistributionDistance? = nil,
    place: (Int) -> String
  ) -> VerificationCheck {
    VerificationCheck(
      caseName: entry.name, subject: subject, largestError: comparison.largestError,
      allowed: comparison.allowed,
      distance: distance, verdict: comparison.isWithin ? .passed : .failed(place(comparison.index)))
  }

  private func equality(
    _ entry: Reference.Case, _ subject: String, _ values: [Int], _ expected: [Int]
  ) -> VerificationCheck {
    guard values != expected else {
      return VerificationCheck(caseName: entry.name, subject: subject, verdict: .passed)
    }
    let place =
      zip(values, expected).enumerated().first { $1.0 != $1.1 }?.offset ?? min(values.count, expected.count)
    return failure(
      entry, subject, "differs from position \(place) on (\(values.count) for \(expected.count))")
  }

  private func failure(_ entry: Reference.Case, _ subject: String, _ place: String) -> VerificationCheck {
    VerificationCheck(caseName: entry.name, subject: subject, verdict: .failed(place))
  }

  private func skip(_ entry: Reference.Case, _ subject: String, _ reason: String) -> VerificationCheck {
    VerificationCheck(caseName: entry.name, subject: subject, verdict: .skipped(reason))
  }
}
