/// A statement of a template, as parsed.
struct Statement {
  indirect enum Kind {
    case output([OutputPart])
    case conditional(ConditionalSyntax)
    case loop(LoopSyntax)
    case macro(MacroSyntax)
    case callBlock(call: Expression, MacroSyntax)
    /// `{% generation %}`: a call block whose text is marked as the model's own.
    case generation(MacroSyntax)
    case filterBlock(filter: Expression, body: [Statement])
    case with(targets: [Target], values: [Expression], body: [Statement])
    /// A block with variables of its own.
    case scope([Statement])
    case assign(Target, Expression)
    case assignBlock(Target, filter: Expression?, body: [Statement])
    case breakLoop
    case continueLoop
  }

  let kind: Kind
  let line: Int
}

/// A part of what a template writes.
enum OutputPart: Sendable {
  case text(Text)
  case expression(Expression)
}

/// What is assigned to.
indirect enum Target {
  case name(String)
  case tuple([Target])
  /// An attribute of a namespace.
  case attribute(namespace: String, name: Text)

  /// The names of variables, in order.
  var names: [String] {
    switch self {
    case .name(let name): [name]
    case .tuple(let items): items.flatMap(\.names)
    case .attribute: []
    }
  }

  /// The names of namespaces, in order.
  var namespaces: [String] {
    switch self {
    case .name: []
    case .tuple(let items): items.flatMap(\.namespaces)
    case .attribute(let namespace, _): [namespace]
    }
  }
}

struct ConditionalSyntax {
  let test: Expression
  let body: [Statement]
  /// `elif` branches, which have neither their own `elif` nor `else`.
  var alternatives: [ConditionalSyntax] = []
  var otherwise: [Statement] = []
}

struct LoopSyntax {
  let target: Target
  let iterable: Expression
  let test: Expression?
  let isRecursive: Bool
  let body: [Statement]
  let otherwise: [Statement]
}

struct MacroSyntax {
  /// `nil` for the body of a call block.
  let name: String?
  let parameters: [String]
  /// Of the last parameters.
  let defaults: [Expression]
  let body: [Statement]
}
