/// Looks up rows of a table.  y[r] = table[ids[r]], or y[r] += table[ids[r]]
///
/// - Parameters:
///   - ids: (y.rows).
///   - table: (rows, channels).
///   - y: (ids.count, channels); does not overlap `table`.
///   - accumulate: whether to add to `y`, as the embeddings of positions are.
/// - Precondition: every id is a row of the table.
func embed(_ ids: [Int], table: MatrixView, into y: MutableMatrixView, accumulate: Bool) {
  checkExtents(ids, table, y)
  for (index, id) in ids.enumerated() {
    if accumulate {
      addRow(table.row(id), to: y.row(index), count: y.columns)
    } else {
      y.row(index).update(from: table.row(id), count: y.columns)
    }
  }
}

/// y[r] = table[ids[r]], or y[r] += table[ids[r]]: the naive twin of `embed`.
func embedReference(_ ids: [Int], table: MatrixView, into y: MutableMatrixView, accumulate: Bool) {
  checkExtents(ids, table, y)
  for (index, id) in ids.enumerated() {
    for channel in 0..<y.columns {
      let value = table.row(id)[channel]
      y.row(index)[channel] = accumulate ? y.row(index)[channel] + value : value
    }
  }
}

private func checkExtents(_ ids: [Int], _ table: MatrixView, _ y: MutableMatrixView) {
  precondition(
    ids.count == y.rows && table.columns == y.columns,
    "\(ids.count) rows of \(table.columns) into (\(y.rows), \(y.columns))")
  for id in ids { precondition(id >= 0 && id < table.rows, "row \(id) of a table that has \(table.rows)") }
}
