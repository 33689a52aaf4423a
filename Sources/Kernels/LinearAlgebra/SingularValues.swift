import CLAPACKE

/// A matrix as the product of matrices with orthonormal columns and rows, and what stretches between them.
///
/// X = U·diag(σ)·Vᵀ
package struct SingularValueDecomposition {
  /// U, (rows, k), row-major.
  package let left: [Float]
  /// σ, (k), descending.
  package let values: [Float]
  /// Vᵀ, (k, columns), row-major.
  package let right: [Float]

  /// Decomposes a matrix by LAPACK's divide and conquer, on the calling thread.
  ///
  /// - Parameters:
  ///   - matrix: X, (rows, columns), row-major, finite.
  ///   - rows: at least 1.
  ///   - columns: at least 1.
  /// - Returns: `nil` when LAPACK does not converge.
  /// - Complexity: O(rows·columns·k), k the smaller extent.
  /// - Accuracy: σ within a few ε·σ₁; the signs of a pair of vectors are LAPACK's choice.
  package init?(_ matrix: [Float], rows: Int, columns: Int) {
    precondition(
      rows > 0 && columns > 0 && matrix.count == rows * columns, "(\(rows), \(columns)) in \(matrix.count)")
    let k = min(rows, columns)
    var x = matrix
    var left = [Float](repeating: 0, count: rows * k)
    var values = [Float](repeating: 0, count: k)
    var right = [Float](repeating: 0, count: k * columns)
    // A row-major X is a column-major Xᵀ = V·diag(σ)·Uᵀ, so LAPACK needs no copies turned over.
    var status: Int32 = 0
    BLAS.call {
      status = LAPACKE_sgesdd(
        LAPACK_COL_MAJOR, CChar(UInt8(ascii: "S")), Int32(columns), Int32(rows), &x,
        Int32(columns), &values, &right, Int32(columns), &left, Int32(k))
    }
    guard status == 0 else { return nil }
    self.left = left
    self.values = values
    self.right = right
  }
}
