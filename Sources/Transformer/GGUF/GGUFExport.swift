import Checkpoints
import JSON
import Kernels

/// Writes a model as a GGUF file that llama.cpp loads.
public struct GGUFExport {
  /// How matrices are encoded.
  public enum OutputType: String, Sendable, CaseIterable {
    /// As they are computed with.
    case f32
    /// IEEE 754 binary16.
    case f16
    /// bfloat16.
    case bf16
    /// Blocks of 32 with 8 bits a weight.
    case q8_0
    /// Blocks of 32 with 4 bits a weight.
    case q4_0

    var tensorType: TensorType {
      switch self {
      case .f32: .f32
      case .f16: .f16
      case .bf16: .bf16
      case .q8_0: .q8_0
      case .q4_0: .q4_0
      }
    }

    /// `general.file_type`.
    var number: UInt32 {
      switch self {
      case .f32: 0
      case .f16: 1
      case .q4_0: 2
      case .q8_0: 7
      case .bf16: 32
      }
    }
  }

  private let description: ModelDescription
  private let source: any WeightSource
  private let architecture: GGUFArchitecture
  private let table: ParameterTable

  /// Opens a folder in Hugging Face's layout and checks that all tensors are there.
  ///
  /// - Throws: `GGUFExportError` for a model that GGUF cannot express.
  public init(folder: String) throws {
    description = try ModelDescription.load(from: folder)
    let checkpoint = try Checkpoint(path: folder)
    let loader = WeightLoader(
      family: description.family, configuration: description.configuration, source: checkpoint)
    try loader.check()
    table = loader.table
    source = checkpoint
    let modelType = description.configuration.modelType
    let hasSeparateNorms = description.document["num_ln_in_parallel_attn"]?.int == 2
    let candidates = GGUFArchitecture.all.filter { $0.modelType == modelType }
    let chosen =
      modelType == "falcon"
      ? candidates.first { $0.tensors.contains { $0.gguf.hasSuffix("attn_norm_2") } == hasSeparateNorms }
      : candidates.first
    guard let chosen else {
      throw GGUFExportError(path: folder, reason: "GGUF has no architecture for model_type \"\(modelType)\"")
    }
    architecture = chosen
  }

  /// Writes the file.
  ///
  /// - Parameters:
  ///   - path: the file.
  ///   - type: how matrices are encoded; vectors stay `f32`, and rows that blocks of 32 do not divide become `f16`.
  ///   - name: `general.name`.
  ///   - vocabulary: the tokenizer's keys and values.
  public func write(
    to path: String, as type: OutputType, name: String, vocabulary: [(key: String, value: GGUFValue)]
  ) throws {
    var declarations: [TensorDeclaration] = []
    var parts: [String: Part] = [:]
    for part in try tensors() {
      let columns = part.shape.last ?? 1
      let isMatrix = part.shape.count > 1
      var chosen = TensorType.f32
      if isMatrix, !part.keepsFloats {
        chosen = type.tensorType
        if !columns.isMultiple(of: chosen.elementsPerBlock) { chosen = .f16 }
      }
      declarations.append(TensorDeclaration(name: part.name, type: chosen, shape: part.shape))
      parts[part.name] = part
    }
    let metadata =
      [
        ("general.architecture", GGUFValue.string(architecture.name)), ("general.name", .string(name)),
        ("general.file_type", .uint32(type.number)), ("general.quantization_version", .uint32(2)),
      ] + (try settings()) + vocabulary
    try GGUFWriter.write(to: path, metadata: metadata.map { (key: $0.0, value: $0.1) }, declarations) {
      tensor, append in
      try write(parts[tensor.name]!, tensor, to: path, append)
    }
  }

  // MARK: Tensors

  /// A tensor of the file and what it is made of.
  private struct Part {
    let name: String
    let shape: [Int]
    /// The checkpoint's tensors, several for experts and heads.
    let sources: [String]
    let transform: GGUFArchitecture.Transform
    /// Values that no tensor of the checkpoint holds.
    var values: [Float]?
    var keepsFloats = false
  }

