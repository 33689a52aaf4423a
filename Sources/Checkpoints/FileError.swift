#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Why a file cannot be read or written.
///
/// Every case names the path.
public enum FileError: Error, Equatable, CustomStringConvertible {
  /// Nothing is at the path.
  case missing(path: String)
  /// A folder is where a file is wanted.
  case isDirectory(path: String)
  /// A device, socket or pipe is where a file is wanted.
  case notRegular(path: String)
  /// The file holds nothing.
  case empty(path: String)
  /// The file is longer than the reader accepts.
  case tooLong(path: String, limit: Int)
  /// The file became shorter or longer after it was opened.
  case resized(path: String, opened: Int, now: Int)
  /// The path holds a NUL, which the operating system takes for its end.
  case invalidPath(path: String)
  /// The operating system refused; `code` is its `errno`.
  case system(path: String, action: String, code: Int32)

  /// One line: the path, what is wrong, and where it helps the fix.
  public var description: String {
    switch self {
    case .missing(let path): "\(printable(path)): no such file or folder; check the path"
    case .isDirectory(let path): "\(printable(path)): is a folder; give the path of a file"
    case .notRegular(let path): "\(printable(path)): is not a regular file; copy it to one first"
    case .empty(let path): "\(printable(path)): the file is empty; download or write it again"
    case .tooLong(let path, let limit): "\(printable(path)): is longer than the \(limit) bytes accepted here"
    case .resized(let path, let opened, let now):
      "\(printable(path)): was \(opened) bytes when opened and is \(now) now; "
        + "leave the file alone while it is in use and load it again"
    case .invalidPath(let path): "\(printable(path)): a path cannot hold a NUL"
    case .system(let path, let action, let code):
      "\(printable(path)): cannot \(action): \(String(cString: strerror(code)))"
    }
  }

  /// What `errno` says about a path that could not be opened or written.
  static func current(_ path: String, _ action: String) -> FileError {
    let code = errno
    return code == ENOENT ? .missing(path: path) : .system(path: path, action: action, code: code)
  }
}

/// Text from a file, made fit for one line of an error message.
///
/// Names in a model file are anyone's: a newline would break the line and an escape sequence would reach the
/// terminal, so those are spelled out, and what is overlong is cut.
package func printable(_ text: String, limit: Int = 400) -> String {
  var out = ""
  for (count, scalar) in text.unicodeScalars.enumerated() {
    if count == limit { return out + "…" }
    switch scalar.properties.generalCategory {
    case .control, .format, .lineSeparator, .paragraphSeparator, .privateUse, .unassigned:
      out += "\\u{" + String(scalar.value, radix: 16) + "}"
    default: out.unicodeScalars.append(scalar)
    }
  }
  return out
}
