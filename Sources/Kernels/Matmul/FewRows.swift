import CIntrinsics

// Products of a few rows with a large matrix: the matrix is read from memory once, and that read is most of the time there
// is. `Benchmarks/README.md` has the measurements that set the limits.

/// Rows of x up to which the kernels of this file take over from a GEMM with operands of some precision.
///
/// More of them where sums have 512-bit registers: a matrix that is read where it lies is not packed for few rows.
func fewRowsLimit(_ layout: LinearWeight.Layout, precision: ProductPrecision) -> Int {
  let isWide = precision == .f32 && FloatProduct.isPreferred
  return switch layout {
  case .outputMajor: isWide ? 64 : 16
  case .inputMajor: isWide ? 16 : 8
  }
}

/// How far ahead a single row asks for weights.
///
/// Two pages ahead: an Emerald Rapids Xeon then generates 1.2 to 1.3 times as fast. A Zen 4 EPYC lost by asking
/// (`Benchmarks/README.md`).
enum WeightsAhead {
  /// Bytes from the weights in hand to those that are asked for, or 0.
  static let distance = ProcessorFeatures.current.brand.contains("Intel") ? 8192 : 0
}

/// Some outputs of y = x·Wᵀ for a matrix of (outputs, inputs).
///
/// The matrix is read from end to end, one row at a time, or asked for in that order: one long stream is what a memory gives
/// fastest (`Benchmarks/README.md`).
///
/// - Parameters:
///   - x: (R, inputs), R small.
///   - weights: (outputs, inputs), rows `inputs` apart.
///   - outputs: which to compute.
///   - y: (R, outputs), whole rows.
///   - accumulate: whether to add to y.
func multiplyFewRowsOutputMajor(
  _ x: MatrixView, weights: UnsafePointer<Float>, outputs: Range<Int>, into y: MutableMatrixView,
  accumulate: Bool
) {
  var output = outputs.lowerBound
  if x.rows >= 4 {
    // A block of four outputs stays in the first cache while all rows pass over it.
    while output + 4 <= outputs.upperBound {
      let w = weights + output * x.columns
      var row = 0
      // The next four outputs are asked for on the way, a share of them in each pass.
      var ahead = LinesAhead(w + 4 * x.columns, passes: x.rows / 4)
      while row + 4 <= x.rows {
        dots4x4(x, row, w, output, y, accumulate, &ahead)
        row += 4
      }
      for place in output..<output + 4 { dots(x, row..<x.rows, weights, place, y, accumulate) }
      output += 4
    }
  }
  while output < outputs.upperBound {
    dots(x, 0..<x.rows, weights, output, y, accumulate)
    output += 1
  }
}

/// Weights that are asked for while others are multiplied, line by line in their order: a memory is read best from end to end, and
/// a bounded number of lines can be on their way at once, so the asking is spread over all passes.
struct LinesAhead {
  private var next: UnsafePointer<Float>
  /// 4, 2, 1 or 0.
  private let perStep: Int

  /// Asks for four lines in a step of a pass, were there but one pass.
  ///
  /// - Parameter next: where the first line is.
  init(_ next: UnsafePointer<Float>, passes: Int) {
    self.next = next
    perStep = passes <= 1 ? 4 : passes == 2 ? 2 : 1
  }

  /// Asks for nothing.
  init(nothingAt place: UnsafePointer<Float>) {
    next = place
    perStep = 0
  }

  /// Asks for some lines.
  @inline(__always)
  mutating func ask() {
    guard perStep > 0 else { return }
    // Into the second cache: what is asked for is more than the first one holds beside what it is asked in.
    ink_prefetch(next)
    if perStep > 1 { ink_prefetch(next + 16) }
    if perStep > 2 {
      ink_prefetch(next + 32)
      ink_prefetch(next + 48)
    }
    next += 16 &* perStep  // Safe: 64 at most.
  }
}

