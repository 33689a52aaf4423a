import JSON
import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Where and with what a measurement was made: without it a figure says nothing.
public struct MachineDescription: Sendable {
  /// The processor's name.
  public let processor: String
  /// Vector instructions that the build uses.
  public let instructionSets: [String]
  /// The library and its version, and what takes its place.
  public let blas: String
  /// OpenBLAS's kernels in use.
  public let coreType: String
  /// `OPENBLAS_…` variables that are set.
  public let environment: [(name: String, value: String)]
  /// The program's version.
  public let version: String
  /// The commit that was built, or `unknown`.
  public let commit: String
  /// When, in UTC.
  public let time: String

  /// Describes this machine.
  ///
  /// - Parameters:
  ///   - version: the program's.
  ///   - environment: the process's variables; `INKSTONE_COMMIT`, which the Makefile sets, names the commit.
  public init(version: String, environment: [String: String]) {
    let features = ProcessorFeatures.current
    processor = features.brand.isEmpty ? "unknown" : features.brand
    instructionSets = features.compiledIn
    blas =
      "OpenBLAS \(BLAS.version)" + (MatrixMultiplier.inUse == .own ? " and own products" : "")
      + (AMX.isInUse ? ", AMX" : "")
      + (LimitProduct.isBLAS ? "" : "; the limit is of own products too, as OpenBLAS does not know the CPU")
    coreType = BLAS.coreType
    self.environment = environment.filter { $0.key.hasPrefix("OPENBLAS_") }.sorted { $0.key < $1.key }.map {
      ($0.key, $0.value)
    }
    self.version = version
    commit = environment["INKSTONE_COMMIT"].flatMap { $0.isEmpty ? nil : $0 } ?? "unknown"
    time = universalTime()
  }

  /// Some lines for people.
  public func text(threadCounts: [Int]) -> String {
    let threads = threadCounts.map(String.init).joined(separator: ", ")
    let variables =
      environment.isEmpty ? "none" : environment.map { "\($0.name)=\($0.value)" }.joined(separator: " ")
    return """
      CPU           \(processor)
      instructions  \(instructionSets.joined(separator: " "))
      BLAS          \(blas), core type \(coreType), one thread per caller
      threads       \(threads)
      OPENBLAS_*    \(variables)
      build         inkstone \(version), commit \(commit)
      time          \(time)
      """
  }

  /// The same for programs.
  public var json: JSONValue {
    [
      "cpu_info": .string(processor), "instruction_sets": .array(instructionSets.map { .string($0) }),
      "blas": .string(blas), "blas_core": .string(coreType),
      "environment": .object(JSONObject(environment.map { .init(key: $0.name, value: .string($0.value)) })),
      "version": .string(version), "build_commit": .string(commit), "test_time": .string(time),
    ]
  }
}

/// Now, as `2026-01-31T23:59:59Z`.
private func universalTime() -> String {
  var now = time(nil)
  var parts = tm()
  gmtime_r(&now, &parts)
  func two(_ number: Int32) -> String { (number < 10 ? "0" : "") + String(number) }
  return "\(parts.tm_year + 1900)-\(two(parts.tm_mon + 1))-\(two(parts.tm_mday))"
    + "T\(two(parts.tm_hour)):\(two(parts.tm_min)):\(two(parts.tm_sec))Z"
}
