#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// What a template finds without being given it.
enum Globals {
  /// The globals; each is made when it is asked for.
  static let table: [String: @Sendable () -> Value] = [
    "range": { type("type", range) },
    "dict": { type("TemplateDict", dictionary) },
    "namespace": { type("type", namespace) },
    "cycler": { type("type", cycler) },
    "joiner": { type("type", joiner) },
    "raise_exception": { type("function", raiseException) },
    "strftime_now": { type("function", strftimeNow) },
    "lipsum": {
      type("function") { _, _ in
        throw TemplateError(.unsupported, "lipsum makes random text, which no prompt is made of")
      }
    },
  ]

  private static func type(_ name: String, _ body: @escaping FunctionValue.Body) -> Value {
    .function(FunctionValue(.native(body), typeName: name))
  }

  private static func range(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let bound = try arguments.bound(
      to: ["start", "stop", "step"], required: 1, function: "range", acceptsNames: false)
    let first = try interpreter.wholeNumber(bound[0])
    let stop = try bound[optional: 1].map(interpreter.wholeNumber)
    let step = try bound[optional: 2].map(interpreter.wholeNumber) ?? 1
    guard step != 0 else { throw TemplateError(.value, "range() arg 3 must not be zero") }
    let maximum = interpreter.limits.maximumRange
    guard let range = RangeValue(start: stop == nil ? 0 : first, stop: stop ?? first, step: step),
      range.count <= maximum
    else {
      throw TemplateError(
        .limit, "Range too big. The sandbox blocks ranges larger than MAX_RANGE (\(maximum)).")
    }
    return .range(range)
  }

  /// The entries that `dict(...)` and `namespace(...)` are given.
  private static func entries(
    _ interpreter: Interpreter, _ arguments: Arguments, _ function: String
  ) throws -> [(Value, Value)] {
    guard arguments.positional.count <= 1 else {
      throw TemplateError(
        .type, "\(function) expected at most 1 argument, got \(arguments.positional.count)")
    }
    var entries: [(Value, Value)] = []
    if let first = arguments.positional.first {
      if case .undefined(let undefined) = first { throw undefined.error }
      if case .dictionary(let dictionary) = first {
        entries = dictionary.entries.map { ($0.key, $0.value) }
      } else {
        for (index, element) in try interpreter.elements(of: first).enumerated() {
          let pair = try interpreter.elements(of: element)
          guard pair.count == 2 else {
            throw TemplateError(
              .value,
              "dictionary update sequence element #\(index) has length \(pair.count); 2 is required")
          }
          entries.append((pair[0], pair[1]))
        }
      }
    }
    return entries + arguments.named.map { (.text($0.name), $0.value) }
  }

  private static func dictionary(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    .dictionary(try interpreter.dictionary(entries(interpreter, arguments, "dict")))
  }

  private static func namespace(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let entries = try entries(interpreter, arguments, "dict")
    for case (.text(let name), _) in entries { try NamespaceValue.check(name) }
    return try interpreter.namespace(interpreter.dictionary(entries))
  }

  /// `dict.fromkeys(keys, value)`.
  static func fromKeys(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let bound = try arguments.bound(
      to: ["iterable", "value"], required: 1, function: "fromkeys", acceptsNames: false)
    let value = bound[optional: 1] ?? .none
    return .dictionary(try interpreter.dictionary(interpreter.elements(of: bound[0]).map { ($0, value) }))
  }

  private static func cycler(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    try arguments.checkNoNames("cycler")
    guard !arguments.positional.isEmpty else {
      throw TemplateError(.value, "at least one item has to be provided")
    }
    guard case .tuple(let items) = try interpreter.tuple(arguments.positional) else { return .none }
    return .cycler(CyclerValue(items))
  }

  private static func joiner(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let separator = try arguments.bound(to: ["sep"], required: 0, function: "joiner")[optional: 0]
    _ = try interpreter.checked(depth: (separator?.depth ?? 0) + 1)
    return .joiner(JoinerValue(separator ?? .text(", ")))
  }

  private static func raiseException(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let bound = try arguments.bound(to: ["message"], required: 1, function: "raise_exception")
    throw TemplateError(.raised, try interpreter.string(bound[0]).string)
  }

  // MARK: Dates

  private static func strftimeNow(_ interpreter: Interpreter, _ arguments: Arguments) throws -> Value {
    let bound = try arguments.bound(to: ["format"], required: 1, function: "strftime_now")
    guard case .text(let format) = bound[0] else {
      throw TemplateError(.type, "strftime() argument 1 must be str, not \(bound[0].typeName)")
    }
    let (seconds, microseconds) = interpreter.clock.now()
    var (moment, fields) = (time_t(seconds), tm())
    localtime_r(&moment, &fields)
    // Python does not know in what zone a plain date is, and leaves it to C to find out.
    fields.tm_isdst = -1
    let expanded = expandedForPython(format.bytes, microseconds)
    var out: [UInt8] = []
    for (index, part) in expanded.split(separator: 0, omittingEmptySubsequences: false).enumerated() {
      if index > 0 { out.append(0) }
      out += try formatted(Array(part), &fields, interpreter)
    }
    return .text(Text(bytes: out))
  }

  /// With the directives replaced that Python handles itself: microseconds, and the zone, which there is none.
  private static func expandedForPython(_ format: [UInt8], _ microseconds: Int) -> [UInt8] {
    var out: [UInt8] = []
    var index = 0
    while index < format.count {
      guard format[index] == 0x25, index + 1 < format.count else {
        out.append(format[index])
        index += 1
        continue
      }
      switch format[index + 1] {
      case 0x66:
        let digits = String(microseconds)
        out += Array((String(repeating: "0", count: max(0, 6 - digits.count)) + digits).utf8)
      case 0x7A, 0x5A: break
      default: out += [0x25, format[index + 1]]
      }
      index += 2
    }
    return out
  }

  private static func formatted(
    _ format: [UInt8], _ fields: inout tm, _ interpreter: Interpreter
  ) throws -> [UInt8] {
    guard !format.isEmpty else { return [] }
    // A marker at the end tells an empty result from a buffer too small.
    let source = (format + [0x21, 0]).map { CChar(bitPattern: $0) }
    var size = format.count * 32 + 256
    while true {
      try interpreter.checkLength(size)
      try interpreter.spend(size / 16)
      var buffer = [CChar](repeating: 0, count: size)
      let count = strftime(&buffer, size, source, &fields)
      if count > 0 { return buffer[..<(count - 1)].map { UInt8(bitPattern: $0) } }
      size *= 4
    }
  }
}
