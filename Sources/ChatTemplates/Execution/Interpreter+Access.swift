// Attributes, elements and slices, as the sandbox of jinja2 gives them.

extension Interpreter {
  /// `value.name`: an attribute of the object, else its element of that name.
  func attribute(_ name: Text, of value: Value) throws -> Value {
    if let found = try objectAttribute(name, of: value) { return found }
    if let element = try element(.text(name), of: value) { return element }
    return undefined(.attribute(of: value.objectDescription, name: name))
  }

  /// `value[key]`: an element, else for a text the attribute of that name.
  func item(_ key: Value, of value: Value) throws -> Value {
    if case .undefined(let undefined) = value { throw undefined.error }
    if let element = try element(key, of: value) { return element }
    if case .text(let name) = key {
      if let found = try objectAttribute(name, of: value) { return found }
      return undefined(.attribute(of: value.objectDescription, name: name))
    }
    return undefined(.element(of: value.objectDescription, key: try representation(key).string))
  }

  /// `value[key]` alone; `nil` where Python would raise a `TypeError` or `LookupError`.
  private func element(_ key: Value, of value: Value) throws -> Value? {
    switch value {
    case .dictionary(let dictionary):
      // A key that cannot be one is a TypeError too.
      guard case .text(let text) = key else {
        return (try? HashKey(key)) == nil ? nil : try dictionary.value(of: key)
      }
      return dictionary[text]
    case .list(let sequence), .tuple(let sequence):
      return key.integer.flatMap { Interpreter.index($0, sequence.elements.count) }.map {
        sequence.elements[$0]
      }
    case .text(let text):
      guard let wanted = key.integer else { return nil }
      if !text.isASCII { try spend(text.bytes.count / 16) }
      return Interpreter.index(wanted, text.count).map { .text(text.character(at: $0)) }
    case .range(let range):
      return key.integer.flatMap { Interpreter.index($0, range.count) }.map { .integer(range[$0]) }
    default: return nil
    }
  }

  /// An index, counted from the end if negative, within a length.
  private static func index(_ index: Int, _ count: Int) -> Int? {
    // Safe: a negative number and a length cannot overflow together.
    let index = index < 0 ? index + count : index
    return index >= 0 && index < count ? index : nil
  }

  /// An attribute that Python's object of this type has; `nil` where it has none of that name.
  func objectAttribute(_ name: Text, of value: Value) throws -> Value? {
    if name.bytes.first == 0x5F {
      // Whatever the object keeps under an underscore, the sandbox keeps to itself.
      guard Attributes.isSpecial(name, of: value) else { return nil }
      return undefined(.unsafe(of: value.typeName, name: name))
    }
    switch value {
    case .undefined(let undefined): throw undefined.error
    case .namespace(let namespace): return namespace.attributes[name]
    case .loop(let loop): return try loopAttribute(name.string, of: loop)
    case .cycler(let cycler): return try cyclerAttribute(name.string, of: cycler)
    case .joiner(let joiner):
      switch name.string {
      case "sep": return joiner.separator
      case "used": return .bool(joiner.isUsed)
      default: return nil
      }
    case .function(let function):
      if function.typeName == "TemplateDict", name == "fromkeys" {
        return FunctionValue.native { try Globals.fromKeys($0, $1) }
      }
      guard case .macro(let definition, _) = function.kind else { return nil }
      return try macroAttribute(name.string, of: definition)
    case .tuple(let tuple):
      if let index = tuple.fieldNames.firstIndex(of: name.string) { return tuple.elements[index] }
    default: break
    }
    guard let attribute = Attributes.of(value)[name.string] else { return nil }
    switch attribute {
    case .method(let body):
      let receiver = value
      return try method(of: receiver) { try body($0, receiver, $1) }
    case .property(let body): return try body(self, value)
    case .unsafe: return undefined(.unsafe(of: value.typeName, name: name))
    }
  }

  /// A method bound to its object, which it holds.
  private func method(of receiver: Value, _ body: @escaping FunctionValue.Body) throws -> Value {
    try spend(4)
    return .function(
      FunctionValue(
        .native(body), typeName: "builtin_function_or_method", depth: try checked(depth: receiver.depth + 1)))
  }

  private func loopAttribute(_ name: String, of loop: LoopContext) throws -> Value? {
    switch name {
    case "index": .integer(loop.index)
    case "index0": .integer(loop.index0)
    case "revindex": .integer(try loop.length(self) - loop.index0)
    case "revindex0": .integer(try loop.length(self) - loop.index)
    case "first": .bool(loop.isFirst)
    case "last": .bool(try loop.isLast(self))
    case "length": .integer(try loop.length(self))
    case "depth": .integer(loop.depth0 + 1)
    case "depth0": .integer(loop.depth0)
    case "previtem": loop.previousItem(self)
    case "nextitem": try loop.nextItem(self)
    case "cycle":
      try method(of: .loop(loop)) { _, arguments in
        try arguments.checkNoNames("cycle")
        return try loop.cycle(arguments.positional)
      }
    case "changed":
      try method(of: .loop(loop)) { interpreter, arguments in
        try arguments.checkNoNames("changed")
        return .bool(try loop.hasChanged(arguments.positional, interpreter))
      }
    default: nil
    }
  }

