import ArgumentParser
import Inkstone
import Training

/// Settings of a run, from the file and the flags.
enum TrainingOptions {
  /// Every setting of a command with its default.
  static func settingsHelp(_ purpose: TrainingPurpose) -> String {
    let defaults = TrainingSettings(purpose).document
    return TrainingSettings.declarations(purpose).map { declaration in
      let value = defaults[declaration.key].flatMap { $0.isNull ? nil : $0.string ?? $0.text() }
      return "  \(declaration.key)\(value.map { " (\($0))" } ?? ""): \(declaration.help)"
    }.joined(separator: "\n")
  }

  /// Takes the settings of a run that goes on, or the defaults; over them the file's, `--set` and the flags.
  ///
  /// - Parameters:
  ///   - texts: flags whose values are texts, by key.
  ///   - values: flags whose values are read as a file's would be.
  static func resolve(
    _ purpose: TrainingPurpose, resumes: Bool, out: String?, config: String?, set: [String],
    texts: [(String, String?)], values: [(String, String?)]
  ) throws -> TrainingSettings {
    var settings = TrainingSettings(purpose)
    if resumes {
      guard let out else { throw ValidationError("--resume needs --out, the folder of the run") }
      settings = try Trainer.resumed(out, purpose)
    }
    if let config { try settings.read(config) }
    for pair in set {
      let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
      guard parts.count == 2, !parts[0].isEmpty else {
        throw ValidationError("--set takes key=value, not \(pair)")
      }
      let value = TrainingSettings.value(parts[1])
      if purpose == .pretraining, parts[0].hasPrefix("model.") {
        var model = settings.model ?? JSONObject()
        let key = String(parts[0].dropFirst(6))
        model.members.removeAll { $0.key == key }
        model.members.append(.init(key: key, value: value))
        settings.model = model
      } else {
        try settings.set(parts[0].replacing("-", with: "_"), value, source: "--set")
      }
    }
    func flag(_ key: String) -> String { "--\(key.replacing("_", with: "-"))" }
    for (key, text) in texts {
      if let text { try settings.set(key, .string(text), source: flag(key)) }
    }
    for (key, text) in values {
      if let text { try settings.set(key, TrainingSettings.value(text), source: flag(key)) }
    }
    return settings
  }
}
