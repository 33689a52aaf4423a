/// The decoding of one prompt, a step at a time, so that the steps of many may go through the model together.
protocol DecodingRun: AnyObject {
  /// What there is so far; complete once `advance` has answered false.
  var outcome: DecodingOutcome { get }
  /// For each row of the next step the row that it continues; nothing where every row continues itself.
  var parents: [Int]? { get }
  /// The tokens of the next step, one per row.
  var tokens: [Int] { get }

  /// Chooses what follows.
  ///
  /// - Parameter logits: (rows, V) after the last step, or (V) after the prompt; may be overwritten.
  /// - Returns: whether there is a next step.
  func advance(_ logits: UnsafeMutablePointer<Float>) throws -> Bool
}

extension DecodingTask {
  /// The run that the plan asks for.
  func makeRun(onToken: ((Int, Int, Float) -> Void)?) -> any DecodingRun {
    plan.beamCount > 1 ? BeamSearch(self) : TokenRun(self, onToken: onToken)
  }
}

/// Decodes one prompt by itself.
///
/// - Parameter logits: (V) after the prompt.
func decode(
  _ run: some DecodingRun, session: any DecodingSession, logits first: UnsafeMutableBufferPointer<Float>
) throws -> DecodingOutcome {
  var logits = first
  while try run.advance(logits.baseAddress!) {
    if let parents = run.parents { session.select(parents: parents) }
    logits = try session.step(run.tokens)
  }
  return run.outcome
}
