import Checkpoints
import Kernels

/// A checkpoint whose matrices are read with an adapter merged into them.
///
/// Whatever loads weights loads these: the forward pass is that of the fused model and costs nothing more.
struct AdaptedSource: WeightSource {
  private struct Merge {
    let change: LowRankAdapter.Change
    /// Whether the tensor is (inputs, outputs).
    let isInputMajor: Bool
  }

  private let base: any WeightSource
  private let adapter: LowRankAdapter
  private var merges: [String: Merge] = [:]
  private var replacements: [String: TensorRecord] = [:]

  var mappedFiles: [MappedFile] { base.mappedFiles }

  /// Finds the tensor of every change.
  ///
  /// - Throws: `AdapterError` for a module that the model does not have, or of other extents.
  init(_ base: any WeightSource, _ adapter: LowRankAdapter, _ description: ModelDescription) throws {
    self.base = base
    self.adapter = adapter
    let family = description.family
    func tensor(_ name: String) -> String? {
      if base.shape(of: name) != nil { return name }
      // Files without the prefix that transformers' modules have.
      for prefix in family.prefixes where name.hasPrefix(prefix) {
        let bare = String(name.dropFirst(prefix.count))
        for other in family.prefixes where base.shape(of: other + bare) != nil { return other + bare }
      }
      return nil
    }
    func refuse(_ name: String, _ reason: String) -> AdapterError {
      AdapterError(path: adapter.path, reason: "\(name.debugDescription.dropFirst().dropLast()): \(reason)")
    }
    let transposed = description.inputMajorModules
    for (module, change) in adapter.changes {
      guard let name = tensor(module + ".weight"), let shape = base.shape(of: name) else {
        throw refuse(module, "\(base.path) has no such matrix; the adapter belongs to another model")
      }
      let isInputMajor =
        change.isEmbedding || transposed.contains(DecoderFamily.pattern(of: module[...])?.pattern ?? module)
      let expected =
        isInputMajor
        ? [change.a.shape[1], change.b.shape[0]] : [change.b.shape[0], change.a.shape[1]]
      guard shape == expected else {
        throw refuse(
          module,
          "changes a matrix of \(expected), and that of \(base.path) is \(shape); it belongs to another model"
        )
      }
      if change.isEmbedding, description.configuration.tiesWordEmbeddings {
        throw refuse(module, "changes the embedding alone, and the model's head is tied to it")
      }
      merges[name] = Merge(change: change, isInputMajor: isInputMajor)
    }
    for (full, record) in adapter.replacements {
      guard let name = tensor(full), let shape = base.shape(of: name) else {
        throw refuse(full, "\(base.path) has no such tensor; the adapter belongs to another model")
      }
      guard shape == record.shape else {
        throw refuse(full, "has the shape \(record.shape), and that of \(base.path) is \(shape)")
      }
      replacements[name] = record
    }
  }

  var path: String { base.path }

  var tensorNames: [String] { base.tensorNames }

  func shape(of name: String) -> [Int]? { base.shape(of: name) }

  func path(of name: String) -> String { replacements[name] == nil ? base.path(of: name) : adapter.path }

  /// The tensor, merged when the adapter changes it.
  func floats(of name: String) throws -> (values: UnsafePointer<Float>, owner: AnyObject) {
    if let record = replacements[name] {
      if let floats = record.floatsWithoutCopy?.baseAddress { return (floats, record.file) }
      let copy = FloatBuffer(count: record.elementCount)
      try record.copyFloats(into: copy.elements)
      return (UnsafePointer(copy.elements.baseAddress!), copy)
    }
    guard let merge = merges[name], let shape = base.shape(of: name) else { return try base.floats(of: name) }
    let (values, owner) = try base.floats(of: name)
    let merged = FloatBuffer(count: shape[0] * shape[1])
    withExtendedLifetime(owner) {
      merged.elements.baseAddress!.initialize(from: values, count: shape[0] * shape[1])
    }
    let (a, b) = (try merge.change.a.floats(), try merge.change.b.floats())
    let (rank, inputs, outputs) = (
      merge.change.a.shape[0], merge.change.a.shape[1], merge.change.b.shape[0]
    )
    let scale = Float(merge.change.scale)
    a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in
        if merge.isInputMajor {
          // W += s·Aᵀ·Bᵀ
          BLAS.multiply(
            transposeA: true, transposeB: true, m: inputs, n: outputs, k: rank, alpha: scale,
            a: a.baseAddress!, strideA: inputs, b: b.baseAddress!, strideB: rank, beta: 1,
            c: merged.elements.baseAddress!, strideC: outputs)
        } else {
          // W += s·B·A
          BLAS.multiply(
            m: outputs, n: inputs, k: rank, alpha: scale, a: b.baseAddress!, strideA: rank,
            b: a.baseAddress!,
            strideB: inputs, beta: 1, c: merged.elements.baseAddress!, strideC: inputs)
        }
      }
    }
    return (UnsafePointer(merged.elements.baseAddress!), merged)
  }
}

extension ModelDescription {
  /// The modules whose matrices are (inputs, outputs), under transformers' names with `{layer}` for the number.
  var inputMajorModules: Set<String> {
    let declared = configuration.layerCount > 0 ? family.layerTensors(configuration, 0) : [:]
    let names = declared.values.filter { $0.layout == .inputMajor }.flatMap(\.names)
    return Set(family.prefixes.flatMap { prefix in names.map { prefix + $0 } })
  }
}

/// What a model says about itself, and its weights with an adapter merged into them.
///
/// - Parameters:
///   - path: a folder in Hugging Face's layout, or a GGUF file.
///   - adapter: a folder in PEFT's layout, if any.
func openModel(_ path: String, adapter: String?) throws -> (
  description: ModelDescription, source: any WeightSource
) {
  let (description, source) = try openModel(path)
  guard let adapter else { return (description, source) }
  return (
    description, try AdaptedSource(source, try LowRankAdapter.load(from: adapter), description)
  )
}
