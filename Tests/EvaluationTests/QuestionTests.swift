import Foundation
import Inkstone
import Testing
import _TestSupport

@testable import Evaluation

/// Log-likelihoods of continuations, and what is made of them.
@Suite struct QuestionTests {
  private let model: LanguageModel

  init() throws {
    let folder = FileManager.default.temporaryDirectory.appending(
      path: "inkstone-questions-\(UUID().uuidString)")
    defer { try? FileManager.default.removeItem(at: folder) }
    try ChatModelFolder.write(to: folder.path, from: "\(Fixtures.root)/gpt2-plain")
    model = try LanguageModel.load(from: folder.path, engine: BLASEngine(threadCount: 1))
  }

  private func tokens(_ count: Int, seed: Int) -> [Int] {
    (0..<count).map { ($0 * 37 + $0 * $0 * 11 + seed) % model.decoder.configuration.vocabularySize }
  }

  /// In an order in which texts share much, nothing, or all with the one before.
  @Test func continuationsEqualTheScorer() throws {
    let direct = Scorer(decoder: model.decoder, engine: model.engine)
    let scorer = try ContinuationScorer(decoder: model.decoder, engine: model.engine, capacity: 48)
    let base = tokens(20, seed: 3)
    let requests: [(tokens: [Int], first: Int)] = [
      (base + [5, 6, 7], 20), (base + [5, 9], 20), (base + [5, 9], 1), (base, 19), (tokens(9, seed: 50), 4),
      (Array(base.prefix(2)), 1), (base + tokens(28, seed: 8), 30), (base + tokens(29, seed: 8), 47),
    ]
    for (tokens, first) in requests {
      let score = try scorer.score(tokens, from: first)
      // One token more than the context holds can be scored, after the last of the context.
      let kept = Array(tokens.suffix(49))
      let expected: Double
      if kept.count == 49 {
        let session = try InferenceSession(decoder: model.decoder, engine: model.engine)
        let vocabulary = model.decoder.configuration.vocabularySize
        var logits = [Float](repeating: 0, count: 48 * vocabulary)
        expected = try logits.withUnsafeMutableBufferPointer { buffer in
          let view = MutableMatrixView(buffer.baseAddress!, rows: 48, columns: vocabulary)
          try session.append(Array(kept.dropLast()), logits: view)
          return (first - (tokens.count - 49)..<49).reduce(0.0) {
            $0 + logProbability(of: kept[$1], in: view.readOnly.row($1 - 1), count: vocabulary)
          }
        }
      } else {
        expected = try direct.logProbabilities(of: tokens)[(first - 1)...].reduce(0, +)
      }
      #expect(abs(score.logProbability - expected) < 1e-4, "\(tokens.count) from \(first)")
      #expect(score.tokenCount == tokens.count - first)
    }
    #expect(throws: ScoringError.self) { try scorer.score(tokens(60, seed: 1), from: 5) }
    #expect(throws: DecoderError.self) { try scorer.score([1, 100_000], from: 1) }
  }

  @Test func theGreedyContinuationIsGreedy() throws {
    let scorer = try ContinuationScorer(decoder: model.decoder, engine: model.engine, capacity: 48)
    let session = try InferenceSession(decoder: model.decoder, engine: model.engine)
    var text = tokens(5, seed: 2)
    var next = Array(try session.append(text))
    for _ in 0..<6 {
      text.append(next.indices.max { next[$0] < next[$1] }!)
      next = Array(try session.append([text.last!]))
    }
    #expect(try scorer.score(text, from: 5).isGreedy)
    text[7] = (text[7] + 1) % 101
    #expect(try !scorer.score(text, from: 5).isGreedy)
  }

