/// Why a file is not a GGUF file, or which of its metadata or tensors is not usable.
public struct GGUFError: Error, Equatable, CustomStringConvertible {
  /// The file.
  public let path: String
  /// What is at fault.
  public let subject: Subject
  /// What is wrong.
  public let problem: Problem

  /// Names a fault.
  public init(path: String, subject: Subject, problem: Problem) {
    self.path = path
    self.subject = subject
    self.problem = problem
  }

  /// A part of a file.
  public enum Subject: Equatable, Sendable {
    /// The file as a whole.
    case file
    /// The metadata of a key.
    case key(String)
    /// A tensor.
    case tensor(String)
  }

  /// What can be wrong with a file, a key or a tensor.
  public enum Problem: Equatable, Sendable {
    /// The file begins as another format does.
    case foreign(format: String, fix: String)
    /// The numbers are in big-endian order.
    case bigEndian
    /// A version other than 2 and 3.
    case version(UInt32)
    /// The file ends within something.
    case truncated(what: String, position: Int, fileByteCount: Int)
    /// A count of things that the rest of the file cannot hold.
    case count(what: String, declared: UInt64, remaining: Int)
    /// A string is longer than the rest of the file.
    case stringPastEnd(what: String, byteCount: UInt64, remaining: Int)
    /// A name is not UTF-8.
    case nameNotUTF8(what: String, position: Int)
    /// A name occurs twice.
    case duplicate
    /// A value has a type that the format does not have.
    case unknownValueType(UInt32)
    /// Arrays within arrays, beyond what is accepted.
    case arrayTooDeep(limit: Int)
    /// `general.alignment` is no power of two within reason.
    case alignment(UInt32)
    /// A tensor has more dimensions than GGUF allows.
    case dimensionCount(UInt32)
    /// The number of elements or of bytes does not fit 63 bits.
    case shapeOverflow([UInt64])
    /// The rows do not fill whole blocks.
    case partialBlock(rowLength: Int, type: TensorType)
    /// An element type that the format does not have.
    case unknownTensorType(UInt32)
    /// An element type that the format had once.
    case removedTensorType(String)
    /// An offset is no multiple of the alignment.
    case unaligned(offset: UInt64, alignment: Int)
    /// A tensor reaches past the end of the file.
    case pastEnd(offset: UInt64, byteCount: Int, available: Int)
    /// Two tensors claim the same bytes.
    case overlap(other: String)
    /// A key that must be there is not.
    case missing
    /// A value is of another kind than the key calls for.
    case wrongKind(expected: String, found: String)
    /// A value of the right kind that cannot be.
    case value(String)
    /// A tensor or a key that a writer was given cannot be written.
    case unwritable(String)
  }

  /// One line: the file, the key or tensor, what is wrong and what helps.
  public var description: String {
    let part =
      switch subject {
      case .file: ""
      case .key(let name): ": key '\(printable(name, limit: 200))'"
      case .tensor(let name): ": tensor '\(printable(name, limit: 200))'"
      }
    return "\(printable(path))\(part): \(problem)"
  }
}

extension GGUFError.Problem: CustomStringConvertible {
  /// What is wrong, without saying where.
  public var description: String {
    switch self {
    case .foreign(let format, let fix): "is \(format), not GGUF; \(fix)"
    case .bigEndian:
      "is a big-endian GGUF file; write it for little-endian machines with gguf-py's gguf-convert-endian"
    case .version(let version):
      "is GGUF of version \(version); versions 2 and 3 are read, convert the model again"
    case .truncated(let what, let position, let bytes):
      "ends within \(what): byte \(position) of \(bytes); the file is truncated, download it again"
    case .count(let what, let declared, let remaining):
      "declares \(declared) \(what), more than the \(remaining) bytes that follow can hold; "
        + "the file is damaged or truncated, download it again"
    case .stringPastEnd(let what, let bytes, let remaining):
      "\(what) is declared with \(bytes) bytes where \(remaining) follow; "
        + "the file is damaged or truncated, download it again"
    case .nameNotUTF8(let what, let position):
      "\(what) at byte \(position) is not UTF-8; the file is damaged, download it again"
    case .duplicate: "is there twice; write the file again with one of that name"
    case .unknownValueType(let number):
      "has the unknown value type \(number); the file is damaged or newer than this program"
    case .arrayTooDeep(let limit):
      "has arrays within arrays, more than \(limit) deep; no model's metadata needs that"
    case .alignment(let alignment):
      "is \(alignment); it must be a power of two and at most \(GGUFFile.maximumAlignment)"
    case .dimensionCount(let count):
      "has \(count) dimensions; GGUF allows \(GGUFFile.maximumDimensionCount)"
    case .shapeOverflow(let shape):
      "the shape [\(shape.map(String.init).joined(separator: ", "))] has more bytes than memory has addresses"
    case .partialBlock(let rowLength, let type):
      "rows of \(rowLength) elements do not fill whole blocks of \(type.elementsPerBlock), "
        + "as \(type.rawValue) needs"
    case .unknownTensorType(let number):
      "has the unknown element type \(number); the file is damaged or newer than this program"
    case .removedTensorType(let name):
      "has the element type \(name), which GGUF no longer has; convert the model again"
    case .unaligned(let offset, let alignment):
      "begins at byte \(offset) of the data, which is no multiple of the alignment \(alignment)"
    case .pastEnd(let offset, let byteCount, let available):
      "takes \(byteCount) bytes from byte \(offset) of the data, but the file holds \(available); "
        + "the file is truncated, download it again"
    case .overlap(let other):
      "shares bytes with tensor '\(printable(other, limit: 200))'; write the file again"
    case .missing: "is missing; the file is incomplete, convert the model again"
    case .wrongKind(let expected, let found): "is \(found) where \(expected) is wanted"
    case .value(let fault): fault
    case .unwritable(let fault): fault
    }
  }
}
