/// A metadata value to be written.
public enum GGUFValue: Sendable, Equatable {
  /// A 32-bit unsigned integer.
  case uint32(UInt32)
  /// A 32-bit float.
  case float32(Float)
  /// A truth value.
  case bool(Bool)
  /// A text.
  case string(String)
  /// Texts, each as its bytes.
  case strings([[UInt8]])
  /// 32-bit floats.
  case floats([Float])
  /// 32-bit integers.
  case integers([Int32])
}

/// Writes GGUF files, version 3, little-endian.
///
/// - SeeAlso: ggml's GGUF specification; `GGUFWriter` of gguf-py, whose layout this is.
public enum GGUFWriter {
  /// Receives a part of a tensor's bytes.
  public typealias Append = (UnsafeRawBufferPointer) throws -> Void

  /// Writes a file whose tensors are produced one at a time, so that a model larger than memory can be written.
  ///
  /// - Parameters:
  ///   - path: the file; replaced only when all is written (`AtomicFile`).
  ///   - metadata: keys and values, in the order of the file.
  ///   - tensors: in the order of the file; shapes row-major.
  ///   - contents: appends the bytes of one tensor, in as many parts as it likes.
  /// - Throws: `GGUFError` for a type or shape that the format does not allow, `FileError`, or what `contents` throws.
  ///   The old file then stays.
  public static func write(
    to path: String, metadata: [(key: String, value: GGUFValue)], _ tensors: [TensorDeclaration],
    contents: (TensorDeclaration, Append) throws -> Void
  ) throws {
    var header: [UInt8] = Array("GGUF".utf8)
    header.append(3 as UInt32)
    header.append(UInt64(tensors.count))
    header.append(UInt64(metadata.count))
    for (key, value) in metadata {
      header.append(Array(key.utf8))
      header.append(value)
    }
    var offset = 0
    var sizes: [Int] = []
    for tensor in tensors {
      guard let number = tensor.type.ggmlNumber, tensor.shape.count <= GGUFFile.maximumDimensionCount,
        let count = elementCount(of: tensor.shape), let size = tensor.type.byteCount(elements: count)
      else {
        throw GGUFError(
          path: path, subject: .tensor(tensor.name),
          problem: .unwritable("\(tensor.type.rawValue) of shape \(tensor.shape)"))
      }
      header.append(Array(tensor.name.utf8))
      header.append(UInt32(tensor.shape.count))
      for extent in tensor.shape.reversed() { header.append(UInt64(extent)) }
      header.append(number)
      header.append(UInt64(offset))
      sizes.append(size)
      offset += aligned(size)
    }
    header += [UInt8](repeating: 0, count: aligned(header.count) - header.count)

    try AtomicFile.write(to: path) { file in
      try header.withUnsafeBytes { try file.append($0) }
      for (tensor, size) in zip(tensors, sizes) {
        let start = file.byteCount
        try contents(tensor) { try file.append($0) }
        precondition(
          file.byteCount - start == size, "\(tensor.name): \(file.byteCount - start) of \(size) bytes")
        try [UInt8](repeating: 0, count: aligned(size) - size).withUnsafeBytes { try file.append($0) }
      }
    }
  }

  private static func aligned(_ count: Int) -> Int { (count + 31) / 32 * 32 }
}

extension [UInt8] {
  fileprivate mutating func append(_ number: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: number.littleEndian) { self += $0 }
  }

  /// A length of 64 bits and the bytes.
  fileprivate mutating func append(_ text: [UInt8]) {
    append(UInt64(text.count))
    self += text
  }

  /// The type's number and the value.
  fileprivate mutating func append(_ value: GGUFValue) {
    func start(_ type: GGUFValueType, of count: Int) {
      append(GGUFValueType.array.rawValue)
      append(type.rawValue)
      append(UInt64(count))
    }
    switch value {
    case .uint32(let number):
      append(GGUFValueType.uint32.rawValue)
      append(number)
    case .float32(let number):
      append(GGUFValueType.float32.rawValue)
      append(number.bitPattern)
    case .bool(let flag):
      append(GGUFValueType.bool.rawValue)
      append(flag ? 1 as UInt8 : 0)
    case .string(let text):
      append(GGUFValueType.string.rawValue)
      append(Array(text.utf8))
    case .strings(let texts):
      start(.string, of: texts.count)
      for text in texts { append(text) }
    case .floats(let numbers):
      start(.float32, of: numbers.count)
      for number in numbers { append(number.bitPattern) }
    case .integers(let numbers):
      start(.int32, of: numbers.count)
      for number in numbers { append(number) }
    }
  }
}
