import Foundation
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A program behind a pseudo-terminal.
final class TerminalSession {
  let process = Process()
  private let master: FileHandle
  private var output: [UInt8] = []
  private var position = 0

  /// Everything that the program has shown.
  var shown: String { String(decoding: output, as: UTF8.self) }

  init(
    _ arguments: [String], state: String, executable: URL = CommandRunner.executable,
    environment: [String: String] = [:]
  ) throws {
    let (master, name) = try TerminalSession.openTerminal()
    var size = winsize(ws_row: 24, ws_col: 60, ws_xpixel: 0, ws_ypixel: 0)
    _ = ioctl(master, UInt(TIOCSWINSZ), &size)
    let slave = open(name, O_RDWR | O_NOCTTY)
    try #require(slave >= 0)
    let terminal = FileHandle(fileDescriptor: slave, closeOnDealloc: true)
    self.master = FileHandle(fileDescriptor: master, closeOnDealloc: true)
    process.executableURL = executable
    process.arguments = arguments
    var variables = ProcessInfo.processInfo.environment
    (variables["XDG_STATE_HOME"], variables["TERM"]) = (state, "xterm")
    variables["INKSTONE_MODEL"] = nil
    variables.merge(environment) { $1 }
    process.environment = variables
    (process.standardInput, process.standardOutput, process.standardError) = (terminal, terminal, terminal)
    try process.run()
    try terminal.close()
  }

  /// A new pseudo-terminal: its master, and the name of what a program takes for a terminal.
  private static func openTerminal() throws -> (master: Int32, name: String) {
    let master = open("/dev/ptmx", O_RDWR | O_NOCTTY)
    try #require(master >= 0)
    #if os(Linux)
      // `unlockpt` and `ptsname`, which Swift does not see.
      var (lock, number): (Int32, UInt32) = (0, 0)
      try #require(ioctl(master, 0x4004_5431, &lock) == 0 && ioctl(master, 0x8004_5430, &number) == 0)
      return (master, "/dev/pts/\(number)")
    #else
      try #require(grantpt(master) == 0 && unlockpt(master) == 0)
      return (master, String(cString: try #require(ptsname(master))))
    #endif
  }

  func type(_ text: String) { master.write(Data(text.utf8)) }

  /// Reads until a text appears behind what was waited for before.
  func wait(for text: String, seconds: Double = 60) -> Bool {
    let end = Date().addingTimeInterval(seconds)
    while true {
      if let found = Data(output[position...]).range(of: Data(text.utf8)) {
        position += found.upperBound
        return true
      }
      guard Date() < end else { return false }
      var waiting = pollfd(fd: master.fileDescriptor, events: Int16(POLLIN), revents: 0)
      guard poll(&waiting, 1, 100) > 0 else { continue }
      var buffer = [UInt8](repeating: 0, count: 4096)
      let count = read(master.fileDescriptor, &buffer, buffer.count)
      guard count > 0 else { return false }
      output += buffer[..<count]
    }
  }

  /// The exit status; a program that does not end is ended, and fails the test.
  func finish() -> Int32 {
    _ = wait(for: "\u{0}", seconds: 30)
    // The terminal closes a moment before the program is gone.
    let end = Date().addingTimeInterval(30)
    while process.isRunning, Date() < end { Thread.sleep(forTimeInterval: 0.01) }
    if process.isRunning {
      Issue.record("the program goes on: \(shown.suffix(300).debugDescription)")
      kill(process.processIdentifier, SIGKILL)
    }
    process.waitUntilExit()
    return process.terminationStatus
  }
}
