import ChatTemplates
import Checkpoints
import Generation
import JSON
import Kernels
import Testing
import Tokenizers
import Transformer
import _TestSupport

@testable import Training

/// A model of random weights whose tokenizer knows `<|im_start|>` and `<|im_end|>`, and a file of conversations.
private struct FineTuningFolder {
  let folder: _TestSupport.TemporaryFolder
  var model: String { folder("model") }
  var rows: String { folder("rows.jsonl") }

  init(modelType: String = "llama") throws {
    folder = try _TestSupport.TemporaryFolder()
    let common: [JSONObject.Member] =
      modelType == "gpt2"
      ? [
        .init(key: "n_embd", value: 16), .init(key: "n_layer", value: 2), .init(key: "n_head", value: 2),
        .init(key: "n_positions", value: 64), .init(key: "eos_token_id", value: 0),
        .init(key: "bos_token_id", value: 0),
      ]
      : [
        .init(key: "hidden_size", value: 16), .init(key: "num_hidden_layers", value: 2),
        .init(key: "num_attention_heads", value: 2), .init(key: "intermediate_size", value: 24),
        .init(key: "max_position_embeddings", value: 64), .init(key: "eos_token_id", value: 0),
        .init(key: "bos_token_id", value: 0),
      ]
    let source = referenceFolder + "/Tokenizers/qwen2"
    let size = try Tokenizer.load(from: source).vocabularySize
    let document = JSONValue.object(
      JSONObject(
        [
          .init(key: "model_type", value: .string(modelType)),
          .init(key: "vocab_size", value: .integer(size)),
        ]
          + common))
    try RandomWeights(try ModelDescription(document, path: "model"), seed: 3).save(to: model)
    for name in ["tokenizer.json", "tokenizer_config.json"] {
      try readFile("\(source)/\(name)").withUnsafeBytes { try AtomicFile.write($0, to: "\(model)/\(name)") }
    }
    try folder.write(
      (0..<40).map {
        #"{"messages": [{"role": "user", "content": "\#($0) + \#($0 % 7)?"}, "#
          + #"{"role": "assistant", "content": "\#($0 + $0 % 7)"}]}"# + "\n"
      }.joined(), "rows.jsonl")
  }

  func settings(_ name: String) -> TrainingSettings {
    var settings = TrainingSettings(.fineTuning)
    settings.initFrom = model
    settings.train = rows
    settings.out = folder(name)
    settings.chatTemplate = "chatml"
    settings.epochs = nil
    settings.iters = 8
    settings.batchSize = 3
    settings.blockSize = 48
    settings.gradAccumulationSteps = 2
    settings.learningRate = 3e-3
    settings.warmupIters = 2
    settings.saveEvery = 3
    settings.stepsPerEval = 4
    settings.sampleTokens = 4
    settings.answerTokens = 4
    settings.dropout = 0.1
    settings.threads = 2
    return settings
  }
}

@Suite struct ExampleTests {
  private func encoder(
    _ tokenizer: String = "qwen2", template: String? = ChatTemplatePreset.chatML, onPrompt: Bool = false
  ) throws -> ExampleEncoder {
    let tokenizer = try Tokenizer.load(from: referenceFolder + "/Tokenizers/" + tokenizer)
    return try ExampleEncoder(
      tokenizer: tokenizer,
      template: template.map { try ChatTemplate($0, specialTokens: tokenizer.specialTokens) },
      trainsOnPrompt: onPrompt, endToken: tokenizer.endOfSequence)
  }

  private func row(_ text: String) throws -> FineTuningRow {
    try FineTuningRow(try JSONValue.parse(text), path: "f", place: "line 1")
  }

