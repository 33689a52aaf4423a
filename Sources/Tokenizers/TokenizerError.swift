/// Why a tokenizer could not be loaded or could not encode a text.
public enum TokenizerError: Error, Equatable, CustomStringConvertible {
  /// No file from which a tokenizer can be made.
  case missingFile(folder: String, wanted: String)
  /// A file that is not what its name says, or a field of a wrong type or value.
  case malformed(file: String, field: String, reason: String)
  /// A part that this library does not implement.
  case unsupported(file: String, part: String, type: String)
  /// A regular expression that cannot be used.
  case pattern(file: String, pattern: String, reason: String)
  /// Text that is not UTF-8.
  case invalidUTF8(offset: Int)
  /// A text that the declared tokenizer cannot encode.
  case unencodable(reason: String)

  /// One line that names the file, the field and the fix.
  public var description: String {
    switch self {
    case .missingFile(let folder, let wanted):
      "no tokenizer in \(folder): it needs \(wanted)"
    case .malformed(let file, let field, let reason):
      field.isEmpty ? "\(file): \(reason)" : "\(file): \(field): \(reason)"
    case .unsupported(let file, let part, let type):
      "\(file): \(part) of type \(type) is not supported; convert the tokenizer to the supported parts"
    case .pattern(let file, let pattern, let reason):
      "\(file): the pattern \(pattern) cannot be used: \(reason)"
    case .invalidUTF8(let offset):
      "the text is not UTF-8: byte \(offset) begins no valid character; convert it to UTF-8 first"
    case .unencodable(let reason):
      "the text cannot be encoded: \(reason)"
    }
  }
}
