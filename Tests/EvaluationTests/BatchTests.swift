import Foundation
import Inkstone
import Testing
import _TestSupport

/// Sequences decoded together, tokens guessed, keys and values kept in other ways: what comes out is what comes out alone.
@Suite struct BatchTests {
  /// One of each kind of position, window, norm and mixture; weights in float32.
  static let families = [
    "gpt2-plain", "bloom-seven-heads", "falcon-alibi-sequential", "opt-norm-before", "mistral-window",
    "gemma2-caps", "gemma3_text-two-bases", "gpt_neo-local-windows", "qwen3_moe-sparse-steps",
    "llama-dynamic",
    "phi3-longrope", "cohere-plain",
  ]

  private static func model(_ name: String) throws -> LanguageModel {
    try LanguageModel.load(from: "\(Fixtures.root)/\(name)", engine: BLASEngine(threadCount: 2))
  }

  private static func prompts(_ count: Int, of model: LanguageModel, seed: UInt64) -> [[Int]] {
    var random = SeededGenerator(seed: seed)
    let vocabulary = model.decoder.configuration.vocabularySize
    let longest = min(20, model.decoder.configuration.contextLength / 2)
    return (0..<count).map { _ in
      (0..<Int.random(in: 1...longest, using: &random)).map { _ in
        Int.random(in: 0..<vocabulary, using: &random)
      }
    }
  }

  private static func plan(
    _ model: LanguageModel, _ prompt: [Int], _ change: (inout GenerationConfiguration) -> Void
  ) throws -> DecodingPlan {
    var configuration = GenerationConfiguration()
    configuration.maximumNewTokens = 12
    configuration.endTokens = [3]
    change(&configuration)
    return try configuration.plan(
      promptLength: prompt.count, contextLength: model.decoder.configuration.contextLength,
      vocabularySize: model.decoder.configuration.vocabularySize)
  }

  // MARK: Batches

  /// Scores of sequences of unequal length that go through the model together are those of each alone.
  @Test(arguments: families)
  func scoresEqualThoseAlone(name: String) throws {
    let model = try Self.model(name)
    let prompts = Self.prompts(5, of: model, seed: 1)
    let vocabulary = model.decoder.configuration.vocabularySize
    // Prompts that are run in several passes, and beside others.
    let batch = SessionBatch(decoder: model.decoder, engine: model.engine, chunkSize: 16)
    let sessions = try prompts.map { try batch.makeSession(capacity: $0.count + 10, maximumRows: 2) }
    var alone = try prompts.map { _ in
      try InferenceSession(decoder: model.decoder, engine: model.engine, maximumRows: 2)
    }
    func compare(_ together: UnsafeMutableBufferPointer<Float>, _ row: Int, _ own: [Float], _ what: String) {
      for token in 0..<own.count {
        let (a, b) = (together[row * vocabulary + token], own[token])
        guard abs(a - b) > 5e-5 + 5e-5 * abs(b) else { continue }
        Issue.record("\(name), \(what), token \(token): \(a) instead of \(b)")
        return
      }
    }
    let first = try batch.prefill(zip(sessions, prompts).map { .init($0, $1) })
    for (index, prompt) in prompts.enumerated() {
      compare(first, index, Array(try alone[index].append(prompt)), "prompt \(index)")
    }
    // The third sequence forks, the first leaves; rows then continue out of order.
    for index in [2] {
      sessions[index].select(parents: [0, 0])
      alone[index].select(parents: [0, 0])
    }
    for step in 0..<8 {
      let members = step < 4 ? [0, 1, 2, 3, 4] : [4, 2, 1]
      if step == 6 {
        sessions[2].select(parents: [1])
        alone[2].select(parents: [1])
      }
      let parts = members.map { index in
        SessionBatch.Part(
          sessions[index], (0..<sessions[index].rowCount).map { ($0 * 5 + index * 3 + step) % vocabulary })
      }
      let logits = try batch.step(parts)
      var row = 0
      for (index, part) in zip(members, parts) {
        let own = Array(try alone[index].step(part.tokens))
        for offset in 0..<part.tokens.count {
          compare(
            logits, row, Array(own[offset * vocabulary..<(offset + 1) * vocabulary]),
            "step \(step), sequence \(index), row \(offset)")
          row += 1
        }
      }
    }
    alone.removeAll()
    withExtendedLifetime(batch) {}
  }

