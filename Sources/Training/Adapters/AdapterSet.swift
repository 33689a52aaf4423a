import Checkpoints
import JSON
import Kernels
import Transformer

/// How adapters begin.
package enum AdapterInitialization: String, Sendable, CaseIterable {
  /// A drawn at random, B zero: the model begins as it was.
  case standard = "default"
  /// The principal components of each matrix, which are taken out of it: the model begins as it was, and what is learned
  /// is where the matrix is largest.  arXiv:2404.02948
  case pissa
}

/// Which matrices get adapters, and what they look like.
package struct AdapterSettings: Sendable, Equatable {
  /// r.
  package var rank = 8
  /// α of the scale s = α/r.
  package var alpha = 16.0
  /// p of what adapters read.
  package var dropout = 0.0
  /// `all-linear`, or ends of modules' names with commas between.
  package var targets = "all-linear"
  /// How they begin.
  package var initialization = AdapterInitialization.standard

  /// α/r.
  package var scale: Float { Float(alpha / Double(rank)) }
}

/// A map of low rank beside a linear map.  y[outputs] += s·(x·Aᵀ)·Bᵀ
struct Adapter {
  /// A, (r, inputs).
  let a: LinearWeight
  /// B, (outputs, r).
  let b: LinearWeight
  /// The outputs of the map that it adds to.
  let outputs: Range<Int>
  /// s.
  let scale: Float
  /// p of what it reads; 0 for one that does not learn.
  let dropout: Float
}

