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

  private static let bytes: [UInt16] = {
    var out = [UInt16](repeating: .max, count: 0x144)
    for (byte, codePoint) in codePoints.enumerated() { out[Int(codePoint)] = UInt16(byte) }
    return out
  }()

  /// The byte that a code point stands for.
  @inline(__always)
  static func byte(_ codePoint: UInt32) -> UInt8? {
    guard codePoint < 0x144 else { return nil }
    return UInt8(exactly: bytes[Int(codePoint)])
  }

  /// Appends the bytes that a text stands for; false, and nothing appended, when a character is not of the
  /// alphabet.
  static func appendBytes(of text: UnsafeBufferPointer<UInt8>, to out: inout [UInt8]) -> Bool {
    guard let base = text.baseAddress else { return true }
    let start = out.count
    var at = 0
    while at < text.count {
      let (value, length) = UTF8Bytes.scalar(base, at)
      guard let byte = byte(value) else {
        out.removeLast(out.count - start)
        return false
      }
      out.append(byte)
      at += length
    }
    return true
  }

  /// Appends the characters that stand for bytes.
  static func appendCharacters(of bytes: UnsafeBufferPointer<UInt8>, to out: inout [UInt8]) {
    for byte in bytes { UTF8Bytes.append(codePoints[Int(byte)], to: &out) }
  }
}
