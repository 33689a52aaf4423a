import Checkpoints
import Kernels
import Synchronization

/// A matrix where a checkpoint keeps it, read in pieces by several threads while it is packed.
protocol StoredMatrix: Sendable {
  /// How elements are stored.
  var type: TensorType { get }
  /// Rows as stored.
  var rows: Int { get }
  /// Elements of a row.
  var columns: Int { get }
  /// Whether the rows are the columns of the tensor that the family declares.
  var isTransposed: Bool { get }

  /// Whether rows follow each other in the file as they do in the matrix.
  var isInOrder: Bool { get }

  /// Looks, before a piece is read, whether the file is still what was opened.
  func check() throws
  /// Copies some elements of a row.
  /// - Parameter columns: whole blocks.
  func copyFloats(row: Int, columns: Range<Int>, into: UnsafeMutablePointer<Float>)
  /// The bytes of a row as stored; nothing where they are made when asked for. They stay there as long as the matrix.
  func bytes(row: Int) -> UnsafeRawPointer?
  /// Whether the bytes of a row are free of NaN and ∞.
  func isFinite(row: Int) -> Bool
  /// The error that tells of the first NaN or ∞.
  func throwNonFinite() throws
  /// Looks for NaN and ∞ in all rows, and whether the file is still what was opened.
  /// - Parameter pool: who looks.
  /// - Throws: an error that tells of the first NaN or ∞.
  func checkFinite(_ pool: WorkerPool) throws
  /// The elements where they are, (rows, columns), if they can be used there: floats in the order of the rows, which nobody has
  /// looked at.
  func floatsInPlace() -> (values: UnsafePointer<Float>, owner: AnyObject)?
  /// Gives the memory behind rows that have been read back to the system.
  /// - Parameter margin: bytes before and behind them that are given back too; what is read there again comes back.
  func release(rows: Range<Int>, margin: Int)
}

extension StoredMatrix {
  var isTransposed: Bool { false }
  var isInOrder: Bool { true }
  func check() throws {}
  func bytes(row: Int) -> UnsafeRawPointer? { nil }
  func isFinite(row: Int) -> Bool { true }
  func throwNonFinite() throws {}
  func checkFinite(_ pool: WorkerPool) throws {
    try check()
    let areFinite = Atomic(true)
    pool.run(rows, grain: max(1, 262_144 / columns)) { rows in
      if !rows.allSatisfy(isFinite(row:)) { areFinite.store(false, ordering: .relaxed) }
    }
    if !areFinite.load(ordering: .relaxed) { try throwNonFinite() }
  }
  func floatsInPlace() -> (values: UnsafePointer<Float>, owner: AnyObject)? { nil }
  func release(rows: Range<Int>, margin: Int) {}

  /// Gives the memory behind rows that have been read back.
  func release(rows: Range<Int>) { release(rows: rows, margin: 0) }

  /// Gives the memory behind all rows back, which have been read, and what the system mapped beside them.
  func release() { release(rows: 0..<rows, margin: largePage) }
}

/// A large page: touching a byte may map as much of a file.
private let largePage = 1 << 21

/// A tensor of a file, or a part of one.
struct RecordMatrix: StoredMatrix {
  let record: TensorRecord
  let rows: Int
  let columns: Int
  var isTransposed = false
  /// The first of the record's rows that belong to the matrix.
  var firstRow = 0
  /// For each row, the row of the record's part that holds it, where they are in another order.
  var order: [Int]?

  var type: TensorType { record.type }
  var isInOrder: Bool { order == nil }

  /// The whole of a tensor as rows of its last extent; nothing for what is no matrix of whole blocks.
  init?(_ record: TensorRecord) {
    guard record.shape.count > 1, let columns = record.shape.last, columns > 0, record.elementCount > 0,
      record.type.isConvertibleToFloat, columns.isMultiple(of: record.type.elementsPerBlock)
    else { return nil }
    self.record = record
    self.columns = columns
    rows = record.elementCount / columns
  }

  /// Some rows of a tensor.
  init?(_ record: TensorRecord, start: Int, rows: Int, columns: Int, isTransposed: Bool, order: [Int]?) {
    guard rows > 0, columns > 0, record.type.isConvertibleToFloat, start.isMultiple(of: columns),
      columns.isMultiple(of: record.type.elementsPerBlock), start + rows * columns <= record.elementCount
    else { return nil }
    self.record = record
    self.rows = rows
    self.columns = columns
    self.isTransposed = isTransposed
    firstRow = start / columns
    self.order = order
  }

  private func place(_ row: Int) -> Int { firstRow + (order?[row] ?? row) }

  func check() throws { try record.file.checkLength() }

  func copyFloats(row: Int, columns range: Range<Int>, into target: UnsafeMutablePointer<Float>) {
    let start = place(row) * columns
    record.convertFloats(start + range.lowerBound..<start + range.upperBound, into: target)
  }

  func bytes(row: Int) -> UnsafeRawPointer? {
    record.bytes.baseAddress.map { $0 + place(row) * columns / type.elementsPerBlock * type.bytesPerBlock }
  }

  func isFinite(row: Int) -> Bool {
    let start = place(row) * columns
    return record.isFinite(start..<start + columns)
  }

  func throwNonFinite() throws { try record.checkFinite() }

  func floatsInPlace() -> (values: UnsafePointer<Float>, owner: AnyObject)? {
    guard order == nil, let floats = record.floatsWithoutCopy?.baseAddress else { return nil }
    return (floats + firstRow * columns, record.file)
  }

  func release(rows: Range<Int>, margin: Int) {
    let places = rows.map(place)
    guard let first = places.min(), let last = places.max() else { return }
    let rowBytes = columns / type.elementsPerBlock * type.bytesPerBlock
    let start = record.byteRange.lowerBound
    record.file.dontNeed(start + first * rowBytes - margin..<start + (last + 1) * rowBytes + margin)
  }
}

/// A matrix of floats in memory.
struct FloatMatrix: StoredMatrix, @unchecked Sendable {
  // Safe: nothing writes through the pointer, and `owner` keeps the memory.
  let values: UnsafePointer<Float>
  let owner: AnyObject
  let rows: Int
  let columns: Int

  var type: TensorType { .f32 }

  func copyFloats(row: Int, columns range: Range<Int>, into target: UnsafeMutablePointer<Float>) {
    target.update(from: values + row * columns + range.lowerBound, count: range.count)
  }
}
