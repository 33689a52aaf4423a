import ArgumentParser
import Inkstone

/// Which kernels compute, and with how many threads.
struct EngineOptions: ParsableArguments {
  /// The engines that `--engine` knows.
  enum Kind: String, ExpressibleByArgument, CaseIterable {
    case blas, naive
  }

  @Option(help: "blas: OpenBLAS and vectorised kernels; naive: plain scalar loops on one thread.")
  var engine: Kind = .blas

  @Option(
    name: [.customShort("t"), .customLong("threads")],
    help: "Threads (default: the cores that affinity and control group allow).")
  var threads: Int?

  func validate() throws {
    if let threads, !(1...1024).contains(threads) {
      throw ValidationError("--threads must be from 1 to 1024, is \(threads)")
    }
  }

  /// Threads to use.
  func resolvedThreadCount() throws -> Int {
    engine == .naive ? 1 : threads ?? WorkerPool.defaultThreadCount()
  }

  /// The engine.
  func makeEngine() throws -> any ComputeEngine {
    switch engine {
    case .blas: BLASEngine(threadCount: try resolvedThreadCount())
    case .naive: NaiveEngine()
    }
  }
}
