extension Interpreter {
  /// The filter `tojson` as transformers defines it: Python's `json.dumps`, by default without escaping letters.
  func tojson(_ value: Value, _ arguments: Arguments) throws -> Value {
    let bound = try arguments.bound(
      to: ["ensure_ascii", "indent", "separators", "sort_keys"], required: 0, function: "tojson")
    var writer = JSONText(interpreter: self)
    writer.isASCII = try isTrue(bound[optional: 0] ?? .bool(false))
    switch bound[optional: 1] ?? .none {
    case .none: break
    case .text(let text): writer.indent = text.bytes
    case let indent:
      let width = max(0, try wholeNumber(indent))
      try checkLength(width)
      writer.indent = Array(repeating: 0x20, count: width)
    }
    if writer.indent != nil { writer.itemSeparator = [0x2C] }
    switch bound[optional: 2] ?? .none {
    case .none: break
    case let separators:
      let pair = try elements(of: separators)
      guard pair.count == 2 else {
        throw TemplateError(.value, "separators must be two texts, for items and for keys")
      }
      writer.itemSeparator = try text(pair[0], "the separator of items").bytes
      writer.keySeparator = try text(pair[1], "the separator of keys").bytes
    }
    writer.sortsKeys = try isTrue(bound[optional: 3] ?? .bool(false))
    try writer.write(value, level: 0)
    try spend(writer.out.count / 16)
    return .text(Text(bytes: writer.out))
  }
}

/// Writes values as Python's `json` does.
private struct JSONText {
  let interpreter: Interpreter
  var isASCII = false
  var indent: [UInt8]?
  var itemSeparator: [UInt8] = [0x2C, 0x20]
  var keySeparator: [UInt8] = [0x3A, 0x20]
  var sortsKeys = false
  var out: [UInt8] = []

  init(interpreter: Interpreter) { self.interpreter = interpreter }

  mutating func write(_ value: Value, level: Int) throws {
    try interpreter.spend(1)
    switch value {
    case .none: out += Array("null".utf8)
    case .boolean(let value): out += Array((value ? "true" : "false").utf8)
    case .integer(let value): out += Array(String(value).utf8)
    case .float(let value): out += Array(JSONText.number(value).utf8)
    case .text(let text): writeText(text)
    case .list(let sequence), .tuple(let sequence):
      try writeContainer(0x5B, 0x5D, count: sequence.elements.count, level) { writer, index in
        try writer.write(sequence.elements[index], level: level + 1)
      }
    case .dictionary(let dictionary):
      var entries = dictionary.entries
      if sortsKeys {
        let interpreter = interpreter
        entries = try interpreter.sorted(entries) { try interpreter.compare(.less, $0.key, $1.key) }
      }
      try writeContainer(0x7B, 0x7D, count: entries.count, level) { writer, index in
        try writer.writeKey(entries[index].key)
        writer.out += writer.keySeparator
        try writer.write(entries[index].value, level: level + 1)
      }
    default:
      throw TemplateError(.type, "Object of type \(value.typeName) is not JSON serializable")
    }
    try interpreter.checkLength(out.count)
  }

  private mutating func writeContainer(
    _ open: UInt8, _ close: UInt8, count: Int, _ level: Int, _ body: (inout JSONText, Int) throws -> Void
  ) throws {
    out.append(open)
    try interpreter.enter()
    defer { interpreter.leave() }
    for index in 0..<count {
      if index > 0 { out += itemSeparator }
      try breakLine(level + 1)
      try body(&self, index)
    }
    if count > 0 { try breakLine(level) }
    out.append(close)
  }

  private mutating func breakLine(_ level: Int) throws {
    guard let indent else { return }
    out.append(0x0A)
    // Safe: values are at most some hundred levels deep, and a text is far from Int.max / 2^10.
    try interpreter.checkLength(out.count + indent.count * level)
    try interpreter.spend(indent.count * level / 16)
    for _ in 0..<level { out += indent }
  }

  private static func number(_ value: Double) -> String {
    value.isNaN ? "NaN" : value.isInfinite ? (value < 0 ? "-Infinity" : "Infinity") : NumberText.float(value)
  }

  private mutating func writeKey(_ key: Value) throws {
    switch key {
    case .text(let text): writeText(text)
    case .none: writeText("null")
    case .boolean(let value): writeText(value ? "true" : "false")
    case .integer(let value): writeText(Text(String(value)))
    case .float(let value): writeText(Text(JSONText.number(value)))
    default:
      throw TemplateError(.type, "keys must be str, int, float, bool or None, not \(key.typeName)")
    }
  }

  private mutating func writeText(_ text: Text) {
    out.append(0x22)
    if isASCII {
      for point in text.codePoints { writeASCII(point) }
    } else {
      for byte in text.bytes { writeEscaped(byte) }
    }
    out.append(0x22)
  }

  private mutating func writeEscaped(_ byte: UInt8) {
    switch byte {
    case 0x22, 0x5C: out += [0x5C, byte]
    case 0x0A: out += [0x5C, 0x6E]
    case 0x0D: out += [0x5C, 0x72]
    case 0x09: out += [0x5C, 0x74]
    case 0x0C: out += [0x5C, 0x66]
    case 0x08: out += [0x5C, 0x62]
    case ..<0x20: out += Text.escape("u", UInt32(byte), 4)
    default: out.append(byte)
    }
  }

  private mutating func writeASCII(_ point: UInt32) {
    switch point {
    case ..<0x7F: writeEscaped(UInt8(point))
    case ..<0x10000: out += Text.escape("u", point, 4)
    default:
      // Beyond the first plane, as two surrogates.
      let offset = point - 0x10000
      out += Text.escape("u", 0xD800 + offset >> 10, 4) + Text.escape("u", 0xDC00 + offset & 0x3FF, 4)
    }
  }
}
