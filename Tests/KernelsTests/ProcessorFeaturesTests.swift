import Foundation
import Kernels
import Testing

@Suite struct ProcessorFeaturesTests {
  @Test func aRunningBuildHasAllItNeeds() {
    let features = ProcessorFeatures.current
    #expect(features.missing.isEmpty)
    #expect(!features.brand.isEmpty)
    #expect(Set(features.compiledIn).isSubset(of: features.offered))
    #expect(Set(features.unused).isDisjoint(with: features.compiledIn))
    #expect(Set(features.unused + features.compiledIn) == Set(features.offered))
  }

  #if os(Linux) && arch(x86_64)
    /// The kernel reads the same registers; its names differ in places.
    @Test func offersWhatTheKernelSaysTheCPUHas() throws {
      let text = try String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)
      let line = try #require(text.split(separator: "\n").first { $0.hasPrefix("flags") })
      let flags = Set(line.split(whereSeparator: { $0 == " " || $0 == "\t" || $0 == ":" }).map(String.init))
      let kernelNames = [
        "sse3": "pni", "sse4.1": "sse4_1", "sse4.2": "sse4_2", "lzcnt": "abm", "bmi": "bmi1",
        "pclmul": "pclmulqdq",
        "sha": "sha_ni", "avxvnni": "avx_vnni", "avx512vbmi2": "avx512_vbmi2", "avx512vnni": "avx512_vnni",
        "avx512bitalg": "avx512_bitalg", "avx512vpopcntdq": "avx512_vpopcntdq", "avx512bf16": "avx512_bf16",
        "avx512fp16": "avx512_fp16", "avx512vp2intersect": "avx512_vp2intersect",
      ]
      for name in ProcessorFeatures.current.offered {
        let kernelName = kernelNames[name] ?? name
        // Kernels older than a feature do not list it.
        guard !["avxifma", "avxvnniint8", "avxneconvert", "avxvnniint16"].contains(name),
          !name.hasPrefix("amx")
        else {
          continue
        }
        #expect(flags.contains(kernelName), "\(name)")
      }
      for name in ["avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx_vnni"]
      where flags.contains(name) {
        #expect(
          ProcessorFeatures.current.offered.contains(kernelNames.first { $0.value == name }?.key ?? name))
      }
    }

    // MARK: The guard

    private static let source =
      URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
      .deletingLastPathComponent().path + "/Sources/CIntrinsics"

    /// No CPU has XOP and FMA4 beside AMX, so this build is foreign everywhere.
    private static let foreign = ["-march=sapphirerapids", "-mxop", "-mfma4"]

    private static let clang = ProcessInfo.processInfo.environment["PATH", default: ""].split(separator: ":")
      .map { $0 + "/clang" }.first { FileManager.default.isExecutableFile(atPath: $0) }

    private func run(_ program: String, _ arguments: [String]) throws -> (
      status: Int32, output: String, errors: String
    ) {
      let process = Process()
      process.executableURL = URL(fileURLWithPath: program)
      process.arguments = arguments
      let (output, errors) = (Pipe(), Pipe())
      process.standardOutput = output
      process.standardError = errors
      try process.run()
      let text = output.fileHandleForReading.readDataToEndOfFile()
      let errorText = errors.fileHandleForReading.readDataToEndOfFile()
      process.waitUntilExit()
      return (
        process.terminationStatus, String(decoding: text, as: UTF8.self),
        String(decoding: errorText, as: UTF8.self)
      )
    }

    /// What runs on any CPU may hold no instruction of a newer one, whatever the rest is built for.
    @Test(
      .enabled(if: clang != nil),
      arguments: [["-march=native"], foreign, ["-march=znver4"], ["-march=x86-64-v3"]])
    func theGuardItselfRunsOnTheOldestCPU(flags: [String]) throws {
      let arguments =
        flags + ["-O2", "-S", "-o", "-", "-I\(Self.source)/include", Self.source + "/Processor.c"]
      let (status, assembly, errors) = try run(try #require(Self.clang), arguments)
      #expect(status == 0, "\(errors)")
      let newer = [
        "lzcnt", "tzcnt", "popcnt", "andn", "shlx", "shrx", "sarx", "rorx", "mulx", "pdep", "pext", "bzhi",
        "bls", "bextr",
        "movbe", "adcx", "adox", "pshufb", "pextrd", "pinsrd", "ptest", "round", "pblend", "lddqu", "movddup",
        "gf2p8",
      ]
      var instructions = 0
      for line in assembly.split(separator: "\n") where line.hasPrefix("\t") && !line.hasPrefix("\t.") {
        let mnemonic = line.dropFirst().prefix { $0 != "\t" && $0 != " " }
        instructions += 1
        #expect(!mnemonic.hasPrefix("v") && !mnemonic.hasPrefix("kmov"), "\(line)")
        #expect(!newer.contains { mnemonic.hasPrefix($0) }, "\(line)")
      }
      #expect(instructions > 100)
      #expect(assembly.contains(".init_array"), "the guard must run as the program starts")
    }

    @Test(.enabled(if: clang != nil)) func aForeignBuildSaysSoInOneLine() throws {
      let folder = NSTemporaryDirectory() + "inkstone-guard-" + UUID().uuidString
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(atPath: folder) }
      try "int main(void) { return 0; }".write(toFile: folder + "/main.c", atomically: true, encoding: .utf8)
      let arguments = [
        "-O2", "-I\(Self.source)/include", Self.source + "/Processor.c", folder + "/main.c", "-o",
        folder + "/program",
      ]
      let clang = try #require(Self.clang)
      for (flags, status) in [(["-march=native"], 0), (Self.foreign, 2)] as [([String], Int32)] {
        let build = try run(clang, flags + arguments)
        #expect(build.status == 0, "\(build.errors)")
        let result = try run(folder + "/program", [])
        #expect(result.status == status)
        #expect(result.output.isEmpty)
        guard status != 0 else { continue }
        #expect(result.errors.hasPrefix("inkstone: this build needs "))
        #expect(
          result.errors.contains(
            "which this CPU does not offer; rebuild it on this machine with 'make build'"))
        #expect(result.errors.filter(\.isNewline).count == 1 && result.errors.hasSuffix("\n"))
      }
    }
  #endif
}
