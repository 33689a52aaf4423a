import Checkpoints
import JSON
import Kernels

/// A GGUF file as a model: its metadata as a `config.json`, its tensors under the names that the family's
/// checkpoints use.
public struct GGUFModel: Sendable {
  /// The file.
  public let file: GGUFFile
  /// What it would say in a `config.json`.
  public let document: JSONValue
  private let entries: [String: Entry]
  private let names: [String]

  /// A tensor of the checkpoint and where its elements are.
  private struct Entry {
    let record: TensorRecord
    let shape: [Int]
    let transform: GGUFArchitecture.Transform
    /// The expert's or head's number.
    let index: Int
  }

  /// Opens a file.
  ///
  /// - Throws: `GGUFError`, or `DecoderError.unknownFamily` for an architecture that the engine does not know.
  public init(path: String) throws {
    file = try GGUFFile(path: path)
    let architecture = try GGUFModel.architecture(of: file)
    document = try GGUFConfiguration(file, architecture).document

    var entries: [String: Entry] = [:]
    var names: [String] = []
    let known = Dictionary(
      architecture.tensors.map { ($0.gguf, $0) }, uniquingKeysWith: { first, _ in first })
    for record in file.tensors {
      if GGUFModel.rotaryTensors.contains(record.name) { continue }
      let suffix = record.name.hasSuffix(".bias") ? ".bias" : ".weight"
      let bare = record.name.hasSuffix(suffix) ? record.name.dropLast(suffix.count) : Substring(record.name)
      let (pattern, layer) = DecoderFamily.pattern(of: bare) ?? (String(bare), 0)
      guard let tensor = known[pattern] else {
        // The loader names what it does not know.
        entries[record.name] = Entry(record: record, shape: record.shape, transform: .none, index: 0)
        names.append(record.name)
        continue
      }
      func add(_ name: String, _ shape: [Int], _ index: Int = 0) {
        let name = name.replacing("{layer}", with: "\(layer)") + suffix
        entries[name] = Entry(record: record, shape: shape, transform: tensor.transform, index: index)
        names.append(name)
      }
      switch tensor.transform {
      case .experts, .heads:
        let placeholder = tensor.transform == .experts ? "{expert}" : "{head}"
        let count = record.shape.first ?? 0
        guard record.shape.count >= 2, count <= 65_536 else {
          throw DecoderError.wrongShape(path: path, name: record.name, shape: record.shape, expected: [])
        }
        for index in 0..<count {
          add(
            tensor.checkpoint.replacing(placeholder, with: "\(index)"), Array(record.shape.dropFirst()), index
          )
        }
      case .transposed where record.shape.count == 2: add(tensor.checkpoint, record.shape.reversed())
      default: add(tensor.checkpoint, record.shape)
      }
    }
    self.entries = entries
    self.names = names
  }

  /// Tensors that are part of the configuration.
  private static let rotaryTensors: Set<String> = [
    "rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight",
  ]

  private static func architecture(of file: GGUFFile) throws -> GGUFArchitecture {
    guard let name = try file.metadata.string("general.architecture") else {
      throw file.metadata.error("general.architecture", "is missing")
    }
    let hasExperts = try file.metadata.integer("\(name).expert_count").map { $0 > 0 } ?? false
    let candidates = GGUFArchitecture.all.filter { $0.name == name }
    let chosen =
      switch name {
      case "llama": candidates.first { $0.modelType == (hasExperts ? "mixtral" : "llama") }
      case "falcon":
        candidates.first { candidate in
          candidate.tensors.contains { $0.gguf == "blk.{layer}.attn_norm_2" }
            == (file.tensor(named: "blk.0.attn_norm_2.weight") != nil)
        }
      default: candidates.first
      }
    guard let chosen else {
      throw DecoderError.unknownFamily(
        path: file.path, modelType: name, known: Array(Set(GGUFArchitecture.all.map(\.name))).sorted())
    }
    return chosen
  }

  /// What the model looks like.
  public func description() throws -> ModelDescription { try ModelDescription(document, path: file.path) }
}

extension GGUFModel: WeightSource {
  var path: String { file.path }

  var tensorNames: [String] { names }

  func shape(of name: String) -> [Int]? { entries[name]?.shape }

  func path(of name: String) -> String { file.path }

  /// In place when the file holds `Float`s that lie as the checkpoint's would, else converted once.
  func floats(of name: String) throws -> (values: UnsafePointer<Float>, owner: AnyObject) {
    guard let entry = entries[name] else { throw DecoderError.missingTensor(path: path, name: name) }
    let record = entry.record
    let count = entry.shape.reduce(1, *)
    if entry.index == 0 { try record.checkFinite() }
    if entry.transform == .none, let floats = record.floatsWithoutCopy?.baseAddress {
      return (floats, record.file)
    }
    let buffer = FloatBuffer(count: count)
    let target = buffer.elements.baseAddress!
    switch entry.transform {
    case .experts, .heads:
      try record.copyFloats(entry.index * count..<(entry.index + 1) * count, into: target)
    case .transposed where entry.shape.count == 2:
      let source = FloatBuffer(count: count)
      try record.copyFloats(into: source.elements)
      let (rows, columns) = (entry.shape[0], entry.shape[1])
      // Block by block, so that both sides stay in cache.
      for blockRow in stride(from: 0, to: rows, by: 32) {
        for blockColumn in stride(from: 0, to: columns, by: 32) {
          for row in blockRow..<min(blockRow + 32, rows) {
            for column in blockColumn..<min(blockColumn + 32, columns) {
              target[row * columns + column] = source.elements[column * rows + row]
            }
          }
        }
      }
    default:
      try record.copyFloats(into: buffer.elements)
      if entry.transform == .offsetNorm {
        for index in 0..<count { target[index] -= 1 }
      } else if let order = rowOrder(entry) {
        let source = FloatBuffer(count: count)
        source.elements.baseAddress!.update(from: target, count: count)
        let columns = count / max(order.count, 1)
        for (row, place) in order.enumerated() {
          (target + row * columns).update(
            from: source.elements.baseAddress! + place * columns, count: columns)
        }
      }
    }
    return (UnsafePointer(target), buffer)
  }

  private func rowOrder(_ entry: Entry) -> [Int]? {
    let heads = document["num_attention_heads"]?.int ?? document["n_head"]?.int ?? 0
    let groups = document["num_key_value_heads"]?.int ?? document["num_kv_heads"]?.int ?? heads
    return entry.transform.rowOrder(rows: entry.shape.first ?? 0, heads: heads, groups: groups)
  }
}
