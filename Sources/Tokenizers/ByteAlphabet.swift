/// GPT-2's byte-level alphabet: a printable character for each of the 256 bytes.
///
/// Printable Latin-1 stands for itself; the other 68 bytes take the code points from U+0100 on, so that a
/// space is `Ġ` (U+0120).
/// - SeeAlso: `bytes_to_unicode` in GPT-2's encoder (Radford et al., 2019).
enum ByteAlphabet {
  /// The code point that stands for each byte.
  static let codePoints: [UInt32] = {
    var out: [UInt32] = []
    var next: UInt32 = 0x100
    for byte in UInt32(0)..<256 {
      switch byte {
      case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: out.append(byte)
      default:
        out.append(next)
        next += 1
      }
    }
    return out
  }()

  /// Bytes by code point below U+0144, `UInt16.max` for the others; lives as long as the program.
  private nonisolated(unsafe) static let bytes: UnsafePointer<UInt16> = {
    let out = UnsafeMutablePointer<UInt16>.allocate(capacity: 0x144)
    out.initialize(repeating: .max, count: 0x144)
    for (byte, codePoint) in codePoints.enumerated() { out[Int(codePoint)] = UInt16(byte) }
    return UnsafePointer(out)
  }()

  /// Calls the body with the bytes that a text stands for; with `nil` when a character is not of the
  /// alphabet.
  static func withBytes<Result>(
    of text: UnsafeBufferPointer<UInt8>, _ body: (UnsafeBufferPointer<UInt8>?) throws -> Result
  ) rethrows -> Result {
    try withUnsafeTemporaryAllocation(of: UInt8.self, capacity: max(1, text.count)) { out in
      let table = bytes
      var count = 0
      var at = 0
      while at < text.count {
        // Safe: the text is UTF-8, and each of its characters becomes one byte.
        let (value, length) = UTF8Bytes.scalar(text.baseAddress!, at)
        guard value < 0x144, table[Int(value)] != .max else { return try body(nil) }
        out[count] = UInt8(truncatingIfNeeded: table[Int(value)])
        count &+= 1
        at &+= length
      }
      return try body(UnsafeBufferPointer(rebasing: out[..<count]))
    }
  }

  /// Appends the bytes that a text stands for; false, and nothing appended, when a character is not of the
  /// alphabet.
  static func appendBytes(of text: UnsafeBufferPointer<UInt8>, to out: inout [UInt8]) -> Bool {
    withBytes(of: text) { bytes in
      guard let bytes else { return false }
      out.append(contentsOf: bytes)
      return true
    }
  }

  /// Appends the characters that stand for bytes.
  static func appendCharacters(of bytes: UnsafeBufferPointer<UInt8>, to out: inout [UInt8]) {
    for byte in bytes { UTF8Bytes.append(codePoints[Int(byte)], to: &out) }
  }
}
