import JSON

/// A safetensors file: named tensors behind a JSON header.
///
/// Layout: eight bytes with the header's length (little-endian), the header, the data. Opening checks all that
/// the header claims, before a byte of data is touched: every tensor lies within the file, has the size its
/// shape and type need, and the tensors cover the data without overlap or hole.
/// - SeeAlso: https://huggingface.co/docs/safetensors — "Format"
public struct SafetensorsFile: Sendable {
  /// The longest header the format allows.
  public static let maximumHeaderByteCount = 100_000_000

  /// The path the file was opened by.
  public var path: String { file.path }
  /// The mapped contents.
  public let file: MappedFile
  /// The strings in `__metadata__`; empty when there is none.
  public let metadata: [String: String]
  /// The tensors in the order in which their bytes lie in the file.
  public let tensors: [TensorRecord]

  /// Maps a file and checks its header.
  ///
  /// - Throws: `FileError` when the file cannot be mapped, `SafetensorsError` when it is not what it claims.
  /// - Complexity: O(header + tensors · log tensors); the data is not read.
  public init(path: String) throws {
    let file = try MappedFile(path: path)
    let header = try HeaderReader(path: path, bytes: file.bytes)
    self.file = file
    metadata = header.metadata
    tensors = header.entries.map { entry in
      TensorRecord(
        name: entry.name, type: entry.type, shape: entry.shape, elementCount: entry.elementCount, file: file,
        byteRange: header.dataStart + entry.begin..<header.dataStart + entry.end)
    }
  }
}

/// The checks on a header, in the order in which they make the next one safe.
private struct HeaderReader {
  struct Entry {
    let name: String
    let type: TensorType
    let shape: [Int]
    let elementCount: Int
    let begin: Int
    let end: Int
  }

  let path: String
  let dataStart: Int
  private(set) var metadata: [String: String] = [:]
  private(set) var entries: [Entry] = []

  init(path: String, bytes: UnsafeRawBufferPointer) throws {
    self.path = path
    dataStart = try HeaderReader.headerEnd(path: path, bytes: bytes)
    let text = UnsafeRawBufferPointer(rebasing: bytes[8..<dataStart])
    let root: JSONValue
    do {
      // A tensor's fields are three levels deep; nothing the format defines goes deeper.
      root = try JSONValue.parse(text, maximumDepth: 8)
    } catch let fault as JSONError {
      throw SafetensorsError(path: path, tensor: nil, problem: .headerNotJSON(fault))
    }
    guard let members = root.object?.members else { throw error(nil, .headerNotObject) }

    let available = bytes.count - dataStart
    var names: Set<String> = []
    entries.reserveCapacity(members.count)
    for member in members {
      guard names.insert(member.key).inserted else { throw error(member.key, .duplicate) }
      if member.key == "__metadata__" {
        metadata = try strings(member.value)
      } else {
        entries.append(try entry(member.key, member.value, available: available))
      }
    }
    try checkCoverage(available: available)
  }

  /// The position after the header.
  private static func headerEnd(path: String, bytes: UnsafeRawBufferPointer) throws -> Int {
    func fail(_ problem: SafetensorsError.Problem) -> SafetensorsError {
      SafetensorsError(path: path, tensor: nil, problem: problem)
    }
    guard bytes.count >= 8 else { throw fail(.noHeader(fileByteCount: bytes.count)) }
    let declared = UInt64(littleEndian: bytes.loadUnaligned(as: UInt64.self))
    guard declared <= UInt64(SafetensorsFile.maximumHeaderByteCount) else {
      throw fail(foreignFormat(bytes) ?? .headerTooLong(headerByteCount: declared))
    }
    guard declared <= UInt64(bytes.count - 8) else {
      throw fail(.headerPastEnd(headerByteCount: declared, fileByteCount: bytes.count))
    }
    return 8 + Int(declared)
  }

  /// Recognises what people most often give in place of safetensors; read as a length, each begins far too large.
  private static func foreignFormat(_ bytes: UnsafeRawBufferPointer) -> SafetensorsError.Problem? {
    if bytes.starts(with: "GGUF".utf8) {
      return .foreign(format: "a GGUF file", fix: "give the safetensors form of the model")
    }
    if bytes.starts(with: [0x50, 0x4B, 0x03, 0x04]) || bytes.starts(with: [0x80, 0x02, 0x8A, 0x0A]) {
      return .foreign(format: "a PyTorch file or a zip archive", fix: Checkpoint.conversionHint)
    }
    if bytes.starts(with: "version https://git-lfs".utf8) {
      return .foreign(format: "a Git LFS pointer", fix: "fetch the file itself with 'git lfs pull'")
    }
    if bytes.starts(with: "<!".utf8) || bytes.starts(with: "<html".utf8) {
      return .foreign(format: "a web page", fix: "download the file itself")
    }
    return nil
  }

