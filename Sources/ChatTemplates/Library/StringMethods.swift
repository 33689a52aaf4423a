/// Methods of Python's `str`.
enum StringMethods {
  /// The receiver, the arguments in the places of the parameters, and what runs.
  private typealias Body = @Sendable (Interpreter, Text, BoundArguments) throws -> Value

  private static func method(
    _ name: String, _ parameters: [String] = [], required: Int = 0, acceptsNames: Bool = false,
    _ body: @escaping Body
  ) -> Attribute {
    .method { interpreter, value, arguments in
      guard case .text(let text) = value else { return .none }
      try interpreter.spend(text.bytes.count / 4)
      let bound = try arguments.bound(
        to: parameters, required: required, function: name, acceptsNames: acceptsNames)
      return try body(interpreter, text, bound)
    }
  }

  private static func change(_ name: String, _ body: @escaping @Sendable (Text) -> Text) -> Attribute {
    method(name) { _, text, _ in .text(body(text)) }
  }

  private static func predicate(_ name: String, _ body: @escaping @Sendable (Text) -> Bool) -> Attribute {
    method(name) { _, text, _ in .bool(body(text)) }
  }

  static let table: [String: Attribute] = [
    // Case.
    "upper": change("upper", \.uppercased), "lower": change("lower", \.lowercased),
    "capitalize": change("capitalize", \.capitalized), "title": change("title", \.titled),
    "swapcase": change("swapcase", \.caseSwapped),
    "casefold": method("casefold") { _, text, _ in
      guard text.isASCII else {
        throw TemplateError(.unsupported, "str.casefold of letters beyond ASCII is not supported; use lower")
      }
      return .text(text.lowercased)
    },
    // Questions.
    "isalpha": predicate("isalpha") { $0.isAll(Text.isAlphabetic) },
    "isdigit": predicate("isdigit") { $0.isAll(Text.isDigit) },
    "isdecimal": predicate("isdecimal") { $0.isAll(Text.isDecimal) },
    "isnumeric": predicate("isnumeric") { $0.isAll(Text.isNumeric) },
    "isalnum": predicate("isalnum") { $0.isAll(Text.isAlphanumeric) },
    "isspace": predicate("isspace") { $0.isAll(Text.isSpace) },
    "isupper": predicate("isupper", \.isUppercase), "islower": predicate("islower", \.isLowercase),
    "istitle": predicate("istitle", \.isTitlecase), "isascii": predicate("isascii", \.isASCII),
    "isidentifier": predicate("isidentifier", \.isIdentifier),
    "isprintable": predicate("isprintable") { $0.codePoints.allSatisfy(Text.isPrintable) },
    // Ends.
    "strip": strip("strip", left: true, right: true), "lstrip": strip("lstrip", left: true, right: false),
    "rstrip": strip("rstrip", left: false, right: true),
    "startswith": hasEnd("startswith") { $0.hasPrefix($1) },
    "endswith": hasEnd("endswith") { $0.hasSuffix($1) },
    "removeprefix": method("removeprefix", ["prefix"], required: 1) { interpreter, text, bound in
      let prefix = try interpreter.text(bound[0], "removeprefix() argument")
      guard text.hasPrefix(prefix) else { return .text(text) }
      return .text(Text(text.bytes[prefix.bytes.count...], isMarkup: text.isMarkup))
    },
    "removesuffix": method("removesuffix", ["suffix"], required: 1) { interpreter, text, bound in
      let suffix = try interpreter.text(bound[0], "removesuffix() argument")
      guard !suffix.isEmpty, text.hasSuffix(suffix) else { return .text(text) }
      return .text(Text(text.bytes[..<(text.bytes.count - suffix.bytes.count)], isMarkup: text.isMarkup))
    },
    // Parts.
    "split": split("split", fromRight: false), "rsplit": split("rsplit", fromRight: true),
    "splitlines": method("splitlines", ["keepends"], acceptsNames: true) { interpreter, text, bound in
      try interpreter.list(text.lines(keepingEnds: interpreter.isTrue(bound[optional: 0] ?? .bool(false))))
    },
    "partition": partition("partition", fromRight: false),
    "rpartition": partition("rpartition", fromRight: true),
    "join": method("join", ["iterable"], required: 1) { try join($0, $1, $2) },
    "replace": method("replace", ["old", "new", "count"], required: 2) { interpreter, text, bound in
      let old = try interpreter.text(bound[0], "replace() argument 1")
      let new = try interpreter.text(bound[1], "replace() argument 2")
      let count = try bound[optional: 2].map(interpreter.wholeNumber) ?? -1
      return .text(
        try interpreter.replace(old, with: text.isMarkup ? new.escaped : new, in: text, count: count))
    },
    // Places.
    "find": find("find", fromRight: false, raises: false),
    "rfind": find("rfind", fromRight: true, raises: false),
    "index": find("index", fromRight: false, raises: true),
    "rindex": find("rindex", fromRight: true, raises: true),
    "count": method("count", ["sub", "start", "end"], required: 1) { interpreter, text, bound in
      let needle = try interpreter.text(bound[0], "must")
      guard let range = try byteRange(interpreter, text, bound) else { return .integer(0) }
      if needle.isEmpty { return .integer(Text(text.bytes[range]).count + 1) }
      var (count, start) = (0, range.lowerBound)
      while let found = text.firstOffset(of: needle, in: start..<range.upperBound) {
        count += 1
        start = found + needle.bytes.count
      }
      return .integer(count)
    },
    // Width.
    "center": pad("center") { total, width in total / 2 + (total & width & 1) },
    "ljust": pad("ljust") { _, _ in 0 }, "rjust": pad("rjust") { total, _ in total },
    "zfill": method("zfill", ["width"], required: 1) { interpreter, text, bound in
      let width = try interpreter.wholeNumber(bound[0])
      guard width > text.count else { return .text(text) }
      let missing = width - text.count
      try interpreter.checkLength(missing)
      try interpreter.spend(missing / 16)
      let isSigned = text.bytes.first == 0x2B || text.bytes.first == 0x2D
      let sign = isSigned ? [text.bytes[0]] : []
      return .text(
        Text(bytes: sign + Array(repeating: 0x30, count: missing) + text.bytes.dropFirst(sign.count)))
    },
    "expandtabs": method("expandtabs", ["tabsize"], acceptsNames: true) { interpreter, text, bound in
      .text(try interpreter.expandTabs(text, try bound[optional: 0].map(interpreter.wholeNumber) ?? 8))
    },
    // Formatting.
    "format": .method { interpreter, value, arguments in
      guard case .text(let text) = value else { return .none }
      var formatter = BraceFormat(interpreter, arguments)
      return .text(try formatter.format(text))
    },
    "format_map": .method { interpreter, value, arguments in
      guard case .text(let text) = value else { return .none }
      let mapping = try arguments.bound(
        to: ["mapping"], required: 1, function: "format_map", acceptsNames: false)[0]
      guard case .dictionary(let dictionary) = mapping else {
        throw TemplateError(.type, "format_map() argument must be dict, not \(mapping.typeName)")
      }
      var named: [(name: Text, value: Value)] = []
      for case (.text(let name), let value) in dictionary.entries { named.append((name, value)) }
      var formatter = BraceFormat(interpreter, Arguments(named: named))
      return .text(try formatter.format(text))
    },
    "encode": Attribute.unsupported("str.encode"), "translate": Attribute.unsupported("str.translate"),
    "maketrans": Attribute.unsupported("str.maketrans"),
  ]