/// One output of some rows, three rows at a time.
@inline(__always)
private func dots(
  _ x: MatrixView, _ rows: Range<Int>, _ weights: UnsafePointer<Float>, _ output: Int,
  _ y: MutableMatrixView, _ accumulate: Bool
) {
  let w = weights + output * x.columns
  var row = rows.lowerBound
  while row < rows.upperBound {
    switch rows.upperBound - row {
    case 1:
      let ahead = x.rows == 1 ? WeightsAhead.distance : 0
      put(dot(x.row(row), w, count: x.columns, ahead: ahead), y.row(row) + output, accumulate)
      return
    case 2:
      let (a, b) = dot(x.row(row), x.row(row + 1), w, count: x.columns)
      put(a, y.row(row) + output, accumulate)
      put(b, y.row(row + 1) + output, accumulate)
      return
    default:
      let (a, b, c) = dot(x.row(row), x.row(row + 1), x.row(row + 2), w, count: x.columns)
      put(a, y.row(row) + output, accumulate)
      put(b, y.row(row + 1) + output, accumulate)
      put(c, y.row(row + 2) + output, accumulate)
      row += 3
    }
  }
}

@inline(__always)
private func put(_ sum: Float, _ target: UnsafeMutablePointer<Float>, _ accumulate: Bool) {
  target.pointee = accumulate ? target.pointee + sum : sum
}

/// The sum of the lanes, in pairs.
@inline(__always)
private func sum(_ x: FloatVector) -> Float {
  let eight = x.lowHalf + x.highHalf
  let four = eight.lowHalf + eight.highHalf
  return (four.x + four.z) + (four.y + four.w)
}

/// Σ x[i]·w[i], added up in the order in which `dots4x4` adds: how rows and outputs are grouped changes no bit.
@inline(__always)
private func dot(_ x: UnsafePointer<Float>, _ w: UnsafePointer<Float>, count: Int, ahead: Int) -> Float {
  var s = FloatVector.zero
  let whole = count & ~15
  var index = 0
  while index < whole {
    if ahead > 0 { ink_prefetch(UnsafeRawPointer(w + index) + ahead) }
    s = multiplyAdd(FloatVector(at: x + index), FloatVector(at: w + index), s)
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    let rest = count - whole
    s = multiplyAdd(FloatVector(at: x + whole, count: rest), FloatVector(at: w + whole, count: rest), s)
  }
  return sum(s)
}

/// The same for two rows.
@inline(__always)
private func dot(
  _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ w: UnsafePointer<Float>, count: Int
) -> (Float, Float) {
  var (s, t) = (FloatVector.zero, FloatVector.zero)
  let whole = count & ~15
  var index = 0
  while index < whole {
    let v = FloatVector(at: w + index)
    s = multiplyAdd(FloatVector(at: a + index), v, s)
    t = multiplyAdd(FloatVector(at: b + index), v, t)
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    let rest = count - whole
    let v = FloatVector(at: w + whole, count: rest)
    s = multiplyAdd(FloatVector(at: a + whole, count: rest), v, s)
    t = multiplyAdd(FloatVector(at: b + whole, count: rest), v, t)
  }
  return (sum(s), sum(t))
}

/// The same for three rows.
@inline(__always)
private func dot(
  _ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, _ c: UnsafePointer<Float>, _ w: UnsafePointer<Float>,
  count: Int
) -> (Float, Float, Float) {
  var (s, t, u) = (FloatVector.zero, FloatVector.zero, FloatVector.zero)
  let whole = count & ~15
  var index = 0
  while index < whole {
    let v = FloatVector(at: w + index)
    s = multiplyAdd(FloatVector(at: a + index), v, s)
    t = multiplyAdd(FloatVector(at: b + index), v, t)
    u = multiplyAdd(FloatVector(at: c + index), v, u)
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    let rest = count - whole
    let v = FloatVector(at: w + whole, count: rest)
    s = multiplyAdd(FloatVector(at: a + whole, count: rest), v, s)
    t = multiplyAdd(FloatVector(at: b + whole, count: rest), v, t)
    u = multiplyAdd(FloatVector(at: c + whole, count: rest), v, u)
  }
  return (sum(s), sum(t), sum(u))
}

