import CIntrinsics

// Elementary functions on sixteen lanes. The polynomials are minimax fits (Lawson's iteration in 50 digits,
// coefficients rounded to `Float` one after another, the rest refitted); each says the interval and the
// error that it was fitted to. VectorMathTests asserts the accuracies over the whole range of `Float`.

/// The nearest integer, ties to even.
///
/// - Precondition: |x| < 2²²; NaN stays.
@inline(__always)
private func nearestInteger(_ x: FloatVector) -> FloatVector {
  // 1.5·2²³: the sum has no bits left for a fraction, so the addition rounds it away.
  let magic: Float = 12_582_912
  return (x + magic) - magic
}

/// x = n·ln 2 + r with integral n and |r| ≤ ½ ln 2.
@inline(__always)
private func reduced(_ x: FloatVector) -> (n: FloatVector, r: FloatVector) {
  let n = nearestInteger(x * 1.442695)
  // ln 2 in two parts; the first has 15 bits, so its product with n is exact even without FMA.
  let upper = multiplyAdd(n, FloatVector(repeating: -0.693145752), x)
  return (n, multiplyAdd(n, FloatVector(repeating: -1.42860677e-6), upper))
}

/// eˣ.
///
/// - Accuracy: 0.9 ULP, 1.3 without FMA; subnormal results included. e^∞ = ∞, e^−∞ = 0, NaN stays.
@inline(__always)
func exponential(_ x: FloatVector) -> FloatVector {
  // e⁸⁹ is beyond the largest float, e⁻¹⁰⁴ below half of the smallest.
  let (n, r) = reduced(x.atMost(89).atLeast(-104))
  // eʳ on |r| ≤ ½ ln 2, relative error 3.2e-9.
  var p = multiplyAdd(r, 0x1.6a4f28p-10, 0x1.123980p-7)
  p = multiplyAdd(r, p, 0x1.5558aep-5)
  p = multiplyAdd(r, p, 0x1.555492p-3)
  p = multiplyAdd(r, p, 0x1.fffffcp-2)
  p = multiplyAdd(r, p, 1)
  p = multiplyAdd(r, p, 1)
  return ink_scale16(p, n)
}

/// eˣ − 1 for x ≤ 0, without cancellation near 0.
///
/// - Accuracy: 2 ULP. NaN stays.
@inline(__always)
func exponentialMinusOne(nonPositive x: FloatVector) -> FloatVector {
  let (n, r) = reduced(x.atLeast(-104))
  // (eʳ − 1 − r)/r² on |r| ≤ ½ ln 2, error 4.4e-10 of eʳ − 1.
  var p = multiplyAdd(r, 0x1.9e6ef4p-13, 0x1.6d3a3ap-10)
  p = multiplyAdd(r, p, 0x1.1112dap-7)
  p = multiplyAdd(r, p, 0x1.5554f8p-5)
  p = multiplyAdd(r, p, 0x1.555554p-3)
  p = multiplyAdd(r, p, 0.5)
  p = multiplyAdd(r * r, p, r)
  // eˣ − 1 = 2ⁿ(eʳ − 1) + (2ⁿ − 1).
  let power = ink_scale16(FloatVector(repeating: 1), n)
  return multiplyAdd(power, p, power - 1)
}

/// tanh x.
///
/// - Accuracy: 2.5 ULP, 3 without FMA. tanh ±∞ = ±1, tanh ±0 = ±0, NaN stays.
@inline(__always)
func hyperbolicTangent(_ x: FloatVector) -> FloatVector {
  // tanh |x| = (1 − e^−2|x|)/(1 + e^−2|x|).
  let e = exponentialMinusOne(nonPositive: -2 * x.magnitude)
  return (e / (e + 2)).withSign(of: x)
}

/// σ(x) = 1/(1 + e⁻ˣ).
///
/// - Accuracy: 2.5 ULP where the result is normal. σ(∞) = 1, σ(−∞) = 0, NaN stays.
@inline(__always)
func logistic(_ x: FloatVector) -> FloatVector {
  1 / (exponential(-x) + 1)
}

/// ln(1 + x) for 0 ≤ x ≤ 1.
///
/// - Accuracy: 1.5 ULP. NaN stays.
@inline(__always)
func logarithmOfOnePlus(unit x: FloatVector) -> FloatVector {
  // ln(1 + x)/x on 0 … 1, relative error 9e-10.
  var p = multiplyAdd(x, 0x1.114414p-9, -0x1.c0b2d0p-7)
  p = multiplyAdd(x, p, 0x1.5907c6p-5)
  p = multiplyAdd(x, p, -0x1.54f610p-4)
  p = multiplyAdd(x, p, 0x1.ff2bc6p-4)
  p = multiplyAdd(x, p, -0x1.4a733ap-3)
  p = multiplyAdd(x, p, 0x1.978b6ep-3)
  p = multiplyAdd(x, p, -0x1.ffc5a0p-3)
  p = multiplyAdd(x, p, 0x1.5553b6p-2)
  p = multiplyAdd(x, p, -0x1.fffff8p-2)
  return multiplyAdd(x * x, p, x)
}

/// ln(1 + eˣ), also called softplus.
///
/// - Accuracy: 3 ULP where the result is normal. NaN stays.
@inline(__always)
func softplus(_ x: FloatVector) -> FloatVector {
  // The larger part is exact: ln(1 + eˣ) = max(x, 0) + ln(1 + e^−|x|).
  x.atLeast(0) + logarithmOfOnePlus(unit: exponential(-x.magnitude))
}

/// Φ(−t), the upper tail of the normal distribution, for t ≥ 0; beyond 10, Φ(−10) = 7.6e-24.
///
/// - Accuracy: relative error 2e-7·(1 + t²/2) up to 6, 2.4e-6·(1 + t²/2) up to 10. NaN stays.
@inline(__always)
func normalTail(nonNegative t: FloatVector) -> FloatVector {
  // ln Φ(−t) = −ln 2 + t·p(t): the logarithm is smooth where Φ itself spans 23 decades, so one polynomial
  // serves 0 … 10 with an error of 2.9e-8·(1 + t²/2), and nothing cancels in the tail.
  let t = t.atMost(10)
  var p = multiplyAdd(t, 0x1.e47c38p-39, -0x1.017080p-32)
  p = multiplyAdd(t, p, 0x1.ea4a08p-28)
  p = multiplyAdd(t, p, -0x1.141180p-23)
  p = multiplyAdd(t, p, 0x1.97dd32p-20)
  p = multiplyAdd(t, p, -0x1.9bfc98p-17)
  p = multiplyAdd(t, p, 0x1.1a1486p-14)
  p = multiplyAdd(t, p, -0x1.cb5eecp-13)
  p = multiplyAdd(t, p, 0x1.748c86p-16)
  p = multiplyAdd(t, p, 0x1.3b5c1ap-8)
  p = multiplyAdd(t, p, -0x1.29d8b2p-5)
  p = multiplyAdd(t, p, -0x1.45f114p-2)
  p = multiplyAdd(t, p, -0x1.98846ep-1)
  return exponential(multiplyAdd(t, p, -0x1.62e430p-1))
}
