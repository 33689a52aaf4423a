#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// An arithmetic operator.
enum BinaryOperator: String, Sendable {
  case add = "+"
  case subtract = "-"
  case multiply = "*"
  case divide = "/"
  case floorDivide = "//"
  case modulo = "%"
  case power = "**"

  /// As Python names it in a message.
  var messageName: String { self == .power ? "** or pow()" : rawValue }
}

/// A comparison, membership among them.
enum ComparisonOperator: String, Sendable {
  case equal = "=="
  case notEqual = "!="
  case less = "<"
  case lessOrEqual = "<="
  case greater = ">"
  case greaterOrEqual = ">="
  case `in` = "in"
  case notIn = "not in"
}

extension Value {
  /// The value as an integer where Python takes one: booleans are.
  var integer: Int? {
    switch self {
    case .integer(let value): value
    case .boolean(let value): value ? 1 : 0
    default: nil
    }
  }

  /// The value as a number.
  var number: Double? {
    switch self {
    case .float(let value): value
    default: integer.map(Double.init)
    }
  }
}

extension Interpreter {
  // MARK: Truth

  /// `bool(value)`.
  func isTrue(_ value: Value) throws -> Bool {
    switch value {
    case .undefined:
      try checkDefined(value)
      return false
    case .none: return false
    case .boolean(let value): return value
    case .integer(let value): return value != 0
    case .float(let value): return value != 0
    case .text(let text): return !text.isEmpty
    case .list(let sequence), .tuple(let sequence): return !sequence.elements.isEmpty
    case .dictionary(let dictionary): return dictionary.count > 0
    case .range(let range): return range.count > 0
    case .view(let view): return view.count > 0
    case .loop(let loop): return try loop.length(self) > 0
    case .iterator, .function, .namespace, .cycler, .joiner: return true
    }
  }

  // MARK: Arithmetic

  /// `left operator right`.
  func apply(_ operation: BinaryOperator, _ left: Value, _ right: Value) throws -> Value {
    // A text takes any value into its `%`, an undefined one too.
    if operation == .modulo, case .text(let format) = left {
      return .text(try percentFormat(format, right))
    }
    for case .undefined(let undefined) in [left, right] { throw undefined.error }
    if let a = left.integer, let b = right.integer {
      return try integers(operation, a, b)
    }
    if let a = left.number, let b = right.number { return try floats(operation, a, b) }
    switch (operation, left, right) {
    case (.add, .text(let a), .text(let b)): return .text(try joined(a, b))
    case (.add, .list(let a), .list(let b)): return try list(a.elements + b.elements)
    case (.add, .tuple(let a), .tuple(let b)): return try tuple(a.elements + b.elements)
    case (.multiply, _, _):
      if let count = right.integer, let product = try repeated(left, count) { return product }
      if let count = left.integer, let product = try repeated(right, count) { return product }
      for (sequence, other) in [(left, right), (right, left)] {
        switch sequence {
        case .text, .list, .tuple:
          throw TemplateError(.type, "can't multiply sequence by non-int of type '\(other.typeName)'")
        default: break
        }
      }
    case (.add, .text, _):
      throw TemplateError(.type, "can only concatenate str (not \"\(right.typeName)\") to str")
    case (.add, .list, _):
      throw TemplateError(.type, "can only concatenate list (not \"\(right.typeName)\") to list")
    case (.add, .tuple, _):
      throw TemplateError(.type, "can only concatenate tuple (not \"\(right.typeName)\") to tuple")
    default: break
    }
    throw TemplateError(
      .type,
      "unsupported operand type(s) for \(operation.messageName): '\(left.typeName)' and '\(right.typeName)'")
  }

  /// Texts joined; one that `escape` made escapes the other.
  func joined(_ left: Text, _ right: Text) throws -> Text {
    try checkLength(left.bytes.count + right.bytes.count)
    try spend((left.bytes.count + right.bytes.count) / 16)
    guard left.isMarkup != right.isMarkup else {
      return Text(bytes: left.bytes + right.bytes, isMarkup: left.isMarkup)
    }
    return Text(bytes: left.escaped.bytes + right.escaped.bytes, isMarkup: true)
  }