  private func cyclerAttribute(_ name: String, of cycler: CyclerValue) throws -> Value? {
    switch name {
    case "current": cycler.items.elements[cycler.position]
    case "items": .tuple(cycler.items)
    case "pos": .integer(cycler.position)
    case "next":
      try method(of: .cycler(cycler)) { _, arguments in
        try arguments.checkNone("next")
        defer { cycler.position = (cycler.position + 1) % cycler.items.elements.count }
        return cycler.items.elements[cycler.position]
      }
    case "reset":
      try method(of: .cycler(cycler)) { _, arguments in
        try arguments.checkNone("reset")
        cycler.position = 0
        return .none
      }
    default: nil
    }
  }

  private func macroAttribute(_ name: String, of definition: MacroDefinition) throws -> Value? {
    switch name {
    case "name": definition.name.map { .string($0) } ?? .some(.none)
    case "arguments": try tuple(definition.parameters.map { .string($0.name) })
    case "catch_kwargs": .bool(definition.namedArgumentsSlot != nil)
    case "catch_varargs": .bool(definition.extraArgumentsSlot != nil)
    case "caller": .bool(definition.callerSlot != nil)
    case "explicit_caller": .bool(definition.parameters.contains { $0.name == "caller" })
    default: nil
    }
  }

  // MARK: Slices

  /// `value[start:stop:step]`.
  func slice(_ value: Value, _ start: Value, _ stop: Value, _ step: Value) throws -> Value {
    if case .undefined(let undefined) = value { throw undefined.error }
    let count: Int
    switch value {
    case .text(let text):
      if !text.isASCII { try spend(text.bytes.count / 16) }
      count = text.count
    case .list(let sequence), .tuple(let sequence): count = sequence.elements.count
    case .range(let range): count = range.count
    case .dictionary: throw TemplateError(.type, "unhashable type: 'slice'")
    default: throw TemplateError(.type, "'\(value.typeName)' object is not subscriptable")
    }
    let stride = try bound(step) ?? 1
    guard stride != 0 else { throw TemplateError(.value, "slice step cannot be zero") }
    let (first, end) = Interpreter.sliceBounds(try bound(start), try bound(stop), stride, count)
    guard let indices = RangeValue(start: first, stop: end, step: stride) else { return value }

    switch value {
    case .text(let text): return .text(try slice(text, indices))
    case .list(let list): return try self.list(try pick(list.elements, indices))
    case .tuple(let tuple): return try self.tuple(try pick(tuple.elements, indices))
    case .range(let range):
      // Safe: first, end and count lie within the range, whose ends fit; a step that does not is seen to.
      let (step, overflow) = range.step.multipliedReportingOverflow(by: stride)
      guard !overflow,
        let part = RangeValue(
          start: range.start + first * range.step, stop: range.start + end * range.step, step: step)
      else { throw Interpreter.integerOverflow }
      return .range(part)
    default: return value
    }
  }

  private func bound(_ value: Value) throws -> Int? {
    if case .none = value { return nil }
    if case .undefined = value {
      throw TemplateError(.type, "slice indices must be integers or None or have an __index__ method")
    }
    guard let integer = value.integer else {
      throw TemplateError(.type, "slice indices must be integers or None or have an __index__ method")
    }
    return integer
  }

  /// As Python's `slice.indices`.
  private static func sliceBounds(_ start: Int?, _ stop: Int?, _ step: Int, _ count: Int) -> (Int, Int) {
    let (low, high) = step > 0 ? (0, count) : (-1, count - 1)
    func clamp(_ index: Int?, _ missing: Int) -> Int {
      guard let index else { return missing }
      // Safe: a negative number and a length cannot overflow together.
      return min(max(index < 0 ? index + count : index, low), high)
    }
    return step > 0 ? (clamp(start, low), clamp(stop, high)) : (clamp(start, high), clamp(stop, low))
  }

  private func slice(_ text: Text, _ indices: RangeValue) throws -> Text {
    if indices.step == 1 {
      try spend(indices.count / 16)
      return text.slice(indices.start..<max(indices.start, indices.stop))
    }
    try spend(text.bytes.count / 2)
    let points = text.codePoints
    return Text(codePoints: (0..<indices.count).lazy.map { points[indices[$0]] }, isMarkup: text.isMarkup)
  }

  private func pick(_ elements: [Value], _ indices: RangeValue) throws -> [Value] {
    try spend(indices.count)
    if indices.step == 1 { return Array(elements[indices.start..<max(indices.start, indices.stop)]) }
    return (0..<indices.count).map { elements[indices[$0]] }
  }
}
