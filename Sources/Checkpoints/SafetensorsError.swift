import JSON

/// Why a file is not a safetensors file, or which of its tensors is not usable.
public struct SafetensorsError: Error, Equatable, CustomStringConvertible {
  /// The file.
  public let path: String
  /// The tensor at fault; `nil` when it is the file as a whole.
  public let tensor: String?
  /// What is wrong.
  public let problem: Problem

  /// What can be wrong with a file or a tensor.
  public enum Problem: Equatable, Sendable {
    /// The file begins as another format does.
    case foreign(format: String, fix: String)
    /// The file is shorter than the eight bytes that give the header's length.
    case noHeader(fileByteCount: Int)
    /// The header's length reaches past the end of the file.
    case headerPastEnd(headerByteCount: UInt64, fileByteCount: Int)
    /// The header is longer than the format allows.
    case headerTooLong(headerByteCount: UInt64)
    /// The header is not JSON.
    case headerNotJSON(JSONError)
    /// The header is JSON, but no object.
    case headerNotObject
    /// `__metadata__` is not an object of strings.
    case metadataNotStrings(key: String?)
    /// A name occurs twice.
    case duplicate
    /// A tensor's description is no object.
    case notDescribed(kind: String)
    /// A field of a tensor is absent, repeated or of the wrong kind.
    case field(name: String, fault: String)
    /// A type that the format does not have.
    case unknownType(String)
    /// The number of elements or of bytes does not fit 63 bits.
    case shapeOverflow(shape: [Int])
    /// The elements do not fill whole bytes.
    case partialByte(shape: [Int], type: TensorType)
    /// The offsets are reversed.
    case reversedOffsets(begin: Int, end: Int)
    /// The offsets reach past the end of the file.
    case pastEnd(end: Int, available: Int)
    /// The offsets span another number of bytes than shape and type need.
    case byteCount(expected: Int, actual: Int, shape: [Int], type: TensorType)
    /// Two tensors claim the same bytes.
    case overlap(other: String)
    /// Bytes that belong to no tensor.
    case hole(begin: Int, end: Int)
    /// A tensor may not have this name.
    case reservedName
  }

  /// One line: the file, the tensor, what is wrong and what helps.
  public var description: String {
    let subject = tensor.map { ": tensor '\(printable($0, limit: 200))'" } ?? ""
    return "\(printable(path))\(subject): \(problem)"
  }
}

extension SafetensorsError.Problem: CustomStringConvertible {
  /// What is wrong, without saying where.
  public var description: String {
    switch self {
    case .foreign(let format, let fix): "is \(format), not safetensors; \(fix)"
    case .noHeader(let bytes):
      "is \(bytes) bytes long, too short for a safetensors file; download or write it again"
    case .headerPastEnd(let header, let file):
      "declares a header of \(header) bytes, but the file has \(file); it is truncated or not safetensors; "
        + "download it again"
    case .headerTooLong(let header):
      "declares a header of \(header) bytes, more than the \(SafetensorsFile.maximumHeaderByteCount) the format "
        + "allows; it is damaged or not safetensors"
    case .headerNotJSON(let fault): "the header is \(fault); the file is damaged, download it again"
    case .headerNotObject: "the header is not a JSON object; it is damaged or not safetensors"
    case .metadataNotStrings(let key?):
      "'\(printable(key, limit: 100))' in __metadata__ is not a string, or occurs twice; the format allows only strings"
    case .metadataNotStrings(nil):
      "__metadata__ is not an object; the format allows only an object of strings"
    case .duplicate: "is declared twice; write the file again with one tensor of that name"
    case .notDescribed(let kind): "is described by \(kind) where an object is wanted"
    case .field(let name, let fault): "field '\(name)' \(fault)"
    case .unknownType(let name):
      "has the unknown type '\(printable(name, limit: 40))'; save it as F32, F16, BF16 or F64"
    case .shapeOverflow(let shape):
      "the shape \(shapeText(shape)) has more elements than memory has addresses"
    case .partialByte(let shape, let type):
      "the shape \(shapeText(shape)) of type \(type.rawValue) does not fill whole bytes"
    case .reversedOffsets(let begin, let end): "data_offsets [\(begin), \(end)] are reversed"
    case .pastEnd(let end, let available):
      "ends at byte \(end) of the data, but the file holds \(available); the file is truncated, download it again"
    case .byteCount(let expected, let actual, let shape, let type):
      "data_offsets span \(actual) bytes, but the shape \(shapeText(shape)) of type \(type.rawValue) needs \(expected)"
    case .overlap(let other):
      "shares bytes with tensor '\(printable(other, limit: 200))'; write the file again"
    case .hole(let begin, let end):
      "bytes \(begin)..<\(end) of the data belong to no tensor; the file is damaged, download or write it again"
    case .reservedName: "the name is reserved for metadata; rename the tensor"
    }
  }
}

/// A shape as error messages write it: `[50257, 768]`.
func shapeText(_ shape: [Int]) -> String {
  "[" + shape.prefix(8).map(String.init).joined(separator: ", ") + (shape.count > 8 ? ", …]" : "]")
}
