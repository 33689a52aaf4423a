import CLAPACKE

/// The LAPACK that is linked in.
public enum LAPACK {
  /// The version of the LAPACK interface, such as `3.11.0`.
  public static var version: String {
    var major: Int32 = 0
    var minor: Int32 = 0
    var patch: Int32 = 0
    LAPACKE_ilaver(&major, &minor, &patch)
    return "\(major).\(minor).\(patch)"
  }

  /// The Cholesky factor of a symmetric matrix: A = Rᵀ·R, R upper triangular.
  ///
  /// - Parameter a: (count, count), row-major; of A only the upper triangle is read and replaced by R.
  /// - Returns: false when A is not positive definite.
  package static func cholesky(_ a: UnsafeMutablePointer<Float>, count: Int) -> Bool {
    var status: Int32 = 0
    // By columns, LAPACK's own order, the upper triangle of rows is the lower one.
    BLAS.onThisThread {
      status = LAPACKE_spotrf_work(
        LAPACK_COL_MAJOR, CChar(UInt8(ascii: "L")), Int32(count), a, Int32(count))
    }
    return status == 0
  }

  /// The inverse of a matrix of which the Cholesky factor is known.
  ///
  /// - Parameter r: (count, count), the factor of `cholesky`; its upper triangle becomes that of A⁻¹.
  /// - Returns: false when the factor is singular.
  package static func invertFromCholesky(_ r: UnsafeMutablePointer<Float>, count: Int) -> Bool {
    var status: Int32 = 0
    BLAS.onThisThread {
      status = LAPACKE_spotri_work(
        LAPACK_COL_MAJOR, CChar(UInt8(ascii: "L")), Int32(count), r, Int32(count))
    }
    return status == 0
  }
}
