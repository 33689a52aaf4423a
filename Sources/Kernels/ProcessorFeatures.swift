import CIntrinsics

/// The instruction sets that this build may use and those that the CPU offers, under the compilers' names.
///
/// On a CPU that lacks one that was compiled in, the program ends with one line as it starts
/// (`CIntrinsics/Processor.c`), so a process that runs has all it needs.
public struct ProcessorFeatures: Sendable {
  /// This build on this machine.
  public static let current = ProcessorFeatures()

  /// The CPU's name for itself; `unknown CPU` where it gives none.
  public let brand: String
  /// What the compiler was allowed to use: the meaning of `-march`.
  public let compiledIn: [String]
  /// What the running CPU has and the operating system supports.
  ///
  /// Where the CPU cannot be asked (other than x86-64) this equals `compiledIn`.
  public let offered: [String]

  /// What was compiled in and is not offered.
  public var missing: [String] { compiledIn.filter { !offered.contains($0) } }
  /// What is offered and was not compiled in: speed that a build for this CPU would gain.
  public var unused: [String] { offered.filter { !compiledIn.contains($0) } }

  private init() {
    let all = 0..<ink_cpu_feature_count()
    // Safe: the names are literals of the C file.
    compiledIn = all.filter(ink_cpu_feature_is_compiled_in).map { String(cString: ink_cpu_feature_name($0)) }
    offered = all.filter(ink_cpu_feature_is_offered).map { String(cString: ink_cpu_feature_name($0)) }
    let text = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 64) { buffer in
      buffer.initialize(repeating: 0)
      ink_cpu_brand(buffer.baseAddress, buffer.count)
      return String(cString: buffer.baseAddress!)
    }
    brand = text.isEmpty ? "unknown CPU" : text
  }
}
