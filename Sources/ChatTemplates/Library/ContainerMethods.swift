/// Methods of lists, tuples, dictionaries and ranges.
enum ContainerMethods {
  static let list: [String: Attribute] = sequence(name: "list").merging(
    [
      "append": .unsafe, "clear": .unsafe, "extend": .unsafe, "insert": .unsafe, "pop": .unsafe,
      "remove": .unsafe, "reverse": .unsafe, "sort": .unsafe,
      "copy": .method { interpreter, value, arguments in
        try arguments.checkNone("copy")
        return try interpreter.list(interpreter.elements(of: value))
      },
    ]) { $1 }

  static let tuple = sequence(name: "tuple")

  static let range: [String: Attribute] = sequence(name: "range").merging(
    [
      "start": .property { _, value in bound(value) { $0.start } },
      "stop": .property { _, value in bound(value) { $0.stop } },
      "step": .property { _, value in bound(value) { $0.step } },
    ]) { $1 }

  private static func bound(_ value: Value, _ pick: (RangeValue) -> Int) -> Value {
    guard case .range(let range) = value else { return .none }
    return .integer(pick(range))
  }

  private static func sequence(name: String) -> [String: Attribute] {
    [
      "count": .method { interpreter, value, arguments in
        let wanted = try arguments.bound(to: ["value"], required: 1, function: "count", acceptsNames: false)[
          0]
        var count = 0
        for element in try interpreter.elements(of: value) {
          try interpreter.spend(1)
          if try interpreter.areEqual(element, wanted) { count += 1 }
        }
        return .integer(count)
      },
      "index": .method { interpreter, value, arguments in
        let bound = try arguments.bound(
          to: ["value", "start", "stop"], required: 1, function: "index", acceptsNames: false)
        let elements = try interpreter.elements(of: value)
        let start = try bound[optional: 1].map(interpreter.wholeNumber) ?? 0
        let stop = try bound[optional: 2].map(interpreter.wholeNumber) ?? elements.count
        let (first, end) = clamped(start, stop, elements.count)
        for index in first..<max(first, end) {
          try interpreter.spend(1)
          if try interpreter.areEqual(elements[index], bound[0]) { return .integer(index) }
        }
        throw TemplateError(.value, "\(try interpreter.representation(bound[0]).string) is not in \(name)")
      },
    ]
  }

  /// Bounds as `index` and `find` take them: negative ones count from the end.
  static func clamped(_ start: Int, _ stop: Int, _ count: Int) -> (Int, Int) {
    func clamp(_ index: Int) -> Int {
      // Safe: a negative number and a length cannot overflow together.
      index < 0 ? max(index + count, 0) : min(index, count)
    }
    return (clamp(start), clamp(stop))
  }

  // MARK: Dictionaries

  private static func view(_ part: DictionaryView.Part, _ name: String) -> Attribute {
    .method { _, value, arguments in
      try arguments.checkNone(name)
      guard case .dictionary(let dictionary) = value else { return .none }
      return .view(DictionaryView(dictionary: dictionary, part: part))
    }
  }

  static let dictionary: [String: Attribute] = [
    "clear": .unsafe, "pop": .unsafe, "popitem": .unsafe, "setdefault": .unsafe, "update": .unsafe,
    "keys": view(.keys, "keys"),
    "values": view(.values, "values"),
    "items": view(.items, "items"),
    "get": .method { _, value, arguments in
      let bound = try arguments.bound(
        to: ["key", "default"], required: 1, function: "get", acceptsNames: false)
      guard case .dictionary(let dictionary) = value else { return .none }
      return try dictionary.value(of: bound[0]) ?? bound[optional: 1] ?? .none
    },
    "copy": .method { interpreter, value, arguments in
      try arguments.checkNone("copy")
      guard case .dictionary(let dictionary) = value else { return .none }
      try interpreter.spend(dictionary.count * 2)
      return .dictionary(dictionary.copy())
    },
    "fromkeys": .method { interpreter, _, arguments in try Globals.fromKeys(interpreter, arguments) },
  ]

  static let view: [String: Attribute] = [
    "mapping": .property { _, value in
      guard case .view(let view) = value else { return .none }
      return .dictionary(view.dictionary)
    },
    "isdisjoint": .method { interpreter, value, arguments in
      let other = try arguments.bound(
        to: ["other"], required: 1, function: "isdisjoint", acceptsNames: false)[0]
      for element in try interpreter.elements(of: other) where try interpreter.contains(value, element) {
        return .bool(false)
      }
      return .bool(true)
    },
  ]
}
