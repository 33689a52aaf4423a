import Foundation
import Inkstone
import JSON
import Testing
import _TestSupport

/// Weights in compact types: the same model as those weights widened, in every layout and family.
@Suite struct WeightFormatTests {
  /// A shape whose rows whole blocks make up, with heads that share keys and values, and odd numbers of outputs.
  ///
  /// - Parameter isTied: whether the head is the token embedding, where the family leaves that open.
  static func description(_ family: String, isTied: Bool = false) throws -> ModelDescription {
    let document: JSONValue =
      switch family {
      case "gpt2":
        [
          "model_type": "gpt2", "n_layer": 3, "n_head": 4, "n_embd": 256, "n_inner": 512, "vocab_size": 301,
          "n_positions": 64, "bos_token_id": 1, "eos_token_id": 1,
        ]
      case "gpt_neox":
        [
          "model_type": "gpt_neox", "num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 256,
          "intermediate_size": 256, "vocab_size": 133, "max_position_embeddings": 64,
          "tie_word_embeddings": .bool(isTied), "bos_token_id": 1, "eos_token_id": 1,
        ]
      case "mixtral":
        [
          "model_type": "mixtral", "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
          "hidden_size": 256, "intermediate_size": 256, "vocab_size": 97, "num_local_experts": 3,
          "num_experts_per_tok": 2, "max_position_embeddings": 64, "bos_token_id": 1, "eos_token_id": 1,
        ]
      default:
        [
          "model_type": "qwen2", "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
          "hidden_size": 256, "intermediate_size": 352, "vocab_size": 257, "max_position_embeddings": 64,
          "tie_word_embeddings": .bool(isTied), "bos_token_id": 1, "eos_token_id": 1,
        ]
      }
    return try ModelDescription(document, path: family)
  }

  private func scores(_ decoder: Decoder, _ engine: any ComputeEngine) throws -> [Float] {
    let tokens = [3, 1, 4, 1, 5, 9, 2, 6]
    let session = try InferenceSession(decoder: decoder, engine: engine)
    return try withExtendedLifetime(session) {
      var all = Array(try session.append(Array(tokens[..<5])))
      for token in tokens[5...] { all += try session.step([token]) }
      return all
    }
  }

  private func largest(_ values: [Float]) -> Float { values.reduce(0) { max($0, $1.magnitude) } }

  private func difference(_ left: [Float], _ right: [Float]) -> Float {
    zip(left, right).reduce(0) { max($0, ($1.0 - $1.1).magnitude) }
  }

