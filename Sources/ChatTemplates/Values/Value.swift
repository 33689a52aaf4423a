/// A value of a running template, as Python's types have it.
///
/// Nothing here is `Sendable`: values live and end with one rendering, on its thread.
enum Value {
  case undefined(UndefinedValue)
  case none
  case boolean(Bool)
  case integer(Int)
  case float(Double)
  case text(Text)
  case list(SequenceValue)
  case tuple(SequenceValue)
  case dictionary(DictionaryValue)
  case range(RangeValue)
  /// `keys()`, `values()` or `items()` of a dictionary.
  case view(DictionaryView)
  /// A generator, which gives its elements once.
  case iterator(IteratorValue)
  case function(FunctionValue)
  case namespace(NamespaceValue)
  /// The `loop` of a `for`.
  case loop(LoopContext)
  case cycler(CyclerValue)
  case joiner(JoinerValue)
}

/// A literal of a template, fit to be shared between renderings.
enum Constant: Sendable, Equatable {
  case none
  case boolean(Bool)
  case integer(Int)
  case float(Double)
  case text(Text)

  var value: Value {
    switch self {
    case .none: .none
    case .boolean(let value): .boolean(value)
    case .integer(let value): .integer(value)
    case .float(let value): .float(value)
    case .text(let value): .text(value)
    }
  }
}

/// What stands where a variable, an attribute or an element is missing.
final class UndefinedValue {
  /// What was missing.
  enum Origin {
    case name(String)
    case hint(String)
    case attribute(of: String, name: Text)
    case element(of: String, key: String)
    case unsafe(of: String, name: Text)
  }

  private let origin: Origin

  init(_ origin: Origin) { self.origin = origin }

  /// What using it as a value says.
  var error: TemplateError {
    switch origin {
    case .name(let name): TemplateError(.undefined, "\(Text(name).quoted) is undefined")
    case .hint(let hint): TemplateError(.undefined, hint)
    case .attribute(let type, let name):
      TemplateError(.undefined, "\(Text(type).quoted) has no attribute \(name.quoted)")
    case .element(let type, let key): TemplateError(.undefined, "\(type) has no element \(key)")
    case .unsafe(let type, let name):
      TemplateError(.security, "access to attribute \(name.quoted) of '\(type)' object is unsafe.")
    }
  }

  /// The name of a variable that is not there.
  var variable: String? {
    if case .name(let name) = origin { name } else { nil }
  }
}

/// The elements of a list or tuple.
///
/// No template can change them: the sandbox is the immutable one.
final class SequenceValue {
  let elements: [Value]
  /// Containers below this one, itself counted; bounded, so that no value is too deep to be walked or freed.
  let depth: Int
  /// The names of a named tuple's fields.
  let fieldNames: [String]

  init(elements: [Value], depth: Int, fieldNames: [String] = []) {
    self.elements = elements
    self.depth = depth
    self.fieldNames = fieldNames
  }
}

/// `range(start, stop, step)`.
struct RangeValue: Equatable {
  let start: Int
  let stop: Int
  let step: Int
  let count: Int

  /// - Returns: `nil` when the numbers are too many to count.
  init?(start: Int, stop: Int, step: Int) {
    (self.start, self.stop, self.step) = (start, stop, step)
    guard step > 0 ? start < stop : start > stop else {
      count = 0
      return
    }
    let (span, overflow) =
      step > 0 ? stop.subtractingReportingOverflow(start) : start.subtractingReportingOverflow(stop)
    guard !overflow, step != .min else { return nil }
    count = (span - 1) / abs(step) + 1
  }

  /// Safe: an element lies between start and stop.
  subscript(index: Int) -> Int { start + index * step }

  func contains(_ number: Int) -> Bool {
    guard count > 0 else { return false }
    let (low, high) = (min(self[0], self[count - 1]), max(self[0], self[count - 1]))
    guard number >= low, number <= high else { return false }
    return (number - low) % abs(step) == 0
  }
}

/// A generator or iterator: elements that come once, made when they are asked for.
final class IteratorValue {
  /// Python's name of the type, for messages.
  let typeName: String
  /// Iterators and containers that this one draws on.
  let depth: Int
  private var advance: ((Interpreter) throws -> Value?)?

