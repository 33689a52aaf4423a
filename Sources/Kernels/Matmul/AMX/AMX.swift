import CIntrinsics

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The matrix registers of Intel's CPUs from Sapphire Rapids on, which multiply bfloat16 and bytes.
public enum AMX {
  /// The variable that turns them off: `INKSTONE_AMX=0`.
  public static let variable = "INKSTONE_AMX"

  /// Whether this build has the instructions and the system gives this process the registers.
  public static let isOffered = ink_has_matrix_registers != 0 && ink_request_matrix_registers()

  /// Whether products go this way.
  public static let isInUse = isOffered && getenv(variable).map { String(cString: $0) } != "0"
}
