import JSON

/// The weights of one model: a safetensors file, or several with the index that ties them together.
///
/// Opening is all or nothing: the index and the files must name exactly the same tensors.
public struct Checkpoint: Sendable {
  /// The path it was opened by: a folder or a file.
  public let path: String
  /// The files, in the order of their names.
  public let files: [SafetensorsFile]
  /// Every tensor, file by file in the order of its bytes: the order in which to read them.
  public let tensors: [TensorRecord]
  private let positions: [String: Int]

  /// What to do about weights in PyTorch's pickle format.
  static let conversionHint =
    "convert it once with Python's transformers: "
    + "AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder)"

  /// Opens the weights of a model.
  ///
  /// - Parameter path: a folder with `model.safetensors` or `model.safetensors.index.json` (the former is
  ///   preferred, as transformers does), a safetensors file, or an index file.
  /// - Throws: `FileError`, `SafetensorsError`, `JSONDocumentError` or `CheckpointError`.
  public init(path: String) throws {
    guard let status = try fileStatus(path) else { throw FileError.missing(path: path) }
    let file = status.isDirectory ? try Checkpoint.weightsFile(in: path) : path
    if file.hasSuffix(".bin") || file.hasSuffix(".pt") || file.hasSuffix(".pth") {
      throw CheckpointError.pickled(path: file)
    }
    self.path = path
    files = file.hasSuffix(".json") ? try ShardIndex(path: file).open() : [try SafetensorsFile(path: file)]
    tensors = files.flatMap(\.tensors)
    // Safe: a file refuses duplicates, and an index gives each name one file.
    positions = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) })
  }

  /// The names of all tensors, in the order of `tensors`.
  public var tensorNames: [String] { tensors.map(\.name) }

  /// The tensor of a name, or `nil`.
  ///
  /// - Complexity: O(1).
  public func tensor(named name: String) -> TensorRecord? {
    positions[name].map { tensors[$0] }
  }

  /// Bytes of all tensors together.
  public var totalByteCount: Int { tensors.reduce(0) { $0 + $1.byteCount } }

  /// Elements of all tensors together.
  public var totalElementCount: Int { tensors.reduce(0) { $0 + $1.elementCount } }

  /// The metadata of the first file, by custom `["format": "pt"]`.
  public var metadata: [String: String] { files.first?.metadata ?? [:] }

  /// The file to open in a folder.
  private static func weightsFile(in folder: String) throws -> String {
    let prefix = folder.hasSuffix("/") ? folder : folder + "/"
    for name in ["model.safetensors", "model.safetensors.index.json"]
    where try fileStatus(prefix + name) != nil {
      return prefix + name
    }
    let names = try folderEntries(folder)
    let found = names.filter { $0.hasSuffix(".safetensors") || $0.hasSuffix(".gguf") }
    if found.isEmpty {
      for name in ["pytorch_model.bin", "pytorch_model.bin.index.json"] where names.contains(name) {
        throw CheckpointError.pickled(path: prefix + name)
      }
    }
    throw CheckpointError.noWeights(folder: folder, found: found.map { prefix + $0 })
  }
}

/// `model.safetensors.index.json`: which file holds which tensor.
private struct ShardIndex {
  let path: String
  /// Folder of the index, with a final slash, or empty.
  let folder: String
  /// Tensor → file.
  private(set) var shards: [String: String] = [:]

  init(path: String) throws {
    self.path = path
    folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
    let document = try JSONDocument.load(path, limit: SafetensorsFile.maximumHeaderByteCount, maximumDepth: 8)
    guard let members = document["weight_map"]?.object?.members, !members.isEmpty else {
      throw CheckpointError.invalidIndex(
        path: path, fault: "has no 'weight_map' that says which file holds which tensor; download it again")
    }
    for member in members {
      guard let shard = member.value.string else {
        throw CheckpointError.invalidIndex(
          path: path,
          fault:
            "'weight_map' gives \(member.value.kind) for tensor '\(printable(member.key, limit: 200))' where the "
            + "name of a file is wanted")
      }
      // A plain name in this folder: an index from elsewhere must not reach other files of the machine.
      guard shard.hasSuffix(".safetensors"),
        !shard.unicodeScalars.contains(where: { "/\\\0".unicodeScalars.contains($0) })
      else { throw CheckpointError.invalidShardName(index: path, tensor: member.key, shard: shard) }
      guard shards.updateValue(shard, forKey: member.key) == nil else {
        throw CheckpointError.invalidIndex(
          path: path, fault: "'weight_map' names tensor '\(printable(member.key, limit: 200))' twice")
      }
    }
  }

  /// Opens every file and checks that index and files agree, name by name.
  func open() throws -> [SafetensorsFile] {
    var unseen = shards
    var files: [SafetensorsFile] = []
    for shard in Set(shards.values).sorted() {
      guard try fileStatus(folder + shard) != nil else {
        throw CheckpointError.missingShard(index: path, shard: folder + shard)
      }
      let file = try SafetensorsFile(path: folder + shard)
      for tensor in file.tensors {
        guard shards[tensor.name] == shard else {
          throw CheckpointError.unexpectedTensor(
            index: path, tensor: tensor.name, shard: folder + shard, expectedShard: shards[tensor.name])
        }
        unseen[tensor.name] = nil
      }
      files.append(file)
    }
    // The least name, so that the message is the same each time.
    if let (tensor, shard) = unseen.min(by: { $0.key < $1.key }) {
      throw CheckpointError.missingTensor(index: path, tensor: tensor, shard: folder + shard)
    }
    return files
  }
}
