/// Cuts a template into tokens, with white space controlled as transformers asks jinja2 to: `trim_blocks` (the
/// line end after a statement goes) and `lstrip_blocks` (the white space before one on its line goes).
///
/// - SeeAlso: jinja2 3.1 `lexer.py`, whose rules this follows one by one.
struct Lexer {
  private let source: [UInt8]
  private var position = 0
  private var line = 1
  /// Whether what was read last ends a line; a template begins as if it did.
  private var startsLine = true
  private var tokens: [Token] = []
  /// The closing brackets that are awaited.
  private var brackets: [UInt8] = []

  /// The tokens of a template, an end token last.
  ///
  /// - Returns: the tokens, and the fault that cut them short: the parser may meet one of its own before.
  static func tokenize(_ source: String) -> (tokens: [Token], fault: TemplateError?) {
    var lexer = Lexer(source: Lexer.normalized(Array(source.utf8)))
    var fault: TemplateError?
    do {
      while lexer.position < lexer.source.count { try lexer.readData() }
    } catch {
      fault = error as? TemplateError
    }
    lexer.add(.end)
    return (lexer.tokens, fault)
  }

  private init(source: [UInt8]) { self.source = source }

  /// With `\n` for every kind of line end, and without the one that ends the file.
  private static func normalized(_ bytes: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var index = 0
    while index < bytes.count {
      if bytes[index] == 0x0D {
        out.append(0x0A)
        if index + 1 < bytes.count, bytes[index + 1] == 0x0A { index += 1 }
      } else {
        out.append(bytes[index])
      }
      index += 1
    }
    if out.last == 0x0A { out.removeLast() }
    return out
  }

  // MARK: Between tags

  private enum Opening {
    case variable, block, comment
    /// `{% raw %}`, which ends at this offset.
    case raw(end: Int)
  }

  /// Reads text up to the next tag, and the tag.
  private mutating func readData() throws {
    let start = position
    guard let (offset, opening) = nextOpening(from: start) else {
      addData(start..<source.count)
      position = source.count
      return
    }
    let sign = byte(offset + 2) == 0x2D || byte(offset + 2) == 0x2B ? byte(offset + 2) : 0
    addData(start..<end(ofText: start..<offset, before: opening, sign))
    line += newlines(start..<offset)
    let tagEnd = offset + (sign == 0 ? 2 : 3)
    switch opening {
    case .variable:
      add(.variableBegin)
      advance(to: tagEnd)
      try readTag(isBlock: false)
    case .block:
      add(.blockBegin)
      advance(to: tagEnd)
      try readTag(isBlock: true)
    case .comment:
      try skipComment(from: tagEnd)
    case .raw(let end):
      line += newlines(offset..<end)
      advance(to: end)
      try readRaw()
    }
  }

  private func nextOpening(from start: Int) -> (Int, Opening)? {
    var offset = start
    while offset + 1 < source.count {
      if source[offset] == 0x7B {
        switch source[offset + 1] {
        case 0x7B: return (offset, .variable)
        case 0x23: return (offset, .comment)
        case 0x25:
          if let end = endOfRawBegin(offset) { return (offset, .raw(end: end)) }
          return (offset, .block)
        default: break
        }
      }
      offset += 1
    }
    return nil
  }

  /// Where a `{% raw %}` that begins at an offset ends; `nil` if it is another tag.
  private func endOfRawBegin(_ offset: Int) -> Int? {
    var index = offset + 2
    if byte(index) == 0x2D || byte(index) == 0x2B { index += 1 }
    index = endOfSpace(index)
    guard matches("raw", at: index) else { return nil }
    index = endOfSpace(index + 3)
    if matches("-%}", at: index) { return endOfSpace(index + 3) }
    return matches("%}", at: index) ? index + 2 : nil
  }

