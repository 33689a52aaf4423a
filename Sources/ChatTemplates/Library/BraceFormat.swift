/// `str.format`, as the sandbox of jinja2 runs it.
struct BraceFormat {
  private let interpreter: Interpreter
  private let arguments: Arguments
  private var nextIndex = 0
  private var numbersItself: Bool?

  init(_ interpreter: Interpreter, _ arguments: Arguments) {
    self.interpreter = interpreter
    self.arguments = arguments
  }

  /// Fills the fields of a format.
  mutating func format(_ format: Text) throws -> Text {
    let bytes = try fill(format.bytes, depth: 2)
    return Text(bytes: bytes, isMarkup: format.isMarkup)
  }

  private mutating func fill(_ bytes: [UInt8], depth: Int) throws -> [UInt8] {
    guard depth >= 0 else { throw TemplateError(.value, "Max string recursion exceeded") }
    var out: [UInt8] = []
    var index = 0
    while index < bytes.count {
      let byte = bytes[index]
      let isDoubled = index + 1 < bytes.count && bytes[index + 1] == byte
      switch byte {
      case 0x7B where !isDoubled:
        let end = try endOfField(bytes, index)
        out += try field(Array(bytes[(index + 1)..<end]), depth: depth)
        index = end + 1
      case 0x7D where !isDoubled:
        throw TemplateError(.value, "Single '}' encountered in format string")
      default:
        out.append(byte)
        index += (byte == 0x7B || byte == 0x7D) ? 2 : 1
      }
      try interpreter.spend(1)
      try interpreter.checkLength(out.count)
    }
    return out
  }

  private func endOfField(_ bytes: [UInt8], _ start: Int) throws -> Int {
    var (depth, inBrackets) = (0, false)
    for index in start..<bytes.count {
      switch bytes[index] {
      case 0x5B where depth == 1: inBrackets = true
      case 0x5D: inBrackets = false
      case 0x7B where !inBrackets: depth += 1
      case 0x7D where !inBrackets:
        depth -= 1
        if depth == 0 { return index }
      default: break
      }
    }
    throw TemplateError(
      .value,
      start + 1 == bytes.count
        ? "Single '{' encountered in format string" : "expected '}' before end of string")
  }

  private mutating func field(_ bytes: [UInt8], depth: Int) throws -> [UInt8] {
    // The name ends at the first `!` or `:` outside brackets.
    var nameEnd = 0
    var inBrackets = false
    while nameEnd < bytes.count, inBrackets || (bytes[nameEnd] != 0x21 && bytes[nameEnd] != 0x3A) {
      if bytes[nameEnd] == 0x5B { inBrackets = true }
      if bytes[nameEnd] == 0x5D { inBrackets = false }
      nameEnd += 1
    }
    var value = try lookUp(Text(bytes[..<nameEnd]))
    var rest = bytes[nameEnd...]
    if rest.first == 0x21 {
      rest = rest.dropFirst()
      guard let letter = rest.popFirst() else {
        throw TemplateError(.value, "end of string while looking for conversion specifier")
      }
      switch letter {
      case 0x73: value = .text(try interpreter.string(value))
      case 0x72: value = .text(try interpreter.representation(value))
      case 0x61: value = .text(Text.ascii(try interpreter.representation(value)))
      default:
        throw TemplateError(.value, "Unknown conversion specifier \(Character(Unicode.Scalar(letter)))")
      }
      guard rest.isEmpty || rest.first == 0x3A else {
        throw TemplateError(.value, "expected ':' after conversion specifier")
      }
    }
    let specification = try fill(Array(rest.dropFirst()), depth: depth - 1)
    return try FormatSpecification(specification).apply(to: value, interpreter)
  }