  init(_ typeName: String, depth: Int, _ advance: @escaping (Interpreter) throws -> Value?) {
    self.typeName = typeName
    self.depth = depth
    self.advance = advance
  }

  /// The next element; after the last, or after an error, `nil` for good.
  func next(_ interpreter: Interpreter) throws -> Value? {
    guard let advance else { return nil }
    do {
      try interpreter.enter()
      defer { interpreter.leave() }
      if let element = try advance(interpreter) { return element }
    } catch {
      self.advance = nil
      throw error
    }
    self.advance = nil
    return nil
  }
}

/// A function: of the template or built in, bound to a receiver or not.
final class FunctionValue {
  typealias Body = (Interpreter, Arguments) throws -> Value

  enum Kind {
    case macro(MacroDefinition, Frame)
    case native(Body)
  }

  let kind: Kind
  /// Python's name of the type, for messages.
  let typeName: String
  /// Containers below what the function is bound to.
  let depth: Int

  init(_ kind: Kind, typeName: String, depth: Int = 1) {
    self.kind = kind
    self.typeName = typeName
    self.depth = depth
  }

  /// A function that is built in.
  static func native(_ body: @escaping Body) -> Value {
    .function(FunctionValue(.native(body), typeName: "builtin_function_or_method"))
  }
}

/// What calls are made with.
struct Arguments {
  var positional: [Value] = []
  var named: [(name: Text, value: Value)] = []
}

/// `namespace(...)`: the one thing that a template can change.
final class NamespaceValue {
  var attributes: DictionaryValue

  init(_ attributes: DictionaryValue) { self.attributes = attributes }
}

/// `cycler(...)`.
final class CyclerValue {
  let items: SequenceValue
  var position = 0

  init(_ items: SequenceValue) { self.items = items }
}

/// `joiner(...)`: nothing the first time, then a separator.
final class JoinerValue {
  let separator: Value
  var isUsed = false

  init(_ separator: Value) { self.separator = separator }
}

extension Value {
  static func bool(_ value: Bool) -> Value { .boolean(value) }
  static func string(_ value: String) -> Value { .text(Text(value)) }

  /// Python's name of the type.
  var typeName: String {
    switch self {
    case .undefined: "Undefined"
    case .none: "NoneType"
    case .boolean: "bool"
    case .integer: "int"
    case .float: "float"
    case .text(let text): text.isMarkup ? "Markup" : "str"
    case .list: "list"
    case .tuple(let tuple): tuple.fieldNames.isEmpty ? "tuple" : "_GroupTuple"
    case .dictionary: "dict"
    case .range: "range"
    case .view(let view): view.part.typeName
    case .iterator(let iterator): iterator.typeName
    case .function(let function): function.typeName
    case .namespace: "TemplateNamespace"
    case .loop: "LoopContext"
    case .cycler: "Cycler"
    case .joiner: "Joiner"
    }
  }

  /// How jinja2 names an object in its messages.
  var objectDescription: String {
    switch self {
    case .none: "None"
    case .namespace: "transformers.utils.chat_template_utils.TemplateNamespace object"
    case .loop: "jinja2.runtime.LoopContext object"
    case .cycler: "jinja2.utils.Cycler object"
    case .joiner: "jinja2.utils.Joiner object"
    case .undefined: "jinja2.runtime.Undefined object"
    case .text(let text) where text.isMarkup: "markupsafe.Markup object"
    case .tuple(let tuple) where !tuple.fieldNames.isEmpty: "jinja2.filters._GroupTuple object"
    case .function(let function) where function.typeName == "Macro": "jinja2.runtime.Macro object"
    default: "\(typeName) object"
    }
  }

  var isUndefined: Bool {
    if case .undefined = self { true } else { false }
  }

  /// Containers below this value.
  var depth: Int {
    switch self {
    case .list(let sequence), .tuple(let sequence): sequence.depth
    case .dictionary(let dictionary): dictionary.depth
    case .view(let view): view.dictionary.depth
    case .iterator(let iterator): iterator.depth
    case .loop(let loop): loop.valueDepth
    case .cycler(let cycler): cycler.items.depth + 1
    case .joiner(let joiner): joiner.separator.depth + 1
    case .function(let function): function.depth
    default: 0
    }
  }
}
