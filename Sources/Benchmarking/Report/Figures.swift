/// A number with so many decimals.
func fixed(_ value: Double, _ decimals: Int) -> String {
  guard value.isFinite, abs(value) < 1e15 else { return "\(value)" }
  var scale = 1.0
  for _ in 0..<decimals { scale *= 10 }
  let scaled = (abs(value) * scale).rounded()
  let whole = (scaled / scale).rounded(.down)
  let sign = value < 0 && scaled > 0 ? "-" : ""
  guard decimals > 0 else { return sign + String(Int(whole)) }
  let fraction = String(Int(scaled - whole * scale))
  return sign + String(Int(whole)) + "." + String(repeating: "0", count: decimals - fraction.count) + fraction
}

/// A number with three digits that count, or more before the point.
func figure(_ value: Double) -> String {
  switch abs(value) {
  case ..<0.1: fixed(value, 4)
  case ..<1: fixed(value, 3)
  case ..<10: fixed(value, 2)
  case ..<100: fixed(value, 1)
  default: fixed(value, 0)
  }
}

/// Two digits and a power of ten.
func scientific(_ value: Double) -> String {
  guard value.isFinite, value > 0 else { return "\(value)" }
  var exponent = 0
  var mantissa = value
  while mantissa >= 9.95 {
    mantissa /= 10
    exponent += 1
  }
  while mantissa < 0.995 {
    mantissa *= 10
    exponent -= 1
  }
  return "\(fixed(mantissa, 1))e\(exponent)"
}

/// A time in the unit that suits it.
func timeText(_ seconds: Double) -> String {
  switch seconds {
  case ..<1e-3: figure(seconds * 1e6) + " µs"
  case ..<1: figure(seconds * 1e3) + " ms"
  default: figure(seconds) + " s"
  }
}

/// A number of bytes in the unit that suits it.
func byteText(_ bytes: Int) -> String {
  switch bytes {
  case .max: "more than can be counted"
  case ..<(1 << 20): figure(Double(bytes) / 1024) + " KiB"
  case ..<(10 << 30): figure(Double(bytes) / Double(1 << 20)) + " MiB"
  default: figure(Double(bytes) / Double(1 << 30)) + " GiB"
  }
}

/// A share in percent.
func percent(_ share: Double) -> String { fixed(share * 100, share < 0.0995 ? 1 : 0) + " %" }

/// Rows of cells as a table in Markdown, its columns padded so that it can be read as it is.
///
/// - Parameters:
///   - header: the names of the columns.
///   - rows: as many cells each.
///   - textColumns: columns from the left that hold words; the others are aligned to the right.
func markdownTable(_ header: [String], _ rows: [[String]], textColumns: Int) -> String {
  let widths = header.indices.map { column in max(3, ([header] + rows).map { $0[column].count }.max()!) }
  func line(_ cells: [String]) -> String {
    "| "
      + cells.enumerated().map { column, cell in
        let padding = String(repeating: " ", count: widths[column] - cell.count)
        return column < textColumns ? cell + padding : padding + cell
      }.joined(separator: " | ") + " |\n"
  }
  let rule = widths.enumerated().map { column, width in
    column < textColumns
      ? String(repeating: "-", count: width) : String(repeating: "-", count: width - 1) + ":"
  }
  return line(header) + line(rule) + rows.map(line).joined()
}

/// One line of comma-separated values (RFC 4180).
func csvLine(_ cells: [String]) -> String {
  cells.map { cell in
    cell.contains(where: { ",\"\n".contains($0) }) ? "\"\(cell.replacing("\"", with: "\"\""))\"" : cell
  }.joined(separator: ",") + "\n"
}
