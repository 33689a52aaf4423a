import CIntrinsics

/// One side of a product for the matrix registers of AMX: its lanes are rows of the left or columns of the right operand.
///
/// 32 lanes by 32 terms are four kilobytes of floats and two of bfloat16: two squares of sixteen lanes, each of sixteen rows of 64
/// bytes. On the left a row is a lane, on the right it is a pair of terms.
///
/// Floats that are to keep their precision are sums of three bfloat16, exactly: each part is the nearest of what the ones before it
/// leave. The two squares of the largest parts come first, then those of the middle ones, then those of the smallest.
/// What is beyond the largest bfloat16 becomes NaN, parts below 2⁻¹²⁶ count as 0.
struct AMXOperand {
  /// Lanes that registers hold.
  static let lanesPerPanel = 32
  /// Terms that registers hold.
  static let termsPerStep = 32
  /// Bytes of 32 lanes by 32 terms of bfloat16.
  static let partBytes = 2048

  /// Element 0 of lane 0.
  let base: UnsafePointer<Float>
  /// Floats from a lane to the next; 1 unless `termStride` is.
  let laneStride: Int
  /// Floats from a term to the next.
  let termStride: Int
  /// Lanes.
  let lanes: Int
  /// Terms of each.
  let terms: Int
  /// Of an element: 1 where it is rounded to bfloat16, 3 where it is not rounded.
  let parts: Int

  /// Bytes of 32 lanes by 32 terms.
  var stepBytes: Int { parts * AMXOperand.partBytes }

  /// Describes a side.
  ///
  /// - Parameter precision: what elements keep.
  init(
    base: UnsafePointer<Float>, laneStride: Int, termStride: Int, lanes: Int, terms: Int,
    _ precision: ProductPrecision
  ) {
    self.base = base
    self.laneStride = laneStride
    self.termStride = termStride
    self.lanes = lanes
    self.terms = terms
    parts = precision == .f32 ? 3 : 1
  }

  /// A matrix whose rows are lanes.
  init(rowsOf x: MatrixView, _ precision: ProductPrecision) {
    self.init(
      base: x.base, laneStride: x.rowStride, termStride: 1, lanes: x.rows, terms: x.columns, precision)
  }

  /// A matrix whose columns are lanes.
  init(columnsOf x: MatrixView, _ precision: ProductPrecision) {
    self.init(
      base: x.base, laneStride: 1, termStride: x.rowStride, lanes: x.columns, terms: x.rows, precision)
  }

  /// The outputs of a map, summed over its inputs.
  init(outputsOf weight: LinearWeight, _ precision: ProductPrecision) {
    self =
      weight.layout == .outputMajor
      ? AMXOperand(rowsOf: weight.matrix, precision) : AMXOperand(columnsOf: weight.matrix, precision)
  }

  /// The inputs of a map, summed over its outputs.
  init(inputsOf weight: LinearWeight, _ precision: ProductPrecision) {
    self =
      weight.layout == .outputMajor
      ? AMXOperand(columnsOf: weight.matrix, precision) : AMXOperand(rowsOf: weight.matrix, precision)
  }

  /// Packs 32 lanes over some steps.
  ///
  /// Lanes beyond the last are left as they are: what is computed of them is not stored. Terms beyond the last are 0.
  ///
  /// - Parameters:
  ///   - lane: the first, a multiple of 32.
  ///   - steps: of 32 terms.
  ///   - target: `steps.count · stepBytes` bytes.
  func pack(lane: Int, steps: Range<Int>, isLeft: Bool, into target: UnsafeMutableRawPointer) {
    precondition(laneStride == 1 || termStride == 1, "neither lanes nor terms are contiguous")
    for (index, step) in steps.enumerated() {
      let first = step * AMXOperand.termsPerStep
      for half in 0..<2 {
        let square = target + index * stepBytes + half * AMXOperand.partBytes / 2
        let start = lane + half * 16
        let count = min(16, lanes - start)
        if count > 0 {
          let source = base + (start * laneStride + first * termStride)
          let termCount = min(AMXOperand.termsPerStep, terms - first)
          if termStride == 1 {
            packRows(source, lanes: count, terms: termCount, into: square)
          } else {
            packPairs(source, lanes: count, terms: termCount, into: square)
          }
          if isLeft != (termStride == 1) {
            for part in 0..<parts { ink_transpose_words16(square + part * AMXOperand.partBytes) }
          }
        }
      }
    }
  }

  /// Squares whose rows are lanes.
  @inline(__always)
  private func packRows(
    _ source: UnsafePointer<Float>, lanes: Int, terms: Int, into square: UnsafeMutableRawPointer
  ) {
    // Safe: within the matrix and the squares.
    for lane in 0..<lanes {
      let row = source + lane &* laneStride
      let target = square + lane &* 64
      if terms == AMXOperand.termsPerStep {
        packRow(row, into: target)
      } else {
        withUnsafeTemporaryAllocation(of: Float.self, capacity: AMXOperand.termsPerStep) { whole in
          whole.initialize(repeating: 0)
          whole.baseAddress!.update(from: row, count: terms)
          packRow(whole.baseAddress!, into: target)
        }
      }
    }
  }

  /// 32 terms of a lane.
  @inline(__always)
  private func packRow(_ row: UnsafePointer<Float>, into target: UnsafeMutableRawPointer) {
    if parts == 1 {
      target.storeBytes(of: ink_round_32_to_bfloat16(row), as: ByteVector.self)
    } else {
      store(ink_even_floats(row), ink_odd_floats(row), into: target)
    }
  }

  /// Squares whose rows are pairs of terms.
  @inline(__always)
  private func packPairs(
    _ source: UnsafePointer<Float>, lanes: Int, terms: Int, into square: UnsafeMutableRawPointer
  ) {
    // Safe: within the matrix and the squares.
    for unit in 0..<16 {
      let row = source + (unit &* 2) &* termStride
      let low: FloatVector
      let high: FloatVector
      if lanes == 16, terms == AMXOperand.termsPerStep {
        (low, high) = (FloatVector(at: row), FloatVector(at: row + termStride))
      } else {
        low = unit &* 2 < terms ? AMXOperand.some(row, lanes) : .zero
        high = unit &* 2 &+ 1 < terms ? AMXOperand.some(row + termStride, lanes) : .zero
      }
      store(low, high, into: square + unit &* 64)
    }
  }

  /// A row of pairs, in as many squares as there are parts.
  @inline(__always)
  private func store(_ low: FloatVector, _ high: FloatVector, into target: UnsafeMutableRawPointer) {
    var (low, high) = (low, high)
    // Safe: within the squares.
    for part in 0..<parts {
      let pairs = ink_round_to_bfloat16_pairs(low, high)
      (target + part &* AMXOperand.partBytes).storeBytes(of: pairs, as: ByteVector.self)
      guard part &+ 1 < parts else { return }
      low -= unsafeBitCast(pairs &<< 16, to: FloatVector.self)
      high -= unsafeBitCast(pairs & 0xffff_0000, to: FloatVector.self)
    }
  }

  /// The first floats of up to sixteen; the others are 0.
  @inline(__always)
  private static func some(_ source: UnsafePointer<Float>, _ count: Int) -> FloatVector {
    count >= 16 ? FloatVector(at: source) : count > 0 ? FloatVector(at: source, count: count) : .zero
  }
}
