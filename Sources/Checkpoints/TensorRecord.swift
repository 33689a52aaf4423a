/// A tensor in a file: what it is and where its bytes are.
///
/// The record keeps its file mapped, so its bytes stay valid as long as any copy of the record lives. Nothing
/// is said about alignment: a header may have any length, so a tensor may begin at an odd address.
public struct TensorRecord: Sendable {
  /// The name in the file.
  public let name: String
  /// How elements are encoded.
  public let type: TensorType
  /// Extents, row-major, last dimension fastest; `[]` for a scalar.
  public let shape: [Int]
  /// Product of the extents.
  public let elementCount: Int
  /// The file that holds the tensor.
  public let file: MappedFile
  /// Where in the file its bytes are; within `file.bytes`.
  public let byteRange: Range<Int>

  /// Describes a tensor whose extents and range have been checked.
  init(
    name: String, type: TensorType, shape: [Int], elementCount: Int, file: MappedFile, byteRange: Range<Int>
  ) {
    precondition(
      byteRange.lowerBound >= 0 && byteRange.upperBound <= file.bytes.count
        && type.byteCount(elements: elementCount) == byteRange.count,
      "tensor \(name): \(elementCount) × \(type) at \(byteRange) of \(file.bytes.count) bytes")
    self.name = name
    self.type = type
    self.shape = shape
    self.elementCount = elementCount
    self.file = file
    self.byteRange = byteRange
  }

  /// The path of the file.
  public var path: String { file.path }

  /// The number of bytes stored.
  public var byteCount: Int { byteRange.count }

  /// The stored bytes, unaligned in general; valid as long as `file` lives.
  public var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: file.bytes[byteRange]) }

  /// Asks the system to read the tensor ahead of its use.
  public func willNeed() { file.willNeed(byteRange) }

  /// Tells the system that the tensor will not be used soon.
  public func dontNeed() { file.dontNeed(byteRange) }
}
