import ArgumentParser
import Foundation
import Inkstone

/// Which model.
struct ModelOptions: ParsableArguments {
  @Option(
    name: [.customShort("m"), .customLong("model")],
    help: ArgumentHelp(
      "Model folder in Hugging Face's layout, or a GGUF file (default: INKSTONE_MODEL).", valueName: "model"))
  var model: String?

  /// The folder to load.
  func resolvedFolder() throws -> String {
    if let model { return model }
    if let model = ProcessInfo.processInfo.environment["INKSTONE_MODEL"], !model.isEmpty { return model }
    throw UsageError("no model: give a model folder with -m, or set INKSTONE_MODEL")
  }
}
