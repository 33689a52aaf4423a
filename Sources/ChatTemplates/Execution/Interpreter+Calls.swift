extension Interpreter {
  /// `value(arguments)`.
  func call(_ value: Value, _ arguments: Arguments) throws -> Value {
    try nested {
      switch value {
      case .undefined(let undefined): throw undefined.error
      case .function(let function):
        switch function.kind {
        case .native(let body): return try body(self, arguments)
        case .macro(let definition, let frame): return .text(try invoke(definition, frame, arguments))
        }
      case .loop(let loop):
        let bound = try arguments.bound(to: ["iterable"], required: 1, function: "LoopContext.__call__")
        return try loop.recurse(over: bound[0], self)
      case .joiner(let joiner):
        try arguments.checkNone("Joiner.__call__")
        if joiner.isUsed { return joiner.separator }
        joiner.isUsed = true
        return .text(.empty)
      default: throw TemplateError(.type, "'\(value.typeName)' object is not callable")
      }
    }
  }

  /// Runs a macro and gives back what it writes.
  ///
  /// - SeeAlso: jinja2 3.1 `runtime.Macro.__call__`.
  func invoke(_ definition: MacroDefinition, _ outer: Frame, _ arguments: Arguments) throws -> Text {
    let frame = Frame(definition.function, parent: outer)
    var named = arguments.named
    func takeNamed(_ name: String) -> Value? {
      guard let index = named.firstIndex(where: { $0.name == Text(name) }) else { return nil }
      return named.remove(at: index).value
    }
    let parameters = definition.parameters
    var values: [Value?] = arguments.positional.prefix(parameters.count).map { $0 }
    for parameter in parameters.dropFirst(values.count) { values.append(takeNamed(parameter.name)) }
    let callerIsParameter = parameters.contains { $0.name == "caller" }
    if let slot = definition.callerSlot, !callerIsParameter {
      var caller = takeNamed("caller")
      if case .some(.none) = caller { caller = nil }
      frame[slot] = caller ?? undefined(.hint("No caller defined"))
    }
    let name = definition.name.map { Text($0).quoted } ?? "None"
    if let slot = definition.namedArgumentsSlot {
      frame[slot] = .dictionary(try dictionary(named.map { (.text($0.name), $0.value) }))
    } else if let first = named.first {
      guard !named.contains(where: { $0.name == "caller" }) else {
        throw TemplateError(
          .type,
          "macro \(name) was invoked with two values for the special caller argument. This is most likely a bug."
        )
      }
      throw TemplateError(.type, "macro \(name) takes no keyword argument \(first.name.quoted)")
    }
    if let slot = definition.extraArgumentsSlot {
      frame[slot] = try tuple(Array(arguments.positional.dropFirst(parameters.count)))
    } else if arguments.positional.count > parameters.count {
      throw TemplateError(.type, "macro \(name) takes not more than \(parameters.count) argument(s)")
    }
    return try run(definition, values, frame)
  }

  private func run(_ definition: MacroDefinition, _ values: [Value?], _ frame: Frame) throws -> Text {
    for (parameter, value) in zip(definition.parameters, values) { frame[parameter.slot] = value }
    try enter(definition.body.scope, frame)
    for (parameter, value) in zip(definition.parameters, values) where value == nil {
      if let expression = parameter.defaultValue {
        frame[parameter.slot] = try evaluate(expression, frame)
      } else {
        frame[parameter.slot] = undefined(
          .hint("parameter \(Text(parameter.name).quoted) was not provided"))
      }
    }
    return try capture { _ = try execute(definition.body.instructions, frame) }
  }
}
