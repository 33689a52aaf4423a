#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Who multiplies matrices of floats with many rows.
public enum MatrixMultiplier: String, Sendable, CaseIterable {
  /// The engine itself, whose sums stay in 512-bit registers.
  case own
  /// OpenBLAS's SGEMM.
  case openBLAS = "openblas"

  /// The variable that chooses one.
  public static let variable = "INKSTONE_PRODUCTS"

  /// What it can be, in words.
  public static var names: String { allCases.map(\.rawValue).joined(separator: " or ") }

  /// What `INKSTONE_PRODUCTS` names; else `own` where the build has AVX-512, whose registers the sums need.
  public static let inUse: MatrixMultiplier =
    getenv(variable).flatMap { MatrixMultiplier(rawValue: String(cString: $0)) }
    ?? (ProcessorFeatures.current.compiledIn.contains("avx512f") ? .own : .openBLAS)
}
