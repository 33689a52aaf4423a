import Checkpoints
import JSON
import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A GGUF file as a model: its metadata as a `config.json`, its tensors under the names that the family's
/// checkpoints use.
public struct GGUFModel: Sendable {
  /// The files: one, or the parts that a large model is cut into.
  public let files: [GGUFFile]
  /// What it would say in a `config.json`.
  public var document: JSONValue { description.document }
  /// What the model looks like.
  public let description: ModelDescription
  private var entries: [String: Entry] = [:]
  private var names: [String] = []

  /// A tensor of the checkpoint and where its elements are.
  private struct Entry {
    let record: TensorRecord
    let shape: [Int]
    let transform: GGUFArchitecture.Transform
    /// The first of its elements among the record's.
    let start: Int

    var count: Int { shape.reduce(1, *) }
  }

  /// Opens a file.
  ///
  /// - Parameter path: a GGUF file; of a model in several files the first.
  /// - Throws: `GGUFError`, `ConfigurationError`, or `DecoderError.unknownArchitecture`.
  public init(path: String) throws {
    files = try GGUFFile.openAll(path: path)
    let (files, metadata) = (files, files[0].metadata)
    let repeatsEmbedding = GGUFModel.repeatsEmbedding(files)
    func record(_ name: String) -> TensorRecord? {
      repeatsEmbedding && name == "output.weight"
        ? nil : files.lazy.compactMap { $0.tensor(named: name) }.first
    }
    let architecture = try GGUFArchitecture.read(metadata, path: path) { record($0) != nil }
    let configuration = try GGUFConfiguration(
      metadata, architecture, shape: { record($0)?.shape },
      values: { name in
        guard let record = record(name) else { return nil }
        try record.checkFinite()
        return try record.floats()
      })
    description = try ModelDescription(configuration.document, path: path)
    let known = Dictionary(
      architecture.tensors.map { ($0.gguf, $0) }, uniquingKeysWith: { first, _ in first })
    for file in files {
      for record in file.tensors where !GGUFModel.isPartOfConfiguration(record.name) {
        if repeatsEmbedding, record.name == "output.weight" { continue }
        try add(record, known)
      }
    }
  }

  /// Whether the head is the token embedding over again, as some architectures want it of models that tie the two.
  private static func repeatsEmbedding(_ files: [GGUFFile]) -> Bool {
    func tensor(_ name: String) -> TensorRecord? { files.lazy.compactMap { $0.tensor(named: name) }.first }
    guard let head = tensor("output.weight"), let embedding = tensor("token_embd.weight"),
      head.type == embedding.type, head.shape == embedding.shape, let left = head.bytes.baseAddress,
      let right = embedding.bytes.baseAddress
    else { return false }
    let isSame = memcmp(left, right, head.byteCount) == 0
    head.dontNeed()
    embedding.dontNeed()
    return isSame
  }

  /// Whether a tensor holds frequencies, which the configuration has read, or what needs no reading at all.
  private static func isPartOfConfiguration(_ name: String) -> Bool {
    ["rope_freqs.weight", "rope_factors_short.weight", "rope_factors_long.weight"].contains(name)
      || name.hasSuffix(".attn_rot_embd.weight") || name.hasSuffix(".rope_freqs.weight")
  }

  private mutating func add(_ record: TensorRecord, _ known: [String: GGUFArchitecture.Tensor]) throws {
    let suffix = record.name.hasSuffix(".bias") ? ".bias" : ".weight"
    let bare = record.name.hasSuffix(suffix) ? record.name.dropLast(suffix.count) : Substring(record.name)
    let (pattern, layer) = DecoderFamily.pattern(of: bare) ?? (String(bare), 0)
    func put(_ name: String, _ shape: [Int], _ transform: GGUFArchitecture.Transform, at start: Int = 0)
      throws
    {
      let name = name.replacing("{layer}", with: "\(layer)") + suffix
      // Two tensors of a hostile file may stand for one.
      guard entries[name] == nil else {
        throw GGUFError(path: record.path, subject: .tensor(record.name), problem: .duplicate)
      }
      entries[name] = Entry(record: record, shape: shape, transform: transform, start: start)
      names.append(name)
    }
    let shape = record.shape
    func wrong(_ expected: [Int]) -> DecoderError {
      .wrongShape(path: record.path, name: record.name, shape: shape, expected: expected)
    }
    guard let tensor = known[pattern] else {
      // Some files hold several maps in one; whatever else is unknown, the loader names.
      if try addFused(record, pattern, known, put) { return }
      return try put(String(bare), shape, .none)
    }
    let attention = description.configuration.attention
    switch tensor.transform {
    case .experts, .heads:
      let count =
        tensor.transform == .experts
        ? description.configuration.experts?.count ?? 0
        : pattern.hasSuffix("attn_q_norm") ? attention.queryHeadCount : attention.keyValueHeadCount
      guard shape.count >= 2, shape[0] == count else { throw wrong([count] + shape.dropFirst()) }
      let part = Array(shape.dropFirst())
      let size = part.reduce(1, *)
      let placeholder = tensor.transform == .experts ? "{expert}" : "{head}"
      for index in 0..<count {
        try put(tensor.checkpoint.replacing(placeholder, with: "\(index)"), part, .none, at: index * size)
      }
    case .transposed where shape.count == 2: try put(tensor.checkpoint, shape.reversed(), .transposed)
    case .transposed: try put(tensor.checkpoint, shape, .none)
    default: try put(tensor.checkpoint, shape, tensor.transform)
    }
  }

