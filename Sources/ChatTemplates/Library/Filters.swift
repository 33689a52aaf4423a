/// What stands behind `|`.
enum Filters {
  typealias Body = @Sendable (Interpreter, Value, Arguments) throws -> Value

  /// jinja2's filters by name, with transformers' own `tojson`.
  static let table: [String: Body] = texts.merging(sequences) { $1 }.merging(numbers) { $1 }.merging(others) {
    $1
  }

  /// A filter whose parameters after the value are these.
  static func filter(
    _ name: String, _ parameters: [String] = [], required: Int = 0,
    _ body: @escaping @Sendable (Interpreter, Value, BoundArguments) throws -> Value
  ) -> Body {
    { interpreter, value, arguments in
      try body(interpreter, value, try arguments.bound(to: parameters, required: required, function: name))
    }
  }

  private static let others: [String: Body] = [
    "default": filter("default", ["default_value", "boolean"], defaultValue),
    "d": filter("default", ["default_value", "boolean"], defaultValue),
    "tojson": { try $0.tojson($1, $2) },
    "attr": filter("attr", ["name"], required: 1) { interpreter, value, bound in
      let name = try interpreter.text(bound[0], "the name of an attribute")
      return try interpreter.objectAttribute(name, of: value)
        ?? interpreter.undefined(.attribute(of: value.objectDescription, name: name))
    },
    "dictsort": filter("dictsort", ["case_sensitive", "by", "reverse"], dictsort),
    "items": filter("items") { interpreter, value, _ in try items(interpreter, value) },
    "pprint": unsupported("pprint"), "random": unsupported("random"), "urlize": unsupported("urlize"),
    "wordwrap": unsupported("wordwrap"),
  ]

  private static func unsupported(_ name: String) -> Body {
    { _, _, _ in throw TemplateError(.unsupported, "the filter \(name) is not supported in chat templates") }
  }

  @Sendable private static func defaultValue(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    if value.isUndefined { return bound[optional: 0] ?? .text(.empty) }
    if let boolean = bound[optional: 1], try interpreter.isTrue(boolean), try !interpreter.isTrue(value) {
      return bound[optional: 0] ?? .text(.empty)
    }
    return value
  }

  @Sendable private static func dictsort(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    let isCaseSensitive = try interpreter.isTrue(bound[optional: 0] ?? .bool(false))
    let part: Int
    switch bound[optional: 1] ?? "key" {
    case .text("key"): part = 0
    case .text("value"): part = 1
    default: throw TemplateError(.value, "You can only sort by either \"key\" or \"value\"")
    }
    if case .undefined(let undefined) = value { throw undefined.error }
    guard case .dictionary(let dictionary) = value else {
      throw TemplateError(.type, "'\(value.typeName)' object has no attribute 'items'")
    }
    let reverses = try interpreter.isTrue(bound[optional: 2] ?? .bool(false))
    let entries = try interpreter.sorted(
      dictionary.entries, by: { part == 0 ? $0.key : $0.value }, isCaseSensitive: isCaseSensitive,
      reverses: reverses)
    return try interpreter.list(entries.map { try interpreter.tuple([$0.key, $0.value]) })
  }

  private static func items(_ interpreter: Interpreter, _ value: Value) throws -> Value {
    var index = 0
    return try interpreter.iterator("generator", over: [value]) { interpreter in
      if value.isUndefined {
        try interpreter.checkDefined(value)
        return nil
      }
      guard case .dictionary(let dictionary) = value else {
        throw TemplateError(.type, "Can only get item pairs from a mapping.")
      }
      guard index < dictionary.count else { return nil }
      defer { index += 1 }
      return DictionaryView(dictionary: dictionary, part: .items).element(index)
    }
  }
}

extension Value: ExpressibleByStringLiteral {
  init(stringLiteral value: String) { self = .text(Text(value)) }
}

extension Interpreter {
  // MARK: Sorting

  /// Sorted in a stable manner.
  ///
  /// - Parameter isBefore: whether the first comes before the second; may throw.
  func sorted<Element>(
    _ elements: [Element], _ isBefore: (Element, Element) throws -> Bool
  ) throws -> [Element] {
    guard elements.count > 1 else { return elements }
    try spend(elements.count)
    // Merged from halves: what cannot be compared, a NaN say, does no harm here.
    let middle = elements.count / 2
    let left = try sorted(Array(elements[..<middle]), isBefore)
    let right = try sorted(Array(elements[middle...]), isBefore)
    var merged: [Element] = []
    merged.reserveCapacity(elements.count)
    var (i, j) = (0, 0)
    while i < left.count, j < right.count {
      try spend(1)
      if try isBefore(right[j], left[i]) {
        merged.append(right[j])
        j += 1
      } else {
        merged.append(left[i])
        i += 1
      }
    }
    return merged + left[i...] + right[j...]
  }

  /// Sorted by a key, of which letters are by default compared without case.
  func sorted<Element>(
    _ elements: [Element], by key: (Element) throws -> Value, isCaseSensitive: Bool, reverses: Bool
  ) throws -> [Element] {
    let keyed = try elements.map { (key: try foldedCase(key($0), isCaseSensitive), element: $0) }
    // Python turns the list round before and after, so that equal elements keep their order.
    let sorted = try sorted(reverses ? keyed.reversed() : keyed) { try compare(.less, $0.key, $1.key) }
    let result = sorted.map(\.element)
    return reverses ? result.reversed() : result
  }

  /// A key without case where it is a text.
  func foldedCase(_ value: Value, _ isCaseSensitive: Bool) throws -> Value {
    guard !isCaseSensitive, case .text(let text) = value else { return value }
    try spend(text.bytes.count / 4)
    return .text(text.lowercased)
  }

  // MARK: Attributes by path

  /// The value of a path such as `address.city` or `0`.
  struct Path {
    fileprivate let parts: [Value]
  }

  /// Reads a path; `None` is the element itself.
  func path(_ value: Value) -> Path {
    switch value {
    case .none: return Path(parts: [])
    case .text(let text):
      return Path(
        parts: text.bytes.split(separator: 0x2E, omittingEmptySubsequences: false).map { part in
          let text = Text(part)
          return text.isAll(Text.isDigit) ? Int(text.string).map(Value.integer) ?? .text(text) : .text(text)
        })
    default: return Path(parts: [value])
    }
  }

  /// Follows a path.
  ///
  /// - Parameter fallback: stands in for each undefined step; `None` is none.
  func follow(_ path: Path, from value: Value, fallback: Value = .none) throws -> Value {
    var value = value
    for part in path.parts {
      try spend(1)
      value = try item(part, of: value)
      if value.isUndefined {
        if case .none = fallback { continue }
        value = fallback
      }
    }
    return value
  }
}
