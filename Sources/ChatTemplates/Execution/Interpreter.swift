/// The variables of a running function.
final class Frame {
  /// `nil` is what jinja2 calls missing.
  var slots: [Value?]
  /// Whether a value may hold the frame, which then lives until the end.
  var isKept = false
  /// Of the function around this one.
  let parent: Frame?

  init(_ function: FunctionCode, parent: Frame?) {
    slots = Array(repeating: nil, count: function.slotCount)
    self.parent = parent
  }

  subscript(slot: Slot) -> Value? {
    get { slot.hops == 0 ? slots[slot.index] : outer(slot.hops).slots[slot.index] }
    set {
      if slot.hops == 0 {
        slots[slot.index] = newValue
      } else {
        outer(slot.hops).slots[slot.index] = newValue
      }
    }
  }

  private func outer(_ hops: Int) -> Frame {
    var frame = self
    // Safe: the compiler counted the functions around this one.
    for _ in 0..<hops { frame = frame.parent! }
    return frame
  }
}

/// Runs one rendering of a template.
///
/// Every step is counted, every text and container measured, and the nesting of everything bounded, so that a
/// template from anywhere ends with a result or an error and never takes the process with it.
final class Interpreter {
  let limits: TemplateLimits
  let clock: TemplateClock
  /// Whether an undefined value may be used at all, be it printed; strict where a missing field is a mistake.
  let isStrict: Bool
  private let input: [String: Value]
  /// What the top level of the template has set.
  private var exported: [String: Value] = [:]
  /// What the template has written so far, or the block that is being captured.
  var output: [UInt8] = []
  /// Bytes of `output` before the block that is being captured outermost.
  private var rootLength: Int?
  /// The text that the next `captured` stands for.
  var captured = Text.empty
  /// Bytes of the output that the template calls the model's own.
  private(set) var generated: [Range<Int>] = []
  /// The line of the expression that runs.
  var line = 0

  private var steps = 0
  private var depth = 0
  // What can change after it was made can hold itself, or a chain of others too long to be freed by recursion. It
  // lives until the end and is taken apart then.
  private var namespaces: [NamespaceValue] = []
  private var frames: [Frame] = []
  private var loops: [LoopContext] = []

  init(input: [String: Value], limits: TemplateLimits, clock: TemplateClock, isStrict: Bool) {
    self.input = input
    self.limits = limits
    self.clock = clock
    self.isStrict = isStrict
  }

  /// Renders a program.
  ///
  /// - Throws: `TemplateError` with the line.
  func run(_ program: Program) throws -> [UInt8] {
    let frame = Frame(program.root, parent: nil)
    defer { takeApart() }
    do {
      try keep(frame)
      try enter(program.body.scope, frame)
      _ = try execute(program.body.instructions, frame)
    } catch var error as TemplateError {
      if error.line == 0 { error.line = line }
      throw error
    }
    return output
  }

  /// Breaks the circles of what holds itself, without recursion.
  private func takeApart() {
    for namespace in namespaces { namespace.attributes.removeAll() }
    for frame in frames { frame.slots = [] }
    for loop in loops { loop.forget() }
    exported = [:]
    namespaces = []
    frames = []
    loops = []
  }

  // MARK: Limits

  /// Counts work: a step, or as many as a long text is worth.
  func spend(_ count: Int) throws {
    let (sum, overflow) = steps.addingReportingOverflow(count)
    guard !overflow, sum <= limits.maximumSteps else {
      throw TemplateError(.limit, "the template takes more than \(limits.maximumSteps) steps")
    }
    steps = sum
  }

  /// Checks the length of a text that is about to be.
  func checkLength(_ length: Int) throws {
    guard length <= limits.maximumTextLength else {
      throw TemplateError(
        .limit, "a text is longer than the \(limits.maximumTextLength) bytes that one may have")
    }
  }

  /// Goes one level deeper; `leave` comes back.
  func enter() throws {
    guard depth < limits.maximumDepth else {
      throw TemplateError(.limit, "evaluation is nested more than \(limits.maximumDepth) deep")
    }
    depth += 1
  }

  func leave() { depth -= 1 }