  /// Maps that the file holds in one tensor and the checkpoint in several: queries, keys and values, or the two halves
  /// of each expert's first map.
  private func addFused(
    _ record: TensorRecord, _ pattern: String, _ known: [String: GGUFArchitecture.Tensor],
    _ put: (String, [Int], GGUFArchitecture.Transform, Int) throws -> Void
  ) throws -> Bool {
    let shape = record.shape
    switch pattern {
    case "blk.{layer}.attn_qkv":
      let attention = description.configuration.attention
      let parts = [
        ("q", attention.queryWidth), ("k", attention.keyValueWidth), ("v", attention.keyValueWidth),
      ].compactMap { part, rows in known["blk.{layer}.attn_\(part)"].map { ($0, rows) } }
      guard parts.count == 3, let rows = shape.first else { return false }
      let expected = attention.queryWidth + 2 * attention.keyValueWidth
      guard rows == expected else {
        throw DecoderError.wrongShape(
          path: record.path, name: record.name, shape: shape, expected: [expected] + shape.dropFirst())
      }
      var start = 0
      for (tensor, count) in parts {
        let part = [count] + shape.dropFirst()
        try put(tensor.checkpoint, part, tensor.transform, start)
        start += part.reduce(1, *)
      }
      return true
    case "blk.{layer}.ffn_gate_up_exps":
      let count = description.configuration.experts?.count ?? 0
      guard let gate = known["blk.{layer}.ffn_gate_exps"], let up = known["blk.{layer}.ffn_up_exps"],
        shape.count == 3, shape[0] == count, shape[1].isMultiple(of: 2)
      else { return false }
      let half = [shape[1] / 2, shape[2]]
      for expert in 0..<count {
        for (part, tensor) in [gate, up].enumerated() {
          try put(
            tensor.checkpoint.replacing("{expert}", with: "\(expert)"), half, .none,
            (2 * expert + part) * half[0] * half[1])
        }
      }
      return true
    default: return false
    }
  }
}

extension GGUFModel: WeightSource {
  var path: String { files[0].path }

  var tensorNames: [String] { names }

  var mappedFiles: [MappedFile] { files.map(\.file) }

  func shape(of name: String) -> [Int]? { entries[name]?.shape }

  func path(of name: String) -> String { entries[name]?.record.path ?? path }

  /// The rows as the file has them, in the checkpoint's order.
  func matrix(of name: String) throws -> (any StoredMatrix)? {
    guard let entry = entries[name], entry.shape.count > 1, entry.transform != .offsetNorm,
      let last = entry.shape.last, last > 0
    else { return nil }
    let isTransposed = entry.transform == .transposed
    let columns = isTransposed ? entry.shape[0] : last
    guard columns > 0 else { return nil }
    let attention = description.configuration.attention
    return RecordMatrix(
      entry.record, start: entry.start, rows: entry.count / columns, columns: columns,
      isTransposed: isTransposed,
      order: entry.transform.rowOrder(
        rows: entry.shape[0], heads: attention.queryHeadCount, groups: attention.keyValueHeadCount))
  }

  /// In place when the file holds `Float`s that lie as the checkpoint's would, else converted once.
  func floats(of name: String) throws -> (values: UnsafePointer<Float>, owner: AnyObject) {
    guard let entry = entries[name] else { throw DecoderError.missingTensor(path: path, name: name) }
    let record = entry.record
    // The part that comes first answers for the whole.
    if entry.start == 0 { try record.checkFinite() }
    let count = entry.count
    if entry.transform == .none, let floats = record.floatsWithoutCopy?.baseAddress {
      return (floats + entry.start, record.file)
    }
    let buffer = FloatBuffer(count: count)
    let target = buffer.elements.baseAddress!
    let blockLength = record.type.elementsPerBlock
    if count == record.elementCount {
      try record.copyFloats(into: buffer.elements)
    } else if entry.start.isMultiple(of: blockLength), count.isMultiple(of: blockLength) {
      try record.copyFloats(entry.start..<entry.start + count, into: target)
    } else {
      // A vector in blocks, of which this is a part.
      let whole = FloatBuffer(count: record.elementCount)
      try record.copyFloats(into: whole.elements)
      target.update(from: whole.elements.baseAddress! + entry.start, count: count)
    }
    let attention = description.configuration.attention
    if entry.transform == .offsetNorm {
      for index in 0..<count { target[index] -= 1 }
    } else if entry.transform == .transposed {
      return try transposed(buffer, rows: entry.shape[0], columns: entry.shape[1])
    } else if let rows = entry.shape.first, rows > 0,
      let order = entry.transform.rowOrder(
        rows: rows, heads: attention.queryHeadCount, groups: attention.keyValueHeadCount)
    {
      let ordered = FloatBuffer(count: count)
      let columns = count / rows
      for (row, place) in order.enumerated() {
        (ordered.elements.baseAddress! + row * columns).update(from: target + place * columns, count: columns)
      }
      return (UnsafePointer(ordered.elements.baseAddress!), ordered)
    }
    return (UnsafePointer(target), buffer)
  }

  /// A matrix of (columns, rows) as (rows, columns), block by block, so that both sides stay in cache.
  private func transposed(
    _ source: FloatBuffer, rows: Int, columns: Int
  ) throws -> (values: UnsafePointer<Float>, owner: AnyObject) {
    let result = FloatBuffer(count: rows * columns)
    let (from, to) = (source.elements.baseAddress!, result.elements.baseAddress!)
    for blockRow in stride(from: 0, to: rows, by: 32) {
      for blockColumn in stride(from: 0, to: columns, by: 32) {
        for row in blockRow..<min(blockRow + 32, rows) {
          for column in blockColumn..<min(blockColumn + 32, columns) {
            to[row * columns + column] = from[column * rows + row]
          }
        }
      }
    }
    return (UnsafePointer(to), result)
  }
}