  private mutating func lookUp(_ name: Text) throws -> Value {
    let bytes = name.bytes
    let firstEnd = bytes.firstIndex { $0 == 0x2E || $0 == 0x5B } ?? bytes.count
    let first = Text(bytes[..<firstEnd])
    var value: Value
    if first.isEmpty || first.bytes.allSatisfy({ (0x30...0x39).contains($0) }) {
      let isAutomatic = first.isEmpty
      guard numbersItself ?? isAutomatic == isAutomatic else {
        throw TemplateError(
          .value,
          isAutomatic
            ? "cannot switch from manual field specification to automatic field numbering"
            : "cannot switch from automatic field numbering to manual field specification")
      }
      numbersItself = isAutomatic
      let index = isAutomatic ? nextIndex : Int(first.string) ?? .max
      if isAutomatic { nextIndex += 1 }
      guard index < arguments.positional.count else {
        throw TemplateError(.value, "Replacement index \(index) out of range for positional args tuple")
      }
      value = arguments.positional[index]
    } else {
      guard let found = arguments.named.first(where: { $0.name == first }) else {
        throw TemplateError(.value, first.quoted)
      }
      value = found.value
    }
    var index = firstEnd
    while index < bytes.count {
      try interpreter.spend(1)
      let isElement = bytes[index] == 0x5B
      let start = index + 1
      var end = start
      while end < bytes.count, isElement ? bytes[end] != 0x5D : bytes[end] != 0x2E && bytes[end] != 0x5B {
        end += 1
      }
      let part = Text(bytes[start..<end])
      guard !part.isEmpty else { throw TemplateError(.value, "Empty attribute in format string") }
      if isElement {
        guard end < bytes.count else { throw TemplateError(.value, "Missing ']' in format string") }
        let key = Int(part.string).flatMap { $0 >= 0 && part.bytes.first != 0x2B ? Value.integer($0) : nil }
        value = try interpreter.item(key ?? .text(part), of: value)
        index = end + 1
        guard index == bytes.count || bytes[index] == 0x2E || bytes[index] == 0x5B else {
          throw TemplateError(.value, "Only '.' or '[' may follow ']' in format field specifier")
        }
      } else {
        value = try interpreter.attribute(part, of: value)
        index = end
      }
    }
    return value
  }
}

extension Text {
  /// With what is beyond ASCII spelled out, as `ascii()` does.
  static func ascii(_ text: Text) -> Text {
    var out: [UInt8] = []
    for point in text.codePoints {
      switch point {
      case ..<0x80: out.append(UInt8(point))
      case ..<0x100: out += Text.escape("x", point, 2)
      case ..<0x10000: out += Text.escape("u", point, 4)
      default: out += Text.escape("U", point, 8)
      }
    }
    return Text(bytes: out)
  }
}

/// What stands behind the colon of a field: `[[fill]align][sign][#][0][width][,][.precision][type]`.
private struct FormatSpecification {
  private var fill: Text?
  private var align: Character?
  private var sign: Character = "-"
  private var isAlternate = false
  private var width = 0
  private var grouping: Character?
  private var precision: Int?
  private var type: Character?
  private let source: Text

  init(_ bytes: [UInt8]) throws {
    source = Text(bytes: bytes)
    let points = source.codePoints
    var index = 0
    func character(_ offset: Int) -> Character? {
      offset < points.count ? Unicode.Scalar(points[offset]).map(Character.init) : nil
    }
    if let second = character(1), "<>=^".contains(second) {
      fill = Text(codePoints: [points[0]])
      align = second
      index = 2
    } else if let first = character(0), "<>=^".contains(first) {
      align = first
      index = 1
    }
    if let found = character(index), "+- ".contains(found) {
      sign = found
      index += 1
    }
    if character(index) == "z" { throw TemplateError(.unsupported, "the format option z is not supported") }
    if character(index) == "#" {
      isAlternate = true
      index += 1
    }
    if fill == nil, character(index) == "0" {
      fill = "0"
      align = align ?? "="
      index += 1
    }
    func number() throws -> Int? {
      let start = index
      while let digit = character(index), digit.isASCII, digit.isNumber { index += 1 }
      guard index > start else { return nil }
      guard let value = Int(Text(codePoints: points[start..<index]).string), value <= Int(Int32.max) else {
        throw TemplateError(.value, "Too many decimal digits in format string")
      }
      return value
    }
    width = try number() ?? 0
    if let found = character(index), found == "," || found == "_" {
      grouping = found
      index += 1
    }
    if character(index) == "." {
      index += 1
      guard let digits = try number() else {
        throw TemplateError(.value, "Format specifier missing precision")
      }
      precision = digits
    }
    if let found = character(index) {
      type = found
      index += 1
    }
    guard index >= points.count else { throw TemplateError(.value, "Invalid format specifier") }
  }

  func apply(to value: Value, _ interpreter: Interpreter) throws -> [UInt8] {
    try interpreter.checkLength(width)
    try interpreter.spend(width / 16)
    switch value {
    case .text(let text): return try format(text, interpreter)
    case .boolean where source.isEmpty: return try interpreter.string(value).bytes
    case .integer(let number): return try format(number)
    case .boolean(let flag): return try format(flag ? 1 : 0)
    case .float(let number): return try format(number)
    default:
      guard source.isEmpty else {
        throw TemplateError(.type, "unsupported format string passed to \(value.typeName).__format__")
      }
      return try interpreter.string(value).bytes
    }
  }

  private func unknownType(_ name: String) -> TemplateError {
    TemplateError(
      .value, "Unknown format code '\(type.map(String.init) ?? "")' for object of type '\(name)'")
  }