  /// A GGUF file's blocks as they are, and widened: plain loops add the same products in the same order, so not a bit
  /// differs; the fast engine differs by what it rounds.
  @Test(arguments: ["gpt2", "qwen2", "mixtral", "gpt_neox"], GGUFExport.OutputType.allCases)
  func keptBlocksAreTheModel(family: String, type: GGUFExport.OutputType) throws {
    let folder = try TemporaryFolder()
    try RandomWeights(Self.description(family), seed: 5).save(to: folder("model"))
    _ = try ModelConversion.writeGGUF(from: folder("model"), to: folder("model.gguf"), as: type)
    let kept = try Decoder.load(from: folder("model.gguf"))
    let widened = try Decoder.load(from: folder("model.gguf"), format: .float32)
    #expect(kept.weights.packedTypes.isEmpty == (type == .f32))
    let exact = try scores(widened, NaiveEngine())
    #expect(try scores(kept, NaiveEngine()) == exact, "\(family) \(type)")
    let fast = try scores(kept, BLASEngine(threadCount: 2))
    // Activations of 8 bits are off by at most 1/254 of their block's largest, at random: some thousandths of a sum, through
    // few layers. 16 bits and floats lose nothing but the order of sums.
    let allowed: Float = kept.weights.packedTypes.contains { $0.type.isQuantized } ? 0.03 : 2e-5
    #expect(
      difference(fast, exact) <= allowed * largest(exact), "\(family) \(type): \(difference(fast, exact))")
    #expect(fast == (try scores(kept, BLASEngine(threadCount: 1))), "threads change bits")
    for engine in [NaiveEngine(), BLASEngine(threadCount: 2)] as [any ComputeEngine] {
      let later = try Decoder.load(from: folder("model.gguf"), check: .whenUsed)
      #expect(try scores(later, engine) == (engine.name == "blas" ? fast : exact), "\(family) \(type)")
    }
  }

  /// A scale that is NaN gives no scores: not when its matrix is first used from the file, nor when it is packed at once for a
  /// long prompt.
  @Test(arguments: ["gpt2", "qwen2", "mixtral"], GGUFExport.OutputType.allCases)
  func aScaleThatIsNaNIsRefusedWhenItIsUsed(family: String, type: GGUFExport.OutputType) throws {
    let folder = try TemporaryFolder()
    try RandomWeights(Self.description(family), seed: 9).save(to: folder("model"))
    _ = try ModelConversion.writeGGUF(from: folder("model"), to: folder("model.gguf"), as: type)
    let file = try GGUFFile(path: folder("model.gguf"))
    for suffix in family == "mixtral" ? ["ffn_down_exps.weight"] : ["attn_output.weight", "ffn_up.bias"] {
      guard let tensor = file.tensors.last(where: { $0.name.hasSuffix(suffix) }) else { continue }
      var bytes = try Data(contentsOf: URL(filePath: folder("model.gguf")))
      let blocks = tensor.byteCount / tensor.type.bytesPerBlock
      // A mixture's experts are not all used: each gets one.
      for part in 0..<3 {
        let block = tensor.byteRange.lowerBound + (blocks * (part + 1) / 3 - 1) * tensor.type.bytesPerBlock
        // Every float and every block's first number, but that of q6_K, which ends with it.
        let offset = tensor.type == .q6_k ? 208 : 0
        for byte in 0..<(tensor.type == .f32 ? 4 : 2) { bytes[block + offset + byte] = 0xFF }
      }
      try bytes.write(to: URL(filePath: folder("damaged.gguf")))
      func isNamed(_ error: any Error) -> Bool {
        "\(error)".contains("damaged.gguf") && "\(error)".contains("'\(tensor.name)' holds")
          && "\(error)".contains("nan")
      }
      #expect(performing: { try Decoder.load(from: folder("damaged.gguf")) }, throws: isNamed)
      for (engine, count) in [
        (NaiveEngine(), 3), (BLASEngine(threadCount: 2), 3), (BLASEngine(threadCount: 2), 60),
      ] as [(any ComputeEngine, Int)] {
        let decoder = try Decoder.load(from: folder("damaged.gguf"), check: .whenUsed)
        let session = try InferenceSession(decoder: decoder, engine: engine)
        for _ in 0..<2 {
          #expect(
            "\(suffix) of \(family) as \(type), \(engine.name)",
            performing: { try session.append([Int](repeating: 3, count: count / 2)) }, throws: isNamed)
        }
      }
    }
  }

  /// What `--dtype` packs while it loads is what a file of that type holds.
  @Test(arguments: ["gpt2", "qwen2", "mixtral"], WeightType.allCases)
  func packingWhileLoadingEqualsAFile(family: String, type: WeightType) throws {
    let folder = try TemporaryFolder()
    let random = try RandomWeights(Self.description(family), seed: 6)
    try random.save(to: folder("model"))
    _ = try ModelConversion.writeGGUF(
      from: folder("model"), to: folder("model.gguf"), as: GGUFExport.OutputType(type))
    let packed = try Decoder.load(from: folder("model"), format: .packed(type))
    let drawn = try random.makeDecoder(format: .packed(type))
    let expected = try scores(Decoder.load(from: folder("model.gguf")), NaiveEngine())
    #expect(try scores(packed, NaiveEngine()) == expected)
    #expect(try scores(drawn, NaiveEngine()) == expected)
    // The bytes that are foretold are the bytes that are there.
    #expect(
      try Decoder.weightByteCount(of: folder("model"), format: .packed(type))
        == packed.weights.byteCount(of: Self.description(family)))
  }

  /// Rounding to fewer bits costs more, and none of them ruins the scores.
  @Test func fewerBitsCostMore() throws {
    let random = try RandomWeights(Self.description("qwen2"), seed: 7)
    let exact = try scores(random.makeDecoder(), NaiveEngine())
    var before: Float = 0
    for type in [WeightType.f16, .bf16, .q8_0, .q6_K, .q5_K, .q4_K] {
      let error = difference(try scores(random.makeDecoder(format: .packed(type)), NaiveEngine()), exact)
      // Each bit less doubles a step; q4_K has a third of its maps in 6 bits.
      #expect(error > before * 0.5, "\(type): \(error) after \(before)")
      #expect(error < 0.5 * largest(exact), "\(type)")
      before = error
    }
  }

  @Test(arguments: [
    "gpt2-plain", "llama-linear", "qwen3_moe-dense-layer", "opt-norm-after-projected", "falcon-multi-query",
  ])
  func rowsThatNoBlockDividesFallBack(name: String) throws {
    let path = "\(Fixtures.root)/\(name)"
    for type in WeightType.allCases {
      let decoder = try Decoder.load(from: path, format: .packed(type))
      for (packed, _) in decoder.weights.packedTypes {
        #expect(packed == .f16 || packed == type || !type.isQuantized || packed.isQuantized)
      }
      let values = try scores(decoder, BLASEngine(threadCount: 2))
      #expect(values.allSatisfy { $0.isFinite }, "\(name) \(type)")
      let exact = try scores(Decoder.load(from: path, format: .float32), BLASEngine(threadCount: 2))
      // Too narrow for blocks of 32, the matrices are of 16 bits; activations meet bf16 as bf16.
      if decoder.weights.packedTypes.allSatisfy({ $0.type == .f16 }) {
        #expect(difference(values, exact) < 0.01 * largest(exact), "\(name) \(type)")
      }
    }
  }

  #if os(Linux)
    /// Resident bytes of files that are mapped, and of memory of the process's own.
    private func residentBytes() throws -> (file: Int, own: Int) {
      let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
      func value(_ key: String) -> Int {
        status.split(separator: "\n").first { $0.hasPrefix(key) }.flatMap {
          Int($0.filter { ("0"..."9").contains($0) })
        }.map { $0 * 1024 } ?? 0
      }
      return (value("RssFile"), value("RssAnon"))
    }

    /// Once packed, a file's pages are given back.
    @Test func sourcePagesAreReleased() throws {
      let folder = try TemporaryFolder()
      let description = try ModelDescription(
        [
          "model_type": "qwen2", "num_hidden_layers": 2, "num_attention_heads": 8,
          "num_key_value_heads": 8, "hidden_size": 1024, "intermediate_size": 4096, "vocab_size": 8000,
          "max_position_embeddings": 64,
          "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 1,
        ], path: "test")
      try RandomWeights(description).save(to: folder("model"))
      let before = try residentBytes()
      let decoder = try Decoder.load(from: folder("model"), format: .packed(.q4_0))
      let after = try residentBytes()
      let fileBytes = 4 * description.parameterCounts.total
      #expect(fileBytes > 150 << 20)
      // Other tests run at the same time and map small files.
      #expect(after.file - before.file < fileBytes / 4, "\(after.file - before.file) of \(fileBytes)")
      #expect(decoder.weights.byteCount(of: description) < fileBytes / 5)
    }
  #endif

  /// Activations that a correlated source gives; errors that later columns make up for.
  @Test(arguments: ErrorFeedback.types)
  func errorFeedbackCostsLessThanRounding(type: WeightType) throws {
    let (inputs, outputs, samples) = (160, 70, 2000)
    var random = SeededGenerator(seed: 11)
    func number() -> Float { Float.random(in: -1...1, using: &random) }
    // Inputs are mixtures of few sources: what one lacks another has.
    let sources = 40
    let mixing = (0..<inputs * sources).map { _ in number() }
    var hessian = [Float](repeating: 0, count: inputs * inputs)
    for _ in 0..<samples {
      let source = (0..<sources).map { _ in number() }
      let x = (0..<inputs).map { input in
        (0..<sources).reduce(0.1 * number()) { $0 + mixing[input * sources + $1] * source[$1] }
      }
      // The last input is always 0, as a dead neuron's.
      for i in 0..<inputs - 1 { for j in 0..<inputs - 1 { hessian[i * inputs + j] += x[i] * x[j] } }
    }
    let weights = (0..<outputs * inputs).map { _ in number() }
    func cost(_ values: [Float]) -> Double {
      var total = 0.0
      for output in 0..<outputs {
        let error = (0..<inputs).map { Double(values[output * inputs + $0] - weights[output * inputs + $0]) }
        for i in 0..<inputs {
          for j in 0..<inputs { total += error[i] * Double(hessian[i * inputs + j]) * error[j] }
        }
      }
      return total
    }
    var (damped, factor) = (hessian, hessian)
    #expect(ErrorFeedback.factorize(&damped, into: &factor, count: inputs))
    let mean = (0..<inputs).reduce(0) { $0 + hessian[$1 * inputs + $1] } / Float(inputs)
    #expect(damped[0] == hessian[0] + 0.01 * mean)
    #expect(damped[1] == hessian[1])
    #expect(abs(damped[inputs * inputs - 1] - 1.01 * mean) < 1e-5 * mean)
    // Uᵀ·U·(H + damping) = I.
    for (row, column) in [(0, 0), (5, 9), (159, 159), (80, 80), (100, 3)] {
      var sum = 0.0
      for k in 0..<inputs {
        var inverse = 0.0
        for l in 0...min(row, k) {
          inverse += Double(factor[l * inputs + row]) * Double(factor[l * inputs + k])
        }
        sum += inverse * Double(damped[k * inputs + column])
      }
      #expect(abs(sum - (row == column ? 1 : 0)) < 0.02, "at \(row), \(column): \(sum)")
    }
    let rowBytes = inputs / 32 * type.bytesPerBlock
    var blocks = [UInt8](repeating: 0, count: outputs * rowBytes)
    var rounded = weights
    blocks.withUnsafeMutableBytes { bytes in
      rounded.withUnsafeMutableBufferPointer {
        ErrorFeedback.round(
          $0.baseAddress!, outputs: outputs, inputs: inputs, hessian: damped, factor: factor, as: type,
          into: bytes.baseAddress!, pool: WorkerPool(threadCount: 2))
      }
    }
    func pack(_ rows: [UInt8]) throws -> [Float] {
      let packed = try PackedMatrix(
        type: type, outputs: outputs, inputs: inputs, pool: WorkerPool(threadCount: 1)
      ) { range, target in
        rows.withUnsafeBytes {
          target.copyMemory(
            from: $0.baseAddress! + range.lowerBound * rowBytes, byteCount: range.count * rowBytes)
        }
      }
      var values = [Float](repeating: 0, count: outputs * inputs)
      values.withUnsafeMutableBufferPointer {
        for output in 0..<outputs {
          PackedWeight([packed]).copyRow(output, into: $0.baseAddress! + output * inputs)
        }
      }
      return values
    }
    #expect(try pack(blocks) == rounded, "the blocks say something else than the matrix")
    var nearest = [UInt8](repeating: 0, count: outputs * rowBytes)
    weights.withUnsafeBufferPointer { source in
      nearest.withUnsafeMutableBytes {
        _ = BlockEncoding.encode(type == .q4_0 ? .q4_0 : .q8_0, source, into: $0)
      }
    }
    #expect(cost(rounded) < 0.5 * cost(try pack(nearest)))
    // Hardly an integer is left whose neighbour, with all else as it is, costs less; without refinement it is one in ten.
    let halves = stride(from: 0, to: blocks.count, by: type.bytesPerBlock).map {
      Float(Float16(bitPattern: UInt16(blocks[$0]) | UInt16(blocks[$0 + 1]) << 8))
    }
    var improvable = 0
    for output in 0..<outputs {
      let row = output * inputs
      let slopes = (0..<inputs).map { input in
        (0..<inputs).reduce(0.0) {
          $0 + Double(rounded[row + $1] - weights[row + $1]) * Double(damped[$1 * inputs + input])
        }
      }
      for input in 0..<inputs {
        let scale = Double(halves[(row + input) / 32])
        let quant = Int((Double(rounded[row + input]) / scale).rounded())
        let square = scale * scale * Double(damped[input * inputs + input])
        let limits = type == .q4_0 ? -8...7 : -127...127
        for step in [-1, 1] where limits.contains(quant + step) {
          let change: Double = 2 * Double(step) * scale * slopes[input] + square
          if change < -1e-3 * square {
            improvable += 1
            break
          }
        }
      }
    }
    #expect(improvable < outputs * inputs / 100, "\(improvable) of \(outputs * inputs)")
  }

  /// The whole model: rounded with feedback, its scores on the calibration text are nearer to the original's.
  @Test(arguments: ["gpt2", "qwen2", "mixtral"])
  func modelsRoundedWithFeedbackAreNearer(family: String) throws {
    let folder = try TemporaryFolder()
    let description = try Self.description(family)
    try RandomWeights(description, seed: 8).save(to: folder("model"))
    var random = SeededGenerator(seed: 12)
    let vocabulary = description.configuration.vocabularySize
    let windows = (0..<24).map { _ in (0..<48).map { _ in Int.random(in: 0..<vocabulary, using: &random) } }
    let quantized = try #require(
      try ModelQuantizer.quantize(model: folder("model"), as: .q4_0, calibration: windows))
    #expect(quantized.count > 0)
    _ = try ModelConversion.writeGGUF(
      from: folder("model"), to: folder("gptq.gguf"), as: .q4_0, quantized: quantized)
    func squares(_ left: [Float], _ right: [Float]) -> Double {
      zip(left, right).reduce(0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
    }
    let exact = try scores(Decoder.load(from: folder("model")), NaiveEngine())
    let nearest = try scores(Decoder.load(from: folder("model"), format: .packed(.q4_0)), NaiveEngine())
    let feedback = try scores(Decoder.load(from: folder("gptq.gguf")), NaiveEngine())
    #expect(squares(feedback, exact) < squares(nearest, exact), "\(family)")
    // Nobody's work is done twice: a cancelled one gives nothing.
    #expect(
      try ModelQuantizer.quantize(model: folder("model"), as: .q4_0, calibration: windows) { _, _ in false }
        == nil)
  }

  @Test func namesOfFormats() {
    for name in WeightFormat.names { #expect(WeightFormat(name: name)?.name == name) }
    #expect(WeightFormat(name: "Q4_k") == .packed(.q4_K))
    #expect(WeightFormat(name: "q3_K") == nil)
  }
}
