import CIntrinsics

/// Lines of a part of a matrix that are asked for while another part is multiplied, in the order of its rows: few rows of A leave no
/// time to wait for B.
struct LinesOfRows {
  private let base: UnsafePointer<Float>
  private let stride: Int
  /// log₂ of the lines of a row.
  private let shift: Int
  /// All lines.
  let count: Int
  private var next = 0

  /// Asks for rows of a matrix.
  init(_ base: UnsafePointer<Float>, rows: Int, stride: Int, columns: Int) {
    self.base = base
    self.stride = stride
    // As many lines as hold a row, or up to twice as many.
    shift = columns <= 16 ? 0 : Int.bitWidth - ((columns + 15) / 16 - 1).leadingZeroBitCount
    count = rows << shift
  }

  /// Asks for nothing.
  init(nothingAt base: UnsafePointer<Float>) {
    self.base = base
    (stride, shift, count) = (0, 0, 0)
  }

  /// Asks for some lines, as far as there are any.
  @inline(__always)
  mutating func ask(_ lines: Int) {
    let end = min(next &+ lines, count)
    while next < end {
      // Safe: asking for what is not there does nothing.
      let (row, line) = (next >> shift, next & ((1 << shift) &- 1))
      ink_prefetch(base + (row &* stride &+ line &* 16))
      next &+= 1
    }
  }
}