  private func error(_ tensor: String?, _ problem: SafetensorsError.Problem) -> SafetensorsError {
    SafetensorsError(path: path, tensor: tensor, problem: problem)
  }

  private func strings(_ value: JSONValue) throws -> [String: String] {
    guard let members = value.object?.members else { throw error(nil, .metadataNotStrings(key: nil)) }
    var strings: [String: String] = [:]
    for member in members {
      guard let text = member.value.string, strings.updateValue(text, forKey: member.key) == nil else {
        throw error(nil, .metadataNotStrings(key: member.key))
      }
    }
    return strings
  }

  private func entry(_ name: String, _ value: JSONValue, available: Int) throws -> Entry {
    guard let members = value.object?.members else {
      throw error(name, .notDescribed(kind: value.kind))
    }
    let typeName = try field("dtype", of: name, members)
    guard let typeName = typeName.string else {
      throw error(name, .field(name: "dtype", fault: "is \(typeName.kind) where a string is wanted"))
    }
    guard let type = TensorType(rawValue: typeName), type.isSafetensors else {
      throw error(name, .unknownType(typeName))
    }

    let shape = try extents("shape", of: name, members)
    guard let elements = elementCount(of: shape) else { throw error(name, .shapeOverflow(shape: shape)) }
    guard elements % type.elementsPerBlock == 0 else {
      throw error(name, .partialByte(shape: shape, type: type))
    }
    guard let expected = type.byteCount(elements: elements) else {
      throw error(name, .shapeOverflow(shape: shape))
    }

    let offsets = try extents("data_offsets", of: name, members)
    guard offsets.count == 2 else {
      throw error(
        name, .field(name: "data_offsets", fault: "has \(offsets.count) numbers where two are wanted"))
    }
    let (begin, end) = (offsets[0], offsets[1])
    guard begin <= end else { throw error(name, .reversedOffsets(begin: begin, end: end)) }
    guard end <= available else { throw error(name, .pastEnd(end: end, available: available)) }
    guard end - begin == expected else {
      throw error(name, .byteCount(expected: expected, actual: end - begin, shape: shape, type: type))
    }
    return Entry(name: name, type: type, shape: shape, elementCount: elements, begin: begin, end: end)
  }

  /// The one value of a field.
  ///
  /// Fields the format does not define are passed over, as its reference reader does.
  private func field(_ key: String, of tensor: String, _ members: [JSONObject.Member]) throws -> JSONValue {
    var found: JSONValue?
    for member in members where member.key == key {
      guard found == nil else { throw error(tensor, .field(name: key, fault: "occurs twice")) }
      found = member.value
    }
    guard let found else { throw error(tensor, .field(name: key, fault: "is missing")) }
    return found
  }

  /// A field that is an array of numbers ≥ 0 written as integers.
  private func extents(_ key: String, of tensor: String, _ members: [JSONObject.Member]) throws -> [Int] {
    let value = try field(key, of: tensor, members)
    guard let elements = value.array else {
      throw error(tensor, .field(name: key, fault: "is \(value.kind) where an array is wanted"))
    }
    return try elements.map { element in
      guard case .integer(let extent) = element else {
        throw error(
          tensor, .field(name: key, fault: "holds \(element.kind) where a whole number below 2^63 is wanted"))
      }
      guard extent >= 0 else {
        throw error(tensor, .field(name: key, fault: "holds the negative number \(extent)"))
      }
      return extent
    }
  }

  /// Orders the entries by place and checks that each begins where the one before it ends.
  private mutating func checkCoverage(available: Int) throws {
    entries.sort { ($0.begin, $0.end) < ($1.begin, $1.end) }
    var position = 0
    for (index, entry) in entries.enumerated() {
      // Position is at least one tensor's end whenever it is beyond a begin, so there is a tensor before.
      if entry.begin < position { throw error(entry.name, .overlap(other: entries[index - 1].name)) }
      if entry.begin > position { throw error(nil, .hole(begin: position, end: entry.begin)) }
      position = entry.end
    }
    if position < available { throw error(nil, .hole(begin: position, end: available)) }
  }
}
