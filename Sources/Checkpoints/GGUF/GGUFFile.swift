/// A GGUF file: metadata and named tensors.
///
/// Layout: magic, version, counts; the metadata; what each tensor is; padding; the data. Opening walks all but the
/// data and checks each claim before it is used, so that afterwards every key, string, array and tensor lies within
/// the file. Nothing is copied: values and tensors are read from the map when they are asked for.
/// - SeeAlso: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md; versions 2 and 3.
public struct GGUFFile: Sendable {
  /// The largest `general.alignment` accepted; files use 32.
  public static let maximumAlignment = 1 << 20
  /// The most dimensions a tensor may have.
  public static let maximumDimensionCount = 4

  /// The mapped contents.
  public let file: MappedFile
  /// The version of the format, 2 or 3.
  public let version: Int
  /// The metadata.
  public let metadata: GGUFMetadata
  /// What every tensor's offset is a multiple of.
  public let alignment: Int
  /// The tensors in the order in which the file lists them.
  ///
  /// Shapes are row-major, last dimension fastest: the file's own order reversed.
  public let tensors: [TensorRecord]
  private let positions: [String: Int]

  /// The path the file was opened by.
  public var path: String { file.path }

  /// The tensor of a name, or `nil`.
  ///
  /// - Complexity: O(1).
  public func tensor(named name: String) -> TensorRecord? { positions[name].map { tensors[$0] } }

  /// Whether a file begins as GGUF files do, whatever its name.
  public static func recognises(_ path: String) -> Bool {
    guard let file = try? MappedFile(path: path) else { return false }
    return file.bytes.starts(with: "GGUF".utf8)
  }

  /// Maps a file and checks everything but the numbers in its tensors.
  ///
  /// - Throws: `FileError` when the file cannot be mapped, `GGUFError` when it is not what it claims.
  /// - Complexity: O(metadata + tensors · log tensors); the data is not read.
  public init(path: String) throws {
    let file = try MappedFile(path: path)
    var reader = try GGUFReader(path: path, bytes: file.bytes)
    let entries = try reader.readMetadata()
    let metadata = GGUFMetadata(file: file, entries: entries)
    let alignment = try GGUFFile.alignment(metadata)
    let infos = try reader.readTensorInfos()
    let dataStart = try reader.dataStart(alignment: alignment, hasTensors: !infos.isEmpty)
    let ranges = try reader.place(infos, dataStart: dataStart, alignment: alignment)
    self.file = file
    self.metadata = metadata
    self.alignment = alignment
    version = reader.version
    tensors = zip(infos, ranges).map { info, range in
      TensorRecord(
        name: info.name, type: info.type, shape: info.shape, elementCount: info.elementCount, file: file,
        byteRange: range)
    }
    // Safe: the reader refuses duplicates.
    positions = Dictionary(uniqueKeysWithValues: tensors.enumerated().map { ($1.name, $0) })
  }

  private static func alignment(_ metadata: GGUFMetadata) throws -> Int {
    let key = "general.alignment"
    guard let value = try metadata.unsigned32(key) else { return 32 }
    guard value > 0, value & (value - 1) == 0, value <= UInt32(maximumAlignment) else {
      throw GGUFError(path: metadata.path, subject: .key(key), problem: .alignment(value))
    }
    return Int(value)
  }
}
