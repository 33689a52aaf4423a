import Inkstone

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// What was typed before, kept from one conversation to the next.
///
/// The file is `$XDG_STATE_HOME/inkstone/history`, a message on each line with `\n` and `\\` for line ends and
/// backslashes; nobody but the user may read it. A history that cannot be kept is no reason not to chat: it is then that
/// of this conversation alone.
struct InputHistory {
  private static let maximumEntries = 1000
  private static let maximumBytes = 1 << 22

  private(set) var entries: [String] = []
  private let path: String?

  /// Reads the history.
  ///
  /// - Parameter path: the file; `nil` keeps none.
  init(path: String? = InputHistory.defaultPath) {
    self.path = path
    guard let path, fileExists(path),
      let bytes = try? readFile(path, limit: Self.maximumBytes, acceptingPipes: false)
    else { return }
    let lines = String(decoding: bytes, as: UTF8.self).split(separator: "\n")
    entries = lines.suffix(Self.maximumEntries).map(InputHistory.unescaped)
    if lines.count > 2 * Self.maximumEntries {
      // Shortened now and then; the file keeps its permissions.
      try? AtomicFile.write(entries.map { InputHistory.escaped($0) + "\n" }.joined(), to: path)
    }
  }

  /// Where the history is by default; `nil` where there is no home.
  static var defaultPath: String? {
    func variable(_ name: String) -> String? {
      getenv(name).map { String(cString: $0) }.flatMap { $0.isEmpty ? nil : $0 }
    }
    // A relative path there is to be ignored, says the specification.
    let state = variable("XDG_STATE_HOME").flatMap { $0.hasPrefix("/") ? $0 : nil }
    return (state ?? variable("HOME").map { $0 + "/.local/state" }).map { $0 + "/inkstone/history" }
  }

  /// Adds a message, unless it is empty or the one before.
  mutating func append(_ text: String) {
    guard !text.allSatisfy(\.isWhitespace), entries.last != text else { return }
    entries.append(text)
    guard let path else { return }
    if let slash = path.lastIndex(of: "/") { try? createFolder(String(path[..<slash])) }
    // Appended in one write, so that two conversations at once do no harm.
    let file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o600)
    guard file >= 0 else { return }
    defer { close(file) }
    var line = InputHistory.escaped(text) + "\n"
    line.withUTF8 { bytes in
      #if canImport(Glibc)
        _ = Glibc.write(file, bytes.baseAddress, bytes.count)
      #else
        _ = Darwin.write(file, bytes.baseAddress, bytes.count)
      #endif
    }
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("\\", with: "\\\\").replacing("\r\n", with: "\\n").replacing("\n", with: "\\n")
      .replacing("\r", with: "\\n")
  }

  private static func unescaped(_ line: Substring) -> String {
    var out = ""
    var isEscape = false
    for character in line {
      if isEscape {
        out.append(character == "n" ? "\n" : character)
        isEscape = false
      } else if character == "\\" {
        isEscape = true
      } else {
        out.append(character)
      }
    }
    return out
  }
}
