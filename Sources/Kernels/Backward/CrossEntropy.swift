#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// How logits and targets become a loss.
package struct CrossEntropySettings: Sendable {
  /// The target of a row that does not count, as in PyTorch.
  package static let ignoredTarget = -100

  /// ε: the share of the target's probability that is spread evenly over the vocabulary.  arXiv:1512.00567
  package var labelSmoothing: Float
  /// c of c·tanh(x/c), which logits pass through before the softmax; or nothing.
  package var softCap: Float?
  /// Multiplies the logits, before the cap.
  package var logitScale: Float

  /// Describes a loss; by default −log p of the target.
  package init(labelSmoothing: Float = 0, softCap: Float? = nil, logitScale: Float = 1) {
    precondition(labelSmoothing >= 0 && labelSmoothing < 1, "a label smoothing of \(labelSmoothing)")
    self.labelSmoothing = labelSmoothing
    self.softCap = softCap
    self.logitScale = logitScale
  }
}

/// The loss of each row, and the gradient of the logits in their place.
///
///     loss = ln Σ exp(x) − (1 − ε)·x[target] − ε·mean(x)
///     dx = scale·(softmax(x) − (1 − ε)·onehot(target) − ε/V)
///
/// - Parameters:
///   - logits: (R, V); replaced by their gradients, times `scale`. A row that is ignored gets zeros.
///   - targets: (R) ids below V, or `CrossEntropySettings.ignoredTarget`.
///   - scale: 1 over the number of targets of the whole step.
///   - losses: (R), in `Double`; 0 where ignored.
///   - wantsGradient: whether the logits are replaced; when not, what is left in them is unspecified.
/// - SeeAlso: `torch.nn.functional.cross_entropy`
package func crossEntropy(
  _ logits: MutableMatrixView, targets: ArraySlice<Int>, _ settings: CrossEntropySettings, scale: Float,
  losses: UnsafeMutablePointer<Double>, wantsGradient: Bool = true, pool: WorkerPool
) {
  check(logits, targets)
  let first = targets.startIndex
  pool.run(logits.rows, grain: max(1, 32_768 / max(logits.columns, 1))) { rows in
    for row in rows {
      let target = targets[first + row]
      let x = logits.row(row)
      if target == CrossEntropySettings.ignoredTarget {
        losses[row] = 0
        if wantsGradient { x.update(repeating: 0, count: logits.columns) }
      } else {
        losses[row] = crossEntropyRow(
          x, target: target, settings, scale: scale, count: logits.columns, wantsGradient: wantsGradient)
      }
    }
  }
}

/// One row of `crossEntropy`; returns its loss.
private func crossEntropyRow(
  _ x: UnsafeMutablePointer<Float>, target: Int, _ settings: CrossEntropySettings, scale: Float, count: Int,
  wantsGradient: Bool
) -> Double {
  settings.apply(to: x, count: count)
  let normalizer = LogNormalizer(x, count: count)
  let smoothing = Double(settings.labelSmoothing)
  var loss = Double(normalizer.maximum) + normalizer.logarithmOfSum - (1 - smoothing) * Double(x[target])
  if smoothing > 0 {
    @inline(__always)
    func value(_ x: FloatVector) -> FloatVector { x }
    loss -= smoothing / Double(count) * sumRow(x, count: count, padding: 0, value)
  }
  guard wantsGradient else { return loss }

  let factor = scale * settings.logitScale
  let maximum = normalizer.maximum
  let inverse = Float(exp(-normalizer.logarithmOfSum))
  let uniform = Float(smoothing / Double(count))
  let atTarget = settings.softCap.map { 1 - (x[target] / $0) * (x[target] / $0) } ?? 1
  if let cap = settings.softCap {
    @inline(__always)
    func gradient(_ x: FloatVector) -> FloatVector {
      let slope = 1 - (x / cap) * (x / cap)
      return (exponential(x - maximum) * inverse - uniform) * slope * factor
    }
    mapRow(x, into: x, count: count, gradient)
  } else {
    @inline(__always)
    func gradient(_ x: FloatVector) -> FloatVector { (exponential(x - maximum) * inverse - uniform) * factor }
    mapRow(x, into: x, count: count, gradient)
  }
  x[target] -= Float(1 - smoothing) * atTarget * factor
  return loss
}

extension CrossEntropySettings {
  /// Scales and caps a row of logits.
  func apply(to x: UnsafeMutablePointer<Float>, count: Int) {
    if logitScale != 1 { scaleRow(x, by: logitScale, into: x, count: count) }
    guard let cap = softCap else { return }
    @inline(__always)
    func capped(_ x: FloatVector) -> FloatVector { cap * hyperbolicTangent(x / cap) }
    mapRow(x, into: x, count: count, capped)
  }
}

/// The same by scalar loops in `Double`: the naive twin of `crossEntropy`.
func crossEntropyReference(
  _ logits: MutableMatrixView, targets: ArraySlice<Int>, _ settings: CrossEntropySettings, scale: Float,
  losses: UnsafeMutablePointer<Double>
) {
  check(logits, targets)
  let count = logits.columns
  let smoothing = Double(settings.labelSmoothing)
  for row in 0..<logits.rows {
    let x = logits.row(row)
    let target = targets[targets.startIndex + row]
    guard target != CrossEntropySettings.ignoredTarget else {
      losses[row] = 0
      for column in 0..<count { x[column] = 0 }
      continue
    }
    var values = (0..<count).map { Double(x[$0]) * Double(settings.logitScale) }
    if let cap = settings.softCap.map(Double.init) { values = values.map { cap * tanh($0 / cap) } }
    let maximum = values.max()!
    let total = values.reduce(0) { $0 + exp($1 - maximum) }
    losses[row] =
      maximum + log(total) - (1 - smoothing) * values[target] - smoothing * values.reduce(0, +)
      / Double(count)
    for column in 0..<count {
      var gradient = exp(values[column] - maximum) / total - smoothing / Double(count)
      if column == target { gradient -= 1 - smoothing }
      if let cap = settings.softCap.map(Double.init) {
        gradient *= 1 - (values[column] / cap) * (values[column] / cap)
      }
      x[column] = Float(gradient * Double(scale) * Double(settings.logitScale))
    }
  }
}

private func check(_ logits: MutableMatrixView, _ targets: ArraySlice<Int>) {
  precondition(targets.count == logits.rows, "\(targets.count) targets for \(logits.rows) rows")
  for target in targets {
    precondition(
      target == CrossEntropySettings.ignoredTarget || (0..<logits.columns).contains(target),
      "target \(target) of \(logits.columns) outcomes")
  }
}