/// The sums of the lanes of four vectors, each added in the order of `sum`.
@inline(__always)
private func sums(_ a: FloatVector, _ b: FloatVector, _ c: FloatVector, _ d: FloatVector) -> SIMD4<Float> {
  @inline(__always)
  func four(_ x: FloatVector) -> SIMD4<Float> {
    let eight = x.lowHalf + x.highHalf
    return eight.lowHalf + eight.highHalf
  }
  let (e, f, g, h) = (four(a), four(b), four(c), four(d))
  let s = SIMD4(e.x, f.x, e.y, f.y) + SIMD4(e.z, f.z, e.w, f.w)
  let t = SIMD4(g.x, h.x, g.y, h.y) + SIMD4(g.z, h.z, g.w, h.w)
  return SIMD4(s.x, s.y, t.x, t.y) + SIMD4(s.z, s.w, t.z, t.w)
}

@inline(__always)
private func put(_ sums: SIMD4<Float>, _ target: UnsafeMutablePointer<Float>, _ accumulate: Bool) {
  let memory = UnsafeMutableRawPointer(target)
  let result = accumulate ? memory.loadUnaligned(as: SIMD4<Float>.self) + sums : sums
  memory.storeBytes(of: result, as: SIMD4<Float>.self)
}

/// Four outputs of four rows.
private func dots4x4(
  _ x: MatrixView, _ row: Int, _ w: UnsafePointer<Float>, _ output: Int, _ y: MutableMatrixView,
  _ accumulate: Bool, _ ahead: inout LinesAhead
) {
  let count = x.columns
  let (a, b, c, d) = (x.row(row), x.row(row + 1), x.row(row + 2), x.row(row + 3))
  let (w1, w2, w3) = (w + count, w + 2 * count, w + 3 * count)
  let zero = FloatVector.zero
  var (s0, s1, s2, s3) = (zero, zero, zero, zero)
  var (t0, t1, t2, t3) = (zero, zero, zero, zero)
  var (u0, u1, u2, u3) = (zero, zero, zero, zero)
  var (v0, v1, v2, v3) = (zero, zero, zero, zero)
  @inline(__always)
  func step(
    _ e: FloatVector, _ f: FloatVector, _ g: FloatVector, _ h: FloatVector, _ m0: FloatVector,
    _ m1: FloatVector, _ m2: FloatVector, _ m3: FloatVector
  ) {
    s0 = multiplyAdd(e, m0, s0)
    s1 = multiplyAdd(e, m1, s1)
    s2 = multiplyAdd(e, m2, s2)
    s3 = multiplyAdd(e, m3, s3)
    t0 = multiplyAdd(f, m0, t0)
    t1 = multiplyAdd(f, m1, t1)
    t2 = multiplyAdd(f, m2, t2)
    t3 = multiplyAdd(f, m3, t3)
    u0 = multiplyAdd(g, m0, u0)
    u1 = multiplyAdd(g, m1, u1)
    u2 = multiplyAdd(g, m2, u2)
    u3 = multiplyAdd(g, m3, u3)
    v0 = multiplyAdd(h, m0, v0)
    v1 = multiplyAdd(h, m1, v1)
    v2 = multiplyAdd(h, m2, v2)
    v3 = multiplyAdd(h, m3, v3)
  }
  let whole = count & ~15
  var index = 0
  var lines = ahead
  defer { ahead = lines }
  while index < whole {
    lines.ask()
    step(
      FloatVector(at: a + index), FloatVector(at: b + index), FloatVector(at: c + index),
      FloatVector(at: d + index), FloatVector(at: w + index), FloatVector(at: w1 + index),
      FloatVector(at: w2 + index), FloatVector(at: w3 + index))
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    let rest = count - whole
    step(
      FloatVector(at: a + whole, count: rest), FloatVector(at: b + whole, count: rest),
      FloatVector(at: c + whole, count: rest), FloatVector(at: d + whole, count: rest),
      FloatVector(at: w + whole, count: rest), FloatVector(at: w1 + whole, count: rest),
      FloatVector(at: w2 + whole, count: rest), FloatVector(at: w3 + whole, count: rest))
  }
  put(sums(s0, s1, s2, s3), y.row(row) + output, accumulate)
  put(sums(t0, t1, t2, t3), y.row(row + 1) + output, accumulate)
  put(sums(u0, u1, u2, u3), y.row(row + 2) + output, accumulate)
  put(sums(v0, v1, v2, v3), y.row(row + 3) + output, accumulate)
}

