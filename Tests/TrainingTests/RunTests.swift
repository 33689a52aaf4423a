import Checkpoints
import Generation
import JSON
import Kernels
import Testing
import Transformer

@testable import Training

@Suite struct RunTests {
  private let folder: TemporaryFolder
  private let text: String

  init() throws {
    folder = try TemporaryFolder()
    text = folder.path + "/text.txt"
    try AtomicFile.write(
      (0..<400).map { "\($0 * $0 % 97) birds sang \($0 % 7) songs.\n" }.joined(), to: text)
  }

  private func settings(_ name: String) -> TrainingSettings {
    var settings = TrainingSettings()
    settings.model = JSONObject([
      .init(key: "model_type", value: "llama"), .init(key: "hidden_size", value: 16),
      .init(key: "num_hidden_layers", value: 2), .init(key: "num_attention_heads", value: 2),
      .init(key: "intermediate_size", value: 24), .init(key: "tie_word_embeddings", value: true),
    ])
    settings.tokenizer = "characters"
    settings.train = text
    settings.out = folder.path + "/" + name
    settings.iters = 12
    settings.batchSize = 2
    settings.blockSize = 16
    settings.gradAccumulationSteps = 2
    settings.dropout = 0.1
    settings.warmupIters = 3
    settings.stepsPerEval = 5
    settings.saveEvery = 4
    settings.sampleTokens = 5
    settings.threads = 2
    return settings
  }

  private func weights(_ name: String) throws -> [UInt8] {
    try readFile(folder.path + "/\(name)/model/model.safetensors")
  }

  @Test func aRunGoesOnAsIfItHadNotStopped() throws {
    let whole = try Trainer(settings("whole")).run()
    #expect(whole.step == 12 && whole.validationLoss != nil && !whole.isInterrupted)
    let flag = InterruptionFlag()
    let part = try Trainer(settings("parts")).run(interruption: flag) { event in
      if case .step(let step) = event, step.step == 6 { flag.raise() }
    }
    #expect(part.step == 6 && part.isInterrupted)
    // Steps beyond the last checkpoint are lost with it, and computed again.
    removeFolder(folder.path + "/parts/checkpoints/step-00000006")
    try createFolder(folder.path + "/parts/checkpoints/.inkstone-half.tmp")
    var steps: [Int] = []
    let rest = try Trainer(try Trainer.resumed(folder.path + "/parts"), resumes: true).run { event in
      if case .step(let step) = event { steps.append(step.step) }
    }
    #expect(steps == Array(5...12) && rest.validationLoss == whole.validationLoss)
    #expect(try weights("whole") == weights("parts"))
    #expect(folderNames(folder.path + "/parts/checkpoints") == ["step-00000008", "step-00000012"])
    func lines(_ name: String) throws -> [String] {
      try MetricsLog.read(folder.path + "/\(name)/metrics.jsonl").map {
        "\($0["type"]!.text()) \($0["step"]!.text()) \($0["loss"]?.text() ?? "") \($0["text"]?.text() ?? "")"
      }
    }
    #expect(try lines("whole") == lines("parts"))
    // The result is a model as any other.
    let decoder = try Decoder.load(from: folder.path + "/whole/model")
    #expect(decoder.configuration.modelType == "llama")
    let page = try RunReport.html(of: folder.path + "/parts")
    #expect(page.contains("<polyline") && page.contains("birds") == false && page.contains("batch_size"))
  }

  @Test func anotherSeedIsAnotherRun() throws {
    var other = settings("other")
    other.seed = 2
    other.iters = 4
    var same = settings("same")
    same.iters = 4
    _ = try Trainer(other).run()
    _ = try Trainer(same).run()
    #expect(try weights("other") != weights("same"))
  }

  @Test func whatCannotWorkIsSaidAtOnce() throws {
    func fault(_ change: (inout TrainingSettings) throws -> Void) -> String {
      var settings = settings("faults")
      do {
        try change(&settings)
        _ = try Trainer(settings)
        return "nothing"
      } catch {
        return "\(error)"
      }
    }
    func withField(_ key: String, _ value: JSONValue) -> String {
      fault { $0.model?.members.append(.init(key: key, value: value)) }
    }
    let empty = folder.path + "/empty.txt"
    try AtomicFile.write("", to: empty)
    #expect(fault { $0.train = empty }.contains("is empty"))
    try AtomicFile.write(" \n\n", to: empty)
    #expect(fault { $0.train = empty }.contains("holds no text"))
    #expect(fault { $0.train = folder.path + "/nowhere" }.contains("nowhere: no such file"))
    #expect(fault { $0.blockSize = 20_000 }.contains("fewer than the 20001 of one block"))
    #expect(
      withField("max_position_embeddings", 8).contains(
        "block_size: is 16, and the model has 8 positions"))
    #expect(
      withField("vocab_size", 5).contains("the model knows 5"))
    #expect(fault { $0.out = "/proc/nowhere" }.contains("/proc/nowhere: cannot be written"))
    #expect(fault { $0.out = nil }.contains("out: is missing"))
    #expect(fault { $0.tokenizer = nil }.contains("tokenizer: is missing"))
    #expect(
      withField("hiden_size", 5).contains(
        "hiden_size: is no field of config.json"))
    #expect(
      fault { try $0.set("learning_rat", 1e-3, source: "run.yaml") }
        == "run.yaml: learning_rat: is no setting; did you mean learning_rate?")
    #expect(fault { try $0.set("iters", 0, source: "run.yaml") }.contains("must be a whole number from 1"))
    #expect(fault { try $0.set("schedule", "cosin", source: "f") }.contains("must be one of cosine, linear"))
    var first = settings("twice")
    first.iters = 1
    _ = try Trainer(first).run()
    #expect(throws: TrainingError.self) { _ = try Trainer(first) }
    #expect(throws: TrainingError.self) { _ = try Trainer.resumed(folder.path + "/never") }
  }

  @Test func aLossThatIsNoNumberStopsOrIsSkipped() throws {
    for policy in SpikePolicy.allCases {
      var settings = settings("nan-\(policy)")
      settings.onSpike = policy
      settings.stepsPerEval = 0
      settings.sampleTokens = 0
      settings.validationFraction = 0
      let trainer = try Trainer(settings)
      // One weight of the last block's output map.
      let slot = try #require(trainer.model.parameters.slots.last { $0.name.contains("down_proj") })
      trainer.model.parameters.values.base[slot.start + 3] = .nan
      var skipped = 0
      let run = Result {
        try trainer.run { event in
          if case .skipped(_, let reason) = event, reason.contains("down_proj") { skipped += 1 }
        }
      }
      switch policy {
      case .skip: #expect(skipped == 12)
      case .stop:
        #expect(throws: TrainingError.self) { try run.get() }
        #expect("\(run)".contains("down_proj"))
      }
    }
  }
}

