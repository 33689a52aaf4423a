/// Puts every variable of a template in its place.
///
/// - SeeAlso: jinja2 3.1 `compiler.py`; what it writes as Python functions and their local variables are functions
///   and slots here.
final class Compiler {
  /// A function while its variables are still being counted.
  private final class FunctionBuilder {
    let parent: FunctionBuilder?
    /// Scopes from this level on belong to the function.
    let baseLevel: Int
    private var slots: [Identifier: Int] = [:]

    init(parent: FunctionBuilder?, baseLevel: Int) {
      self.parent = parent
      self.baseLevel = baseLevel
    }

    func slot(_ identifier: Identifier) -> Slot {
      guard identifier.level < baseLevel, let parent else {
        let index = slots[identifier] ?? slots.count
        slots[identifier] = index
        return Slot(hops: 0, index: index)
      }
      let outer = parent.slot(identifier)
      return Slot(hops: outer.hops + 1, index: outer.index)
    }

    var code: FunctionCode { FunctionCode(slotCount: slots.count) }
  }

  /// A scope while its statements are compiled.
  private struct Frame {
    let symbols: Symbols
    let function: FunctionBuilder
    /// The root, or an `if` of it.
    var isTopLevel = false
    /// Within an `if` or an inline one, where a filter that does not exist is an error only when it is reached.
    var isSoft = false
    /// Whether a `break` has a loop to leave within the function.
    var isInLoop = false

    func inner() -> Frame {
      Frame(symbols: Symbols(parent: symbols), function: function, isInLoop: isInLoop)
    }

    func soft() -> Frame {
      var copy = self
      copy.isSoft = true
      return copy
    }
  }

  private var inputs: Set<String> = []

  /// Compiles a parsed template.
  ///
  /// - Throws: `TemplateError.syntax` for a filter or test that does not exist, a `break` outside a loop, and the
  ///   like.
  static func compile(_ statements: [Statement]) throws -> Program {
    let compiler = Compiler()
    let symbols = Symbols(parent: nil)
    symbols.visit(statements)
    let function = FunctionBuilder(parent: nil, baseLevel: 0)
    let frame = Frame(symbols: symbols, function: function, isTopLevel: true)
    let instructions = try compiler.compile(statements, frame)
    let scope = compiler.scope(of: frame, isFunction: true)
    return Program(
      root: function.code, body: ScopedBody(scope: scope, instructions: instructions), inputs: compiler.inputs
    )
  }

  /// What a frame does when it is entered and left.
  private func scope(of frame: Frame, isFunction: Bool) -> Scope {
    var scope = Scope()
    // Sorted, so that compiling a template twice gives one program.
    for (identifier, load) in frame.symbols.loads.sorted(by: { $0.key.name < $1.key.name }) {
      let slot = frame.function.slot(identifier)
      switch load {
      case .parameter: break
      case .resolve(let name):
        inputs.insert(name)
        scope.loads.append(.resolve(into: slot, name))
      case .alias(let outer): scope.loads.append(.alias(into: slot, from: frame.function.slot(outer)))
      case .undefined: scope.loads.append(.undefined(slot))
      }
      if !isFunction { scope.cleared.append(slot) }
    }
    return scope
  }

  private func scopedBody(_ statements: [Statement], _ frame: Frame, isFunction: Bool = false) throws
    -> ScopedBody
  {
    let instructions = try compile(statements, frame)
    return ScopedBody(scope: scope(of: frame, isFunction: isFunction), instructions: instructions)
  }

  private func slot(_ name: String, _ frame: Frame, _ line: Int) throws -> Slot {
    guard let identifier = frame.symbols.reference(name) else {
      throw TemplateError(.syntax, "the name \(Text(name).quoted) is unknown here", line: line)
    }
    return frame.function.slot(identifier)
  }

  // MARK: Statements

  private func compile(_ statements: [Statement], _ frame: Frame) throws -> [Instruction] {
    try statements.map { try compile($0, frame) }
  }

