import Foundation
import Inkstone
import Training

/// What a person at a terminal sees of a run: a line that is rewritten each step, and lines that stay.
struct TrainingDisplay {
  let isQuiet: Bool
  let stepCount: Int
  private var isLineOpen = false
  private var lastLine = ContinuousClock.now - .seconds(60)

  init(isQuiet: Bool, stepCount: Int) {
    self.isQuiet = isQuiet
    self.stepCount = stepCount
  }

  mutating func show(_ event: TrainingEvent) {
    guard !isQuiet else { return }
    switch event {
    case .started(let run):
      keep(
        "\(run.parameterCount) weights, \(run.trainingTokenCount) tokens to train on, \(run.validationTokenCount) to "
          + "validate; \(run.tokensPerStep) a step, \(run.threadCount) threads, products at "
          + "\(TrainingDisplay.decimal(run.productRate / 1e9, 0)) GFLOP/s"
          + (run.firstStep > 0 ? "; goes on after step \(run.firstStep)" : ""))
    case .step(let step):
      let line =
        "step \(step.step)/\(stepCount)  loss \(TrainingDisplay.decimal(step.loss, 4))  "
        + "lr \(TrainingDisplay.scientific(step.learningRate))  norm \(TrainingDisplay.decimal(step.gradientNorm, 2))  "
        + "\(TrainingDisplay.decimal(step.tokensPerSecond, 0)) tokens/s  "
        + "\(TrainingDisplay.decimal(100 * step.fractionOfPeak, 0)) % of peak  "
        + "\(TrainingDisplay.duration(step.secondsLeft)) left"
      if StandardStreams.isErrorTerminal {
        StandardStreams.showProgress(line)
        isLineOpen = true
      } else if ContinuousClock.now - lastLine > .seconds(10) || step.step == stepCount {
        // A log wants a line now and then, not thousands.
        lastLine = .now
        StandardStreams.note(line + "\n")
      }
    case .validation(let step, let loss, let isBest):
      keep(
        "step \(step)  validation loss \(TrainingDisplay.decimal(loss, 4))\(isBest ? ", the best so far" : "")"
      )
    case .sample(let step, let text):
      keep(
        "step \(step)  writes: \(text.split(whereSeparator: \.isNewline).joined(separator: " ⏎ ").prefix(400))"
      )
    case .saved(let step, let path): keep("step \(step)  saved \(path)")
    case .skipped(let step, let reason): keep("step \(step)  skipped: \(reason)")
    }
  }

  /// Ends the line that is rewritten.
  mutating func finish() {
    if isLineOpen { StandardStreams.note("\n") }
    isLineOpen = false
  }

  private mutating func keep(_ line: String) {
    finish()
    StandardStreams.note(line + "\n")
  }

  static func decimal(_ value: Double, _ digits: Int) -> String { String(format: "%.\(digits)f", value) }

  static func scientific(_ value: Double) -> String { String(format: "%.2e", value) }

  static func duration(_ seconds: Double) -> String {
    let whole = Int(seconds.rounded(.up))
    if whole < 60 { return "\(whole) s" }
    if whole < 3600 { return "\(whole / 60) min \(whole % 60) s" }
    return "\(whole / 3600) h \(whole % 3600 / 60) min"
  }
}
