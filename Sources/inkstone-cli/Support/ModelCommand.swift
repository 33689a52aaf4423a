import ArgumentParser
import Inkstone

/// A command that computes with one model.
protocol ModelCommand: ParsableCommand {
  /// Which model.
  var model: ModelOptions { get }
  /// The folder or file that is loaded.
  ///
  /// - Throws: `UsageError` when none is given and none is bundled.
  func modelFolder() throws -> String
}

extension ModelCommand {
  func modelFolder() throws -> String { try model.resolvedFolder() }

  /// What to say of an error: one about the model's logits comes from where no path is known.
  func message(for error: any Error) -> String {
    let isAboutLogits =
      if case .invalidLogits? = error as? GenerationError { true } else {
        error as? ScoringError == .invalidLogits
      }
    guard isAboutLogits, let folder = try? modelFolder() else { return "\(error)" }
    return "\(folder): \(error)"
  }
}
