extension Interpreter {
  /// `format % value`, as Python formats texts.
  func percentFormat(_ format: Text, _ value: Value) throws -> Text {
    try spend(format.bytes.count / 4)
    var formatter = PercentFormat(self, format, value)
    return try formatter.run()
  }
}

/// Formatting in the manner of `printf`.
private struct PercentFormat {
  private struct Directive {
    var isLeft = false
    var isAlternate = false
    var isZeroFilled = false
    /// What stands before a number that is not negative.
    var sign = ""
    var width = 0
    var precision: Int?
  }

  private let interpreter: Interpreter
  private let format: Text
  private let bytes: [UInt8]
  private let arguments: [Value]
  /// The value, where it may be asked for by key, and where its elements need not all be used.
  private let mapping: Value?
  private var position = 0
  private var nextArgument = 0
  private var out: [UInt8] = []

  init(_ interpreter: Interpreter, _ format: Text, _ value: Value) {
    self.interpreter = interpreter
    self.format = format
    bytes = format.bytes
    switch value {
    case .tuple(let tuple):
      arguments = tuple.elements
      mapping = nil
    case .dictionary, .list, .range, .undefined:
      arguments = [value]
      mapping = value
    default:
      arguments = [value]
      mapping = nil
    }
  }

  mutating func run() throws -> Text {
    var usesKeys = false
    while position < bytes.count {
      guard bytes[position] == 0x25 else {
        out.append(bytes[position])
        position += 1
        continue
      }
      position += 1
      guard position < bytes.count else { throw incomplete }
      let key = try readKey()
      if key != nil { usesKeys = true }
      try formatOne(key)
      try interpreter.checkLength(out.count)
    }
    if !usesKeys, mapping == nil, nextArgument < arguments.count {
      throw TemplateError(.type, "not all arguments converted during string formatting")
    }
    try interpreter.spend(out.count / 16)
    return Text(bytes: out, isMarkup: format.isMarkup)
  }

  private var incomplete: TemplateError { TemplateError(.value, "incomplete format") }

  private mutating func readKey() throws -> Text? {
    guard bytes[position] == 0x28 else { return nil }
    var (depth, end) = (1, position + 1)
    while end < bytes.count {
      if bytes[end] == 0x28 { depth += 1 }
      if bytes[end] == 0x29 { depth -= 1 }
      if depth == 0 { break }
      end += 1
    }
    guard end < bytes.count else { throw TemplateError(.value, "incomplete format key") }
    let key = Text(bytes[(position + 1)..<end])
    position = end + 1
    guard position < bytes.count else { throw incomplete }
    return key
  }

  private mutating func takeArgument() throws -> Value {
    guard nextArgument < arguments.count else {
      throw TemplateError(.type, "not enough arguments for format string")
    }
    defer { nextArgument += 1 }
    return arguments[nextArgument]
  }

  private mutating func formatOne(_ key: Text?) throws {
    var directive = try readDirective()
    let type = Character(Unicode.Scalar(bytes[position]))
    position += 1
    if type == "%" {
      out.append(0x25)
      return
    }
    let value: Value
    if let key {
      guard let mapping else { throw TemplateError(.type, "format requires a mapping") }
      if case .undefined(let undefined) = mapping { throw undefined.error }
      guard case .dictionary(let dictionary) = mapping else {
        throw TemplateError(.type, "list indices must be integers or slices, not str")
      }
      guard let found = dictionary[key] else { throw TemplateError(.value, key.quoted) }
      value = found
    } else {
      value = try takeArgument()
    }
    switch type {
    case "s", "r", "a":
      var text = try type == "s" ? interpreter.softString(value) : interpreter.representation(value)
      if type == "a" { text = Text.ascii(text) }
      if format.isMarkup { text = text.escaped }
      if let precision = directive.precision { text = text.slice(0..<min(precision, text.count)) }
      directive.isZeroFilled = false
      try write("", text, directive)
    case "c": try writeCharacter(value, directive)
    case "d", "i", "u", "x", "X", "o": try writeInteger(value, type, directive)
    case "e", "E", "f", "F", "g", "G": try writeFloat(value, type, directive)
    default:
      throw TemplateError(
        .value,
        "unsupported format character '\(type)' (0x\(String(bytes[position - 1], radix: 16))) at index \(position - 1)"
      )
    }
  }