  func nested<Result>(_ body: () throws -> Result) throws -> Result {
    try enter()
    defer { leave() }
    return try body()
  }

  // MARK: Making values

  private func checkedDepth(_ elements: [Value], _ count: Int) throws -> Int {
    try spend(count)
    var depth = 0
    for element in elements { depth = max(depth, element.depth) }
    return try checked(depth: depth + 1)
  }

  /// A depth that a value may have.
  func checked(depth: Int) throws -> Int {
    guard depth <= limits.maximumValueDepth else {
      throw TemplateError(.limit, "values are nested more than \(limits.maximumValueDepth) deep")
    }
    return depth
  }

  func list(_ elements: [Value]) throws -> Value {
    .list(SequenceValue(elements: elements, depth: try checkedDepth(elements, elements.count)))
  }

  func list(_ texts: [Text]) throws -> Value {
    // A text has a head of its own beside its letters.
    try spend(texts.count * 4)
    return .list(SequenceValue(elements: texts.map(Value.text), depth: 1))
  }

  func tuple(_ elements: [Value], fieldNames: [String] = []) throws -> Value {
    .tuple(
      SequenceValue(
        elements: elements, depth: try checkedDepth(elements, elements.count), fieldNames: fieldNames))
  }

  /// A dictionary of keys that may be anything, the later of equal ones counting.
  func dictionary(_ entries: [(Value, Value)]) throws -> DictionaryValue {
    try spend(entries.count * 2)
    let dictionary = DictionaryValue()
    for (key, value) in entries { try dictionary.set(key, value) }
    _ = try checked(depth: dictionary.depth)
    return dictionary
  }

  func iterator(
    _ typeName: String, over values: [Value], _ advance: @escaping (Interpreter) throws -> Value?
  ) throws -> Value {
    .iterator(IteratorValue(typeName, depth: try checkedDepth(values, values.count + 2), advance))
  }

  func namespace(_ attributes: DictionaryValue) throws -> Value {
    try spend(4)
    let namespace = NamespaceValue(attributes)
    namespaces.append(namespace)
    return .namespace(namespace)
  }

  func undefined(_ origin: UndefinedValue.Origin) -> Value { .undefined(UndefinedValue(origin)) }

  /// Refuses an undefined value where the rendering is strict.
  func checkDefined(_ value: Value) throws {
    if isStrict, case .undefined(let undefined) = value { throw undefined.error }
  }

  /// Lets a value hold a frame.
  func keep(_ frame: Frame) throws {
    guard !frame.isKept else { return }
    try spend(16 + frame.slots.count)
    frame.isKept = true
    frames.append(frame)
  }

  /// Lets a loop hold values that it is given later.
  func keep(_ loop: LoopContext) throws {
    try spend(16)
    loops.append(loop)
  }

  // MARK: Variables

  /// A name of the input, of the globals, or one that the top level has set.
  func resolve(_ name: String) -> Value? { exported[name] ?? input[name] ?? Globals.table[name]?() }

  func export(_ name: String, _ value: Value?) { exported[name] = value }

  func enter(_ scope: Scope, _ frame: Frame) throws {
    for load in scope.loads {
      switch load {
      case .resolve(let slot, let name): frame[slot] = resolve(name)
      case .alias(let slot, let outer): frame[slot] = frame[outer]
      case .undefined(let slot): frame[slot] = nil
      }
    }
  }

  func leave(_ scope: Scope, _ frame: Frame) {
    for slot in scope.cleared { frame[slot] = nil }
  }

  // MARK: Output

  /// Runs a body and gives back what it writes instead of writing it.
  func capture(_ body: () throws -> Void) throws -> Text {
    var captured: [UInt8] = []
    let isOutermost = rootLength == nil
    if isOutermost { rootLength = output.count }
    swap(&output, &captured)
    defer {
      if isOutermost { rootLength = nil }
    }
    do {
      try body()
    } catch {
      swap(&output, &captured)
      throw error
    }
    swap(&output, &captured)
    return Text(bytes: captured)
  }

  /// Takes note of text that the model is trained to write, which comes next in the output.
  func markGenerated(_ text: Text) {
    let start = rootLength ?? output.count
    generated.append(start..<start + text.bytes.count)
  }
}
