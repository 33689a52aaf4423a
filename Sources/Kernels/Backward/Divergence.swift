#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// How far the distribution of each row is from a teacher's, and the gradient of the logits in their place.
///
///     loss = Σ p·(ln p − ln q),  p = softmax(teacher),  q = softmax(x)
///     dx = scale·(q − p)
///
/// - Parameters:
///   - logits: (R, V); replaced by their gradients, times `scale`.
///   - teacher: (R, V) logits; what is left in them is unspecified.
///   - settings: what both kinds of logits pass through before the softmax; no smoothing.
///   - scale: 1 over the number of rows of the whole step.
///   - losses: (R), in `Double`.
/// - SeeAlso: Hinton et al., "Distilling the Knowledge in a Neural Network" (arXiv:1503.02531).
package func divergence(
  _ logits: MutableMatrixView, from teacher: MutableMatrixView, _ settings: CrossEntropySettings,
  scale: Float,
  losses: UnsafeMutablePointer<Double>, pool: WorkerPool
) {
  precondition(
    logits.rows == teacher.rows && logits.columns == teacher.columns && settings.labelSmoothing == 0,
    "logits (\(logits.rows), \(logits.columns)) beside (\(teacher.rows), \(teacher.columns))")
  pool.run(logits.rows, grain: max(1, 32_768 / max(logits.columns, 1))) { rows in
    for row in rows {
      losses[row] = divergenceRow(
        logits.row(row), from: teacher.row(row), settings, scale: scale, count: logits.columns)
    }
  }
}

/// One row of `divergence`; returns its loss.
private func divergenceRow(
  _ x: UnsafeMutablePointer<Float>, from t: UnsafeMutablePointer<Float>, _ settings: CrossEntropySettings,
  scale: Float, count: Int
) -> Double {
  for row in [x, t] { settings.apply(to: row, count: count) }
  let (student, teacher) = (LogNormalizer(x, count: count), LogNormalizer(t, count: count))
  let (studentSum, teacherSum) = (Float(student.logarithmOfSum), Float(teacher.logarithmOfSum))
  @inline(__always)
  func logarithms(_ x: FloatVector, _ t: FloatVector) -> (q: FloatVector, p: FloatVector) {
    ((x - student.maximum) - studentSum, (t - teacher.maximum) - teacherSum)
  }
  let factor = scale * settings.logitScale
  var loss = 0.0
  let whole = count & ~15
  var index = 0
  func take(_ width: Int) {
    let (a, b) =
      width == 16
      ? (FloatVector(at: x + index), FloatVector(at: t + index))
      : (FloatVector(at: x + index, count: width), FloatVector(at: t + index, count: width))
    let (q, p) = logarithms(a, b)
    let (qs, ps) = (exponential(q), exponential(p))
    let terms = ps * (p - q)
    var gradient = (qs - ps) * factor
    if let cap = settings.softCap { gradient *= 1 - (a / cap) * (a / cap) }
    gradient.store(to: x + index, count: width)
    for lane in 0..<width { loss += Double(terms[lane]) }
  }
  while index < whole {
    take(16)
    index += 16
  }
  if index < count { take(count - index) }
  return loss
}

/// The same by scalar loops in `Double`: the naive twin of `divergence`.
func divergenceReference(
  _ logits: MutableMatrixView, from teacher: MutableMatrixView, _ settings: CrossEntropySettings,
  scale: Float,
  losses: UnsafeMutablePointer<Double>
) {
  let count = logits.columns
  func distribution(_ x: UnsafePointer<Float>) -> (values: [Double], logarithms: [Double]) {
    var values = (0..<count).map { Double(x[$0]) * Double(settings.logitScale) }
    if let cap = settings.softCap.map(Double.init) { values = values.map { cap * tanh($0 / cap) } }
    let maximum = values.max()!
    let total = log(values.reduce(0) { $0 + exp($1 - maximum) })
    return (values, values.map { $0 - maximum - total })
  }
  for row in 0..<logits.rows {
    let (values, q) = distribution(logits.row(row))
    let (_, p) = distribution(teacher.row(row))
    losses[row] = zip(p, q).reduce(0) { $0 + exp($1.0) * ($1.0 - $1.1) }
    for column in 0..<count {
      var gradient = exp(q[column]) - exp(p[column])
      if let cap = settings.softCap.map(Double.init) {
        gradient *= 1 - (values[column] / cap) * (values[column] / cap)
      }
      logits.row(row)[column] = Float(gradient * Double(scale) * Double(settings.logitScale))
    }
  }
}