/// How the inputs of a matrix of (inputs, outputs) are shared out among threads, whose sums are the same bits for any number of
/// them.
///
/// Eight stretches of inputs are summed each by itself and added in pairs, pairs in pairs. A thread takes one of the subtrees of
/// that sum: one stretch, two, four or all. Each task leaves its sums in memory, so few tasks leave it to the weights.
struct InputCut {
  /// Subtrees, one for each task.
  let parts: Int
  /// Additions on the way from a stretch of a part to its sum.
  let depth: Int
  private let inputs: Int
  private let stretch: Int

  private static let stretches = 8

  init(inputs: Int, threadCount: Int) {
    self.inputs = inputs
    stretch = max(16, ((inputs + InputCut.stretches - 1) / InputCut.stretches + 15) / 16 * 16)
    // Where threads are no power of two, eight tasks leave the least to wait for.
    parts =
      threadCount & (threadCount - 1) == 0 ? min(threadCount, InputCut.stretches) : InputCut.stretches
    depth = (InputCut.stretches / parts).trailingZeroBitCount
  }

  /// Adds up a part.
  ///
  /// - Parameters:
  ///   - leaf: replaces the sums of a buffer by those of some inputs.
  ///   - add: adds one buffer to another; the part's sum ends up in buffer 0 of `depth` + 1.
  func sum(_ part: Int, leaf: (Range<Int>, Int) -> Void, add: (Int, Int) -> Void) {
    let count = InputCut.stretches / parts
    func sum(_ stretches: Range<Int>, into target: Int) {
      if stretches.count == 1 {
        let start = min(stretches.lowerBound * stretch, inputs)
        return leaf(start..<min(start + stretch, inputs), target)
      }
      let middle = stretches.lowerBound + stretches.count / 2
      sum(stretches.lowerBound..<middle, into: target)
      guard middle * stretch < inputs else { return }
      sum(middle..<stretches.upperBound, into: target + 1)
      add(target + 1, target)
    }
    sum(part * count..<(part + 1) * count, into: 0)
  }

  /// Adds the parts in pairs, and pairs in pairs; the sum ends up in part 0.
  func join(_ add: (Int, Int) -> Void) {
    var step = 1
    while step < parts {
      for part in stride(from: 0, to: parts, by: 2 * step)
      where (part + step) * (InputCut.stretches / parts) * stretch < inputs {
        add(part + step, part)
      }
      step *= 2
    }
  }
}

/// A part of the sum y = x·W for a matrix of (inputs, outputs).
///
/// - Parameters:
///   - x: (R, inputs), R small.
///   - weights: (inputs, outputs), or some columns of a wider matrix.
///   - rowStride: floats from one row of the matrix to the next.
///   - inputs: the terms of the sum to add up.
///   - sums: (R, outputs), replaced by the partial sums.
// Inlined into the closure of a task, the loop for a single row loses a fifth of its speed.
@inline(never)
func sumFewRowsInputMajor(
  _ x: MatrixView, weights: UnsafePointer<Float>, rowStride: Int, inputs: Range<Int>, sums: MutableMatrixView
) {
  let outputs = sums.columns
  for row in 0..<x.rows { sums.row(row).update(repeating: 0, count: outputs) }
  var input = inputs.lowerBound
  // A single row's sums stay in registers too where asking ahead keeps the memory read in its order.
  if x.rows >= 2 || (WeightsAhead.distance > 0 && rowStride == outputs) {
    while inputs.upperBound - input >= 4 {
      let count = min(x.rows < 8 ? 8 : 16, (inputs.upperBound - input) / 4 * 4)
      addTiles(x, weights + input * rowStride, stride: rowStride, inputs: input..<input + count, sums: sums)
      input += count
    }
  }
  // One row of the matrix after the other: one stream.
  while input < inputs.upperBound {
    let w = weights + input * rowStride
    if x.rows == 1, WeightsAhead.distance > 0 {
      addRowAskingAhead(w, scaledBy: x.row(0)[input], to: sums.row(0), count: outputs)
    } else {
      for row in 0..<x.rows { addRow(w, scaledBy: x.row(row)[input], to: sums.row(row), count: outputs) }
    }
    input += 1
  }
}