  /// Greedy, sampled and beam search in a batch, fewer rows than prompts: each prompt gets what it gets alone.
  @Test(arguments: families, ["greedy", "sampled", "several", "beams"])
  func resultsEqualThoseAlone(name: String, strategy: String) throws {
    let model = try Self.model(name)
    let prompts = Self.prompts(7, of: model, seed: 2)
    let batched = try prompts.map { prompt in
      BatchPrompt(
        tokens: prompt,
        plan: try Self.plan(model, prompt) { configuration in
          configuration.noRepeatNGramSize = 3
          configuration.repetitionPenalty = 1.1
          switch strategy {
          case "sampled", "several":
            configuration.samples = true
            configuration.temperature = 0.9
            configuration.topP = 0.95
            configuration.seed = 11
            if strategy == "several" { configuration.returnedSequenceCount = 3 }
          case "beams": configuration.beamCount = 3
          default: break
          }
        })
    }
    var results: [Int: GenerationResult] = [:]
    try generate(
      batched, batch: SessionBatch(decoder: model.decoder, engine: model.engine), batchSize: 4
    ) { index, result in
      #expect(results.updateValue(result, forKey: index) == nil)
    }
    #expect(results.count == prompts.count)
    for (index, prompt) in batched.enumerated() {
      let alone = try generate(
        prompt: prompt.tokens, plan: prompt.plan, session: try model.makeSession(for: prompt.plan))
      let together = try #require(results[index])
      #expect(together.sequences.map(\.tokens) == alone.sequences.map(\.tokens), "\(name), prompt \(index)")
      #expect(together.sequences.map(\.finishReason) == alone.sequences.map(\.finishReason))
      for (a, b) in zip(together.sequences, alone.sequences) {
        for (x, y) in zip(a.logProbabilities, b.logProbabilities) { #expect(abs(x - y) < 1e-4) }
      }
    }
  }

  @Test func anInterruptedBatchGivesWhatThereIs() throws {
    let model = try Self.model("gpt2-plain")
    let prompts = try Self.prompts(6, of: model, seed: 3).map { prompt in
      BatchPrompt(tokens: prompt, plan: try Self.plan(model, prompt) { $0.ignoresEndTokens = true })
    }
    let flag = InterruptionFlag()
    var results: [GenerationResult] = []
    try generate(
      prompts, batch: SessionBatch(decoder: model.decoder, engine: model.engine), batchSize: 2,
      interruption: flag
    ) { _, result in
      results.append(result)
      flag.raise()
    }
    #expect(results.count >= 2 && results.count < 6)
    #expect(results.contains { $0.interrupted && $0.sequences[0].finishReason == .interrupted })
  }

  // MARK: Guesses

  private final class FixedDrafter: Drafter {
    let guess: (UnsafeBufferPointer<Int32>, Int) -> [Int]
    init(_ guess: @escaping (UnsafeBufferPointer<Int32>, Int) -> [Int]) { self.guess = guess }
    func draft(_ history: UnsafeBufferPointer<Int32>, limit: Int) -> [Int] { guess(history, limit) }
  }

  /// Whatever is guessed, right or wrong, the tokens and their scores are those of decoding without guesses, to the bit.
  @Test(arguments: families, [false, true])
  func guessesChangeNothing(name: String, samples: Bool) throws {
    let model = try Self.model(name)
    let vocabulary = model.decoder.configuration.vocabularySize
    for (number, prompt) in Self.prompts(3, of: model, seed: 4).enumerated() {
      let plan = try Self.plan(model, prompt) { configuration in
        configuration.maximumNewTokens = 25
        configuration.repetitionPenalty = 1.05
        configuration.samples = samples
        configuration.seed = 5
        if samples { configuration.temperature = 0.7 }
      }
      func run(_ drafter: (any Drafter)?) throws -> GenerationResult {
        try generate(prompt: prompt, plan: plan, session: try model.makeSession(for: plan), drafter: drafter)
      }
      let plain = try run(nil)
      let wanted = prompt + plain.sequences[0].tokens
      var random = SeededGenerator(seed: 6)
      let drafters: [(String, any Drafter)] = [
        ("look-up", PromptLookup(maximum: 7)),
        (
          "the model itself",
          ModelDrafter(
            try InferenceSession(decoder: model.decoder, engine: model.engine), maximum: 7,
            leastProbability: 0)
        ),
        (
          "nonsense",
          FixedDrafter { _, limit in (0..<limit).map { _ in Int.random(in: 0..<vocabulary, using: &random) } }
        ),
        (
          "right and wrong",
          FixedDrafter { history, limit in
            (0..<limit).map { offset in
              let place = history.count + offset
              let right = place < wanted.count ? wanted[place] : 0
              return Int.random(in: 0..<4, using: &random) > 0 ? right : (right + 1) % vocabulary
            }
          }
        ),
      ]
      for (what, drafter) in drafters {
        let result = try run(drafter)
        #expect(
          result.sequences[0].tokens == plain.sequences[0].tokens, "\(name), prompt \(number), \(what)")
        #expect(
          result.sequences[0].logProbabilities == plain.sequences[0].logProbabilities,
          "\(name), prompt \(number), \(what)")
        #expect(result.sequences[0].finishReason == plain.sequences[0].finishReason)
        let counts = try #require(result.speculation)
        #expect(counts.accepted <= counts.drafted && result.stepCount <= plain.stepCount)
        // The dynamic kinds forbid guesses beyond the length at which their angles change.
        if what == "the model itself", !samples, model.decoder.configuration.stableLength == nil,
          plain.sequences[0].tokens.count > 4
        {
          #expect(counts.accepted > 0)
        }
      }
    }
  }

  @Test func lookUpFollowsTheLatestRepetition() {
    func guess(_ history: [Int32], limit: Int, maximum: Int = 9) -> [Int] {
      history.withUnsafeBufferPointer { PromptLookup(maximum: maximum).draft($0, limit: limit) }
    }
    #expect(guess([1, 2, 3, 4, 9, 1, 2], limit: 3) == [3, 4, 9])
    // The longer match counts more than the later one.
    #expect(guess([7, 1, 2, 3, 5, 1, 2, 4, 7, 1, 2], limit: 2) == [3, 5])
    #expect(guess([8, 1, 2, 3, 8, 1, 2, 4, 9, 1, 2], limit: 1) == [4])
    // A loop goes on.
    #expect(guess([5, 6, 5, 6, 5, 6], limit: 5) == [5, 6, 5, 6, 5])
    #expect(guess([3, 3, 3], limit: 4, maximum: 2) == [3, 3])
    #expect(guess([1, 2, 3, 4], limit: 4) == [])
    #expect(guess([1], limit: 4) == [])
    #expect(guess([1, 1], limit: 4) == [])
  }

  // MARK: Types of the cache

  /// Scores with keys and values in 16 or 8 bits are near those in 32: on these models of random weights a key's rounding of
  /// 2⁻¹¹ or 1/254 of the largest channel moves scores by about as much of their spread.
  @Test(arguments: families, [KeyValueType.f16, .q8_0])
  func compactCachesAreNear(name: String, type: KeyValueType) throws {
    let model = try Self.model(name)
    let vocabulary = model.decoder.configuration.vocabularySize
    let count = min(24, model.decoder.configuration.contextLength - 2)
    let tokens = (0..<count).map { ($0 * 7 + 2) % vocabulary }
    func scores(_ types: KeyValueTypes, _ engine: any ComputeEngine) throws -> [Float] {
      let session = try InferenceSession(decoder: model.decoder, engine: engine, cacheTypes: types)
      return try withExtendedLifetime(session) {
        try session.append(Array(tokens[..<(count / 2)]))
        var last: [Float] = []
        for token in tokens[(count / 2)...] { last = Array(try session.step([token])) }
        return last
      }
    }
    let exact = try scores(KeyValueTypes(), model.engine)
    let mean = exact.reduce(0, +) / Float(exact.count)
    let spread = (exact.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Float(exact.count)).squareRoot()
    for types in [
      KeyValueTypes(keys: type), KeyValueTypes(values: type), KeyValueTypes(keys: type, values: type),
    ] {
      let compact = try scores(types, model.engine)
      let error = zip(exact, compact).map { abs($0 - $1) }.max()!
      #expect(error > 0, "\(name): nothing was rounded")
      #expect(error < spread * (type == .f16 ? 0.01 : 0.1), "\(name), \(types): \(error) of \(spread)")
      // The naive engine rounds alike.
      let naive = try scores(types, NaiveEngine())
      let difference = zip(naive, compact).map { abs($0 - $1) }.max()!
      // A sum on the edge between two steps of a byte may fall to either side.
      #expect(difference < spread * (type == .f16 ? 0.002 : 0.03), "\(name), \(types): \(difference)")
    }
  }

  // MARK: Windows

  /// Layers with a window keep the latest positions only, and nothing is missed.
  @Test(arguments: [
    "mistral-window", "gemma2-caps", "gemma3_text-two-bases", "gpt_neo-local-windows", "starcoder2-window",
    "phi3-partial-window", "qwen2-windows-above", "qwen3-windows-listed",
  ])
  func windowsKeepWhatTheySee(name: String) throws {
    let model = try Self.model(name)
    let context = model.decoder.configuration.contextLength
    let vocabulary = model.decoder.configuration.vocabularySize
    // The slack beyond a window is 64 positions: what is longer than that uses places again.
    let cache = try KeyValueCache(
      layerCount: model.decoder.configuration.layerCount, shape: model.decoder.configuration.attention,
      capacity: 4000, maximumRows: 1, windows: model.decoder.configuration.layers.map(\.window), slack: 64)
    _ = cache
    let tokens = (0..<min(context, 400)).map { ($0 * 11 + 5) % vocabulary }
    let session = try InferenceSession(decoder: model.decoder, engine: model.engine, chunkSize: 5)
    let naive = try InferenceSession(decoder: model.decoder, engine: NaiveEngine(), chunkSize: 512)
    var position = 0
    while position < tokens.count - 2 {
      let count = min(13, tokens.count - 2 - position)
      try session.append(Array(tokens[position..<position + count]))
      try naive.append(Array(tokens[position..<position + count]))
      position += count
    }
    for token in tokens[position...] {
      let (a, b) = (Array(try session.step([token])), Array(try naive.step([token])))
      for (x, y) in zip(a, b) { #expect(abs(x - y) < 1e-4 + 1e-4 * abs(y), "\(name)") }
    }
  }

  // MARK: Prompts in files

  private func greedy(
    _ model: LanguageModel, _ prompt: [Int], cache path: String?, types: KeyValueTypes = KeyValueTypes()
  ) throws -> (tokens: [Int], reused: Int, obstacle: PromptCacheFile.Obstacle?) {
    let plan = try Self.plan(model, prompt) { $0.maximumNewTokens = 6 }
    let session = try model.makeSession(for: plan, cacheTypes: types)
    guard let path else {
      return (try generate(prompt: prompt, plan: plan, session: session).sequences[0].tokens, 0, nil)
    }
    let caching = try PromptCachingSession(session, path: path)
    let result = try generate(prompt: prompt, plan: plan, session: caching)
    return (result.sequences[0].tokens, caching.reusedCount, caching.obstacle)
  }

  @Test(arguments: families)
  func promptsAreFoundAgain(name: String) throws {
    let folder = try TemporaryFolder()
    let path = folder("prompt.kv")
    let model = try Self.model(name)
    let vocabulary = model.decoder.configuration.vocabularySize
    let prompt = (0..<min(14, model.decoder.configuration.contextLength - 8)).map {
      ($0 * 5 + 1) % vocabulary
    }
    let isStable = prompt.count <= model.decoder.configuration.stableLength ?? .max
    for types in [KeyValueTypes(), KeyValueTypes(keys: .q8_0, values: .f16)] {
      try? FileManager.default.removeItem(atPath: path)
      let plain = try greedy(model, prompt, cache: nil, types: types)
      let first = try greedy(model, prompt, cache: path, types: types)
      #expect(first.reused == 0 && first.tokens == plain.tokens)
      let second = try greedy(model, prompt, cache: path, types: types)
      #expect(second.tokens == plain.tokens, "\(name)")
      #expect(second.reused == (isStable ? prompt.count - 1 : 0), "\(name)")
      // Another end, and a shorter prompt.
      let other = Array(prompt[..<9]) + [2, 3]
      let third = try greedy(model, other, cache: path, types: types)
      #expect(third.tokens == (try greedy(model, other, cache: nil, types: types)).tokens, "\(name)")
      if isStable { #expect(third.reused >= 9) }
      #expect(folder.contents == ["prompt.kv"])
    }
    // Another type than the file's.
    let mismatch = try greedy(model, prompt, cache: path)
    #expect(mismatch.reused == 0 && mismatch.obstacle == .otherTypes("q8_0 and f16"))
    #expect(mismatch.tokens == (try greedy(model, prompt, cache: nil)).tokens)
  }

  @Test func anotherModelsPromptIsRunAnew() throws {
    let folder = try TemporaryFolder()
    let path = folder("prompt.kv")
    let prompt = [1, 2, 3, 4]
    _ = try greedy(try Self.model("gpt2-plain"), prompt, cache: path)
    for name in ["gpt2-unscaled-attention", "gpt2-inverse-layer-scale", "mistral-window"] {
      let model = try Self.model(name)
      let result = try greedy(model, prompt, cache: path)
      #expect(result.reused == 0 && result.obstacle == .otherModel, "\(name)")
      #expect(result.tokens == (try greedy(model, prompt, cache: nil)).tokens)
    }
  }

  /// A file that was cut or changed anywhere is noticed, and the prompt is run.
  @Test func damagedFilesAreNoticed() throws {
    let folder = try TemporaryFolder()
    let path = folder("prompt.kv")
    let model = try Self.model("mistral-window")
    let prompt = [1, 2, 3, 4, 5, 6, 7]
    let plain = try greedy(model, prompt, cache: path).tokens
    let whole = [UInt8](try Data(contentsOf: URL(filePath: path)))
    var random = SeededGenerator(seed: 8)
    for round in 0..<200 {
      var bytes = whole
      switch round % 4 {
      case 0: bytes.removeLast(Int.random(in: 1..<bytes.count - 8, using: &random))
      case 1: bytes += [UInt8](repeating: 0, count: Int.random(in: 1..<100, using: &random))
      case 2:
        // Mostly in the header, where the sizes are.
        let place = Int.random(in: 8..<(round % 8 == 2 ? 130 : bytes.count), using: &random)
        bytes[place] ^= UInt8(1 << Int.random(in: 0..<8, using: &random))
      default:
        for _ in 0..<4 {
          bytes[Int.random(in: 8..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
        }
        if bytes == whole { continue }
      }
      try folder.write(bytes, "prompt.kv")
      let result = try greedy(model, prompt, cache: path)
      #expect(result.reused == 0 && result.obstacle != nil, "round \(round)")
      #expect(result.tokens == plain, "round \(round)")
      // What was run replaces what was damaged.
      #expect([UInt8](try Data(contentsOf: URL(filePath: path))) == whole, "round \(round)")
    }
    // Something else is left alone.
    for other in [[UInt8]("a text".utf8), []] {
      try folder.write(other, "notes.txt")
      #expect(throws: PromptCacheError.notACache(path: folder("notes.txt"))) {
        _ = try greedy(model, prompt, cache: folder("notes.txt"))
      }
      #expect([UInt8](try Data(contentsOf: URL(filePath: folder("notes.txt")))) == other)
    }
  }
}