  // MARK: Ends

  private static func strip(_ name: String, left: Bool, right: Bool) -> Attribute {
    method(name, ["chars"]) { interpreter, text, bound in
      guard let chars = bound[optional: 0] else { return .text(text.stripped(left: left, right: right)) }
      return .text(try interpreter.strip(text, of: chars, left: left, right: right))
    }
  }

  private static func hasEnd(_ name: String, _ matches: @escaping @Sendable (Text, Text) -> Bool) -> Attribute
  {
    method(name, ["prefix", "start", "end"], required: 1) { interpreter, text, bound in
      guard let range = try byteRange(interpreter, text, bound) else { return .bool(false) }
      let part = range == 0..<text.bytes.count ? text : Text(text.bytes[range])
      if case .text(let end) = bound[0] { return .bool(matches(part, end)) }
      guard case .tuple(let ends) = bound[0] else {
        throw TemplateError(
          .type, "\(name) first arg must be str or a tuple of str, not \(bound[0].typeName)")
      }
      for end in ends.elements {
        guard case .text(let end) = end else {
          throw TemplateError(.type, "tuple for \(name) must only contain str, not \(end.typeName)")
        }
        if matches(part, end) { return .bool(true) }
      }
      return .bool(false)
    }
  }

  // MARK: Places

  /// The bytes between the second and third argument, which count code points; `nil` where they lie the wrong way
  /// round, and nothing is found, not even nothing.
  private static func byteRange(
    _ interpreter: Interpreter, _ text: Text, _ bound: BoundArguments
  ) throws -> Range<Int>? {
    func index(_ value: Value?) throws -> Int? {
      guard let value else { return nil }
      if case .none = value { return nil }
      return try interpreter.wholeNumber(value)
    }
    let (start, stop) = (try index(bound[optional: 1]), try index(bound[optional: 2]))
    if start == nil, stop == nil { return 0..<text.bytes.count }
    let count = text.count
    if let start, start > count { return nil }
    let (first, end) = ContainerMethods.clamped(start ?? 0, stop ?? count, count)
    guard first <= end else { return nil }
    return text.byteOffset(of: first)..<text.byteOffset(of: end)
  }

