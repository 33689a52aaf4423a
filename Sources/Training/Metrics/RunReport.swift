import Checkpoints
import JSON

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// One page that shows a run: curves, samples, settings.
///
/// It needs no network and no script.
public enum RunReport {
  /// A curve's points.
  struct Series {
    let name: String
    let color: String
    let points: [(x: Double, y: Double)]
  }

  /// Makes the page of a run's folder.
  ///
  /// - Throws: `TrainingError.run` when the folder holds no run, or `FileError`.
  public static func html(of folder: String) throws -> String {
    let base = folder.hasSuffix("/") ? folder : folder + "/"
    guard fileExists(base + "run.json"), fileExists(base + "metrics.jsonl") else {
      throw TrainingError.run(path: folder, reason: "holds no run; give the folder that inkstone train wrote")
    }
    let run = try JSONDocument.load(base + "run.json")
    let lines = try MetricsLog.read(base + "metrics.jsonl")
    func points(_ type: String, _ key: String) -> [(x: Double, y: Double)] {
      lines.compactMap { line in
        guard line["type"]?.string == type, let x = line["step"]?.double, let y = line[key]?.double else {
          return nil
        }
        return (x, y)
      }
    }
    let loss = points("step", "loss")
    let validation = points("validation", "loss")
    let name = escaped(base.split(separator: "/").last.map(String.init) ?? folder)

    var body = "<h1>\(name)</h1>\n<p>"
    var facts: [String] = []
    if let count = run["parameters"]?.int { facts.append("\(count) weights") }
    if let last = loss.last { facts.append("\(Int(last.x)) steps, last training loss \(number(last.y))") }
    if let best = validation.min(by: { $0.y < $1.y }) {
      facts.append("best validation loss \(number(best.y)) at step \(Int(best.x))")
    }
    if let tokens = lines.last(where: { $0["type"]?.string == "step" })?["tokens"]?.int {
      facts.append("\(tokens) tokens seen")
    }
    body += facts.joined(separator: "; ") + ".</p>\n"
    body += chart(
      "Loss",
      [
        Series(name: "training", color: "#9db7d5", points: thinned(loss)),
        Series(name: "training, smoothed", color: "#1f5fa8", points: thinned(smoothed(loss))),
        Series(name: "validation", color: "#c2410c", points: validation),
      ])
    body += chart(
      "Learning rate",
      [Series(name: "learning rate", color: "#1f5fa8", points: thinned(points("step", "learning_rate")))])
    body += chart(
      "Norm of gradients",
      [Series(name: "norm", color: "#1f5fa8", points: thinned(points("step", "gradient_norm")))])
    body += chart(
      "Tokens per second",
      [Series(name: "tokens/s", color: "#1f5fa8", points: thinned(points("step", "tokens_per_second")))])

    let skips = lines.filter { $0["type"]?.string == "skip" }
    if !skips.isEmpty {
      body += "<h2>Skipped steps</h2>\n<ul>\n"
      for skip in skips {
        body += "<li>step \(skip["step"]?.int ?? 0): \(escaped(skip["reason"]?.string ?? ""))</li>\n"
      }
      body += "</ul>\n"
    }
    let samples = lines.filter { $0["type"]?.string == "sample" }
    if !samples.isEmpty {
      body += "<h2>Samples</h2>\n"
      for sample in samples {
        body +=
          "<h3>step \(sample["step"]?.int ?? 0)</h3>\n<pre>\(escaped(sample["text"]?.string ?? ""))</pre>\n"
      }
    }
    if fileExists(base + "answers.json") { body += answers(try JSONDocument.load(base + "answers.json")) }
    body += "<h2>Configuration</h2>\n<table>\n"
    for section in ["settings", "model"] {
      for member in run[section]?.object?.members ?? [] where member.key != "model" && !member.value.isNull {
        body +=
          "<tr><td>\(escaped(section == "model" ? "model." + member.key : member.key))</td>"
          + "<td>\(escaped(member.value.string ?? member.value.text()))</td></tr>\n"
      }
    }
    body += "</table>\n"
    return """
      <!DOCTYPE html>
      <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
      <title>\(name)</title>
      <style>
      body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
      svg { width: 100%; height: auto; background: #fff } pre { background: #f5f5f5; padding: .8rem; white-space: pre-wrap }
      td { padding: .1rem 1rem .1rem 0; border-bottom: 1px solid #eee; vertical-align: top }
      h2 { margin-top: 2rem } text { font: 12px system-ui, sans-serif; fill: #555 }
      </style></head><body>
      \(body)</body></html>

      """
  }