  private func padded(prefix: String = "", _ body: Text, defaultAlign: Character) -> [UInt8] {
    let missing = max(0, width - prefix.utf8.count - body.count)
    func filling(_ count: Int) -> [UInt8] { Array(repeatElement((fill ?? " ").bytes, count: count).joined()) }
    let text = Array(prefix.utf8) + body.bytes
    switch align ?? defaultAlign {
    case "<": return text + filling(missing)
    case "^": return filling(missing / 2) + text + filling(missing - missing / 2)
    case "=": return Array(prefix.utf8) + filling(missing) + body.bytes
    default: return filling(missing) + text
    }
  }

  private func format(_ text: Text, _ interpreter: Interpreter) throws -> [UInt8] {
    guard type == nil || type == "s" else { throw unknownType("str") }
    if align == "=", fill != "0" {
      throw TemplateError(.value, "'=' alignment not allowed in string format specifier")
    }
    if sign != "-" { throw TemplateError(.value, "Sign not allowed in string format specifier") }
    if isAlternate {
      throw TemplateError(.value, "Alternate form (#) not allowed in string format specifier")
    }
    if let grouping { throw TemplateError(.value, "Cannot specify '\(grouping)' with 's'.") }
    let cut = precision.map { text.slice(0..<min($0, text.count)) } ?? text
    var specification = self
    if align == "=" { specification.align = "<" }
    return specification.padded(cut, defaultAlign: "<")
  }

  private func signText(_ isNegative: Bool) -> String { isNegative ? "-" : sign == "-" ? "" : String(sign) }

  private func format(_ number: Int) throws -> [UInt8] {
    switch type {
    case "e", "E", "f", "F", "g", "G", "%": return try format(Double(number))
    case "c":
      guard let point = UInt32(exactly: number), point <= 0x10FFFF else {
        throw TemplateError(.value, "%c arg not in range(0x110000)")
      }
      return padded(Text(codePoints: [point]), defaultAlign: "<")
    case nil, "d", "n", "b", "o", "x", "X": break
    default: throw unknownType("int")
    }
    if precision != nil { throw TemplateError(.value, "Precision not allowed in integer format specifier") }
    let radix = type == "b" ? 2 : type == "o" ? 8 : type == "x" || type == "X" ? 16 : 10
    let digits = String(number.magnitude, radix: radix, uppercase: type == "X")
    let prefix = signText(number < 0) + (isAlternate && radix != 10 ? "0\(type ?? "x")" : "")
    return withGrouping(prefix, digits, "", by: radix == 10 ? 3 : 4)
  }

  private func format(_ number: Double) throws -> [UInt8] {
    if let precision, precision > NumberFormat.maximumPrecision {
      throw TemplateError(.value, "precision too big")
    }
    var text: String
    switch type {
    case nil:
      if let precision {
        text = NumberFormat.float(number, type: "g", precision: max(precision, 1))
        // Without a type there is a point at least.
        if number.isFinite, !text.contains("."), !text.contains("e") { text += ".0" }
      } else {
        text = NumberText.float(number)
      }
    case "n"?, "g"?, "G"?:
      text = NumberFormat.float(
        number, type: type == "G" ? "G" : "g", precision: max(precision ?? 6, 1), isAlternate: isAlternate)
    case "e"?, "E"?, "f"?, "F"?:
      text = NumberFormat.float(
        number, type: type ?? "f", precision: precision ?? 6, isAlternate: isAlternate)
    case "%"?: text = NumberFormat.float(number * 100, type: "f", precision: precision ?? 6) + "%"
    default: throw unknownType("float")
    }
    let isNegative = text.hasPrefix("-")
    if isNegative { text.removeFirst() }
    let wholeEnd = text.firstIndex { !$0.isNumber } ?? text.endIndex
    return withGrouping(
      signText(isNegative), String(text[..<wholeEnd]), String(text[wholeEnd...]), by: 3)
  }

  private func withGrouping(_ prefix: String, _ digits: String, _ rest: String, by size: Int) -> [UInt8] {
    guard let grouping, !digits.isEmpty else {
      return padded(prefix: prefix, Text(digits + rest), defaultAlign: ">")
    }
    var digits = digits
    // Zeros that fill up are digits, and grouped with the others.
    if fill == "0", align == "=" {
      while prefix.count + NumberFormat.grouped(digits, by: size, with: grouping).count + rest.count < width {
        digits = "0" + digits
      }
    }
    return padded(
      prefix: prefix, Text(NumberFormat.grouped(digits, by: size, with: grouping) + rest), defaultAlign: ">")
  }
}
