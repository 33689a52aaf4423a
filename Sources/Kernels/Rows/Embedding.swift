/// Looks up rows of a table.  y[r] = table[ids[r]], or y[r] += table[ids[r]]
///
/// - Parameters:
///   - ids: (y.rows).
///   - table: (rows, channels).
///   - y: (ids.count, channels); does not overlap `table`.
///   - accumulate: whether to add to `y`, as the embeddings of positions are.
/// - Precondition: every id is a row of the table.
func embed(
  _ ids: UnsafeBufferPointer<Int>, table: MatrixView, into y: MutableMatrixView, accumulate: Bool = false
) {
  precondition(
    ids.count == y.rows && table.columns == y.columns,
    "\(ids.count) rows of \(table.columns) into (\(y.rows), \(y.columns))")
  for (index, id) in ids.enumerated() {
    precondition(id >= 0 && id < table.rows, "row \(id) of a table that has \(table.rows)")
    if accumulate {
      addRow(table.row(id), to: y.row(index), count: y.columns)
    } else {
      y.row(index).update(from: table.row(id), count: y.columns)
    }
  }
}
