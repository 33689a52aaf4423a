/// Numbers as `tokenizers` reads them from JSON.
///
/// Its parser (`serde_json` without `float_roundtrip`) takes the digits as one integer and multiplies or divides by a
/// power of ten, which rounds twice and can be one unit in the last place off. Scores that tie are told apart by that.
enum RustNumber {
  private static let powers: [Double] = (0...308).map { Double("1e\($0)")! }

  /// The value that `tokenizers` has for a number written in its shortest form.
  static func parsed(_ value: Double) -> Double {
    guard value.isFinite, value != 0 else { return value }
    // The shortest digits that give the value back: what every writer of tokenizer.json puts down.
    var significand: UInt64 = 0
    var exponent = 0
    var isBehindPoint = false
    var text = value.magnitude.description.utf8[...]
    while let byte = text.popFirst() {
      switch byte {
      case UInt8(ascii: "."): isBehindPoint = true
      case UInt8(ascii: "e"):
        exponent += Int(String(decoding: text, as: UTF8.self)) ?? 0
        text = text[text.endIndex...]
      default:
        // Safe: the shortest form has at most 17 digits.
        significand = significand &* 10 &+ UInt64(byte &- UInt8(ascii: "0"))
        if isBehindPoint { exponent -= 1 }
      }
    }
    var number = Double(significand)
    while exponent < -308 {
      number /= powers[308]
      exponent += 308
    }
    number = exponent < 0 ? number / powers[-exponent] : number * powers[min(308, exponent)]
    return value < 0 ? -number : number
  }
}
