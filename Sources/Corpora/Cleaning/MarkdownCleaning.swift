import Tokenizers

/// Remains of Markdown, line by line.
///
/// Marks go and text stays: that of headings, lists, quotes, tables, code, emphasis, links and images.
enum MarkdownCleaning {
  private static let marks = Set("#*_`~[]!>|-+=\\:".utf8)

  static func apply(to text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    guard text.contains(where: { marks.contains($0) }) else { return nil }
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var fence: (byte: UInt8, count: Int)?
    var start = 0
    var wroteLine = false
    while start <= text.count {
      let end = text[start...].firstIndex(of: UInt8(ascii: "\n")) ?? text.count
      var line = Array(text[start..<end])
      start = end + 1
      var isKept = true
      if let found = fenceMark(line),
        fence == nil || (found.byte == fence?.byte && found.count >= fence!.count)
      {
        fence = fence == nil ? found : nil
        isKept = false
      } else if fence == nil {
        isKept = clean(&line)
      }
      if isKept {
        if wroteLine { out.append(UInt8(ascii: "\n")) }
        out.append(contentsOf: line)
        wroteLine = true
      }
    }
    return out.elementsEqual(text) ? nil : out
  }

  /// The opening or closing of a code block.
  private static func fenceMark(_ line: [UInt8]) -> (byte: UInt8, count: Int)? {
    let rest = line.drop { $0 == UInt8(ascii: " ") }
    guard let byte = rest.first, byte == UInt8(ascii: "`") || byte == UInt8(ascii: "~") else { return nil }
    let count = rest.prefix { $0 == byte }.count
    // A line such as ```code``` is no fence.
    guard count >= 3, !rest.dropFirst(count).contains(byte) else { return nil }
    return (byte, count)
  }

  /// Cleans a line outside code; false when nothing but marks was on it.
  private static func clean(_ line: inout [UInt8]) -> Bool {
    let body = trimmed(line)
    if body.isEmpty { return true }
    if isRule(body) || isTableRule(body) || isDefinition(body) { return false }
    removeBlockMarks(&line)
    let changed = trimmed(line)
    if changed.count >= 3, changed.first == UInt8(ascii: "|"), changed.last == UInt8(ascii: "|") {
      line = cells(changed)
    }
    line = cleanInline(line)
    return true
  }

  private static func trimmed(_ line: [UInt8]) -> ArraySlice<UInt8> {
    let isSpace = { (byte: UInt8) in byte == 0x20 || byte == 0x09 || byte == 0x0D }
    let rest = line.drop(while: isSpace)
    guard let last = rest.lastIndex(where: { !isSpace($0) }) else { return [] }
    return rest[...last]
  }

  /// Three or more of `-`, `*`, `_` or `=` and nothing else: a rule, or the line under a heading.
  private static func isRule(_ body: ArraySlice<UInt8>) -> Bool {
    guard let first = body.first, "-*_=".utf8.contains(first) else { return false }
    return body.allSatisfy { $0 == first || $0 == 0x20 } && body.count { $0 == first } >= 3
  }

  // `|---|:-:|`
  private static func isTableRule(_ body: ArraySlice<UInt8>) -> Bool {
    body.contains(UInt8(ascii: "|")) && body.contains(UInt8(ascii: "-"))
      && body.allSatisfy { "|-: ".utf8.contains($0) }
  }

  /// `[name]: address`, the target of a link elsewhere.
  private static func isDefinition(_ body: ArraySlice<UInt8>) -> Bool {
    guard body.first == UInt8(ascii: "["), let close = body.firstIndex(of: UInt8(ascii: "]")),
      close + 1 < body.endIndex, body[close + 1] == UInt8(ascii: ":")
    else { return false }
    let target = body[(close + 2)...].drop { $0 == 0x20 || $0 == 0x09 }
    let text = String(decoding: target.prefix(8), as: UTF8.self).lowercased()
    return ["http", "<http", "mailto:", "/", "./", "../", "#"].contains { text.hasPrefix($0) }
  }

