#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// One step of Adam with decoupled weight decay.
///
///     θ ← θ·(1 − η·λ)
///     m ← m + (1 − β₁)(g − m)
///     v ← β₂·v + (1 − β₂)·g²
///     θ ← θ − η/(1 − β₁ᵗ)·m/(√v/√(1 − β₂ᵗ) + ε)
///
/// Rounded where `torch.optim.AdamW` rounds, so that both follow the same losses.
/// - SeeAlso: arXiv:1711.05101
package struct AdamWStep: Sendable {
  /// η.
  package var learningRate: Double
  /// β₁.
  package var beta1: Double
  /// β₂.
  package var beta2: Double
  /// ε, added after the correction of v.
  package var epsilon: Double
  /// λ.
  package var weightDecay: Double
  /// t, from 1.
  package var step: Int
  /// Multiplies the gradients first: the clipping coefficient.
  package var gradientScale: Float

  /// Describes a step.
  package init(
    learningRate: Double, beta1: Double, beta2: Double, epsilon: Double, weightDecay: Double, step: Int,
    gradientScale: Float = 1
  ) {
    precondition(step >= 1, "step \(step) of an optimiser that counts from 1")
    self.learningRate = learningRate
    self.beta1 = beta1
    self.beta2 = beta2
    self.epsilon = epsilon
    self.weightDecay = weightDecay
    self.step = step
    self.gradientScale = gradientScale
  }
}

/// Updates parameters and moments, and leaves zeros in place of the gradients, in one pass.
///
/// - Parameters:
///   - parameters: θ, (count).
///   - gradients: g, (count); zeros afterwards.
///   - first: m, (count).
///   - second: v, (count).
package func adamW(
  _ settings: AdamWStep, parameters: UnsafeMutablePointer<Float>, gradients: UnsafeMutablePointer<Float>,
  first: UnsafeMutablePointer<Float>, second: UnsafeMutablePointer<Float>, count: Int, pool: WorkerPool
) {
  pool.run(count, grain: 1 << 14) { range in
    let start = range.lowerBound
    adamWRange(
      settings, parameters + start, gradients + start, first + start, second + start, count: range.count)
  }
}

private func adamWRange(
  _ settings: AdamWStep, _ parameters: UnsafeMutablePointer<Float>, _ gradients: UnsafeMutablePointer<Float>,
  _ first: UnsafeMutablePointer<Float>, _ second: UnsafeMutablePointer<Float>, count: Int
) {
  let decay = Float(1 - settings.learningRate * settings.weightDecay)
  let blend = FloatVector(repeating: Float(1 - settings.beta1))
  let beta2 = Float(settings.beta2)
  let rest = Float(1 - settings.beta2)
  let stepSize = Float(-settings.learningRate / (1 - pow(settings.beta1, Double(settings.step))))
  let correction = Float((1 - pow(settings.beta2, Double(settings.step))).squareRoot())
  let epsilon = Float(settings.epsilon)
  let scale = settings.gradientScale

  @inline(__always)
  func update(_ p: FloatVector, _ g: FloatVector, _ m: FloatVector, _ v: FloatVector) -> (
    FloatVector, FloatVector, FloatVector
  ) {
    let g = g * scale
    let m = multiplyAdd(blend, g - m, m)
    let v = multiplyAdd(g * rest, g, v * beta2)
    let denominator = v.squareRoots / correction + epsilon
    return (multiplyAdd(FloatVector(repeating: stepSize), m / denominator, p * decay), m, v)
  }

  let whole = count & ~15
  var index = 0
  while index < whole {
    let (p, m, v) = update(
      FloatVector(at: parameters + index), FloatVector(at: gradients + index), FloatVector(at: first + index),
      FloatVector(at: second + index))
    p.store(to: parameters + index)
    m.store(to: first + index)
    v.store(to: second + index)
    FloatVector.zero.store(to: gradients + index)
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    let lanes = count - whole
    let (p, m, v) = update(
      FloatVector(at: parameters + whole, count: lanes), FloatVector(at: gradients + whole, count: lanes),
      FloatVector(at: first + whole, count: lanes), FloatVector(at: second + whole, count: lanes))
    p.store(to: parameters + whole, count: lanes)
    m.store(to: first + whole, count: lanes)
    v.store(to: second + whole, count: lanes)
    FloatVector.zero.store(to: gradients + whole, count: lanes)
  }
}

/// The same in scalar loops: the naive twin of `adamW`.
func adamWReference(
  _ settings: AdamWStep, parameters: UnsafeMutablePointer<Float>, gradients: UnsafeMutablePointer<Float>,
  first: UnsafeMutablePointer<Float>, second: UnsafeMutablePointer<Float>, count: Int
) {
  let correction1 = 1 - pow(settings.beta1, Double(settings.step))
  let correction2 = 1 - pow(settings.beta2, Double(settings.step))
  for index in 0..<count {
    let g = Double(gradients[index] * settings.gradientScale)
    let m = settings.beta1 * Double(first[index]) + (1 - settings.beta1) * g
    let v = settings.beta2 * Double(second[index]) + (1 - settings.beta2) * g * g
    let decayed = Double(parameters[index]) * (1 - settings.learningRate * settings.weightDecay)
    parameters[index] = Float(
      decayed - settings.learningRate * (m / correction1)
        / ((v / correction2).squareRoot() + settings.epsilon))
    first[index] = Float(m)
    second[index] = Float(v)
    gradients[index] = 0
  }
}

/// Σ x², in blocks that depend on the count alone.
///
/// - Parameter x: (count).
/// - Returns: the sum; NaN or ∞ when an element is.
/// - Accuracy: as `sumRow`, in `Double` across blocks.
package func sumOfSquares(_ x: UnsafePointer<Float>, count: Int, pool: WorkerPool) -> Double {
  @inline(__always)
  func square(_ x: FloatVector) -> FloatVector { x * x }
  let blockSize = max(1 << 16, (count + 32_767) / 32_768)
  let blocks = (count + blockSize - 1) / blockSize
  return withUnsafeTemporaryAllocation(of: Double.self, capacity: max(blocks, 1)) { scratch in
    let sums = scratch.baseAddress!
    pool.run(blocks) { block in
      let start = block * blockSize
      sums[block] = sumRow(x + start, count: min(blockSize, count - start), padding: 0, square)
    }
    var total = 0.0
    for block in 0..<blocks { total += sums[block] }
    return total
  }
}

/// Σ x² in a scalar loop: the naive twin of `sumOfSquares`.
func sumOfSquaresReference(_ x: UnsafePointer<Float>, count: Int) -> Double {
  var total = 0.0
  for index in 0..<count { total += Double(x[index]) * Double(x[index]) }
  return total
}

/// What `torch.nn.utils.clip_grad_norm_` multiplies gradients by, so that their norm is at most `maximum`.
package func clippingCoefficient(norm: Double, maximum: Double) -> Float {
  Float(min(1, maximum / (norm + 1e-6)))
}
