import Checkpoints
import Generation
import JSON
import Kernels
import Tokenizers
import Transformer

/// Freezes what a model computes today as a reference that `Verifier` replays tomorrow: after an upgrade, on
/// another machine, with another engine or weight type.
public struct Recorder {
  private let decoder: Decoder
  private let tokenizer: Tokenizer?
  private let generationConfiguration: GenerationConfiguration
  private let engine: any ComputeEngine
  private var cases: [JSONValue] = []
  private var tensors: [(name: String, shape: [Int], values: [Float])] = []

  /// Records with a model and an engine.
  public init(
    decoder: Decoder, tokenizer: Tokenizer?, generationConfiguration: GenerationConfiguration,
    engine: any ComputeEngine
  ) {
    self.decoder = decoder
    self.tokenizer = tokenizer
    self.generationConfiguration = generationConfiguration
    self.engine = engine
  }

  /// Computes every case and writes `reference.json` and `reference.safetensors`.
  ///
  /// - Parameters:
  ///   - folder: receives the two files; made when it is not there.
  ///   - texts: become prompts and tokeniser cases, where the model has a tokeniser; cut at the context.
  ///   - seed: chooses the random prompts.
  ///   - generator: what to say about the program that computed the numbers.
  /// - Throws: whatever the model or the file system refuses; no file is half-written.
  public static func record(
    _ recorder: Recorder, to folder: String, texts: [String], seed: Int, generator: JSONValue
  ) throws {
    var recorder = recorder
    try recorder.compute(texts: texts, seed: seed)
    try createFolder(folder)
    let base = folder.hasSuffix("/") ? folder : folder + "/"
    // Data first: a reference.json never names tensors that are not there.
    let contents = Dictionary(recorder.tensors.map { ($0.name, $0.values) }) { first, _ in first }
    try SafetensorsWriter.write(
      to: base + "reference.safetensors",
      recorder.tensors.map { TensorDeclaration(name: $0.name, type: .f32, shape: $0.shape) }
    ) { declaration, append in
      try contents[declaration.name]?.withUnsafeBytes { try append($0) }
    }
    let document: JSONValue = [
      "generator": generator, "seed": .integer(seed), "cases": .array(recorder.cases),
    ]
    try AtomicFile.write(document.text(.indented) + "\n", to: base + "reference.json")
  }

  private mutating func compute(texts: [String], seed: Int) throws {
    let context = decoder.configuration.contextLength
    let vocabulary = decoder.configuration.vocabularySize
    var state = UInt64(truncatingIfNeeded: seed)
    func randomTokens(_ count: Int) -> [Int] {
      (0..<count).map { _ in
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Int((state >> 33) % UInt64(vocabulary))
      }
    }

    for length in [1, 2, 7, 33] where length <= context {
      try addPrefill("prefill-\(length)", randomTokens(length))
    }
    try addHiddenStates("layers", randomTokens(min(7, context)))

    var prompts = [("random", randomTokens(min(5, context)))]
    if let tokenizer {
      for (index, text) in texts.enumerated() {
        let ids = try tokenizer.encode(text, addSpecialTokens: true)
        cases.append([
          "name": .string("tok-\(index)"), "text": .string(text), "add_special_tokens": true,
          "ids": Recorder.list(ids), "decoded": .string(tokenizer.decode(ids, skipSpecialTokens: false)),
        ])
        guard !ids.isEmpty, ids.allSatisfy({ $0 < vocabulary }) else { continue }
        let prompt = Array(ids.prefix(min(context, 128)))
        try addPrefill("text-\(index)", prompt)
        prompts.append(("text-\(index)", prompt))
      }
    }
    for (name, prompt) in prompts where prompt.count < context {
      try addOutput("greedy-\(name)", prompt, ["do_sample": false, "max_new_tokens": 20])
      if decoder.configuration.vocabularySize > 10 {
        try addOutput(
          "beams-\(name)", prompt,
          [
            "do_sample": false, "max_new_tokens": 20, "num_beams": 5, "no_repeat_ngram_size": 2,
            "early_stopping": true, "num_return_sequences": 2,
          ])
      }
      try addScores(
        "scores-\(name)", prompt, ["do_sample": true, "temperature": 0.7, "top_k": 20, "top_p": 0.9])
    }
  }

