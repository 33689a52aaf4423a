import Inkstone

/// Man pages, one for each command, from the parser's own description of the program.
struct ManualPages {
  /// A page of section 1.
  struct Page {
    /// `inkstone-data-clean`.
    let name: String
    /// In the language of man(7).
    let text: String
  }

  let pages: [Page]

  /// - Parameter dump: the JSON of `--experimental-dump-help`.
  /// - Throws: `JSONError`, should the parser write something else than JSON.
  init(dump: String, version: String) throws {
    var pages: [Page] = []
    if let command = try JSONValue.parse(dump)["command"] {
      ManualPages.add(command, parents: [], version: version, to: &pages)
    }
    self.pages = pages
  }

  private static func add(_ command: JSONValue, parents: [String], version: String, to pages: inout [Page]) {
    guard let own = command["commandName"]?.string else { return }
    let words = parents + [own]
    let commands = (command["subcommands"]?.array ?? []).filter {
      $0["shouldDisplay"]?.bool != false && $0["commandName"]?.string != "help"
    }
    pages.append(
      Page(
        name: words.joined(separator: "-"), text: page(command, words, commands: commands, version: version)))
    for command in commands { add(command, parents: words, version: version, to: &pages) }
  }

  private static func page(
    _ command: JSONValue, _ words: [String], commands: [JSONValue], version: String
  ) -> String {
    let name = words.joined(separator: "-")
    let abstract = command["abstract"]?.string ?? ""
    let arguments = (command["arguments"]?.array ?? []).filter { $0["shouldDisplay"]?.bool != false }
    var lines = [
      ".TH \(quoted(name.uppercased())) 1 \"\" \(quoted("inkstone \(version)")) \"Inkstone\"",
      ".SH NAME", "\(escaped(name)) \\- \(escaped(sentence(abstract)))",
      ".SH SYNOPSIS", ".B \(escaped(words.joined(separator: " ")))",
    ]
    lines += arguments.map(synopsis)
    if !commands.isEmpty { lines.append("[\\fIcommand\\fR]") }

    let (examples, rest) = split(command["discussion"]?.string ?? "")
    if !examples.isEmpty { lines += [".SH EXAMPLES", ".nf"] + examples.map(escaped) + [".fi"] }
    if !rest.isEmpty { lines += [".SH DESCRIPTION", ".nf"] + rest.map(escaped) + [".fi"] }

    var title: String?
    for argument in arguments {
      let section = argument["sectionTitle"]?.string ?? "Options"
      if section != title { lines.append(".SH \(quoted(section.uppercased()))") }
      title = section
      lines += [".TP", heading(argument), escaped(description(argument))]
    }
    if !commands.isEmpty {
      lines.append(".SH COMMANDS")
      for command in commands {
        let other = name + "-" + (command["commandName"]?.string ?? "")
        lines += [".TP", ".BR \(escaped(other)) (1)", escaped(command["abstract"]?.string ?? "")]
      }
    }
    if words.count > 1 {
      lines += [".SH SEE ALSO", ".BR \(escaped(words.dropLast().joined(separator: "-"))) (1)"]
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// The lines of the examples, and those after them.
  private static func split(_ discussion: String) -> (examples: [String], rest: [String]) {
    var lines = discussion.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
    guard lines.first == "Examples:" else { return ([], discussion.isEmpty ? [] : lines) }
    lines.removeFirst()
    let end = lines.firstIndex { !$0.hasPrefix(" ") } ?? lines.count
    let rest = lines[end...].drop { $0.isEmpty }
    return (Array(lines[..<end]), Array(rest))
  }

  private static func spelling(_ name: JSONValue) -> String {
    let text = name["name"]?.string ?? ""
    return name["kind"]?.string == "long" ? "--\(text)" : "-\(text)"
  }

  private static func value(_ argument: JSONValue) -> String { argument["valueName"]?.string ?? "value" }

  private static func synopsis(_ argument: JSONValue) -> String {
    var text: String
    switch argument["kind"]?.string {
    case "positional": text = "\\fI\(escaped(value(argument)))\\fR"
    case "option":
      text = "\\fB\(escaped(preferred(argument)))\\fR \\fI\(escaped(value(argument)))\\fR"
    default: text = "\\fB\(escaped(preferred(argument)))\\fR"
    }
    if argument["isOptional"]?.bool != false { text = "[\(text)]" }
    if argument["isRepeating"]?.bool == true { text += "..." }
    return text
  }

  private static func preferred(_ argument: JSONValue) -> String {
    argument["preferredName"].map(spelling) ?? ""
  }

  /// The names of an argument as the head of its paragraph.
  private static func heading(_ argument: JSONValue) -> String {
    let names = (argument["names"]?.array ?? []).map { "\\fB\(escaped(spelling($0)))\\fR" }
    switch argument["kind"]?.string {
    case "positional": return "\\fI\(escaped(value(argument)))\\fR"
    case "option": return names.joined(separator: ", ") + " \\fI\(escaped(value(argument)))\\fR"
    default: return names.joined(separator: ", ")
    }
  }

  private static func description(_ argument: JSONValue) -> String {
    var text = argument["abstract"]?.string ?? ""
    if let values = argument["allValues"]?.array?.compactMap(\.string), !values.isEmpty {
      text += " One of: \(values.joined(separator: ", "))."
    }
    if let standard = argument["defaultValue"]?.string, !standard.isEmpty, !text.contains("default:") {
      text += " Default: \(standard)."
    }
    return text
  }

  private static func sentence(_ text: String) -> String {
    text.hasSuffix(".") ? String(text.dropLast()) : text
  }

  private static func quoted(_ text: String) -> String { "\"\(escaped(text))\"" }

  /// Text as it is: backslashes and hyphens are themselves, and no line is a request.
  private static func escaped(_ text: String) -> String {
    let text = text.replacing("\\", with: "\\e").replacing("-", with: "\\-")
    return text.split(separator: "\n", omittingEmptySubsequences: false).map { line in
      line.hasPrefix(".") || line.hasPrefix("'") ? "\\&" + line : String(line)
    }.joined(separator: "\n")
  }
}