  /// Every measure by hand, from the scores of whole texts.
  @Test func answersFollowFromLogProbabilities() throws {
    let tokenizer = try #require(model.tokenizer)
    // Choices of different lengths, so that plain and normalised figures part.
    let questions: [(String, [String])] = [
      ("Which is it?", ["a", "bcd efg", "hijklmnop"]), ("", ["once", "upon a"]),
      ("2 + 2 =", ["4", "four", "?1~~~"]),
      ("x ", ["y", "zz"]), ("The end", ["of a story", ".", "is near"]),
    ]
    let direct = Scorer(decoder: model.decoder, engine: model.engine)
    let prefix = TextPrefix.tokens(tokenizer: tokenizer, configuration: model.decoder.configuration)
    #expect(prefix == [72])
    var items: [EvaluationQuestion] = []
    var expected = (plain: 0, perCharacter: 0)
    for (index, (prompt, choices)) in questions.enumerated() {
      let scores = try choices.map { choice -> Double in
        let delimiter = prompt.isEmpty || prompt.hasSuffix(" ") ? "" : " "
        let whole = prefix + (try tokenizer.encode(prompt + delimiter + choice, addSpecialTokens: false))
        // A character is a token, and the space before the choice belongs to it.
        let stripped = prompt.hasSuffix(" ") ? prompt.count - 1 : prompt.count
        return try direct.logProbabilities(of: whole)[stripped...].reduce(0, +)
      }
      let answer = index % choices.count
      items.append(.choice(prompt: prompt, choices: choices, answer: answer))
      if scores.indices.max(by: { scores[$0] < scores[$1] }) == answer { expected.plain += 1 }
      let normal = zip(scores, choices).map { $0 / Double($1.count) }
      if normal.indices.max(by: { normal[$0] < normal[$1] }) == answer { expected.perCharacter += 1 }
    }
    items.append(.cloze(text: "Once upon", target: "a time"))
    items.append(.cloze(text: "one ", target: "two"))
    let evaluator = QuestionEvaluator(decoder: model.decoder, engine: model.engine, tokenizer: tokenizer)
    let results = try #require(try evaluator.answer(items))
    let choices = try #require(results.choices)
    #expect(choices.accuracy.count == 5 && choices.accuracy.correct == expected.plain)
    #expect(choices.perCharacter.correct == expected.perCharacter)
    #expect(choices.perByte == choices.perCharacter)

    func cloze(_ text: String, _ count: Int) throws -> Double {
      try direct.logProbabilities(of: prefix + (try tokenizer.encode(text, addSpecialTokens: false)))
        .suffix(count).reduce(0, +)
    }
    let sum = try cloze("Once upon a time", 7) + cloze("one two", 4)
    let clozes = try #require(results.clozes)
    #expect(abs(clozes.perplexity - exp(-sum / 2)) < 1e-3 * clozes.perplexity)
    #expect(abs(clozes.tokenPerplexity - exp(-sum / 11)) < 1e-3 * clozes.tokenPerplexity)
    #expect(clozes.accuracy.count == 2)
  }

  @Test func delimitersSuitTheScript() throws {
    let tokenizer = try #require(model.tokenizer)
    let automatic = QuestionEvaluator(decoder: model.decoder, engine: model.engine, tokenizer: tokenizer)
    for (prompt, choice, expected) in [
      ("Which?", "this", " "), ("Which? ", "this", ""), ("哪个？", "这个", ""), ("答案：", "A", ""),
      ("Answer:", "是", ""),
      ("", "a", ""), ("a", " b", ""), ("カ", "b", ""), ("éa", "b", " "),
    ] {
      #expect(automatic.delimiter(between: prompt, and: choice) == expected, "\(prompt)|\(choice)")
    }
    let fixed = QuestionEvaluator(
      decoder: model.decoder, engine: model.engine, tokenizer: tokenizer, delimiter: "::")
    #expect(fixed.delimiter(between: "哪个？", and: "这个") == "::")
  }