  private mutating func addPrefill(_ name: String, _ tokens: [Int]) throws {
    let vocabulary = decoder.configuration.vocabularySize
    var logits = [Float](repeating: 0, count: tokens.count * vocabulary)
    let session = try InferenceSession(decoder: decoder, engine: engine, capacity: tokens.count)
    let scores = try logits.withUnsafeMutableBufferPointer { buffer in
      let view = MutableMatrixView(buffer.baseAddress!, rows: tokens.count, columns: vocabulary)
      try session.append(tokens, logits: view)
      return (1..<max(tokens.count, 1)).map {
        logProbability(of: tokens[$0], in: view.readOnly.row($0 - 1), count: vocabulary)
      }
    }
    tensors.append(("\(name).logits", [tokens.count, vocabulary], logits))
    cases.append([
      "name": .string(name), "input_ids": Recorder.list(tokens), "logits": .string("\(name).logits"),
      "token_logprobs": .array([.null] + scores.map { .number($0) }),
    ])
  }

  private mutating func addHiddenStates(_ name: String, _ tokens: [Int]) throws {
    let states = try hiddenStates(of: tokens, decoder: decoder, engine: engine)
    let names = states.indices.map { "\(name).hidden.\($0)" }
    for (name, values) in zip(names, states) {
      tensors.append((name, [tokens.count, decoder.configuration.hiddenSize], values))
    }
    cases.append([
      "name": .string(name), "input_ids": Recorder.list(tokens),
      "hidden_states": .array(names.map { .string($0) }),
    ])
  }

  private func plan(_ prompt: [Int], _ settings: JSONValue) throws -> DecodingPlan {
    try GenerationConfiguration(json: settings, source: "the recorded settings").merged(
      over: generationConfiguration
    )
    .plan(
      promptLength: prompt.count, contextLength: decoder.configuration.contextLength,
      vocabularySize: decoder.configuration.vocabularySize)
  }

  private mutating func addOutput(_ name: String, _ prompt: [Int], _ settings: JSONValue) throws {
    let plan = try plan(prompt, settings)
    let session = try InferenceSession(
      decoder: decoder, engine: engine, capacity: plan.maximumLength, maximumRows: plan.beamCount)
    let result = try generate(prompt: prompt, plan: plan, session: session)
    var entry: [JSONObject.Member] = [
      .init(key: "name", value: .string(name)), .init(key: "input_ids", value: Recorder.list(prompt)),
      .init(key: "generation_config", value: settings),
      .init(
        key: "output_ids", value: .array(result.filledRows(prompt: prompt, plan: plan).map(Recorder.list))),
    ]
    if plan.beamCount > 1 {
      entry.append(
        .init(
          key: "sequences_scores", value: .array(result.sequences.map { .number(Double($0.score ?? .nan)) })))
    }
    cases.append(.object(JSONObject(entry)))
  }

  private mutating func addScores(_ name: String, _ prompt: [Int], _ settings: JSONValue) throws {
    let session = try InferenceSession(decoder: decoder, engine: engine, capacity: prompt.count + 1)
    let scores = try processedScores(prompt: prompt, plan: try plan(prompt, settings), session: session)
    tensors.append(("\(name).processed", [scores.count], scores))
    cases.append([
      "name": .string(name), "input_ids": Recorder.list(prompt), "generation_config": settings,
      "processed_scores": .string("\(name).processed"),
    ])
  }

  private static func list(_ ids: [Int]) -> JSONValue { .array(ids.map { .integer($0) }) }
}

/// The embeddings and every block's output, the last one after the final norm: L + 1 matrices of (T, C).
func hiddenStates(of tokens: [Int], decoder: Decoder, engine: any ComputeEngine) throws -> [[Float]] {
  var points: [ActivationPoint] = [.embedding]
  points += (0..<decoder.configuration.layerCount - 1).map { .block(layer: $0) }
  points.append(.finalNorm)
  var states: [ActivationPoint: [Float]] = [:]
  let session = try InferenceSession(
    decoder: decoder, engine: engine, capacity: tokens.count, chunkSize: max(tokens.count, 1))
  try session.append(tokens) { point, view in
    states[point] = (0..<view.rows).flatMap {
      Array(UnsafeBufferPointer(start: view.row($0), count: view.columns))
    }
  }
  return points.map { states[$0] ?? [] }
}
