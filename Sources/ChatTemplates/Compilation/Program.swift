/// A template ready to run: every name is a place.
struct Program: Sendable {
  let root: FunctionCode
  let body: ScopedBody
  /// The names that the template looks for in its input.
  let inputs: Set<String>
}

/// How many variables a function has.
final class FunctionCode: Sendable {
  let slotCount: Int

  init(slotCount: Int) { self.slotCount = slotCount }
}

/// What happens to the variables of a scope when it begins and ends.
struct Scope: Sendable {
  enum Load: Sendable {
    case resolve(into: Slot, String)
    case alias(into: Slot, from: Slot)
    case undefined(Slot)
  }

  var loads: [Load] = []
  /// Emptied at the end, in a scope that is not a function.
  var cleared: [Slot] = []
}

/// Instructions in a scope of their own.
struct ScopedBody: Sendable {
  let scope: Scope
  let instructions: [Instruction]
}

/// A statement ready to run.
indirect enum Instruction: Sendable {
  case output([OutputPart])
  case conditional(branches: [(test: Expression, body: [Instruction])], otherwise: [Instruction])
  case loop(LoopCode)
  case macro(MacroDefinition, Slot, export: String?)
  case callBlock(callee: Expression, CallArguments, MacroDefinition, line: Int)
  case generation(MacroDefinition)
  case filterBlock(filter: Expression, ScopedBody)
  case with(targets: [(AssignmentTarget, Expression)], ScopedBody)
  case scope(ScopedBody)
  case assign(Assignment, Expression)
  case assignBlock(Assignment, filter: Expression?, ScopedBody)
  case breakLoop
  case continueLoop
}

/// Where a value goes.
indirect enum AssignmentTarget: Sendable {
  case slot(Slot)
  case tuple([AssignmentTarget])
  case attribute(Slot, name: Text)
}

/// An assignment, and what it makes known to the functions of the template.
struct Assignment: Sendable {
  let target: AssignmentTarget
  /// Namespaces whose attributes are set: checked first to be some.
  let namespaces: [(Slot, name: String)]
  /// Names of the top level.
  let exports: [(name: String, slot: Slot)]
  let line: Int
}

/// A `for`.
final class LoopCode: Sendable {
  let target: AssignmentTarget
  let iterable: Expression
  /// A function of its own that picks elements.
  let test: LoopTest?
  let loopSlot: Slot?
  let body: ScopedBody
  let otherwise: ScopedBody?
  /// The function that a recursive loop is.
  let function: FunctionCode?
  let line: Int

  init(
    target: AssignmentTarget, iterable: Expression, test: LoopTest?, loopSlot: Slot?, body: ScopedBody,
    otherwise: ScopedBody?, function: FunctionCode?, line: Int
  ) {
    self.target = target
    self.iterable = iterable
    self.test = test
    self.loopSlot = loopSlot
    self.body = body
    self.otherwise = otherwise
    self.function = function
    self.line = line
  }
}

/// The `if` of a `for`.
struct LoopTest: Sendable {
  let function: FunctionCode
  let scope: Scope
  let target: AssignmentTarget
  let condition: Expression
}

/// A macro, or the body of a call block.
final class MacroDefinition: Sendable {
  struct Parameter: Sendable {
    let name: String
    let slot: Slot
    let defaultValue: Expression?
  }

  let name: String?
  let function: FunctionCode
  let parameters: [Parameter]
  /// Where `caller`, `kwargs` and `varargs` go, if the body asks for them.
  let callerSlot: Slot?
  let namedArgumentsSlot: Slot?
  let extraArgumentsSlot: Slot?
  let body: ScopedBody

  init(
    name: String?, function: FunctionCode, parameters: [Parameter], callerSlot: Slot?,
    namedArgumentsSlot: Slot?,
    extraArgumentsSlot: Slot?, body: ScopedBody
  ) {
    self.name = name
    self.function = function
    self.parameters = parameters
    self.callerSlot = callerSlot
    self.namedArgumentsSlot = namedArgumentsSlot
    self.extraArgumentsSlot = extraArgumentsSlot
    self.body = body
  }
}
