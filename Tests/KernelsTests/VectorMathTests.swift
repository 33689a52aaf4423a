import Testing

@testable import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The elementary functions against libm in Double, over bit patterns of every sign and exponent.
@Suite struct VectorMathTests {
  /// The largest error in units of the last place, and where.
  private struct Worst {
    var error = 0.0
    var x: Float = 0
  }

  /// Sweeps every 509th bit pattern (a prime, so that all low bits occur), sixteen at a time.
  private func sweep(
    where isWanted: (Float) -> Bool, _ f: (FloatVector) -> FloatVector, _ expected: (Double) -> Double
  ) -> Worst {
    var worst = Worst()
    var arguments = FloatVector.zero
    var lane = 0
    for bits in stride(from: UInt32(0), through: .max - 509, by: 509) {
      let x = Float(bitPattern: bits)
      guard isWanted(x) else { continue }
      arguments[lane] = x
      lane += 1
      if lane < 16 { continue }
      lane = 0
      let values = f(arguments)
      for index in 0..<16 {
        let error = distance(values[index], expected(Double(arguments[index])))
        if !(error <= worst.error) { worst = Worst(error: error, x: arguments[index]) }
      }
    }
    return worst
  }

  /// |value − exact| in units of the last place of a float near `exact`; 0 for NaN and NaN, or equal infinities.
  private func distance(_ value: Float, _ exact: Double) -> Double {
    let rounded = Float(exact)
    if value.isNaN || rounded.isNaN { return value.isNaN && rounded.isNaN ? 0 : .infinity }
    if rounded.isInfinite || value.isInfinite { return value == rounded ? 0 : .infinity }
    return abs(Double(value) - exact) / Double(rounded.ulp)
  }

  @Test func exponentialIsAccurate() {
    let worst = sweep(where: { _ in true }, exponential, { exp($0) })
    #expect(worst.error <= 1.3, "\(worst)")
  }

  @Test func exponentialMinusOneIsAccurate() {
    let worst = sweep(where: { !($0 > 0) }, exponentialMinusOne, expm1)
    #expect(worst.error <= 2, "\(worst)")
  }

  @Test func hyperbolicTangentIsAccurate() {
    let worst = sweep(where: { _ in true }, hyperbolicTangent, Glibc.tanh)
    #expect(worst.error <= 3, "\(worst)")
  }

  @Test func logisticIsAccurate() {
    let worst = sweep(where: { !($0 < -87) }, logistic) { 1 / (1 + exp(-$0)) }
    #expect(worst.error <= 2.5, "\(worst)")
  }

  @Test func logarithmOfOnePlusIsAccurate() {
    let worst = sweep(where: { $0 >= 0 && $0 <= 1 }, logarithmOfOnePlus, log1p)
    #expect(worst.error <= 1.5, "\(worst)")
  }

  @Test func softplusIsAccurate() {
    let worst = sweep(where: { !($0 < -87) }, softplus) { max($0, 0) + log1p(exp(-abs($0))) }
    #expect(worst.error <= 3, "\(worst)")
  }

  /// The logarithm of the tail is rounded, so the error grows with its magnitude, about t²/2.
  @Test func normalTailIsAccurate() {
    var worst = Worst()
    for step in 0...200_000 {
      let t = Float(step) / 20_000
      let exact = 0.5 * erfc(Double(t) * 0.5.squareRoot())
      let value = normalTail(nonNegative: FloatVector(repeating: t))[3]
      let scale = (1 + Double(t) * Double(t) / 2) * exact * (t <= 6 ? 1 : 8)
      let error = abs(Double(value) - exact) / scale
      if !(error <= worst.error) { worst = Worst(error: error, x: t) }
    }
    #expect(worst.error <= 3e-7, "\(worst)")
    #expect(normalTail(nonNegative: FloatVector(repeating: .nan))[0].isNaN)
  }

  @Test func limitsAndSigns() {
    func at(_ x: Float, _ f: (FloatVector) -> FloatVector) -> Float { f(FloatVector(repeating: x))[15] }
    #expect(at(.infinity, exponential) == .infinity)
    #expect(at(-.infinity, exponential) == 0)
    #expect(at(88.8, exponential) == .infinity)
    #expect(at(-104, exponential) == 0)
    #expect(at(-100, exponential) > 0, "subnormal results are not flushed")
    #expect(at(.infinity, hyperbolicTangent) == 1)
    #expect(at(-.infinity, hyperbolicTangent) == -1)
    #expect(at(-0.0, hyperbolicTangent).sign == .minus)
    #expect(at(.infinity, logistic) == 1)
    #expect(at(-.infinity, logistic) == 0)
    #expect(at(.infinity, softplus) == .infinity)
    for f in [exponential, hyperbolicTangent, logistic, softplus] { #expect(at(.nan, f).isNaN) }
  }
}
