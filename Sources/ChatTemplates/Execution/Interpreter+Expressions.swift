extension Interpreter {
  /// The value of an expression.
  func evaluate(_ expression: Expression, _ frame: Frame) throws -> Value {
    line = expression.line
    switch expression.kind {
    case .constant(let constant): return constant.value
    case .variable(let slot, let name): return frame[slot] ?? undefined(.name(name))
    default: break
    }
    try enter()
    defer { leave() }
    try spend(1)
    return try evaluateCompound(expression, frame)
  }

  // The cases that need variables are functions of their own: the stack of an unoptimised build would otherwise
  // have room for all of them at every level.
  private func evaluateCompound(_ expression: Expression, _ frame: Frame) throws -> Value {
    switch expression.kind {
    case .constant, .name, .variable: return .none
    case .captured: return .text(captured)
    case .tuple(let items): return try tuple(try evaluate(items, frame))
    case .list(let items): return try list(try evaluate(items, frame))
    case .dictionary(let pairs): return try evaluateDictionary(pairs, frame)
    case .not(let operand): return .bool(try !isTrue(evaluate(operand, frame)))
    case .negative(let operand): return try negated(evaluate(operand, frame))
    case .positive(let operand): return try posited(evaluate(operand, frame))
    case .binary(let operation, let left, let right):
      return try evaluateBinary(operation, left, right, expression.line, frame)
    case .and(let left, let right): return try evaluateLogical(left, right, isAnd: true, frame)
    case .or(let left, let right): return try evaluateLogical(left, right, isAnd: false, frame)
    case .concatenation(let items): return try evaluateConcatenation(items, frame)
    case .comparison(let first, let rest): return try evaluateComparison(first, rest, expression.line, frame)
    case .conditional(let test, let value, let otherwise):
      return try evaluateConditional(test, value, otherwise, expression.line, frame)
    case .attribute(let object, let name):
      return try attribute(name, of: evaluate(object, frame))
    case .item(let object, let key): return try evaluateItem(object, key, expression.line, frame)
    case .slice(let object, let start, let stop, let step):
      return try evaluateSlice(object, start, stop, step, frame)
    case .call(let callee, let arguments): return try evaluateCall(callee, arguments, expression.line, frame)
    case .filter(let value, let name, let arguments):
      return try evaluateFilter(value, name, arguments, expression.line, frame)
    case .test(let value, let name, let arguments):
      return try evaluateTest(value, name, arguments, expression.line, frame)
    }
  }

  private func evaluate(_ expressions: [Expression], _ frame: Frame) throws -> [Value] {
    var values: [Value] = []
    values.reserveCapacity(expressions.count)
    for expression in expressions { values.append(try evaluate(expression, frame)) }
    return values
  }

  private func evaluateDictionary(_ pairs: [(key: Expression, value: Expression)], _ frame: Frame) throws
    -> Value
  {
    var entries: [(Value, Value)] = []
    for pair in pairs { entries.append((try evaluate(pair.key, frame), try evaluate(pair.value, frame))) }
    return .dictionary(try dictionary(entries))
  }

  private func evaluateBinary(
    _ operation: BinaryOperator, _ left: Expression, _ right: Expression, _ line: Int, _ frame: Frame
  ) throws -> Value {
    let a = try evaluate(left, frame)
    let b = try evaluate(right, frame)
    self.line = line
    return try apply(operation, a, b)
  }

  private func evaluateLogical(
    _ left: Expression, _ right: Expression, isAnd: Bool, _ frame: Frame
  ) throws -> Value {
    let first = try evaluate(left, frame)
    return try isTrue(first) == isAnd ? try evaluate(right, frame) : first
  }

  private func evaluateConcatenation(_ items: [Expression], _ frame: Frame) throws -> Value {
    var out: [UInt8] = []
    for item in items {
      let value = try evaluate(item, frame)
      try append(value, to: &out)
    }
    return .text(Text(bytes: out))
  }

  private func evaluateComparison(
    _ first: Expression, _ rest: [(operation: ComparisonOperator, operand: Expression)], _ line: Int,
    _ frame: Frame
  ) throws -> Value {
    var left = try evaluate(first, frame)
    for (operation, operand) in rest {
      let right = try evaluate(operand, frame)
      self.line = line
      guard try compare(operation, left, right) else { return .bool(false) }
      left = right
    }
    return .bool(true)
  }

  private func evaluateConditional(
    _ test: Expression, _ value: Expression, _ otherwise: Expression?, _ line: Int, _ frame: Frame
  ) throws -> Value {
    if try isTrue(evaluate(test, frame)) { return try evaluate(value, frame) }
    if let otherwise { return try evaluate(otherwise, frame) }
    let hint =
      "the inline if-expression on line \(line) evaluated to false and no else section was defined."
    // jinja2 makes a plain undefined value here even where others are strict.
    return isStrict ? .text(.empty) : undefined(.hint(hint))
  }

  private func evaluateItem(_ object: Expression, _ key: Expression, _ line: Int, _ frame: Frame) throws
    -> Value
  {
    let container = try evaluate(object, frame)
    let index = try evaluate(key, frame)
    self.line = line
    return try item(index, of: container)
  }

  private func evaluateSlice(
    _ object: Expression, _ start: Expression?, _ stop: Expression?, _ step: Expression?, _ frame: Frame
  ) throws -> Value {
    let container = try evaluate(object, frame)
    func bound(_ expression: Expression?) throws -> Value {
      guard let expression else { return .none }
      return try evaluate(expression, frame)
    }
    return try slice(container, try bound(start), try bound(stop), try bound(step))
  }

  private func evaluateCall(
    _ callee: Expression, _ arguments: CallArguments, _ line: Int, _ frame: Frame
  ) throws -> Value {
    let function = try evaluate(callee, frame)
    let values = try evaluate(arguments, frame)
    self.line = line
    return try call(function, values)
  }

  private func evaluateFilter(
    _ expression: Expression, _ name: String, _ arguments: CallArguments, _ line: Int, _ frame: Frame
  ) throws -> Value {
    guard let filter = Filters.table[name] else {
      throw TemplateError(.syntax, "No filter named \(Text(name).quoted) found.")
    }
    let value = try evaluate(expression, frame)
    let values = try evaluate(arguments, frame)
    self.line = line
    return try filter(self, value, values)
  }

  private func evaluateTest(
    _ expression: Expression, _ name: String, _ arguments: CallArguments, _ line: Int, _ frame: Frame
  ) throws -> Value {
    guard let test = Tests.table[name] else {
      throw TemplateError(.syntax, "No test named \(Text(name).quoted) found.")
    }
    let value = try evaluate(expression, frame)
    let values = try evaluate(arguments, frame)
    self.line = line
    return .bool(try test(self, value, values))
  }

  /// The values of a call's arguments, those that `*` and `**` spread among them.
  func evaluate(_ arguments: CallArguments, _ frame: Frame) throws -> Arguments {
    var values = Arguments()
    values.positional = try evaluate(arguments.positional, frame)
    for (name, expression) in arguments.named { values.named.append((name, try evaluate(expression, frame))) }
    if let spread = arguments.spread {
      let value = try evaluate(spread, frame)
      guard value.isIterable else {
        throw TemplateError(.type, "argument after * must be an iterable, not \(value.typeName)")
      }
      values.positional += try elements(of: value)
      try spend(values.positional.count)
    }
    if let spread = arguments.namedSpread {
      let value = try evaluate(spread, frame)
      if case .undefined(let undefined) = value { throw undefined.error }
      guard case .dictionary(let dictionary) = value else {
        throw TemplateError(.type, "argument after ** must be a mapping, not \(value.typeName)")
      }
      for entry in dictionary.entries {
        guard case .text(let name) = entry.key else { throw TemplateError(.type, "keywords must be strings") }
        guard !values.named.contains(where: { $0.name == name }) else {
          throw TemplateError(.type, "got multiple values for keyword argument \(name.quoted)")
        }
        try spend(values.named.count)
        values.named.append((name, entry.value))
      }
    }
    return values
  }
}
