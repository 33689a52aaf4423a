import Synchronization

/// A matrix of floats that nobody has looked through for NaN and ∞: its first product tells.
///
/// A sum with NaN or ∞ among its weights is not finite, whatever finite numbers they are multiplied with: 0·∞ and ∞ − ∞ are NaN.
/// So outputs are looked at, which are few, and a matrix that is used where a file lies in memory is not read twice. Activations
/// that are not finite, or sums beyond the largest float, look the same: who is told looks for himself.
public final class UnseenMatrix: Sendable {
  private let isPending = Atomic(true)
  private let report: @Sendable () -> Void

  /// Waits for the first product.
  ///
  /// - Parameter report: called where the matrix may hold NaN or ∞; perhaps several times and from several threads.
  public init(report: @escaping @Sendable () -> Void) { self.report = report }

  /// Whether the whole of it has not been multiplied yet.
  var isUnseen: Bool { isPending.load(ordering: .acquiring) }

  /// Looks at a product of the whole matrix, before anything but a sum has been made of it.
  /// - Parameter product: (R, outputs), at least one row.
  func look(at product: MutableMatrixView) {
    lookAtRows(product.readOnly)
    // Whoever finds it seen finds what was reported too.
    isPending.store(false, ordering: .releasing)
  }

  /// Looks at copies of some of its rows, if nobody has seen it yet.
  /// - Parameter rows: (R, columns).
  public func lookAtRows(_ rows: MatrixView) {
    guard isUnseen else { return }
    for row in 0..<rows.rows where !allFinite(rows.row(row), count: rows.columns) { return report() }
  }
}

/// Whether numbers are free of NaN and ∞; a plain loop, so that it vectorises.
package func allFinite(_ values: UnsafePointer<Float>, count: Int) -> Bool {
  var seen: UInt32 = 0
  for index in 0..<count { seen |= (values[index].bitPattern & 0x7FFF_FFFF) &+ 0x0080_0000 }
  return seen & 0x8000_0000 == 0
}
