#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Adds a bias and applies a nonlinearity, in one pass and in place.  x ← f(x + b)
///
/// - Parameters:
///   - x: (rows, columns).
///   - bias: b, (columns), or nothing; does not overlap `x`.
/// - Accuracy: eight roundings of f and eight of its argument, 5e-7·(|f(x)| + |x·f′(x)|), and 1e-22, asserted in
///   ActivateTests: closer to f than PyTorch's forms, which cancel for x < 0. NaN stays. At −∞ a product of x and
///   a vanishing factor is NaN, as in PyTorch, except GELU's, which is 0.
/// - SeeAlso: `Activation`.
package func activate(_ x: MutableMatrixView, bias: UnsafePointer<Float>?, _ activation: Activation) {
  // Named functions, because the compiler inlines those on demand and closures as it sees fit.
  switch activation {
  case .gelu: apply(gelu, to: x, bias)
  case .geluTanh: apply(geluTanh, to: x, bias)
  case .geluClipped: apply(geluClipped, to: x, bias)
  case .quickGELU: apply(quickGELU, to: x, bias)
  case .relu: apply(relu, to: x, bias)
  case .reluSquared: apply(reluSquared, to: x, bias)
  case .relu6: apply(relu6, to: x, bias)
  case .leakyReLU: apply(leakyReLU, to: x, bias)
  case .silu: apply(silu, to: x, bias)
  case .hardSwish: apply(hardSwish, to: x, bias)
  case .sigmoid: apply(logistic, to: x, bias)
  case .tanh: apply(hyperbolicTangent, to: x, bias)
  case .mish: apply(mish, to: x, bias)
  case .elu: apply(elu, to: x, bias)
  case .laplace: apply(laplace, to: x, bias)
  case .squareRootSoftplus: apply(squareRootSoftplus, to: x, bias)
  case .linear: if let bias { addBias(x, bias) }
  }
}

/// x ← f(x + b) row by row.
@inline(__always)
private func apply(
  _ f: (FloatVector) -> FloatVector, to x: MutableMatrixView, _ bias: UnsafePointer<Float>?
) {
  for index in 0..<x.rows {
    let row = x.row(index)
    if let bias {
      @inline(__always)
      func shifted(_ x: FloatVector, _ b: FloatVector) -> FloatVector { f(x + b) }
      mapRows(row, bias, into: row, count: x.columns, shifted)
    } else {
      mapRow(row, into: row, count: x.columns, f)
    }
  }
}

/// Lets one half of a feed-forward block's channels gate the other.  y = f(gate)·up
///
/// - Parameters:
///   - gate: (rows, columns).
///   - up: (rows, columns).
///   - y: (rows, columns); may be `gate` or `up`.
/// - SeeAlso: arXiv:2002.05202
package func activateGated(
  gate: MatrixView, up: MatrixView, into y: MutableMatrixView, _ activation: Activation
) {
  precondition(
    gate.rows == y.rows && up.rows == y.rows && gate.columns == y.columns && up.columns == y.columns,
    "(\(gate.rows), \(gate.columns)) gates (\(up.rows), \(up.columns)) into (\(y.rows), \(y.columns))")
  switch activation {
  case .gelu: applyGated(gelu, gate, up, y)
  case .geluTanh: applyGated(geluTanh, gate, up, y)
  case .geluClipped: applyGated(geluClipped, gate, up, y)
  case .quickGELU: applyGated(quickGELU, gate, up, y)
  case .relu: applyGated(relu, gate, up, y)
  case .reluSquared: applyGated(reluSquared, gate, up, y)
  case .relu6: applyGated(relu6, gate, up, y)
  case .leakyReLU: applyGated(leakyReLU, gate, up, y)
  case .silu: applyGated(silu, gate, up, y)
  case .hardSwish: applyGated(hardSwish, gate, up, y)
  case .sigmoid: applyGated(logistic, gate, up, y)
  case .tanh: applyGated(hyperbolicTangent, gate, up, y)
  case .mish: applyGated(mish, gate, up, y)
  case .elu: applyGated(elu, gate, up, y)
  case .laplace: applyGated(laplace, gate, up, y)
  case .squareRootSoftplus: applyGated(squareRootSoftplus, gate, up, y)
  case .linear: applyGated(identity, gate, up, y)
  }
}

/// y = f(gate)·up row by row.
@inline(__always)
private func applyGated(
  _ f: (FloatVector) -> FloatVector, _ gate: MatrixView, _ up: MatrixView, _ y: MutableMatrixView
) {
  @inline(__always)
  func gated(_ gate: FloatVector, _ up: FloatVector) -> FloatVector { f(gate) * up }
  for index in 0..<y.rows {
    mapRows(gate.row(index), up.row(index), into: y.row(index), count: y.columns, gated)
  }
}

/// x.
@inline(__always)
private func identity(_ x: FloatVector) -> FloatVector { x }

/// x·Φ(x).
@inline(__always)
private func gelu(_ x: FloatVector) -> FloatVector {
  // x·Φ(x) = max(x, 0) − |x|·Φ(−|x|): one tail serves both signs, and for x < 0 nothing cancels.
  let t = x.magnitude
  return multiplyAdd(-t.atMost(10), normalTail(nonNegative: t), x.atLeast(0))
}

