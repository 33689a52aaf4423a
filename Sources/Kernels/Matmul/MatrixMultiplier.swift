#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Who multiplies matrices of floats with many rows.
public enum MatrixMultiplier: String, Sendable, CaseIterable {
  /// The engine itself, whose sums stay in 512-bit registers.
  case own
  /// The same, from 128 rows on in the matrix registers of AMX, as sums of products of bfloat16.
  case amx
  /// OpenBLAS's SGEMM.
  case openBLAS = "openblas"

  /// The variable that chooses one.
  public static let variable = "INKSTONE_PRODUCTS"

  /// What it can be, in words.
  public static var names: String {
    allCases.filter { $0 != .amx || AMX.isInUse }.map(\.rawValue).joined(separator: " or ")
  }

  /// The one of a name, if this process has what it needs.
  public init?(available name: String) {
    self.init(rawValue: name)
    if self == .amx, !AMX.isInUse { return nil }
  }

  /// What `INKSTONE_PRODUCTS` names; else `amx` where it is in use, or `own` where the build has AVX-512, whose registers the sums
  /// need.
  public static let inUse: MatrixMultiplier =
    getenv(variable).flatMap { MatrixMultiplier(available: String(cString: $0)) }
    ?? (AMX.isInUse ? .amx : ProcessorFeatures.current.compiledIn.contains("avx512f") ? .own : .openBLAS)
}