  private func tensors() throws -> [Part] {
    var parts: [Part] = []
    var covered: Set<String> = []
    let canonical = description.family.prefixes[0]
    func actual(_ name: String) -> String {
      name.hasPrefix(canonical) ? table.prefix + name.dropFirst(canonical.count) : name
    }
    let layers = description.configuration.layerCount
    for tensor in architecture.tensors {
      for layer in tensor.gguf.contains("{layer}") ? 0..<layers : 0..<1 {
        for suffix in [".weight", ".bias"] {
          let pattern = actual(tensor.checkpoint).replacing("{layer}", with: "\(layer)") + suffix
          let count: Int
          switch (tensor.transform, tensor.gguf.hasSuffix("q_norm")) {
          case (.experts, _): count = description.configuration.experts?.count ?? 0
          case (.heads, true): count = description.configuration.attention.queryHeadCount
          case (.heads, false): count = description.configuration.attention.keyValueHeadCount
          default: count = 1
          }
          let names = (0..<count).map {
            pattern.replacing("{expert}", with: "\($0)").replacing("{head}", with: "\($0)")
          }
          guard let first = names.first, let shape = source.shape(of: first),
            names.allSatisfy({ source.shape(of: $0) == shape })
          else { continue }
          var target = shape
          switch tensor.transform {
          case .transposed where shape.count == 2: target = shape.reversed()
          case .experts, .heads: target = [count] + shape
          default: break
          }
          let name = tensor.gguf.replacing("{layer}", with: "\(layer)") + suffix
          covered.formUnion(names)
          parts.append(
            Part(
              name: name, shape: target, sources: names, transform: tensor.transform,
              keepsFloats: name == "position_embd.weight" || name.hasSuffix("ffn_gate_inp.weight")))
        }
      }
    }
    if let missing = table.parameters.flatMap(\.pieces).map(\.tensor).first(where: { !covered.contains($0) })
    {
      throw GGUFExportError(
        path: source.path, reason: "tensor \(missing) has no name in GGUF's architecture \(architecture.name)"
      )
    }
    return parts + rotaryTensors()
  }

  /// Frequencies that GGUF keeps as tensors.
  private func rotaryTensors() -> [Part] {
    guard let rotary = description.configuration.rotaryEmbeddings.first else { return [] }
    func part(_ name: String, _ factors: [Float]) -> Part {
      Part(name: name, shape: [factors.count], sources: [], transform: .none, values: factors)
    }
    switch rotary.scaling {
    case .llama3:
      var plain = rotary
      plain.scaling = .none
      let ratios = zip(
        plain.inverseFrequencies(sequenceLength: 1), rotary.inverseFrequencies(sequenceLength: 1)
      ).map { $0 / $1 }
      return [part("rope_freqs.weight", ratios)]
    case .longrope(let short, let long, _):
      return short == long && architecture.name != "phi3"
        ? [part("rope_freqs.weight", short)]
        : [part("rope_factors_long.weight", long), part("rope_factors_short.weight", short)]
    default: return []
    }
  }