/// ½x(1 + tanh u), u = √(2/π)(x + 0.044715x³).
@inline(__always)
private func geluTanh(_ x: FloatVector) -> FloatVector {
  // ½(1 + tanh u) = σ(2u), which for x < 0 does not cancel.
  let minusTwoU = x * multiplyAdd(x * x, -2 * 0.797884561 * 0.044715, -2 * 0.797884561)
  return x / (exponential(minusTwoU) + 1)
}

/// min(x·Φ(x), 10).
@inline(__always)
private func geluClipped(_ x: FloatVector) -> FloatVector { gelu(x).atMost(10) }

/// x·σ(1.702x).
@inline(__always)
private func quickGELU(_ x: FloatVector) -> FloatVector { x / (exponential(-1.702 * x) + 1) }

/// max(x, 0).
@inline(__always)
private func relu(_ x: FloatVector) -> FloatVector { x.atLeast(0) }

/// max(x, 0)².
@inline(__always)
private func reluSquared(_ x: FloatVector) -> FloatVector { relu(x) * relu(x) }

/// min(max(x, 0), 6).
@inline(__always)
private func relu6(_ x: FloatVector) -> FloatVector { relu(x).atMost(6) }

/// x when x > 0, else 0.01x.
@inline(__always)
private func leakyReLU(_ x: FloatVector) -> FloatVector { x.replacing(with: 0.01 * x, where: x .< 0) }

/// x·σ(x).
@inline(__always)
private func silu(_ x: FloatVector) -> FloatVector { x / (exponential(-x) + 1) }

/// x·min(max(x + 3, 0), 6)/6.
@inline(__always)
private func hardSwish(_ x: FloatVector) -> FloatVector { x * relu6(x + 3) / 6 }

/// x·tanh(ln(1 + eˣ)).
@inline(__always)
private func mish(_ x: FloatVector) -> FloatVector {
  // tanh ln(1 + e) = ((1 + e)² − 1)/((1 + e)² + 1), which from e²⁰ on is 1.
  let e = exponential(x.atMost(20))
  let n = e * (e + 2)
  return x * (n / (n + 2))
}

/// x when x > 0, else eˣ − 1.
@inline(__always)
private func elu(_ x: FloatVector) -> FloatVector {
  x.replacing(with: exponentialMinusOne(nonPositive: x.atMost(0)), where: x .< 0)
}

/// Φ((x − 0.707107)/0.282095).
@inline(__always)
private func laplace(_ x: FloatVector) -> FloatVector {
  let z = (x - 0.707107) / 0.282095
  let tail = normalTail(nonNegative: z.magnitude)
  return (1 - tail).replacing(with: tail, where: z .< 0)
}

/// √ln(1 + eˣ).
@inline(__always)
private func squareRootSoftplus(_ x: FloatVector) -> FloatVector { softplus(x).squareRoots }

/// x ← f(x + b), each element by the definition of f: the naive twin of `activate`.
package func activateReference(_ x: MutableMatrixView, bias: UnsafePointer<Float>?, _ activation: Activation)
{
  for index in 0..<x.rows {
    for column in 0..<x.columns {
      x.row(index)[column] = activationReference(x.row(index)[column] + (bias?[column] ?? 0), activation)
    }
  }
}

/// y = f(gate)·up: the naive twin of `activateGated`.
package func activateGatedReference(
  gate: MatrixView, up: MatrixView, into y: MutableMatrixView, _ activation: Activation
) {
  for index in 0..<y.rows {
    for column in 0..<y.columns {
      y.row(index)[column] = activationReference(gate.row(index)[column], activation) * up.row(index)[column]
    }
  }
}

/// f(x) by its definition.
private func activationReference(_ x: Float, _ activation: Activation) -> Float {
  switch activation {
  case .gelu: 0.5 * x * (1 + erff(x * Float(0.5).squareRoot()))
  case .geluTanh: 0.5 * x * (1 + tanhf((2 / Float.pi).squareRoot() * (x + 0.044715 * x * x * x)))
  case .geluClipped: min(0.5 * x * (1 + erff(x * Float(0.5).squareRoot())), 10)
  case .quickGELU: x / (1 + expf(-1.702 * x))
  case .relu: x < 0 ? 0 : x
  case .reluSquared: x < 0 ? 0 : x * x
  case .relu6: x < 0 ? 0 : x > 6 ? 6 : x
  case .leakyReLU: x < 0 ? 0.01 * x : x
  case .silu: x / (1 + expf(-x))
  case .hardSwish: x * min(max(x + 3, 0), 6) / 6
  case .sigmoid: 1 / (1 + expf(-x))
  case .tanh: tanhf(x)
  case .mish: x * tanhf(softplusReference(x))
  case .elu: x < 0 ? expm1f(x) : x
  case .laplace: 0.5 * (1 + erff((x - 0.707107) / (0.282095 * Float(2).squareRoot())))
  case .squareRootSoftplus: softplusReference(x).squareRoot()
  case .linear: x
  }
}

/// ln(1 + eˣ); from 20 on x, as PyTorch has it.
private func softplusReference(_ x: Float) -> Float { x > 20 ? x : log1pf(expf(x)) }
