extension Filters {
  /// Filters of numbers.
  static let numbers: [String: Body] = [
    "int": filter("int", ["default", "base"]) { interpreter, value, bound in
      let base = try bound[optional: 1].map(interpreter.wholeNumber) ?? 10
      return try NumberReading.integer(value, base: base).map(Value.integer) ?? bound[optional: 0]
        ?? .integer(0)
    },
    "float": filter("float", ["default"]) { interpreter, value, bound in
      try NumberReading.float(value).map(Value.float) ?? bound[optional: 0] ?? .float(0)
    },
    "abs": filter("abs") { interpreter, value, _ in
      if case .undefined(let undefined) = value { throw undefined.error }
      if case .float(let number) = value { return .float(abs(number)) }
      guard let integer = value.integer else {
        throw TemplateError(.type, "bad operand type for abs(): '\(value.typeName)'")
      }
      return integer < 0 ? try interpreter.negated(.integer(integer)) : .integer(integer)
    },
    "round": filter("round", ["precision", "method"], round),
  ]

  @Sendable private static func round(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    let precision = try bound[optional: 0].map(interpreter.wholeNumber) ?? 0
    guard case .text(let method) = bound[optional: 1] ?? "common",
      ["common", "ceil", "floor"].contains(method.string)
    else { throw TemplateError(.value, "method must be common, ceil or floor") }
    if case .undefined(let undefined) = value { throw undefined.error }
    if method == "common" {
      if let integer = value.integer {
        guard precision < 0 else { return .integer(integer) }
        // Ties to even, as everywhere in Python.
        let rounded = NumberFormat.rounded(Double(integer), digits: precision)
        guard abs(Double(integer)) <= 0x1p53, let result = Int(exactly: rounded) else {
          throw Interpreter.integerOverflow
        }
        return .integer(result)
      }
      guard case .float(let number) = value else {
        throw TemplateError(.type, "type \(value.typeName) doesn't define __round__ method")
      }
      return .float(NumberFormat.rounded(number, digits: precision))
    }
    let scale = try interpreter.apply(.power, .integer(10), .integer(precision))
    let scaled = try interpreter.apply(.multiply, value, scale)
    guard let number = scaled.number else {
      throw TemplateError(.type, "must be real number, not \(scaled.typeName)")
    }
    guard let whole = Int(exactly: number.rounded(method == "ceil" ? .up : .down)) else {
      throw Interpreter.integerOverflow
    }
    return try interpreter.apply(.divide, .integer(whole), scale)
  }
}

/// Numbers from values, as `int` and `float` read them.
enum NumberReading {
  /// What the filter `int` makes of a value; `nil` where it takes the default.
  ///
  /// - Throws: `TemplateError.undefined`; `.limit` for a number beyond 64 bits.
  static func integer(_ value: Value, base: Int) throws -> Int? {
    switch value {
    case .undefined(let undefined): throw undefined.error
    case .text(let text):
      if let integer = try integer(text, base: base) { return integer }
      // "42.23" is 42.
      guard let number = float(text), number.isFinite else { return nil }
      return try truncated(number)
    case .float(let number):
      if number.isNaN { return nil }
      guard number.isFinite else { throw TemplateError(.value, "cannot convert float infinity to integer") }
      return try truncated(number)
    default: return value.integer
    }
  }

  private static func truncated(_ number: Double) throws -> Int {
    guard let integer = Int(exactly: number.rounded(.towardZero)) else { throw Interpreter.integerOverflow }
    return integer
  }

  /// `int(text, base)`; `nil` for a text that is no number.
  private static func integer(_ text: Text, base: Int) throws -> Int? {
    guard base == 0 || (2...36).contains(base) else { return nil }
    guard var digits = asciiDigits(text.stripped()) else { return nil }
    var isNegative = false
    if let sign = digits.first, sign == "-" || sign == "+" {
      isNegative = sign == "-"
      digits.removeFirst()
    }
    var radix = base
    let prefix = digits.prefix(2).lowercased()
    for (name, value) in [("0x", 16), ("0o", 8), ("0b", 2)]
    where prefix == name && (base == 0 || base == value) {
      radix = value
      digits.removeFirst(2)
      if digits.first == "_" { digits.removeFirst() }
    }
    if radix == 0 {
      radix = 10
      if digits.first == "0", digits.contains(where: { $0 != "0" && $0 != "_" }) { return nil }
    }
    guard let plain = withoutUnderscores(digits), plain.allSatisfy({ $0.isHexDigit || $0.isLetter }) else {
      return nil
    }
    guard plain.allSatisfy({ character in Lexer.digit(character.asciiValue ?? 0).map { $0 < radix } == true })
    else { return nil }
    guard let integer = Int((isNegative ? "-" : "") + plain, radix: radix) else {
      throw Interpreter.integerOverflow
    }
    return integer
  }

  /// What `float(value)` makes of a value; `nil` where it is none.
  static func float(_ value: Value) throws -> Double? {
    switch value {
    case .undefined(let undefined): throw undefined.error
    case .text(let text): float(text)
    default: value.number
    }
  }

  private static func float(_ text: Text) -> Double? {
    guard let digits = asciiDigits(text.stripped()), !digits.isEmpty else { return nil }
    var unsigned = Substring(digits.lowercased())
    if unsigned.first == "-" || unsigned.first == "+" { unsigned = unsigned.dropFirst() }
    let isNegative = digits.first == "-"
    switch unsigned {
    case "inf", "infinity": return isNegative ? -.infinity : .infinity
    case "nan": return .nan
    default: break
    }
    guard unsigned.allSatisfy({ ("0"..."9").contains($0) || "._e+-".contains($0) }),
      let plain = withoutUnderscores(String(unsigned))
    else { return nil }
    // Swift reads neither ".5" with an empty whole part missing nor "5.": both are given their zero.
    let parts = plain.split(separator: "e", maxSplits: 1, omittingEmptySubsequences: false)
    guard parts[0].contains(where: \.isNumber) else { return nil }
    if parts.count == 2, !parts[1].contains(where: \.isNumber) { return nil }
    var mantissa = String(parts[0])
    if mantissa.hasPrefix(".") { mantissa = "0" + mantissa }
    if mantissa.hasSuffix(".") { mantissa += "0" }
    guard let value = Double(mantissa + (parts.count == 2 ? "e" + parts[1] : "")) else { return nil }
    return isNegative ? -value : value
  }

  /// With the decimal digits of other scripts as ASCII ones; `nil` where there are other letters beyond ASCII.
  private static func asciiDigits(_ text: Text) -> String? {
    if text.isASCII { return text.string }
    var out = ""
    for point in text.codePoints {
      guard let scalar = Unicode.Scalar(point) else { return nil }
      if scalar.isASCII {
        out.unicodeScalars.append(scalar)
      } else if Text.isDecimal(point), let value = scalar.properties.numericValue {
        out += String(Int(value))
      } else {
        return nil
      }
    }
    return out
  }

  /// Underscores may stand between digits, one at a time; `nil` where they stand elsewhere.
  private static func withoutUnderscores(_ digits: String) -> String? {
    guard digits.contains("_") else { return digits.isEmpty ? nil : digits }
    let characters = Array(digits)
    for (index, character) in characters.enumerated() where character == "_" {
      guard index > 0, index + 1 < characters.count,
        characters[index - 1].isHexDigit || characters[index - 1].isLetter,
        characters[index + 1].isHexDigit || characters[index + 1].isLetter
      else { return nil }
    }
    return digits.filter { $0 != "_" }
  }
}