  /// Where the text before a tag ends once the tag has had its way with the white space.
  private func end(ofText range: Range<Int>, before opening: Opening, _ sign: UInt8) -> Int {
    if sign == 0x2D {
      return range.lowerBound + Text(source[range]).stripped(left: false).bytes.count
    }
    if sign == 0x2B { return range.upperBound }
    if case .variable = opening { return range.upperBound }
    let lastNewline = source[range].lastIndex(of: 0x0A)
    let lineStart = lastNewline.map { $0 + 1 } ?? range.lowerBound
    guard lastNewline != nil || startsLine else { return range.upperBound }
    return endOfSpace(lineStart) >= range.upperBound ? lineStart : range.upperBound
  }

  private mutating func skipComment(from start: Int) throws {
    var index = start
    while index + 1 < source.count {
      if let end = endOfTag("#}", at: index, trims: true) {
        line += newlines(start..<end)
        advance(to: end)
        return
      }
      index += 1
    }
    throw error("Missing end of comment tag")
  }

  /// Reads text that is not looked into, up to its `{% endraw %}`.
  private mutating func readRaw() throws {
    let start = position
    var index = start
    while index + 1 < source.count {
      if matches("{%", at: index), let end = endOfRawEnd(index) {
        let sign = byte(index + 2)
        addData(
          start..<self.end(ofText: start..<index, before: .block, sign == 0x2D || sign == 0x2B ? sign : 0))
        line += newlines(start..<end)
        advance(to: end)
        return
      }
      index += 1
    }
    throw error("Missing end of raw directive")
  }

  private func endOfRawEnd(_ offset: Int) -> Int? {
    var index = offset + 2
    if byte(index) == 0x2D || byte(index) == 0x2B { index += 1 }
    index = endOfSpace(index)
    guard matches("endraw", at: index) else { return nil }
    return endOfTag("%}", at: endOfSpace(index + 6), trims: true)
  }

  /// Where a closing tag at an offset ends: `+%}`, `-%}` with the space after it, or `%}` with the line end.
  private func endOfTag(_ tag: String, at index: Int, trims: Bool) -> Int? {
    if matches("-" + tag, at: index) { return endOfSpace(index + 3) }
    if trims, matches("+" + tag, at: index) { return index + 3 }
    guard matches(tag, at: index) else { return nil }
    return trims && byte(index + 2) == 0x0A ? index + 3 : index + 2
  }

  // MARK: Within tags

  private mutating func readTag(isBlock: Bool) throws {
    while true {
      if brackets.isEmpty, let end = endOfTag(isBlock ? "%}" : "}}", at: position, trims: isBlock) {
        add(isBlock ? .blockEnd : .variableEnd)
        line += newlines(position..<end)
        advance(to: end)
        return
      }
      guard position < source.count else { return }
      let spaceEnd = endOfSpace(position)
      if spaceEnd > position {
        line += newlines(position..<spaceEnd)
        advance(to: spaceEnd)
        continue
      }
      if try readNumber() { continue }
      if try readName() { continue }
      if try readString() { continue }
      if try readSymbol() { continue }
      let character = Text(codePoints: [Text.codePoint(source, at: position).point])
      throw error("unexpected char \(character.quoted) at \(Text(source[..<position]).count)")
    }
  }

  private func isDigit(_ index: Int) -> Bool { (0x30...0x39).contains(byte(index)) }

  /// Past digits that single underscores may part; `nil` where there are none.
  private func endOfDigits(_ start: Int, where isDigit: (UInt8) -> Bool) -> Int? {
    guard isDigit(byte(start)) else { return nil }
    var index = start + 1
    while isDigit(byte(index)) || (byte(index) == 0x5F && isDigit(byte(index + 1))) { index += 1 }
    return index
  }