  /// A sequence several times; `nil` for a value that is none.
  private func repeated(_ value: Value, _ count: Int) throws -> Value? {
    let count = max(count, 0)
    switch value {
    case .text(let text):
      let (length, overflow) = text.bytes.count.multipliedReportingOverflow(by: count)
      try checkLength(overflow ? .max : length)
      try spend(length / 16)
      var bytes: [UInt8] = []
      bytes.reserveCapacity(length)
      for _ in 0..<(text.isEmpty ? 0 : count) { bytes += text.bytes }
      return .text(Text(bytes: bytes, isMarkup: text.isMarkup))
    case .list(let sequence), .tuple(let sequence):
      let (length, overflow) = sequence.elements.count.multipliedReportingOverflow(by: count)
      try spend(overflow ? .max : length)
      var elements: [Value] = []
      elements.reserveCapacity(length)
      for _ in 0..<(sequence.elements.isEmpty ? 0 : count) { elements += sequence.elements }
      if case .tuple = value { return try tuple(elements) }
      return try list(elements)
    default: return nil
    }
  }

  private func integers(_ operation: BinaryOperator, _ a: Int, _ b: Int) throws -> Value {
    let result: (partialValue: Int, overflow: Bool)
    switch operation {
    case .add: result = a.addingReportingOverflow(b)
    case .subtract: result = a.subtractingReportingOverflow(b)
    case .multiply: result = a.multipliedReportingOverflow(by: b)
    case .divide:
      guard b != 0 else { throw TemplateError(.value, "division by zero") }
      // One rounding for what a Double holds exactly, which is every number that a template meets.
      return .float(Double(a) / Double(b))
    case .floorDivide, .modulo:
      guard b != 0 else {
        throw TemplateError(
          .value, operation == .modulo ? "integer modulo by zero" : "integer division or modulo by zero")
      }
      let (quotient, overflow) = a.dividedReportingOverflow(by: b)
      if overflow {
        result = operation == .modulo ? (0, false) : (quotient, true)
        break
      }
      let remainder = a % b
      let isBelow = remainder != 0 && (remainder < 0) != (b < 0)
      result =
        operation == .modulo
        ? (isBelow ? remainder + b : remainder, false) : (isBelow ? quotient - 1 : quotient, false)
    case .power:
      guard b >= 0 else { return try floats(.power, Double(a), Double(b)) }
      result = Interpreter.power(a, b)
    }
    guard !result.overflow else { throw Interpreter.integerOverflow }
    return .integer(result.partialValue)
  }

  static let integerOverflow = TemplateError(.limit, "an integer is beyond the 64 bits that are kept of one")

  private static func power(_ base: Int, _ exponent: Int) -> (Int, Bool) {
    if base == 0 || base == 1 { return (exponent == 0 ? 1 : base, false) }
    if base == -1 { return (exponent.isMultiple(of: 2) ? 1 : -1, false) }
    guard exponent < 64 else { return (0, true) }
    var product = 1
    for _ in 0..<exponent {
      let (next, overflow) = product.multipliedReportingOverflow(by: base)
      if overflow { return (0, true) }
      product = next
    }
    return (product, false)
  }

  private func floats(_ operation: BinaryOperator, _ a: Double, _ b: Double) throws -> Value {
    switch operation {
    case .add: return .float(a + b)
    case .subtract: return .float(a - b)
    case .multiply: return .float(a * b)
    case .divide:
      guard b != 0 else { throw TemplateError(.value, "float division by zero") }
      return .float(a / b)
    case .floorDivide, .modulo:
      guard b != 0 else {
        throw TemplateError(.value, operation == .modulo ? "float modulo" : "float floor division by zero")
      }
      // As CPython's `float_divmod`.
      var remainder = fmod(a, b)
      var quotient = (a - remainder) / b
      if remainder != 0 {
        if (b < 0) != (remainder < 0) {
          remainder += b
          quotient -= 1
        }
      } else {
        remainder = copysign(0, b)
      }
      if operation == .modulo { return .float(remainder) }
      guard quotient != 0 else { return .float(copysign(0, a / b)) }
      let floored = floor(quotient)
      return .float(quotient - floored > 0.5 ? floored + 1 : floored)
    case .power:
      if a == 0, b < 0 { throw TemplateError(.value, "0.0 cannot be raised to a negative power") }
      if a < 0, a.isFinite, b.isFinite, b != floor(b) {
        throw TemplateError(.unsupported, "a negative number to a fractional power is a complex number")
      }
      let result = pow(a, b)
      if result.isInfinite, a.isFinite, b.isFinite {
        throw TemplateError(.value, "Numerical result out of range")
      }
      return .float(result)
    }
  }

