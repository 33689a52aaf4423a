#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The gradient of an element-wise nonlinearity's argument.  dX = dY·f′(x)
///
/// - Parameters:
///   - x: (rows, columns), the argument, bias included.
///   - dY: (rows, columns); may be `dX`.
///   - dX: (rows, columns); may be `x` or `dY`.
/// - Accuracy: 1e-6·(|f′(x)| + |x·f″(x)|), asserted in ActivateBackwardTests. At a corner the slope is PyTorch's.
package func activateBackward(
  _ x: MatrixView, _ dY: MatrixView, into dX: MutableMatrixView, _ activation: Activation
) {
  precondition(
    x.rows == dY.rows && x.columns == dY.columns && x.rows == dX.rows && x.columns == dX.columns,
    "(\(dY.rows), \(dY.columns)) back through (\(x.rows), \(x.columns)) into (\(dX.rows), \(dX.columns))")
  // Named functions, because the compiler inlines those on demand and closures as it sees fit.
  switch activation {
  case .gelu: apply(geluSlope, x, dY, dX)
  case .geluTanh: apply(geluTanhSlope, x, dY, dX)
  case .geluClipped: apply(geluClippedSlope, x, dY, dX)
  case .quickGELU: apply(quickGELUSlope, x, dY, dX)
  case .relu: apply(reluSlope, x, dY, dX)
  case .reluSquared: apply(reluSquaredSlope, x, dY, dX)
  case .relu6: apply(relu6Slope, x, dY, dX)
  case .leakyReLU: apply(leakyReLUSlope, x, dY, dX)
  case .silu: apply(siluSlope, x, dY, dX)
  case .hardSwish: apply(hardSwishSlope, x, dY, dX)
  case .sigmoid: apply(sigmoidSlope, x, dY, dX)
  case .tanh: apply(tanhSlope, x, dY, dX)
  case .mish: apply(mishSlope, x, dY, dX)
  case .elu: apply(eluSlope, x, dY, dX)
  case .laplace: apply(laplaceSlope, x, dY, dX)
  case .squareRootSoftplus: apply(squareRootSoftplusSlope, x, dY, dX)
  case .linear: apply(one, x, dY, dX)
  }
}

/// The gradients of a gate's two sides.  y = f(g)·u:  dG = dY·u·f′(g), dU = dY·f(g)
///
/// - Parameters:
///   - gate: g, (rows, columns).
///   - up: u, (rows, columns).
///   - dY: (rows, columns); may be `dGate` or `dUp`.
///   - dGate: dG, (rows, columns); may be `gate`.
///   - dUp: dU, (rows, columns); may be `up`; not `dGate`.
package func gateBackward(
  gate: MatrixView, up: MatrixView, _ dY: MatrixView, dGate: MutableMatrixView, dUp: MutableMatrixView,
  _ activation: Activation
) {
  for view in [gate, up, dGate.readOnly, dUp.readOnly] {
    precondition(
      view.rows == dY.rows && view.columns == dY.columns,
      "(\(dY.rows), \(dY.columns)) back through a gate of (\(view.rows), \(view.columns))")
  }
  let columns = dY.columns
  // f(g) of one row, then dY·u of it: dY may be overwritten by either result.
  withUnsafeTemporaryAllocation(of: Float.self, capacity: max(2 * columns, 1)) { scratch in
    let activated = MutableMatrixView(scratch.baseAddress!, rows: 1, columns: columns)
    let scaled = MutableMatrixView(scratch.baseAddress! + columns, rows: 1, columns: columns)
    for row in 0..<dY.rows {
      activated.base.update(from: gate.row(row), count: columns)
      activate(activated, bias: nil, activation)
      multiplyRows(dY.row(row), up.row(row), into: scaled.base, count: columns)
      multiplyRows(dY.row(row), activated.base, into: dUp.row(row), count: columns)
      activateBackward(
        gate.rows(row..<row + 1), scaled.readOnly, into: dGate.rows(row..<row + 1), activation)
    }
  }
}