  private mutating func readNumber() throws -> Bool {
    guard isDigit(position) else { return false }
    let decimal: (UInt8) -> Bool = { (0x30...0x39).contains($0) }
    if position == 0 || byte(position - 1) != 0x2E, let end = endOfFloat(decimal) {
      let text = String(decoding: source[position..<end].filter { $0 != 0x5F }, as: UTF8.self)
      guard let value = Double(text), value.isFinite else {
        throw error("the number \(text) is out of range")
      }
      add(.float(value))
      advance(to: end)
      return true
    }
    let radices: [(letter: UInt8, radix: Int)] = [(0x62, 2), (0x6F, 8), (0x78, 16)]
    for (letter, radix) in radices where byte(position) == 0x30 && byte(position + 1) | 0x20 == letter {
      let first = byte(position + 2) == 0x5F ? position + 3 : position + 2
      let isDigit: (UInt8) -> Bool = { Lexer.digit($0).map { $0 < radix } == true }
      if let end = endOfDigits(first, where: isDigit) { return try addInteger(first, end, radix) }
    }
    // Zero is written with zeros only: `007` is the number 0 and then another.
    let isZero = byte(position) == 0x30
    guard let end = endOfDigits(position, where: isZero ? { $0 == 0x30 } : decimal) else { return false }
    return try addInteger(position, end, 10)
  }

  private func endOfFloat(_ isDigit: (UInt8) -> Bool) -> Int? {
    guard let whole = endOfDigits(position, where: isDigit) else { return nil }
    let fraction = byte(whole) == 0x2E ? endOfDigits(whole + 1, where: isDigit) : nil
    let mantissa = fraction ?? whole
    if byte(mantissa) | 0x20 == 0x65 {
      let signed = byte(mantissa + 1) == 0x2B || byte(mantissa + 1) == 0x2D ? mantissa + 2 : mantissa + 1
      if let exponent = endOfDigits(signed, where: isDigit) { return exponent }
    }
    return fraction
  }

  private mutating func addInteger(_ start: Int, _ end: Int, _ radix: Int) throws -> Bool {
    let text = String(decoding: source[start..<end].filter { $0 != 0x5F }, as: UTF8.self)
    guard let value = Int(text, radix: radix) else {
      throw TemplateError(.limit, "the number \(text.prefix(40)) does not fit 64 bits", line: line)
    }
    add(.integer(value))
    advance(to: end)
    return true
  }

  static func digit(_ byte: UInt8) -> Int? {
    switch byte {
    case 0x30...0x39: Int(byte) - 0x30
    case 0x41...0x5A: Int(byte) - 0x41 + 10
    case 0x61...0x7A: Int(byte) - 0x61 + 10
    default: nil
    }
  }

  private mutating func readName() throws -> Bool {
    var end = position
    while end < source.count {
      let (point, length) = Text.codePoint(source, at: end)
      guard Text.isWord(point) || Unicode.Scalar(point)?.properties.isXIDContinue == true else { break }
      end += length
    }
    guard end > position else { return false }
    let name = Text(source[position..<end])
    guard name.isIdentifier else { throw error("Invalid character in identifier") }
    add(.name(name.string))
    advance(to: end)
    return true
  }

  private mutating func readString() throws -> Bool {
    let quote = byte(position)
    guard quote == 0x27 || quote == 0x22 else { return false }
    var end = position + 1
    while end < source.count, source[end] != quote { end += source[end] == 0x5C ? 2 : 1 }
    guard end < source.count else { return false }
    let content = source[(position + 1)..<end]
    do {
      add(.string(try StringLiteral.unescaped(content)))
    } catch let fault as TemplateError {
      throw error(fault.message)
    }
    line += newlines(position..<end + 1)
    advance(to: end + 1)
    return true
  }

  private mutating func readSymbol() throws -> Bool {
    for length in [2, 1] where position + length <= source.count {
      let text = String(decoding: source[position..<position + length], as: UTF8.self)
      guard let symbol = Token.Symbol(rawValue: text) else { continue }
      switch symbol {
      case .leftBrace: brackets.append(0x7D)
      case .leftParenthesis: brackets.append(0x29)
      case .leftBracket: brackets.append(0x5D)
      case .rightBrace, .rightParenthesis, .rightBracket:
        guard let expected = brackets.popLast() else { throw error("unexpected '\(text)'") }
        if expected != byte(position) {
          throw error("unexpected '\(text)', expected '\(Character(Unicode.Scalar(expected)))'")
        }
      default: break
      }
      add(.symbol(symbol))
      advance(to: position + length)
      return true
    }
    return false
  }

  // MARK: Helpers

  private mutating func add(_ kind: Token.Kind) { tokens.append(Token(kind: kind, line: line)) }