  /// Quotes, bullets and the marks of headings at the beginning of a line.
  private static func removeBlockMarks(_ line: inout [UInt8]) {
    var rest = line[...]
    var indentation = rest.prefix { $0 == 0x20 || $0 == 0x09 }
    rest = rest.dropFirst(indentation.count)
    while rest.first == UInt8(ascii: ">") {
      rest = rest.dropFirst().drop { $0 == 0x20 }
      indentation = []
    }
    if let first = rest.first, "-*+".utf8.contains(first), rest.dropFirst().first == 0x20 {
      rest = rest.dropFirst(2).drop { $0 == 0x20 }
      for box in ["[ ] ", "[x] ", "[X] "] where rest.starts(with: box.utf8) { rest = rest.dropFirst(4) }
    }
    let depth = rest.prefix { $0 == UInt8(ascii: "#") }.count
    if (1...6).contains(depth), rest.count == depth || rest.dropFirst(depth).first == 0x20 {
      rest = rest.dropFirst(depth).drop { $0 == 0x20 }
      let body = trimmed(Array(rest))
      let closing = body.reversed().prefix { $0 == UInt8(ascii: "#") }.count
      if closing > 0, body.count == closing || body.dropLast(closing).last == 0x20 {
        rest = trimmed(Array(body.dropLast(closing)))
      }
    }
    line = Array(indentation) + rest
  }

  /// A row of a table with spaces between its cells.
  private static func cells(_ row: ArraySlice<UInt8>) -> [UInt8] {
    var out: [UInt8] = []
    var cell: [UInt8] = []
    var isEscaped = false
    for byte in row.dropFirst() {
      if byte == UInt8(ascii: "|"), !isEscaped {
        let text = trimmed(cell)
        if !text.isEmpty {
          if !out.isEmpty { out.append(0x20) }
          out.append(contentsOf: text)
        }
        cell = []
      } else {
        if isEscaped, byte == UInt8(ascii: "|") { cell.removeLast() }
        cell.append(byte)
      }
      isEscaped = byte == UInt8(ascii: "\\") && !isEscaped
    }
    return out
  }

  // MARK: Within a line

  private static func cleanInline(_ line: [UInt8]) -> [UInt8] {
    guard line.contains(where: { "*_`~[!<\\".utf8.contains($0) }) else { return line }
    return Inline(line: line).cleaned()
  }

  /// One line, read from left to right; what code and links hold is found first, emphasis in what is left.
  private struct Inline {
    let line: [UInt8]
    private var out: [UInt8] = []
    /// Bytes of `out` that are text and never marks.
    private var isLiteral: [Bool] = []

    init(line: [UInt8]) { self.line = line }

    func cleaned() -> [UInt8] {
      var copy = self
      copy.read()
      return copy.withoutEmphasis()
    }

    private mutating func append(_ bytes: some Sequence<UInt8>, literal: Bool) {
      for byte in bytes {
        out.append(byte)
        isLiteral.append(literal)
      }
    }

    private mutating func read() {
      var at = 0
      while at < line.count {
        switch line[at] {
        case UInt8(ascii: "\\"):
          if at + 1 < line.count, "*_`#~".utf8.contains(line[at + 1]) {
            append([line[at + 1]], literal: true)
            at += 2
            continue
          }
        case UInt8(ascii: "`"):
          if let (text, end) = code(at) {
            append(text, literal: true)
            at = end
            continue
          }
        case UInt8(ascii: "!"):
          if at + 1 < line.count, line[at + 1] == UInt8(ascii: "["), let (text, end) = link(at + 1) {
            append(Inline(line: text).cleaned(), literal: true)
            at = end
            continue
          }
        case UInt8(ascii: "["):
          if let (text, end) = link(at) {
            append(Inline(line: text).cleaned(), literal: true)
            at = end
            continue
          }
        case UInt8(ascii: "<"):
          if let (text, end) = address(at) {
            append(text, literal: true)
            at = end
            continue
          }
        default: break
        }
        append([line[at]], literal: false)
        at += 1
      }
    }

    /// `` `code` ``: what is between runs of as many backticks.
    private func code(_ start: Int) -> (text: ArraySlice<UInt8>, end: Int)? {
      let tick = UInt8(ascii: "`")
      let count = line[start...].prefix { $0 == tick }.count
      var at = start + count
      while at < line.count {
        guard line[at] == tick else {
          at += 1
          continue
        }
        let run = line[at...].prefix { $0 == tick }.count
        if run == count {
          var text = line[(start + count)..<at]
          if text.count > 2, text.first == 0x20, text.last == 0x20 { text = text.dropFirst().dropLast() }
          return (text, at + run)
        }
        at += run
      }
      return nil
    }

    /// `[text](address)`, `[text][name]` or `[^note]`: the text, and where it ends.
    private func link(_ start: Int) -> (text: [UInt8], end: Int)? {
      guard let close = matching(start, UInt8(ascii: "["), UInt8(ascii: "]")) else { return nil }
      let text = Array(line[(start + 1)..<close])
      let next = close + 1
      if text.first == UInt8(ascii: "^"), text.count > 1, !text.contains(0x20) { return ([], next) }
      guard next < line.count else { return nil }
      if line[next] == UInt8(ascii: "("), let end = matching(next, UInt8(ascii: "("), UInt8(ascii: ")")) {
        let target = line[(next + 1)..<end]
        // `f[i](x, y)` is no link: an address has no spaces before its title.
        guard target.split(separator: 0x20, maxSplits: 1).dropFirst().allSatisfy({ isTitle($0) }) else {
          return nil
        }
        return (text, end + 1)
      }
      if line[next] == UInt8(ascii: "["), !text.isEmpty,
        let end = matching(next, UInt8(ascii: "["), UInt8(ascii: "]")),
        start == 0 || !isWord(line[start - 1])
      {
        // `a[i][j]` is none either.
        return (text, end + 1)
      }
      return nil
    }

