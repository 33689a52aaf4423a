import Checkpoints
import Inkstone
import JSON
import Kernels
import Testing
import Transformer
import _TestSupport

@testable import Training

@Suite struct AdapterTests {
  private func fixture(_ name: String) -> String { referenceFolder + "/Fixtures/" + name }
  private func adapter(_ name: String) -> String { referenceFolder + "/Training/adapters/" + name }

  private func cases() throws -> [JSONValue] {
    try #require(try JSONDocument.load(referenceFolder + "/Training/adapters.json")["cases"]?.array)
  }

  private func logits(_ decoder: Decoder, _ tokens: [Int], engine: (any ComputeEngine)? = nil) throws
    -> [Float]
  {
    let session = try InferenceSession(
      decoder: decoder, engine: engine ?? BLASEngine(threadCount: 1), capacity: tokens.count)
    return Array(try session.prefill(tokens))
  }

  /// Adapters that PEFT wrote, merged as they are loaded: rank-stabilised, with patterns, on fused and transposed maps.
  @Test func adaptersOfPEFTGiveItsLogits() throws {
    for entry in try cases() {
      let name = try #require(entry["model"]?.string)
      let decoder = try Decoder.load(from: fixture(name), adapter: adapter(name))
      let plain = try Decoder.load(from: fixture(name))
      for (row, expected) in zip(
        try #require(entry["rows"]?.array), try #require(entry["last_logits"]?.array))
      {
        let tokens = try #require(row.array).dropLast().compactMap(\.int)
        let values = try #require(expected.array).compactMap(\.double).map { Float($0) }
        let found = try logits(decoder, tokens)
        let scale = values.map(abs).max() ?? 1
        #expect(zip(found, values).allSatisfy { abs($0 - $1) <= 2e-5 * max(1, scale) }, "\(name)")
        let without = try logits(plain, tokens)
        #expect(zip(without, values).contains { abs($0 - $1) > 1e-2 * scale }, "\(name) does nothing")
      }
    }
  }

  /// Loss and gradients of A and B are PyTorch's.
  @Test(arguments: ["gpt2-plain", "gpt_neox-parallel", "falcon-new-two-norms", "phi3-partial-window"])
  func gradientsAreThoseOfPyTorch(name: String) throws {
    let entry = try #require(try cases().first { $0["model"]?.string == name })
    let configuration = try JSONDocument.load(adapter(name) + "/adapter_config.json")
    var settings = AdapterSettings()
    settings.rank = try #require(configuration["r"]?.int)
    settings.alpha = try #require(configuration["lora_alpha"]?.double)
    let targets = try #require(configuration["target_modules"]?.array).compactMap(\.string)
    settings.targets = targets.joined(separator: ",")
    let pool = WorkerPool(threadCount: 2)
    let model = try TrainableModel(folder: fixture(name), adapters: settings, seed: 1, pool: pool)
    let adapters = try #require(model.adapters)
    try adapters.loadState(from: adapter(name))
    let pass = try TrainingPass(model.decoder, model.parameters, adapters: adapters, pool: pool)
    let rows = try #require(entry["rows"]?.array).map { ($0.array ?? []).compactMap(\.int) }
    let batch = TokenBatch(sequences: rows)
    let expected = try #require(entry["loss"]?.double)
    let loss = try pass.run(batch, targetCount: batch.targetCount) / Double(batch.targetCount)
    #expect(abs(loss - expected) <= 1e-5 * expected)
    let file = try SafetensorsFile(path: adapter(name) + "/gradients.safetensors")
    #expect(Set(file.tensors.map(\.name)) == Set(model.parameters.tensors.map(\.name)))
    for record in file.tensors {
      let values = try record.floats()
      let found = model.parameters.gradient(ofTensor: record.name)
      let scale = values.map(abs).max() ?? 0
      #expect(
        zip(found, values).allSatisfy { abs($0 - $1) <= 1e-4 * max(scale, 1e-3) }, "\(name) \(record.name)")
    }
    // While it learns, the model writes with its adapters.
    let tokens = Array(rows[0].dropLast())
    let beside = try logits(model.decoder, tokens, engine: model.engine(pool: pool))
    let merged = try logits(try Decoder.load(from: fixture(name), adapter: adapter(name)), tokens)
    #expect(zip(beside, merged).allSatisfy { abs($0 - $1) <= 1e-4 })
    // What is written is what was read.
    let folder = try _TestSupport.TemporaryFolder()
    try adapters.save(to: folder.path, base: name)
    let again = try logits(try Decoder.load(from: fixture(name), adapter: folder.path), tokens)
    #expect(again == merged)
  }

