import Checkpoints

/// Why a corpus cannot be read.
public enum CorpusError: Error, Equatable, CustomStringConvertible {
  /// Compressed data that cannot be expanded.
  case compression(path: String, reason: String)
  /// A line that is not what the format says.
  case line(path: String, line: Int, reason: String)
  /// Bytes that are no text.
  case invalidUTF8(path: String, line: Int, offset: Int)
  /// A document of more bytes than are held in memory.
  case tooLong(path: String, line: Int, limit: Int)
  /// All files together hold no document.
  case empty(paths: [String])

  /// One line that names the file, the place and the fix.
  public var description: String {
    switch self {
    case .compression(let path, let reason):
      "\(printable(path)): cannot be expanded: \(reason); compress or download it again"
    case .line(let path, let line, let reason): "\(printable(path)), line \(line): \(reason)"
    case .invalidUTF8(let path, let line, let offset):
      "\(printable(path)), line \(line): is not UTF-8: byte \(offset) of the document begins no valid character; "
        + "convert the file to UTF-8, or mend it with inkstone data clean --repair"
    case .tooLong(let path, let line, let limit):
      "\(printable(path)), line \(line): the document has more than \(limit) bytes; "
        + "cut it up, or choose another --documents"
    case .empty(let paths):
      "\(paths.map { printable($0) }.joined(separator: ", ")): no document with text in it; check the files, "
        + "--documents and --field"
    }
  }
}
