import Logging

/// What the program says beside its result: log messages, a line each, on standard error.
enum Diagnostics {
  /// The program's logger; its level is set before anything is logged.
  nonisolated(unsafe) private(set) static var log = Logger(label: "inkstone") { _ in Handler() }
  // Safe: changed once, by `configure`, before a second thread exists.

  /// Chooses how much is said: errors only, warnings too, or everything.
  static func configure(verbose: Bool, quiet: Bool) {
    log.logLevel = quiet ? .error : verbose ? .info : .notice
  }

  /// Writes messages as this program's other lines.
  private struct Handler: LogHandler {
    var logLevel = Logger.Level.notice
    var metadata: Logger.Metadata = [:]

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
      get { metadata[key] }
      set { metadata[key] = newValue }
    }

    func log(event: LogEvent) {
      StandardStreams.report("\(event.message)")
    }
  }
}
