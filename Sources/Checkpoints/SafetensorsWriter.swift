/// What a tensor to be written is.
public struct TensorDeclaration: Sendable, Equatable {
  /// The name.
  public let name: String
  /// How elements are encoded.
  public let type: TensorType
  /// Extents, row-major; `[]` for a scalar.
  public let shape: [Int]

  /// Declares a tensor.
  public init(name: String, type: TensorType, shape: [Int]) {
    self.name = name
    self.type = type
    self.shape = shape
  }
}

/// Writes safetensors files, byte for byte as the `safetensors` package writes the same tensors.
///
/// Tensors lie in the order of their types, widest first, then of their names, and the header is padded with
/// spaces to a multiple of eight bytes, so that each tensor is aligned for its type; to more where a caller
/// wants it, for a load of 64 bytes that lies across two lines of the cache costs more than one that does not.
/// Metadata is written in the order of its keys (the package's order changes from run to run).
/// - SeeAlso: `prepare` in huggingface/safetensors 0.8, `safetensors/src/tensor.rs`.
public enum SafetensorsWriter {
  /// Receives a part of a tensor's bytes.
  public typealias Append = (UnsafeRawBufferPointer) throws -> Void

  /// Where the first tensor of a model begins, in bytes: a line of a cache, which rows of most models are multiples of.
  public static let modelAlignment = 64

  /// Writes a file whose tensors are produced one at a time, so that a model larger than memory can be written.
  ///
  /// - Parameters:
  ///   - path: the file; replaced only when all is written (`AtomicFile`).
  ///   - declarations: the tensors, in any order.
  ///   - metadata: strings for `__metadata__`; when empty, none is written.
  ///   - alignment: the first tensor begins at a multiple of so many bytes, a power of two from 8 on.
  ///   - contents: appends the bytes of one tensor, little-endian and row-major, in as many parts as it likes;
  ///     called once per tensor in the order of the file.
  /// - Throws: `SafetensorsError` for a name, shape or number of bytes that the format does not allow,
  ///   `FileError`, or what `contents` throws. The old file then stays.
  public static func write(
    to path: String, _ declarations: [TensorDeclaration], metadata: [String: String] = [:],
    alignment: Int = 8, contents: (TensorDeclaration, Append) throws -> Void
  ) throws {
    let layout = try Layout(path: path, declarations, metadata, alignment: alignment)
    try AtomicFile.write(to: path) { file in
      try layout.header.withUnsafeBytes { try file.append($0) }
      for (tensor, byteCount) in layout.tensors {
        let start = file.byteCount
        func error() -> SafetensorsError {
          layout.error(
            tensor,
            .byteCount(
              expected: byteCount, actual: file.byteCount - start, shape: tensor.shape, type: tensor.type))
        }
        try contents(tensor) { try file.append($0) }
        guard file.byteCount - start == byteCount else { throw error() }
      }
    }
  }

  /// Writes a file whose tensors are in memory.
  ///
  /// - Parameters:
  ///   - path: the file.
  ///   - tensors: declarations with their bytes, little-endian and row-major.
  ///   - metadata: strings for `__metadata__`.
  /// - Throws: as the other form.
  public static func write(
    to path: String, _ tensors: [(declaration: TensorDeclaration, bytes: UnsafeRawBufferPointer)],
    metadata: [String: String] = [:]
  ) throws {
    // Repeated names are refused before the contents are asked for.
    let bytes = Dictionary(tensors.map { ($0.declaration.name, $0.bytes) }) { first, _ in first }
    try write(to: path, tensors.map(\.declaration), metadata: metadata) { tensor, append in
      if let bytes = bytes[tensor.name] { try append(bytes) }
    }
  }

  /// The header, and the order of the tensors after it.
  private struct Layout {
    let path: String
    private(set) var tensors: [(TensorDeclaration, byteCount: Int)] = []
    /// The length, the JSON text and the padding.
    private(set) var header: [UInt8] = []

