// `str` and `repr`.

extension Text {
  /// `repr` of a string: in single quotes, unless only double ones can stand unescaped.
  var represented: [UInt8] {
    let quote: UInt8 = bytes.contains(0x27) && !bytes.contains(0x22) ? 0x22 : 0x27
    var out = [quote]
    for point in codePoints {
      switch point {
      case UInt32(quote), 0x5C: out += [0x5C, UInt8(point)]
      case 0x09: out += [0x5C, 0x74]
      case 0x0A: out += [0x5C, 0x6E]
      case 0x0D: out += [0x5C, 0x72]
      case _ where Text.isPrintable(point): Text.append(point, to: &out)
      case ..<0x100: out += Text.escape("x", point, 2)
      case ..<0x10000: out += Text.escape("u", point, 4)
      default: out += Text.escape("U", point, 8)
      }
    }
    out.append(quote)
    return out
  }

  /// `\xNN` and its longer kin.
  static func escape(_ letter: Character, _ point: UInt32, _ width: Int) -> [UInt8] {
    let digits = String(point, radix: 16)
    return Array("\\\(letter)\(String(repeating: "0", count: max(0, width - digits.count)))\(digits)".utf8)
  }

  /// The same for messages.
  var quoted: String { String(decoding: represented, as: UTF8.self) }
}

/// The texts of numbers.
enum NumberText {
  /// `repr` of a float: the shortest digits that read back the same.
  static func float(_ value: Double) -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return value < 0 ? "-inf" : "inf" }
    if value == 0 { return value.sign == .minus ? "-0.0" : "0.0" }
    let sign = value < 0 ? "-" : ""
    let (digits, exponent) = shortestDigits(abs(value))
    // `exponent` is where the point stands, counted from the left of the digits.
    if exponent > 16 || exponent < -3 {
      let power = exponent - 1
      let fraction = digits.count > 1 ? "." + digits.dropFirst() : ""
      let magnitude = abs(power) < 10 ? "0\(abs(power))" : "\(abs(power))"
      return "\(sign)\(digits.prefix(1))\(fraction)e\(power < 0 ? "-" : "+")\(magnitude)"
    }
    if exponent <= 0 { return sign + "0." + String(repeating: "0", count: -exponent) + digits }
    if digits.count <= exponent {
      return sign + digits + String(repeating: "0", count: exponent - digits.count) + ".0"
    }
    return sign + digits.prefix(exponent) + "." + digits.dropFirst(exponent)
  }

  /// The digits without zeros at either end, and where the decimal point stands among them.
  private static func shortestDigits(_ value: Double) -> (digits: String, point: Int) {
    // Swift prints the shortest digits too, in another layout.
    let parts = value.description.split(separator: "e", maxSplits: 1)
    let power = parts.count == 2 ? Int(parts[1]) ?? 0 : 0
    let mantissa = parts[0].split(separator: ".", maxSplits: 1, omittingEmptySubsequences: false)
    let fraction = mantissa.count == 2 ? String(mantissa[1]) : ""
    var digits = String(mantissa[0]) + fraction
    var point = mantissa[0].count + power
    while digits.first == "0", digits.count > 1 {
      digits.removeFirst()
      point -= 1
    }
    while digits.last == "0", digits.count > 1 { digits.removeLast() }
    return (digits, point)
  }
}

extension Interpreter {
  /// `str(value)`, without the mark of `escape`.
  func string(_ value: Value) throws -> Text {
    if case .text(let text) = value { return text.plain }
    var out: [UInt8] = []
    try append(value, to: &out)
    return Text(bytes: out)
  }

  /// `soft_str`: what is a text stays the text it is.
  func softString(_ value: Value) throws -> Text {
    if case .text(let text) = value { return text }
    return try string(value)
  }

  /// `repr(value)`.
  func representation(_ value: Value) throws -> Text {
    var out: [UInt8] = []
    try appendRepresentation(value, to: &out)
    return Text(bytes: out)
  }

  /// Appends `str(value)`.
  func append(_ value: Value, to out: inout [UInt8]) throws {
    switch value {
    case .text(let text):
      try spend(text.bytes.count / 16)
      out += text.bytes
    case .undefined: try checkDefined(value)
    default: try appendRepresentation(value, to: &out)
    }
    try checkLength(out.count)
  }

  private func appendRepresentation(_ value: Value, to out: inout [UInt8]) throws {
    switch value {
    case .undefined: out += Array("Undefined".utf8)
    case .none: out += Array("None".utf8)
    case .boolean(let value): out += Array((value ? "True" : "False").utf8)
    case .integer(let value): out += Array(String(value).utf8)
    case .float(let value): out += Array(NumberText.float(value).utf8)
    case .text(let text):
      try spend(text.bytes.count / 4)
      if text.isMarkup {
        out += Array("Markup(".utf8) + text.represented + Array(")".utf8)
      } else {
        out += text.represented
      }
    case .range(let range):
      out += Array("range(\(range.start), \(range.stop)\(range.step == 1 ? "" : ", \(range.step)"))".utf8)
    case .list(let list): try append(list.elements, "[", "]", to: &out)
    case .tuple(let tuple): try append(tuple.elements, "(", tuple.elements.count == 1 ? ",)" : ")", to: &out)
    case .dictionary(let dictionary): try append(dictionary, to: &out)
    case .view(let view): try append(view.elements, "\(view.part.typeName)([", "])", to: &out)
    case .namespace(let namespace):
      out += Array("<Namespace ".utf8)
      try nested { try append(namespace.attributes, to: &out) }
      out += Array(">".utf8)
    case .loop(let loop):
      out += Array("<LoopContext \(loop.index)/\(try loop.length(self))>".utf8)
    case .function(let function):
      if case .macro(let definition, _) = function.kind {
        let name = definition.name.map { Text($0).quoted } ?? "anonymous"
        out += Array("<Macro \(name)>".utf8)
      } else {
        out += Array("<\(function.typeName)>".utf8)
      }
    // Python prints an address here, which means nothing to anybody.
    case .iterator, .cycler, .joiner: out += Array("<\(value.typeName) object>".utf8)
    }
    try checkLength(out.count)
  }

  private func append(_ elements: [Value], _ open: String, _ close: String, to out: inout [UInt8]) throws {
    out += Array(open.utf8)
    try nested {
      for (index, element) in elements.enumerated() {
        try spend(1)
        if index > 0 { out += [0x2C, 0x20] }
        try appendRepresentation(element, to: &out)
      }
    }
    out += Array(close.utf8)
  }

  private func append(_ dictionary: DictionaryValue, to out: inout [UInt8]) throws {
    out.append(0x7B)
    try nested {
      for (index, entry) in dictionary.entries.enumerated() {
        try spend(1)
        if index > 0 { out += [0x2C, 0x20] }
        try appendRepresentation(entry.key, to: &out)
        out += [0x3A, 0x20]
        try appendRepresentation(entry.value, to: &out)
      }
    }
    out.append(0x7D)
  }
}