/// y = a∘b.
@inline(__always)
func multiplyRows(
  _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, into y: UnsafeMutablePointer<Float>, count: Int
) {
  @inline(__always)
  func product(_ a: FloatVector, _ b: FloatVector) -> FloatVector { a * b }
  mapRows(a, b, into: y, count: count, product)
}

/// dX = dY·f′(x) row by row.
@inline(__always)
private func apply(
  _ slope: (FloatVector) -> FloatVector, _ x: MatrixView, _ dY: MatrixView, _ dX: MutableMatrixView
) {
  @inline(__always)
  func gradient(_ x: FloatVector, _ dy: FloatVector) -> FloatVector { dy * slope(x) }
  for row in 0..<x.rows { mapRows(x.row(row), dY.row(row), into: dX.row(row), count: x.columns, gradient) }
}

/// 1 where a comparison holds, else 0.
@inline(__always)
private func indicator(_ mask: SIMDMask<SIMD16<Int32>>) -> FloatVector {
  FloatVector.zero.replacing(with: 1, where: mask)
}

/// φ(z)·√(2π) = exp(−z²/2).
@inline(__always)
private func bell(_ z: FloatVector) -> FloatVector { exponential(z * z * -0.5) }

/// Φ(x) + x·φ(x).
@inline(__always)
private func geluSlope(_ x: FloatVector) -> FloatVector {
  let tail = normalTail(nonNegative: x.magnitude)
  let cumulative = (1 - tail).replacing(with: tail, where: x .< 0)
  // Beyond 13, x·φ(x) is 0 in Float, and x² must not overflow.
  let near = x.atMost(14).atLeast(-14)
  return multiplyAdd(near * 0.398942280, bell(near), cumulative)
}

/// With u = √(2/π)(x + 0.044715x³) and s = σ(2u): s + 2x·s(1 − s)·u′.
@inline(__always)
private func geluTanhSlope(_ x: FloatVector) -> FloatVector {
  // Beyond 12 the slope is 0 or 1 in Float, and x³ must not overflow.
  let near = x.atMost(12).atLeast(-12)
  let square = near * near
  let twoU = near * multiplyAdd(square, 2 * 0.797884561 * 0.044715, 2 * 0.797884561)
  let twoSlope = multiplyAdd(square, 6 * 0.797884561 * 0.044715, 2 * 0.797884561)
  let s = logistic(twoU)
  return multiplyAdd(near * s * logistic(-twoU), twoSlope, s)
}

@inline(__always)
private func geluClippedSlope(_ x: FloatVector) -> FloatVector {
  geluSlope(x).replacing(with: 0, where: x .> 10)
}

/// With s = σ(ax): s + ax·s(1 − s).
@inline(__always)
private func scaledSiluSlope(_ ax: FloatVector) -> FloatVector {
  let near = ax.atMost(100).atLeast(-100)
  let s = logistic(near)
  return multiplyAdd(near * s, logistic(-near), s)
}

@inline(__always)
private func quickGELUSlope(_ x: FloatVector) -> FloatVector { scaledSiluSlope(1.702 * x) }

@inline(__always)
private func siluSlope(_ x: FloatVector) -> FloatVector { scaledSiluSlope(x) }

@inline(__always)
private func reluSlope(_ x: FloatVector) -> FloatVector { indicator(x .> 0) }

@inline(__always)
private func reluSquaredSlope(_ x: FloatVector) -> FloatVector { 2 * x.atLeast(0) }

@inline(__always)
private func relu6Slope(_ x: FloatVector) -> FloatVector { indicator((x .> 0) .& (x .< 6)) }

@inline(__always)
private func leakyReLUSlope(_ x: FloatVector) -> FloatVector {
  FloatVector(repeating: 0.01).replacing(with: 1, where: x .> 0)
}

/// 0 up to −3, 1 from 3 on, between them (2x + 3)/6.
@inline(__always)
private func hardSwishSlope(_ x: FloatVector) -> FloatVector {
  multiplyAdd(x, 1 / 3, 0.5).replacing(with: 0, where: x .<= -3).replacing(with: 1, where: x .>= 3)
}

@inline(__always)
private func sigmoidSlope(_ x: FloatVector) -> FloatVector { logistic(x) * logistic(-x) }

