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

  @Option(
    name: [.customLong("tb", withSingleDash: true), .customLong("threads-batch")],
    help: "Threads for prompts and other passes of many tokens (default: as --threads).")
  var threadsBatch: Int?

  func validate() throws {
    if let threadsBatch, !(1...1024).contains(threadsBatch) {
      throw ValidationError("--threads-batch must be from 1 to 1024, is \(threadsBatch)")
    }
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
    case .blas:
      BLASEngine(threadCount: try resolvedThreadCount(), batchThreadCount: threadsBatch)
    case .naive: NaiveEngine()
    }
  }
}
