/// Adds gradients of looked-up rows to the gradients of a table.  dTable[ids[r]] += dY[r]
///
/// Tasks share the columns, so rows of the same id are added in order whatever the number of threads.
///
/// - Parameters:
///   - ids: (R), each a row of the table.
///   - dY: (R, C).
///   - dTable: (rows, C); does not overlap `dY`.
package func embeddingBackward(
  _ ids: [Int], _ dY: MatrixView, into dTable: MutableMatrixView, pool: WorkerPool
) {
  checkExtents(ids, dY, dTable)
  let bands = (dY.columns + 255) / 256
  pool.run(bands) { band in
    let columns = band * 256..<min((band + 1) * 256, dY.columns)
    for (index, id) in ids.enumerated() {
      addRow(
        dY.row(index) + columns.lowerBound, to: dTable.row(id) + columns.lowerBound, count: columns.count)
    }
  }
}

/// dTable[ids[r]] += dY[r]: the naive twin of `embeddingBackward`.
func embeddingBackwardReference(_ ids: [Int], _ dY: MatrixView, into dTable: MutableMatrixView) {
  checkExtents(ids, dY, dTable)
  for (index, id) in ids.enumerated() {
    for column in 0..<dY.columns { dTable.row(id)[column] += dY.row(index)[column] }
  }
}

private func checkExtents(_ ids: [Int], _ dY: MatrixView, _ dTable: MutableMatrixView) {
  precondition(
    ids.count == dY.rows && dTable.columns == dY.columns,
    "\(ids.count) rows, gradients (\(dY.rows), \(dY.columns)) of a table of \(dTable.columns) columns")
  for id in ids { precondition(id >= 0 && id < dTable.rows, "row \(id) of a table that has \(dTable.rows)") }
}