  /// `-value`.
  func negated(_ value: Value) throws -> Value {
    if case .undefined(let undefined) = value { throw undefined.error }
    if case .float(let number) = value { return .float(-number) }
    guard let integer = value.integer else {
      throw TemplateError(.type, "bad operand type for unary -: '\(value.typeName)'")
    }
    let (result, overflow) = (0).subtractingReportingOverflow(integer)
    guard !overflow else { throw Interpreter.integerOverflow }
    return .integer(result)
  }

  /// `+value`.
  func posited(_ value: Value) throws -> Value {
    if case .undefined(let undefined) = value { throw undefined.error }
    if case .float = value { return value }
    guard let integer = value.integer else {
      throw TemplateError(.type, "bad operand type for unary +: '\(value.typeName)'")
    }
    return .integer(integer)
  }

  // MARK: Comparison

  /// `left operator right` of a comparison.
  func compare(_ operation: ComparisonOperator, _ left: Value, _ right: Value) throws -> Bool {
    switch operation {
    case .equal: try areEqual(left, right)
    case .notEqual: try !areEqual(left, right)
    case .in: try contains(right, left)
    case .notIn: try !contains(right, left)
    case .less: try isOrdered(left, right, operation)
    case .lessOrEqual: try isOrdered(left, right, operation)
    case .greater: try isOrdered(left, right, operation)
    case .greaterOrEqual: try isOrdered(left, right, operation)
    }
  }

  /// `left == right`.
  func areEqual(_ left: Value, _ right: Value) throws -> Bool {
    if isStrict {
      try checkDefined(left)
      try checkDefined(right)
    }
    switch (left, right) {
    case (.undefined, .undefined), (.none, .none): return true
    case (.text(let a), .text(let b)):
      try spend(min(a.bytes.count, b.bytes.count) / 16)
      return a == b
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
      return try a === b || (a.elements.count == b.elements.count && areEqual(a.elements, b.elements))
    case (.dictionary(let a), .dictionary(let b)): return try a === b || areEqual(a, b)
    case (.range(let a), .range(let b)):
      return a.count == b.count && (a.count == 0 || a.start == b.start && (a.count == 1 || a.step == b.step))
    case (.view(let a), .view(let b)): return try areEqual(a, b)
    case (.iterator(let a), .iterator(let b)): return a === b
    case (.function(let a), .function(let b)): return a === b
    case (.namespace(let a), .namespace(let b)): return a === b
    case (.loop(let a), .loop(let b)): return a === b
    case (.cycler(let a), .cycler(let b)): return a === b
    case (.joiner(let a), .joiner(let b)): return a === b
    default:
      if let a = left.integer, let b = right.integer { return a == b }
      if let a = left.number, let b = right.number {
        return Interpreter.order(left, a, right, b) == 0
      }
      return false
    }
  }

  private func areEqual(_ left: [Value], _ right: [Value]) throws -> Bool {
    try nested {
      for (a, b) in zip(left, right) {
        try spend(1)
        guard try areEqual(a, b) else { return false }
      }
      return true
    }
  }

  private func areEqual(_ left: DictionaryValue, _ right: DictionaryValue) throws -> Bool {
    guard left.count == right.count else { return false }
    return try nested {
      for entry in left.entries {
        try spend(1)
        guard let other = try right.value(of: entry.key), try areEqual(entry.value, other) else {
          return false
        }
      }
      return true
    }
  }

