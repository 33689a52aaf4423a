import CIntrinsics

/// Rows of activations as the integer products read them: 8 bits times a scale, in blocks of 32 inputs.
struct QuantizedRows {
  /// (rows, inputs) signed bytes, four to a word.
  let words: UnsafeMutablePointer<UInt32>
  /// (rows, blocks).
  let scales: UnsafeMutablePointer<Float>
  /// (rows, blocks): scale times the sum of the block's integers.
  let weightedSums: UnsafeMutablePointer<Float>
  /// (rows, groups): −offset times the sum of a group's integers, where the integer sum of a group of weights begins.
  let starts: UnsafeMutablePointer<Int32>
  /// Blocks of a row.
  let blocks: Int
  /// Inputs of a group, 16 or 32.
  let groupLength: Int

  /// Groups of a row.
  @inline(__always) var groups: Int { blocks &* 32 / groupLength }

  /// Bytes that some rows take.
  static func byteCount(rows: Int, inputs: Int) -> Int {
    let blocks = inputs / 32
    return rows * blocks * (32 + 4 + 4 + 8) + 256
  }

  /// Divides memory of `byteCount` bytes.
  init(memory: UnsafeMutableRawPointer, rows: Int, inputs: Int, groupLength: Int) {
    blocks = inputs / 32
    self.groupLength = groupLength
    words = memory.bindMemory(to: UInt32.self, capacity: rows * blocks * 8)
    scales = (memory + rows * blocks * 32).bindMemory(to: Float.self, capacity: rows * blocks)
    weightedSums = (memory + rows * blocks * 36).bindMemory(to: Float.self, capacity: rows * blocks)
    starts = (memory + rows * blocks * 40).bindMemory(to: Int32.self, capacity: rows * blocks * 2)
  }

  /// Quantises one row.  d = max|x|/127, q = round(x/d), ties to even
  ///
  /// - Parameters:
  ///   - x: (inputs).
  ///   - offset: what the weights' unsigned integers are too large by.
  /// - Accuracy: at most d/2 per element. A block below 1e-30 is 0; NaN makes the block's products NaN.
  func quantize(_ x: UnsafePointer<Float>, row: Int, offset: Int32) {
    let magic: Float = 12_582_912  // 1.5·2²³: added, it rounds to an integer in the low bits.
    let sign = SIMD16<UInt32>(repeating: 0x7FFF_FFFF)
    let bytes = UnsafeMutableRawPointer(words + row * blocks * 8)
    for block in 0..<blocks {
      let first = FloatVector(at: x + block * 32)
      let second = FloatVector(at: x + block * 32 + 16)
      // As integers, magnitudes are in order, and NaN is above all.
      let largest = Float(
        bitPattern: ink_largest_lane16(
          ink_larger16(
            unsafeBitCast(first, to: SIMD16<UInt32>.self) & sign,
            unsafeBitCast(second, to: SIMD16<UInt32>.self) & sign)))
      let isTiny = largest < 1e-30
      let inverse = FloatVector(repeating: isTiny ? 0 : 127 / largest)
      let scale = isTiny ? 0 : largest / 127
      let base = SIMD16<Int32>(repeating: Int32(bitPattern: magic.bitPattern))
      let low = unsafeBitCast(multiplyAdd(first, inverse, magic), to: SIMD16<Int32>.self) &- base
      let high = unsafeBitCast(multiplyAdd(second, inverse, magic), to: SIMD16<Int32>.self) &- base
      ink_store_bytes16(bytes + block * 32, low)
      ink_store_bytes16(bytes + block * 32 + 16, high)
      // Safe: 16 numbers of at most 127, but for blocks with NaN, whose sums do not matter.
      let lowSum = ink_sum_of_lanes16(low)
      let highSum = ink_sum_of_lanes16(high)
      scales[row * blocks + block] = scale
      weightedSums[row * blocks + block] = scale * Float(lowSum &+ highSum)
      if groupLength == 32 {
        starts[row * blocks + block] = 0 &- offset &* (lowSum &+ highSum)
      } else {
        starts[(row * blocks + block) * 2] = 0 &- offset &* lowSum
        starts[(row * blocks + block) * 2 + 1] = 0 &- offset &* highSum
      }
    }
  }
}
