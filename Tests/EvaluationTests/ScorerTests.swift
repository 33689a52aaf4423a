import Foundation
import Inkstone
import Testing

@testable import Evaluation

@Suite struct ScorerTests {
  private let model = try! LanguageModel.load(from: "\(Fixtures.root)/gpt2-plain")

  private func tokens(_ count: Int, seed: Int = 3) -> [Int] {
    (0..<count).map { ($0 * 37 + $0 * $0 * 11 + seed) % model.decoder.configuration.vocabularySize }
  }

  @Test func sumsEqualTheReference() throws {
    // Every prefill case holds transformers' own log-probabilities.
    for name in Fixtures.names {
      let model = try LanguageModel.load(from: "\(Fixtures.root)/\(name)")
      let reference = try Reference.load(from: "\(Fixtures.root)/\(name)/reference")
      let scorer = Scorer(decoder: model.decoder, engine: BLASEngine(threadCount: 2))
      for entry in reference.cases {
        guard let tokens = try entry.tokens("input_ids"), tokens.count > 1,
          let expected = try entry.numbers("token_logprobs"),
          // Beyond that, the angles of some models depend on how many tokens are run at once, and the reference ran one more.
          model.decoder.configuration.rotaryEmbeddings.allSatisfy({ tokens.count <= $0.stableLength ?? .max })
        else { continue }
        let scores = try scorer.logProbabilities(of: tokens)
        let total = expected.compactMap { $0 }.reduce(0, +)
        #expect(abs(scores.reduce(0, +) - total) <= 5e-5 * Double(tokens.count), "\(name), \(entry.name)")
      }
    }
  }

  /// Windows against a direct computation: each token after exactly the tokens that its window gives it.
  @Test(arguments: [
    (90, 48, 24), (90, 48, 47), (90, 20, 7), (30, 48, 24), (49, 48, 1), (2, 48, 24), (100, 2, 1),
  ])
  func everyTokenIsScoredOnceWithTheMostContext(count: Int, window: Int, stride: Int) throws {
    let tokens = tokens(count)
    let scorer = Scorer(decoder: model.decoder, engine: BLASEngine(threadCount: 1))
    var expected: [Double] = []
    for position in 1..<count {
      // The first window that reaches the token.
      var start = 0
      while start + window <= position { start += stride }
      let scores = try scorer.logProbabilities(of: Array(tokens[start...position]))
      expected.append(-scores.last!)
    }
    let result = try #require(
      try scorer.perplexity(of: tokens, byteCount: 500, window: window, stride: stride))
    let mean = expected.reduce(0, +) / Double(expected.count)
    let variance = expected.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(max(expected.count - 1, 1))
    #expect(result.tokenCount == count - 1)
    #expect(abs(result.meanNegativeLogLikelihood - mean) < 1e-5)
    #expect(abs(result.standardError - (variance / Double(expected.count)).squareRoot()) < 1e-5)
    #expect(abs(result.bitsPerByte - mean * Double(expected.count) / log(2) / 500) < 1e-5)
    #expect(abs(result.perplexity - exp(mean)) < 1e-2 * exp(mean))
  }

  @Test func refusesWhatCannotBeScored() throws {
    let scorer = Scorer(decoder: model.decoder, engine: BLASEngine(threadCount: 1))
    #expect(throws: ScoringError.self) { try scorer.logProbabilities(of: [1]) }
    #expect(throws: ScoringError.self) { try scorer.logProbabilities(of: []) }
    #expect(throws: DecoderError.self) { try scorer.logProbabilities(of: [1, 100_000]) }
    #expect(throws: DecoderError.self) { try scorer.logProbabilities(of: tokens(49)) }
    #expect(throws: ScoringError.self) { try scorer.perplexity(of: tokens(60), byteCount: 1, window: 49) }
    #expect(throws: ScoringError.self) { try scorer.perplexity(of: tokens(60), byteCount: 1, window: 1) }
    #expect(throws: ScoringError.self) {
      try scorer.perplexity(of: tokens(60), byteCount: 1, window: 8, stride: 8)
    }
  }

  /// Models side by side against each alone, and the distance against a plain sum over its logits.
  @Test func modelsSideBySide() throws {
    func decoder(_ format: WeightFormat) throws -> Decoder {
      try Decoder.load(from: "\(Fixtures.root)/gpt2-plain", format: format)
    }
    let engine = BLASEngine(threadCount: 2)
    let decoders = try [decoder(.float32), decoder(.packed(.q8_0)), decoder(.float32)]
    let scorers = decoders.map { Scorer(decoder: $0, engine: engine) }
    let tokens = tokens(83)
    let (window, stride) = (40, 17)
    let result = try #require(
      try scorers[0].comparison(
        with: Array(scorers[1...]), of: tokens, byteCount: 300, window: window, stride: stride))
    func alone(_ scorer: Scorer) throws -> Perplexity? {
      try scorer.perplexity(of: tokens, byteCount: 300, window: window, stride: stride)
    }
    #expect(try result.own == alone(scorers[0]))
    #expect(result.others.map(\.perplexity) == [try alone(scorers[1]), try alone(scorers[2])])
    // The same model is nowhere off.
    #expect(result.others[1].distance.meanDivergence < 1e-9)
    #expect(result.others[1].distance.agreement == 1)

    func distribution(_ decoder: Decoder, _ tokens: [Int]) throws -> [Double] {
      let session = try InferenceSession(decoder: decoder, engine: engine)
      let logits = try withExtendedLifetime(session) { try session.append(tokens).map(Double.init) }
      let total = logits.reduce(0) { $0 + exp($1) }
      return logits.map { exp($0) / total }
    }
    var divergence = 0.0
    var agreements = 0
    for position in 1..<tokens.count {
      var start = 0
      while start + window <= position { start += stride }
      let context = Array(tokens[start..<position])
      let (p, q) = (try distribution(decoders[0], context), try distribution(decoders[1], context))
      divergence += zip(p, q).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
      if p.firstIndex(of: p.max()!) == q.firstIndex(of: q.max()!) { agreements += 1 }
    }
    let distance = result.others[0].distance
    let expected = divergence / Double(tokens.count - 1)
    #expect(
      abs(distance.meanDivergence - expected) < 1e-3 * expected + 1e-8, "\(distance) beside \(expected)")
    #expect(distance.agreement == Double(agreements) / Double(tokens.count - 1))
    #expect(
      try scorers[0].comparison(with: [scorers[1]], of: tokens, byteCount: 300, window: 40) { _ in false }
        == nil)
  }
}
