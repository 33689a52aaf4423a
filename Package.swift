// swift-tools-version: 6.1
import PackageDescription

// Rooms in the order data flows; a target depends only on targets above it.
let rooms: [Target.Dependency] = [
  "ChatTemplates", "Checkpoints", "Corpora", "Evaluation", "Generation", "Inkstone", "JSON", "Kernels",
  "Tokenizers", "Training", "Transformer",
]

let package = Package(
  name: "Inkstone",
  platforms: [.macOS(.v15)],
  products: [
    .library(name: "Inkstone", targets: ["Inkstone"]),
    .executable(name: "inkstone", targets: ["inkstone-cli"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.5.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.6.0"),
    .package(url: "https://github.com/swiftlang/swift-docc-plugin", from: "1.4.0"),
  ],
  targets: [
    // MARK: C
    .systemLibrary(name: "COpenBLAS", pkgConfig: "openblas", providers: [.apt(["libopenblas-dev"])]),
    .systemLibrary(name: "CLAPACKE", pkgConfig: "lapacke", providers: [.apt(["liblapacke-dev"])]),
    .systemLibrary(name: "CPCRE2", pkgConfig: "libpcre2-8", providers: [.apt(["libpcre2-dev"])]),
    .systemLibrary(name: "CYAJL", pkgConfig: "yajl", providers: [.apt(["libyajl-dev"])]),
    .systemLibrary(name: "CYAML", pkgConfig: "yaml-0.1", providers: [.apt(["libyaml-dev"])]),
    .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
    .target(name: "CIntrinsics"),

    // MARK: Rooms
    .target(name: "JSON", dependencies: ["CYAJL"]),
    .target(name: "Kernels", dependencies: ["COpenBLAS", "CLAPACKE", "CIntrinsics"]),
    .target(name: "Checkpoints", dependencies: ["JSON"]),
    .target(name: "Tokenizers", dependencies: ["Checkpoints", "CPCRE2", "JSON", "Kernels"]),
    .target(name: "Corpora", dependencies: ["CZlib", "Checkpoints", "JSON", "Kernels", "Tokenizers"]),
    .target(name: "ChatTemplates", dependencies: ["Checkpoints", "JSON"]),
    .target(name: "Transformer", dependencies: ["Checkpoints", "JSON", "Kernels"]),
    .target(
      name: "Generation", dependencies: ["Checkpoints", "JSON", "Kernels", "Tokenizers", "Transformer"]),
    .target(
      name: "Training",
      dependencies: [
        "CIntrinsics", "CYAML", "ChatTemplates", "Checkpoints", "Corpora", "Generation", "JSON", "Kernels",
        "Tokenizers", "Transformer",
      ]),
    .target(
      name: "Evaluation",
      dependencies: [
        "Checkpoints", "Generation", "JSON", "Kernels", "Tokenizers", "Training", "Transformer",
      ]),
    .target(
      name: "Benchmarking", dependencies: ["Generation", "JSON", "Kernels", "Training", "Transformer"]),
    .target(
      name: "Inkstone",
      dependencies: [
        "ChatTemplates", "Checkpoints", "Corpora", "Evaluation", "Generation", "JSON", "Kernels",
        "Tokenizers", "Training", "Transformer",
      ]),
    // Every room by name, though Inkstone re-exports them: an incremental build follows named targets only.
    .executableTarget(
      name: "inkstone-cli",
      dependencies: rooms + [
        "Benchmarking", .product(name: "ArgumentParser", package: "swift-argument-parser"),
        .product(name: "Logging", package: "swift-log"),
      ]),

    // MARK: Tests
    .target(name: "_TestSupport", path: "Tests/_TestSupport"),
    .testTarget(name: "JSONTests", dependencies: ["JSON"]),
    .testTarget(name: "KernelsTests", dependencies: ["Checkpoints", "CIntrinsics", "Kernels"]),
    .testTarget(name: "CheckpointsTests", dependencies: ["Checkpoints", "JSON", "_TestSupport"]),
    .testTarget(name: "TokenizersTests", dependencies: ["Checkpoints", "JSON", "Kernels", "Tokenizers"]),
    .testTarget(
      name: "CorporaTests",
      dependencies: ["Checkpoints", "Corpora", "JSON", "Kernels", "Tokenizers", "_TestSupport"]),
    .testTarget(
      name: "TransformerTests",
      dependencies: ["Checkpoints", "JSON", "Kernels", "Transformer", "_TestSupport"]),
    .testTarget(name: "ChatTemplatesTests", dependencies: ["ChatTemplates", "Checkpoints", "JSON"]),
    .testTarget(name: "GenerationTests", dependencies: ["Generation", "Kernels"]),
    .testTarget(
      name: "TrainingTests",
      dependencies: [
        "ChatTemplates", "Checkpoints", "Generation", "Inkstone", "JSON", "Kernels", "Tokenizers", "Training",
        "Transformer", "_TestSupport",
      ]),
    .testTarget(name: "BenchmarkingTests", dependencies: ["Benchmarking", "JSON", "Kernels", "Transformer"]),
    .testTarget(name: "EvaluationTests", dependencies: rooms + ["_TestSupport"]),
    .testTarget(name: "CommandTests", dependencies: ["Checkpoints", "JSON", "_TestSupport", "inkstone-cli"]),
  ],
  swiftLanguageModes: [.v6]
)
