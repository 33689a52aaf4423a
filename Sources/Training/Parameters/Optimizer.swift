import Kernels

/// AdamW over an arena of parameters, with its two moments.
package final class Optimizer {
  let first: FloatMemory
  let second: FloatMemory
  private let parameters: ParameterArena
  private let pool: WorkerPool

  /// Begins with moments of zero.
  ///
  /// - Throws: `DecoderError.memory`.
  package init(_ parameters: ParameterArena, pool: WorkerPool) throws {
    self.parameters = parameters
    self.pool = pool
    first = try FloatMemory(count: parameters.count, purpose: "the optimiser")
    second = try FloatMemory(count: parameters.count, purpose: "the optimiser")
  }

  /// The norm of all gradients together; not finite when one element is not.
  package var gradientNorm: Double {
    sumOfSquares(parameters.gradients.base, count: parameters.count, pool: pool).squareRoot()
  }

  /// Changes the weights and leaves zeros in place of the gradients.
  ///
  /// - Parameters:
  ///   - settings: betas, ε, decay and the limit of the norm.
  ///   - step: how many updates there are with this one.
  ///   - norm: of the gradients.
  package func update(_ settings: TrainingSettings, learningRate: Double, step: Int, norm: Double) {
    let scale = settings.gradClip > 0 ? clippingCoefficient(norm: norm, maximum: settings.gradClip) : 1
    for slot in parameters.slots {
      let update = AdamWStep(
        learningRate: learningRate, beta1: settings.beta1, beta2: settings.beta2, epsilon: settings.epsilon,
        weightDecay: slot.isDecayed ? settings.weightDecay : 0, step: step, gradientScale: scale)
      adamW(
        update, parameters: parameters.values.base + slot.start,
        gradients: parameters.gradients.base + slot.start, first: first.base + slot.start,
        second: second.base + slot.start, count: slot.parameter.count, pool: pool)
    }
  }
}
