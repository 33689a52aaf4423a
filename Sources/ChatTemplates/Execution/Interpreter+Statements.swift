/// How a statement ended.
enum Completion {
  case normal
  case breakLoop
  case continueLoop
}

extension Interpreter {
  /// Runs instructions until one of them leaves a loop.
  func execute(_ instructions: [Instruction], _ frame: Frame) throws -> Completion {
    try enter()
    defer { leave() }
    for instruction in instructions {
      let completion = try execute(instruction, frame)
      if completion != .normal { return completion }
    }
    return .normal
  }

  private func execute(_ instruction: Instruction, _ frame: Frame) throws -> Completion {
    try spend(1)
    switch instruction {
    case .output(let parts):
      for part in parts { try write(part, frame) }
    case .conditional(let branches, let otherwise):
      for branch in branches where try isTrue(evaluate(branch.test, frame)) {
        return try execute(branch.body, frame)
      }
      return otherwise.isEmpty ? .normal : try execute(otherwise, frame)
    case .loop(let loop):
      return try run(loop, frame)
    case .macro(let definition, let slot, let export): try define(definition, slot, export, frame)
    case .callBlock(let callee, let arguments, let definition, let line):
      try runCallBlock(callee, arguments, definition, line, frame)
    case .generation(let definition):
      let text = try invoke(definition, frame, Arguments())
      markGenerated(text)
      try write(.text(text))
    case .filterBlock(let filter, let body): return try runFilterBlock(filter, body, frame)
    case .with(let targets, let body):
      try enter(body.scope, frame)
      for (target, value) in targets { try assign(try evaluate(value, frame), to: target, frame) }
      defer { leave(body.scope, frame) }
      return try execute(body.instructions, frame)
    case .scope(let body):
      try enter(body.scope, frame)
      defer { leave(body.scope, frame) }
      return try execute(body.instructions, frame)
    case .assign(let assignment, let value): try run(assignment, frame) { try evaluate(value, frame) }
    case .assignBlock(let assignment, let filter, let body):
      return try runAssignBlock(assignment, filter, body, frame)
    case .breakLoop: return .breakLoop
    case .continueLoop: return .continueLoop
    }
    return .normal
  }

  private func write(_ part: OutputPart, _ frame: Frame) throws {
    switch part {
    case .text(let text):
      try spend(text.bytes.count / 16)
      output += text.bytes
      try checkLength(output.count)
    case .expression(let expression): try write(evaluate(expression, frame))
    }
  }

  private func write(_ value: Value) throws {
    // Made first: what a value prints as may run parts of the template, which write too.
    let text = try string(value)
    output += text.bytes
    try checkLength(output.count)
  }

  /// Writes what a block must have made a text of: jinja2 prints other values only between double braces.
  private func writeText(_ value: Value) throws {
    guard case .text = value else {
      throw TemplateError(.type, "sequence item 0: expected str instance, \(value.typeName) found")
    }
    try write(value)
  }

  private func define(
    _ definition: MacroDefinition, _ slot: Slot, _ export: String?, _ frame: Frame
  ) throws {
    // The frame holds the macro, which holds the frame.
    try keep(frame)
    let macro = Value.function(FunctionValue(.macro(definition, frame), typeName: "Macro"))
    frame[slot] = macro
    if let export { self.export(export, macro) }
  }

  private func runCallBlock(
    _ callee: Expression, _ arguments: CallArguments, _ definition: MacroDefinition, _ line: Int,
    _ frame: Frame
  ) throws {
    let function = try evaluate(callee, frame)
    var values = try evaluate(arguments, frame)
    try keep(frame)
    values.named.append(
      ("caller", .function(FunctionValue(.macro(definition, frame), typeName: "Macro"))))
    self.line = line
    try writeText(try call(function, values))
  }

  private func runFilterBlock(_ filter: Expression, _ body: ScopedBody, _ frame: Frame) throws -> Completion {
    try enter(body.scope, frame)
    defer { leave(body.scope, frame) }
    var completion = Completion.normal
    let text = try capture { completion = try execute(body.instructions, frame) }
    // What leaves the loop from within the block takes the block's text with it.
    guard completion == .normal else { return completion }
    captured = text
    try writeText(try evaluate(filter, frame))
    return .normal
  }

  private func runAssignBlock(
    _ assignment: Assignment, _ filter: Expression?, _ body: ScopedBody, _ frame: Frame
  ) throws -> Completion {
    try enter(body.scope, frame)
    defer { leave(body.scope, frame) }
    var completion = Completion.normal
    let text = try capture { completion = try execute(body.instructions, frame) }
    guard completion == .normal else { return completion }
    try run(assignment, frame) {
      guard let filter else { return .text(text) }
      captured = text
      return try evaluate(filter, frame)
    }
    return .normal
  }

  // MARK: Assignment

  private func run(_ assignment: Assignment, _ frame: Frame, _ value: () throws -> Value) throws {
    for (slot, name) in assignment.namespaces {
      guard case .namespace = frame[slot] else {
        line = assignment.line
        if isStrict, frame[slot] == nil { throw UndefinedValue(.name(name)).error }
        throw TemplateError(.type, "cannot assign attribute on non-namespace object")
      }
    }
    try assign(try value(), to: assignment.target, frame)
    for (name, slot) in assignment.exports { export(name, frame[slot]) }
  }

