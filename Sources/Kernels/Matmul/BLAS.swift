import COpenBLAS
import Synchronization

/// OpenBLAS as this process uses it: one thread per caller, threads being `WorkerPool`'s business.
///
/// Measured on two cores, two callers with half of the columns each equal or beat OpenBLAS's own two
/// threads, and they do not fight with a pool that spins (`Benchmarks/README.md`).
public enum BLAS {
  /// How the library parallelises by itself.
  public enum Parallelism: String, Sendable {
    /// Built without threads; it then also lacks locks, and takes one caller at a time.
    case serial
    /// POSIX threads.
    case pthreads
    /// OpenMP.
    case openMP
  }

  /// The library's build configuration, version first.
  public static var configuration: String { String(cString: openblas_get_config()) }

  /// The version, such as `0.3.21`.
  public static var version: String {
    configuration.split(separator: " ").dropFirst().first.map(String.init) ?? "unknown"
  }

  /// The kernels in use, chosen for the CPU at load or pinned by `OPENBLAS_CORETYPE`.
  public static var coreType: String { String(cString: openblas_get_corename()) }

  /// Bits of the vectors of the kernels in use on x86-64; a library that does not know the CPU falls back to kernels of 128.
  public static var vectorBits: Int {
    switch coreType.lowercased() {
    case "skylakex", "cooperlake", "sapphirerapids": 512
    case "haswell", "zen", "sandybridge", "bulldozer", "piledriver", "steamroller", "excavator": 256
    default: 128
    }
  }

  /// How the library was built.
  public static var parallelism: Parallelism {
    switch openblas_get_parallel() {
    case 0: .serial
    case 1: .pthreads
    default: .openMP
    }
  }

  /// Takes the library's threads away from it, once per process.
  private static let singleThreaded: Bool = {
    endThreads()
    return openblas_get_parallel() != 0
  }()

  /// Ends the library's threads, as the first pool of threads does.
  ///
  /// It starts them as it is loaded, and they look for work for some 60 ms: on two cores, half of what a model is loaded with.
  public static func endThreadsOfItsOwn() { _ = singleThreaded }

  private static func endThreads() {
    // In this order: to set their number starts them.
    openblas_set_num_threads(1)
    if parallelism == .pthreads { ink_end_blas_threads() }
  }

  private static let serialLock = Mutex(())

  /// Runs a call of the library, one at a time where it cannot bear two.
  @inline(__always)
  static func call(_ body: () -> Void) {
    if singleThreaded { body() } else { serialLock.withLock { _ in body() } }
  }

  /// Runs a call of LAPACK, which calls this library, on the calling thread.
  static func onThisThread(_ body: () -> Void) { call(body) }

  /// Lends the library its own threads for some calls, to compare its way of sharing out work with ours.
  ///
  /// - Precondition: nothing else in the process calls the library meanwhile.
  package static func withOwnThreads(_ count: Int, _ body: () -> Void) {
    _ = singleThreaded
    openblas_set_num_threads(Int32(count))
    body()
    endThreads()
  }

  /// C ← α·op(A)·op(B) + β·C for row-major matrices, on the calling thread.
  ///
  /// - Parameters:
  ///   - transposeA: whether A is stored (k, m) instead of (m, k).
  ///   - transposeB: whether B is stored (n, k) instead of (k, n).
  ///   - m: rows of C.
  ///   - n: columns of C.
  ///   - k: the extent summed over; with `k = 0`, C becomes β·C.
  ///   - a: op(A) is (m, k); rows are `strideA` elements apart.
  ///   - b: op(B) is (k, n); rows are `strideB` elements apart.
  ///   - c: (m, n); rows are `strideC` elements apart; overlaps neither A nor B. Not read when β is 0.
  package static func multiply(
    transposeA: Bool = false, transposeB: Bool = false, m: Int, n: Int, k: Int, alpha: Float = 1,
    a: UnsafePointer<Float>, strideA: Int, b: UnsafePointer<Float>, strideB: Int, beta: Float = 0,
    c: UnsafeMutablePointer<Float>, strideC: Int
  ) {
    guard m > 0, n > 0 else { return }
    precondition(
      strideA >= (transposeA ? m : k) && strideB >= (transposeB ? k : n) && strideC >= n && k >= 0,
      "a product of (\(m), \(k)) and (\(k), \(n)) with strides \(strideA), \(strideB), \(strideC)")
    call {
      if m == 1, !transposeA {
        // One row: a matrix-vector product reads B once and packs nothing.
        cblas_sgemv(
          CblasRowMajor, transposeB ? CblasNoTrans : CblasTrans, blasint(transposeB ? n : k),
          blasint(transposeB ? k : n), alpha, b, blasint(strideB), a, 1, beta, c, 1)
      } else {
        cblas_sgemm(
          CblasRowMajor, transposeA ? CblasTrans : CblasNoTrans, transposeB ? CblasTrans : CblasNoTrans,
          blasint(m), blasint(n), blasint(k), alpha, a, blasint(strideA), b, blasint(strideB), beta, c,
          blasint(strideC))
      }
    }
  }
}
