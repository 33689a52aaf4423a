import Checkpoints
import JSON

/// Writes a model's weights and configuration as a folder in Hugging Face's layout.
public enum CheckpointExport {
  /// Element types that a folder may hold.
  public enum OutputType: String, Sendable, CaseIterable {
    case f32, f16, bf16

    var tensorType: TensorType {
      switch self {
      case .f32: .f32
      case .f16: .f16
      case .bf16: .bf16
      }
    }
  }

  /// Writes `config.json` and `model.safetensors`.
  ///
  /// - Parameters:
  ///   - model: a folder in Hugging Face's layout, or a GGUF file.
  ///   - folder: made if it is not there.
  ///   - type: of all tensors.
  /// - Throws: an error that names file and tensor, a number beyond the type among others.
  public static func write(model: String, to folder: String, as type: OutputType) throws {
    let document: JSONValue
    let source: any WeightSource
    if GGUFFile.recognises(model) {
      let file = try GGUFModel(path: model)
      (document, source) = (file.document, file)
    } else {
      (document, source) = (try ModelDescription.load(from: model).document, try Checkpoint(path: model))
    }
    // Read as a model first: a folder that could not be loaded again is not written.
    let description = try ModelDescription(document, path: source.path)
    try WeightLoader(family: description.family, configuration: description.configuration, source: source)
      .check()

    try createFolder(folder)
    let base = folder.hasSuffix("/") ? folder : folder + "/"
    let declarations = source.tensorNames.map {
      TensorDeclaration(name: $0, type: type.tensorType, shape: source.shape(of: $0) ?? [])
    }
    try SafetensorsWriter.write(to: base + "model.safetensors", declarations, metadata: ["format": "pt"]) {
      tensor, append in
      let (values, owner) = try source.floats(of: tensor.name)
      let count = tensor.shape.reduce(1, *)
      try withExtendedLifetime(owner) {
        let bytes = tensor.type.byteCount(elements: count)!
        try withUnsafeTemporaryAllocation(byteCount: max(bytes, 1), alignment: 64) { buffer in
          let target = UnsafeMutableRawBufferPointer(rebasing: buffer[..<bytes])
          if let index = BlockEncoding.encode(
            tensor.type, UnsafeBufferPointer(start: values, count: count), into: target)
          {
            throw GGUFExportError(
              path: source.path,
              reason: "tensor \(tensor.name): element \(index) is beyond \(type.rawValue); use bf16 or f32")
          }
          try append(UnsafeRawBufferPointer(target))
        }
      }
    }
    var members = document.object?.members ?? []
    members.removeAll { $0.key == "torch_dtype" || $0.key == "dtype" }
    members.append(
      .init(key: "dtype", value: .string(type == .f32 ? "float32" : type == .f16 ? "float16" : "bfloat16")))
    try AtomicFile.write(
      JSONValue.object(JSONObject(members)).text(.indented) + "\n", to: base + "config.json")
  }
}
