import CIntrinsics

/// One side of a product for the matrix registers of AMX: its lanes are rows of the left or columns of the right operand.
///
/// 32 lanes by 32 terms are four kilobytes of floats and two of bfloat16: two squares of sixteen lanes, each of sixteen rows of 64
/// bytes. On the left a row is a lane, on the right it is a pair of terms.
struct AMXOperand {
  /// Lanes that registers hold.
  static let lanesPerPanel = 32
  /// Terms that registers hold.
  static let termsPerStep = 32
  /// Bytes of 32 lanes by 32 terms of bfloat16.
  static let stepBytes = 2048

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

  /// Describes a side.
  init(base: UnsafePointer<Float>, laneStride: Int, termStride: Int, lanes: Int, terms: Int) {
    self.base = base
    self.laneStride = laneStride
    self.termStride = termStride
    self.lanes = lanes
    self.terms = terms
  }

  /// A matrix whose rows are lanes.
  init(rowsOf x: MatrixView) {
    self.init(base: x.base, laneStride: x.rowStride, termStride: 1, lanes: x.rows, terms: x.columns)
  }

  /// A matrix whose columns are lanes.
  init(columnsOf x: MatrixView) {
    self.init(base: x.base, laneStride: 1, termStride: x.rowStride, lanes: x.columns, terms: x.rows)
  }

  /// The outputs of a map, summed over its inputs.
  init(outputsOf weight: LinearWeight) {
    self =
      weight.layout == .outputMajor ? AMXOperand(rowsOf: weight.matrix) : AMXOperand(columnsOf: weight.matrix)
  }

  /// The inputs of a map, summed over its outputs.
  init(inputsOf weight: LinearWeight) {
    self =
      weight.layout == .outputMajor ? AMXOperand(columnsOf: weight.matrix) : AMXOperand(rowsOf: weight.matrix)
  }

  /// Rounds 32 lanes over some steps to bfloat16.
  ///
  /// Lanes beyond the last are left as they are: what is computed of them is not stored. Terms beyond the last are 0.
  ///
  /// - Parameters:
  ///   - lane: the first, a multiple of 32.
  ///   - steps: of 32 terms.
  ///   - target: `steps.count · 2048` bytes.
  func pack(lane: Int, steps: Range<Int>, isLeft: Bool, into target: UnsafeMutableRawPointer) {
    precondition(laneStride == 1 || termStride == 1, "neither lanes nor terms are contiguous")
    let squareBytes = AMXOperand.stepBytes / 2
    var square = target
    for step in steps {
      let first = step * AMXOperand.termsPerStep
      for half in 0..<2 {
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
          if isLeft != (termStride == 1) { ink_transpose_words16(square) }
        }
        square += squareBytes
      }
    }
  }

  /// A square whose rows are lanes.
  @inline(__always)
  private func packRows(
    _ source: UnsafePointer<Float>, lanes: Int, terms: Int, into square: UnsafeMutableRawPointer
  ) {
    // Safe: within the matrix and the square.
    for lane in 0..<lanes {
      let row = source + lane &* laneStride
      let pairs =
        terms == AMXOperand.termsPerStep
        ? ink_round_32_to_bfloat16(row) : AMXOperand.pairs(of: row, terms)
      (square + lane &* 64).storeBytes(of: pairs, as: ByteVector.self)
    }
  }

  /// A square whose rows are pairs of terms.
  @inline(__always)
  private func packPairs(
    _ source: UnsafePointer<Float>, lanes: Int, terms: Int, into square: UnsafeMutableRawPointer
  ) {
    // Safe: within the matrix and the square.
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
      (square + unit &* 64).storeBytes(of: ink_round_to_bfloat16_pairs(low, high), as: ByteVector.self)
    }
  }

  /// The first pairs of a row that ends; the others are 0.
  private static func pairs(of row: UnsafePointer<Float>, _ count: Int) -> ByteVector {
    withUnsafeTemporaryAllocation(of: Float.self, capacity: termsPerStep) { whole in
      whole.initialize(repeating: 0)
      whole.baseAddress!.update(from: row, count: count)
      return ink_round_32_to_bfloat16(whole.baseAddress!)
    }
  }

  /// The first floats of up to sixteen; the others are 0.
  @inline(__always)
  private static func some(_ source: UnsafePointer<Float>, _ count: Int) -> FloatVector {
    count >= 16 ? FloatVector(at: source) : count > 0 ? FloatVector(at: source, count: count) : .zero
  }
}
