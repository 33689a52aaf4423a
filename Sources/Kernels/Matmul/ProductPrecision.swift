/// What the operands of a product are rounded to before they are multiplied.
///
/// Sums are in single precision.
public enum ProductPrecision: String, Sendable, CaseIterable {
  /// Nothing: the engine's own products where the build has AVX-512, OpenBLAS elsewhere.
  case f32
  /// bfloat16, to nearest: the engine's own products, twice as fast where the CPU multiplies pairs of them.
  case bf16

  /// C ← op(A)·op(B), or C ← C + op(A)·op(B), for row-major matrices of floats, on the calling thread.
  ///
  /// - Parameters:
  ///   - transposeA: whether A is stored (k, m) instead of (m, k).
  ///   - transposeB: whether B is stored (n, k) instead of (k, n).
  ///   - m: rows of C.
  ///   - n: columns of C.
  ///   - k: the extent summed over.
  ///   - a: op(A) is (m, k); rows are `strideA` elements apart.
  ///   - b: op(B) is (k, n); rows are `strideB` elements apart.
  ///   - accumulate: whether to add to C instead of replacing it.
  ///   - c: (m, n); rows are `strideC` elements apart; overlaps neither A nor B.
  func multiply(
    transposeA: Bool = false, transposeB: Bool = false, m: Int, n: Int, k: Int, a: UnsafePointer<Float>,
    strideA: Int, b: UnsafePointer<Float>, strideB: Int, accumulate: Bool, c: UnsafeMutablePointer<Float>,
    strideC: Int
  ) {
    guard m > 0, n > 0 else { return }
    precondition(
      strideA >= (transposeA ? m : k) && strideB >= (transposeB ? k : n) && strideC >= n && k >= 0,
      "a product of (\(m), \(k)) and (\(k), \(n)) with strides \(strideA), \(strideB), \(strideC)")
    switch self {
    // Without terms C is cleared or stays, which OpenBLAS does.
    case .f32 where !FloatProduct.isPreferred || k == 0, .bf16 where k == 0:
      BLAS.multiply(
        transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k, a: a, strideA: strideA, b: b,
        strideB: strideB, beta: accumulate ? 1 : 0, c: c, strideC: strideC)
    case .f32:
      FloatProduct.multiply(
        transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k, a: a, strideA: strideA, b: b,
        strideB: strideB, accumulate: accumulate, c: c, strideC: strideC)
    case .bf16:
      BFloat16Product.multiply(
        transposeA: transposeA, transposeB: transposeB, m: m, n: n, k: k, a: a, strideA: strideA, b: b,
        strideB: strideB, accumulate: accumulate, c: c, strideC: strideC)
    }
  }
}
