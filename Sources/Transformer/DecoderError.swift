import Checkpoints

/// Why a decoder cannot do what it is asked.
public enum DecoderError: Error, Equatable, CustomStringConvertible {
  /// The model's `model_type` is of no family that the engine knows.
  case unknownFamily(path: String, modelType: String, known: [String])
  /// A GGUF file's architecture is none that the engine knows.
  case unknownArchitecture(path: String, name: String, known: [String])
  /// A checkpoint lacks a tensor that the configuration calls for.
  case missingTensor(path: String, name: String)
  /// A checkpoint holds tensors that the family does not know.
  case unexpectedTensors(path: String, names: [String])
  /// A tensor does not have the shape that the configuration calls for.
  case wrongShape(path: String, name: String, shape: [Int], expected: [Int])
  /// A tensor holds a number that the type asked for cannot.
  case beyondType(path: String, name: String, type: String)
  /// A token id that the model does not have.
  case tokenOutOfRange(token: Int, vocabularySize: Int)
  /// A sequence that the model or its cache cannot hold.
  case contextExceeded(length: Int, capacity: Int)
  /// There is nothing to run.
  case emptyInput
  /// The weights, as they would be held, are larger than what memory is free.
  case weightMemory(path: String, bytes: Int, available: Int)
  /// The system refuses memory.
  case memory(bytes: Int, purpose: String)

  /// One line that names the file, the tensor and the fix.
  public var description: String {
    switch self {
    case .unknownFamily(let path, let modelType, let known):
      "\(path): model_type: \"\(modelType)\" is not supported; supported: \(known.joined(separator: ", "))"
    case .unknownArchitecture(let path, let name, let known):
      "\(path): general.architecture: \"\(name.prefix(60))\" is not supported; supported: "
        + known.joined(separator: ", ")
    case .missingTensor(let path, let name):
      "\(path): tensor \(printable(name, limit: 200)) is missing; config.json and the weights must come from the same model"
    case .unexpectedTensors(let path, let names):
      "\(path): \(names.count == 1 ? "tensor" : "tensors") \(names.prefix(3).map { printable($0, limit: 100) }.joined(separator: ", "))"
        + (names.count > 3 ? " and \(names.count - 3) more" : "")
        + " unknown to this model; config.json and the weights must come from the same model"
    case .wrongShape(let path, let name, let shape, let expected):
      "\(path): tensor \(printable(name, limit: 200)) has shape \(printable("\(shape)", limit: 80)), config.json calls for \(expected)"
    case .beyondType(let path, let name, let type):
      "\(path): tensor \(name) holds a number that is beyond \(type); use --dtype bf16 or f32"
    case .tokenOutOfRange(let token, let vocabularySize):
      "token id \(token) is out of range; the model has ids 0 to \(vocabularySize - 1)"
    case .contextExceeded(let length, let capacity):
      "\(length) tokens are more than the context of \(capacity); shorten the prompt or ask for fewer tokens"
    case .emptyInput:
      "the prompt is empty; give at least one token"
    case .weightMemory(let path, let bytes, let available):
      "\(path): the weights take \(bytes >> 20) MiB and \(available >> 20) MiB are free; "
        + "hold them in a smaller --dtype, or free memory"
    case .memory(let bytes, let purpose):
      "no memory for \(purpose) (\(bytes == .max ? "more than the address space" : "\(bytes >> 20) MiB")); "
        + "ask for a smaller context with --ctx-size or fewer beams"
    }
  }
}
