/// What happens in a run, for whoever shows it.
package enum TrainingEvent: Sendable {
  /// The run begins, or goes on.
  case started(RunSummary)
  /// A step is done.
  case step(StepMetrics)
  /// A validation is done: the mean loss.
  case validation(step: Int, loss: Double, isBest: Bool)
  /// A text was written.
  case sample(step: Int, text: String)
  /// A checkpoint is on the disk.
  case saved(step: Int, path: String)
  /// A step's gradients were thrown away.
  case skipped(step: Int, reason: String)
}

/// What a run is, known when it begins.
package struct RunSummary: Sendable {
  /// Elements of all weights.
  package let parameterCount: Int
  /// Tokens to train on.
  package let trainingTokenCount: Int
  /// Tokens to validate on.
  package let validationTokenCount: Int
  /// Tokens of a step.
  package let tokensPerStep: Int
  /// Steps of the whole run.
  package let stepCount: Int
  /// Steps that were done before.
  package let firstStep: Int
  /// Floating-point operations per second of large products, measured just now.
  package let productRate: Double
  /// Threads that compute.
  package let threadCount: Int
}

/// What is known of a step.
package struct StepMetrics: Sendable {
  /// Steps done.
  package let step: Int
  /// The mean loss of its targets.
  package let loss: Double
  /// Its learning rate.
  package let learningRate: Double
  /// The norm of all gradients, before clipping.
  package let gradientNorm: Double
  /// Tokens per second, the optimiser's time included.
  package let tokensPerSecond: Double
  /// 6 operations per weight and token, over the measured rate of large products.
  package let fractionOfPeak: Double
  /// Seconds until the last step at this pace.
  package let secondsLeft: Double
}

/// How a run ended.
package struct RunResult: Sendable {
  /// Steps done.
  package let step: Int
  /// The mean loss over the whole validation data before the first step, of a model that was trained before.
  package let firstLoss: Double?
  /// The mean loss over the whole validation data, if there is any.
  package let validationLoss: Double?
  /// Seconds of this process's part of the run.
  package let seconds: Double
  /// Whether somebody stopped it.
  package let isInterrupted: Bool
  /// A text that the model writes in the end.
  package let sample: String?
  /// The folder of the model.
  package let model: String
}
