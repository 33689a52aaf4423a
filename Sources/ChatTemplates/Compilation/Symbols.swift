/// A variable of one scope; scopes of equal level in different functions are different variables.
struct Identifier: Hashable {
  let level: Int
  let name: String
}

/// What a scope knows of its variables.
///
/// jinja2 settles at compile time what each name means: a variable of this scope, one further out, or one of the
/// template's input. The rules are subtle (what an `if` branch assigns is visible after it, what a loop assigns is
/// not, a name read before it is assigned begins as the outer one), so they are taken over as they are.
///
/// - SeeAlso: jinja2 3.1 `idtracking.py`.
final class Symbols {
  /// How a variable gets its value when its scope begins.
  enum Load: Equatable {
    case parameter
    /// From the input, or from what the top level has set.
    case resolve(String)
    case alias(Identifier)
    case undefined
  }

  let level: Int
  let parent: Symbols?
  private(set) var references: [String: Identifier] = [:]
  private(set) var loads: [Identifier: Load] = [:]
  private(set) var stores: Set<String> = []

  init(parent: Symbols?) {
    self.parent = parent
    level = parent.map { $0.level + 1 } ?? 0
  }

  private func copy() -> Symbols {
    let copy = Symbols(parent: parent)
    (copy.references, copy.loads, copy.stores) = (references, loads, stores)
    return copy
  }

  private func define(_ name: String, _ load: Load) {
    let identifier = Identifier(level: level, name: name)
    references[name] = identifier
    loads[identifier] = load
  }

  /// The variable that a name means here.
  func reference(_ name: String) -> Identifier? { references[name] ?? parent?.reference(name) }

  /// How a variable got its value.
  func findLoad(_ identifier: Identifier) -> Load? { loads[identifier] ?? parent?.findLoad(identifier) }

  func store(_ name: String) {
    stores.insert(name)
    guard references[name] == nil else { return }
    define(name, parent?.reference(name).map { .alias($0) } ?? .undefined)
  }

  func declareParameter(_ name: String) {
    stores.insert(name)
    define(name, .parameter)
  }

  func load(_ name: String) {
    if reference(name) == nil { define(name, .resolve(name)) }
  }

  private func update(from branches: [Symbols]) {
    var stored: Set<String> = []
    for branch in branches { stored.formUnion(branch.stores) }
    stored.subtract(stores)
    for branch in branches {
      references.merge(branch.references) { $1 }
      loads.merge(branch.loads) { $1 }
      stores.formUnion(branch.stores)
    }
    for name in stored {
      guard let target = reference(name) else { continue }
      loads[target] = parent?.reference(name).map { .alias($0) } ?? .resolve(name)
    }
  }

  // MARK: Visiting

  /// Takes note of the names of expressions.
  func visit(_ expressions: [Expression]) {
    for expression in expressions { visit(expression) }
  }

  func visit(_ expression: Expression) {
    if case .name(let name) = expression.kind { load(name) }
    visit(expression.children)
  }

  func visit(_ target: Target) {
    switch target {
    case .name(let name): store(name)
    case .tuple(let items): items.forEach(visit)
    case .attribute(let namespace, _): load(namespace)
    }
  }

  func declareParameters(of target: Target) {
    for name in target.names { declareParameter(name) }
  }

  /// Takes note of the statements of a scope, without looking into the scopes within.
  func visit(_ statements: [Statement]) {
    for statement in statements { visit(statement) }
  }

  private func visit(_ statement: Statement) {
    switch statement.kind {
    case .output(let parts):
      for case .expression(let expression) in parts { visit(expression) }
    case .conditional(let conditional): visit(conditional)
    case .loop(let loop): visit(loop.iterable)
    case .macro(let macro): if let name = macro.name { store(name) }
    case .callBlock(let call, _): visit(call)
    case .filterBlock(let filter, _): visit(filter)
    case .with(_, let values, _): visit(values)
    case .assign(let target, let value):
      visit(value)
      visit(target)
    case .assignBlock(let target, _, _): visit(target)
    case .generation, .scope, .breakLoop, .continueLoop: break
    }
  }

  private func visit(_ conditional: ConditionalSyntax) {
    visit(conditional.test)
    let body = copy()
    body.visit(conditional.body)
    let alternatives = copy()
    for alternative in conditional.alternatives { alternatives.visit(alternative) }
    let otherwise = copy()
    otherwise.visit(conditional.otherwise)
    update(from: [body, alternatives, otherwise])
  }
}

/// Which of some names a body reads without having assigned them, its inner scopes included.
struct UndeclaredNames {
  private var names: Set<String>
  private(set) var found: Set<String> = []

  static func find(_ names: Set<String>, in statements: [Statement]) -> Set<String> {
    var search = UndeclaredNames(names: names)
    search.visit(statements)
    return search.found
  }

  private init(names: Set<String>) { self.names = names }

  private mutating func visit(_ expressions: [Expression]) {
    for expression in expressions {
      if case .name(let name) = expression.kind, names.contains(name) { found.insert(name) }
      visit(expression.children)
    }
  }

  private mutating func declare(_ declared: [String]) { names.subtract(declared) }

  private mutating func visit(_ statements: [Statement]) {
    for statement in statements {
      switch statement.kind {
      case .output(let parts):
        for case .expression(let expression) in parts { visit([expression]) }
      case .conditional(let conditional): visit(conditional)
      case .loop(let loop):
        declare(loop.target.names)
        visit([loop.iterable])
        visit(loop.body)
        visit(loop.otherwise)
        visit(loop.test.map { [$0] } ?? [])
      case .macro(let macro), .generation(let macro): visit(macro)
      case .callBlock(let call, let macro):
        visit([call])
        visit(macro)
      case .filterBlock(let filter, let body):
        visit(body)
        visit([filter])
      case .with(let targets, let values, let body):
        declare(targets.flatMap(\.names))
        visit(values)
        visit(body)
      case .scope(let body): visit(body)
      case .assign(let target, let value):
        declare(target.names)
        visit([value])
      case .assignBlock(let target, let filter, let body):
        declare(target.names)
        visit(filter.map { [$0] } ?? [])
        visit(body)
      case .breakLoop, .continueLoop: break
      }
    }
  }

  private mutating func visit(_ conditional: ConditionalSyntax) {
    visit([conditional.test])
    visit(conditional.body)
    for alternative in conditional.alternatives { visit(alternative) }
    visit(conditional.otherwise)
  }

  private mutating func visit(_ macro: MacroSyntax) {
    declare(macro.parameters)
    visit(macro.defaults)
    visit(macro.body)
  }
}
