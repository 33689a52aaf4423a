/// Reads the fields of one protobuf message; everything is checked to lie within the bytes given.
struct ProtobufReader {
  /// A field's content by its wire type.
  enum Value {
    case number(UInt64)
    case fixed64(UInt64)
    case fixed32(UInt32)
    case bytes(Range<Int>)
  }

  let bytes: UnsafeRawBufferPointer
  let file: String
  private var at: Int
  private let end: Int

  /// Reads the whole of a file's bytes.
  init(_ bytes: UnsafeRawBufferPointer, file: String) {
    self.init(bytes, bytes.indices, file: file)
  }

  /// Reads a message that lies within others; the range must lie within the bytes.
  init(_ bytes: UnsafeRawBufferPointer, _ range: Range<Int>, file: String) {
    self.bytes = bytes
    self.file = file
    at = range.lowerBound
    end = range.upperBound
  }

  /// An error at the place that was reached.
  func malformed(_ reason: String) -> TokenizerError {
    .malformed(file: file, field: "byte \(at)", reason: reason + "; this is no whole sentencepiece model")
  }

  /// The next field's number and content; `nil` at the end of the message.
  mutating func next() throws -> (field: Int, value: Value)? {
    guard at < end else { return nil }
    let key = try varint()
    guard key >> 3 > 0, key >> 3 < 1 << 29 else { throw malformed("a field has the number \(key >> 3)") }
    let field = Int(key >> 3)
    switch key & 7 {
    case 0: return (field, .number(try varint()))
    case 1: return (field, .fixed64(try fixed(8)))
    case 2:
      let count = try varint()
      guard count <= UInt64(end - at) else {
        throw malformed("a field of \(count) bytes does not fit into the \(end - at) that are left")
      }
      let start = at
      at += Int(count)
      return (field, .bytes(start..<at))
    case 5: return (field, .fixed32(UInt32(try fixed(4))))
    case let type: throw malformed("a field has the wire type \(type)")
    }
  }

  private mutating func varint() throws -> UInt64 {
    var value: UInt64 = 0
    for place in 0..<10 {
      guard at < end else { throw malformed("a number is cut off") }
      let byte = bytes[at]
      at += 1
      if place == 9, byte > 1 { throw malformed("a number has more than 64 bits") }
      value |= UInt64(byte & 0x7F) << UInt64(7 * place)
      if byte < 0x80 { return value }
    }
    throw malformed("a number has more than 64 bits")
  }

  private mutating func fixed(_ count: Int) throws -> UInt64 {
    guard end - at >= count else { throw malformed("a number is cut off") }
    var value: UInt64 = 0
    for place in 0..<count { value |= UInt64(bytes[at + place]) << UInt64(8 * place) }
    at += count
    return value
  }
}
