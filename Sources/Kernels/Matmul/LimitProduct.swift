/// The product that tells what a machine multiplies at best, which products of models are compared with.
package enum LimitProduct {
  /// Whether it is OpenBLAS's SGEMM: not where the library takes the CPU for one without AVX and the engine's own is in use.
  package static var isBLAS: Bool { BLAS.vectorBits >= 256 || !FloatProduct.isPreferred }

  /// C ← A·B for row-major matrices, on the calling thread.
  ///
  /// - Parameters:
  ///   - a: (m, k).
  ///   - b: (k, n).
  ///   - c: (m, n); overlaps neither.
  package static func multiply(
    m: Int, n: Int, k: Int, a: UnsafePointer<Float>, b: UnsafePointer<Float>,
    into c: UnsafeMutablePointer<Float>
  ) {
    if isBLAS {
      BLAS.multiply(m: m, n: n, k: k, a: a, strideA: k, b: b, strideB: n, c: c, strideC: n)
    } else {
      FloatProduct.multiply(
        transposeA: false, transposeB: false, m: m, n: n, k: k, a: a, strideA: k, b: b, strideB: n,
        accumulate: false, c: c, strideC: n)
    }
  }
}
