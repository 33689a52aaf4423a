/// Reads tokens as statements.
///
/// - SeeAlso: jinja2 3.1 `parser.py`, whose grammar and messages these are.
struct Parser {
  /// Blocks within blocks; Python itself stops at 100 levels of indentation.
  private static let maximumNesting = 100
  /// Expressions within expressions.
  static let maximumDepth = 400

  private let tokens: [Token]
  /// What stands in place of the end, where the source could not be cut into tokens.
  private let lexerFault: TemplateError?
  private var index = 0
  private var tagStack: [String] = []
  private var endTagStack: [[String]] = []
  /// Recursion of the parser itself.
  var recursion = 0

  /// Parses a whole template.
  ///
  /// - Throws: `TemplateError.syntax` or `.unsupported`, with the line.
  static func parse(_ source: String) throws -> [Statement] {
    var parser = Parser(Lexer.tokenize(source))
    let statements = try parser.parseBody(until: nil)
    if let fault = parser.lexerFault { throw fault }
    return statements
  }

  private init(_ source: (tokens: [Token], fault: TemplateError?)) {
    tokens = source.tokens
    lexerFault = source.fault
  }

  // MARK: Tokens

  var current: Token { tokens[index] }
  var following: Token { tokens[min(index + 1, tokens.count - 1)] }

  /// Takes the current token.
  @discardableResult
  mutating func take() -> Token {
    let token = tokens[index]
    // The last token is the end, which is never passed.
    if index + 1 < tokens.count { index += 1 }
    return token
  }

  func isName(_ name: String) -> Bool { current.kind == .name(name) }

  func isSymbol(_ symbol: Token.Symbol) -> Bool { current.kind == .symbol(symbol) }

  mutating func skip(name: String) -> Bool {
    guard isName(name) else { return false }
    take()
    return true
  }

  mutating func skip(_ symbol: Token.Symbol) -> Bool {
    guard isSymbol(symbol) else { return false }
    take()
    return true
  }

  mutating func expect(_ kind: Token.Kind) throws {
    guard current.kind == kind else {
      throw unexpected(wanted: Token(kind: kind, line: 0).description)
    }
    take()
  }

  mutating func expectName() throws -> String {
    guard case .name(let name) = current.kind else { throw unexpected(wanted: "name") }
    take()
    return name
  }

  private func unexpected(wanted: String) -> TemplateError {
    if current.kind == .end { return error("unexpected end of template, expected '\(wanted)'.") }
    return error("expected token '\(wanted)', got \(Text(current.description).quoted)")
  }

  func error(_ message: String, line: Int? = nil) -> TemplateError {
    if current.kind == .end, let lexerFault { return lexerFault }
    return TemplateError(.syntax, message, line: line ?? current.line)
  }

  /// An expression whose depth is checked, so that walking it later needs no care.
  func expression(_ kind: Expression.Kind, line: Int) throws -> Expression {
    let expression = Expression(kind, line: line)
    guard expression.depth <= Self.maximumDepth else {
      throw TemplateError(.limit, "an expression is nested more than \(Self.maximumDepth) deep", line: line)
    }
    return expression
  }

  // MARK: Blocks

  private mutating func parseBody(until endTags: [String]?) throws -> [Statement] {
    if let endTags { endTagStack.append(endTags) }
    defer { if endTags != nil { endTagStack.removeLast() } }
    guard tagStack.count <= Self.maximumNesting else {
      throw TemplateError(
        .limit, "blocks are nested more than \(Self.maximumNesting) deep", line: current.line)
    }
    var body: [Statement] = []
    var parts: [OutputPart] = []
    var line = 0
    func flush() {
      if !parts.isEmpty { body.append(Statement(kind: .output(parts), line: line)) }
      parts = []
    }
    while true {
      if parts.isEmpty { line = current.line }
      switch current.kind {
      case .data(let text):
        take()
        parts.append(.text(text))
      case .variableBegin:
        take()
        parts.append(.expression(try parseTuple()))
        try expect(.variableEnd)
      case .blockBegin:
        flush()
        take()
        if let endTags, case .name(let name) = current.kind, endTags.contains(name) { return body }
        body.append(try parseStatement())
        try expect(.blockEnd)
      default:
        flush()
        return body
      }
    }
  }

  /// The body of a tag up to one of its end tags, which is left current.
  private mutating func parseBlock(_ endTags: [String]) throws -> [Statement] {
    _ = skip(.colon)
    try expect(.blockEnd)
    let body = try parseBody(until: endTags)
    if current.kind == .end { throw unknownTag(nil, endTagStack + [endTags]) }
    return body
  }

  private mutating func parseBlock(_ endTag: String) throws -> [Statement] {
    let body = try parseBlock([endTag])
    take()
    return body
  }

