/// A table whose rows are looked up, as floats or in a compact type.
public enum EmbeddingTable: @unchecked Sendable {
  // Safe: nothing writes through the pointer after loading.

  /// (V, C), row-major; the owner of the memory outlives it.
  case floats(UnsafePointer<Float>)
  /// (V, C), in tiles.
  case packed(PackedWeight)

  /// The rows as floats.
  /// - Precondition: they are not packed.
  public var values: UnsafePointer<Float> {
    guard case .floats(let values) = self else { preconditionFailure("a packed table has no floats") }
    return values
  }
}

extension ComputeEngine {
  /// Looks up rows of a packed table.  y[r] = table[ids[r]]
  ///
  /// - Parameters:
  ///   - ids: R row numbers of the table, checked.
  ///   - table: (V, C).
  ///   - y: (R, C).
  public func embed(_ ids: [Int], table: PackedWeight, into y: MutableMatrixView) {
    precondition(
      ids.count == y.rows && table.inputs == y.columns,
      "\(ids.count) rows of \(table.inputs) into (\(y.rows), \(y.columns))")
    for (index, id) in ids.enumerated() { table.copyRow(id, into: y.row(index)) }
  }
}

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
