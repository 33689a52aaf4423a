/// A row-major matrix of `Float` that someone else owns.
///
/// Rows start `rowStride` elements apart, so a view can be a band of columns of a wider matrix (the keys
/// within a fused QKV product). The owner outlives the view; views are made per operation and not stored.
public struct MatrixView {
  /// The first element.
  public let base: UnsafePointer<Float>
  /// Rows.
  public let rows: Int
  /// Columns.
  public let columns: Int
  /// Elements from the start of one row to the start of the next; at least `columns`.
  public let rowStride: Int

  /// Describes a matrix in memory.
  /// - Precondition: extents are not negative and `rowStride ≥ columns`.
  public init(_ base: UnsafePointer<Float>, rows: Int, columns: Int, rowStride: Int? = nil) {
    let rowStride = rowStride ?? columns
    precondition(
      rows >= 0 && columns >= 0 && rowStride >= columns,
      "a matrix of \(rows) × \(columns) with a row stride of \(rowStride)")
    self.base = base
    self.rows = rows
    self.columns = columns
    self.rowStride = rowStride
  }

  /// The first element of a row.
  public func row(_ index: Int) -> UnsafePointer<Float> { base + index * rowStride }

  /// A band of rows of this matrix.
  /// - Precondition: the band lies within the matrix.
  public func rows(_ range: Range<Int>) -> MatrixView {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of a matrix that has \(rows)")
    return MatrixView(row(range.lowerBound), rows: range.count, columns: columns, rowStride: rowStride)
  }
}

/// A row-major matrix of `Float` that someone else owns and that an operation writes.
public struct MutableMatrixView {
  /// The first element.
  public let base: UnsafeMutablePointer<Float>
  /// Rows.
  public let rows: Int
  /// Columns.
  public let columns: Int
  /// Elements from the start of one row to the start of the next; at least `columns`.
  public let rowStride: Int

  /// Describes a matrix in memory.
  /// - Precondition: extents are not negative and `rowStride ≥ columns`.
  public init(_ base: UnsafeMutablePointer<Float>, rows: Int, columns: Int, rowStride: Int? = nil) {
    let rowStride = rowStride ?? columns
    precondition(
      rows >= 0 && columns >= 0 && rowStride >= columns,
      "a matrix of \(rows) × \(columns) with a row stride of \(rowStride)")
    self.base = base
    self.rows = rows
    self.columns = columns
    self.rowStride = rowStride
  }

  /// The first element of a row.
  public func row(_ index: Int) -> UnsafeMutablePointer<Float> { base + index * rowStride }

  /// The same matrix, to be read.
  public var readOnly: MatrixView {
    MatrixView(UnsafePointer(base), rows: rows, columns: columns, rowStride: rowStride)
  }

  /// A band of columns of this matrix.
  /// - Precondition: the band lies within the matrix.
  public func columns(_ range: Range<Int>) -> MutableMatrixView {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= columns, "columns \(range) of a matrix that has \(columns)"
    )
    return MutableMatrixView(base + range.lowerBound, rows: rows, columns: range.count, rowStride: rowStride)
  }

  /// A band of rows of this matrix.
  /// - Precondition: the band lies within the matrix.
  public func rows(_ range: Range<Int>) -> MutableMatrixView {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= rows, "rows \(range) of a matrix that has \(rows)")
    return MutableMatrixView(row(range.lowerBound), rows: range.count, columns: columns, rowStride: rowStride)
  }
}
