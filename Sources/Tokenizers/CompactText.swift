/// Reads the generated tables: words of lower-case base 36, separated by spaces.
enum CompactText {
  /// Calls the body for each run such as `Lu1a`: the category's raw value and the length.
  static func forEachRun(_ text: StaticString, _ body: (UInt8, Int) -> Void) {
    var codes = [UInt16: UInt8]()
    for category in GeneralCategory.allCases {
      let name = Array(category.name.utf8)
      codes[UInt16(name[0]) << 8 | UInt16(name[1])] = category.rawValue
    }
    text.withUTF8Buffer { bytes in
      var at = 0
      while at + 2 < bytes.count {
        let code = codes[UInt16(bytes[at]) << 8 | UInt16(bytes[at + 1])] ?? 0
        at += 2
        body(code, number(bytes, &at))
        at += 1
      }
    }
  }

  /// All numbers of a text.
  static func numbers(_ text: StaticString) -> [Int] {
    text.withUTF8Buffer { bytes in
      var values: [Int] = []
      var at = 0
      while at < bytes.count {
        values.append(number(bytes, &at))
        at += 1
      }
      return values
    }
  }

  /// Calls the body for each mapping such as `2:1x.3k`: the code point and what it maps to.
  static func forEachMapping(_ text: StaticString, _ body: (UInt32, [UInt32]) -> Void) {
    text.withUTF8Buffer { bytes in
      var at = 0
      var codePoint = 0
      var mapping: [UInt32] = []
      while at < bytes.count {
        codePoint += number(bytes, &at)
        mapping.removeAll(keepingCapacity: true)
        while at < bytes.count, bytes[at] != UInt8(ascii: " ") {
          at += 1
          mapping.append(UInt32(number(bytes, &at)))
        }
        at += 1
        body(UInt32(codePoint), mapping)
      }
    }
  }

  private static func number(_ bytes: UnsafeBufferPointer<UInt8>, _ at: inout Int) -> Int {
    var value = 0
    while at < bytes.count {
      switch bytes[at] {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): value = value * 36 + Int(bytes[at] - UInt8(ascii: "0"))
      case UInt8(ascii: "a")...UInt8(ascii: "z"): value = value * 36 + Int(bytes[at] - UInt8(ascii: "a")) + 10
      default: return value
      }
      at += 1
    }
    return value
  }
}