/// `addRow`, asking for what comes later.
private func addRowAskingAhead(
  _ w: UnsafePointer<Float>, scaledBy scale: Float, to y: UnsafeMutablePointer<Float>, count: Int
) {
  let distance = WeightsAhead.distance
  let factor = FloatVector(repeating: scale)
  var index = 0
  while index + 16 <= count {
    ink_prefetch(UnsafeRawPointer(w + index) + distance)
    multiplyAdd(FloatVector(at: w + index), factor, FloatVector(at: y + index)).store(to: y + index)
    index &+= 16  // Safe: at most `count`.
  }
  if index < count { addRow(w + index, scaledBy: scale, to: y + index, count: count - index) }
}

/// Adds the terms of some inputs to several rows: tiles of 64 outputs by four rows or by one stay in registers over all of them.
///
/// Each sum is rounded as `addRow` rounds it, input by input.
private func addTiles(
  _ x: MatrixView, _ weights: UnsafePointer<Float>, stride: Int, inputs: Range<Int>, sums: MutableMatrixView
) {
  let outputs = sums.columns
  let next = weights + inputs.count * stride
  // A matrix that is not read from end to end is better off without.
  var ahead = stride > outputs ? LinesAhead(nothingAt: next) : LinesAhead(next, passes: x.rows / 4)
  var nothing = LinesAhead(nothingAt: next)
  var column = 0
  while outputs - column >= 64 {
    var row = 0
    while row < x.rows {
      if x.rows - row >= 4 {
        addTile4x64(
          x.row(row) + inputs.lowerBound, x.rowStride, weights + column, stride: stride,
          count: inputs.count, to: sums.row(row) + column, sums.rowStride, &ahead)
        row += 4
      } else {
        func multiply(_ ahead: inout LinesAhead) {
          addTile1x64(
            x.row(row) + inputs.lowerBound, weights + column, stride: stride, count: inputs.count,
            to: sums.row(row) + column, &ahead)
        }
        // Of two or three rows the first asks.
        if row == 0 { multiply(&ahead) } else { multiply(&nothing) }
        row += 1
      }
    }
    column += 64
  }
  while column < outputs {
    let width = min(16, outputs - column)
    for row in 0..<x.rows {
      addTile1x16(
        x.row(row) + inputs.lowerBound, weights + column, stride: stride, count: inputs.count,
        to: sums.row(row) + column, width: width)
    }
    column += width
  }
}

