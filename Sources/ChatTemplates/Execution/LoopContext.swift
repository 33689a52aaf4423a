/// The `loop` of a `for`, and what moves the loop on.
///
/// - SeeAlso: jinja2 3.1 `runtime.LoopContext`.
final class LoopContext {
  /// Counted from 0; −1 before the first element.
  private(set) var index0 = -1
  /// How many recursive loops this one is within.
  let depth0: Int
  /// Containers below the loop, as a value.
  let valueDepth: Int

  private let iterable: Value
  private var iterator: IteratorValue
  private var knownLength: Int?
  private var after: Value?
  private var current: Value?
  private var before: Value?
  private var lastChanged: [Value]?
  /// What lazy filters may make deeper than what they are given.
  private static let depthMargin = 8
  private let code: LoopCode
  /// Of a recursive loop, the frame it was defined in; another's could hold the loop in turn.
  private let frame: Frame?

  init(
    _ iterable: Value, _ iterator: IteratorValue, code: LoopCode, definedIn frame: Frame, depth: Int,
    _ interpreter: Interpreter
  ) throws {
    self.iterable = iterable
    self.iterator = iterator
    self.code = code
    self.frame = code.function == nil ? nil : frame
    depth0 = depth
    valueDepth = try interpreter.checked(depth: iterable.depth + Self.depthMargin)
    if let frame = self.frame { try interpreter.keep(frame) }
  }

  var index: Int { index0 + 1 }
  var isFirst: Bool { index0 == 0 }

  /// The next element, which becomes the current one.
  func next(_ interpreter: Interpreter) throws -> Value? {
    let element: Value
    if let after {
      element = after
      self.after = nil
    } else {
      guard let following = try iterator.next(interpreter) else { return nil }
      element = following
    }
    guard element.depth < valueDepth else {
      throw TemplateError(.limit, "the elements of a loop are nested deeper than what it walks")
    }
    index0 += 1
    before = current
    current = element
    return element
  }

  private func peek(_ interpreter: Interpreter) throws -> Value? {
    if after == nil { after = try iterator.next(interpreter) }
    return after
  }

  func isLast(_ interpreter: Interpreter) throws -> Bool { try peek(interpreter) == nil }

  /// The length of what is walked; of a generator by walking it to its end and keeping what comes.
  func length(_ interpreter: Interpreter) throws -> Int {
    if let knownLength { return knownLength }
    let length: Int
    if let counted = try interpreter.length(of: iterable) {
      length = counted
    } else {
      var rest: [Value] = []
      while let element = try iterator.next(interpreter) {
        try interpreter.spend(1)
        rest.append(element)
      }
      length = rest.count + index + (after == nil ? 0 : 1)
      iterator = IteratorValue.over(rest, "list_iterator", depth: valueDepth)
    }
    knownLength = length
    return length
  }

  func previousItem(_ interpreter: Interpreter) -> Value {
    isFirst ? interpreter.undefined(.hint("there is no previous item")) : before ?? .none
  }

  func nextItem(_ interpreter: Interpreter) throws -> Value {
    try peek(interpreter) ?? interpreter.undefined(.hint("there is no next item"))
  }

  func cycle(_ values: [Value]) throws -> Value {
    guard !values.isEmpty else { throw TemplateError(.type, "no items for cycling given") }
    return values[index0 % values.count]
  }

  func hasChanged(_ values: [Value], _ interpreter: Interpreter) throws -> Bool {
    if let lastChanged, lastChanged.count == values.count {
      var areSame = true
      for (old, new) in zip(lastChanged, values) where try !interpreter.areEqual(old, new) { areSame = false }
      if areSame { return false }
    }
    if lastChanged == nil { try interpreter.keep(self) }
    lastChanged = values
    return true
  }

  /// Lets go of what the loop was given.
  func forget() { lastChanged = nil }

  /// `loop(children)` of a recursive loop.
  func recurse(over iterable: Value, _ interpreter: Interpreter) throws -> Value {
    guard let frame else {
      throw TemplateError(.type, "The loop must have the 'recursive' marker to be called recursively.")
    }
    return .text(try interpreter.recurse(code, over: iterable, definedIn: frame, depth: depth0 + 1))
  }
}

extension IteratorValue {
  /// The elements of an array, one after the other.
  static func over(_ elements: [Value], _ typeName: String, depth: Int) -> IteratorValue {
    var index = 0
    return IteratorValue(typeName, depth: depth) { _ in
      guard index < elements.count else { return nil }
      defer { index += 1 }
      return elements[index]
    }
  }
}

extension Value {
  /// Whether `iter(value)` would give an iterator.
  var isIterable: Bool {
    switch self {
    case .undefined, .text, .list, .tuple, .dictionary, .range, .view, .iterator, .loop: true
    case .none, .boolean, .integer, .float, .function, .namespace, .cycler, .joiner: false
    }
  }
}

extension Interpreter {
  /// `len(value)`; `nil` for a value that has no length.
  func length(of value: Value) throws -> Int? {
    switch value {
    case .undefined:
      try checkDefined(value)
      return 0
    case .text(let text): return text.count
    case .list(let sequence), .tuple(let sequence): return sequence.elements.count
    case .dictionary(let dictionary): return dictionary.count
    case .range(let range): return range.count
    case .view(let view): return view.count
    case .loop(let loop): return try loop.length(self)
    case .none, .boolean, .integer, .float, .iterator, .function, .namespace, .cycler, .joiner: return nil
    }
  }

  /// `iter(value)`.
  ///
  /// - Throws: `TemplateError.type` for what cannot be walked.
  func iterator(over value: Value) throws -> IteratorValue {
    switch value {
    case .iterator(let iterator): return iterator
    case .list(let list): return IteratorValue.over(list.elements, "list_iterator", depth: list.depth + 1)
    case .tuple(let tuple):
      return IteratorValue.over(tuple.elements, "tuple_iterator", depth: tuple.depth + 1)
    case .dictionary(let dictionary):
      return IteratorValue.over(
        dictionary.entries.map(\.key), "dict_keyiterator", depth: dictionary.depth + 1)
    case .view(let view):
      try spend(view.count)
      return IteratorValue.over(view.elements, "dict_itemiterator", depth: view.dictionary.depth + 1)
    case .text(let text):
      try spend(text.bytes.count * 4)
      return IteratorValue.over(text.characters.map(Value.text), "str_iterator", depth: 1)
    case .range(let range):
      var index = 0
      return IteratorValue("range_iterator", depth: 1) { _ in
        guard index < range.count else { return nil }
        defer { index += 1 }
        return .integer(range[index])
      }
    case .undefined:
      try checkDefined(value)
      return IteratorValue("generator", depth: 1) { _ in nil }
    case .loop(let loop):
      return IteratorValue("LoopContext", depth: loop.valueDepth + 1) { interpreter in
        guard let element = try loop.next(interpreter) else { return nil }
        return try interpreter.tuple([element, .loop(loop)])
      }
    default: throw TemplateError(.type, "'\(value.typeName)' object is not iterable")
    }
  }

  /// `list(value)` as an array.
  func elements(of value: Value) throws -> [Value] {
    switch value {
    case .list(let sequence), .tuple(let sequence): return sequence.elements
    default:
      let iterator = try iterator(over: value)
      var elements: [Value] = []
      while let element = try iterator.next(self) {
        try spend(1)
        elements.append(element)
      }
      return elements
    }
  }
}
