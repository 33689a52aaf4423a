import Kernels

/// Which examples each pass of a run sees: a function of seed and step, so that a resumed run goes on where it was.
///
/// Each epoch sees every example once, in an order of its own.
final class ExampleSampler {
  private let examples: [TokenExample]
  private let settings: TrainingSettings
  /// The steps that begin an epoch, as far as they are known.
  private var starts = [0]
  /// The passes of the epoch that was asked for last.
  private var current: (epoch: Int, passes: [[Int]])?

  init(_ examples: [TokenExample], _ settings: TrainingSettings) {
    precondition(!examples.isEmpty, "no examples")
    self.examples = examples
    self.settings = settings
  }

  /// Steps of so many epochs.
  func steps(epochs: Double) -> Int {
    let whole = Int(epochs)
    var steps = 0
    for epoch in 0..<whole { steps += stepCount(epoch) }
    let rest = epochs - Double(whole)
    if rest > 0 { steps += Int((rest * Double(stepCount(whole))).rounded(.up)) }
    return max(1, steps)
  }

  /// The passes of a step.
  func batches(step: Int) -> [TokenBatch] {
    while starts.last! <= step { starts.append(starts.last! + stepCount(starts.count - 1)) }
    let epoch = starts.lastIndex { $0 <= step }!
    let passes = passes(epoch)
    let first = (step - starts[epoch]) * settings.gradAccumulationSteps
    return passes[first..<min(first + settings.gradAccumulationSteps, passes.count)].map {
      TokenBatch($0.map { examples[$0] })
    }
  }

  private func stepCount(_ epoch: Int) -> Int {
    let count = settings.gradAccumulationSteps
    return (passes(epoch).count + count - 1) / count
  }

  /// The examples of each pass of an epoch.
  func passes(_ epoch: Int) -> [[Int]] {
    if let current, current.epoch == epoch { return current.passes }
    let stream = PhiloxStream(
      seed: UInt64(settings.seed), step: -5, site: UInt32(truncatingIfNeeded: epoch))
    var order = Array(examples.indices)
    // Fisher and Yates.
    for last in stride(from: order.count - 1, to: 0, by: -1) {
      let words = stream.words(UInt64(last))
      let draw = (UInt64(words[0]) << 32 | UInt64(words[1])).multipliedFullWidth(by: UInt64(last + 1)).high
      order.swapAt(last, Int(draw))
    }
    let passes = ExampleSampler.passes(order, examples, settings)
    current = (epoch, passes)
    return passes
  }

  /// Examples in order, as many to a pass as settings say.
  ///
  /// Packed, a pass holds as many as fill the tokens of its sequences; nothing is padded either way.
  static func passes(_ order: [Int], _ examples: [TokenExample], _ settings: TrainingSettings) -> [[Int]] {
    guard settings.packing else {
      return stride(from: 0, to: order.count, by: settings.batchSize).map {
        Array(order[$0..<min($0 + settings.batchSize, order.count)])
      }
    }
    let room = settings.batchSize * settings.blockSize
    var passes: [[Int]] = [[]]
    var filled = 0
    for index in order {
      let count = examples[index].tokens.count - 1
      if filled + count > room, !passes[passes.count - 1].isEmpty {
        passes.append([])
        filled = 0
      }
      passes[passes.count - 1].append(index)
      filled += count
    }
    return passes
  }
}

extension TokenBatch {
  /// Examples side by side, each attending to itself alone.
  init(_ examples: [TokenExample]) {
    let sequences = examples.map(\.sequence)
    self.init(inputs: sequences.map(\.inputs), targets: sequences.map(\.targets))
  }
}
