import Inkstone

/// A line on the terminal that says how far a long job is, how fast, and how long it will take.
struct ProgressLine {
  private let isShown: Bool
  private let start = ContinuousClock.now
  private var last: ContinuousClock.Instant?

  /// - Parameter quiet: shows nothing, as on anything but a terminal.
  init(quiet: Bool) { isShown = !quiet && StandardStreams.isErrorTerminal }

  /// Seconds since the job began.
  var elapsed: Double {
    let (whole, fraction) = (ContinuousClock.now - start).components
    return Double(whole) + Double(fraction) * 1e-18
  }

  /// Shows how many bytes are done, at most five times a second.
  mutating func show(_ verb: String, bytes: Int, of total: Int?, _ detail: String = "") {
    let elapsed = elapsed
    show {
      let rate = Double(bytes) / max(elapsed, 1e-3)
      var line = "\(verb) \(ProgressLine.size(bytes))"
      if let total, total > 0 {
        line += " of \(ProgressLine.size(total)) (\(min(100, 100 * bytes / total)) %)"
      }
      line += ", \(ProgressLine.size(Int(rate)))/s"
      if let total, rate > 0, bytes > 0, total >= bytes {
        line += ", \(ProgressLine.time(Double(total - bytes) / rate)) left"
      }
      return detail.isEmpty ? line : "\(line), \(detail)"
    }
  }

  /// Shows a line, at most five times a second.
  mutating func show(_ text: () -> String) {
    guard isShown else { return }
    let now = ContinuousClock.now
    if let last, now - last < .milliseconds(200) { return }
    last = now
    StandardStreams.showProgress(text())
  }

  /// Clears the line.
  mutating func clear() {
    if last != nil { StandardStreams.showProgress("") }
    last = nil
  }

  /// Bytes in the unit that fits.
  static func size(_ bytes: Int) -> String {
    for (unit, size) in [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)] where Double(bytes) >= size {
      return "\(decimal(Double(bytes) / size, 1)) \(unit)"
    }
    return "\(bytes) B"
  }

  /// Seconds as people say them.
  static func time(_ seconds: Double) -> String {
    guard seconds < 360_000 else { return "days" }
    let whole = Int(seconds.rounded())
    if whole < 60 { return "\(whole) s" }
    if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
    return "\(whole / 3600) h \(whole % 3600 / 60) min"
  }

  /// A number with so many digits behind the point.
  static func decimal(_ value: Double, _ digits: Int) -> String {
    var scale = 1
    for _ in 0..<digits { scale *= 10 }
    let scaled = Int((value * Double(scale)).rounded())
    guard digits > 0 else { return "\(scaled)" }
    let fraction = String(scaled % scale)
    return "\(scaled / scale)." + String(repeating: "0", count: digits - fraction.count) + fraction
  }
}
