import JSON
import Testing

@testable import Generation

@Suite("Results of transformers")
struct ReferenceTests {
  @Test("beam search: tokens, fill and scores")
  func beams() throws {
    let fixture = try Fixture("beams.json")
    #expect(fixture.cases.count >= 200)
    for (number, example) in fixture.cases.enumerated() {
      let session = try TableSession(example)
      let prompt = example["prompt"]!.ints
      let configuration = try GenerationConfiguration(example["generation_config"]!)
      let plan = try session.plan(prompt, configuration)
      let result = try generate(prompt: prompt, plan: plan, session: session)
      let comment: Comment = "case \(number): \(example["generation_config"]!.text())"
      #expect(
        result.filledRows(prompt: prompt, plan: plan) == example["sequences"]!.array!.map(\.ints), comment)
      for (sequence, expected) in zip(result.sequences, example["scores"]!.array!) {
        #expect(
          abs(Double(sequence.score!) - expected.double!) <= 1e-5 * max(1, abs(expected.double!)), comment)
        let exact = session.logProbabilities(prompt: prompt, tokens: sequence.tokens)
        #expect(zip(sequence.logProbabilities, exact).allSatisfy { abs(Double($0) - $1) < 1e-5 }, comment)
        #expect(sequence.logProbabilities.count == sequence.tokens.count, comment)
      }
    }
  }

  @Test("greedy decoding with processors")
  func greedy() throws {
    let fixture = try Fixture("tokens.json")
    var steps = 0
    for (number, example) in fixture.cases.enumerated() {
      let session = try TableSession(example)
      let prompt = example["prompt"]!.ints
      let plan = try session.plan(prompt, GenerationConfiguration(example["generation_config"]!))
      let result = try generate(prompt: prompt, plan: plan, session: session)
      let comment: Comment = "case \(number): \(example["generation_config"]!.text())"
      #expect(
        result.filledRows(prompt: prompt, plan: plan) == example["sequences"]!.array!.map(\.ints), comment)
      let tokens = result.sequences[0].tokens
      let exact = session.logProbabilities(prompt: prompt, tokens: tokens)
      #expect(
        zip(result.sequences[0].logProbabilities, exact).allSatisfy { abs(Double($0) - $1) < 1e-5 }, comment)
      steps += tokens.count
    }
    #expect(steps >= 200)
  }

  @Test("stop strings, greedy and with beams")
  func stopStrings() throws {
    // The texts of generate.py's letter_tokens().
    let letters = ["a", "b", "c"]
    let pairs = letters.flatMap { first in letters.map { first + $0 } }
    let texts =
      ["a", "b", "c", "d", "e", "f"] + pairs + letters.flatMap { first in pairs.map { first + $0 } }
    struct TextTable: StreamingTextDecoder {
      let texts: [String]
      mutating func append(_ id: Int) -> String { texts[id] }
      mutating func finish() -> String { "" }
    }
    let fixture = try Fixture("stops.json")
    var stopped = 0
    for (number, example) in fixture.cases.enumerated() {
      let session = try TableSession(example)
      let prompt = example["prompt"]!.ints
      let plan = try session.plan(prompt, GenerationConfiguration(example["generation_config"]!))
      let result = try generate(
        prompt: prompt, plan: plan, session: session, stopDecoder: TextTable(texts: texts))
      #expect(
        result.filledRows(prompt: prompt, plan: plan) == example["sequences"]!.array!.map(\.ints),
        "case \(number): \(example["generation_config"]!.text())")
      stopped += result.sequences.count { $0.finishReason == .stopString }
    }
    #expect(stopped >= 50)
  }

  @Test("processors, alone and composed")
  func processors() throws {
    let fixture = try Fixture("processors.json")
    #expect(fixture.cases.count >= 400)
    for (number, example) in fixture.cases.enumerated() {
      let (prompt, history) = (example["prompt"]!.ints, example["history"]!.ints)
      var scores = example["scores"]!.floats
      let expected = example["processed"]!.floats
      let plan = try GenerationConfiguration(example["generation_config"]!)
        .plan(promptLength: prompt.count, contextLength: 512, vocabularySize: scores.count)
      let pipeline = ProcessorPipeline(plan: plan, prompt: prompt, vocabularySize: scores.count)
      let histories = TokenHistories(prompt: history)
      try scores.withUnsafeMutableBufferPointer { row in
        let row = row.baseAddress!
        try pipeline.process(row, rowCount: 1, final: !plan.samples) { _ in histories.row(0) }
        if plan.samples {
          let candidates = CandidateSet(capacity: expected.count)
          #expect(try pipeline.filter(row, into: candidates, position: history.count))
          candidates.scatter(to: row)
        }
      }
      let wrong = expected.indices.filter { index in
        let (found, wanted) = (scores[index], expected[index])
        guard found.isFinite, wanted.isFinite else { return found != wanted }
        return abs(found - wanted) > 2e-6 * max(1, abs(wanted))
      }
      #expect(
        wrong.isEmpty,
        """
        case \(number), tokens \(wrong): \(wrong.map { scores[$0] }) for \(wrong.map { expected[$0] }); \
        \(example["generation_config"]!.text())
        """)
    }
  }
}