  private mutating func addData(_ range: Range<Int>) {
    if !range.isEmpty { add(.data(Text(source[range]))) }
  }

  private mutating func advance(to end: Int) {
    if end > position { startsLine = source[end - 1] == 0x0A }
    position = end
  }

  private func byte(_ index: Int) -> UInt8 { index < source.count ? source[index] : 0 }

  private func matches(_ text: String, at index: Int) -> Bool {
    index + text.utf8.count <= source.count
      && source[index..<index + text.utf8.count].elementsEqual(text.utf8)
  }

  private func endOfSpace(_ start: Int) -> Int {
    var index = start
    while index < source.count {
      let (point, length) = Text.codePoint(source, at: index)
      guard Text.isSpace(point) else { break }
      index += length
    }
    return index
  }

  private func newlines(_ range: Range<Int>) -> Int { source[range].count { $0 == 0x0A } }

  private func error(_ message: String) -> TemplateError { TemplateError(.syntax, message, line: line) }
}

/// String literals: Python's `unicode-escape`.
enum StringLiteral {
  /// What a literal between its quotes means.
  ///
  /// - Throws: `TemplateError.syntax` for an escape that is cut short.
  static func unescaped(_ source: ArraySlice<UInt8>) throws -> Text {
    guard source.contains(0x5C) else { return Text(source) }
    let bytes = Array(source)
    var out: [UInt8] = []
    var index = 0
    while index < bytes.count {
      guard bytes[index] == 0x5C, index + 1 < bytes.count else {
        out.append(bytes[index])
        index += 1
        continue
      }
      let letter = bytes[index + 1]
      index += 2
      if let simple = plainEscapes[letter] {
        out.append(simple)
        continue
      }
      switch letter {
      case 0x0A: break
      case 0x30...0x37:
        var value = UInt32(letter - 0x30)
        for _ in 0..<2 where index < bytes.count && (0x30...0x37).contains(bytes[index]) {
          value = value << 3 | UInt32(bytes[index] - 0x30)
          index += 1
        }
        Text.append(value, to: &out)
      case 0x78: Text.append(try hexadecimal(bytes, &index, 2, "truncated \\xXX escape"), to: &out)
      case 0x75: Text.append(try hexadecimal(bytes, &index, 4, "truncated \\uXXXX escape"), to: &out)
      case 0x55:
        let value = try hexadecimal(bytes, &index, 8, "truncated \\UXXXXXXXX escape")
        guard value <= 0x10FFFF else { throw TemplateError(.syntax, "illegal Unicode character") }
        Text.append(value, to: &out)
      case 0x4E: throw TemplateError(.unsupported, "characters by name (\\N{...}) are not supported")
      default:
        out.append(0x5C)
        guard letter >= 0x80 else {
          out.append(letter)
          break
        }
        // jinja2 spells the character out in ASCII before it looks for escapes, and the backslash then escapes
        // the one of the spelling.
        let (point, length) = Text.codePoint(bytes, at: index - 1)
        index += length - 1
        let escape =
          point < 0x100
          ? Text.escape("x", point, 2)
          : point < 0x10000 ? Text.escape("u", point, 4) : Text.escape("U", point, 8)
        out += escape.dropFirst()
      }
    }
    return Text(bytes: out)
  }

  private static let plainEscapes: [UInt8: UInt8] = [
    0x5C: 0x5C, 0x27: 0x27, 0x22: 0x22, 0x61: 0x07, 0x62: 0x08, 0x66: 0x0C, 0x6E: 0x0A, 0x72: 0x0D,
    0x74: 0x09,
    0x76: 0x0B,
  ]

  private static func hexadecimal(
    _ bytes: [UInt8], _ index: inout Int, _ count: Int, _ message: String
  ) throws -> UInt32 {
    var value: UInt64 = 0
    for _ in 0..<count {
      guard index < bytes.count, let digit = Lexer.digit(bytes[index]), digit < 16 else {
        throw TemplateError(.syntax, message)
      }
      value = value << 4 | UInt64(digit)
      index += 1
    }
    // Safe: eight digits are 32 bits.
    return UInt32(value)
  }
}
