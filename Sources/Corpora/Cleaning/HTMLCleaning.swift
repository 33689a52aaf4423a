/// Remains of HTML: tags, comments and entities.
///
/// A `<` is taken for a tag only before the name of an element that HTML knows, so that `a < b`, `List<Int>` and
/// `<unk>` stay.
enum HTMLCleaning {
  /// Elements that end a line of text.
  private static let blocks: Set<String> = [
    "address", "article", "aside", "blockquote", "body", "br", "caption", "center", "dd", "details", "dialog",
    "dir",
    "div", "dl", "dt", "fieldset", "figcaption", "figure", "footer", "form", "h1", "h2", "h3", "h4", "h5",
    "h6",
    "head", "header", "hr", "html", "legend", "li", "main", "menu", "nav", "ol", "optgroup", "option", "p",
    "pre",
    "section", "summary", "table", "tbody", "tfoot", "thead", "title", "tr", "ul",
  ]
  /// Elements within a line.
  private static let inline: Set<String> = [
    "a", "abbr", "acronym", "area", "audio", "b", "base", "bdi", "bdo", "big", "button", "canvas", "cite",
    "code",
    "col", "colgroup", "data", "datalist", "del", "dfn", "em", "embed", "font", "frame", "frameset", "i",
    "iframe",
    "img", "input", "ins", "kbd", "label", "link", "map", "mark", "meta", "meter", "noframes", "object",
    "output",
    "param", "picture", "progress", "q", "rp", "rt", "ruby", "s", "samp", "select", "slot", "small", "source",
    "span", "strike", "strong", "sub", "sup", "textarea", "time", "track", "tt", "u", "var", "video", "wbr",
  ]
  /// Elements whose contents are no text.
  private static let hidden: Set<String> = ["script", "style", "noscript", "template", "svg", "math"]
  /// Cells of a table, which a space keeps apart.
  private static let cells: Set<String> = ["td", "th"]

  /// A tag with more bytes is none.
  private static let longestTag = 8192

  static func apply(to text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    guard text.contains(where: { $0 == UInt8(ascii: "<") || $0 == UInt8(ascii: "&") }) else { return nil }
    var out: [UInt8] = []
    out.reserveCapacity(text.count)
    var changed = false
    var at = 0
    while at < text.count {
      switch text[at] {
      case UInt8(ascii: "<"):
        if let (end, replacement) = markup(text, at) {
          if let replacement, out.last != replacement, !out.isEmpty { out.append(replacement) }
          at = end
          changed = true
          continue
        }
      case UInt8(ascii: "&"):
        if let (value, length) = HTMLEntities.reference(text, at) {
          appendScalar(value, to: &out)
          at += length
          changed = true
          continue
        }
      default: break
      }
      out.append(text[at])
      at += 1
    }
    return changed ? out : nil
  }

  private static func appendScalar(_ value: UInt32, to out: inout [UInt8]) {
    if let scalar = Unicode.Scalar(value) { out.append(contentsOf: String(scalar).utf8) }
  }

  /// The end of the markup that begins at a `<`, and the byte that takes its place; `nil` when it is none.
  private static func markup(
    _ text: UnsafeBufferPointer<UInt8>, _ start: Int
  ) -> (end: Int, replacement: UInt8?)? {
    var at = start + 1
    guard at < text.count else { return nil }
    if text[at] == UInt8(ascii: "!") {
      if starts(text, at, "!--") {
        guard let end = find("-->", text, at + 3) else { return nil }
        return (end, nil)
      }
      guard startsIgnoringCase(text, at, "!doctype"), let end = tagEnd(text, at) else { return nil }
      return (end, nil)
    }
    let isClosing = text[at] == UInt8(ascii: "/")
    if isClosing { at += 1 }
    let first = at
    while at < text.count, at - first < 12, isNameByte(text[at]) { at += 1 }
    guard at > first, at < text.count, !isNameByte(text[at]) else { return nil }
    // `<p>`, `<br/>`, `<a href=…>`; not `<p-value>`.
    guard text[at] == UInt8(ascii: ">") || text[at] == UInt8(ascii: "/") || isSpace(text[at]) else {
      return nil
    }
    let name = String(decoding: text[first..<at], as: UTF8.self).lowercased()
    let isBlock = blocks.contains(name)
    let isHidden = hidden.contains(name)
    guard isBlock || isHidden || inline.contains(name) || cells.contains(name), let end = tagEnd(text, at)
    else {
      return nil
    }
    if isHidden, !isClosing, text[end - 2] != UInt8(ascii: "/") {
      // Without its end the rest would go: the tag alone does.
      return (closing(name, text, end) ?? end, nil)
    }
    return (end, isBlock ? UInt8(ascii: "\n") : cells.contains(name) ? UInt8(ascii: " ") : nil)
  }

  private static func isNameByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
      UInt8(ascii: "0")...UInt8(ascii: "9"):
      true
    default: false
    }
  }

  private static func isSpace(_ byte: UInt8) -> Bool {
    byte == 0x20 || (0x09...0x0D).contains(byte)
  }

  /// Behind the `>` that ends a tag; quotes may hold others, and a `<` outside them ends the attempt.
  private static func tagEnd(_ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int? {
    var quote: UInt8 = 0
    var at = start
    let limit = min(text.count, start + longestTag)
    while at < limit {
      let byte = text[at]
      if quote != 0 {
        if byte == quote { quote = 0 }
      } else if byte == UInt8(ascii: ">") {
        return at + 1
      } else if byte == UInt8(ascii: "<") {
        return nil
      } else if byte == UInt8(ascii: "\"") || byte == UInt8(ascii: "'"), text[at - 1] == UInt8(ascii: "=") {
        quote = byte
      }
      at += 1
    }
    return nil
  }

  /// Behind the closing tag of an element.
  private static func closing(_ name: String, _ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int? {
    var at = start
    while let next = find("</", text, at) {
      if startsIgnoringCase(text, next, name), let end = tagEnd(text, next) { return end }
      at = next
    }
    return nil
  }

  /// Behind the next occurrence of some ASCII.
  private static func find(_ wanted: StaticString, _ text: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int? {
    var at = start
    while at + wanted.utf8CodeUnitCount <= text.count {
      if text[at] == wanted.utf8Start[0], starts(text, at, wanted) { return at + wanted.utf8CodeUnitCount }
      at += 1
    }
    return nil
  }

  private static func starts(_ text: UnsafeBufferPointer<UInt8>, _ at: Int, _ wanted: StaticString) -> Bool {
    let count = wanted.utf8CodeUnitCount
    guard at + count <= text.count else { return false }
    return (0..<count).allSatisfy { text[at + $0] == wanted.utf8Start[$0] }
  }

  private static func startsIgnoringCase(
    _ text: UnsafeBufferPointer<UInt8>, _ at: Int, _ wanted: String
  ) -> Bool {
    let wanted = Array(wanted.utf8)
    guard at + wanted.count <= text.count else { return false }
    return wanted.indices.allSatisfy { index in
      let byte = text[at + index]
      return (isNameByte(byte) && byte >= 0x40 ? byte | 0x20 : byte) == wanted[index]
    }
  }
}
