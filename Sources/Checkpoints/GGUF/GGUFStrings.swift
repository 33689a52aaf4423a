/// The strings of an array in a GGUF file, where they lie.
///
/// Nothing is copied and no `String` is made; a vocabulary of 250,000 tokens is passed in a millisecond. Bytes are
/// whatever the file holds: tokens of some vocabularies are not UTF-8.
public struct GGUFStrings: Sequence, Sendable {
  private let file: MappedFile
  private let range: Range<Int>
  /// How many there are.
  public let count: Int

  /// Strings whose lengths have been checked.
  init(file: MappedFile, range: Range<Int>, count: Int) {
    self.file = file
    self.range = range
    self.count = count
  }

  /// The same as `count`.
  public var underestimatedCount: Int { count }

  /// Bytes of all strings together, without their lengths.
  public var totalByteCount: Int { range.count - 8 * count }

  /// The first string, or `nil` when there is none.
  public var first: UnsafeRawBufferPointer? { first { _ in true } }

  /// Steps through the strings.
  public func makeIterator() -> Iterator {
    Iterator(file: file, position: range.lowerBound, remaining: count)
  }

  /// Gives one string after the other, valid as long as the file is mapped.
  public struct Iterator: IteratorProtocol {
    private let file: MappedFile
    private var position: Int
    private var remaining: Int

    fileprivate init(file: MappedFile, position: Int, remaining: Int) {
      self.file = file
      self.position = position
      self.remaining = remaining
    }

    /// The bytes of the next string.
    public mutating func next() -> UnsafeRawBufferPointer? {
      guard remaining > 0 else { return nil }
      remaining -= 1
      // Safe: the reader walked the same lengths before the array was handed out.
      let count = Int(file.bytes.loadUnaligned(fromByteOffset: position, as: UInt64.self).littleEndian)
      let start = position + 8
      position = start + count
      return UnsafeRawBufferPointer(rebasing: file.bytes[start..<position])
    }
  }
}