  /// Keys and items are sets; values are compared as the objects they are, which two views never are.
  private func areEqual(_ left: DictionaryView, _ right: DictionaryView) throws -> Bool {
    guard left.part != .values, right.part == left.part, left.count == right.count else { return false }
    if left.part == .items { return try areEqual(left.dictionary, right.dictionary) }
    return try left.dictionary.entries.allSatisfy { try right.dictionary.value(of: $0.key) != nil }
  }

  /// Less, equal or greater of two numbers, exact where an integer has more bits than a Double; `nil` with a NaN.
  private static func order(_ left: Value, _ a: Double, _ right: Value, _ b: Double) -> Int? {
    if a.isNaN || b.isNaN { return nil }
    if let exact = left.integer, b.isFinite, abs(a) >= 0x1p53 { return order(exact, b) }
    if let exact = right.integer, a.isFinite, abs(b) >= 0x1p53 { return -order(exact, a) }
    return a < b ? -1 : a > b ? 1 : 0
  }

  private static func order(_ integer: Int, _ number: Double) -> Int {
    guard number < 0x1p63 else { return -1 }
    guard number >= -0x1p63 else { return 1 }
    // Beyond 2^53 a Double has no fraction.
    let other = Int(number.rounded(.down))
    return integer < other ? -1 : integer > other ? 1 : number > Double(other) ? -1 : 0
  }

  private func isOrdered(_ left: Value, _ right: Value, _ operation: ComparisonOperator) throws -> Bool {
    for case .undefined(let undefined) in [left, right] { throw undefined.error }
    if let a = left.integer, let b = right.integer {
      return Interpreter.holds(operation, a < b ? -1 : a > b ? 1 : 0)
    }
    if let a = left.number, let b = right.number {
      return Interpreter.holds(operation, Interpreter.order(left, a, right, b))
    }
    switch (left, right) {
    case (.text(let a), .text(let b)):
      try spend(min(a.bytes.count, b.bytes.count) / 16)
      return Interpreter.holds(operation, a == b ? 0 : a < b ? -1 : 1)
    case (.list(let a), .list(let b)), (.tuple(let a), .tuple(let b)):
      return try nested {
        for (x, y) in zip(a.elements, b.elements) {
          try spend(1)
          if try !areEqual(x, y) { return try isOrdered(x, y, operation) }
        }
        let (m, n) = (a.elements.count, b.elements.count)
        return Interpreter.holds(operation, m < n ? -1 : m > n ? 1 : 0)
      }
    default:
      throw TemplateError(
        .type,
        "'\(operation.rawValue)' not supported between instances of '\(left.typeName)' and '\(right.typeName)'"
      )
    }
  }

  private static func holds(_ operation: ComparisonOperator, _ order: Int?) -> Bool {
    guard let order else { return false }
    return switch operation {
    case .less: order < 0
    case .lessOrEqual: order <= 0
    case .greater: order > 0
    case .greaterOrEqual: order >= 0
    default: false
    }
  }

  /// `element in container`.
  func contains(_ container: Value, _ element: Value) throws -> Bool {
    switch container {
    case .text(let text):
      guard case .text(let needle) = element else {
        throw TemplateError(
          .type, "'in <string>' requires string as left operand, not \(element.typeName)")
      }
      try spend(text.bytes.count / 16)
      return text.contains(needle)
    case .list(let sequence), .tuple(let sequence):
      for candidate in sequence.elements {
        try spend(1)
        if try areEqual(candidate, element) { return true }
      }
      return false
    case .dictionary(let dictionary): return try dictionary.value(of: element) != nil
    case .view(let view) where view.part == .keys: return try view.dictionary.value(of: element) != nil
    case .range(let range):
      if let integer = element.integer { return range.contains(integer) }
      guard case .float(let number) = element, let integer = Int(exactly: number) else { return false }
      return range.contains(integer)
    case .undefined:
      try checkDefined(container)
      return false
    case .view, .iterator, .loop:
      let elements = try iterator(over: container)
      while let candidate = try elements.next(self) {
        try spend(1)
        if try areEqual(candidate, element) { return true }
      }
      return false
    default: throw TemplateError(.type, "argument of type '\(container.typeName)' is not iterable")
    }
  }
}
