#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

extension TrainingSettings {
  /// The learning rate of a step.
  ///
  /// Step s of a warm-up of W steps has the share (s + 1)/(W + 1), as nanoGPT has it.
  /// - Parameter step: from 0.
  package func learningRate(step: Int) -> Double {
    if step < warmupIters { return learningRate * Double(step + 1) / Double(warmupIters + 1) }
    let span = learningRate - minLearningRate
    switch schedule {
    case .constant: return learningRate
    case .cosine:
      return minLearningRate + span * 0.5
        * (1 + cos(.pi * progress(step, from: warmupIters, to: decayIters ?? iters)))
    case .linear:
      return minLearningRate + span * (1 - progress(step, from: warmupIters, to: decayIters ?? iters))
    case .wsd:
      let length = min(decayIters ?? max(1, iters / 5), iters)
      return minLearningRate + span * (1 - progress(step, from: max(warmupIters, iters - length), to: iters))
    }
  }

  private func progress(_ step: Int, from start: Int, to end: Int) -> Double {
    end <= start ? 1 : min(1, max(0, Double(step - start) / Double(end - start)))
  }
}