/// 1/cosh² x = 4σ(2x)σ(−2x), which does not cancel.
@inline(__always)
private func tanhSlope(_ x: FloatVector) -> FloatVector { 4 * (logistic(2 * x) * logistic(-2 * x)) }

/// tanh(s) + x·σ(x)/cosh²(s) with s = ln(1 + eˣ).
@inline(__always)
private func mishSlope(_ x: FloatVector) -> FloatVector {
  // With e = eˣ: tanh s = n/(n + 2) for n = e(e + 2), and 1/cosh² s = 4(n + 1)/(n + 2)².
  let e = exponential(x.atMost(20).atLeast(-100))
  let n = e * (e + 2)
  let width = n + 2
  let near = x.atMost(20).atLeast(-100)
  return n / width + near * logistic(near) * (4 * (n + 1) / width) / width
}

@inline(__always)
private func eluSlope(_ x: FloatVector) -> FloatVector { exponential(x.atMost(0)) }

/// φ((x − 0.707107)/0.282095)/0.282095.
@inline(__always)
private func laplaceSlope(_ x: FloatVector) -> FloatVector {
  let z = ((x - 0.707107) / 0.282095).atMost(20).atLeast(-20)
  return bell(z) * (0.398942280 / 0.282095)
}

/// σ(x)/(2√ln(1 + eˣ)).
@inline(__always)
private func squareRootSoftplusSlope(_ x: FloatVector) -> FloatVector {
  logistic(x) / (2 * softplus(x).squareRoots)
}

@inline(__always)
private func one(_ x: FloatVector) -> FloatVector { FloatVector(repeating: 1) }

/// dX = dY·f′(x), each element by the derivative's definition: the naive twin of `activateBackward`.
func activateBackwardReference(
  _ x: MatrixView, _ dY: MatrixView, into dX: MutableMatrixView, _ activation: Activation
) {
  for row in 0..<x.rows {
    for column in 0..<x.columns {
      dX.row(row)[column] =
        dY.row(row)[column] * Float(slopeReference(Double(x.row(row)[column]), activation))
    }
  }
}

/// f′(x) by its definition.
private func slopeReference(_ x: Double, _ activation: Activation) -> Double {
  func sigmoid(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
  func density(_ z: Double) -> Double { exp(-z * z / 2) / (2 * Double.pi).squareRoot() }
  func gelu(_ x: Double) -> Double { 0.5 * erfc(-x * 0.5.squareRoot()) + x * density(x) }
  switch activation {
  case .gelu: return gelu(x)
  case .geluTanh:
    let c = (2 / Double.pi).squareRoot()
    let t = hyperbolic(c * (x + 0.044715 * x * x * x))
    return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
  case .geluClipped: return x > 10 ? 0 : gelu(x)
  case .quickGELU: return sigmoid(1.702 * x) * (1 + 1.702 * x * (1 - sigmoid(1.702 * x)))
  case .relu: return x > 0 ? 1 : 0
  case .reluSquared: return x > 0 ? 2 * x : 0
  case .relu6: return x > 0 && x < 6 ? 1 : 0
  case .leakyReLU: return x > 0 ? 1 : 0.01
  case .silu: return sigmoid(x) * (1 + x * (1 - sigmoid(x)))
  case .hardSwish: return x <= -3 ? 0 : x >= 3 ? 1 : (2 * x + 3) / 6
  case .sigmoid: return sigmoid(x) * sigmoid(-x)
  case .tanh: return 1 - hyperbolic(x) * hyperbolic(x)
  case .mish:
    let t = hyperbolic(log1p(exp(x)))
    return t + x * (1 - t * t) * sigmoid(x)
  case .elu: return x > 0 ? 1 : exp(x)
  case .laplace: return density((x - 0.707107) / 0.282095) / 0.282095
  case .squareRootSoftplus: return sigmoid(x) / (2 * log1p(exp(x)).squareRoot())
  case .linear: return 1
  }
}

/// The library's function, whose name an enumeration case would hide.
private func hyperbolic(_ x: Double) -> Double { tanh(x) }