  private static func find(_ name: String, fromRight: Bool, raises: Bool) -> Attribute {
    method(name, ["sub", "start", "end"], required: 1) { interpreter, text, bound in
      let needle = try interpreter.text(bound[0], "must")
      if let range = try byteRange(interpreter, text, bound),
        let offset = fromRight
          ? text.lastOffset(of: needle, in: range) : text.firstOffset(of: needle, in: range)
      {
        return .integer(text.index(ofByte: offset))
      }
      if raises { throw TemplateError(.value, "substring not found") }
      return .integer(-1)
    }
  }

  // MARK: Parts

  private static func split(_ name: String, fromRight: Bool) -> Attribute {
    method(name, ["sep", "maxsplit"], acceptsNames: true) { interpreter, text, bound in
      let limit = try bound[optional: 1].map(interpreter.wholeNumber) ?? -1
      let separator = bound[optional: 0] ?? .none
      if case .none = separator {
        return try interpreter.list(splitAtSpace(text, limit < 0 ? .max : limit, fromRight: fromRight))
      }
      let needle = try interpreter.text(separator, "must be str or None, not \(separator.typeName);")
      guard !needle.isEmpty else { throw TemplateError(.value, "empty separator") }
      return try interpreter.list(
        split(text, at: needle, limit < 0 ? .max : limit, fromRight: fromRight))
    }
  }

  private static func split(_ text: Text, at separator: Text, _ limit: Int, fromRight: Bool) -> [Text] {
    var parts: [Text] = []
    var rest = 0..<text.bytes.count
    while parts.count < limit {
      guard
        let offset = fromRight
          ? text.lastOffset(of: separator, in: rest) : text.firstOffset(of: separator, in: rest)
      else { break }
      let end = offset + separator.bytes.count
      parts.append(
        Text(
          text.bytes[fromRight ? end..<rest.upperBound : rest.lowerBound..<offset], isMarkup: text.isMarkup))
      rest = fromRight ? rest.lowerBound..<offset : end..<rest.upperBound
    }
    parts.append(Text(text.bytes[rest], isMarkup: text.isMarkup))
    return fromRight ? parts.reversed() : parts
  }

  private static func splitAtSpace(_ text: Text, _ limit: Int, fromRight: Bool) -> [Text] {
    // The words, and after the limit whatever is left, with the space within it.
    var words: [Range<Int>] = []
    var (offset, start): (Int, Int?) = (0, nil)
    while offset < text.bytes.count {
      let (point, length) = Text.codePoint(text.bytes, at: offset)
      if Text.isSpace(point) {
        if let begin = start { words.append(begin..<offset) }
        start = nil
      } else if start == nil {
        start = offset
      }
      offset += length
    }
    if let begin = start { words.append(begin..<text.bytes.count) }
    func part(_ range: Range<Int>) -> Text { Text(text.bytes[range], isMarkup: text.isMarkup) }
    guard words.count > limit else { return words.map(part) }
    if fromRight {
      // What is left over on the left begins with the text, white space included.
      return [part(0..<words[words.count - limit - 1].upperBound)] + words.suffix(limit).map(part)
    }
    let begin = words[limit].lowerBound
    return words.prefix(limit).map(part) + [Text(text.bytes[begin...], isMarkup: text.isMarkup)]
  }

  private static func partition(_ name: String, fromRight: Bool) -> Attribute {
    method(name, ["sep"], required: 1) { interpreter, text, bound in
      let separator = try interpreter.text(bound[0], "must")
      guard !separator.isEmpty else { throw TemplateError(.value, "empty separator") }
      let all = 0..<text.bytes.count
      guard
        let offset = fromRight
          ? text.lastOffset(of: separator, in: all) : text.firstOffset(of: separator, in: all)
      else {
        let parts: [Text] = fromRight ? [.empty, .empty, text] : [text, .empty, .empty]
        return try interpreter.tuple(parts.map(Value.text))
      }
      let end = offset + separator.bytes.count
      return try interpreter.tuple(
        [Text(text.bytes[..<offset]), separator, Text(text.bytes[end...])].map {
          .text($0.marked(like: text))
        })
    }
  }

