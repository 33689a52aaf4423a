/// Why the files of a checkpoint do not make one.
public enum CheckpointError: Error, Equatable, CustomStringConvertible {
  /// A folder without weights that can be read.
  case noWeights(folder: String, found: [String])
  /// A folder with PyTorch's own format only.
  case pickled(path: String)
  /// The index is not what an index is.
  case invalidIndex(path: String, fault: String)
  /// The index names a file outside its folder, or no safetensors file.
  case invalidShardName(index: String, tensor: String, shard: String)
  /// The index names a file that does not exist.
  case missingShard(index: String, shard: String)
  /// The index promises a tensor that its file does not hold.
  case missingTensor(index: String, tensor: String, shard: String)
  /// A file holds a tensor that the index does not name, or places elsewhere.
  case unexpectedTensor(index: String, tensor: String, shard: String, expectedShard: String?)
  /// A tensor cannot be converted to `Float`.
  case notFloatingPoint(path: String, tensor: String, type: TensorType)
  /// A tensor holds NaN or ∞.
  case notFinite(path: String, tensor: String, element: Int, value: Float)

  /// One line: the files, the tensor, what is wrong and what helps.
  public var description: String {
    switch self {
    case .noWeights(let folder, let found):
      "\(printable(folder)): holds no model.safetensors and no model.safetensors.index.json"
        + (found.isEmpty
          ? "; give the folder of a model"
          : "; to read one file, give its path: "
            + found.prefix(3).map { printable($0, limit: 100) }.joined(separator: ", "))
    case .pickled(let path):
      "\(printable(path)): is in PyTorch's pickle format, which can run code when it is read; "
        + Checkpoint.conversionHint
    case .invalidIndex(let path, let fault): "\(printable(path)): \(fault)"
    case .invalidShardName(let index, let tensor, let shard):
      "\(printable(index)): tensor '\(printable(tensor, limit: 200))' is placed in '\(printable(shard, limit: 100))', "
        + "which is not the plain name of a .safetensors file in the same folder"
    case .missingShard(let index, let shard):
      "\(printable(index)): names '\(printable(shard, limit: 200))', which does not exist; download that file too"
    case .missingTensor(let index, let tensor, let shard):
      "\(printable(index)): places tensor '\(printable(tensor, limit: 200))' in '\(printable(shard, limit: 200))', "
        + "which does not hold it; index and files are of different models, download them again"
    case .unexpectedTensor(let index, let tensor, let shard, let expected):
      "\(printable(index)): "
        + (expected.map {
          "places tensor '\(printable(tensor, limit: 200))' in '\(printable($0, limit: 200))'"
        }
          ?? "does not name tensor '\(printable(tensor, limit: 200))'")
        + ", but '\(printable(shard, limit: 200))' holds it; index and files are of different models, download them again"
    case .notFloatingPoint(let path, let tensor, let type):
      "\(printable(path)): tensor '\(printable(tensor, limit: 200))' is \(type.rawValue), which is not converted to "
        + "Float; save it as F32, F16, BF16 or F64, or in GGUF as one of Q4_0 to Q6_K, IQ4 or MXFP4"
    case .notFinite(let path, let tensor, let element, let value):
      "\(printable(path)): tensor '\(printable(tensor, limit: 200))' holds \(value) at element \(element); "
        + "the weights are damaged or training diverged"
    }
  }
}