  private func unknownTag(_ name: String?, _ endTags: [[String]], line: Int? = nil) -> TemplateError {
    var message = name.map { "Encountered unknown tag \(Text($0).quoted)." } ?? "Unexpected end of template."
    if let innermost = endTags.last {
      let wanted = innermost.map { Text($0).quoted }.joined(separator: " or ")
      if let name, endTags.contains(where: { $0.contains(name) }) {
        message +=
          " You probably made a nesting mistake. Jinja is expecting this tag, but currently looking for \(wanted)."
      } else {
        message += " Jinja was looking for the following tags: \(wanted)."
      }
    }
    if let tag = tagStack.last {
      message += " The innermost block that needs to be closed is \(Text(tag).quoted)."
    }
    return error(message, line: line)
  }

  // MARK: Statements

  private mutating func parseStatement() throws -> Statement {
    guard case .name(let tag) = current.kind else { throw error("tag name expected") }
    let line = current.line
    tagStack.append(tag)
    defer { tagStack.removeLast() }
    switch tag {
    case "for": return try parseFor()
    case "if": return Statement(kind: .conditional(try parseIf()), line: line)
    case "set": return try parseSet()
    case "macro":
      take()
      let name = try parseTargetName()
      let (parameters, defaults) = try parseSignature()
      let body = try parseBlock("endmacro")
      return Statement(
        kind: .macro(MacroSyntax(name: name, parameters: parameters, defaults: defaults, body: body)),
        line: line)
    case "call": return try parseCallBlock()
    case "filter":
      take()
      let filter = try parseFilters(of: expression(.captured, line: line), isBlock: true)
      return Statement(kind: .filterBlock(filter: filter, body: try parseBlock("endfilter")), line: line)
    case "with": return try parseWith()
    case "print":
      take()
      var parts: [OutputPart] = []
      while current.kind != .blockEnd {
        if !parts.isEmpty { try expect(.symbol(.comma)) }
        parts.append(.expression(try parseExpression()))
      }
      return Statement(kind: .output(parts), line: line)
    case "break":
      take()
      return Statement(kind: .breakLoop, line: line)
    case "continue":
      take()
      return Statement(kind: .continueLoop, line: line)
    case "generation":
      take()
      let body = try parseBlock("endgeneration")
      return Statement(
        kind: .generation(MacroSyntax(name: nil, parameters: [], defaults: [], body: body)), line: line)
    case "autoescape":
      take()
      guard case .constant(.boolean(false)) = try parseExpression().kind else {
        throw unsupported("escaping by default (autoescape)", line)
      }
      return Statement(kind: .scope(try parseBlock("endautoescape")), line: line)
    case "block", "extends": throw unsupported("inheritance (\(tag))", line)
    case "include", "import", "from": throw unsupported("other templates (\(tag))", line)
    default:
      tagStack.removeLast()
      defer { tagStack.append(tag) }
      throw unknownTag(tag, endTagStack, line: line)
    }
  }

  private func unsupported(_ what: String, _ line: Int) -> TemplateError {
    TemplateError(.unsupported, "a chat template cannot use \(what): it stands alone", line: line)
  }

  private mutating func parseFor() throws -> Statement {
    let line = take().line
    let target = try parseTarget(endsAtIn: true)
    try expect(.name("in"))
    let iterable = try parseTuple(withConditional: false, endsAtRecursive: true)
    let test = skip(name: "if") ? try parseExpression() : nil
    let isRecursive = skip(name: "recursive")
    let body = try parseBlock(["endfor", "else"])
    let otherwise = take().kind == .name("endfor") ? [] : try parseBlock("endfor")
    let loop = LoopSyntax(
      target: target, iterable: iterable, test: test, isRecursive: isRecursive, body: body,
      otherwise: otherwise)
    return Statement(kind: .loop(loop), line: line)
  }

  private mutating func parseIf() throws -> ConditionalSyntax {
    take()
    let ends = ["elif", "else", "endif"]
    var result = ConditionalSyntax(
      test: try parseTuple(withConditional: false), body: try parseBlock(ends))
    while true {
      let token = take()
      if token.kind == .name("elif") {
        let test = try parseTuple(withConditional: false)
        result.alternatives.append(ConditionalSyntax(test: test, body: try parseBlock(ends)))
      } else {
        if token.kind == .name("else") { result.otherwise = try parseBlock("endif") }
        return result
      }
    }
  }

  private mutating func parseSet() throws -> Statement {
    let line = take().line
    let target = try parseTarget(withNamespace: true)
    if skip(.assign) { return Statement(kind: .assign(target, try parseTuple()), line: line) }
    let filter =
      isSymbol(.pipe) ? try parseFilters(of: expression(.captured, line: line), isBlock: false) : nil
    let body = try parseBlock("endset")
    return Statement(kind: .assignBlock(target, filter: filter, body: body), line: line)
  }