@Suite struct SettingsTests {
  @Test func yamlReadsAsTheDocumentItStandsFor() throws {
    let text = """
      # a run
      model: {model_type: gpt2, n_layer: 4}
      learning_rate: 1e-3
      iters: 2_000
      tokenizer: "characters"
      sample_prompt: '12'
      out: runs/a b
      list: [1, -2.5, yes, ~, null, true]
      """
    let expected: JSONValue = [
      "model": ["model_type": "gpt2", "n_layer": 4], "learning_rate": 1e-3, "iters": 2000,
      "tokenizer": "characters", "sample_prompt": "12", "out": "runs/a b",
      "list": [1, -2.5, "yes", nil, nil, true],
    ]
    #expect(try YAML.parse(text, path: "f") == expected)
    #expect(try YAML.parse("", path: "f") == [:])
    for (text, line) in [
      ("a: [1", 1), ("a: 1\na: 2", 2), ("a: &x 1\nb: *x", 1), ("a: 1\n---\nb: 2", 2), ("a: 1\n\tb: 2", 2),
    ] {
      do {
        _ = try YAML.parse(text, path: "f")
        Issue.record("\(text) was read")
      } catch TrainingError.syntax(_, let place, _) {
        #expect(abs(place - line) <= 1, "\(text)")
      }
    }
  }

  @Test func settingsSurviveTheirRecord() throws {
    var settings = TrainingSettings()
    settings.out = "runs/a"
    settings.schedule = .wsd
    settings.decayIters = 7
    settings.attentionDropout = 0.25
    settings.learningRate = 0.1 + 0.2
    settings.model = JSONObject([.init(key: "model_type", value: "llama")])
    let text = settings.document.text(.indented)
    let document = try Array(text.utf8).withUnsafeBytes { try JSONValue.parse($0, maximumDepth: 9) }
    #expect(try TrainingSettings(document: document, source: "run.json") == settings)
  }

  @Test func schedulesAreWhatTheySay() {
    var settings = TrainingSettings()
    settings.iters = 1000
    settings.learningRate = 1
    settings.minLearningRate = 0.1
    settings.warmupIters = 100
    let rate = { (step: Int) in settings.learningRate(step: step) }
    #expect(rate(0) == 1 / 101.0 && rate(99) == 100 / 101.0 && rate(100) == 1)
    #expect(abs(rate(550) - 0.55) < 1e-12 && abs(rate(1000) - 0.1) < 1e-12)
    settings.schedule = .linear
    #expect(abs(rate(325) - 0.775) < 1e-12 && abs(rate(1000) - 0.1) < 1e-12)
    settings.schedule = .constant
    #expect(rate(999) == 1)
    settings.schedule = .wsd
    #expect(rate(799) == 1 && abs(rate(900) - 0.55) < 1e-12)
    settings.decayIters = 100
    #expect(rate(899) == 1 && abs(rate(950) - 0.55) < 1e-12)
  }

  @Test func anEpochSeesEveryBlockOnce() throws {
    var settings = TrainingSettings()
    settings.blockSize = 10
    let data = TokenSequence((0..<1234).map { Int32($0) }[...], path: "memory")
    let sampler = try BlockSampler(data, settings)
    let count = (1234 - 1) / 10
    for epoch in 0..<3 {
      let starts = (epoch * count..<(epoch + 1) * count).map(sampler.start)
      #expect(Set(starts.map { $0 / 10 }).count == count && Set(starts.map { $0 % 10 }).count == 1)
      #expect(starts.min()! >= 0 && starts.max()! + 11 <= 1234 && starts != starts.sorted())
    }
    #expect((0..<count).map(sampler.start) != (count..<2 * count).map(sampler.start))
    settings.order = .random
    let random = try BlockSampler(data, settings)
    let starts = (0..<20_000).map(random.start)
    #expect(starts.min() == 0 && starts.max() == 1223)
    let batch = try random.batch(step: 0, pass: 0)
    #expect(batch.inputs[0].count == 10 && batch.targets[0][0] == batch.inputs[0][0] + 1)
  }

  /// The check value of the polynomial, and RFC 3720's example of 32 zeros.
  @Test func checksumsAreCastagnolis() {
    #expect(crc32c(Array("123456789".utf8)) == 0xE306_9283)
    #expect(crc32c([UInt8](repeating: 0, count: 32)) == 0x8A91_36AA)
  }
}