  private func assign(_ value: Value, to target: AssignmentTarget, _ frame: Frame) throws {
    switch target {
    case .slot(let slot): frame[slot] = value
    case .attribute(let slot, let name):
      guard case .namespace(let namespace) = frame[slot] else {
        throw TemplateError(.type, "cannot assign attribute on non-namespace object")
      }
      try NamespaceValue.check(name)
      _ = try checked(depth: value.depth + 1)
      namespace.attributes.set(name, value)
    case .tuple(let targets):
      for (part, target) in zip(try unpacked(value, into: targets.count), targets) {
        try assign(part, to: target, frame)
      }
    }
  }

  /// The elements of a value that is assigned to several targets.
  private func unpacked(_ value: Value, into count: Int) throws -> [Value] {
    guard value.isIterable else {
      throw TemplateError(.type, "cannot unpack non-iterable \(value.typeName) object")
    }
    var elements: [Value] = []
    switch value {
    case .list(let sequence), .tuple(let sequence): elements = sequence.elements
    default:
      let iterator = try iterator(over: value)
      while elements.count <= count, let element = try iterator.next(self) { elements.append(element) }
    }
    guard elements.count <= count else {
      throw TemplateError(.value, "too many values to unpack (expected \(count))")
    }
    guard elements.count == count else {
      throw TemplateError(.value, "not enough values to unpack (expected \(count), got \(elements.count))")
    }
    return elements
  }

  // MARK: Loops

  private func run(_ loop: LoopCode, _ frame: Frame) throws -> Completion {
    let iterable = try evaluate(loop.iterable, frame)
    guard loop.function != nil else {
      return try run(loop, over: iterable, frame, definedIn: frame, depth: 0)
    }
    try write(.text(try recurse(loop, over: iterable, definedIn: frame, depth: 0)))
    return .normal
  }

  /// Runs a recursive loop as the function that it is.
  func recurse(_ loop: LoopCode, over iterable: Value, definedIn frame: Frame, depth: Int) throws -> Text {
    guard let function = loop.function else {
      throw TemplateError(.type, "The loop must have the 'recursive' marker to be called recursively.")
    }
    return try capture {
      let inner = Frame(function, parent: frame)
      _ = try run(loop, over: iterable, inner, definedIn: frame, depth: depth)
    }
  }

  private func run(
    _ loop: LoopCode, over iterable: Value, _ frame: Frame, definedIn outer: Frame, depth: Int
  ) throws -> Completion {
    var iterable = iterable
    if let test = loop.test {
      try keep(outer)
      iterable = try iterator("generator", over: [iterable], filtering(iterable, test, outer))
    }
    let context = try LoopContext(
      iterable, iterator(over: iterable), code: loop, definedIn: outer, depth: depth, self)
    var isUntouched = true
    // However the loop ends: its variables can hold what holds the frame.
    defer { leave(loop.body.scope, frame) }
    iteration: while let element = try context.next(self) {
      try spend(1)
      try assign(element, to: loop.target, frame)
      if let slot = loop.loopSlot { frame[slot] = .loop(context) }
      try enter(loop.body.scope, frame)
      switch try execute(loop.body.instructions, frame) {
      // jinja2 notes at the end of the body that it ran, and `continue` skips the note: a loop that always
      // continues runs its `else` as well.
      case .normal: isUntouched = false
      case .continueLoop: continue iteration
      case .breakLoop: break iteration
      }
    }
    leave(loop.body.scope, frame)
    guard isUntouched, let otherwise = loop.otherwise else { return .normal }
    try enter(otherwise.scope, frame)
    defer { leave(otherwise.scope, frame) }
    return try execute(otherwise.instructions, frame)
  }

  /// The elements that pass a loop's test, which is asked when the element is.
  private func filtering(
    _ iterable: Value, _ test: LoopTest, _ frame: Frame
  ) -> (Interpreter) throws -> Value? {
    var state: (source: IteratorValue, frame: Frame)?
    return { interpreter in
      let (source, inner): (IteratorValue, Frame)
      if let state {
        (source, inner) = state
      } else {
        (source, inner) = (try interpreter.iterator(over: iterable), Frame(test.function, parent: frame))
        try interpreter.keep(inner)
        try interpreter.enter(test.scope, inner)
        state = (source, inner)
      }
      while let element = try source.next(interpreter) {
        try interpreter.spend(1)
        try interpreter.assign(element, to: test.target, inner)
        if try interpreter.isTrue(interpreter.evaluate(test.condition, inner)) { return element }
      }
      return nil
    }
  }
}

extension NamespaceValue {
  /// transformers keeps underscored names away from namespaces.
  static func check(_ name: Text) throws {
    guard !name.hasPrefix("_") else {
      throw TemplateError(
        .security,
        "Chat templates cannot store underscore-prefixed attributes on a namespace, but got \(name.quoted). "
          + "Please rename the attribute.")
    }
  }
}