  /// Along the gradient of one matrix, the loss changes by its squared norm; what drops drops the same way back.
  @Test(arguments: ["gpt2-plain", "llama-linear"], [AdapterInitialization.standard, .pissa])
  func gradientsFollowTheLoss(name: String, start: AdapterInitialization) throws {
    var settings = AdapterSettings()
    settings.rank = 3
    settings.dropout = 0.2
    settings.initialization = start
    let pool = WorkerPool(threadCount: 2)
    let model = try TrainableModel(folder: fixture(name), adapters: settings, seed: 5, pool: pool)
    let parameters = model.parameters
    if start == .standard {
      // B is zero at first, and A has no gradient then.
      for (index, slot) in parameters.slots.enumerated() where index % 2 == 1 {
        for element in slot.range { parameters.values.base[element] = Float(element % 13 - 6) * 0.02 }
      }
    }
    let pass = try TrainingPass(model.decoder, parameters, adapters: model.adapters, pool: pool)
    let size = model.decoder.configuration.vocabularySize
    let batch = TokenBatch(sequences: [(0..<9).map { $0 * 7 % size }, (0..<6).map { $0 * 11 % size }])
    let dropout = DropoutSettings(residual: 0.1, attention: 0, seed: 3, step: 5, batch: 1)
    func loss() throws -> Double {
      try pass.run(batch, targetCount: batch.targetCount, dropout: dropout, wantsGradient: false)
        / Double(batch.targetCount)
    }
    _ = try pass.run(batch, targetCount: batch.targetCount, dropout: dropout)
    #expect(
      try abs(loss() - pass.run(batch, targetCount: batch.targetCount, wantsGradient: false) / 13) > 1e-4)
    var compared = 0
    for slot in parameters.slots {
      let weights = parameters.values.base + slot.start
      let count = slot.parameter.count
      let gradient = Array(UnsafeBufferPointer(start: parameters.gradients.base + slot.start, count: count))
      let square = gradient.reduce(0) { $0 + Double($1) * Double($1) }
      guard square > 1e-6 else { continue }
      compared += 1
      let before = Array(UnsafeBufferPointer(start: weights, count: count))
      let step = Float(2e-3 / square.squareRoot())
      for index in gradient.indices { weights[index] = before[index] + step * gradient[index] }
      let above = try loss()
      for index in gradient.indices { weights[index] = before[index] - step * gradient[index] }
      let below = try loss()
      for index in gradient.indices { weights[index] = before[index] }
      #expect(abs((above - below) / (2 * Double(step)) - square) <= 0.03 * square, "\(slot.name)")
    }
    #expect(compared > parameters.slots.count / 2)
  }

  /// The model begins as it was, its largest components in the adapters; written out, they are of the model as it is.
  @Test(arguments: ["gpt2-plain", "llama-linear", "gpt_neox-parallel"])
  func principalComponentsAreTakenOutOfTheModel(name: String) throws {
    var settings = AdapterSettings()
    settings.rank = 2
    settings.alpha = 3
    settings.initialization = .pissa
    let pool = WorkerPool(threadCount: 2)
    let model = try TrainableModel(folder: fixture(name), adapters: settings, seed: 5, pool: pool)
    let adapters = try #require(model.adapters)
    let tokens = [1, 5, 9, 2, 7]
    let plain = try logits(model.decoder, tokens)
    let begun = try logits(model.decoder, tokens, engine: model.engine(pool: pool))
    #expect(zip(plain, begun).allSatisfy { abs($0 - $1) <= 1e-4 })
    // ‖s·B·A‖² is Σσ² of the components, no matter how they are shared out.
    let map = try #require(model.decoder.adaptableMaps(model.table).first)
    let beside = adapters.adapters(of: map.weight)
    #expect(beside.count == 2 * map.modules.count && beside[1].scale == -beside[0].scale)
    for slot in model.parameters.slots {
      for element in slot.range { model.parameters.values.base[element] += Float(element % 7 - 3) * 0.01 }
    }
    let learned = try logits(model.decoder, tokens, engine: model.engine(pool: pool))
    #expect(zip(plain, learned).contains { abs($0 - $1) > 1e-3 })
    let folder = try _TestSupport.TemporaryFolder()
    try adapters.save(to: folder.path, base: name)
    let merged = try logits(try Decoder.load(from: fixture(name), adapter: folder.path), tokens)
    #expect(zip(merged, learned).allSatisfy { abs($0 - $1) <= 1e-4 })
    #expect(try JSONDocument.load(folder("adapter_config.json"))["r"]?.int == 4)
    // A state that is read back is the same to the bit.
    try adapters.saveState(to: folder.path)
    let other = try TrainableModel(folder: fixture(name), adapters: settings, seed: 9, pool: pool)
    try other.adapters?.loadState(from: folder.path)
    #expect(try logits(other.decoder, tokens, engine: other.engine(pool: pool)) == learned)
  }

  /// GGUF holds GPT-2's matrices the other way round, and they are used where they lie: the adapter is the folder's all the same.
  @Test(arguments: [AdapterInitialization.standard, .pissa])
  func adaptersOfAModelInGGUFFitItsFolder(start: AdapterInitialization) throws {
    let folder = try _TestSupport.TemporaryFolder()
    let file = folder("model.gguf")
    _ = try ModelConversion.writeGGUF(
      from: fixture("gpt2-plain"), to: file, as: .f32, includesVocabulary: false)
    var settings = AdapterSettings()
    settings.rank = 3
    settings.initialization = start
    let pool = WorkerPool(threadCount: 2)
    let tokens = [1, 5, 9, 2, 7]
    let decoders = try [file, fixture("gpt2-plain")].map { path in
      let model = try TrainableModel(folder: path, adapters: settings, seed: 5, pool: pool)
      for slot in model.parameters.slots {
        for element in slot.range { model.parameters.values.base[element] += Float(element % 7 - 3) * 0.01 }
      }
      let learned = try logits(model.decoder, tokens, engine: model.engine(pool: pool))
      let adapter = try _TestSupport.TemporaryFolder()
      try #require(model.adapters).save(to: adapter.path, base: "gpt2-plain")
      #expect(try JSONDocument.load(adapter("adapter_config.json"))["fan_in_fan_out"]?.bool == true)
      let merged = try logits(
        try Decoder.load(from: fixture("gpt2-plain"), adapter: adapter.path), tokens)
      #expect(zip(merged, learned).allSatisfy { abs($0 - $1) <= 1e-4 }, "\(path)")
      return model.decoder
    }
    let layouts = decoders.map { $0.weights.blocks[0].queryKeyValue.layout }
    #expect(layouts == [.outputMajor, .inputMajor])
    let (turned, plain) = (try logits(decoders[0], tokens), try logits(decoders[1], tokens))
    #expect(zip(turned, plain).allSatisfy { abs($0 - $1) <= 1e-5 })
  }

  @Test func fusedModelsNeedNoAdapter() throws {
    let folder = try _TestSupport.TemporaryFolder()
    for name in ["gpt2-plain", "llama-linear", "bloom-seven-heads"] {
      try CheckpointExport.write(model: fixture(name), to: folder(name), as: .f32, adapter: adapter(name))
      let tokens = [1, 5, 9, 2, 7]
      let fused = try logits(try Decoder.load(from: folder(name)), tokens)
      #expect(try fused == logits(try Decoder.load(from: fixture(name), adapter: adapter(name)), tokens))
    }
  }

  @Test func whatIsNoAdapterOfTheModelIsSaid() throws {
    let folder = try _TestSupport.TemporaryFolder()
    func fault(_ path: String, _ model: String = "gpt2-plain") -> String {
      do {
        _ = try Decoder.load(from: fixture(model), adapter: path)
        return "nothing"
      } catch { return "\(error)" }
    }
    #expect(fault(folder("nowhere")).contains("nowhere: no such file"))
    #expect(fault(folder.path).contains("holds no adapter_config.json"))
    #expect(
      fault(adapter("llama-linear")).contains("has no such matrix; the adapter belongs to another model"))
    #expect(fault(adapter("gpt2-plain"), "gpt2-odd-sizes").contains("changes a matrix of"))
    let text = String(decoding: try readFile(adapter("gpt2-plain") + "/adapter_config.json"), as: UTF8.self)
    func faultWith(_ old: String, _ new: String) throws -> String {
      #expect(text.contains(old))
      try folder.write(text.replacing(old, with: new), "adapter_config.json")
      return fault(folder.path)
    }
    #expect(
      try faultWith("\"peft_type\": \"LORA\"", "\"peft_type\": \"IA3\"").contains("peft_type must be LORA"))
    #expect(try faultWith("\"use_dora\": false", "\"use_dora\": true").contains("use_dora is true"))
    #expect(
      try faultWith("\"init_lora_weights\": true", "\"init_lora_weights\": \"pissa\"").contains(
        "belongs to a changed base model"))
    #expect(
      try faultWith("\"lora_alpha\": 4", "\"lora_alpha\": \"x\"").contains("lora_alpha must be a number"))
    #expect(try faultWith("\"r\": 2", "\"r\": 2").contains("holds no adapter_model.safetensors"))
    // Damaged files, and files with other things.
    let whole = try readFile(adapter("gpt2-plain") + "/adapter_model.safetensors")
    try folder.write(Array(whole.dropLast(9)), "adapter_model.safetensors")
    #expect(fault(folder.path).contains("adapter_model.safetensors"))
    func write(_ tensors: [(String, [Int])]) throws -> String {
      let declarations = tensors.map { TensorDeclaration(name: $0.0, type: .f32, shape: $0.1) }
      try SafetensorsWriter.write(
        to: folder("adapter_model.safetensors"), declarations, metadata: ["format": "pt"]
      ) { tensor, append in
        try [Float](repeating: 1, count: tensor.shape.reduce(1, *)).withUnsafeBytes { try append($0) }
      }
      return fault(folder.path)
    }
    let base = "base_model.model.transformer.h.0.attn.c_attn."
    #expect(try write([("x", [2])]).contains("its name must begin with base_model.model."))
    #expect(try write([(base + "lora_A.weight", [2, 24])]).contains("only one of lora_A and lora_B"))
    #expect(
      try write([(base + "lora_A.weight", [2, 24]), (base + "lora_B.weight", [72, 3])]).contains(
        "as many columns as lora_A has rows, 2"))
    #expect(
      try write([(base + "lora_magnitude_vector", [2])]).contains("kind of adapter that is not supported"))
    #expect(try write([(base + "bias", [3])]).contains("has the shape [3], and that of"))
    // A bias of the model's own shape is taken.
    #expect(try write([(base + "bias", [72])]) == "nothing")
  }
}

