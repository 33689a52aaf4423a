@testable import Kernels

/// Extents around one and several vectors and blocks, and those of real models.
let rowSizes = [0, 1, 7, 8, 9, 15, 16, 17, 63, 64, 65, 768, 1023, 1025, 3072, 50_257]

/// A matrix whose every element outside its rows and columns is a known NaN: a kernel that reads one spoils
/// its result, a kernel that writes one is found out.
final class GuardedMatrix {
  let view: MutableMatrixView
  private let storage: UnsafeMutableBufferPointer<Float>
  private static let canary = Float(bitPattern: 0x7FC0_DEAD)
  private static let margin = 64

  /// Rows end `gap` elements before the next; the base is not aligned to a vector.
  init(rows: Int = 1, columns: Int, gap: Int = 0, _ value: (_ row: Int, _ column: Int) -> Float) {
    let stride = columns + gap
    storage = .allocate(capacity: rows * stride + 2 * GuardedMatrix.margin + 1)
    storage.initialize(repeating: GuardedMatrix.canary)
    view = MutableMatrixView(
      storage.baseAddress! + GuardedMatrix.margin + 1, rows: rows, columns: columns, rowStride: stride)
    for row in 0..<rows {
      for column in 0..<columns { view.row(row)[column] = value(row, column) }
    }
  }

  /// One row of given values.
  convenience init(_ values: [Float]) { self.init(columns: values.count) { values[$1] } }

  deinit { storage.deallocate() }

  /// The elements of one row.
  func row(_ index: Int) -> [Float] {
    Array(UnsafeBufferPointer(start: view.row(index), count: view.columns))
  }

  /// Whether nothing but rows and columns was written.
  var isIntact: Bool {
    var inside = Set<Int>()
    let first = view.base - UnsafeMutablePointer(storage.baseAddress!)
    for row in 0..<view.rows {
      for column in 0..<view.columns { inside.insert(first + row * view.rowStride + column) }
    }
    return storage.indices.allSatisfy {
      inside.contains($0) || storage[$0].bitPattern == GuardedMatrix.canary.bitPattern
    }
  }
}

/// Half the distance of 1 to the next float: the relative error of one rounding.
let roundingUnit = 0x1p-24
