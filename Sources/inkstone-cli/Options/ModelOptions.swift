import ArgumentParser
import Foundation
import Inkstone

/// Which model.
struct ModelOptions: ParsableArguments {
  @Option(
    name: [.customShort("m"), .customLong("model")],
    help: ArgumentHelp(
      "Model folder in Hugging Face's layout, a GGUF file, or the name of a bundled model "
        + "(default: INKSTONE_MODEL, then \(BundledModels.standardName)).", valueName: "model"))
  var model: String?

  /// The folder to load: the one that is given, else what INKSTONE_MODEL names, else the bundled one.
  ///
  /// - Parameter preferred: a bundled model that counts before the standard one.
  func resolvedFolder(preferring preferred: String? = nil) throws -> String {
    let bundled = BundledModels()
    let named =
      model ?? ProcessInfo.processInfo.environment["INKSTONE_MODEL"].flatMap { $0.isEmpty ? nil : $0 }
    guard let named else {
      let names = [preferred, BundledModels.standardName].compactMap { $0 }
      guard let folder = names.lazy.compactMap({ bundled.folder(of: $0) }).first else {
        throw UsageError(
          "no model: give a model folder with -m, or set INKSTONE_MODEL; the bundled one, "
            + "\(BundledModels.standardName), is not beside this program")
      }
      return folder
    }
    // A path counts before a name.
    if !named.contains("/"), !named.isEmpty, !fileExists(named), let folder = bundled.folder(of: named) {
      return folder
    }
    return named
  }
}
