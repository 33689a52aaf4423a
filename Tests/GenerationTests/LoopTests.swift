import Foundation
import JSON
import Testing

@testable import Generation

@Suite("Decoding loops")
struct LoopTests {
  private static func session(_ seed: UInt64, vocabularySize: Int = 40, contextLength: Int = 512)
    -> TableSession
  {
    TableSession(seed: seed, vocabularySize: vocabularySize, scale: 0.25, contextLength: contextLength)
  }

  @Test("beams that keep one candidate only are greedy; a temperature of 0 is greedy")
  func greedyAgrees() throws {
    for seed in UInt64(0)..<30 {
      let session = LoopTests.session(seed)
      let settings: JSONObject = .init([
        .init(key: "max_new_tokens", value: 15), .init(key: "eos_token_id", value: 3),
      ])
      let greedy = try session.run([1, 2], GenerationConfiguration(.object(settings)))
      // Argmax of the formula, in the plainest words.
      var history = [1, 2]
      while history.count < 17, history.count == 2 || history.last != 3 {
        let row = Array(session.prefill(history))
        history.append(row.firstIndex(of: row.max()!)!)
      }
      #expect(greedy.sequences[0].tokens == Array(history.dropFirst(2)), "seed \(seed)")
      #expect(greedy.sequences[0].finishReason == (history.last == 3 ? .stop : .length))
      #expect(greedy.sequences[0].score == nil)

      var configuration = try GenerationConfiguration(.object(settings))
      configuration.samples = true
      configuration.temperature = 0
      #expect(try session.run([1, 2], configuration).sequences[0].tokens == greedy.sequences[0].tokens)
      configuration.temperature = 1
      configuration.topK = 1
      #expect(try session.run([1, 2], configuration).sequences[0].tokens == greedy.sequences[0].tokens)
      configuration.samples = false
      configuration.beamCount = 1
      configuration.earlyStopping = .whenFull
      #expect(try session.run([1, 2], configuration).sequences[0].tokens == greedy.sequences[0].tokens)
    }
  }

  @Test("argmax takes the first of equal scores")
  func ties() throws {
    let session = LoopTests.session(1)
    for places in [[0, 39], [5, 6], [17, 31], [8, 16]] {
      session.corrupt = { row, _ in
        row.update(repeating: 0)
        for place in places { row[place] = 1 }
      }
      let result = try session.run([1], GenerationConfiguration(["max_new_tokens": 3]))
      #expect(result.sequences[0].tokens == [places[0], places[0], places[0]])
    }
  }

  @Test("wide beams find what an exhaustive search finds")
  func exhaustive() throws {
    for seed in UInt64(0)..<10 {
      let session = LoopTests.session(seed, vocabularySize: 6)
      var best: (tokens: [Int], score: Double) = ([], -.infinity)
      for code in 0..<6 * 6 * 6 {
        let tokens = [code / 36, code / 6 % 6, code % 6]
        let score = session.logProbabilities(prompt: [2], tokens: tokens).reduce(0, +) / 3
        if score > best.score { best = (tokens, score) }
      }
      let result = try session.run([2], GenerationConfiguration(["max_new_tokens": 3, "num_beams": 36]))
      #expect(result.sequences[0].tokens == best.tokens, "seed \(seed)")
      #expect(abs(Double(result.sequences[0].score!) - best.score) < 1e-5)
    }
  }

