/// What an attribute of one of Python's types is.
enum Attribute: Sendable {
  typealias Method = @Sendable (Interpreter, Value, Arguments) throws -> Value
  typealias Property = @Sendable (Interpreter, Value) throws -> Value

  case method(Method)
  case property(Property)
  /// A method that changes its object, which the sandbox forbids.
  case unsafe
}

/// The attributes of Python's types.
enum Attributes {
  /// All public attributes of a value's type.
  static func of(_ value: Value) -> [String: Attribute] {
    switch value {
    case .text: StringMethods.table
    case .list: ContainerMethods.list
    case .tuple: ContainerMethods.tuple
    case .dictionary: ContainerMethods.dictionary
    case .range: ContainerMethods.range
    case .view: ContainerMethods.view
    case .integer, .boolean: NumberMethods.integer
    case .float: NumberMethods.float
    default: [:]
    }
  }

  private static let ofEverything: Set<Text> = [
    "__class__", "__delattr__", "__dir__", "__doc__", "__eq__", "__format__", "__ge__", "__getattribute__",
    "__getstate__", "__gt__", "__hash__", "__init__", "__init_subclass__", "__le__", "__lt__", "__ne__",
    "__new__",
    "__reduce__", "__reduce_ex__", "__repr__", "__setattr__", "__sizeof__", "__str__", "__subclasshook__",
  ]
  private static let ofContainers: Set<Text> = ["__len__", "__iter__", "__contains__", "__getitem__"]

  /// Whether Python keeps something of an object under an underscored name.
  static func isSpecial(_ name: Text, of value: Value) -> Bool {
    switch value {
    // Their own `__getattribute__` and `__getattr__` show nothing of this kind but the class.
    case .namespace: return name == "__class__"
    case .undefined: return ofEverything.contains(name) || ofContainers.contains(name)
    case .text, .list, .tuple, .dictionary, .range, .view:
      return ofEverything.contains(name) || ofContainers.contains(name)
        || ["__add__", "__mul__", "__rmul__", "__mod__", "__or__", "__reversed__"].contains(name)
    default: return ofEverything.contains(name) || name == "__call__"
    }
  }
}

/// Attributes of numbers.
enum NumberMethods {
  static let integer: [String: Attribute] = [
    "real": .property { _, value in .integer(value.integer ?? 0) },
    "imag": .property { _, _ in .integer(0) },
    "numerator": .property { _, value in .integer(value.integer ?? 0) },
    "denominator": .property { _, _ in .integer(1) },
    "conjugate": .method { _, value, arguments in
      try arguments.checkNone("conjugate")
      return .integer(value.integer ?? 0)
    },
    "bit_length": .method { _, value, arguments in
      try arguments.checkNone("bit_length")
      return .integer(Int.bitWidth - (value.integer ?? 0).magnitude.leadingZeroBitCount)
    },
    "bit_count": .method { _, value, arguments in
      try arguments.checkNone("bit_count")
      return .integer((value.integer ?? 0).magnitude.nonzeroBitCount)
    },
    "as_integer_ratio": .method { interpreter, value, arguments in
      try arguments.checkNone("as_integer_ratio")
      return try interpreter.tuple([.integer(value.integer ?? 0), .integer(1)])
    },
    "to_bytes": Attribute.unsupported("int.to_bytes"),
    "from_bytes": Attribute.unsupported("int.from_bytes"),
  ]

  static let float: [String: Attribute] = [
    "real": .property { _, value in value },
    "imag": .property { _, _ in .float(0) },
    "conjugate": .method { _, value, arguments in
      try arguments.checkNone("conjugate")
      return value
    },
    "is_integer": .method { _, value, arguments in
      try arguments.checkNone("is_integer")
      guard case .float(let number) = value else { return .bool(false) }
      return .bool(number.isFinite && number == number.rounded())
    },
    "as_integer_ratio": Attribute.unsupported("float.as_integer_ratio"),
    "hex": Attribute.unsupported("float.hex"),
    "fromhex": Attribute.unsupported("float.fromhex"),
  ]
}

extension Attribute {
  /// A method that Python has and this interpreter leaves out, by its full name.
  static func unsupported(_ name: String) -> Attribute {
    .method { _, _, _ in throw TemplateError(.unsupported, "\(name) is not supported in chat templates") }
  }
}