@Suite struct SingularValueTests {
  @Test(arguments: [(1, 1), (1, 7), (7, 1), (5, 9), (9, 5), (64, 65), (33, 33)])
  func partsMultiplyToTheMatrix(rows: Int, columns: Int) throws {
    var state: UInt64 = 9
    let matrix = (0..<rows * columns).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Float(state >> 40) / Float(1 << 24) - 0.5
    }
    let parts = try #require(SingularValueDecomposition(matrix, rows: rows, columns: columns))
    let k = min(rows, columns)
    #expect(parts.values.count == k && zip(parts.values, parts.values.dropFirst()).allSatisfy { $0 >= $1 })
    for row in 0..<rows {
      for column in 0..<columns {
        var sum = 0.0
        for index in 0..<k {
          sum +=
            Double(parts.left[row * k + index]) * Double(parts.values[index])
            * Double(parts.right[index * columns + column])
        }
        #expect(abs(sum - Double(matrix[row * columns + column])) <= 1e-5 * Double(parts.values[0]))
      }
    }
    for a in 0..<k {
      for b in 0...a {
        let left = (0..<rows).reduce(0.0) { $0 + Double(parts.left[$1 * k + a] * parts.left[$1 * k + b]) }
        let right = (0..<columns).reduce(0.0) {
          $0 + Double(parts.right[a * columns + $1] * parts.right[b * columns + $1])
        }
        #expect(abs(left - (a == b ? 1 : 0)) < 1e-4 && abs(right - (a == b ? 1 : 0)) < 1e-4)
      }
    }
  }
}
