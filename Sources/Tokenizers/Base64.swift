/// The standard base64 alphabet, as tokenizer.json writes compiled rules.
enum Base64 {
  private static let digits: [UInt8] = {
    var out = [UInt8](repeating: 255, count: 256)
    for (value, byte) in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8.enumerated()
    {
      out[Int(byte)] = UInt8(value)
    }
    return out
  }()

  /// The bytes of a text, or `nil` when it is not base64 with its padding.
  static func decode(_ text: String) -> [UInt8]? {
    var text = text
    return text.withUTF8 { text in
      guard text.count % 4 == 0 else { return nil }
      var out: [UInt8] = []
      out.reserveCapacity(text.count / 4 * 3)
      let table = digits
      var at = 0
      while at < text.count {
        let isLast = at + 4 == text.count
        let padding =
          !isLast || text[at + 3] != UInt8(ascii: "=") ? 0 : (text[at + 2] == UInt8(ascii: "=") ? 2 : 1)
        var bits: UInt32 = 0
        for place in 0..<4 {
          let digit = place < 4 - padding ? table[Int(text[at + place])] : 0
          guard digit < 64 else { return nil }
          bits = bits << 6 | UInt32(digit)
        }
        // Bits behind the last whole byte must be 0.
        if padding > 0, bits & (padding == 1 ? 0xFF : 0xFFFF) != 0 { return nil }
        out.append(UInt8(truncatingIfNeeded: bits >> 16))
        if padding < 2 { out.append(UInt8(truncatingIfNeeded: bits >> 8)) }
        if padding < 1 { out.append(UInt8(truncatingIfNeeded: bits)) }
        at += 4
      }
      return out
    }
  }
}
