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

  @Option(
    help: ArgumentHelp(
      "How weights are held: auto keeps what the file has and can be computed with, f32 is exact; "
        + WeightType.allCases.map(\.rawValue).joined(separator: ", ") + ".", valueName: "type"))
  var dtype: WeightFormat = .asStored

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

  /// A model with its weights as `--dtype` wants them, an adapter's changes among them, and this engine.
  func load(
    _ folder: String, adapter: String? = nil, check: WeightCheck = .whenLoaded
  ) throws -> LanguageModel {
    try LanguageModel.load(
      from: folder, adapter: adapter, engine: try makeEngine(), format: dtype, check: check)
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

extension WeightFormat: ExpressibleByArgument {
  /// Reads a name of `--dtype`.
  public init?(argument: String) { self.init(name: argument) }
  /// The names of `--dtype`.
  public static var allValueStrings: [String] { names }
  /// The name of `--dtype`.
  public var defaultValueDescription: String { name }
}
