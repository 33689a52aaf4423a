/// What stands behind `is`.
enum Tests {
  typealias Body = @Sendable (Interpreter, Value, Arguments) throws -> Bool

  /// jinja2's tests by name.
  static let table: [String: Body] = {
    var table: [String: Body] = [
      "odd": { interpreter, value, arguments in
        try arguments.checkNone("odd")
        return try interpreter.areEqual(interpreter.apply(.modulo, value, .integer(2)), .integer(1))
      },
      "even": { interpreter, value, arguments in
        try arguments.checkNone("even")
        return try interpreter.areEqual(interpreter.apply(.modulo, value, .integer(2)), .integer(0))
      },
      "divisibleby": { interpreter, value, arguments in
        let divisor = try arguments.bound(to: ["num"], required: 1, function: "divisibleby")[0]
        return try interpreter.areEqual(interpreter.apply(.modulo, value, divisor), .integer(0))
      },
      "defined": simple("defined") { !$0.isUndefined }, "undefined": simple("undefined", \.isUndefined),
      "none": simple("none") { if case .none = $0 { true } else { false } },
      "boolean": simple("boolean") { if case .boolean = $0 { true } else { false } },
      "true": simple("true") { if case .boolean(true) = $0 { true } else { false } },
      "false": simple("false") { if case .boolean(false) = $0 { true } else { false } },
      "integer": simple("integer") { if case .integer = $0 { true } else { false } },
      "float": simple("float") { if case .float = $0 { true } else { false } },
      "number": simple("number") { $0.number != nil },
      "string": simple("string") { if case .text = $0 { true } else { false } },
      "mapping": simple("mapping") { if case .dictionary = $0 { true } else { false } },
      "sequence": simple("sequence") { value in
        switch value {
        case .text, .list, .tuple, .dictionary, .range, .undefined: true
        default: false
        }
      },
      "iterable": simple("iterable", \.isIterable),
      "callable": simple("callable") { value in
        switch value {
        case .function, .joiner, .loop, .undefined: true
        default: false
        }
      },
      "escaped": simple("escaped") { if case .text(let text) = $0 { text.isMarkup } else { false } },
      "lower": { interpreter, value, arguments in
        try arguments.checkNone("lower")
        return try interpreter.string(value).isLowercase
      },
      "upper": { interpreter, value, arguments in
        try arguments.checkNone("upper")
        return try interpreter.string(value).isUppercase
      },
      "filter": { interpreter, value, arguments in
        try arguments.checkNone("filter")
        guard case .text(let name) = value else {
          // Names are looked up in a dictionary, and what cannot be its key is an error.
          _ = try HashKey(value)
          return false
        }
        return Filters.table[name.string] != nil
      },
      "test": { interpreter, value, arguments in
        try arguments.checkNone("test")
        guard case .text(let name) = value else {
          // Names are looked up in a dictionary, and what cannot be its key is an error.
          _ = try HashKey(value)
          return false
        }
        return Tests.table[name.string] != nil
      },
      "sameas": { interpreter, value, arguments in
        let other = try arguments.bound(to: ["other"], required: 1, function: "sameas")[0]
        return try isSame(value, other, interpreter)
      },
      "in": { interpreter, value, arguments in
        try interpreter.contains(arguments.bound(to: ["seq"], required: 1, function: "in")[0], value)
      },
    ]
    let comparisons: [(ComparisonOperator, [String])] = [
      (.equal, ["==", "eq", "equalto"]), (.notEqual, ["!=", "ne"]), (.greater, [">", "gt", "greaterthan"]),
      (.greaterOrEqual, [">=", "ge"]), (.less, ["<", "lt", "lessthan"]), (.lessOrEqual, ["<=", "le"]),
    ]
    for (operation, names) in comparisons {
      for name in names {
        table[name] = { interpreter, value, arguments in
          let other = try arguments.bound(to: ["other"], required: 1, function: name, acceptsNames: false)[0]
          return try interpreter.compare(operation, value, other)
        }
      }
    }
    return table
  }()

  /// A test of the value alone.
  private static func simple(_ name: String, _ body: @escaping @Sendable (Value) -> Bool) -> Body {
    { _, value, arguments in
      try arguments.checkNone(name)
      return body(value)
    }
  }

  /// Whether two values are one object; of what has no identity here, whether they are equal and of one type.
  private static func isSame(_ left: Value, _ right: Value, _ interpreter: Interpreter) throws -> Bool {
    switch (left, right) {
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)): a === b
    case (.dictionary(let a), .dictionary(let b)): a === b
    case (.undefined(let a), .undefined(let b)): a === b
    case (.none, .none): true
    case (.boolean(let a), .boolean(let b)): a == b
    case (.integer(let a), .integer(let b)): a == b
    case (.float(let a), .float(let b)): a == b
    case (.text(let a), .text(let b)): a == b
    case (.boolean, _), (.integer, _), (.float, _), (_, .boolean), (_, .integer), (_, .float): false
    default: try interpreter.areEqual(left, right)
    }
  }
}