  @Test("a sequence's draws depend on its number alone, not on how many there are")
  func sequencesAreIndependent() throws {
    for seed in UInt64(0)..<10 {
      let session = LoopTests.session(seed)
      func run(_ count: Int) throws -> GenerationResult {
        var configuration = try GenerationConfiguration([
          "do_sample": true, "max_new_tokens": 12, "eos_token_id": [3, 4, 5], "top_p": 0.95,
          "repetition_penalty": 1.2, "no_repeat_ngram_size": 2,
        ])
        configuration.returnedSequenceCount = count
        configuration.seed = seed
        return try session.run([1, 2, 3], configuration)
      }
      let (one, three, eight) = (try run(1), try run(3), try run(8))
      #expect(eight.sequences.count == 8)
      #expect(three.sequences[0].tokens == one.sequences[0].tokens, "seed \(seed)")
      #expect(eight.sequences.prefix(3).map(\.tokens) == three.sequences.map(\.tokens), "seed \(seed)")
      #expect(try run(8).sequences.map(\.tokens) == eight.sequences.map(\.tokens), "seed \(seed)")
      #expect(Set(eight.sequences.map(\.tokens)).count > 1)
      for sequence in eight.sequences {
        let exact = session.logProbabilities(prompt: [1, 2, 3], tokens: sequence.tokens)
        #expect(zip(sequence.logProbabilities, exact).allSatisfy { abs(Double($0) - $1) < 1e-5 })
        #expect(sequence.finishReason == ([3, 4, 5].contains(sequence.tokens.last!) ? .stop : .length))
        #expect(!sequence.tokens.dropLast().contains { [3, 4, 5].contains($0) })
      }
    }
  }

  @Test("rows that have ended take no further steps")
  func finishedRowsLeave() throws {
    let session = LoopTests.session(3)
    var configuration = try GenerationConfiguration(["do_sample": true, "max_new_tokens": 20, "seed": 4])
    configuration.endTokens = Array(0..<8)
    configuration.returnedSequenceCount = 6
    let result = try session.run([30], configuration)
    let rows = session.steps.dropFirst().map(\.count)
    #expect(rows == rows.sorted(by: >))
    // Every token but a sequence's last was fed back.
    #expect(rows.reduce(0, +) == result.sequences.reduce(0) { $0 + $1.tokens.count - 1 })
    #expect(result.stepCount == rows.count)
  }