  private func compile(_ statement: Statement, _ frame: Frame) throws -> Instruction {
    switch statement.kind {
    case .output(let parts):
      return .output(
        try parts.map { part in
          guard case .expression(let expression) = part else { return part }
          return .expression(try compile(expression, frame))
        })
    case .conditional(let conditional): return try compile(conditional, frame)
    case .loop(let loop): return .loop(try compile(loop, frame, statement.line))
    case .macro(let macro):
      let definition = try compile(macro, frame, statement.line)
      let name = macro.name ?? ""
      return .macro(
        definition, try slot(name, frame, statement.line), export: frame.isTopLevel ? name : nil)
    case .callBlock(let call, let macro):
      let definition = try compile(macro, frame, statement.line)
      guard case .call(let callee, let arguments) = try compile(call, frame).kind else {
        throw TemplateError(.syntax, "expected call", line: statement.line)
      }
      return .callBlock(callee: callee, arguments, definition, line: call.line)
    case .generation(let macro): return .generation(try compile(macro, frame, statement.line))
    case .filterBlock(let filter, let body):
      let inner = frame.inner()
      inner.symbols.visit(body)
      inner.symbols.visit(filter)
      let instructions = try compile(body, inner)
      let compiled = try compile(filter, inner)
      return .filterBlock(
        filter: compiled,
        ScopedBody(scope: scope(of: inner, isFunction: false), instructions: instructions))
    case .with(let targets, let values, let body):
      let inner = frame.inner()
      for target in targets { inner.symbols.declareParameters(of: target) }
      inner.symbols.visit(body)
      let assigned = try zip(targets, values).map {
        (try self.target($0, inner, statement.line), try compile($1, frame))
      }
      return .with(targets: assigned, try scopedBody(body, inner))
    case .scope(let body):
      let inner = frame.inner()
      inner.symbols.visit(body)
      return .scope(try scopedBody(body, inner))
    case .assign(let target, let value):
      return .assign(try assignment(target, frame, statement.line), try compile(value, frame))
    case .assignBlock(let target, let filter, let body):
      let inner = frame.inner()
      inner.symbols.visit(body)
      if let filter { inner.symbols.visit(filter) }
      let instructions = try compile(body, inner)
      let compiled = try filter.map { try compile($0, inner) }
      return .assignBlock(
        try assignment(target, frame, statement.line), filter: compiled,
        ScopedBody(scope: scope(of: inner, isFunction: false), instructions: instructions))
    case .breakLoop, .continueLoop:
      guard frame.isInLoop else {
        if case .breakLoop = statement.kind {
          throw TemplateError(.syntax, "'break' outside loop", line: statement.line)
        }
        throw TemplateError(.syntax, "'continue' not properly in loop", line: statement.line)
      }
      if case .breakLoop = statement.kind { return .breakLoop }
      return .continueLoop
    }
  }

  private func compile(_ conditional: ConditionalSyntax, _ frame: Frame) throws -> Instruction {
    let soft = frame.soft()
    var branches: [(test: Expression, body: [Instruction])] = []
    for branch in [conditional] + conditional.alternatives {
      branches.append((try compile(branch.test, soft), try compile(branch.body, soft)))
    }
    return .conditional(branches: branches, otherwise: try compile(conditional.otherwise, soft))
  }

  private func target(_ target: Target, _ frame: Frame, _ line: Int) throws -> AssignmentTarget {
    switch target {
    case .name(let name): .slot(try slot(name, frame, line))
    case .tuple(let items): .tuple(try items.map { try self.target($0, frame, line) })
    case .attribute(let namespace, let name): .attribute(try slot(namespace, frame, line), name: name)
    }
  }

  private func assignment(_ target: Target, _ frame: Frame, _ line: Int) throws -> Assignment {
    Assignment(
      target: try self.target(target, frame, line),
      namespaces: try target.namespaces.map { (try slot($0, frame, line), $0) },
      exports: frame.isTopLevel ? try target.names.map { ($0, try slot($0, frame, line)) } : [], line: line)
  }

  private func compile(_ loop: LoopSyntax, _ frame: Frame, _ line: Int) throws -> LoopCode {
    guard !Compiler.assignsLoop(loop) else {
      throw TemplateError(.syntax, "Can't assign to special loop variable in for-loop target", line: line)
    }
    let usesLoop = loop.isRecursive || !UndeclaredNames.find(["loop"], in: loop.body).isEmpty
    let symbols = Symbols(parent: frame.symbols)
    if usesLoop { symbols.declareParameter("loop") }
    symbols.declareParameters(of: loop.target)
    symbols.visit(loop.body)

    let function =
      loop.isRecursive ? FunctionBuilder(parent: frame.function, baseLevel: symbols.level) : frame.function
    let bodyFrame = Frame(symbols: symbols, function: function, isInLoop: true)
    let test = try loop.test.map { try compile(test: $0, of: loop, frame, line) }
    let iterable = try compile(loop.iterable, frame)
    let target = try self.target(loop.target, bodyFrame, line)
    let loopSlot = usesLoop ? try slot("loop", bodyFrame, line) : nil
    let body = try scopedBody(
      loop.body, bodyFrame, isFunction: loop.isRecursive && loop.otherwise.isEmpty)
    var otherwise: ScopedBody?
    if !loop.otherwise.isEmpty {
      let elseSymbols = Symbols(parent: frame.symbols)
      elseSymbols.visit(loop.otherwise)
      // A `break` here leaves the loop around this one, unless this one is a function.
      let elseFrame = Frame(
        symbols: elseSymbols, function: function, isInLoop: frame.isInLoop && !loop.isRecursive)
      otherwise = try scopedBody(loop.otherwise, elseFrame)
    }
    return LoopCode(
      target: target, iterable: iterable, test: test, loopSlot: loopSlot, body: body, otherwise: otherwise,
      function: loop.isRecursive ? function.code : nil, line: line)
  }

