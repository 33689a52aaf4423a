/// Why a benchmark cannot run.
public enum BenchmarkError: Error, Equatable, CustomStringConvertible {
  /// No shape has this name.
  case unknownShape(name: String, known: [String])
  /// A custom shape is not written as it should be.
  case shape(text: String, reason: String)
  /// A test needs more positions than the model has.
  case contextExceeded(test: String, positions: Int, context: Int)
  /// The machine lacks the memory; nothing was allocated.
  case memory(model: String, requirement: MemoryRequirement, available: Int)
  /// An engine computes something else than the reference; it is not timed.
  case disagreement(subject: String, error: Double, tolerance: Double)
  /// A request for a slice that cannot be met.
  case request(field: String, reason: String)

  /// One line with the figures and the fix.
  public var description: String {
    switch self {
    case .unknownShape(let name, let known):
      "--shape \(name): unknown; known: \(known.joined(separator: ", ")), or a list such as "
        + "\"layers=4,heads=4,channels=128,vocabulary=1000,context=1024\""
    case .shape(let text, let reason):
      "--shape \"\(text)\": \(reason)"
    case .contextExceeded(let test, let positions, let context):
      "\(test) needs \(positions) positions, the model has \(context); use smaller -p, -n or -d"
    case .memory(let model, let requirement, let available):
      "\(model) needs \(byteText(requirement.total)) of memory (\(requirement.summary)), available are "
        + "\(byteText(available)); use a smaller model or shape, or smaller -p, -n or -d"
    case .request(let field, let reason):
      "\(field): \(reason)"
    case .disagreement(let subject, let error, let tolerance):
      "\(subject): differs from the naive reference by \(scientific(error)), allowed are "
        + "\(scientific(tolerance)); not timed, because a wrong result has no speed"
    }
  }
}