  private mutating func readDirective() throws -> Directive {
    var directive = Directive()
    flags: while position < bytes.count {
      switch bytes[position] {
      case 0x2D: directive.isLeft = true
      case 0x2B: directive.sign = "+"
      case 0x20: if directive.sign.isEmpty { directive.sign = " " }
      case 0x23: directive.isAlternate = true
      case 0x30: directive.isZeroFilled = true
      default: break flags
      }
      position += 1
    }
    directive.width = try readNumber() ?? 0
    if directive.width < 0 {
      directive.isLeft = true
      directive.width = -max(directive.width, -Int.max)
    }
    try interpreter.checkLength(directive.width)
    if position < bytes.count, bytes[position] == 0x2E {
      position += 1
      directive.precision = max(0, try readNumber() ?? 0)
    }
    if position < bytes.count, [0x68, 0x6C, 0x4C].contains(bytes[position]) { position += 1 }
    guard position < bytes.count else { throw incomplete }
    return directive
  }

  /// A width or precision, which `*` takes from the arguments.
  private mutating func readNumber() throws -> Int? {
    guard position < bytes.count else { return nil }
    if bytes[position] == 0x2A {
      position += 1
      guard let number = try takeArgument().integer else { throw TemplateError(.type, "* wants int") }
      return number
    }
    let start = position
    while position < bytes.count, (0x30...0x39).contains(bytes[position]) { position += 1 }
    guard position > start else { return nil }
    guard let number = Int(String(decoding: bytes[start..<position], as: UTF8.self)), number <= Int(Int32.max)
    else {
      throw TemplateError(.value, "width too big")
    }
    return number
  }

  /// Fills up between sign and digits, or around.
  private mutating func write(_ prefix: String, _ body: Text, _ directive: Directive) throws {
    let missing = max(0, directive.width - prefix.utf8.count - body.count)
    try interpreter.spend(missing / 16)
    let fill = [UInt8](repeating: directive.isZeroFilled && !directive.isLeft ? 0x30 : 0x20, count: missing)
    if directive.isLeft {
      out += Array(prefix.utf8) + body.bytes + fill
    } else if directive.isZeroFilled {
      out += Array(prefix.utf8) + fill + body.bytes
    } else {
      out += fill + Array(prefix.utf8) + body.bytes
    }
  }

  private mutating func writeCharacter(_ value: Value, _ directive: Directive) throws {
    var directive = directive
    directive.isZeroFilled = false
    if let integer = value.integer {
      guard let point = UInt32(exactly: integer), point <= 0x10FFFF else {
        throw TemplateError(.value, "%c arg not in range(0x110000)")
      }
      try write("", Text(codePoints: [point]), directive)
    } else if case .text(let text) = value, text.count == 1 {
      try write("", text, directive)
    } else {
      throw TemplateError(.type, "%c requires int or char")
    }
  }

  private mutating func writeInteger(_ value: Value, _ type: Character, _ directive: Directive) throws {
    if case .undefined(let undefined) = value { throw undefined.error }
    var integer = value.integer
    let isDecimal = "diu".contains(type)
    if integer == nil, isDecimal, case .float(let number) = value {
      guard let whole = Int(exactly: number.rounded(.towardZero)) else { throw Interpreter.integerOverflow }
      integer = whole
    }
    guard let integer else {
      throw TemplateError(
        .type,
        "%\(type) format: \(isDecimal ? "a real number" : "an integer") is required, not \(value.typeName)")
    }
    let radix = type == "x" || type == "X" ? 16 : type == "o" ? 8 : 10
    var digits = String(integer.magnitude, radix: radix, uppercase: type == "X")
    if let precision = directive.precision {
      try interpreter.checkLength(precision)
      digits = String(repeating: "0", count: max(0, precision - digits.count)) + digits
    }
    var prefix = integer < 0 ? "-" : directive.sign
    if directive.isAlternate, radix != 10 { prefix += "0\(type)" }
    try write(prefix, Text(digits), directive)
  }

  private mutating func writeFloat(_ value: Value, _ type: Character, _ directive: Directive) throws {
    if case .undefined(let undefined) = value { throw undefined.error }
    guard let number = value.number else {
      throw TemplateError(.type, "must be real number, not \(value.typeName)")
    }
    let precision = directive.precision ?? 6
    guard precision <= NumberFormat.maximumPrecision else { throw TemplateError(.value, "precision too big") }
    let text = NumberFormat.float(
      number, type: type, precision: precision, isAlternate: directive.isAlternate)
    let isNegative = text.first == "-"
    try write(
      isNegative ? "-" : directive.sign, Text(isNegative ? String(text.dropFirst()) : text), directive)
  }
}