  private func write(
    _ part: Part, _ tensor: TensorDeclaration, to path: String, _ append: GGUFWriter.Append
  ) throws {
    func put(_ values: UnsafeBufferPointer<Float>) throws {
      let bytes = tensor.type.byteCount(elements: values.count)!
      try withUnsafeTemporaryAllocation(byteCount: max(bytes, 1), alignment: 64) { buffer in
        let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<bytes])
        if let index = BlockEncoding.encode(tensor.type, values, into: target) {
          throw GGUFExportError(
            path: source.path,
            reason:
              "tensor \(tensor.name): element \(index) is beyond \(tensor.type.rawValue); use another --outtype"
          )
        }
        try append(UnsafeRawBufferPointer(target))
      }
    }
    if let values = part.values { return try values.withUnsafeBufferPointer(put) }
    let configuration = description.configuration
    for name in part.sources {
      let (values, owner) = try source.floats(of: name)
      let shape = source.shape(of: name)!
      let count = shape.reduce(1, *)
      try withExtendedLifetime(owner) {
        let plain = UnsafeBufferPointer(start: values, count: count)
        let buffer = FloatBuffer(count: part.transform == .none ? 0 : count)
        let target = buffer.elements.baseAddress!
        switch part.transform {
        case .transposed where shape.count == 2:
          for row in 0..<shape[1] {
            for column in 0..<shape[0] { target[row * shape[0] + column] = values[column * shape[1] + row] }
          }
        case .offsetNorm: for index in 0..<count { target[index] = values[index] + 1 }
        case .queryPairs, .keyPairs, .perHead, .perGroup:
          guard
            let order = part.transform.rowOrder(
              rows: shape[0], heads: configuration.attention.queryHeadCount,
              groups: configuration.attention.keyValueHeadCount)
          else { fallthrough }
          let columns = count / shape[0]
          for (row, place) in order.enumerated() {
            (target + place * columns).update(from: values + row * columns, count: columns)
          }
        default: return try put(plain)
        }
        try put(UnsafeBufferPointer(start: target, count: count))
      }
    }
  }

  // MARK: Settings

  private func settings() throws -> [(String, GGUFValue)] {
    let configuration = description.configuration
    var settings: [(String, GGUFValue)] = []
    func add(_ key: String, _ value: GGUFValue) { settings.append(("\(architecture.name).\(key)", value)) }
    func count(_ key: String, _ value: Int) { add(key, .uint32(UInt32(clamping: value))) }
    func number(_ key: String, _ value: Double) { add(key, .float32(Float(value))) }
    let shape = configuration.attention
    count("block_count", configuration.layerCount)
    count("context_length", configuration.contextLength)
    count("embedding_length", configuration.hiddenSize)
    count("feed_forward_length", configuration.feedForwardSize)
    count("attention.head_count", shape.queryHeadCount)
    count("attention.head_count_kv", shape.keyValueHeadCount)
    if shape.queryWidth != configuration.hiddenSize
      || ["gemma", "gemma2", "gemma3", "qwen3", "qwen3moe"].contains(architecture.name)
    {
      count("attention.key_length", shape.headDimension)
      count("attention.value_length", shape.headDimension)
    }
    count("vocab_size", configuration.vocabularySize)
    number(
      configuration.normalization.kind == .rootMeanSquare
        ? "attention.layer_norm_rms_epsilon" : "attention.layer_norm_epsilon",
      Double(configuration.normalization.epsilon))
    if let window = configuration.layers.compactMap(\.window).first {
      count("attention.sliding_window", window)
    }
    if let experts = configuration.experts {
      count("expert_count", experts.count)
      count("expert_used_count", experts.perToken)
      count("expert_feed_forward_length", experts.feedForwardSize)
    }
    switch architecture.name {
    case "gptneox", "stablelm": add("use_parallel_residual", .bool(configuration.isParallel))
    case "gemma2":
      if let cap = configuration.attentionSoftCap { number("attn_logit_softcapping", Double(cap)) }
      if let cap = configuration.logitSoftCap { number("final_logit_softcapping", Double(cap)) }
    case "granite":
      number("embedding_scale", Double(configuration.embeddingScale))
      number("residual_scale", Double(configuration.residualScale))
      number("attention.scale", Double(configuration.attentionScale))
      number("logit_scale", description.document["logits_scaling"]?.double ?? 1)
    case "command-r": number("logit_scale", Double(configuration.logitScale))
    default: break
    }
    guard let rotary = configuration.rotaryEmbeddings.first else { return settings }
    count("rope.dimension_count", rotary.dimension)
    number("rope.freq_base", rotary.base)
    if architecture.name == "gemma3", configuration.rotaryEmbeddings.count > 1 {
      number("rope.freq_base_swa", configuration.rotaryEmbeddings[1].base)
    }
    switch rotary.scaling {
    case .none, .llama3: break
    case .linear(let factor):
      add("rope.scaling.type", .string("linear"))
      number("rope.scaling.factor", factor)
    case .yarn(let factor, let fast, let slow, let context, _):
      add("rope.scaling.type", .string("yarn"))
      number("rope.scaling.factor", factor)
      count("rope.scaling.original_context_length", context)
      number("rope.scaling.yarn_beta_fast", fast)
      number("rope.scaling.yarn_beta_slow", slow)
    case .longrope(_, _, let context):
      count("rope.scaling.original_context_length", context)
      number("rope.scaling.attn_factor", rotary.attentionFactor)
    case .dynamic:
      throw GGUFExportError(
        path: source.path,
        reason: "GGUF cannot express rotary embeddings that grow with the sequence (dynamic)")
    }
    return settings
  }
}

/// Why a model cannot be written as GGUF.
public struct GGUFExportError: Error, Equatable, CustomStringConvertible {
  /// The model.
  public let path: String
  /// What is in the way.
  public let reason: String

  /// One line: file, reason.
  public var description: String { "\(path): \(reason)" }
}
