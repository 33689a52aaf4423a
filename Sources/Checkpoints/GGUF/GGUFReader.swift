/// The walk through a GGUF file's header, each claim checked before the next relies on it.
struct GGUFReader {
  /// What a file says about one tensor.
  struct TensorInfo {
    let name: String
    let type: TensorType
    let shape: [Int]
    let elementCount: Int
    let byteCount: Int
    let offset: UInt64
  }

  /// Arrays within arrays that are accepted; no model has more than one level.
  static let maximumArrayDepth = 8

  let path: String
  let version: Int
  private let bytes: UnsafeRawBufferPointer
  private var position = 0
  private let tensorCount: UInt64
  private let entryCount: UInt64

  init(path: String, bytes: UnsafeRawBufferPointer) throws {
    self.path = path
    self.bytes = bytes
    func fail(_ problem: GGUFError.Problem) -> GGUFError {
      GGUFError(path: path, subject: .file, problem: problem)
    }
    guard bytes.starts(with: "GGUF".utf8) else { throw fail(GGUFReader.foreignFormat(bytes)) }
    guard bytes.count >= 24 else {
      throw fail(.truncated(what: "the header", position: bytes.count, fileByteCount: bytes.count))
    }
    let version = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: 4, as: UInt32.self))
    // A version below 2^16 in the other byte order has its lower half empty.
    if version != 0, version & 0xFFFF == 0 { throw fail(.bigEndian) }
    guard version == 2 || version == 3 else { throw fail(.version(version)) }
    self.version = Int(version)
    tensorCount = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self))
    entryCount = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: 16, as: UInt64.self))
    position = 24
    // The shortest entry: an empty key, a type, one byte. The shortest tensor: an empty name, no dimension, type,
    // offset. What passes here is bounded by the length of the file, and so is all that is allocated for it.
    try check(count: entryCount, of: "metadata entries", bytesEach: 8 + 4 + 1)
    try check(count: tensorCount, of: "tensors", bytesEach: 8 + 4 + 4 + 8)
  }

  /// Recognises what people most often give in place of GGUF.
  private static func foreignFormat(_ bytes: UnsafeRawBufferPointer) -> GGUFError.Problem {
    for magic in ["lmgg", "fmgg", "tjgg"] where bytes.starts(with: magic.utf8) {
      return .foreign(format: "a GGML file from before GGUF", fix: "convert the model again")
    }
    if bytes.starts(with: [0x50, 0x4B, 0x03, 0x04]) {
      return .foreign(format: "a PyTorch file or a zip archive", fix: Checkpoint.conversionHint)
    }
    if bytes.starts(with: "version https://git-lfs".utf8) {
      return .foreign(format: "a Git LFS pointer", fix: "fetch the file itself with 'git lfs pull'")
    }
    if bytes.starts(with: "<!".utf8) || bytes.starts(with: "<html".utf8) {
      return .foreign(format: "a web page", fix: "download the file itself")
    }
    if bytes.count > 8, bytes[8] == UInt8(ascii: "{") {
      return .foreign(format: "a safetensors file", fix: "give the folder that holds it and its config.json")
    }
    return .foreign(format: "something that does not begin with 'GGUF'", fix: "check the path")
  }

  // MARK: Metadata

  mutating func readMetadata() throws -> [GGUFMetadata.Entry] {
    var entries: [GGUFMetadata.Entry] = []
    entries.reserveCapacity(Int(min(entryCount, 1 << 12)))
    var names: Set<String> = []
    for _ in 0..<entryCount {
      let key = try name("a metadata key", subject: .file)
      guard names.insert(key).inserted else { throw fail(.key(key), .duplicate) }
      entries.append(try entry(key))
    }
    return entries
  }

  private mutating func entry(_ key: String) throws -> GGUFMetadata.Entry {
    let type = try valueType(.key(key))
    var elementType = type
    var count = 1
    let start: Int
    if type == .array {
      (elementType, count) = try arrayHeader(.key(key))
      start = position
      try skip(elementType, count: count, depth: 1, .key(key))
    } else {
      start = position
      try skip(type, count: 1, depth: 0, .key(key))
    }
    return GGUFMetadata.Entry(
      key: key, type: type, elementType: elementType, count: count, range: start..<position)
  }

  private mutating func valueType(_ subject: GGUFError.Subject) throws -> GGUFValueType {
    let number: UInt32 = try integer("the type of a value", subject)
    guard let type = GGUFValueType(rawValue: number) else { throw fail(subject, .unknownValueType(number)) }
    return type
  }

  /// The element type and the count of an array; as many elements of the least size fit the rest of the file.
  private mutating func arrayHeader(_ subject: GGUFError.Subject) throws -> (GGUFValueType, Int) {
    let elementType = try valueType(subject)
    let count: UInt64 = try integer("the length of an array", subject)
    try check(count: count, of: "array elements", bytesEach: elementType.minimumByteCount, subject)
    return (elementType, Int(count))
  }

  /// Passes over values, so that afterwards all of them are known to lie within the file.
  private mutating func skip(
    _ type: GGUFValueType, count: Int, depth: Int, _ subject: GGUFError.Subject
  ) throws {
    switch type {
    case .string:
      for _ in 0..<count { _ = try string("a string", subject) }
    case .array:
      guard depth < GGUFReader.maximumArrayDepth else {
        throw fail(subject, .arrayTooDeep(limit: GGUFReader.maximumArrayDepth))
      }
      for _ in 0..<count {
        let (elementType, elementCount) = try arrayHeader(subject)
        try skip(elementType, count: elementCount, depth: depth + 1, subject)
      }
    default:
      // Safe: an array's header was checked against the rest of the file; a single value is checked here.
      let byteCount = count &* type.minimumByteCount
      guard byteCount <= bytes.count - position else { throw truncated("a value", subject) }
      position += byteCount
    }
  }

  // MARK: Tensors

  mutating func readTensorInfos() throws -> [TensorInfo] {
    try check(count: tensorCount, of: "tensors", bytesEach: 8 + 4 + 4 + 8)
    var infos: [TensorInfo] = []
    infos.reserveCapacity(Int(min(tensorCount, 1 << 12)))
    var names: Set<String> = []
    for _ in 0..<tensorCount {
      let name = try name("the name of a tensor", subject: .file)
      guard names.insert(name).inserted else { throw fail(.tensor(name), .duplicate) }
      infos.append(try tensorInfo(name))
    }
    return infos
  }

  private mutating func tensorInfo(_ name: String) throws -> TensorInfo {
    let subject = GGUFError.Subject.tensor(name)
    let dimensionCount: UInt32 = try integer("the dimensions of a tensor", subject)
    guard dimensionCount <= GGUFFile.maximumDimensionCount else {
      throw fail(subject, .dimensionCount(dimensionCount))
    }
    var extents: [UInt64] = []
    for _ in 0..<dimensionCount { extents.append(try integer("the dimensions of a tensor", subject)) }
    let number: UInt32 = try integer("the type of a tensor", subject)
    let offset: UInt64 = try integer("the offset of a tensor", subject)
    guard let type = TensorType(ggmlNumber: number) else {
      throw fail(
        subject,
        TensorType.removedGGMLType(number).map { .removedTensorType($0) } ?? .unknownTensorType(number))
    }
    let shape = extents.reversed().compactMap { Int(exactly: $0) }
    guard shape.count == extents.count, let elements = elementCount(of: shape) else {
      throw fail(subject, .shapeOverflow(extents))
    }
    let rowLength = shape.last ?? 1
    guard rowLength.isMultiple(of: type.elementsPerBlock) else {
      throw fail(subject, .partialBlock(rowLength: rowLength, type: type))
    }
    guard let byteCount = type.byteCount(elements: elements) else {
      throw fail(subject, .shapeOverflow(extents))
    }
    return TensorInfo(
      name: name, type: type, shape: shape, elementCount: elements, byteCount: byteCount, offset: offset)
  }

  /// Where the data begins: the header's end, aligned.
  func dataStart(alignment: Int, hasTensors: Bool) throws -> Int {
    // Safe: a position in a file and an alignment of at most 2^20 are far from overflow.
    let start = (position + alignment - 1) / alignment * alignment
    guard hasTensors, start > bytes.count else { return min(start, bytes.count) }
    throw truncated("the padding before the data", .file)
  }

  /// The bytes of each tensor: aligned, within the file, and no one else's.
  func place(_ infos: [TensorInfo], dataStart: Int, alignment: Int) throws -> [Range<Int>] {
    let available = bytes.count - dataStart
    let ranges = try infos.map { info in
      guard info.offset % UInt64(alignment) == 0 else {
        throw fail(.tensor(info.name), .unaligned(offset: info.offset, alignment: alignment))
      }
      guard info.offset <= UInt64(available), info.byteCount <= available - Int(info.offset) else {
        throw fail(
          .tensor(info.name),
          .pastEnd(offset: info.offset, byteCount: info.byteCount, available: available))
      }
      let start = dataStart + Int(info.offset)
      return start..<start + info.byteCount
    }
    var previous: Int?
    for index in ranges.indices.filter({ !ranges[$0].isEmpty }).sorted(by: {
      (ranges[$0].lowerBound, $0) < (ranges[$1].lowerBound, $1)
    }) {
      if let previous, ranges[index].lowerBound < ranges[previous].upperBound {
        throw fail(.tensor(infos[index].name), .overlap(other: infos[previous].name))
      }
      previous = index
    }
    return ranges
  }

  // MARK: Pieces

  private func fail(_ subject: GGUFError.Subject, _ problem: GGUFError.Problem) -> GGUFError {
    GGUFError(path: path, subject: subject, problem: problem)
  }

  private func truncated(_ what: String, _ subject: GGUFError.Subject) -> GGUFError {
    fail(subject, .truncated(what: what, position: bytes.count, fileByteCount: bytes.count))
  }

  private func check(
    count: UInt64, of what: String, bytesEach: Int, _ subject: GGUFError.Subject = .file
  ) throws {
    let remaining = bytes.count - position
    guard count <= UInt64(remaining / bytesEach) else {
      throw fail(subject, .count(what: what, declared: count, remaining: remaining))
    }
  }

  private mutating func integer<Number: FixedWidthInteger>(
    _ what: String, _ subject: GGUFError.Subject
  ) throws -> Number {
    let size = MemoryLayout<Number>.size
    guard bytes.count - position >= size else { throw truncated(what, subject) }
    defer { position += size }
    return Number(littleEndian: bytes.loadUnaligned(fromByteOffset: position, as: Number.self))
  }

  /// The bytes of a string whose length comes first.
  private mutating func string(_ what: String, _ subject: GGUFError.Subject) throws -> Range<Int> {
    let count: UInt64 = try integer(what, subject)
    let remaining = bytes.count - position
    guard count <= UInt64(remaining) else {
      throw fail(subject, .stringPastEnd(what: what, byteCount: count, remaining: remaining))
    }
    defer { position += Int(count) }
    return position..<position + Int(count)
  }

  private mutating func name(_ what: String, subject: GGUFError.Subject) throws -> String {
    let range = try string(what, subject)
    guard let name = String(validating: bytes[range], as: UTF8.self) else {
      throw fail(subject, .nameNotUTF8(what: what, position: range.lowerBound))
    }
    return name
  }
}
