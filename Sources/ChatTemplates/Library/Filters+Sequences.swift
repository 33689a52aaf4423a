extension Filters {
  /// Filters of sequences.
  static let sequences: [String: Body] = [
    "length": filter("length") { try length($0, $1, $2) },
    "count": filter("length") { try length($0, $1, $2) },
    "list": filter("list") { interpreter, value, _ in try interpreter.list(interpreter.elements(of: value)) },
    "first": filter("first") { interpreter, value, _ in
      try interpreter.iterator(over: value).next(interpreter)
        ?? interpreter.undefined(.hint("No first item, sequence was empty."))
    },
    "last": filter("last") { interpreter, value, _ in
      guard let reversed = try reversed(interpreter, value) else {
        throw TemplateError(.type, "'\(value.typeName)' object is not reversible")
      }
      return reversed.last ?? interpreter.undefined(.hint("No last item, sequence was empty."))
    },
    "reverse": filter("reverse") { try reverse($0, $1, $2) },
    "join": filter("join", ["d", "attribute"], join),
    "sort": filter("sort", ["reverse", "case_sensitive", "attribute"], sort),
    "unique": filter("unique", ["case_sensitive", "attribute"], unique),
    "min": filter("min", ["case_sensitive", "attribute"]) { try extreme($0, $1, $2, .less) },
    "max": filter("max", ["case_sensitive", "attribute"]) { try extreme($0, $1, $2, .greater) },
    "sum": filter("sum", ["attribute", "start"], sum),
    "batch": filter("batch", ["linecount", "fill_with"], required: 1, batch),
    "slice": filter("slice", ["slices", "fill_with"], required: 1, slice),
    "groupby": filter("groupby", ["attribute", "default", "case_sensitive"], required: 1, groupby),
    "map": map,
    "select": { try select($0, $1, $2, wanted: true, byAttribute: false) },
    "reject": { try select($0, $1, $2, wanted: false, byAttribute: false) },
    "selectattr": { try select($0, $1, $2, wanted: true, byAttribute: true) },
    "rejectattr": { try select($0, $1, $2, wanted: false, byAttribute: true) },
  ]

  private static func length(_ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments) throws
    -> Value
  {
    guard let length = try interpreter.length(of: value) else {
      throw TemplateError(.type, "object of type '\(value.typeName)' has no len()")
    }
    return .integer(length)
  }

  // MARK: Order

  /// The elements of what Python's `reversed` takes, in their own order; `nil` for what it does not take.
  private static func reversed(_ interpreter: Interpreter, _ value: Value) throws -> [Value]? {
    switch value {
    case .text, .list, .tuple, .dictionary, .range, .view, .undefined: try interpreter.elements(of: value)
    default: nil
    }
  }

  private static func reverse(_ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments) throws
    -> Value
  {
    if case .text(let text) = value {
      try interpreter.spend(text.bytes.count)
      return .text(Text(codePoints: text.codePoints.reversed(), isMarkup: text.isMarkup))
    }
    if let elements = try reversed(interpreter, value) {
      try interpreter.spend(elements.count)
      return .iterator(IteratorValue.over(elements.reversed(), "reversed", depth: value.depth + 1))
    }
    guard value.isIterable else { throw TemplateError(.value, "argument must be iterable") }
    return try interpreter.list(interpreter.elements(of: value).reversed())
  }

  @Sendable private static func sort(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    let isCaseSensitive = try interpreter.isTrue(bound[optional: 1] ?? .bool(false))
    let attribute = bound[optional: 2] ?? .none
    var paths = [interpreter.path(attribute)]
    if case .text(let text) = attribute {
      paths = text.bytes.split(separator: 0x2C, omittingEmptySubsequences: false).map {
        interpreter.path(.text(Text($0)))
      }
    }
    let elements = try interpreter.sorted(
      interpreter.elements(of: value),
      by: { element in
        let keys = try paths.map {
          try interpreter.foldedCase(interpreter.follow($0, from: element), isCaseSensitive)
        }
        return try interpreter.list(keys)
      }, isCaseSensitive: true, reverses: interpreter.isTrue(bound[optional: 0] ?? .bool(false)))
    return try interpreter.list(elements)
  }

  @Sendable private static func unique(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    let isCaseSensitive = try interpreter.isTrue(bound[optional: 0] ?? .bool(false))
    let path = interpreter.path(bound[optional: 1] ?? .none)
    var seen: Set<HashKey> = []
    var source: IteratorValue?
    return try interpreter.iterator("generator", over: [value]) { interpreter in
      let elements = try source ?? interpreter.iterator(over: value)
      source = elements
      while let element = try elements.next(interpreter) {
        try interpreter.spend(4)
        let key = try HashKey(
          interpreter.foldedCase(interpreter.follow(path, from: element), isCaseSensitive))
        if seen.insert(key).inserted { return element }
      }
      return nil
    }
  }

  private static func extreme(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments, _ operation: ComparisonOperator
  ) throws -> Value {
    let isCaseSensitive = try interpreter.isTrue(bound[optional: 0] ?? .bool(false))
    let path = interpreter.path(bound[optional: 1] ?? .none)
    var best: (key: Value, element: Value)?
    let elements = try interpreter.iterator(over: value)
    while let element = try elements.next(interpreter) {
      try interpreter.spend(1)
      let key = try interpreter.foldedCase(interpreter.follow(path, from: element), isCaseSensitive)
      if let current = best, try !interpreter.compare(operation, key, current.key) { continue }
      best = (key, element)
    }
    return best?.element ?? interpreter.undefined(.hint("No aggregated item, sequence was empty."))
  }

  // MARK: Folding

  @Sendable private static func join(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    let separator = try interpreter.string(bound[optional: 0] ?? .text(.empty)).bytes
    let path = interpreter.path(bound[optional: 1] ?? .none)
    var out: [UInt8] = []
    let elements = try interpreter.iterator(over: value)
    var isFirst = true
    while let element = try elements.next(interpreter) {
      try interpreter.spend(1 + separator.count / 16)
      if !isFirst { out += separator }
      isFirst = false
      try interpreter.append(interpreter.follow(path, from: element), to: &out)
    }
    try interpreter.checkLength(out.count)
    return .text(Text(bytes: out))
  }

  @Sendable private static func sum(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    let path = interpreter.path(bound[optional: 0] ?? .none)
    var total = bound[optional: 1] ?? .integer(0)
    if case .text = total { throw TemplateError(.type, "sum() can't sum strings [use ''.join(seq) instead]") }
    let elements = try interpreter.iterator(over: value)
    while let element = try elements.next(interpreter) {
      try interpreter.spend(1)
      total = try interpreter.apply(.add, total, interpreter.follow(path, from: element))
    }
    return total
  }

  // MARK: Cutting

  @Sendable private static func batch(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    let (size, filling) = (bound[0], bound[optional: 1] ?? .none)
    var source: IteratorValue?
    var carried: Value?
    return try interpreter.iterator("generator", over: [value, filling]) { interpreter in
      let elements = try source ?? interpreter.iterator(over: value)
      source = elements
      var row: [Value] = carried.map { [$0] } ?? []
      carried = nil
      while let element = try elements.next(interpreter) {
        try interpreter.spend(1)
        if try interpreter.areEqual(.integer(row.count), size) {
          carried = element
          return try interpreter.list(row)
        }
        row.append(element)
      }
      guard !row.isEmpty else { return nil }
      if case .none = filling { return try interpreter.list(row) }
      let missing = try interpreter.wholeNumber(size) - row.count
      try interpreter.spend(max(missing, 0))
      row += Array(repeating: filling, count: max(missing, 0))
      return try interpreter.list(row)
    }
  }

  @Sendable private static func slice(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    let filling = bound[optional: 1] ?? .none
    let count = try interpreter.wholeNumber(bound[0])
    var state: (elements: [Value], index: Int, offset: Int)?
    return try interpreter.iterator("generator", over: [value, filling]) { interpreter in
      var (elements, index, offset) = try state ?? (interpreter.elements(of: value), 0, 0)
      guard count != 0 else { throw TemplateError(.value, "integer division or modulo by zero") }
      guard index < count else { return nil }
      try interpreter.spend(1)
      let (size, extra) = (elements.count / count, elements.count % count)
      let start = offset + index * size
      if index < extra { offset += 1 }
      var part = Array(elements[start..<(offset + (index + 1) * size)])
      if index >= extra {
        if case .none = filling {} else { part.append(filling) }
      }
      index += 1
      state = (elements, index, offset)
      return try interpreter.list(part)
    }
  }

  @Sendable private static func groupby(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    let path = interpreter.path(bound[0])
    let fallback = bound[optional: 1] ?? .none
    let isCaseSensitive = try interpreter.isTrue(bound[optional: 2] ?? .bool(false))
    func real(_ element: Value) throws -> Value {
      try interpreter.follow(path, from: element, fallback: fallback)
    }
    let elements = try interpreter.sorted(
      interpreter.elements(of: value), by: real, isCaseSensitive: isCaseSensitive, reverses: false)
    var groups: [(key: Value, elements: [Value])] = []
    for element in elements {
      let key = try interpreter.foldedCase(real(element), isCaseSensitive)
      if let last = groups.last, try interpreter.areEqual(last.key, key) {
        groups[groups.count - 1].elements.append(element)
      } else {
        groups.append((key, [element]))
      }
    }
    return try interpreter.list(
      groups.map { group in
        try interpreter.tuple(
          [try real(group.elements[0]), try interpreter.list(group.elements)],
          fieldNames: ["grouper", "list"])
      })
  }

  // MARK: Mapping and selecting

  /// The elements of a value one by one, each changed or left out.
  private static func lazily(
    _ interpreter: Interpreter, _ value: Value, holding arguments: Arguments,
    _ body: @escaping (Interpreter, Value) throws -> Value?
  ) throws -> Value {
    var source: IteratorValue?
    let held = [value] + arguments.positional + arguments.named.map(\.value)
    return try interpreter.iterator("generator", over: held) { interpreter in
      // What counts as false is empty, be it something that cannot be walked.
      guard try source != nil || interpreter.isTrue(value) else { return nil }
      let elements = try source ?? interpreter.iterator(over: value)
      source = elements
      while let element = try elements.next(interpreter) {
        try interpreter.spend(1)
        if let result = try body(interpreter, element) { return result }
      }
      return nil
    }
  }

  @Sendable private static func map(
    _ interpreter: Interpreter, _ value: Value, _ arguments: Arguments
  ) throws -> Value {
    // jinja2 looks at the arguments when the first element is asked for, and at no argument of an empty value.
    try lazily(interpreter, value, holding: arguments) { interpreter, element in
      if arguments.positional.isEmpty, arguments.named.contains(where: { $0.name == "attribute" }) {
        let bound = try Arguments(named: arguments.named).bound(
          to: ["attribute", "default"], required: 1, function: "map")
        return try interpreter.follow(
          interpreter.path(bound[0]), from: element, fallback: bound[optional: 1] ?? .none)
      }
      guard let name = arguments.positional.first else {
        throw TemplateError(.value, "map requires a filter argument")
      }
      guard case .text(let text) = name, let filter = table[text.string] else {
        throw TemplateError(.value, "No filter named \(try interpreter.representation(name).string).")
      }
      return try filter(interpreter, element, arguments.droppingFirst(1))
    }
  }

  private static func select(
    _ interpreter: Interpreter, _ value: Value, _ arguments: Arguments, wanted: Bool, byAttribute: Bool
  ) throws -> Value {
    try lazily(interpreter, value, holding: arguments) { interpreter, element in
      let skipped = byAttribute ? 1 : 0
      var subject = element
      if byAttribute {
        guard let attribute = arguments.positional.first else {
          throw TemplateError(.value, "Missing parameter for attribute name")
        }
        subject = try interpreter.follow(interpreter.path(attribute), from: element)
      }
      let verdict: Bool
      if arguments.positional.count > skipped {
        let name = arguments.positional[skipped]
        guard case .text(let text) = name, let test = Tests.table[text.string] else {
          throw TemplateError(.value, "No test named \(try interpreter.representation(name).string).")
        }
        verdict = try test(interpreter, subject, arguments.droppingFirst(skipped + 1))
      } else {
        verdict = try interpreter.isTrue(subject)
      }
      return verdict == wanted ? element : nil
    }
  }
}
