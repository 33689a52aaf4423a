extension Parser {
  /// Runs a step of the parser that may contain itself.
  private mutating func nested<Result>(_ body: (inout Parser) throws -> Result) throws -> Result {
    recursion += 1
    defer { recursion -= 1 }
    guard recursion <= Self.maximumDepth else {
      throw TemplateError(
        .limit, "an expression is nested more than \(Self.maximumDepth) deep", line: current.line)
    }
    return try body(&self)
  }

  /// An expression, by default with its inline `if`.
  mutating func parseExpression(withConditional: Bool = true) throws -> Expression {
    try nested { try withConditional ? $0.parseConditional() : $0.parseOr() }
  }

  /// One expression, or a tuple of several between commas.
  ///
  /// - Parameters:
  ///   - withConditional: whether a bare `if` belongs to the expression.
  ///   - endsAtRecursive: whether the word `recursive` may follow.
  ///   - isParenthesised: whether nothing at all is the empty tuple.
  mutating func parseTuple(
    withConditional: Bool = true, endsAtRecursive: Bool = false, isParenthesised: Bool = false
  ) throws -> Expression {
    var line = current.line
    var items: [Expression] = []
    var isTuple = false
    while true {
      if !items.isEmpty { try expect(.symbol(.comma)) }
      let isEnd: Bool
      switch current.kind {
      case .variableEnd, .blockEnd, .symbol(.rightParenthesis): isEnd = true
      default: isEnd = endsAtRecursive && isName("recursive")
      }
      if isEnd { break }
      items.append(try parseExpression(withConditional: withConditional))
      guard isSymbol(.comma) else { break }
      isTuple = true
      line = current.line
    }
    if !isTuple {
      if let first = items.first { return first }
      guard isParenthesised else {
        throw error("Expected an expression, got \(Text(current.description).quoted)")
      }
    }
    return try expression(.tuple(items), line: line)
  }

  private mutating func parseConditional() throws -> Expression {
    var line = current.line
    var value = try parseOr()
    while skip(name: "if") {
      let test = try parseOr()
      let otherwise = skip(name: "else") ? try nested { try $0.parseConditional() } : nil
      value = try expression(.conditional(test: test, value, otherwise: otherwise), line: line)
      line = current.line
    }
    return value
  }

  private mutating func parseOr() throws -> Expression {
    var line = current.line
    var left = try parseAnd()
    while skip(name: "or") {
      left = try expression(.or(left, try parseAnd()), line: line)
      line = current.line
    }
    return left
  }

  private mutating func parseAnd() throws -> Expression {
    var line = current.line
    var left = try parseNot()
    while skip(name: "and") {
      left = try expression(.and(left, try parseNot()), line: line)
      line = current.line
    }
    return left
  }

  private mutating func parseNot() throws -> Expression {
    guard isName("not") else { return try parseComparison() }
    let line = take().line
    return try nested { try $0.expression(.not(try $0.parseNot()), line: line) }
  }

  private mutating func parseComparison() throws -> Expression {
    let line = current.line
    let first = try parseSum()
    var rest: [(operation: ComparisonOperator, operand: Expression)] = []
    while let operation = takeComparison() { rest.append((operation, try parseSum())) }
    return rest.isEmpty ? first : try expression(.comparison(first, rest), line: line)
  }

  private mutating func takeComparison() -> ComparisonOperator? {
    let operation: ComparisonOperator?
    switch current.kind {
    case .symbol(.equal): operation = .equal
    case .symbol(.notEqual): operation = .notEqual
    case .symbol(.less): operation = .less
    case .symbol(.lessOrEqual): operation = .lessOrEqual
    case .symbol(.greater): operation = .greater
    case .symbol(.greaterOrEqual): operation = .greaterOrEqual
    case .name("in"): operation = .in
    case .name("not") where following.kind == .name("in"):
      take()
      operation = .notIn
    default: operation = nil
    }
    if operation != nil { take() }
    return operation
  }

  private mutating func parseSum() throws -> Expression {
    var line = current.line
    var left = try parseConcatenation()
    while true {
      let operation: BinaryOperator
      switch current.kind {
      case .symbol(.add): operation = .add
      case .symbol(.subtract): operation = .subtract
      default: return left
      }
      take()
      left = try expression(.binary(operation, left, try parseConcatenation()), line: line)
      line = current.line
    }
  }

  private mutating func parseConcatenation() throws -> Expression {
    let line = current.line
    var items = [try parseProduct()]
    while skip(.tilde) { items.append(try parseProduct()) }
    return items.count == 1 ? items[0] : try expression(.concatenation(items), line: line)
  }

  private mutating func parseProduct() throws -> Expression {
    var line = current.line
    var left = try parsePower()
    while true {
      let operation: BinaryOperator
      switch current.kind {
      case .symbol(.multiply): operation = .multiply
      case .symbol(.divide): operation = .divide
      case .symbol(.floorDivide): operation = .floorDivide
      case .symbol(.modulo): operation = .modulo
      default: return left
      }
      take()
      left = try expression(.binary(operation, left, try parsePower()), line: line)
      line = current.line
    }
  }

  private mutating func parsePower() throws -> Expression {
    var line = current.line
    var left = try parseUnary()
    while skip(.power) {
      left = try expression(.binary(.power, left, try parseUnary()), line: line)
      line = current.line
    }
    return left
  }

  private mutating func parseUnary(withFilters: Bool = true) throws -> Expression {
    let line = current.line
    var node: Expression
    switch current.kind {
    case .symbol(.subtract):
      take()
      node = try nested { try $0.expression(.negative(try $0.parseUnary(withFilters: false)), line: line) }
    case .symbol(.add):
      take()
      node = try nested { try $0.expression(.positive(try $0.parseUnary(withFilters: false)), line: line) }
    default: node = try parsePrimary()
    }
    node = try parsePostfix(of: node)
    return withFilters ? try parseFilterExpression(of: node) : node
  }

  /// A literal, a name or something in brackets.
  mutating func parsePrimary() throws -> Expression {
    let token = current
    switch token.kind {
    case .name(let name):
      take()
      switch name {
      case "true", "True": return try expression(.constant(.boolean(true)), line: token.line)
      case "false", "False": return try expression(.constant(.boolean(false)), line: token.line)
      case "none", "None": return try expression(.constant(.none), line: token.line)
      default: return try expression(.name(name), line: token.line)
      }
    case .string(let text):
      take()
      var bytes = text.bytes
      while case .string(let next) = current.kind {
        bytes += next.bytes
        take()
      }
      return try expression(.constant(.text(Text(bytes: bytes))), line: token.line)
    case .integer(let value):
      take()
      return try expression(.constant(.integer(value)), line: token.line)
    case .float(let value):
      take()
      return try expression(.constant(.float(value)), line: token.line)
    case .symbol(.leftParenthesis):
      take()
      let inside = try nested { try $0.parseTuple(isParenthesised: true) }
      try expect(.symbol(.rightParenthesis))
      return inside
    case .symbol(.leftBracket): return try nested { try $0.parseList() }
    case .symbol(.leftBrace): return try nested { try $0.parseDictionary() }
    default: throw error("unexpected \(Text(token.description).quoted)", line: token.line)
    }
  }

  private mutating func parseList() throws -> Expression {
    let line = take().line
    var items: [Expression] = []
    while !isSymbol(.rightBracket) {
      if !items.isEmpty { try expect(.symbol(.comma)) }
      if isSymbol(.rightBracket) { break }
      items.append(try parseExpression())
    }
    try expect(.symbol(.rightBracket))
    return try expression(.list(items), line: line)
  }

  private mutating func parseDictionary() throws -> Expression {
    let line = take().line
    var pairs: [(key: Expression, value: Expression)] = []
    while !isSymbol(.rightBrace) {
      if !pairs.isEmpty { try expect(.symbol(.comma)) }
      if isSymbol(.rightBrace) { break }
      let key = try parseExpression()
      try expect(.symbol(.colon))
      pairs.append((key, try parseExpression()))
    }
    try expect(.symbol(.rightBrace))
    return try expression(.dictionary(pairs), line: line)
  }

  private mutating func parsePostfix(of start: Expression) throws -> Expression {
    var node = start
    while true {
      switch current.kind {
      case .symbol(.dot), .symbol(.leftBracket): node = try parseSubscript(of: node)
      case .symbol(.leftParenthesis): node = try parseCall(of: node)
      default: return node
      }
    }
  }

  private mutating func parseFilterExpression(of start: Expression) throws -> Expression {
    var node = start
    while true {
      switch current.kind {
      case .symbol(.pipe): node = try parseFilters(of: node, isBlock: false)
      case .name("is"): node = try parseTest(of: node)
      case .symbol(.leftParenthesis): node = try parseCall(of: node)
      default: return node
      }
    }
  }

  private mutating func parseCall(of callee: Expression) throws -> Expression {
    let line = current.line
    return try expression(.call(callee, try parseArguments()), line: line)
  }

  private mutating func parseSubscript(of object: Expression) throws -> Expression {
    let line = current.line
    if skip(.dot) {
      let token = take()
      switch token.kind {
      case .name(let name): return try expression(.attribute(object, Text(name)), line: line)
      case .integer(let index):
        return try expression(
          .item(object, try expression(.constant(.integer(index)), line: token.line)), line: line)
      default: throw error("expected name or number", line: token.line)
      }
    }
    take()
    var keys: [Expression] = []
    var slices: [Expression] = []
    while !isSymbol(.rightBracket) {
      if !keys.isEmpty || !slices.isEmpty { try expect(.symbol(.comma)) }
      let (key, isSlice) = try parseSubscribed(of: object, line)
      if isSlice { slices.append(key) } else { keys.append(key) }
    }
    try expect(.symbol(.rightBracket))
    if let slice = slices.first {
      guard slices.count == 1, keys.isEmpty else { throw error("invalid syntax", line: line) }
      return slice
    }
    return try expression(
      .item(object, keys.count == 1 ? keys[0] : try expression(.tuple(keys), line: line)), line: line)
  }

  /// What stands between the brackets of a subscript: a key, or the whole slice of the object.
  private mutating func parseSubscribed(
    of object: Expression, _ line: Int
  ) throws -> (Expression, isSlice: Bool) {
    var start: Expression?
    if !isSymbol(.colon) {
      let key = try parseExpression()
      guard isSymbol(.colon) else { return (key, false) }
      start = key
    }
    take()
    func isPartEnd() -> Bool { isSymbol(.rightBracket) || isSymbol(.comma) }
    let stop = isSymbol(.colon) || isPartEnd() ? nil : try parseExpression()
    let step = skip(.colon) && !isPartEnd() ? try parseExpression() : nil
    return (try expression(.slice(object, start: start, stop: stop, step: step), line: line), true)
  }

  private mutating func parseArguments() throws -> CallArguments {
    let line = current.line
    try expect(.symbol(.leftParenthesis))
    var arguments = CallArguments()
    var needsComma = false
    func ensure(_ isValid: Bool) throws {
      if !isValid { throw error("invalid syntax for function call expression", line: line) }
    }
    while !isSymbol(.rightParenthesis) {
      if needsComma {
        try expect(.symbol(.comma))
        if isSymbol(.rightParenthesis) { break }
      }
      if isSymbol(.multiply) {
        try ensure(arguments.spread == nil && arguments.namedSpread == nil)
        take()
        arguments.spread = try parseExpression()
      } else if isSymbol(.power) {
        try ensure(arguments.namedSpread == nil)
        take()
        arguments.namedSpread = try parseExpression()
      } else if case .name(let name) = current.kind, following.kind == .symbol(.assign) {
        try ensure(arguments.namedSpread == nil)
        take()
        take()
        let key = Text(name)
        guard !arguments.named.contains(where: { $0.name == key }) else {
          throw error("keyword argument repeated: \(name)")
        }
        arguments.named.append((key, try parseExpression()))
      } else {
        try ensure(arguments.spread == nil && arguments.namedSpread == nil && arguments.named.isEmpty)
        arguments.positional.append(try parseExpression())
      }
      needsComma = true
    }
    try expect(.symbol(.rightParenthesis))
    return arguments
  }

  private mutating func parseDottedName() throws -> String {
    var name = try expectName()
    while skip(.dot) { name += "." + (try expectName()) }
    return name
  }

  /// `|filter|filter…` after a value; in a filter block the first stands without its bar.
  mutating func parseFilters(of value: Expression, isBlock: Bool) throws -> Expression {
    var node = value
    var isFirst = isBlock
    while isFirst || isSymbol(.pipe) {
      if !isFirst { take() }
      isFirst = false
      let line = current.line
      let name = try parseDottedName()
      let arguments = isSymbol(.leftParenthesis) ? try parseArguments() : CallArguments()
      node = try expression(.filter(node, name: name, arguments), line: line)
    }
    return node
  }

  private mutating func parseTest(of value: Expression) throws -> Expression {
    let line = take().line
    let isNegated = skip(name: "not")
    let name = try parseDottedName()
    var arguments = CallArguments()
    switch current.kind {
    case .symbol(.leftParenthesis): arguments = try parseArguments()
    case .name("else"), .name("or"), .name("and"): break
    case .name("is"): throw error("You cannot chain multiple tests with is")
    case .name, .string, .integer, .float, .symbol(.leftBracket), .symbol(.leftBrace):
      let primary = try parsePrimary()
      arguments.positional = [try parsePostfix(of: primary)]
    default: break
    }
    let test = try expression(.test(value, name: name, arguments), line: line)
    return isNegated ? try expression(.not(test), line: line) : test
  }
}
