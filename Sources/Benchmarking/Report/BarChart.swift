#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Horizontal bars in SVG: how many times faster (logarithmic), and how much of the machine's limit.
///
/// Text and lines are of a middle grey and the ground is transparent, so that the picture reads on light and dark pages.
public struct BarChart: Sendable {
  /// One row of two bars.
  public struct Row: Sendable {
    /// What it is.
    public let label: String
    /// Its shape.
    public let detail: String
    /// Naive over OpenBLAS.
    public let factor: SampleStatistics
    /// Share of the limit.
    public let fraction: SampleStatistics
    /// The rate in words.
    public let rate: String
    /// Which limit.
    public let limitName: String
  }

  /// Rows under one heading.
  public struct Group: Sendable {
    /// The heading.
    public let name: String
    /// The rows.
    public let rows: [Row]
  }

  /// Above everything.
  public let title: String
  /// Lines below the title.
  public let subtitle: [String]
  /// The rows.
  public let groups: [Group]

  private static let width = 1160
  private static let labelWidth = 300
  private static let factorWidth = 330
  private static let fractionLeft = 720
  private static let fractionWidth = 290
  private static let rowHeight = 25

  /// The picture.
  public var svg: String {
    var body = ""
    var y = 34
    body += text(20, y, title, "title")
    for line in subtitle {
      y += 20
      body += text(20, y, line, "note")
    }
    y += 38
    let factorLeft = BarChart.labelWidth + 20
    body += text(factorLeft, y, "times faster than naive Swift", "head")
    body += text(BarChart.fractionLeft, y, "share of the machine's limit", "head")
    body += text(BarChart.width - 20, y, "rate", "head end")
    y += 12
    let top = y
    var rows = ""
    for group in groups where !group.rows.isEmpty {
      y += 24
      rows += text(20, y, group.name, "head")
      y += 8
      for row in group.rows {
        rows += bars(row, y, factorLeft)
        y += BarChart.rowHeight
      }
    }
    body += axes(top, y + 4, factorLeft) + rows
    y += 44
    body += text(
      20, y,
      "Medians of ratios of neighbouring slices; the thin lines span the quartiles. Limits: SGEMM 2048³; read 256 MiB; "
        + "pass: the same floats read and written once.", "note")
    y += 20
    return """
      <svg xmlns="http://www.w3.org/2000/svg" width="\(BarChart.width)" height="\(y)" viewBox="0 0 \(BarChart.width) \(y)" role="img" aria-label="\(escaped(title))">
      <style>
      text { font-family: system-ui, "DejaVu Sans", "Helvetica Neue", Arial, sans-serif; font-size: 13px; fill: #7a828c; }
      .title { font-size: 19px; font-weight: 600; }
      .head { font-weight: 600; }
      .note, .tick { font-size: 12px; }
      .tick { text-anchor: middle; }
      .detail { font-size: 11.5px; text-anchor: end; }
      .grid { stroke: #7a828c; stroke-opacity: 0.28; }
      .limit { stroke: #7a828c; stroke-dasharray: 4 3; }
      .inside { text-anchor: end; fill: #ffffff; font-weight: 600; font-size: 12px; }
      .end { text-anchor: end; }
      .spread { stroke: #5d6570; stroke-width: 2; }
      .factor { fill: #d9822b; }
      .fraction { fill: #3b8ec2; }
      </style>
      \(body)</svg>

      """
  }

  /// Powers of ten that span the factors.
  private var decades: Int {
    let largest = groups.flatMap(\.rows).map(\.factor.upperQuartile).max() ?? 10
    var (decades, power) = (1, 10.0)
    while power < largest, decades < 9 {
      decades += 1
      power *= 10
    }
    return decades
  }

  /// The largest share that the right scale shows: 1, or more when something is faster than its limit.
  private var largestFraction: Double {
    let largest = groups.flatMap(\.rows).map(\.fraction.upperQuartile).max() ?? 1
    return largest <= 1.02 ? 1 : min(2, (largest * 4).rounded(.up) / 4)
  }

  private func factorLength(_ factor: Double) -> Double {
    max(0, min(1, log10(max(factor, 1)) / Double(decades))) * Double(BarChart.factorWidth)
  }

  private func fractionLength(_ fraction: Double) -> Double {
    max(0, min(1, fraction / largestFraction)) * Double(BarChart.fractionWidth)
  }

  private func bars(_ row: Row, _ y: Int, _ factorLeft: Int) -> String {
    let middle = y + 9
    var out = text(28, middle + 4, row.label, "label")
    out += text(BarChart.labelWidth + 8, middle + 4, row.detail, "detail")
    for (left, statistics, length, kind, words) in [
      (factorLeft, row.factor, factorLength, "factor", figure(row.factor.median) + " ×"),
      (BarChart.fractionLeft, row.fraction, fractionLength, "fraction", percent(row.fraction.median)),
    ] {
      let (bar, end) = (length(statistics.median), length(statistics.upperQuartile))
      let from = fixed(Double(left) + length(statistics.lowerQuartile), 1)
      out +=
        "<rect class=\"\(kind)\" x=\"\(left)\" y=\"\(y + 2)\" width=\"\(fixed(bar, 1))\" height=\"14\" rx=\"2\"/>\n"
      out +=
        "<line class=\"spread\" x1=\"\(from)\" x2=\"\(fixed(Double(left) + end, 1))\" y1=\"\(middle)\" y2=\"\(middle)\"/>\n"
      // A long bar carries its figure itself, so that none crosses the line of the limit.
      if bar > 0.8 * Double(BarChart.fractionWidth), kind == "fraction" {
        out += text(left + Int(length(statistics.lowerQuartile)) - 6, middle + 4, words, "inside")
      } else {
        out += text(left + Int(max(bar, end)) + 6, middle + 4, words, "value")
      }
    }
    out += text(BarChart.width - 20, middle + 4, row.rate, "detail")
    return out
  }

  private func axes(_ top: Int, _ bottom: Int, _ factorLeft: Int) -> String {
    var out = ""
    func line(_ x: Int, _ kind: String) {
      out += "<line class=\"\(kind)\" x1=\"\(x)\" x2=\"\(x)\" y1=\"\(top)\" y2=\"\(bottom)\"/>\n"
    }
    var power = 1
    for decade in 0...decades {
      let x = factorLeft + decade * BarChart.factorWidth / decades
      line(x, "grid")
      out += text(x, bottom + 16, "\(power) ×", "tick")
      power *= 10
    }
    let step = largestFraction > 1.25 ? 2 : 1
    for quarter in stride(from: 0, through: Int(largestFraction * 4), by: step) {
      let x = BarChart.fractionLeft + Int(fractionLength(Double(quarter) / 4))
      line(x, quarter == 4 ? "limit" : "grid")
      out += text(x, bottom + 16, "\(quarter * 25) %", "tick")
    }
    return out
  }

  private func text(_ x: Int, _ y: Int, _ words: String, _ kind: String) -> String {
    "<text class=\"\(kind)\" x=\"\(x)\" y=\"\(y)\">\(escaped(words))</text>\n"
  }

  /// Text as XML allows it; what XML cannot hold at all becomes a question mark.
  private func escaped(_ words: String) -> String {
    var out = ""
    for scalar in words.unicodeScalars {
      switch scalar {
      case "&": out += "&amp;"
      case "<": out += "&lt;"
      case ">": out += "&gt;"
      case "\"": out += "&quot;"
      case _ where scalar.value < 0x20 || scalar.value == 0xFFFE || scalar.value == 0xFFFF: out += "?"
      default: out.unicodeScalars.append(scalar)
      }
    }
    return out
  }
}
