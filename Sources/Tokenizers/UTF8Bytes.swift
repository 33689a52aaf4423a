/// Steps through text that is known to be UTF-8.
package enum UTF8Bytes {
  /// The scalar at an offset and its length in bytes.
  @inline(__always)
  package static func scalar(_ text: UnsafePointer<UInt8>, _ at: Int) -> (value: UInt32, length: Int) {
    let first = UInt32(text[at])
    if first < 0x80 { return (first, 1) }
    let second = UInt32(text[at &+ 1] & 0x3F)
    if first < 0xE0 { return ((first & 0x1F) &<< 6 | second, 2) }
    let third = UInt32(text[at &+ 2] & 0x3F)
    if first < 0xF0 { return ((first & 0x0F) &<< 12 | second &<< 6 | third, 3) }
    return ((first & 0x07) &<< 18 | second &<< 12 | third &<< 6 | UInt32(text[at &+ 3] & 0x3F), 4)
  }

  /// The scalar that ends before an offset greater than 0, and its length in bytes.
  package static func scalarBefore(_ text: UnsafePointer<UInt8>, _ end: Int) -> (value: UInt32, length: Int) {
    var start = end - 1
    while start > 0, text[start] & 0xC0 == 0x80 { start -= 1 }
    return scalar(text, start)
  }

  /// Appends a scalar below U+110000 that is no surrogate.
  @inline(__always)
  package static func append(_ value: UInt32, to out: inout [UInt8]) {
    if value < 0x80 {
      out.append(UInt8(truncatingIfNeeded: value))
    } else if value < 0x800 {
      out.append(UInt8(truncatingIfNeeded: 0xC0 | value &>> 6))
      out.append(UInt8(truncatingIfNeeded: 0x80 | value & 0x3F))
    } else if value < 0x1_0000 {
      out.append(UInt8(truncatingIfNeeded: 0xE0 | value &>> 12))
      out.append(UInt8(truncatingIfNeeded: 0x80 | value &>> 6 & 0x3F))
      out.append(UInt8(truncatingIfNeeded: 0x80 | value & 0x3F))
    } else {
      out.append(UInt8(truncatingIfNeeded: 0xF0 | value &>> 18))
      out.append(UInt8(truncatingIfNeeded: 0x80 | value &>> 12 & 0x3F))
      out.append(UInt8(truncatingIfNeeded: 0x80 | value &>> 6 & 0x3F))
      out.append(UInt8(truncatingIfNeeded: 0x80 | value & 0x3F))
    }
  }

  /// The offset of the first byte that belongs to no valid character; `nil` when all do.
  package static func firstInvalidByte(_ bytes: UnsafeBufferPointer<UInt8>) -> Int? {
    guard let text = bytes.baseAddress else { return nil }
    let count = bytes.count
    var at = 0
    while at < count {
      // Eight ASCII bytes at a time.
      while at &+ 8 <= count,
        UnsafeRawPointer(text + at).loadUnaligned(as: UInt64.self) & 0x8080_8080_8080_8080 == 0
      {
        at &+= 8
      }
      guard at < count else { return nil }
      let length = validLength(text + at, count - at)
      if length == 0 { return at }
      at &+= length
    }
    return nil
  }

  /// The length of the valid character that begins here; 0 when none does.
  @inline(__always)
  package static func validLength(_ text: UnsafePointer<UInt8>, _ count: Int) -> Int {
    let first = text[0]
    if first < 0x80 { return 1 }
    if first < 0xC2 || count < 2 || text[1] & 0xC0 != 0x80 { return 0 }
    if first < 0xE0 { return 2 }
    if count < 3 || text[2] & 0xC0 != 0x80 { return 0 }
    if first < 0xF0 {
      if first == 0xE0, text[1] < 0xA0 { return 0 }  // overlong
      if first == 0xED, text[1] > 0x9F { return 0 }  // surrogate
      return 3
    }
    if first > 0xF4 || count < 4 || text[3] & 0xC0 != 0x80 { return 0 }
    if first == 0xF0, text[1] < 0x90 { return 0 }
    if first == 0xF4, text[1] > 0x8F { return 0 }
    return 4
  }
}
