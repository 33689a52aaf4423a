import Inkstone

/// What a model folder holds, read from its headers.
struct ModelInspection {
  let folder: String
  let configuration: DecoderConfiguration
  let unknownFields: [String]
  let tensors: [TensorRecord]
  let files: [String]
  let tokenizerSize: Int?

  init(folder: String) throws {
    self.folder = folder
    let description = try ModelDescription.load(from: folder)
    configuration = description.configuration
    unknownFields = description.unknownFields
    if GGUFFile.recognises(folder) {
      tensors = try GGUFFile(path: folder).tensors
      files = [folder]
    } else {
      let checkpoint = try Checkpoint(path: folder)
      tensors = checkpoint.tensors
      files = checkpoint.files.map(\.path)
    }
    weightBytes = (try? Decoder.weightByteCount(of: folder)) ?? 4 * tensors.reduce(0) { $0 + $1.elementCount }
    tokenizerSize = Tokenizer.exists(in: folder) ? try Tokenizer.load(from: folder).vocabularySize : nil
  }

  private var elementCount: Int { tensors.reduce(0) { $0 + $1.elementCount } }

  /// Bytes of weights per type, in the order of the types' names.
  private var typeBytes: [(type: String, bytes: Int)] {
    Dictionary(grouping: tensors, by: \.type.rawValue)
      .map { ($0.key, $0.value.reduce(0) { $0 + $1.byteCount }) }.sorted { $0.0 < $1.0 }
  }

  /// Bytes that the weights take once loaded, as `--dtype auto` holds them.
  private let weightBytes: Int

  /// Bytes of keys and values of a whole context, as F32: layers with a window keep that and a chunk of a prompt.
  private var fullCacheBytes: Int {
    configuration.cacheBytes(KeyValueTypes(), positions: configuration.contextLength)
  }

  private var sizes: [(name: String, key: String, value: Int)] {
    [
      ("vocabulary", "vocabulary_size", configuration.vocabularySize),
      ("context", "context_length", configuration.contextLength),
      ("channels", "hidden_size", configuration.hiddenSize),
      ("layers", "layer_count", configuration.layerCount),
      ("query heads", "query_head_count", configuration.attention.queryHeadCount),
      ("key/value heads", "key_value_head_count", configuration.attention.keyValueHeadCount),
      ("head dimension", "head_dimension", configuration.attention.headDimension),
      ("feed-forward", "feed_forward_size", configuration.feedForwardSize),
    ]
  }

  func text(withTensors: Bool) -> String {
    func row(_ name: String, _ value: String) -> String {
      name + String(repeating: " ", count: max(1, 17 - name.count)) + value
    }
    var lines = [row("family", configuration.modelType)]
    lines += sizes.map { row($0.name, "\($0.value)") }
    lines.append(row("activation", configuration.activation.rawValue))
    lines.append(row("parameters", "\(elementCount)"))
    lines.append(
      row("weight types", typeBytes.map { "\($0.type) \(byteText($0.bytes))" }.joined(separator: ", ")))
    lines.append(row("tokenizer", tokenizerSize.map { "\($0) tokens" } ?? "none"))
    lines.append(row("memory", "\(byteText(weightBytes)) weights, \(byteText(4 * elementCount)) as f32"))
    lines.append(
      row(
        "",
        "\(byteText(configuration.cacheBytesPerPosition)) KV cache per position as F32, "
          + "\(byteText(configuration.cacheBytesPerPosition(.init(keys: .f16, values: .f16)))) as F16, "
          + "\(byteText(configuration.cacheBytesPerPosition(.init(keys: .q8_0, values: .q8_0)))) as Q8_0"))
    lines.append(row("", "\(byteText(fullCacheBytes)) KV cache at full context as F32"))
    for file in files { lines.append(row("file", file)) }
    for field in unknownFields {
      lines.append(row("warning", "config.json: \(field) is unknown and has no effect"))
    }
    if withTensors {
      lines += tensors.map { "\($0.name)  \($0.type.rawValue)  \($0.shape)" }
    }
    return lines.joined(separator: "\n")
  }

  func json(withTensors: Bool) -> JSONValue {
    var members: [JSONObject.Member] = [
      .init(key: "path", value: .string(folder)),
      .init(key: "model_type", value: .string(configuration.modelType)),
      .init(
        key: "configuration",
        value: .object(
          JSONObject(
            sizes.map { .init(key: $0.key, value: .integer($0.value)) } + [
              .init(key: "activation", value: .string(configuration.activation.rawValue)),
              .init(
                key: "normalization_epsilon", value: .number(Double(configuration.normalization.epsilon))),
            ]))),
      .init(key: "parameters", value: .integer(elementCount)),
      .init(
        key: "weight_types",
        value: .object(JSONObject(typeBytes.map { .init(key: $0.type, value: .integer($0.bytes)) }))),
      .init(key: "weight_bytes", value: .integer(tensors.reduce(0) { $0 + $1.byteCount })),
      .init(
        key: "memory",
        value: [
          "weights_bytes": .integer(weightBytes),
          "cache_bytes_per_position": .integer(configuration.cacheBytesPerPosition),
          "cache_bytes_full_context": .integer(fullCacheBytes),
        ]),
      .init(key: "tokenizer", value: tokenizerSize.map { .integer($0) } ?? .null),
      .init(key: "files", value: .array(files.map { .string($0) })),
      .init(key: "unknown_fields", value: .array(unknownFields.map { .string($0) })),
    ]
    if withTensors {
      members.append(
        .init(
          key: "tensors",
          value: .array(
            tensors.map { tensor in
              [
                "name": .string(tensor.name), "type": .string(tensor.type.rawValue),
                "shape": .array(tensor.shape.map { .integer($0) }), "file": .string(tensor.path),
              ]
            })))
    }
    return .object(JSONObject(members))
  }
}

/// A number of bytes with a unit that a person reads.
func byteText(_ bytes: Int) -> String {
  var value = Double(bytes)
  for unit in ["bytes", "KiB", "MiB", "GiB"] {
    if value < 1024 || unit == "GiB" {
      return unit == "bytes" ? "\(bytes) bytes" : "\((value * 10).rounded() / 10) \(unit)"
    }
    value /= 1024
  }
  return "\(bytes) bytes"
}
