/// Why a training cannot begin or go on.
public enum TrainingError: Error, Equatable, CustomStringConvertible {
  /// A setting that is missing, unknown or out of range.
  case setting(source: String, key: String, reason: String)
  /// A file of settings that is no YAML.
  case syntax(path: String, line: Int, reason: String)
  /// Data that cannot be trained on.
  case data(path: String, reason: String)
  /// A folder of a run that cannot be used.
  case run(path: String, reason: String)
  /// A checkpoint that does not fit.
  case checkpoint(path: String, reason: String)
  /// A mixture of experts, whose gradients are not computed.
  case mixture(modelType: String)
  /// A loss or gradient that is not a number, or far above what came before.
  case unstable(step: Int, reason: String)

  /// One line that names the place, the fault and the fix.
  public var description: String {
    switch self {
    case .setting(let source, let key, let reason): "\(source): \(key): \(reason)"
    case .syntax(let path, let line, let reason): "\(path): line \(line): \(reason)"
    case .data(let path, let reason): "\(path): \(reason)"
    case .run(let path, let reason): "\(path): \(reason)"
    case .checkpoint(let path, let reason): "\(path): \(reason)"
    case .mixture(let modelType):
      "\(modelType): a mixture of experts cannot be trained; use a dense model"
    case .unstable(let step, let reason): "step \(step): \(reason)"
    }
  }
}
