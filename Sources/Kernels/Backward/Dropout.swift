/// Random numbers that are a function of where they are used, not of what was drawn before.
///
/// Philox-4x32-10: a seed, a step, a site and a position give the same number on any thread and after any resume.
/// - SeeAlso: Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3" (2011).
package struct PhiloxStream: Sendable, Equatable {
  private let key: (UInt32, UInt32)
  private let stream: (UInt32, UInt32)

  /// Two streams are the same when both keys and both streams are.
  package static func == (a: PhiloxStream, b: PhiloxStream) -> Bool {
    a.key == b.key && a.stream == b.stream
  }

  /// Names a stream.
  ///
  /// - Parameters:
  ///   - seed: the run's.
  ///   - step: the optimiser's step, of which the low 32 bits count.
  ///   - site: where in the step.
  package init(seed: UInt64, step: Int, site: UInt32) {
    key = (UInt32(truncatingIfNeeded: seed), UInt32(truncatingIfNeeded: seed >> 32))
    stream = (UInt32(truncatingIfNeeded: step), site)
  }

  /// Four words of 32 random bits for one counter.
  package func words(_ counter: UInt64) -> SIMD4<UInt32> {
    let block = self.block(counter, isSingle: true)
    return SIMD4(
      UInt32(truncatingIfNeeded: block.0[0]), UInt32(truncatingIfNeeded: block.1[0]),
      UInt32(truncatingIfNeeded: block.2[0]), UInt32(truncatingIfNeeded: block.3[0]))
  }

  /// Words 0 … 3 of eight counters, each in the low half of a lane.
  ///
  /// - Parameter isSingle: whether all lanes have the same counter instead of consecutive ones.
  @inline(__always)
  fileprivate func block(_ counter: UInt64, isSingle: Bool = false) -> (
    SIMD8<UInt64>, SIMD8<UInt64>, SIMD8<UInt64>, SIMD8<UInt64>
  ) {
    let mask: UInt64 = 0xFFFF_FFFF
    let lanes: SIMD8<UInt64> = isSingle ? .zero : [0, 1, 2, 3, 4, 5, 6, 7]
    let counters = SIMD8<UInt64>(repeating: counter) &+ lanes
    var (c0, c1) = (counters & mask, counters &>> 32)
    var c2 = SIMD8<UInt64>(repeating: UInt64(stream.0))
    var c3 = SIMD8<UInt64>(repeating: UInt64(stream.1))
    var (k0, k1) = (UInt64(key.0), UInt64(key.1))
    for _ in 0..<10 {
      // Safe: products of 32-bit numbers fit 64 bits; keys wrap at 32, as the generator has it.
      let a = c0 &* 0xD251_1F53
      let b = c2 &* 0xCD9E_8D57
      (c0, c1, c2, c3) = ((b &>> 32) ^ c1 ^ k0, b & mask, (a &>> 32) ^ c3 ^ k1, a & mask)
      k0 = (k0 &+ 0x9E37_79B9) & mask
      k1 = (k1 &+ 0xBB67_AE85) & mask
    }
    return (c0, c1, c2, c3)
  }
}

/// Which elements of a matrix survive, decided by their place alone.
///
/// An element survives with probability 1 − p and is divided by it; forward and backward draw the same decisions
/// anew instead of keeping them.
/// - SeeAlso: arXiv:1207.0580
package struct DropoutMask: Sendable {
  /// p, from 0 to below 1.
  package let probability: Float
  private let stream: PhiloxStream
  private let threshold: UInt64
  private let factor: Float

  /// Describes a mask.
  package init(probability: Float, stream: PhiloxStream) {
    precondition(probability >= 0 && probability < 1, "a dropout of \(probability)")
    self.probability = probability
    self.stream = stream
    threshold = UInt64(Double(probability) * 0x1p32)
    factor = 1 / (1 - probability)
  }

  /// Writes the multipliers of one row: 0 or 1/(1 − p).
  ///
  /// - Parameters:
  ///   - row: which row; rows of the same width draw from places of their own.
  ///   - width: columns that a row has.
  ///   - count: how many of them are wanted, from the first on.
  package func multipliers(row: Int, width: Int, into y: UnsafeMutablePointer<Float>, count: Int) {
    // A block of 32 columns takes eight counters; column c of it is word c/8 of counter c % 8.
    let blocks = (width + 31) / 32
    var column = 0
    var counter = UInt64(row) &* UInt64(blocks) &* 8  // Safe: far below 2⁶⁴ for anything in memory.
    let limit = SIMD8<UInt64>(repeating: threshold)
    while column < count {
      let words = stream.block(counter)
      for (index, word) in [words.0, words.1, words.2, words.3].enumerated() {
        let start = column + 8 * index
        let kept = SIMD8<Float>(repeating: 0).replacing(
          with: factor, where: SIMDMask<SIMD8<Int32>>(truncating: word .>= limit))
        for lane in 0..<min(8, max(0, count - start)) { y[start + lane] = kept[lane] }
      }
      column += 32
      counter &+= 8
    }
  }

  /// x ← x∘mask, or y ← y + x∘mask.
  ///
  /// - Parameters:
  ///   - x: (rows, columns).
  ///   - y: (rows, columns); may be `x` unless it accumulates.
  package func apply(
    _ x: MatrixView, into y: MutableMatrixView, accumulate: Bool = false, pool: WorkerPool
  ) {
    precondition(x.rows == y.rows && x.columns == y.columns, "a mask from one extent into another")
    @inline(__always)
    func product(_ a: FloatVector, _ b: FloatVector) -> FloatVector { a * b }
    pool.run(x.rows, grain: max(1, 8192 / max(x.columns, 1))) { rows in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: max(x.columns, 1)) { scratch in
        let mask = scratch.baseAddress!
        for row in rows {
          multipliers(row: row, width: x.columns, into: mask, count: x.columns)
          if accumulate {
            mapRows(mask, x.row(row), into: mask, count: x.columns, product)
            addRow(mask, to: y.row(row), count: x.columns)
          } else {
            mapRows(mask, x.row(row), into: y.row(row), count: x.columns, product)
          }
        }
      }
    }
  }
}

extension SIMDMask where Storage == SIMD8<Int32> {
  /// The same lanes of a mask of wider elements.
  @inline(__always)
  fileprivate init(truncating mask: SIMDMask<SIMD8<Int64>>) {
    let wide = SIMD8<Int64>.zero.replacing(with: -1, where: mask)
    self = SIMD8<Int32>(truncatingIfNeeded: wide) .< 0
  }
}
