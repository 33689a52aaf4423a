#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// What is wrong with the way the program is used, and what would be right.
struct UsageError: Error, CustomStringConvertible {
  let description: String

  init(_ description: String) { self.description = description }
}

/// Why a stream cannot be used.
struct StreamError: Error, CustomStringConvertible {
  let description: String
}

/// Standard input, output and error as this program uses them: results on one, everything else on the other.
enum StandardStreams {
  /// Turns a reader that has gone away from a signal that kills into an error that is reported.
  static func ignoreClosedPipes() { signal(SIGPIPE, SIG_IGN) }

  /// Whether standard input is a terminal, that is, whether somebody sits there.
  static var isInputTerminal: Bool { isatty(STDIN_FILENO) == 1 }

  /// Whether standard output is a terminal.
  static var isOutputTerminal: Bool { isatty(STDOUT_FILENO) == 1 }

  /// Whether standard error is a terminal, where a line may be rewritten.
  static var isErrorTerminal: Bool { isatty(STDERR_FILENO) == 1 }

  /// Rewrites the current line of the terminal behind standard error.
  static func showProgress(_ text: String) {
    var line = "\r\u{1B}[K\(text)"
    line.withUTF8 { bytes in _ = try? write(bytes, to: STDERR_FILENO, named: "standard error") }
  }

  /// Whether standard input is a pipe or a file, that is, whether somebody hands over text there.
  static var hasPipedInput: Bool {
    var status = stat()
    guard fstat(STDIN_FILENO, &status) == 0 else { return false }
    let kind = status.st_mode & S_IFMT
    return kind == S_IFIFO || kind == S_IFREG || kind == S_IFSOCK
  }

  /// Everything on standard input.
  ///
  /// A pipe that stays silent is waited for, and after a second the user is told so.
  static func readInput() throws -> [UInt8] {
    var bytes: [UInt8] = []
    var waiting = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
    if poll(&waiting, 1, 1000) == 0 {
      Diagnostics.log.notice(
        "waiting for standard input, which is an open pipe; end it, or redirect it from /dev/null")
    }
    var buffer = [UInt8](repeating: 0, count: 1 << 16)
    while true {
      let count = read(STDIN_FILENO, &buffer, buffer.count)
      if count > 0 {
        bytes += buffer[..<count]
      } else if count == 0 {
        return bytes
      } else if errno != EINTR {
        throw StreamError(description: "standard input: \(String(cString: strerror(errno)))")
      }
    }
  }

  /// Writes to standard output, without delay.
  ///
  /// - Throws: `StreamError` when the output cannot be written (a full disk, a reader that has gone away).
  static func write(_ text: String) throws {
    var text = text
    try text.withUTF8 { try write($0, to: STDOUT_FILENO, named: "standard output") }
  }

  /// Writes bytes to standard output, without delay.
  ///
  /// - Throws: `StreamError`, as the other.
  static func write(_ bytes: UnsafeRawBufferPointer) throws {
    try write(bytes.bindMemory(to: UInt8.self), to: STDOUT_FILENO, named: "standard output")
  }

  /// Writes a line to standard error; there is nobody to tell if that fails.
  static func report(_ line: String) {
    var text = "inkstone: \(line)\n"
    text.withUTF8 { bytes in _ = try? write(bytes, to: STDERR_FILENO, named: "standard error") }
  }

  /// Writes to a terminal; there is nobody to tell if that fails.
  static func draw(_ text: String, on file: Int32) {
    var text = text
    text.withUTF8 { bytes in _ = try? write(bytes, to: file, named: "the terminal") }
  }

  /// Writes to standard error as it is.
  static func note(_ text: String) {
    var text = text
    text.withUTF8 { bytes in _ = try? write(bytes, to: STDERR_FILENO, named: "standard error") }
  }

  private static func write(_ bytes: UnsafeBufferPointer<UInt8>, to file: Int32, named name: String) throws {
    var written = 0
    while written < bytes.count {
      #if canImport(Glibc)
        let count = Glibc.write(file, bytes.baseAddress! + written, bytes.count - written)
      #else
        let count = Darwin.write(file, bytes.baseAddress! + written, bytes.count - written)
      #endif
      if count >= 0 {
        written += count
      } else if errno != EINTR {
        throw StreamError(description: "\(name): \(String(cString: strerror(errno)))")
      }
    }
  }
}

/// The lines of standard input, one at a time as they come.
struct LineInput {
  private var pending: [UInt8] = []
  private var isAtEnd = false
  /// A line longer than this is no message.
  private static let maximumLine = 1 << 26

  /// The next line without its end; `nil` after the last.
  ///
  /// - Throws: `StreamError` when the input cannot be read; `UsageError` for a line that is not UTF-8.
  mutating func next() throws -> String? {
    var searched = 0
    while true {
      if let end = pending[searched...].firstIndex(of: 0x0A) {
        let line = try text(pending[..<end])
        pending.removeSubrange(...end)
        return line
      }
      searched = pending.count
      guard !isAtEnd else {
        guard !pending.isEmpty else { return nil }
        defer { pending = [] }
        return try text(pending[...])
      }
      guard pending.count <= Self.maximumLine else {
        throw UsageError("a line of standard input is too long")
      }
      var buffer = [UInt8](repeating: 0, count: 1 << 16)
      let count = read(STDIN_FILENO, &buffer, buffer.count)
      if count > 0 {
        pending += buffer[..<count]
      } else if count == 0 {
        isAtEnd = true
      } else if errno != EINTR {
        throw StreamError(description: "standard input: \(String(cString: strerror(errno)))")
      }
    }
  }

  private func text(_ bytes: ArraySlice<UInt8>) throws -> String {
    let bytes = bytes.last == 0x0D ? bytes.dropLast() : bytes
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw UsageError("a line of standard input is not UTF-8 text")
    }
    return text
  }
}
