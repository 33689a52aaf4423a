extension Filters {
  private static func change(_ name: String, _ body: @escaping @Sendable (Text) -> Text) -> Body {
    filter(name) { interpreter, value, _ in
      let text = try interpreter.softString(value)
      try interpreter.spend(text.bytes.count / 4)
      return .text(body(text))
    }
  }

  /// Filters of texts.
  static let texts: [String: Body] = [
    "upper": change("upper", \.uppercased), "lower": change("lower", \.lowercased),
    "capitalize": change("capitalize", \.capitalized), "title": change("title", title),
    "string": filter("string") { interpreter, value, _ in .text(try interpreter.softString(value)) },
    "escape": filter("escape") { try escape($0, $1, $2) }, "e": filter("escape") { try escape($0, $1, $2) },
    "forceescape": filter("forceescape") { interpreter, value, _ in
      .text(try interpreter.string(value).escaped)
    },
    "safe": filter("safe") { interpreter, value, _ in
      var text = try interpreter.string(value)
      text.isMarkup = true
      return .text(text)
    },
    "trim": filter("trim", ["chars"]) { interpreter, value, bound in
      .text(try interpreter.strip(interpreter.softString(value), of: bound[optional: 0] ?? .none))
    },
    "replace": filter("replace", ["old", "new", "count"], required: 2) { interpreter, value, bound in
      var count = -1
      if let given = bound[optional: 2] {
        if case .none = given {} else { count = try interpreter.wholeNumber(given) }
      }
      return .text(
        try interpreter.replace(
          interpreter.string(bound[0]), with: interpreter.string(bound[1]), in: interpreter.string(value),
          count: count))
    },
    "indent": filter("indent", ["width", "first", "blank"], indent),
    "center": filter("center", ["width"]) { interpreter, value, bound in
      let width = try bound[optional: 0].map(interpreter.wholeNumber) ?? 80
      return .text(
        try interpreter.pad(interpreter.softString(value), to: width) { $0 / 2 + ($0 & width & 1) })
    },
    "format": { interpreter, value, arguments in
      guard arguments.positional.isEmpty || arguments.named.isEmpty else {
        throw TemplateError(.value, "can't handle positional and keyword arguments at the same time")
      }
      let values: Value
      if arguments.named.isEmpty {
        values = try interpreter.tuple(arguments.positional)
      } else {
        values = .dictionary(
          try interpreter.dictionary(arguments.named.map { (.text($0.name), $0.value) }))
      }
      return .text(try interpreter.percentFormat(interpreter.softString(value), values))
    },
    "wordcount": filter("wordcount") { interpreter, value, _ in
      let text = try interpreter.softString(value)
      try interpreter.spend(text.bytes.count)
      var (count, isInWord) = (0, false)
      for point in text.codePoints {
        let isWord = Text.isWord(point)
        if isWord, !isInWord { count += 1 }
        isInWord = isWord
      }
      return .integer(count)
    },
    "truncate": filter("truncate", ["length", "killwords", "end", "leeway"], truncate),
    "striptags": filter("striptags") { interpreter, value, _ in try striptags(interpreter, value) },
    "urlencode": filter("urlencode") { interpreter, value, _ in try urlencode(interpreter, value) },
    "xmlattr": filter("xmlattr", ["autospace"], xmlattr),
    "filesizeformat": filter("filesizeformat", ["binary"], filesizeformat),
  ]

  private static func escape(_ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments) throws
    -> Value
  {
    .text(try interpreter.softString(value).escaped)
  }

  /// Words begin after white space and a few signs; each run of those is kept.
  @Sendable private static func title(_ text: Text) -> Text {
    var out: [UInt8] = []
    var item: [UInt32] = []
    func flush() {
      guard let first = item.first else { return }
      out += Text(codePoints: [first]).uppercased.bytes
      out += Text(codePoints: item.dropFirst()).lowercased.bytes
      item = []
    }
    var wasSeparator = false
    for point in text.codePoints {
      let isSeparator = Text.isSpace(point) || [0x2D, 0x28, 0x7B, 0x5B, 0x3C].contains(point)
      if isSeparator != wasSeparator { flush() }
      wasSeparator = isSeparator
      item.append(point)
    }
    flush()
    return Text(bytes: out)
  }

  @Sendable private static func indent(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    var indention: Text
    switch bound[optional: 0] ?? .integer(4) {
    case .text(let text): indention = text
    case let width:
      let count = max(0, try interpreter.wholeNumber(width))
      try interpreter.checkLength(count)
      indention = Text(bytes: Array(repeating: 0x20, count: count))
    }
    let (indentsFirst, indentsBlank) = (
      try interpreter.isTrue(bound[optional: 1] ?? .bool(false)),
      try interpreter.isTrue(bound[optional: 2] ?? .bool(false))
    )
    guard case .text(let text) = try interpreter.apply(.add, value, .text("\n")) else {
      throw TemplateError(.type, "'\(value.typeName)' object has no attribute 'splitlines'")
    }
    var out: [UInt8] = indentsFirst ? indention.bytes : []
    for (index, line) in text.lines().enumerated() {
      if index > 0 {
        out.append(0x0A)
        if indentsBlank || !line.isEmpty { out += indention.bytes }
      }
      out += line.bytes
      try interpreter.spend(1 + indention.bytes.count / 16)
      try interpreter.checkLength(out.count)
    }
    return .text(Text(bytes: out, isMarkup: text.isMarkup))
  }

  @Sendable private static func truncate(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    let length = try bound[optional: 0].map(interpreter.wholeNumber) ?? 255
    let end = try bound[optional: 2].map { try interpreter.text($0, "the end of a truncated text") } ?? "..."
    var leeway = 5
    if let given = bound[optional: 3] {
      if case .none = given {} else { leeway = try interpreter.wholeNumber(given) }
    }
    guard length >= end.count else {
      throw TemplateError(.value, "expected length >= \(end.count), got \(length)")
    }
    guard leeway >= 0 else { throw TemplateError(.value, "expected leeway >= 0, got \(leeway)") }
    guard let count = try interpreter.length(of: value) else {
      throw TemplateError(.type, "object of type '\(value.typeName)' has no len()")
    }
    let (limit, overflow) = length.addingReportingOverflow(leeway)
    if overflow || count <= limit { return value }
    let text = try interpreter.text(value, "what is truncated")
    var kept = text.slice(0..<(length - end.count))
    if try !interpreter.isTrue(bound[optional: 1] ?? .bool(false)) {
      if let space = kept.lastOffset(of: " ", in: 0..<kept.bytes.count) { kept = Text(kept.bytes[..<space]) }
    }
    return .text(try interpreter.joined(kept, end))
  }

  private static func striptags(_ interpreter: Interpreter, _ value: Value) throws -> Value {
    let text = try interpreter.string(value)
    if text.contains("&") {
      throw TemplateError(.unsupported, "striptags of texts with character references is not supported")
    }
    var out = text
    // Comments first, then tags, as markupsafe does; a text is short of a closing sign only once.
    for (open, close) in [(Text("<!--"), Text("-->")), (Text("<"), Text(">"))] {
      var (bytes, start): ([UInt8], Int) = ([], 0)
      while let begin = out.firstOffset(of: open, in: start..<out.bytes.count),
        let end = out.firstOffset(of: close, in: begin..<out.bytes.count)
      {
        try interpreter.spend(1)
        bytes += out.bytes[start..<begin]
        start = end + close.bytes.count
      }
      out = Text(bytes: bytes + out.bytes[start...])
    }
    var words: [UInt8] = []
    var isInSpace = true
    for point in out.codePoints {
      if Text.isSpace(point) {
        isInSpace = true
      } else {
        if isInSpace, !words.isEmpty { words.append(0x20) }
        isInSpace = false
        Text.append(point, to: &words)
      }
    }
    return .text(Text(bytes: words))
  }

  // MARK: Addresses and attributes

  private static func quoted(_ interpreter: Interpreter, _ value: Value, forQuery: Bool) throws -> [UInt8] {
    let bytes = try interpreter.string(value).bytes
    try interpreter.spend(bytes.count)
    var out: [UInt8] = []
    for byte in bytes {
      switch byte {
      case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x5F, 0x2E, 0x2D, 0x7E: out.append(byte)
      case 0x2F where !forQuery: out.append(byte)
      case 0x20 where forQuery: out.append(0x2B)
      default:
        out += Array((byte < 16 ? "%0" : "%").utf8) + Array(String(byte, radix: 16, uppercase: true).utf8)
      }
    }
    return out
  }

  private static func urlencode(_ interpreter: Interpreter, _ value: Value) throws -> Value {
    if case .text = value { return .text(Text(bytes: try quoted(interpreter, value, forQuery: false))) }
    guard value.isIterable else { return .text(Text(bytes: try quoted(interpreter, value, forQuery: false))) }
    var out: [UInt8] = []
    let pairs: [Value]
    if case .dictionary(let dictionary) = value {
      pairs = DictionaryView(dictionary: dictionary, part: .items).elements
    } else {
      pairs = try interpreter.elements(of: value)
    }
    for (index, pair) in pairs.enumerated() {
      let parts = try interpreter.elements(of: pair)
      guard parts.count == 2 else {
        throw TemplateError(.value, "not enough values to unpack (expected 2, got \(parts.count))")
      }
      if index > 0 { out.append(0x26) }
      out += try quoted(interpreter, parts[0], forQuery: true)
      out.append(0x3D)
      out += try quoted(interpreter, parts[1], forQuery: true)
    }
    return .text(Text(bytes: out))
  }

  @Sendable private static func xmlattr(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    if case .undefined(let undefined) = value { throw undefined.error }
    guard case .dictionary(let dictionary) = value else {
      throw TemplateError(.type, "'\(value.typeName)' object has no attribute 'items'")
    }
    var parts: [[UInt8]] = []
    for (key, value) in dictionary.entries {
      if case .none = value { continue }
      if value.isUndefined { continue }
      let name = try interpreter.text(key, "the name of an attribute")
      guard
        !name.bytes.contains(where: {
          Text.isSpace(UInt32($0)) && $0 < 0x1C || [0x20, 0x2F, 0x3E, 0x3D].contains($0)
        })
      else { throw TemplateError(.value, "Invalid character in attribute name: \(name.quoted)") }
      let content = try interpreter.softString(value).escaped
      parts.append(name.escaped.bytes + [0x3D, 0x22] + content.bytes + [0x22])
    }
    var out = Array(parts.joined(separator: [0x20]))
    if try interpreter.isTrue(bound[optional: 0] ?? .bool(true)), !out.isEmpty { out.insert(0x20, at: 0) }
    try interpreter.checkLength(out.count)
    return .text(Text(bytes: out))
  }

  @Sendable private static func filesizeformat(
    _ interpreter: Interpreter, _ value: Value, _ bound: BoundArguments
  ) throws -> Value {
    guard let bytes = try NumberReading.float(value) else {
      throw TemplateError(
        .value, "could not convert string to float: \(try interpreter.representation(value).string)")
    }
    let isBinary = try interpreter.isTrue(bound[optional: 0] ?? .bool(false))
    let base = isBinary ? 1024.0 : 1000.0
    if bytes == 1 { return "1 Byte" }
    if bytes < base { return .string("\(Int(exactly: bytes.rounded(.towardZero)) ?? 0) Bytes") }
    let prefixes =
      isBinary
      ? ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB"]
      : ["kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"]
    var unit = base
    for (index, prefix) in prefixes.enumerated() {
      unit *= base
      if bytes < unit || index == prefixes.count - 1 {
        return .string(NumberFormat.float(base * bytes / unit, type: "f", precision: 1) + " " + prefix)
      }
    }
    return "0 Bytes"
  }
}