  /// Marked answers have the tokens that `apply_chat_template` masks; found by laying out beginnings, the same.
  @Test func masksAreThoseOfTransformers() throws {
    let document = try JSONDocument.load(referenceFolder + "/Training/masks.json")
    let template = try #require(document["template"]?.string)
    // Jinja reads a line end and its escape alike.
    func oneLine(_ text: String) -> String { text.replacing("\\n", with: "").replacing("\n", with: "") }
    #expect(oneLine(template) == oneLine(ChatTemplatePreset.chatML))
    let unmarked = template.replacing("{%- generation -%}", with: "").replacing(
      "{%- endgeneration -%}", with: "")
    for entry in try #require(document["cases"]?.array) {
      let messages = try #require(entry["messages"])
      let ids = try #require(entry["ids"]?.array).compactMap(\.int)
      let mask = try #require(entry["mask"]?.array).compactMap(\.int)
      for source in [template, ChatTemplatePreset.chatML, unmarked] {
        let examples = try encoder(template: source).examples(of: row(#"{"messages": \#(messages.text())}"#))
        #expect(examples.count == 1 && examples[0].tokens == ids)
        let found = ids.indices.map { place in examples[0].answers.contains { $0.contains(place) } ? 1 : 0 }
        #expect(found == mask)
      }
    }
  }

  @Test func aTemplateThatForgetsMakesATextOfEachAnswer() throws {
    // Earlier answers are shown as dots, as templates do that leave out what was thought.
    let forgetful = """
      {%- for m in messages %}<|im_start|>{{ m.role }} {{ m.content if loop.last or m.role == 'user' else '...' }}<|im_end|>
      {%- endfor %}{% if add_generation_prompt %}<|im_start|>assistant {% endif %}
      """
    let encoder = try encoder(template: forgetful)
    let examples = try encoder.examples(
      of: row(
        #"{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, "#
          + #"{"role": "user", "content": "c"}, {"role": "assistant", "content": "d"}]}"#))
    let texts = examples.map { example in
      example.answers.map { encoder.tokenizer.decode(Array(example.tokens[$0]), skipSpecialTokens: false) }
    }
    #expect(texts == [["b<|im_end|>"], ["d<|im_end|>"]])
    #expect(
      encoder.tokenizer.decode(examples[1].tokens, skipSpecialTokens: false).contains(
        "assistant ...<|im_end|>"))
  }

  @Test func rowsOfEveryKindAreLaidOut() throws {
    let plain = try encoder(template: nil)
    func shown(_ encoder: ExampleEncoder, _ text: String) throws -> [String] {
      try encoder.examples(of: row(text)).map { example in
        #expect(example.sequence.targets.count { $0 != -100 } == example.targetCount)
        var text = ""
        for (place, token) in example.tokens.enumerated() {
          for range in example.answers where range.lowerBound == place { text += "[" }
          text += encoder.tokenizer.decode([token], skipSpecialTokens: false)
          for range in example.answers where range.upperBound == place + 1 { text += "]" }
        }
        return text
      }
    }
    let task = #"{"instruction": "Add", "input": "1 2", "output": "3"}"#
    #expect(try shown(plain, task) == ["Add\n1 2[\n3<|im_end|>]"])
    #expect(
      try shown(plain, #"{"instruction": "Add", "input": "", "output": "3"}"#) == ["Add[\n3<|im_end|>]"])
    #expect(try shown(plain, #"{"prompt": "a b", "completion": " c"}"#) == ["a b[ c<|im_end|>]"])
    #expect(try shown(plain, #"{"text": "a b"}"#) == ["[a b<|im_end|>]"])
    #expect(try shown(plain, #"{"question": "q", "answer": "a"}"#) == ["q[\na<|im_end|>]"])
    let turns =
      #"{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}, {"from": "human", "value": "c"}, {"from": "gpt", "value": "d"}]}"#
    #expect(try shown(plain, turns) == ["a[\nb<|im_end|>]", "a\nb\nc[\nd<|im_end|>]"])
    let chat = try encoder()
    #expect(
      try shown(chat, task) == [
        "<|im_start|>user\nAdd\n1 2<|im_end|>\n<|im_start|>assistant\n[3<|im_end|>]\n"
      ])
    #expect(
      try shown(chat, #"{"system": "s", "history": [["a", "b"]], "instruction": "c", "output": "d"}"#) == [
        "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"
          + "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[d<|im_end|>]\n"
      ])
    let all = try encoder(onPrompt: true)
    #expect(try shown(all, task)[0].hasPrefix("[<|im_start|>user"))
    // A tokenizer that puts a token before every text.
    #expect(
      try shown(encoder("llama", template: nil), #"{"prompt": "a", "completion": " b"}"#) == ["<s>a[b</s>]"])
    let question = try #require(try chat.question(of: row(task)))
    #expect(question.answer == "3" && question.text == "Add\n1 2")
    #expect(
      chat.tokenizer.decode(question.prompt, skipSpecialTokens: false)
        == "<|im_start|>user\nAdd\n1 2<|im_end|>\n<|im_start|>assistant\n")
  }

  @Test func whatARowCannotBeIsSaid() throws {
    for (text, words) in [
      ("[1]", "line 1: must be an object"), ("{}", "has nothing"), (#"{"input": "a"}"#, #"has "input""#),
      (#"{"messages": [{"role": "user", "content": "a"}]}"#, "no message of the assistant"),
      (#"{"messages": 3}"#, "messages must be a list"),
      (#"{"messages": [3]}"#, "message 1 must be an object"),
      (#"{"messages": [{"content": "a"}]}"#, "message 1 must have a role"),
      (#"{"instruction": 3, "output": "a"}"#, "instruction must be a text"),
      (#"{"text": null}"#, "must have messages"),
    ] {
      do {
        _ = try row(text)
        Issue.record("\(text) was taken")
      } catch { #expect("\(error)".contains(words), "\(error)") }
    }
    let folder = try _TestSupport.TemporaryFolder()
    for (text, words) in [
      ("", "is empty"), ("[]", "holds no examples"),
      ("{\"text\": \"a\"}\n\n{\"text\":", "line 3 is not valid JSON"),
      ("[{\"text\": \"a\"}, 5]", "row 2: must be an object"), ("plain words", "line 1 is not valid JSON"),
    ] {
      let path = try folder.write(text, "rows.jsonl")
      do {
        _ = try FineTuningRow.load(path)
        Issue.record("\(text) was taken")
      } catch { #expect("\(error)".contains(words) && "\(error)".hasPrefix(path), "\(error)") }
    }
    #expect(try FineTuningRow.load(folder.write("\u{FEFF} [{\"text\": \"a\"}]", "list.json")).count == 1)
  }

  @Test func questionsAreOnOneSideOfTheSplit() throws {
    let rows = try (0..<3000).map { try row(#"{"instruction": "\#($0 / 2)", "output": "\#($0)"}"#) }
    let held = rows.map { FineTuningData.isHeldOut($0, 0.2) }
    #expect(stride(from: 0, to: 3000, by: 2).allSatisfy { held[$0] == held[$0 + 1] })
    #expect((500..<700).contains(held.count { $0 }))
  }

  @Test func everyEpochSeesEveryExampleOnce() {
    var settings = TrainingSettings(.fineTuning)
    settings.batchSize = 4
    settings.blockSize = 10
    settings.gradAccumulationSteps = 2
    let examples = (0..<37).map { number in
      TokenExample(tokens: Array(repeating: number, count: 3 + number % 8), answers: [1..<3 + number % 8])
    }
    for packing in [false, true] {
      settings.packing = packing
      let sampler = ExampleSampler(examples, settings)
      let perEpoch = sampler.steps(epochs: 1)
      #expect(packing || perEpoch == 5)
      var seen: [[Int]] = []
      for step in 0..<sampler.steps(epochs: 2) {
        let batches = sampler.batches(step: step)
        #expect((1...2).contains(batches.count))
        for batch in batches {
          #expect(packing ? batch.tokenCount <= 40 : batch.inputs.count <= 4)
          seen.append(batch.inputs.map { $0[0] })
        }
      }
      let firsts = seen.flatMap { $0 }
      #expect(firsts.prefix(37).sorted() == Array(0..<37) && firsts.dropFirst(37).sorted() == Array(0..<37))
      #expect(Array(firsts.prefix(37)) != Array(firsts.dropFirst(37)))
      // Asked for in any order, a step is the same.
      let again = ExampleSampler(examples, settings)
      for step in [3, 0, 7, 2] {
        #expect(again.batches(step: step) == sampler.batches(step: step))
      }
    }
  }
}

@Suite struct FineTuningRunTests {
  /// Examples side by side are what they are alone, for families whose positions and masks are all different.
  @Test(arguments: [
    "gpt2-plain", "llama-linear", "bloom-seven-heads", "mistral-window", "gpt_neox-parallel", "llama-dynamic",
  ])
  func packingChangesNothing(name: String) throws {
    let model = try TrainableModel(folder: referenceFolder + "/Fixtures/" + name)
    let pass = try TrainingPass(model.decoder, model.parameters, pool: WorkerPool(threadCount: 2))
    let size = model.decoder.configuration.vocabularySize
    let examples = [(11, 4), (3, 1), (7, 5), (19, 12)].map { count, start in
      TokenExample(
        tokens: (0..<count).map { (3 + $0 * $0 * 5 + start) % size }, answers: [start..<count - 1])
    }
    let targets = examples.reduce(0) { $0 + $1.targetCount }
    let loss = try pass.run(TokenBatch(examples), targetCount: targets)
    let packed = [Float](model.parameters.gradients.elements)
    model.parameters.clearGradients()
    var alone = 0.0
    for example in examples { alone += try pass.run(TokenBatch([example]), targetCount: targets) }
    #expect(abs(loss - alone) <= 1e-5 * loss)
    let largest = packed.map(abs).max() ?? 0
    for (a, b) in zip(packed, model.parameters.gradients.elements) { #expect(abs(a - b) <= 2e-5 * largest) }
  }

  @Test(arguments: [false, true]) func aRunGoesOnAsIfItHadNotStopped(lora: Bool) throws {
    let fixture = try FineTuningFolder()
    func settings(_ name: String) -> TrainingSettings {
      var settings = fixture.settings(name)
      settings.lora = lora
      settings.adapter.initialization = .pissa
      settings.adapter.rank = 2
      settings.adapter.dropout = 0.1
      settings.packing = lora
      return settings
    }
    let whole = try Trainer(settings("whole"))
    #expect(whole.notes.isEmpty && !whole.questions.isEmpty)
    let result = try whole.run()
    let (first, last) = (try #require(result.firstLoss), try #require(result.validationLoss))
    #expect(last < first)
    let flag = InterruptionFlag()
    let part = try Trainer(settings("parts")).run(interruption: flag) { event in
      if case .step(let step) = event, step.step == 4 { flag.raise() }
    }
    #expect(part.isInterrupted)
    removeFolder(fixture.folder("parts/checkpoints/step-00000004"))
    let rest = try Trainer(try Trainer.resumed(fixture.folder("parts"), .fineTuning), resumes: true).run()
    #expect(rest.validationLoss == result.validationLoss && rest.firstLoss == result.firstLoss)
    let file = lora ? "adapter_model.safetensors" : "model.safetensors"
    #expect(
      try readFile(fixture.folder("whole/model/\(file)")) == readFile(fixture.folder("parts/model/\(file)")))
    #expect(throws: TrainingError.self) { _ = try Trainer.resumed(fixture.folder("parts")) }
    // What stands beside the weights: the template, and every token that ends an answer.
    let templates = try #require(try ChatTemplateSet.load(from: fixture.folder("whole/model")))
    #expect(templates.text(named: "default") == ChatTemplatePreset.chatML)
    let generation = try JSONDocument.load(fixture.folder("whole/model/generation_config.json"))
    #expect(generation["eos_token_id"]?.array?.compactMap(\.int).contains(0) == true)
  }

  @Test func whatCannotWorkIsSaidAtOnce() throws {
    let fixture = try FineTuningFolder()
    func fault(_ change: (inout TrainingSettings) throws -> Void) -> String {
      var settings = fixture.settings("faults")
      do {
        try change(&settings)
        _ = try Trainer(settings)
        return "nothing"
      } catch { return "\(error)" }
    }
    #expect(fault { $0.initFrom = nil }.contains("model: is missing"))
    #expect(fault { $0.train = nil }.contains("train: is missing"))
    #expect(fault { $0.blockSize = 65 }.contains("block_size: is 65, and the model has 64 positions"))
    #expect(fault { $0.blockSize = 2 }.contains("leaves no example"))
    #expect(fault { $0.chatTemplate = "nowhere.jinja" }.contains("nowhere.jinja is no file"))
    let needy = try fixture.folder.write("<|one|>{{ messages }}<|two|><|im_end|>", "needy.jinja")
    #expect(fault { $0.chatTemplate = needy }.contains("needs the special tokens <|one|>, <|two|>, which"))
    #expect(
      fault {
        $0.lora = true; $0.adapter.targets = "q_prj"
      }.contains("q_prj is no linear map"))
    #expect(
      fault {
        $0.lora = true; $0.adapter.rank = 17
      }.contains("has a rank of 16 at most"))
    #expect(
      fault { try $0.set("lora_rnk", 3, source: "f") }
        == "f: lora_rnk: is no setting; did you mean lora_rank?")
    #expect(fault { try $0.set("lora", "yes", source: "f") }.contains("lora: must be true or false"))
    #expect(fault { try $0.set("tokenizer", "x", source: "f") }.contains("tokenizer: is no setting"))
    #expect(fault { $0.out = "/proc/nowhere" }.contains("cannot be written"))
  }

  @Test func fineTuningSettingsSurviveTheirRecord() throws {
    var settings = TrainingSettings(.fineTuning)
    settings.initFrom = "m"
    settings.lora = true
    settings.adapter = AdapterSettings(
      rank: 3, alpha: 7.5, dropout: 0.125, targets: "q_proj,v_proj", initialization: .pissa)
    settings.packing = true
    for epochs in [nil, 2.5] {
      settings.epochs = epochs
      settings.iters = epochs == nil ? 77 : 1000
      let document = try JSONValue.parse(settings.document.text(.indented))
      #expect(try TrainingSettings(document: document, source: "run.json", purpose: .fineTuning) == settings)
    }
    try settings.set("lora_targets", ["a", "b"], source: "f")
    #expect(settings.adapter.targets == "a,b")
  }
}
