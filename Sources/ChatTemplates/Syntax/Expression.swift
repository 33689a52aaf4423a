/// An expression of a template.
///
/// The parser leaves variables as names; the compiler puts each into its slot.
final class Expression: Sendable {
  indirect enum Kind: Sendable {
    case constant(Constant)
    case name(String)
    case variable(Slot, name: String)
    case tuple([Expression])
    case list([Expression])
    case dictionary([(key: Expression, value: Expression)])
    case not(Expression)
    case negative(Expression)
    case positive(Expression)
    case binary(BinaryOperator, Expression, Expression)
    case and(Expression, Expression)
    case or(Expression, Expression)
    case concatenation([Expression])
    case comparison(Expression, [(operation: ComparisonOperator, operand: Expression)])
    case conditional(test: Expression, Expression, otherwise: Expression?)
    case attribute(Expression, Text)
    case item(Expression, Expression)
    case slice(Expression, start: Expression?, stop: Expression?, step: Expression?)
    case call(Expression, CallArguments)
    case filter(Expression, name: String, CallArguments)
    case test(Expression, name: String, CallArguments)
    /// The text of the block that a filter is applied to.
    case captured
  }

  let kind: Kind
  let line: Int
  /// Expressions within expressions, itself counted.
  let depth: Int

  init(_ kind: Kind, line: Int) {
    self.kind = kind
    self.line = line
    depth = (Expression.children(of: kind).map(\.depth).max() ?? 0) + 1
  }

  /// The expressions within, in the order in which jinja2 visits them.
  var children: [Expression] { Expression.children(of: kind) }

  private static func children(of kind: Kind) -> [Expression] {
    switch kind {
    case .constant, .name, .variable, .captured: []
    case .tuple(let items), .list(let items), .concatenation(let items): items
    case .dictionary(let pairs): pairs.flatMap { [$0.key, $0.value] }
    case .not(let operand), .negative(let operand), .positive(let operand): [operand]
    case .binary(_, let left, let right), .and(let left, let right), .or(let left, let right): [left, right]
    case .comparison(let first, let rest): [first] + rest.map(\.operand)
    case .conditional(let test, let value, let otherwise): [test, value] + (otherwise.map { [$0] } ?? [])
    case .attribute(let object, _): [object]
    case .item(let object, let key): [object, key]
    case .slice(let object, let start, let stop, let step): [object] + [start, stop, step].compactMap { $0 }
    case .call(let callee, let arguments): [callee] + arguments.expressions
    case .filter(let value, _, let arguments), .test(let value, _, let arguments):
      [value] + arguments.expressions
    }
  }

  /// The same expression with other parts within.
  func mapped(_ transform: (Expression) throws -> Expression) rethrows -> Expression {
    let mapped: Kind
    switch kind {
    case .constant, .name, .variable, .captured: return self
    case .tuple(let items): mapped = .tuple(try items.map(transform))
    case .list(let items): mapped = .list(try items.map(transform))
    case .concatenation(let items): mapped = .concatenation(try items.map(transform))
    case .dictionary(let pairs):
      mapped = .dictionary(try pairs.map { (try transform($0.key), try transform($0.value)) })
    case .not(let operand): mapped = .not(try transform(operand))
    case .negative(let operand): mapped = .negative(try transform(operand))
    case .positive(let operand): mapped = .positive(try transform(operand))
    case .binary(let operation, let left, let right):
      mapped = .binary(operation, try transform(left), try transform(right))
    case .and(let left, let right): mapped = .and(try transform(left), try transform(right))
    case .or(let left, let right): mapped = .or(try transform(left), try transform(right))
    case .comparison(let first, let rest):
      mapped = .comparison(try transform(first), try rest.map { ($0.operation, try transform($0.operand)) })
    case .conditional(let test, let value, let otherwise):
      mapped = .conditional(
        test: try transform(test), try transform(value), otherwise: try otherwise.map(transform))
    case .attribute(let object, let name): mapped = .attribute(try transform(object), name)
    case .item(let object, let key): mapped = .item(try transform(object), try transform(key))
    case .slice(let object, let start, let stop, let step):
      mapped = .slice(
        try transform(object), start: try start.map(transform), stop: try stop.map(transform),
        step: try step.map(transform))
    case .call(let callee, let arguments):
      mapped = .call(try transform(callee), try arguments.mapped(transform))
    case .filter(let value, let name, let arguments):
      mapped = .filter(try transform(value), name: name, try arguments.mapped(transform))
    case .test(let value, let name, let arguments):
      mapped = .test(try transform(value), name: name, try arguments.mapped(transform))
    }
    return Expression(mapped, line: line)
  }
}

/// What stands between the parentheses of a call.
struct CallArguments: Sendable {
  var positional: [Expression] = []
  var named: [(name: Text, value: Expression)] = []
  /// What `*` spreads.
  var spread: Expression?
  /// What `**` spreads.
  var namedSpread: Expression?

  var expressions: [Expression] {
    positional + named.map(\.value) + [spread, namedSpread].compactMap { $0 }
  }

  func mapped(_ transform: (Expression) throws -> Expression) rethrows -> CallArguments {
    CallArguments(
      positional: try positional.map(transform), named: try named.map { ($0.name, try transform($0.value)) },
      spread: try spread.map(transform), namedSpread: try namedSpread.map(transform))
  }
}

/// Where a variable lives while a template runs: a place of the function it belongs to.
struct Slot: Sendable, Equatable {
  /// Functions outwards from the one that looks.
  let hops: Int
  let index: Int
}