  @Test func accuracyHasTheErrorOfItsMean() {
    // Ones and zeros 1 1 1 0: mean 3/4, sample variance 1/4, error √(1/16).
    #expect(Accuracy(count: 4, correct: 3).standardError == 0.25)
    #expect(Accuracy(count: 1, correct: 1).standardError == 0)
  }

  /// A document's bits are those of all its tokens, the first included, and documents do not see each other.
  @Test func documentsAreScoredOneByOne() throws {
    let tokenizer = try #require(model.tokenizer)
    let direct = Scorer(decoder: model.decoder, engine: model.engine)
    var evaluator = TextEvaluator(
      decoder: model.decoder, engine: model.engine, tokenizer: tokenizer, window: 48, stride: 47)
    var sum = 0.0
    let documents = ["Once upon a time", "", "x", "there was"]
    for document in documents {
      var document = document
      let isWhole = try document.withUTF8 { try evaluator.add(utf8: $0) }
      #expect(isWhole)
      guard !document.isEmpty else { continue }
      sum -= try direct.logProbabilities(
        of: [72] + (try tokenizer.encode(document, addSpecialTokens: false))
      ).reduce(0, +)
    }
    let results = try evaluator.results()
    #expect(results.documentCount == 3 && results.byteCount == 26 && results.characterCount == 26)
    #expect(results.perplexity.tokenCount == 26)
    #expect(abs(results.perplexity.bitsPerByte - sum / log(2) / 26) < 1e-5)
    #expect(results.bitsPerCharacter == results.perplexity.bitsPerByte)
    let empty = TextEvaluator(decoder: model.decoder, engine: model.engine, tokenizer: tokenizer)
    #expect(throws: ScoringError.self) { try empty.results() }
  }

  @Test func questionsAreReadAndRefused() throws {
    func load(_ text: String) throws -> [EvaluationQuestion] {
      let path = FileManager.default.temporaryDirectory.appending(
        path: "questions-\(UUID().uuidString).jsonl"
      ).path
      defer { try? FileManager.default.removeItem(atPath: path) }
      try Data(text.utf8).write(to: URL(filePath: path))
      return try EvaluationQuestion.load(path)
    }
    #expect(
      try load(
        """
        {"question": "q", "choices": ["a", "b"], "answer": "b", "id": 3}\r

        {"prompt": "p", "choices": ["a", "b"], "answer": 0}
        {"text": "t", "target": "u"}
        """) == [
          .choice(prompt: "q", choices: ["a", "b"], answer: 1),
          .choice(prompt: "p", choices: ["a", "b"], answer: 0), .cloze(text: "t", target: "u"),
        ])
    for (line, word) in [
      ("[]", "object"), ("{\"choices\": [\"a\", \"b\"], \"answer\": 0}", "prompt"),
      ("{\"prompt\": \"p\", \"choices\": [\"a\"], \"answer\": 0}", "two or more"),
      ("{\"prompt\": \"p\", \"choices\": [\"a\", 2], \"answer\": 0}", "texts"),
      ("{\"prompt\": \"p\", \"choices\": [\"a\", \"b\"]}", "answer"),
      ("{\"prompt\": \"p\", \"choices\": [\"a\", \"b\"], \"answer\": 2}", "from 0 to 1"),
      ("{\"prompt\": \"p\", \"choices\": [\"a\", \"b\"], \"answer\": -1}", "from 0 to 1"),
      ("{\"prompt\": 5, \"choices\": [\"a\", \"b\"], \"answer\": 1}", "prompt must be a text"),
      ("{\"text\": \"t\"}", "target"), ("{\"text\": \"t\", \"target\": \"\"}", "empty"), ("{", "line 2"),
    ] {
      do {
        _ = try load("{\"text\": \"t\", \"target\": \"u\"}\n" + line)
        Issue.record("\(line) was accepted")
      } catch {
        #expect("\(error)".contains(word) && "\(error)".contains("line 2"), "\(error)")
      }
    }
    #expect(throws: EvaluationQuestionError.self) { try load("\n\n") }
  }
}
