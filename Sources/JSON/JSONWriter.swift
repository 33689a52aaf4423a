extension JSONValue {
  /// How a document is laid out.
  public enum Layout: Sendable {
    /// One line, a space after `:` and `,`, as Python's `json.dumps` writes it.
    case compact
    /// Two spaces per level; arrays of plain values stay on one line.
    case indented
  }

  /// The document as text.
  ///
  /// Numbers that JSON cannot write (NaN, ±∞) become `null`.
  public func text(_ layout: Layout = .compact) -> String {
    var out = ""
    write(into: &out, layout, level: 0)
    return out
  }

  private var isContainer: Bool {
    switch self {
    case .array, .object: true
    default: false
    }
  }

  private func write(into out: inout String, _ layout: Layout, level: Int) {
    switch self {
    case .null: out += "null"
    case .bool(let value): out += value ? "true" : "false"
    case .integer(let value): out += String(value)
    case .number(let value): out += value.isFinite ? "\(value)" : "null"
    case .string(let value): JSONValue.write(value, into: &out)
    case .array(let values):
      let split = layout == .indented && values.contains(where: \.isContainer)
      JSONValue.write(values, "[", "]", split, level, into: &out) {
        $0.write(into: &$1, layout, level: level + 1)
      }
    case .object(let object):
      let split = layout == .indented && !object.members.isEmpty
      JSONValue.write(object.members, "{", "}", split, level, into: &out) { member, out in
        JSONValue.write(member.key, into: &out)
        out += ": "
        member.value.write(into: &out, layout, level: level + 1)
      }
    }
  }

  private static func write<Element>(
    _ elements: [Element], _ open: String, _ close: String, _ split: Bool, _ level: Int,
    into out: inout String,
    _ body: (Element, inout String) -> Void
  ) {
    out += open
    for (index, element) in elements.enumerated() {
      if index > 0 { out += split ? "," : ", " }
      if split { out += "\n" + String(repeating: "  ", count: level + 1) }
      body(element, &out)
    }
    if split { out += "\n" + String(repeating: "  ", count: level) }
    out += close
  }

  private static func write(_ text: String, into out: inout String) {
    out += "\""
    for scalar in text.unicodeScalars {
      switch scalar {
      case "\"": out += "\\\""
      case "\\": out += "\\\\"
      case "\n": out += "\\n"
      case "\r": out += "\\r"
      case "\t": out += "\\t"
      case _ where scalar.value < 0x20 || scalar.value == 0x7F:
        let digits = String(scalar.value, radix: 16)
        out += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
      default: out.unicodeScalars.append(scalar)
      }
    }
    out += "\""
  }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByBooleanLiteral, ExpressibleByIntegerLiteral,
  ExpressibleByFloatLiteral, ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral,
  ExpressibleByNilLiteral
{
  /// A string.
  public init(stringLiteral value: String) { self = .string(value) }
  /// `true` or `false`.
  public init(booleanLiteral value: Bool) { self = .bool(value) }
  /// An integer.
  public init(integerLiteral value: Int) { self = .integer(value) }
  /// A floating-point number.
  public init(floatLiteral value: Double) { self = .number(value) }
  /// An array.
  public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  /// An object with its keys in the order written.
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    self = .object(JSONObject(elements.map { .init(key: $0.0, value: $0.1) }))
  }
  /// `null`.
  public init(nilLiteral: ()) { self = .null }
}

extension JSONObject: ExpressibleByDictionaryLiteral {
  /// An object with its keys in the order written.
  public init(dictionaryLiteral elements: (String, JSONValue)...) {
    self.init(elements.map { Member(key: $0.0, value: $0.1) })
  }
}
