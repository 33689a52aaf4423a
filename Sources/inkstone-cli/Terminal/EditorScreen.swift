import Inkstone

/// How a message looks on a terminal of some width: its rows, and where the cursor is.
struct EditorLayout: Equatable {
  private(set) var rows: [String] = [""]
  private(set) var cursorRow = 0
  private(set) var cursorColumn = 0

  /// Lays a message out behind a prompt; further lines are indented as far.
  ///
  /// A row is broken before the character that does not fit, so that a wide one is never halved, and here rather than by
  /// the terminal, which is then never in doubt about where the cursor is.
  init(prompt: String, characters: [Character], cursor: Int, width: Int) {
    let width = max(width, 4)
    let indent = prompt.reduce(0) { $0 + $1.columnCount }
    var column = indent
    rows = [prompt]
    func breakRow(_ rows: inout [String], indented: Bool) {
      rows.append(indented ? String(repeating: " ", count: min(indent, width - 2)) : "")
    }
    for (index, character) in characters.enumerated() {
      let (shown, columns) = EditorLayout.shown(character)
      if character != "\n", column + columns > width {
        breakRow(&rows, indented: false)
        column = 0
      }
      if index == cursor { (cursorRow, cursorColumn) = (rows.count - 1, column) }
      if character == "\n" {
        breakRow(&rows, indented: true)
        column = min(indent, width - 2)
      } else {
        rows[rows.count - 1] += shown
        column += columns
      }
    }
    if cursor >= characters.count {
      // Behind a full row the cursor stands on the next one.
      if column >= width {
        rows.append("")
        column = 0
      }
      (cursorRow, cursorColumn) = (rows.count - 1, column)
    }
  }

  /// What a terminal is given for a character, and the columns that it takes.
  static func shown(_ character: Character) -> (String, Int) {
    if character == "\t" { return ("    ", 4) }
    if let first = character.unicodeScalars.first, first.value < 0x20 || (0x7F..<0xA0).contains(first.value) {
      // Control characters would act; they are spelled.
      let name = first.value < 0x20 ? "^" + String(Unicode.Scalar(UInt8(first.value + 0x40))) : "^?"
      return (name, 2)
    }
    return (String(character), character.columnCount)
  }
}

/// Draws the message that is being typed, again after each key.
struct EditorScreen {
  /// The row, among those drawn, that the cursor is on.
  private var drawnCursorRow = 0

  /// What moves the terminal from what was drawn before to a layout.
  ///
  /// - Parameter height: rows of the terminal; of a longer message those around the cursor are shown.
  mutating func update(to layout: EditorLayout, height: Int) -> String {
    let height = max(height, 2)
    var first = 0
    if layout.rows.count > height {
      first = min(max(0, layout.cursorRow - height + 1), layout.rows.count - height)
    }
    let rows = layout.rows[first..<min(first + height, layout.rows.count)]
    var out = toFirstRow + "\u{1B}[J" + rows.joined(separator: "\r\n") + "\r"
    let below = rows.count - 1 - (layout.cursorRow - first)
    if below > 0 { out += "\u{1B}[\(below)A" }
    if layout.cursorColumn > 0 { out += "\u{1B}[\(layout.cursorColumn)C" }
    drawnCursorRow = layout.cursorRow - first
    return out
  }

  /// What moves the terminal below the message, to go on there.
  mutating func finish(_ layout: EditorLayout) -> String {
    let below = max(layout.rows.count - 1 - layout.cursorRow, 0)
    drawnCursorRow = 0
    return (below > 0 ? "\u{1B}[\(below)B" : "") + "\r\n"
  }

  /// What empties the terminal.
  mutating func clear() -> String {
    drawnCursorRow = 0
    return "\u{1B}[H\u{1B}[2J"
  }

  private var toFirstRow: String { "\r" + (drawnCursorRow > 0 ? "\u{1B}[\(drawnCursorRow)A" : "") }
}
