import Foundation
import Inkstone

/// What `inkstone doctor` finds.
struct Diagnosis {
  /// A disagreement between build, machine and environment, and its remedy.
  struct Warning {
    let problem: String
    let fix: String
  }

  let threadCount: Int
  let features = ProcessorFeatures.current
  let environment: [(name: String, value: String)]
  let warnings: [Warning]

  init(threadCount: Int) {
    self.threadCount = threadCount
    let variables = ProcessInfo.processInfo.environment
    environment = variables.filter { $0.key.hasPrefix("OPENBLAS_") || $0.key.hasPrefix("INKSTONE_") }
      .sorted { $0.key < $1.key }.map { ($0.key, $0.value) }

    var warnings: [Warning] = []
    let pinned = variables["OPENBLAS_CORETYPE"] ?? ""
    if !pinned.isEmpty, BLAS.vectorBits < 512 {
      warnings.append(
        Warning(
          problem: "OPENBLAS_CORETYPE pins OpenBLAS to \(pinned) kernels (in use: \(BLAS.coreType)); "
            + "the ones it would choose for this CPU may be twice as fast",
          fix: "unset OPENBLAS_CORETYPE"))
    }
    if pinned.isEmpty, features.offered.contains("avx2"), BLAS.vectorBits < 256 {
      warnings.append(
        Warning(
          problem:
            "this OpenBLAS does not know the CPU: its \(BLAS.coreType) kernels are several times slower than "
            + "they could be",
          fix: "set OPENBLAS_CORETYPE=\(features.offered.contains("avx512f") ? "SkylakeX" : "Haswell"), "
            + "or install a newer OpenBLAS"))
    }
    if let size = variables["OPENBLAS_L2_SIZE"], !size.isEmpty {
      warnings.append(
        Warning(
          problem: "OPENBLAS_L2_SIZE tells OpenBLAS to block its products for an L2 cache of \(size) KB",
          fix: "unset OPENBLAS_L2_SIZE"))
    }
    if BLAS.parallelism == .serial {
      warnings.append(
        Warning(
          problem: "this OpenBLAS was built without threads and locks, so its products run one at a time",
          fix: "install libopenblas0-pthread"))
    }
    if let name = variables[MatrixMultiplier.variable], !name.isEmpty,
      MatrixMultiplier(available: name) == nil
    {
      warnings.append(
        Warning(
          problem: "\(MatrixMultiplier.variable) is \"\(name)\", not \(MatrixMultiplier.names); "
            + "the other commands refuse it",
          fix: "unset \(MatrixMultiplier.variable)"))
    }
    let unused = features.unused.filter {
      ["fma", "avx2", "avx512f", "avx512vnni", "avx512bf16", "amx-bf16"].contains($0)
    }
    if !unused.isEmpty {
      warnings.append(
        Warning(
          problem: "this build does not use \(unused.joined(separator: ", ")), which the CPU offers"
            + (unused.contains("fma") ? "; without fma the kernels run several times slower" : ""),
          fix: "rebuild with make build (or swift build -c release -Xcc -march=native)"))
    }
    if !AMX.isOffered, features.compiledIn.contains("amx-bf16") {
      warnings.append(
        Warning(
          problem:
            "the system does not give this process the registers of AMX, which prompts and training would use",
          fix: "run it on Linux 5.16 or later, where nothing forbids arch_prctl"))
    }
    self.warnings = warnings
  }

  private var amx: String {
    AMX.isInUse
      ? "in use for \(MatrixMultiplier.inUse == .amx ? "floats, " : "")bf16 and integers; "
        + "\(AMX.variable)=0 does without"
      : AMX.isOffered ? "not in use: \(AMX.variable)=0" : "none"
  }

  var text: String {
    var lines = [
      "inkstone       \(inkstoneVersion)",
      "BLAS           OpenBLAS \(BLAS.version)",
      "  built as     \(BLAS.configuration)",
      "  core type    \(BLAS.coreType)",
      "  threads      \(BLAS.parallelism.rawValue); held to one per caller, Inkstone's workers call it side by side",
      "products       \(MatrixMultiplier.inUse.rawValue); \(MatrixMultiplier.variable)=\(MatrixMultiplier.names) chooses",
      "  AMX          \(amx)",
      "LAPACK         \(LAPACK.version)",
      "threads        \(threadCount)",
      "CPU            \(features.brand)",
      "  compiled in  \(features.compiledIn.joined(separator: " "))",
      "  offered      \(features.offered.joined(separator: " "))",
    ]
    for (name, value) in environment { lines.append("environment    \(name)=\(value)") }
    lines.append(warnings.isEmpty ? "\nNothing to mend." : "")
    for warning in warnings { lines += ["warning: \(warning.problem)", "    fix: \(warning.fix)"] }
    return lines.joined(separator: "\n")
  }

  var json: JSONValue {
    [
      "version": .string(inkstoneVersion),
      "blas": [
        "library": "OpenBLAS", "version": .string(BLAS.version), "configuration": .string(BLAS.configuration),
        "core_type": .string(BLAS.coreType), "parallelism": .string(BLAS.parallelism.rawValue),
      ],
      "products": .string(MatrixMultiplier.inUse.rawValue), "amx": .bool(AMX.isInUse),
      "lapack": .string(LAPACK.version),
      "threads": .integer(threadCount),
      "cpu": [
        "brand": .string(features.brand), "compiled_in": .array(features.compiledIn.map { .string($0) }),
        "offered": .array(features.offered.map { .string($0) }),
      ],
      "environment": .object(JSONObject(environment.map { .init(key: $0.name, value: .string($0.value)) })),
      "warnings": .array(warnings.map { ["problem": .string($0.problem), "fix": .string($0.fix)] }),
    ]
  }
}