    private func isTitle(_ text: ArraySlice<UInt8>) -> Bool {
      let text = text.drop { $0 == 0x20 }
      guard let first = text.first, let last = text.last, text.count >= 2 else { return false }
      return (first == last && (first == UInt8(ascii: "\"") || first == UInt8(ascii: "'")))
        || first == UInt8(ascii: "=")  // the size of an image, in some dialects
    }

    /// `<https://…>`.
    private func address(_ start: Int) -> (text: ArraySlice<UInt8>, end: Int)? {
      guard let end = line[start...].firstIndex(of: UInt8(ascii: ">")) else { return nil }
      let text = line[(start + 1)..<end]
      let isAddress = ["http://", "https://", "mailto:", "ftp://"].contains { text.starts(with: $0.utf8) }
      return isAddress && !text.contains(0x20) ? (text, end + 1) : nil
    }

    /// The bracket that closes the one at the start.
    private func matching(_ start: Int, _ open: UInt8, _ close: UInt8) -> Int? {
      var depth = 0
      var at = start
      while at < line.count, at - start < 4096 {
        if line[at] == UInt8(ascii: "\\") {
          at += 2
          continue
        }
        if line[at] == open { depth += 1 }
        if line[at] == close {
          depth -= 1
          if depth == 0 { return at }
        }
        at += 1
      }
      return nil
    }

    private func isWord(_ byte: UInt8) -> Bool {
      switch byte {
      case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
        UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "_"):
        true
      default: false
      }
    }

    private func isLetter(before end: Int) -> Bool {
      end > 0
        && out.withUnsafeBufferPointer { isLetter(UTF8Bytes.scalarBefore($0.baseAddress!, end).value) }
    }

    private func isLetter(at start: Int) -> Bool {
      start < out.count
        && out.withUnsafeBufferPointer { isLetter(UTF8Bytes.scalar($0.baseAddress!, start).value) }
    }

    private func isLetter(_ value: UInt32) -> Bool {
      let kind = UnicodeText.kind(value)
      return kind == .letter || kind == .number
    }

    /// A run of marks that may open or close emphasis.
    private struct Run {
      var start: Int
      var count: Int
      var byte: UInt8
      var opens: Bool
      var closes: Bool
    }

    /// Takes away pairs of `*`, `_` and `~~` that stand around text.
    private func withoutEmphasis() -> [UInt8] {
      var runs: [Run] = []
      var at = 0
      while at < out.count {
        let byte = out[at]
        guard !isLiteral[at],
          byte == UInt8(ascii: "*") || byte == UInt8(ascii: "_") || byte == UInt8(ascii: "~")
        else {
          at += 1
          continue
        }
        var end = at
        while end < out.count, out[end] == byte, !isLiteral[end] { end += 1 }
        let before = at > 0 ? out[at - 1] : 0x20
        let after = end < out.count ? out[end] : 0x20
        // Marks inside a word or a formula (2*3*4, snake_case) are none. Beyond ASCII there are no spaces to go by,
        // but names of files have underscores there too.
        let isInside =
          isWord(before) && isWord(after)
          || (byte == UInt8(ascii: "_") && isLetter(before: at) && isLetter(at: end))
        let isLong = end - at <= 3 && (byte != UInt8(ascii: "~") || end - at == 2)
        if isLong, !isInside {
          runs.append(
            Run(
              start: at, count: end - at, byte: byte, opens: after != 0x20 && !isWord(before),
              closes: before != 0x20 && !isWord(after)))
        }
        at = end
      }
      var removed = [Bool](repeating: false, count: out.count)
      var open: [Run] = []
      for run in runs {
        if run.closes,
          let index = open.lastIndex(where: {
            $0.byte == run.byte && $0.count == run.count && $0.start + $0.count < run.start
          })
        {
          for at in open[index].start..<open[index].start + run.count { removed[at] = true }
          for at in run.start..<run.start + run.count { removed[at] = true }
          open.removeSubrange(index...)
        } else if run.opens {
          open.append(run)
        }
      }
      return out.indices.filter { !removed[$0] }.map { out[$0] }
    }
  }
}
