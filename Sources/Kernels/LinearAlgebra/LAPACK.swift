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
}