  private static func join(_ interpreter: Interpreter, _ separator: Text, _ bound: BoundArguments) throws
    -> Value
  {
    guard bound[0].isIterable else { throw TemplateError(.type, "can only join an iterable") }
    var out: [UInt8] = []
    for (index, element) in try interpreter.elements(of: bound[0]).enumerated() {
      guard case .text(let text) = element else {
        throw TemplateError(
          .type, "sequence item \(index): expected str instance, \(element.typeName) found")
      }
      if index > 0 { out += separator.bytes }
      out += separator.isMarkup ? text.escaped.bytes : text.bytes
      try interpreter.checkLength(out.count)
    }
    try interpreter.spend(out.count / 16)
    return .text(Text(bytes: out, isMarkup: separator.isMarkup))
  }

  // MARK: Width

  /// - Parameter left: of the filling characters, given how many there are and the width wanted.
  private static func pad(_ name: String, left: @escaping @Sendable (Int, Int) -> Int) -> Attribute {
    method(name, ["width", "fillchar"], required: 1) { interpreter, text, bound in
      let width = try interpreter.wholeNumber(bound[0])
      let fill = try bound[optional: 1].map { try interpreter.text($0, "The fill character") } ?? " "
      guard fill.count == 1 else {
        throw TemplateError(.type, "The fill character must be exactly one character long")
      }
      return .text(try interpreter.pad(text, to: width, fill) { left($0, width) })
    }
  }
}

extension Interpreter {
  /// A text filled up to a width.
  func pad(_ text: Text, to width: Int, _ fill: Text = " ", left: (Int) -> Int) throws -> Text {
    let count = text.count
    guard width > count else { return text }
    let total = width - count
    let (bytes, overflow) = total.multipliedReportingOverflow(by: fill.bytes.count)
    try checkLength(overflow ? .max : bytes)
    try spend(bytes / 16)
    let before = left(total)
    func filling(_ count: Int) -> [UInt8] { Array(repeatElement(fill.bytes, count: count).joined()) }
    return Text(bytes: filling(before) + text.bytes + filling(total - before), isMarkup: text.isMarkup)
  }

  /// `text.strip(chars)`.
  func strip(_ text: Text, of chars: Value, left: Bool = true, right: Bool = true) throws -> Text {
    if case .none = chars { return text.stripped(left: left, right: right) }
    guard case .text(let set) = chars else {
      throw TemplateError(.type, "strip arg must be None or str")
    }
    let points = Set(set.codePoints)
    return text.stripped(left: left, right: right) { points.contains($0) }
  }

  /// `text.replace(old, new, count)`; a negative count means all.
  func replace(_ old: Text, with new: Text, in text: Text, count: Int) throws -> Text {
    let limit = count < 0 ? Int.max : count
    try spend(text.bytes.count / 16)
    var out: [UInt8] = []
    var (done, start) = (0, 0)
    if old.isEmpty {
      // Before each character and at the end.
      for character in text.characters {
        if done < limit { out += new.bytes }
        done += done < limit ? 1 : 0
        out += character.bytes
        try checkLength(out.count)
      }
      if done < limit { out += new.bytes }
    } else {
      while done < limit, let found = text.firstOffset(of: old, in: start..<text.bytes.count) {
        out += text.bytes[start..<found]
        out += new.bytes
        start = found + old.bytes.count
        done += 1
        try checkLength(out.count)
      }
      out += text.bytes[start...]
    }
    try checkLength(out.count)
    try spend(out.count / 16)
    return Text(bytes: out, isMarkup: text.isMarkup)
  }

  /// `text.expandtabs(size)`.
  func expandTabs(_ text: Text, _ size: Int) throws -> Text {
    var out: [UInt8] = []
    var column = 0
    for point in text.codePoints {
      switch point {
      case 0x09:
        guard size > 0 else { continue }
        let width = size - column % size
        try checkLength(out.count + min(width, Int.max / 2))
        try spend(width / 16)
        out += Array(repeating: 0x20, count: width)
        column += width
      case 0x0A, 0x0D:
        out.append(UInt8(point))
        column = 0
      default:
        Text.append(point, to: &out)
        column += 1
      }
    }
    return Text(bytes: out, isMarkup: text.isMarkup)
  }
}

extension Text {
  /// What `escape` makes of a text: safe within HTML, and marked so that it is not escaped again.
  var escaped: Text {
    if isMarkup { return self }
    var out: [UInt8] = []
    for byte in bytes {
      switch byte {
      case 0x26: out += Array("&amp;".utf8)
      case 0x3C: out += Array("&lt;".utf8)
      case 0x3E: out += Array("&gt;".utf8)
      case 0x27: out += Array("&#39;".utf8)
      case 0x22: out += Array("&#34;".utf8)
      default: out.append(byte)
      }
    }
    return Text(bytes: out, isMarkup: true)
  }
}
