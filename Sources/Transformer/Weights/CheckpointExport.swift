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
  ///   - adapter: a folder in PEFT's layout whose changes are merged into the weights.
  /// - Throws: an error that names file and tensor, a number beyond the type among others.
  public static func write(
    model: String, to folder: String, as type: OutputType, adapter: String? = nil
  ) throws {
    let (description, source) = try openModel(model, adapter: adapter)
    // Checked as a model first: a folder that could not be loaded again is not written.
    try WeightLoader(family: description.family, configuration: description.configuration, source: source)
      .check()

    try createFolder(folder)
    let base = folder.hasSuffix("/") ? folder : folder + "/"
    let declarations = source.tensorNames.map {
      TensorDeclaration(name: $0, type: type.tensorType, shape: source.shape(of: $0) ?? [])
    }
    try SafetensorsWriter.write(
      to: base + "model.safetensors", declarations, metadata: ["format": "pt"],
      alignment: SafetensorsWriter.modelAlignment
    ) { tensor, append in
      let (values, owner) = try source.floats(of: tensor.name)
      let count = tensor.shape.reduce(1, *)
      try withExtendedLifetime(owner) {
        try encodeInPieces(UnsafeBufferPointer(start: values, count: count), as: tensor.type, append) {
          index in
          GGUFExportError(
            path: source.path,
            reason: "tensor \(tensor.name): element \(index) is beyond \(type.rawValue); use bf16 or f32")
        }
      }
    }
    var members = description.document.object?.members ?? []
    members.removeAll { $0.key == "torch_dtype" || $0.key == "dtype" }
    members.append(
      .init(key: "dtype", value: .string(type == .f32 ? "float32" : type == .f16 ? "float16" : "bfloat16")))
    try AtomicFile.write(
      JSONValue.object(JSONObject(members)).text(.indented) + "\n", to: base + "config.json")
  }
}