/// 64 outputs of four rows.  y[r] += Σ x[r, t]·w[t], the terms in the order of t
///
/// - Parameter ahead: weights to ask for on the way.
func addTile4x64(
  _ x: UnsafePointer<Float>, _ xStride: Int, _ w: UnsafePointer<Float>, stride: Int, count: Int,
  to y: UnsafeMutablePointer<Float>, _ yStride: Int, _ ahead: inout LinesAhead
) {
  let (x1, x2, x3) = (x + xStride, x + 2 * xStride, x + 3 * xStride)
  let (y1, y2, y3) = (y + yStride, y + 2 * yStride, y + 3 * yStride)
  @inline(__always)
  func load(_ p: UnsafePointer<Float>) -> (FloatVector, FloatVector, FloatVector, FloatVector) {
    (FloatVector(at: p), FloatVector(at: p + 16), FloatVector(at: p + 32), FloatVector(at: p + 48))
  }
  @inline(__always)
  func store(
    _ v: (FloatVector, FloatVector, FloatVector, FloatVector), _ p: UnsafeMutablePointer<Float>
  ) {
    v.0.store(to: p)
    v.1.store(to: p + 16)
    v.2.store(to: p + 32)
    v.3.store(to: p + 48)
  }
  var (a0, a1, a2, a3) = load(y)
  var (b0, b1, b2, b3) = load(y1)
  var (c0, c1, c2, c3) = load(y2)
  var (d0, d1, d2, d3) = load(y3)
  var p = w
  var lines = ahead
  defer { ahead = lines }
  for index in 0..<count {
    lines.ask()
    let (v0, v1, v2, v3) = load(p)
    let (e, f) = (FloatVector(repeating: x[index]), FloatVector(repeating: x1[index]))
    let (g, h) = (FloatVector(repeating: x2[index]), FloatVector(repeating: x3[index]))
    a0 = multiplyAdd(e, v0, a0)
    a1 = multiplyAdd(e, v1, a1)
    a2 = multiplyAdd(e, v2, a2)
    a3 = multiplyAdd(e, v3, a3)
    b0 = multiplyAdd(f, v0, b0)
    b1 = multiplyAdd(f, v1, b1)
    b2 = multiplyAdd(f, v2, b2)
    b3 = multiplyAdd(f, v3, b3)
    c0 = multiplyAdd(g, v0, c0)
    c1 = multiplyAdd(g, v1, c1)
    c2 = multiplyAdd(g, v2, c2)
    c3 = multiplyAdd(g, v3, c3)
    d0 = multiplyAdd(h, v0, d0)
    d1 = multiplyAdd(h, v1, d1)
    d2 = multiplyAdd(h, v2, d2)
    d3 = multiplyAdd(h, v3, d3)
    p += stride
  }
  store((a0, a1, a2, a3), y)
  store((b0, b1, b2, b3), y1)
  store((c0, c1, c2, c3), y2)
  store((d0, d1, d2, d3), y3)
}

/// 64 outputs of one row, each with the bits of `addTile4x64`.
func addTile1x64(
  _ x: UnsafePointer<Float>, _ w: UnsafePointer<Float>, stride: Int, count: Int,
  to y: UnsafeMutablePointer<Float>, _ ahead: inout LinesAhead
) {
  var (a, b) = (FloatVector(at: y), FloatVector(at: y + 16))
  var (c, d) = (FloatVector(at: y + 32), FloatVector(at: y + 48))
  var p = w
  var lines = ahead
  defer { ahead = lines }
  for index in 0..<count {
    lines.ask()
    let e = FloatVector(repeating: x[index])
    a = multiplyAdd(e, FloatVector(at: p), a)
    b = multiplyAdd(e, FloatVector(at: p + 16), b)
    c = multiplyAdd(e, FloatVector(at: p + 32), c)
    d = multiplyAdd(e, FloatVector(at: p + 48), d)
    p += stride
  }
  a.store(to: y)
  b.store(to: y + 16)
  c.store(to: y + 32)
  d.store(to: y + 48)
}

/// Up to 16 outputs of one row, each with the bits of `addTile4x64`.
func addTile1x16(
  _ x: UnsafePointer<Float>, _ w: UnsafePointer<Float>, stride: Int, count: Int,
  to y: UnsafeMutablePointer<Float>, width: Int
) {
  var p = w
  if width == 16 {
    var sum = FloatVector(at: y)
    for index in 0..<count {
      sum = multiplyAdd(FloatVector(repeating: x[index]), FloatVector(at: p), sum)
      p += stride
    }
    sum.store(to: y)
  } else {
    var sum = FloatVector(at: y, count: width)
    for index in 0..<count {
      sum = multiplyAdd(FloatVector(repeating: x[index]), FloatVector(at: p, count: width), sum)
      p += stride
    }
    sum.store(to: y, count: width)
  }
}
