/// Rewrites a pattern from Oniguruma's syntax into PCRE2's, with the character classes of `tokenizers`.
///
/// The two agree on most of the syntax. They differ in the Unicode version behind `\p{…}`, in what `\w` and
/// `\s` hold, in `\h` and `\v`, in `{n,m}+` (a repeat of a repeat, not a possessive one) and in the letters
/// of options. What cannot be carried over exactly is an error.
struct RegexTranslation {
  /// Why a pattern cannot be translated.
  struct Failure: Error {
    let reason: String
  }

  private let pattern: [Unicode.Scalar]
  private var at = 0
  private var out = ""
  /// Where the last atom begins in `out`, for quantifiers that need it wrapped.
  private var atom: String.Index?
  private var groups: [String.Index] = []

  /// The pattern in PCRE2's syntax, for UTF, UCP and MULTILINE.
  static func translate(_ pattern: String) throws(Failure) -> String {
    var translation = RegexTranslation(pattern: Array(pattern.unicodeScalars))
    try translation.run()
    return translation.out
  }

  private init(pattern: [Unicode.Scalar]) {
    self.pattern = pattern
  }

  private var next: Unicode.Scalar? { at < pattern.count ? pattern[at] : nil }

  private func follows(_ text: String) -> Bool {
    let scalars = Array(text.unicodeScalars)
    return at + scalars.count <= pattern.count && Array(pattern[at..<(at + scalars.count)]) == scalars
  }

  private mutating func run() throws(Failure) {
    while let scalar = next {
      switch scalar {
      case "\\": try escape()
      case "[":
        atom = out.endIndex
        let set = try RegexClass.parse(pattern, &at)
        out += set.text
      case "(": try open()
      case ")":
        at += 1
        out += ")"
        atom = groups.popLast()
      case "*", "+", "?":
        // The same in both, lazy and possessive forms included.
        at += 1
        out.unicodeScalars.append(scalar)
        if next == "?" || next == "+" {
          out.unicodeScalars.append(pattern[at])
          at += 1
        }
      case "{": try interval()
      case "|":
        at += 1
        out += "|"
        atom = nil
      default:
        at += 1
        atom = out.endIndex
        out.unicodeScalars.append(scalar)
      }
    }
  }

  private mutating func open() throws(Failure) {
    let start = out.endIndex
    groups.append(start)
    atom = nil
    at += 1
    guard next == "?" else {
      out += "("
      return
    }
    for lead in ["?:", "?=", "?!", "?<=", "?<!", "?>"] where follows(lead) {
      at += lead.unicodeScalars.count
      out += "(" + lead
      return
    }
    if follows("?#") {
      while let scalar = next, scalar != ")" { at += scalar == "\\" ? 2 : 1 }
      at += 1
      groups.removeLast()
      return
    }
    if follows("?<") {
      // A named group: the name is copied with the rest.
      at += 2
      out += "(?<"
      return
    }
    // Options: Oniguruma's m is the others' s.
    var letters = ""
    var scan = at + 1
    while scan < pattern.count, pattern[scan] == "-" || "imx".unicodeScalars.contains(pattern[scan]) {
      guard pattern[scan] != "x" else { throw Failure(reason: "the option x is not supported") }
      letters.unicodeScalars.append(pattern[scan] == "m" ? "s" : pattern[scan])
      scan += 1
    }
    guard scan < pattern.count, pattern[scan] == ":" || pattern[scan] == ")" else {
      throw Failure(
        reason: "the group (?\(scan < pattern.count ? String(pattern[at + 1]) : "") is not supported")
    }
    if pattern[scan] == ")" {
      // Options for the rest of a group reach over its alternatives; elsewhere the two engines differ.
      guard out.isEmpty || out.hasSuffix("(") || out.hasSuffix("(?:") else {
        throw Failure(reason: "options (?\(letters)) in the middle of a group are not supported")
      }
      groups.removeLast()
    }
    out += "(?" + letters + String(pattern[scan])
    at = scan + 1
  }

  private mutating func interval() throws(Failure) {
    var scan = at + 1
    var bounds = ""
    while scan < pattern.count, pattern[scan] != "}", bounds.count < 12 {
      bounds.unicodeScalars.append(pattern[scan])
      scan += 1
    }
    let parts = bounds.split(separator: ",", omittingEmptySubsequences: false)
    let isNumber = { (text: Substring) in text.allSatisfy { $0.isASCII && $0.isNumber } }
    guard scan < pattern.count, pattern[scan] == "}", (1...2).contains(parts.count), bounds != ",",
      !bounds.isEmpty, parts.allSatisfy(isNumber), let atom
    else {
      // Not an interval: Oniguruma takes the brace literally.
      self.atom = out.endIndex
      out += "\\{"
      at += 1
      return
    }
    at = scan + 1
    let quantifier =
      "{" + (parts[0].isEmpty ? "0" : parts[0]) + (parts.count == 2 ? "," + parts[1] : "") + "}"
    out += quantifier
    if next == "+" || (next == "?" && parts.count == 1) {
      out.insert(contentsOf: "(?:", at: atom)
      out += ")"
    } else if next == "?" {
      at += 1
      out += "?"
    }
  }

  private mutating func escape() throws(Failure) {
    at += 1
    guard let scalar = next else { throw Failure(reason: "it ends in a backslash") }
    let start = out.endIndex
    if let set = try RegexClass.shorthand(pattern, &at, inClass: false) {
      out += "[" + set.items() + "]"
      atom = start
      return
    }
    if let value = try RegexClass.character(pattern, &at) {
      out += RegexClass.spelled(value)
      atom = start
      return
    }
    at += 1
    switch scalar {
    case "b", "B":
      // PCRE2's word boundary knows its own \w only.
      let word = "[" + RegexClass.NamedSet.word(inClass: false).items() + "]"
      let boundary = "(?<=\(word))(?!\(word))|(?<!\(word))(?=\(word))"
      out += scalar == "b" ? "(?:\(boundary))" : "(?!\(boundary))"
      atom = start
    case "A", "z", "Z", "G":
      out += "\\" + String(scalar)
      atom = nil
    case "1"..."9":
      out += "\\" + String(scalar)
      atom = start
    case _ where scalar.isASCII && (scalar.properties.isAlphabetic || scalar.properties.numericType != nil):
      throw Failure(reason: "\\\(scalar) is not supported")
    default:
      out += RegexClass.spelled(scalar.value)
      atom = start
    }
  }
}