  private func compile(test: Expression, of loop: LoopSyntax, _ frame: Frame, _ line: Int) throws -> LoopTest
  {
    let symbols = Symbols(parent: frame.symbols)
    symbols.declareParameters(of: loop.target)
    symbols.visit(test)
    let function = FunctionBuilder(parent: frame.function, baseLevel: symbols.level)
    let testFrame = Frame(symbols: symbols, function: function)
    let condition = try compile(test, testFrame)
    let target = try self.target(loop.target, testFrame, line)
    let scope = scope(of: testFrame, isFunction: true)
    return LoopTest(function: function.code, scope: scope, target: target, condition: condition)
  }

  /// Whether a loop, or what is in it, takes `loop` for a variable of its own.
  private static func assignsLoop(_ loop: LoopSyntax) -> Bool {
    loop.target.names.contains("loop") || assignsLoop(loop.body) || assignsLoop(loop.otherwise)
  }

  private static func assignsLoop(_ statements: [Statement]) -> Bool {
    statements.contains { statement in
      switch statement.kind {
      case .conditional(let conditional):
        ([conditional] + conditional.alternatives).contains { assignsLoop($0.body) }
          || assignsLoop(conditional.otherwise)
      case .loop(let loop): assignsLoop(loop)
      case .macro(let macro), .callBlock(_, let macro), .generation(let macro): assignsLoop(macro.body)
      case .filterBlock(_, let body), .with(_, _, let body), .scope(let body): assignsLoop(body)
      case .assign(let target, _): target.names.contains("loop")
      case .assignBlock(let target, _, let body): target.names.contains("loop") || assignsLoop(body)
      case .output, .breakLoop, .continueLoop: false
      }
    }
  }

  private func compile(_ macro: MacroSyntax, _ frame: Frame, _ line: Int) throws -> MacroDefinition {
    let symbols = Symbols(parent: frame.symbols)
    for parameter in macro.parameters { symbols.declareParameter(parameter) }
    symbols.visit(macro.defaults)
    symbols.visit(macro.body)
    let asked = UndeclaredNames.find(["caller", "kwargs", "varargs"], in: macro.body)
    if asked.contains("caller"), let place = macro.parameters.firstIndex(of: "caller") {
      guard place >= macro.parameters.count - macro.defaults.count else {
        throw TemplateError(
          .syntax,
          "When defining macros or call blocks the special \"caller\" argument must be omitted or be given a default.",
          line: line)
      }
    }
    let implicit = asked.subtracting(macro.parameters)
    for name in implicit { symbols.declareParameter(name) }

    let function = FunctionBuilder(parent: frame.function, baseLevel: symbols.level)
    let inner = Frame(symbols: symbols, function: function)
    let firstDefault = macro.parameters.count - macro.defaults.count
    let parameters = try macro.parameters.enumerated().map { index, name in
      MacroDefinition.Parameter(
        name: name, slot: try slot(name, inner, line),
        defaultValue: index < firstDefault ? nil : try compile(macro.defaults[index - firstDefault], inner))
    }
    func implicitSlot(_ name: String) throws -> Slot? {
      implicit.contains(name) ? try slot(name, inner, line) : nil
    }
    let callerSlot = try implicitSlot("caller")
    let namedSlot = try implicitSlot("kwargs")
    let extraSlot = try implicitSlot("varargs")
    let body = try scopedBody(macro.body, inner, isFunction: true)
    return MacroDefinition(
      name: macro.name, function: function.code, parameters: parameters, callerSlot: callerSlot,
      namedArgumentsSlot: namedSlot, extraArgumentsSlot: extraSlot, body: body)
  }

  // MARK: Expressions

  private func compile(_ expression: Expression, _ frame: Frame) throws -> Expression {
    switch expression.kind {
    case .name(let name):
      return Expression(.variable(try slot(name, frame, expression.line), name: name), line: expression.line)
    case .conditional:
      let soft = frame.soft()
      return try expression.mapped { try compile($0, soft) }
    case .filter(_, let name, _) where !frame.isSoft && Filters.table[name] == nil:
      throw TemplateError(.syntax, "No filter named \(Text(name).quoted).", line: expression.line)
    case .test(_, let name, _) where !frame.isSoft && Tests.table[name] == nil:
      throw TemplateError(.syntax, "No test named \(Text(name).quoted).", line: expression.line)
    default: return try expression.mapped { try compile($0, frame) }
    }
  }
}