  @Test("sampled beams: reproducible, legal, and every candidate list is filled")
  func sampledBeams() throws {
    for seed in UInt64(0)..<20 {
      let session = LoopTests.session(seed)
      var configuration = try GenerationConfiguration([
        "do_sample": true, "num_beams": 4, "num_return_sequences": 4, "max_new_tokens": 10, "eos_token_id": 7,
        "temperature": 0.8, "top_k": 5,
      ])
      configuration.seed = seed
      let result = try session.run([1, 2], configuration)
      #expect(
        try session.run([1, 2], configuration).sequences.map(\.tokens) == result.sequences.map(\.tokens))
      let scores = result.sequences.map { $0.score! }
      #expect(scores == scores.sorted(by: >), "seed \(seed)")
      for sequence in result.sequences where sequence.score! > -1e8 {
        // The score is the mean of what the filters left of log p, which is all there is to an untouched token.
        let exact = session.logProbabilities(prompt: [1, 2], tokens: sequence.tokens).reduce(0, +)
        let mean = exact / 0.8 / Double(sequence.tokens.count)
        #expect(abs(Double(sequence.score!) - mean) < 1e-4, "seed \(seed)")
      }
      configuration.seed = seed + 1000
      configuration.topK = 0
      #expect(try session.run([1, 2], configuration).sequences.count == 4)
    }
  }

  @Test("interruption before the first token, and later")
  func interruption() throws {
    for settings: JSONValue in [
      ["max_new_tokens": 10], ["max_new_tokens": 10, "num_beams": 3, "num_return_sequences": 2],
      ["max_new_tokens": 10, "do_sample": true, "num_return_sequences": 3, "top_k": 0],
    ] {
      let session = LoopTests.session(5)
      let flag = InterruptionFlag()
      flag.raise()
      let nothing = try session.run([1], GenerationConfiguration(settings), interruption: flag)
      #expect(nothing.interrupted && nothing.stepCount == 0)
      #expect(nothing.sequences.allSatisfy { $0.tokens.isEmpty && $0.finishReason == .interrupted })

      flag.lower()
      session.corrupt = { _, position in if position == 5 { flag.raise() } }
      let some = try session.run([1], GenerationConfiguration(settings), interruption: flag)
      #expect(some.interrupted)
      #expect(some.sequences.allSatisfy { $0.tokens.count == 4 && $0.finishReason == .interrupted })
      #expect(some.sequences.count == settings["num_return_sequences"]?.int ?? 1)
      session.corrupt = nil
      let free = try session.run([1], GenerationConfiguration(settings), interruption: InterruptionFlag())
      #expect(!free.interrupted)
    }
  }

  @Test("time runs out after one token at least")
  func maximumTime() throws {
    for beams in [1, 3] {
      let session = LoopTests.session(6)
      var configuration = try GenerationConfiguration(["max_new_tokens": 400, "max_time": 0])
      configuration.beamCount = beams
      let result = try session.run([1], configuration)
      #expect(result.sequences[0].tokens.count == 1)
      #expect(result.sequences[0].finishReason == .length)
    }
  }

  @Test("generation ends at the context")
  func context() throws {
    for beams in [1, 3] {
      let session = LoopTests.session(7, contextLength: 9)
      var configuration = try GenerationConfiguration(["max_new_tokens": 30])
      configuration.beamCount = beams
      let result = try session.run([1, 2, 3], configuration)
      #expect(result.sequences[0].tokens.count == 6)
      #expect(result.sequences[0].finishReason == .length)
    }
  }

  @Test("ignored end tokens never come")
  func ignoredEndTokens() throws {
    for settings: JSONValue in [
      ["ignore_eos": true], ["ignore_eos": true, "num_beams": 3], ["ignore_eos": true, "do_sample": true],
    ] {
      var configuration = try GenerationConfiguration(settings)
      configuration.endTokens = Array(0..<20)
      configuration.maximumNewTokens = 30
      let result = try LoopTests.session(8).run([1], configuration)
      #expect(result.sequences[0].tokens.count == 30)
      #expect(result.sequences[0].tokens.allSatisfy { $0 >= 20 })
    }
  }

  @Test("allowed tokens constrain every strategy")
  func allowedTokens() throws {
    for settings: JSONValue in [
      [:], ["num_beams": 3], ["do_sample": true], ["do_sample": true, "num_beams": 2],
    ] {
      var configuration = try GenerationConfiguration(settings)
      configuration.maximumNewTokens = 12
      // A token is followed by the next two, around the vocabulary.
      func next(_ history: [Int]) -> [Int] { [(history.last! + 1) % 40, (history.last! + 2) % 40] }
      let result = try LoopTests.session(9).run([38], configuration, allowedTokens: next)
      var history = [38]
      for token in result.sequences[0].tokens {
        #expect(next(history).contains(token))
        history.append(token)
      }
      // What is allowed wins over what is forbidden when nothing else is left.
      configuration.suppressedTokens = nil
      configuration.badWords = (0..<40).map { [$0] }
      configuration.endTokens = []
      let forced = try LoopTests.session(9).run([38], configuration, allowedTokens: next)
      #expect(next([38]).contains(forced.sequences[0].tokens[0]))
      #expect(throws: GenerationError.noTokenLeft(position: 1)) {
        try LoopTests.session(9).run([38], configuration, allowedTokens: { _ in [] })
      }
    }
  }

  @Test("the repetition penalty's window")
  func repetitionWindow() throws {
    let history = [1, 2, 3, 1, 4]
    func processed(_ window: Int) -> [Float] {
      var scores: [Float] = [2, 2, 2, -2, -2, 2]
      let histories = TokenHistories(prompt: history)
      scores.withUnsafeMutableBufferPointer {
        RepetitionPenalty(2, window: window, vocabularySize: 6).process($0, history: histories.row(0))
      }
      return scores
    }
    #expect(processed(-1) == [2, 1, 1, -4, -4, 2])
    #expect(processed(9) == processed(-1))
    #expect(processed(2) == [2, 1, 2, -2, -4, 2])
    #expect(processed(1) == [2, 2, 2, -2, -4, 2])
    var configuration = try GenerationConfiguration(["repetition_penalty": 5, "max_new_tokens": 20])
    configuration.repetitionPenaltyWindow = 0
    let off = try LoopTests.session(10).run([1], configuration)
    configuration.repetitionPenalty = nil
    #expect(try LoopTests.session(10).run([1], configuration).sequences[0].tokens == off.sequences[0].tokens)
  }

  @Test("the orders of samplers differ where they should")
  func samplerOrder() throws {
    let session = LoopTests.session(11)
    func kept(_ order: String) throws -> Int {
      let configuration = try GenerationConfiguration([
        "do_sample": true, "temperature": 4, "top_p": 0.7, "top_k": 0, "max_new_tokens": 1,
        "sampler_order": .string(order),
      ])
      let scores = try processedScores(prompt: [1], plan: session.plan([1], configuration), session: session)
      return scores.filter { $0 > -.infinity }.count
    }
    // A high temperature flattens: applied last it cannot widen the nucleus.
    #expect(try kept("llama.cpp") < kept("transformers"))
  }

  @Test("processed scores of the first step")
  func firstScores() throws {
    let session = LoopTests.session(12)
    let raw = Array(session.prefill([1, 2]))
    func scores(_ settings: JSONValue) throws -> [Float] {
      try processedScores(
        prompt: [1, 2], plan: session.plan([1, 2], GenerationConfiguration(settings)), session: session)
    }
    #expect(try scores([:]) == raw)
    let beams = try scores(["num_beams": 2])
    #expect(abs(beams.reduce(0) { $0 + exp(Double($1)) } - 1) < 1e-6)
    let sampled = try scores(["do_sample": true, "temperature": 0.5, "top_k": 3])
    #expect(sampled.filter { $0 > -.infinity }.count == 3)
    #expect(zip(sampled, raw).allSatisfy { $0 == -.infinity || $0 == $1 / 0.5 })
    #expect(try scores(["do_sample": false, "temperature": 0.5, "top_k": 3]) == raw)
    // A stop string needs no text here.
    #expect(try scores(["stop_strings": "x"]) == raw)
  }

  @Test("logits that are no numbers are an error, unless they are to be mended")
  func invalidLogits() throws {
    for value in [Float.nan, .infinity] {
      for settings: JSONValue in [
        [:], ["num_beams": 2], ["do_sample": true], ["num_beams": 2, "do_sample": true],
      ] {
        let session = LoopTests.session(13)
        session.corrupt = { rows, position in if position == 4 { rows[7] = value } }
        var configuration = try GenerationConfiguration(settings)
        #expect(throws: GenerationError.invalidLogits(position: 4)) {
          try session.run([1, 2], configuration)
        }
        configuration.removesInvalidValues = true
        _ = try? session.run([1, 2], configuration)
      }
    }
    let session = LoopTests.session(13)
    session.corrupt = { rows, _ in rows[7] = .nan }
    let mended = try session.run([1], GenerationConfiguration(["remove_invalid_values": true]))
    #expect(mended.sequences[0].tokens.count == 20)
  }

  @Test("when every token is forbidden, greedy takes the first as torch does and sampling says so")
  func nothingLeft() throws {
    var configuration = try GenerationConfiguration(["max_new_tokens": 2])
    configuration.suppressedTokens = Array(0..<40)
    #expect(try LoopTests.session(14).run([1], configuration).sequences[0].tokens == [0, 0])
    configuration.samples = true
    #expect(throws: GenerationError.noTokenLeft(position: 1)) {
      try LoopTests.session(14).run([1], configuration)
    }
    configuration.beamCount = 2
    #expect(try LoopTests.session(14).run([1], configuration).sequences.count == 1)
  }

  @Test("prompts the model cannot read")
  func prompts() {
    let session = LoopTests.session(15)
    for id in [-1, 40, Int.max] {
      #expect(throws: GenerationError.unknownToken(id: id, place: "the prompt", vocabularySize: 40)) {
        try session.run([1, id], GenerationConfiguration())
      }
    }
    #expect(throws: GenerationError.emptyPrompt) { try session.run([], GenerationConfiguration()) }
    #expect(throws: GenerationError.stopStringsNeedText) {
      try session.run([1], GenerationConfiguration(["stop_strings": "x"]))
    }
  }

  @Test("tokens are reported as they are chosen")
  func reports() throws {
    var configuration = try GenerationConfiguration(["do_sample": true, "max_new_tokens": 9, "seed": 1])
    configuration.returnedSequenceCount = 3
    configuration.endTokens = [1, 2, 3, 4]
    var reported: [[Int]] = [[], [], []]
    let result = try LoopTests.session(16).run(
      [20], configuration, onToken: { sequence, token, _ in reported[sequence].append(token) })
    #expect(reported == result.sequences.map(\.tokens))
  }
}
