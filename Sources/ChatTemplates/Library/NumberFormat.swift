#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Numbers as text to a given precision.
enum NumberFormat {
  /// The longest precision: beyond the digits that any Double has.
  static let maximumPrecision = 1100

  /// C's `%.{precision}{type}` for `e`, `f`, `g` and their capitals, which is Python's too.
  static func float(_ value: Double, type: Character, precision: Int, isAlternate: Bool = false) -> String {
    guard value.isFinite else {
      let name = value.isNaN ? "nan" : "inf"
      return (value < 0 ? "-" : "") + (type.isUppercase ? name.uppercased() : name)
    }
    // Room for the digits before the point of the largest Double, those after it, sign and exponent.
    var buffer = [CChar](repeating: 0, count: precision + 340)
    let length = withVaList([CInt(precision), value]) {
      vsnprintf(&buffer, buffer.count, "%\(isAlternate ? "#" : "").*\(type)", $0)
    }
    return String(decoding: buffer[..<Int(max(length, 0))].map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }

  /// `round(value, digits)`: to the nearest, ties to even, decided by the exact value.
  static func rounded(_ value: Double, digits: Int) -> Double {
    guard value.isFinite else { return value }
    if digits >= 0 {
      return digits > 330 ? value : Double(float(value, type: "f", precision: digits)) ?? value
    }
    guard digits > -310 else { return copysign(0, value) }
    // The digits of the whole number, cut where it is rounded; what is cut decides.
    let text = float(abs(value), type: "f", precision: maximumPrecision)
    let parts = text.split(separator: ".", omittingEmptySubsequences: false)
    let whole = parts[0]
    let cut = -digits
    let kept = whole.count > cut ? String(whole.dropLast(cut)) : "0"
    let padded = String(repeating: "0", count: max(0, cut - whole.count)) + whole
    let rest = String(padded.suffix(cut)) + (parts.count == 2 ? parts[1] : "")
    let half = "5" + String(repeating: "0", count: rest.count - 1)
    let isOdd = kept.last.flatMap(\.wholeNumberValue).map { !$0.isMultiple(of: 2) } ?? false
    let isUp = rest > half || (rest == half && isOdd)
    guard let base = Double("\(kept)e\(cut)"), let step = Double("1e\(cut)") else { return value }
    return copysign(isUp ? base + step : base, value)
  }

  /// Digits in groups, as `,` and `_` ask.
  static func grouped(_ digits: String, by size: Int, with separator: Character) -> String {
    var out = ""
    for (index, digit) in digits.enumerated() {
      if index > 0, (digits.count - index).isMultiple(of: size) { out.append(separator) }
      out.append(digit)
    }
    return out
  }
}