  private mutating func parseCallBlock() throws -> Statement {
    let line = take().line
    let (parameters, defaults) = isSymbol(.leftParenthesis) ? try parseSignature() : ([], [])
    let call = try parseExpression()
    guard case .call = call.kind else { throw error("expected call", line: line) }
    let macro = MacroSyntax(
      name: nil, parameters: parameters, defaults: defaults, body: try parseBlock("endcall"))
    return Statement(kind: .callBlock(call: call, macro), line: line)
  }

  private mutating func parseWith() throws -> Statement {
    let line = take().line
    var targets: [Target] = []
    var values: [Expression] = []
    while current.kind != .blockEnd {
      if !targets.isEmpty { try expect(.symbol(.comma)) }
      targets.append(try parseTarget())
      try expect(.symbol(.assign))
      values.append(try parseExpression())
    }
    return Statement(
      kind: .with(targets: targets, values: values, body: try parseBlock("endwith")), line: line)
  }

  private mutating func parseSignature() throws -> ([String], [Expression]) {
    var parameters: [String] = []
    var defaults: [Expression] = []
    try expect(.symbol(.leftParenthesis))
    while !isSymbol(.rightParenthesis) {
      if !parameters.isEmpty { try expect(.symbol(.comma)) }
      let name = try parseTargetName()
      guard !parameters.contains(name) else {
        throw error("duplicate argument \(Text(name).quoted) in function definition")
      }
      if skip(.assign) {
        defaults.append(try parseExpression())
      } else if !defaults.isEmpty {
        throw error("non-default argument follows default argument")
      }
      parameters.append(name)
    }
    try expect(.symbol(.rightParenthesis))
    return (parameters, defaults)
  }

  // MARK: Targets

  private static let constants = ["true", "false", "none", "True", "False", "None"]

  private mutating func parseTargetName() throws -> String {
    let line = current.line
    let name = try expectName()
    guard !Self.constants.contains(name) else { throw error("can't assign to 'name'", line: line) }
    return name
  }

  private mutating func parseTarget(endsAtIn: Bool = false, withNamespace: Bool = false) throws -> Target {
    var items: [Target] = []
    var isTuple = false
    while true {
      if !items.isEmpty { try expect(.symbol(.comma)) }
      let isEnd: Bool
      switch current.kind {
      case .variableEnd, .blockEnd, .symbol(.rightParenthesis): isEnd = true
      default: isEnd = endsAtIn && isName("in")
      }
      if isEnd { break }
      items.append(try parseTargetItem(withNamespace: withNamespace))
      guard isSymbol(.comma) else { break }
      isTuple = true
    }
    if !isTuple {
      guard let first = items.first else {
        throw error("Expected an expression, got \(Text(current.description).quoted)")
      }
      return first
    }
    return .tuple(items)
  }

  private mutating func parseTargetItem(withNamespace: Bool) throws -> Target {
    let line = current.line
    switch current.kind {
    case .name(let name):
      if withNamespace, following.kind == .symbol(.dot), !Self.constants.contains(name) {
        take()
        take()
        return .attribute(namespace: name, name: Text(try expectName()))
      }
      take()
      guard !Self.constants.contains(name) else { throw error("can't assign to 'const'", line: line) }
      return .name(name)
    case .symbol(.leftParenthesis):
      // jinja2 reads the inside of parentheses as an expression and then asks whether it can be assigned to.
      return try target(from: parsePrimary())
    default:
      let kind = try Parser.className(of: parsePrimary())
      throw error("can't assign to '\(kind)'", line: line)
    }
  }

  private func target(from expression: Expression) throws -> Target {
    switch expression.kind {
    case .name(let name): return .name(name)
    case .tuple(let items): return .tuple(try items.map { try target(from: $0) })
    default:
      throw error("can't assign to '\(Parser.className(of: expression))'", line: expression.line)
    }
  }

  /// jinja2's name for a kind of expression, in small letters.
  private static func className(of expression: Expression) -> String {
    switch expression.kind {
    case .constant: "const"
    case .name, .variable: "name"
    case .tuple: "tuple"
    case .list: "list"
    case .dictionary: "dict"
    case .not: "not"
    case .negative: "neg"
    case .positive: "pos"
    case .binary(let operation, _, _):
      switch operation {
      case .add: "add"
      case .subtract: "sub"
      case .multiply: "mul"
      case .divide: "div"
      case .floorDivide: "floordiv"
      case .modulo: "mod"
      case .power: "pow"
      }
    case .and: "and"
    case .or: "or"
    case .concatenation: "concat"
    case .comparison: "compare"
    case .conditional: "condexpr"
    case .attribute: "getattr"
    case .item, .slice: "getitem"
    case .call: "call"
    case .filter, .captured: "filter"
    case .test: "test"
    }
  }
}
