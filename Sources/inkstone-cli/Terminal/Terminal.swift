#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The terminal behind standard input: key by key while a message is typed, silent while an answer is written, and as
/// it was in the end, also when a signal ends the program.
enum Terminal {
  /// What the terminal was set to; read by the handler of signals.
  nonisolated(unsafe) private static var original = termios()
  nonisolated(unsafe) private static var isChanged = false
  // Safe: written before the handler is installed, by the one thread that reads keys.

  /// Whether messages can be typed here: both ends are terminals that understand control sequences.
  static var isInteractive: Bool {
    guard isatty(STDIN_FILENO) == 1, isatty(output) == 1 else { return false }
    guard let name = getenv("TERM") else { return true }
    return String(cString: name) != "dumb"
  }

  /// Where the message being typed is drawn: standard output, or standard error if that is redirected.
  static var output: Int32 { isatty(STDOUT_FILENO) == 1 ? STDOUT_FILENO : STDERR_FILENO }

  /// Columns and rows.
  static var size: (columns: Int, rows: Int) {
    var size = winsize()
    guard ioctl(output, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0, size.ws_row > 0 else {
      return (80, 24)
    }
    return (Int(size.ws_col), Int(size.ws_row))
  }

  /// Keys come one by one, Ctrl-C and Ctrl-D among them.
  static func readKeys() {
    remember()
    var settings = original
    settings.c_lflag &= ~tcflag_t(ECHO | ICANON | ISIG | IEXTEN)
    keepEnter(&settings)
    apply(&settings)
    // What is pasted comes between marks.
    draw("\u{1B}[?2004h")
  }

  /// What is typed waits unseen, and Ctrl-C is a signal again.
  static func waitSilently() {
    remember()
    var settings = original
    settings.c_lflag &= ~tcflag_t(ECHO | ICANON)
    settings.c_lflag |= tcflag_t(ISIG)
    keepEnter(&settings)
    draw("\u{1B}[?2004l")
    apply(&settings)
  }

  /// Sets the terminal back to what it was.
  static func restore() {
    guard isChanged else { return }
    draw("\u{1B}[?2004l")
    var settings = original
    apply(&settings)
    isChanged = false
  }

  /// Whether a byte waits to be read.
  static var hasInput: Bool {
    var waiting = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
    return poll(&waiting, 1, 0) > 0
  }

  /// Reads the next byte.
  ///
  /// - Parameter timeout: milliseconds to wait; nothing waits for ever.
  /// - Returns: `nil` when nothing came in time.
  /// - Throws: `StreamError`; the end of the input is Ctrl-D.
  static func readByte(timeout: Int32? = nil) throws -> UInt8? {
    if let timeout {
      var waiting = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
      guard poll(&waiting, 1, timeout) > 0 else { return nil }
    }
    var byte: UInt8 = 0
    while true {
      let count = read(STDIN_FILENO, &byte, 1)
      if count == 1 { return byte }
      if count == 0 { return 0x04 }
      // A terminal that has gone away reads as an error, and is the end as well.
      if errno == EIO { return 0x04 }
      guard errno == EINTR else {
        throw StreamError(description: "standard input: \(String(cString: strerror(errno)))")
      }
    }
  }

  /// Writes control sequences and what is typed.
  static func draw(_ text: String) { StandardStreams.draw(text, on: output) }

  /// Lets Enter and Ctrl-J be told apart, also when they are typed ahead.
  private static func keepEnter(_ settings: inout termios) {
    settings.c_iflag &= ~tcflag_t(ICRNL | IXON | INLCR | IGNCR)
  }

  private static func remember() {
    guard !isChanged else { return }
    guard tcgetattr(STDIN_FILENO, &original) == 0 else { return }
    isChanged = true
    // A conversation takes SIGINT over once the model is loaded.
    for number in [SIGINT, SIGTERM, SIGHUP, SIGQUIT] {
      signal(number) { number in
        // Safe: both calls may be made in a handler.
        var settings = Terminal.original
        tcsetattr(STDIN_FILENO, TCSANOW, &settings)
        _exit(128 + number)
      }
    }
  }

  private static func apply(_ settings: inout termios) {
    // After what is written, and with what was typed meanwhile.
    while tcsetattr(STDIN_FILENO, TCSADRAIN, &settings) != 0, errno == EINTR {}
  }
}

/// Reads messages from the terminal.
struct MessageReader {
  private let prompt: String
  private var history: InputHistory

  init(prompt: String, history: InputHistory) {
    self.prompt = prompt
    self.history = history
  }

  /// Lets the user type a message.
  ///
  /// - Returns: the message; `nil` when the user wants to leave.
  mutating func read() throws -> String? {
    Terminal.readKeys()
    defer { Terminal.waitSilently() }
    var editor = LineEditor(history: history.entries)
    var (decoder, screen) = (KeyDecoder(), EditorScreen())
    var isDrawn = false
    while true {
      let (columns, rows) = Terminal.size
      let layout = EditorLayout(
        prompt: prompt, characters: editor.characters, cursor: editor.cursor, width: columns)
      // Keys that wait already, those of a fast typist or a paste, are shown together.
      if !Terminal.hasInput || !isDrawn { Terminal.draw(screen.update(to: layout, height: rows)) }
      isDrawn = true
      let outcome = editor.handle(try nextKey(&decoder))
      switch outcome {
      case .none: break
      case .submit(let text):
        Terminal.draw(screen.update(to: layout, height: rows) + screen.finish(layout))
        history.append(text)
        return text
      case .end:
        Terminal.draw(screen.finish(layout))
        return nil
      case .cancel(let wasEmpty):
        Terminal.draw(screen.finish(layout))
        if wasEmpty { return nil }
      case .clearScreen: Terminal.draw(screen.clear())
      }
    }
  }

  private func nextKey(_ decoder: inout KeyDecoder) throws -> Key {
    while true {
      // The bytes of a sequence come together; an ESC alone is the key.
      guard let byte = try Terminal.readByte(timeout: decoder.isUndecided ? 50 : nil) else {
        decoder.giveUpSequence()
        continue
      }
      if let key = decoder.take(byte) { return key }
    }
  }
}
