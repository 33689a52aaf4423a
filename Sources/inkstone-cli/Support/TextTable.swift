import Inkstone

/// Tables of plain text.
enum TextTable {
  /// Columns two spaces apart: the first to the left, the others to the right.
  static func aligned(_ head: [String], _ rows: [[String]]) -> String {
    let rows = [head] + rows
    let widths = head.indices.map { column in rows.map { width($0[column]) }.max() ?? 0 }
    return rows.map { row in
      let cells = row.enumerated().map { column, cell in
        let padding = String(repeating: " ", count: widths[column] - width(cell))
        return column == 0 ? cell + padding : padding + cell
      }
      return cells.joined(separator: "  ") + "\n"
    }.joined()
  }

  /// Columns of a terminal that a text takes.
  private static func width(_ text: String) -> Int {
    text.reduce(0) { $0 + $1.columnCount }
  }
}
