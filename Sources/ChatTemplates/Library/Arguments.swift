/// Arguments in the places of a function's parameters.
struct BoundArguments {
  fileprivate let values: [Value?]

  /// A required one.
  subscript(index: Int) -> Value { values[index] ?? .none }

  /// One that may be left out.
  subscript(optional index: Int) -> Value? { values[index] }
}

extension Arguments {
  /// Puts arguments into the places of parameters, as Python does.
  ///
  /// - Parameters:
  ///   - names: of the parameters.
  ///   - required: how many of them must be given.
  ///   - acceptsNames: whether they may be given by name.
  /// - Throws: `TemplateError.type` for too many, missing, repeated or unknown ones.
  func bound(
    to names: [String], required: Int, function: String, acceptsNames: Bool = true
  ) throws -> BoundArguments {
    guard positional.count <= names.count else {
      throw TemplateError(
        .type, "\(function)() takes at most \(names.count) arguments (\(positional.count) given)")
    }
    var values: [Value?] = positional + Array(repeating: nil, count: names.count - positional.count)
    for (name, value) in named {
      guard acceptsNames else { throw TemplateError(.type, "\(function)() takes no keyword arguments") }
      guard let index = names.firstIndex(where: { name == Text($0) }) else {
        throw TemplateError(.type, "\(function)() got an unexpected keyword argument \(name.quoted)")
      }
      guard values[index] == nil else {
        throw TemplateError(.type, "\(function)() got multiple values for argument \(name.quoted)")
      }
      values[index] = value
    }
    if let missing = (0..<required).first(where: { values[$0] == nil }) {
      throw TemplateError(.type, "\(function)() missing required argument: '\(names[missing])'")
    }
    return BoundArguments(values: values)
  }

  /// Refuses arguments given by name.
  func checkNoNames(_ function: String) throws {
    if !named.isEmpty { throw TemplateError(.type, "\(function)() takes no keyword arguments") }
  }

  /// Refuses all arguments.
  func checkNone(_ function: String) throws {
    _ = try bound(to: [], required: 0, function: function)
  }

  /// The same arguments with those of a filter's own name taken away.
  func droppingFirst(_ count: Int) -> Arguments {
    Arguments(positional: Array(positional.dropFirst(count)), named: named)
  }
}

extension Interpreter {
  /// An argument that must be a whole number.
  func wholeNumber(_ value: Value) throws -> Int {
    if case .undefined(let undefined) = value { throw undefined.error }
    guard let integer = value.integer else {
      throw TemplateError(.type, "'\(value.typeName)' object cannot be interpreted as an integer")
    }
    return integer
  }

  /// An argument that must be a text.
  func text(_ value: Value, _ what: String) throws -> Text {
    guard case .text(let text) = value else {
      throw TemplateError(.type, "\(what) must be str, not \(value.typeName)")
    }
    return text
  }
}
