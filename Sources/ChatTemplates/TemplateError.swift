/// Why a template cannot be read or rendered.
public struct TemplateError: Error, Equatable, Sendable, CustomStringConvertible {
  /// What kind of fault it is.
  public enum Kind: Sendable, Equatable {
    /// The template is not written in the language.
    case syntax
    /// The template itself refused its input, with `raise_exception`.
    case raised
    /// Something undefined was used as if it were there.
    case undefined
    /// The sandbox forbids it: an underscored attribute, a method that changes its object.
    case security
    /// An operation got a value of a type that it does not take.
    case type
    /// An operation got a value of the right type that it cannot use.
    case value
    /// The template asks for more time, memory or nesting than a template may have.
    case limit
    /// Part of the language that this interpreter leaves out, such as inheritance.
    case unsupported
  }

  /// What kind of fault it is.
  public let kind: Kind
  /// What is wrong; of a template's own refusal exactly its words.
  public let message: String
  /// The name of the template, as its loader gave it.
  public internal(set) var template: String
  /// The line of the template, from 1; 0 before the place is known.
  public internal(set) var line: Int

  init(_ kind: Kind, _ message: String, line: Int = 0) {
    self.kind = kind
    self.message = message
    self.line = line
    template = ""
  }

  /// One line: the template, the line and what is wrong.
  public var description: String {
    let place =
      line > 0 ? "\(TemplateError.oneLine(template)), line \(line)" : TemplateError.oneLine(template)
    return "\(place): \(TemplateError.oneLine(message))"
  }

  /// Messages may quote the template or a conversation: line ends and escape sequences are spelled out.
  static func oneLine(_ text: String, limit: Int = 400) -> String {
    var out = ""
    for (count, scalar) in text.unicodeScalars.enumerated() {
      if count == limit { return out + "…" }
      switch scalar.properties.generalCategory {
      case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned:
        out += scalar == "\n" ? "\\n" : "\\u{" + String(scalar.value, radix: 16) + "}"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out
  }
}