/// The adapters of a decoder, their weights and gradients in an arena of their own.
///
/// - SeeAlso: arXiv:2106.09685
package final class AdapterSet: @unchecked Sendable {
  // Safe: what is shared is read; the arena is changed by the thread that trains, between passes.

  /// The matrices that learn.
  package let parameters: ParameterArena
  /// What the adapters look like.
  package let settings: AdapterSettings
  private let targets: [String]
  private let isTransposed: Bool
  /// The principal components that adapters began as, in the arena's order.
  private let initial: FloatMemory?
  private var byWeight: [UnsafePointer<Float>: [Adapter]] = [:]

  /// Makes adapters and draws what they begin as.
  ///
  /// - Parameters:
  ///   - decoder: whose weights are floats.
  ///   - table: of its names.
  ///   - seed: of A.
  /// - Throws: `TrainingError.setting` for targets that the model does not have or a rank that is too high;
  ///   `DecoderError.memory`.
  init(
    _ decoder: Decoder, _ table: ParameterTable, _ settings: AdapterSettings, seed: UInt64, pool: WorkerPool
  )
    throws
  {
    self.settings = settings
    let maps = decoder.adaptableMaps(table)
    let all = maps.flatMap(\.modules)
    targets = try AdapterSet.targets(settings.targets, among: all.map(\.name))
    let wanted = targets
    func isWanted(_ name: String) -> Bool { wanted.contains { name == $0 || name.hasSuffix("." + $0) } }
    let chosen = maps.flatMap { map in
      map.modules.filter { isWanted($0.name) }.map { (map: map, module: $0) }
    }
    for (_, module) in chosen {
      let limit = min(module.inputs, module.outputs.count)
      guard settings.rank <= limit else {
        throw TrainingError.setting(
          source: "settings", key: "lora_rank",
          reason: "is \(settings.rank), and \(module.name) has a rank of \(limit) at most; lower it")
      }
    }
    isTransposed = chosen.contains { $0.map.layout == .inputMajor }
    let pairs = chosen.map { $0.module.adapterParameters(rank: settings.rank) }
    parameters = try ParameterArena(pairs.flatMap { [$0.a, $0.b] })
    initial =
      settings.initialization == .pissa
      ? try FloatMemory(count: parameters.count, purpose: "principal components") : nil

    for (index, (map, module)) in chosen.enumerated() {
      let (a, b) = (parameters.slots[2 * index].start, parameters.slots[2 * index + 1].start)
      func adapter(_ memory: FloatMemory, scale: Float, dropout: Double) -> Adapter {
        Adapter(
          a: LinearWeight(
            values: UnsafePointer(memory.base + a), inputs: module.inputs, outputs: settings.rank,
            layout: .outputMajor),
          b: LinearWeight(
            values: UnsafePointer(memory.base + b), inputs: settings.rank, outputs: module.outputs.count,
            layout: .outputMajor),
          outputs: module.outputs, scale: scale, dropout: Float(dropout))
      }
      byWeight[map.weight.values, default: []].append(
        adapter(parameters.values, scale: settings.scale, dropout: settings.dropout))
      // What learns begins as the principal components, which are taken out of the matrix for good.
      if let initial {
        byWeight[map.weight.values]!.append(adapter(initial, scale: -settings.scale, dropout: 0))
      }
    }
    switch settings.initialization {
    case .standard: drawStandard(seed: seed)
    case .pissa: try decompose(chosen, pool: pool)
    }
  }

  /// The adapters beside a map.
  func adapters(of weight: LinearWeight) -> [Adapter] { byWeight[weight.values] ?? [] }

  /// Ends of names, each of which is one of the model's.
  private static func targets(_ text: String, among names: [String]) throws -> [String] {
    let ends = Set(names.map { String($0.split(separator: ".").last ?? "") }).sorted()
    if text == "all-linear" { return ends }
    let targets = text.split(separator: ",").map { String($0.drop { $0 == " " }) }.map {
      String($0.reversed().drop { $0 == " " }.reversed())
    }.filter { !$0.isEmpty }
    guard !targets.isEmpty else {
      throw TrainingError.setting(
        source: "settings", key: "lora_targets", reason: "names no module; give all-linear or some of \(ends)"
      )
    }
    for target in targets where !names.contains(where: { $0 == target || $0.hasSuffix("." + target) }) {
      throw TrainingError.setting(
        source: "settings", key: "lora_targets",
        reason: "\(target) is no linear map of this model's blocks; it has \(ends.joined(separator: ", "))")
    }
    return targets
  }

  // MARK: Beginnings

  /// A evenly from ±1/√inputs, B zero.
  private func drawStandard(seed: UInt64) {
    for (index, slot) in parameters.slots.enumerated() where index.isMultiple(of: 2) {
      let stream = PhiloxStream(seed: seed, step: -4, site: UInt32(index))
      let bound = 1 / Double(slot.parameter.columns).squareRoot()
      let target = parameters.values.base + slot.start
      for element in 0..<slot.parameter.count {
        let word = stream.words(UInt64(element / 4))[element % 4]
        target[element] = Float((Double(word) / 0x1p31 - 1) * bound)
      }
    }
  }

  /// B·A·s = the part of the matrix with the r largest singular values: A = √(Σ/s)·Vᵀ, B = U·√(Σ/s).
  private func decompose(
    _ chosen: [(map: AdaptableMap, module: AdaptableMap.Module)], pool: WorkerPool
  ) throws {
    let rank = settings.rank
    var failures = [Bool](repeating: false, count: chosen.count)
    failures.withUnsafeMutableBufferPointer { failures in
      // Safe: each task writes its own element and its own slots.
      nonisolated(unsafe) let failures = failures
      pool.run(chosen.count) { [self] index in
        let (weight, module) = (chosen[index].map.weight, chosen[index].module)
        let isTransposed = weight.layout == .inputMajor
        let first = isTransposed ? 0 : module.outputs.lowerBound * weight.inputs
        let count = module.outputs.count * weight.inputs
        let matrix = Array(UnsafeBufferPointer(start: weight.values + first, count: count))
        let (rows, columns) =
          isTransposed ? (weight.inputs, module.outputs.count) : (module.outputs.count, weight.inputs)
        guard let parts = SingularValueDecomposition(matrix, rows: rows, columns: columns) else {
          failures[index] = true
          return
        }
        let a = parameters.values.base + parameters.slots[2 * index].start
        let b = parameters.values.base + parameters.slots[2 * index + 1].start
        let k = min(rows, columns)
        for component in 0..<rank {
          let root = (parts.values[component] / settings.scale).squareRoot()
          for input in 0..<weight.inputs {
            a[component * weight.inputs + input] =
              root
              * (isTransposed
                ? parts.left[input * k + component] : parts.right[component * columns + input])
          }
          for output in 0..<module.outputs.count {
            b[output * rank + component] =
              root
              * (isTransposed
                ? parts.right[component * columns + output] : parts.left[output * k + component])
          }
        }
      }
    }
    if let index = failures.firstIndex(of: true) {
      throw TrainingError.setting(
        source: "settings", key: "lora_init",
        reason: "the singular values of \(chosen[index].module.name) did not converge; use default")
    }
    initial?.base.update(from: parameters.values.base, count: parameters.count)
  }

  // MARK: Files

  private static let fileName = "adapter_model.safetensors"

  /// Writes a folder's `adapter_config.json` and `adapter_model.safetensors`, which PEFT loads.
  ///
  /// Adapters that began as principal components are written as adapters of the model as it is, of twice the rank: what
  /// they are now, less what they were.
  ///
  /// - Parameter base: what the configuration calls the model.
  package func save(to folder: String, base: String) throws {
    let factor = initial == nil ? 1 : 2
    try AtomicFile.write(
      configuration(base: base, factor: factor).text(.indented) + "\n", to: folder + "/adapter_config.json")
    guard let initial else {
      return try parameters.save(parameters.values, to: folder + "/" + AdapterSet.fileName)
    }
    let rank = settings.rank
    let declarations = parameters.tensors.enumerated().map { index, tensor in
      // Tensors follow one another as A, B, A, B, …
      TensorDeclaration(
        name: tensor.name, type: .f32,
        shape: index.isMultiple(of: 2) ? [2 * rank, tensor.shape[1]] : [tensor.shape[0], 2 * rank])
    }
    try SafetensorsWriter.write(
      to: folder + "/" + AdapterSet.fileName, declarations, metadata: ["format": "pt"]
    ) { tensor, append in
      let now = parameters.tensor(tensor.name, from: parameters.values)
      let then = parameters.tensor(tensor.name, from: initial)
      var joined: [Float] = []
      joined.reserveCapacity(2 * now.count)
      if tensor.shape[0] == 2 * rank, tensor.name.hasSuffix("lora_A.weight") {
        joined = now + then
      } else {
        for row in 0..<tensor.shape[0] {
          joined += now[row * rank..<(row + 1) * rank]
          joined += then[row * rank..<(row + 1) * rank].map { -$0 }
        }
      }
      try joined.withUnsafeBytes { try append($0) }
    }
  }

  /// Writes what a run needs to go on: the adapters as they are, and what they began as.
  func saveState(to folder: String) throws {
    guard let initial else { return }
    try parameters.save(parameters.values, to: folder + "/adapter-now.safetensors")
    try parameters.save(initial, to: folder + "/adapter-first.safetensors")
  }

  /// Reads what `save` and `saveState` wrote.
  func loadState(from folder: String) throws {
    guard let initial else {
      return try parameters.load(folder + "/" + AdapterSet.fileName, into: parameters.values)
    }
    try parameters.load(folder + "/adapter-now.safetensors", into: parameters.values)
    try parameters.load(folder + "/adapter-first.safetensors", into: initial)
  }

  private func configuration(base: String, factor: Int) -> JSONValue {
    let none = JSONValue.null
    return [
      "alora_invocation_tokens": none, "alpha_pattern": [:], "auto_mapping": none,
      "base_model_name_or_path": .string(base), "bias": "none", "corda_config": none, "eva_config": none,
      "exclude_modules": none, "fan_in_fan_out": .bool(isTransposed), "inference_mode": true,
      "init_lora_weights": true, "layer_replication": none, "layers_pattern": none,
      "layers_to_transform": none,
      "loftq_config": [:], "lora_alpha": .number(settings.alpha * Double(factor)), "lora_bias": false,
      "lora_dropout": .number(settings.dropout), "megatron_config": none, "megatron_core": "megatron.core",
      "modules_to_save": none, "peft_type": "LORA", "r": .integer(settings.rank * factor),
      "rank_pattern": [:],
      "revision": none, "target_modules": .array(targets.map { .string($0) }), "task_type": "CAUSAL_LM",
      "use_dora": false, "use_rslora": false,
    ]
  }
}