  /// Held-out questions with their answers before and after.
  private static func answers(_ document: JSONValue) -> String {
    func pair(_ key: String) -> String {
      guard let before = document[key]?["before"]?.double, let after = document[key]?["after"]?.double else {
        return ""
      }
      return "\(number(before)) before, \(number(after)) after"
    }
    var text = "<h2>Answers</h2>\n<p>\(document["questions"]?.int ?? 0) held-out questions; "
    text += "ROUGE-L \(pair("rouge_l")); exact match \(pair("exact_match")).</p>\n<table>\n"
    text += "<tr><th>question</th><th>reference</th><th>before</th><th>after</th></tr>\n"
    for answer in document["answers"]?.array ?? [] {
      let cells = ["question", "reference", "before", "after"].map {
        "<td>\(escaped(String((answer[$0]?.string ?? "").prefix(1000))))</td>"
      }
      text += "<tr>\(cells.joined())</tr>\n"
    }
    return text + "</table>\n"
  }

  // MARK: Curves

  /// A running mean, whose window grows with the run.
  private static func smoothed(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
    let weight = 1 - 1 / max(1, min(50, Double(points.count) / 20))
    var mean = points.first?.y ?? 0
    return points.map { point in
      mean = weight * mean + (1 - weight) * point.y
      return (point.x, mean)
    }
  }

  /// At most a thousand points: more than a screen shows.
  private static func thinned(_ points: [(x: Double, y: Double)]) -> [(x: Double, y: Double)] {
    guard points.count > 1000 else { return points }
    return (0..<1000).map { points[$0 * (points.count - 1) / 999] }
  }

  private static func chart(_ title: String, _ series: [Series]) -> String {
    let points = series.flatMap(\.points).filter { $0.y.isFinite }
    guard let first = points.first else { return "" }
    let (width, height, left, bottom) = (900.0, 300.0, 70.0, 30.0)
    var (minX, maxX, minY, maxY) = (first.x, first.x, first.y, first.y)
    for point in points {
      (minX, maxX) = (min(minX, point.x), max(maxX, point.x))
      (minY, maxY) = (min(minY, point.y), max(maxY, point.y))
    }
    if maxX == minX { maxX += 1 }
    if maxY == minY { maxY += max(1e-12, abs(maxY) * 0.1) }
    func x(_ value: Double) -> Double { left + (value - minX) / (maxX - minX) * (width - left - 15) }
    func y(_ value: Double) -> Double { 10 + (maxY - value) / (maxY - minY) * (height - bottom - 15) }
    var svg = "<h2>\(escaped(title))</h2>\n<svg viewBox=\"0 0 \(Int(width)) \(Int(height))\" role=\"img\">\n"
    for step in 0...4 {
      let value = minY + (maxY - minY) * Double(step) / 4
      svg +=
        "<line x1=\"\(Int(left))\" x2=\"\(Int(width) - 15)\" y1=\"\(place(y(value)))\" y2=\"\(place(y(value)))\" "
      svg +=
        "stroke=\"#e5e5e5\"/><text x=\"\(Int(left) - 8)\" y=\"\(place(y(value) + 4))\" text-anchor=\"end\">"
      svg += "\(number(value))</text>\n"
      let at = minX + (maxX - minX) * Double(step) / 4
      svg += "<text x=\"\(place(x(at)))\" y=\"\(Int(height) - 8)\" text-anchor=\"middle\">\(Int(at))</text>\n"
    }
    for (index, line) in series.enumerated() where !line.points.isEmpty {
      let path = line.points.filter { $0.y.isFinite }.map { "\(place(x($0.x))),\(place(y($0.y)))" }
      svg += "<polyline fill=\"none\" stroke=\"\(line.color)\" stroke-width=\"1.5\" points=\""
      svg += path.joined(separator: " ") + "\"/>\n"
      if series.count > 1 {
        svg += "<text x=\"\(Int(width) - 20)\" y=\"\(24 + 16 * index)\" text-anchor=\"end\" "
        svg += "style=\"fill:\(line.color)\">\(escaped(line.name))</text>\n"
      }
    }
    return svg + "</svg>\n"
  }

  private static func place(_ value: Double) -> String { "\((value * 10).rounded() / 10)" }

  /// Four significant digits.
  private static func number(_ value: Double) -> String {
    guard value != 0, value.isFinite else { return "\(value)" }
    let digits = 3 - Int(log10(abs(value)).rounded(.down))
    let scale = pow(10, Double(digits))
    let rounded = (value * scale).rounded() / scale
    return abs(rounded) >= 1000 ? "\(Int(rounded))" : "\(rounded)"
  }

  private static func escaped(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing(">", with: "&gt;").replacing(
      "\"", with: "&quot;")
  }
}