    init(
      path: String, _ declarations: [TensorDeclaration], _ metadata: [String: String], alignment: Int
    ) throws {
      precondition(alignment >= 8 && alignment.nonzeroBitCount == 1, "tensors at multiples of \(alignment)")
      self.path = path
      // Rust compares strings by their bytes, Swift by Unicode's canonical order; the package's order counts.
      func precedes(_ left: String, _ right: String) -> Bool {
        left.utf8.lexicographicallyPrecedes(right.utf8)
      }
      let places = Dictionary(uniqueKeysWithValues: TensorType.allCases.enumerated().map { ($1, $0) })
      let ordered = declarations.sorted {
        $0.type == $1.type ? precedes($0.name, $1.name) : places[$0.type]! < places[$1.type]!
      }

      var members: [String] = []
      if !metadata.isEmpty {
        let strings = metadata.sorted { precedes($0.key, $1.key) }.map {
          "\(quoted($0.key)):\(quoted($0.value))"
        }
        members.append("\"__metadata__\":{\(strings.joined(separator: ","))}")
      }
      var names: Set<String> = ["__metadata__"]
      var position = 0
      for tensor in ordered {
        guard tensor.name != "__metadata__" else { throw error(tensor, .reservedName) }
        guard names.insert(tensor.name).inserted else { throw error(tensor, .duplicate) }
        guard tensor.type.isSafetensors else { throw error(tensor, .unknownType(tensor.type.rawValue)) }
        guard let elements = elementCount(of: tensor.shape) else {
          throw error(tensor, .shapeOverflow(shape: tensor.shape))
        }
        guard elements % tensor.type.elementsPerBlock == 0 else {
          throw error(tensor, .partialByte(shape: tensor.shape, type: tensor.type))
        }
        guard let byteCount = tensor.type.byteCount(elements: elements),
          case let (end, overflow) = position.addingReportingOverflow(byteCount), !overflow
        else { throw error(tensor, .shapeOverflow(shape: tensor.shape)) }
        let shape = tensor.shape.map(String.init).joined(separator: ",")
        members.append(
          "\(quoted(tensor.name)):{\"dtype\":\"\(tensor.type.rawValue)\",\"shape\":[\(shape)],"
            + "\"data_offsets\":[\(position),\(end)]}")
        tensors.append((tensor, byteCount))
        position = end
      }

      var text = Array("{\(members.joined(separator: ","))}".utf8)
      // Eight bytes of length come first.
      let padding = (alignment - (text.count + 8) % alignment) % alignment
      text.append(contentsOf: repeatElement(UInt8(ascii: " "), count: padding))
      guard text.count <= SafetensorsFile.maximumHeaderByteCount else {
        throw SafetensorsError(
          path: path, tensor: nil, problem: .headerTooLong(headerByteCount: UInt64(text.count)))
      }
      header = withUnsafeBytes(of: UInt64(text.count).littleEndian, Array.init) + text
    }

    func error(_ tensor: TensorDeclaration, _ problem: SafetensorsError.Problem) -> SafetensorsError {
      SafetensorsError(path: path, tensor: tensor.name, problem: problem)
    }
  }
}

/// A JSON string with the escapes that the `safetensors` package (Rust's `serde_json`) chooses.
private func quoted(_ text: String) -> String {
  var out = "\""
  for scalar in text.unicodeScalars {
    switch scalar {
    case "\"": out += "\\\""
    case "\\": out += "\\\\"
    case "\u{8}": out += "\\b"
    case "\u{C}": out += "\\f"
    case "\n": out += "\\n"
    case "\r": out += "\\r"
    case "\t": out += "\\t"
    case _ where scalar.value < 0x20:
      out += (scalar.value < 0x10 ? "\\u000" : "\\u00") + String(scalar.value, radix: 16)
    default: out.unicodeScalars.append(scalar)
    }
  }
  return out + "\""
}
