/// Why a token file cannot be used.
public enum TokenFileError: Error, Equatable, CustomStringConvertible {
  /// The file does not begin as a token file does.
  case notTokenFile(path: String)
  /// The file is of a version that this program does not know.
  case version(path: String, found: Int)
  /// A field contradicts the file.
  case damaged(path: String, field: String, reason: String)
  /// The file of document offsets is not there, or belongs to other tokens.
  case index(path: String, reason: String)
  /// The tokens are of another vocabulary.
  case otherVocabulary(path: String, found: String, wanted: String)
  /// A token that the vocabulary does not have.
  case token(path: String, position: Int, id: Int, vocabularySize: Int)
  /// The file holds no tokens.
  case noTokens(path: String)

  /// One line that names the file, the fault and the fix.
  public var description: String {
    switch self {
    case .notTokenFile(let path): "\(path): is no token file; make one with inkstone data pack"
    case .version(let path, let found):
      "\(path): version: is \(found), and this program reads \(TokenFile.version); pack the text again"
    case .damaged(let path, let field, let reason): "\(path): \(field): \(reason); pack the text again"
    case .index(let path, let reason): "\(path): \(reason); pack the text again"
    case .otherVocabulary(let path, let found, let wanted):
      "\(path): its tokens are of another tokenizer (fingerprint \(found.prefix(12))…, the model's is "
        + "\(wanted.prefix(12))…); pack the text again with the model's tokenizer"
    case .token(let path, let position, let id, let size):
      "\(path): token \(position) is \(id), and the vocabulary ends at \(size - 1); pack the text again"
    case .noTokens(let path): "\(path): holds no tokens; pack a text that is not empty"
    }
  }
}
