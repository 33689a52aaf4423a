import CIntrinsics

// Products of a few rows with a large matrix: the matrix is read from memory once, and that read is most of the time there
// is. `Benchmarks/README.md` has the measurements that set the limits.

/// Rows of x up to which the kernels of this file take over from a GEMM.
func fewRowsLimit(_ layout: LinearWeight.Layout) -> Int {
  switch layout {
  case .outputMajor: 16
  case .inputMajor: 8
  }
}

/// Some outputs of y = x·Wᵀ for a matrix of (outputs, inputs).
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
  while output < outputs.upperBound {
    let count = min(4, outputs.upperBound - output)
    let w = weights + output * x.columns
    var row = 0
    // A block of four outputs stays in the first cache while all rows pass over it.
    while row < x.rows {
      let rows = count == 4 ? min(4, x.rows - row) : 1
      switch (count, rows) {
      case (4, 4): dots4x4(x, row, w, output, y, accumulate)
      case (4, 3):
        dots4x2(x, row, w, output, y, accumulate)
        dots4x1(x, row + 2, w, output, y, accumulate)
      case (4, 2): dots4x2(x, row, w, output, y, accumulate)
      case (4, _): dots4x1(x, row, w, output, y, accumulate)
      default:
        for index in 0..<count {
          let sum = dot(x.row(row), w + index * x.columns, count: x.columns)
          put(sum, y.row(row) + output + index, accumulate)
        }
      }
      row += rows
    }
    output += count
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

/// Σ a[i]·b[i], added up in the order in which the kernels for four outputs add: how outputs are grouped changes no bit.
private func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, count: Int) -> Float {
  var s = FloatVector.zero
  let whole = count & ~15
  var index = 0
  while index < whole {
    s = multiplyAdd(FloatVector(at: a + index), FloatVector(at: b + index), s)
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    let rest = count - whole
    s = multiplyAdd(FloatVector(at: a + whole, count: rest), FloatVector(at: b + whole, count: rest), s)
  }
  return sum(s)
}

/// Four outputs of one row.
private func dots4x1(
  _ x: MatrixView, _ row: Int, _ w: UnsafePointer<Float>, _ output: Int, _ y: MutableMatrixView,
  _ accumulate: Bool
) {
  let count = x.columns
  let a = x.row(row)
  let (w1, w2, w3) = (w + count, w + 2 * count, w + 3 * count)
  var (s0, s1, s2, s3) = (FloatVector.zero, FloatVector.zero, FloatVector.zero, FloatVector.zero)
  let whole = count & ~15
  var index = 0  // Every addition to it is safe: it stays within `count`.
  while index < whole {
    let v = FloatVector(at: a + index)
    s0 = multiplyAdd(v, FloatVector(at: w + index), s0)
    s1 = multiplyAdd(v, FloatVector(at: w1 + index), s1)
    s2 = multiplyAdd(v, FloatVector(at: w2 + index), s2)
    s3 = multiplyAdd(v, FloatVector(at: w3 + index), s3)
    index &+= 16
  }
  if whole < count {
    let rest = count - whole
    let v = FloatVector(at: a + whole, count: rest)
    s0 = multiplyAdd(v, FloatVector(at: w + whole, count: rest), s0)
    s1 = multiplyAdd(v, FloatVector(at: w1 + whole, count: rest), s1)
    s2 = multiplyAdd(v, FloatVector(at: w2 + whole, count: rest), s2)
    s3 = multiplyAdd(v, FloatVector(at: w3 + whole, count: rest), s3)
  }
  let target = y.row(row) + output
  put(sum(s0), target, accumulate)
  put(sum(s1), target + 1, accumulate)
  put(sum(s2), target + 2, accumulate)
  put(sum(s3), target + 3, accumulate)
}

/// Four outputs of two rows.
private func dots4x2(
  _ x: MatrixView, _ row: Int, _ w: UnsafePointer<Float>, _ output: Int, _ y: MutableMatrixView,
  _ accumulate: Bool
) {
  let count = x.columns
  let (a, b) = (x.row(row), x.row(row + 1))
  let (w1, w2, w3) = (w + count, w + 2 * count, w + 3 * count)
  var (s0, s1, s2, s3) = (FloatVector.zero, FloatVector.zero, FloatVector.zero, FloatVector.zero)
  var (t0, t1, t2, t3) = (FloatVector.zero, FloatVector.zero, FloatVector.zero, FloatVector.zero)
  let whole = count & ~15
  @inline(__always)
  func step(
    _ u: FloatVector, _ v: FloatVector, _ m0: FloatVector, _ m1: FloatVector, _ m2: FloatVector,
    _ m3: FloatVector
  ) {
    s0 = multiplyAdd(u, m0, s0)
    s1 = multiplyAdd(u, m1, s1)
    s2 = multiplyAdd(u, m2, s2)
    s3 = multiplyAdd(u, m3, s3)
    t0 = multiplyAdd(v, m0, t0)
    t1 = multiplyAdd(v, m1, t1)
    t2 = multiplyAdd(v, m2, t2)
    t3 = multiplyAdd(v, m3, t3)
  }
  var index = 0
  while index < whole {
    step(
      FloatVector(at: a + index), FloatVector(at: b + index), FloatVector(at: w + index),
      FloatVector(at: w1 + index), FloatVector(at: w2 + index), FloatVector(at: w3 + index))
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    let rest = count - whole
    step(
      FloatVector(at: a + whole, count: rest), FloatVector(at: b + whole, count: rest),
      FloatVector(at: w + whole, count: rest), FloatVector(at: w1 + whole, count: rest),
      FloatVector(at: w2 + whole, count: rest), FloatVector(at: w3 + whole, count: rest))
  }
  let (first, second) = (y.row(row) + output, y.row(row + 1) + output)
  put(sum(s0), first, accumulate)
  put(sum(s1), first + 1, accumulate)
  put(sum(s2), first + 2, accumulate)
  put(sum(s3), first + 3, accumulate)
  put(sum(t0), second, accumulate)
  put(sum(t1), second + 1, accumulate)
  put(sum(t2), second + 2, accumulate)
  put(sum(t3), second + 3, accumulate)
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

/// Four outputs of four rows; lines of the weights that come later are asked for on the way.
private func dots4x4(
  _ x: MatrixView, _ row: Int, _ w: UnsafePointer<Float>, _ output: Int, _ y: MutableMatrixView,
  _ accumulate: Bool
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
  let ahead = 8 * count
  var index = 0
  while index < whole {
    ink_prefetch(w + (ahead + index))
    ink_prefetch(w1 + (ahead + index))
    ink_prefetch(w2 + (ahead + index))
    ink_prefetch(w3 + (ahead + index))
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

/// A part of the sum y = x·W for a matrix of (inputs, outputs).
///
/// - Parameters:
///   - x: (R, inputs), R small.
///   - weights: (inputs, outputs).
///   - inputs: the terms of the sum to add up.
///   - sums: (R, outputs), replaced by the partial sums.
func sumFewRowsInputMajor(
  _ x: MatrixView, weights: UnsafePointer<Float>, inputs: Range<Int>, sums: MutableMatrixView
) {
  let outputs = sums.columns
  for row in 0..<x.rows { sums.row(row).update(repeating: 0, count: outputs) }
  var input = inputs.lowerBound
  if x.rows >= 4 {
    while inputs.upperBound - input >= 4 {
      let count = min(16, (inputs.upperBound - input) / 4 * 4)
      addTiles(x, weights + input * outputs, inputs: input..<input + count, sums: sums)
      input += count
    }
  }
  while input < inputs.upperBound {
    let count = min(4, inputs.upperBound - input)
    let w = weights + input * outputs
    if count == 4 {
      // Some columns at a time, so that the four rows of W are in the first cache when the next row of x comes.
      var column = 0
      while column < outputs {
        let width = min(1024, outputs - column)
        var row = 0
        while row < x.rows {
          if row + 2 <= x.rows {
            add4x2(
              x.row(row) + input, x.row(row + 1) + input, w + column, stride: outputs,
              to: sums.row(row) + column, sums.row(row + 1) + column, count: width)
            row += 2
          } else {
            add4(x.row(row) + input, w + column, stride: outputs, to: sums.row(row) + column, count: width)
            row += 1
          }
        }
        column += width
      }
    } else {
      for index in 0..<count {
        for row in 0..<x.rows {
          addRow(w + index * outputs, scaledBy: x.row(row)[input + index], to: sums.row(row), count: outputs)
        }
      }
    }
    input += count
  }
}

/// Adds the terms of some inputs to four rows and more: tiles of 64 outputs by four rows stay in registers over all of them.
///
/// Each sum is rounded as `add4` rounds it, input by input.
private func addTiles(
  _ x: MatrixView, _ weights: UnsafePointer<Float>, inputs: Range<Int>, sums: MutableMatrixView
) {
  let outputs = sums.columns
  var column = 0
  while outputs - column >= 64 {
    // The lines of a later tile, four of each row of weights, are asked for on the way.
    let later = weights + min(column + 256, outputs - 64)
    var row = 0
    while row < x.rows {
      if x.rows - row >= 4 {
        addTile4x64(
          x.row(row) + inputs.lowerBound, x.rowStride, weights + column, stride: outputs,
          count: inputs.count, to: sums.row(row) + column, sums.rowStride, later: row == 0 ? later : nil)
        row += 4
      } else {
        addTile1x64(
          x.row(row) + inputs.lowerBound, weights + column, stride: outputs, count: inputs.count,
          to: sums.row(row) + column)
        row += 1
      }
    }
    column += 64
  }
  while column < outputs {
    let width = min(16, outputs - column)
    for row in 0..<x.rows {
      addTile1x16(
        x.row(row) + inputs.lowerBound, weights + column, stride: outputs, count: inputs.count,
        to: sums.row(row) + column, width: width)
    }
    column += width
  }
}

/// 64 outputs of four rows.  y[r] += Σ x[r, t]·w[t], the terms in the order of t
///
/// - Parameter later: weights to ask for on the way.
func addTile4x64(
  _ x: UnsafePointer<Float>, _ xStride: Int, _ w: UnsafePointer<Float>, stride: Int, count: Int,
  to y: UnsafeMutablePointer<Float>, _ yStride: Int, later: UnsafePointer<Float>?
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
  var q = later ?? w
  for index in 0..<count {
    if later != nil {
      ink_prefetch(q)
      ink_prefetch(q + 16)
      ink_prefetch(q + 32)
      ink_prefetch(q + 48)
      q += stride
    }
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
  to y: UnsafeMutablePointer<Float>
) {
  var (a, b) = (FloatVector(at: y), FloatVector(at: y + 16))
  var (c, d) = (FloatVector(at: y + 32), FloatVector(at: y + 48))
  var p = w
  for index in 0..<count {
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

/// y += x₀·w₀ + x₁·w₁ + x₂·w₂ + x₃·w₃.
@inline(__always)
private func add4(
  _ x: UnsafePointer<Float>, _ w: UnsafePointer<Float>, stride: Int, to y: UnsafeMutablePointer<Float>,
  count: Int
) {
  let (x0, x1, x2, x3) = (
    FloatVector(repeating: x[0]), FloatVector(repeating: x[1]), FloatVector(repeating: x[2]),
    FloatVector(repeating: x[3])
  )
  let (w1, w2, w3) = (w + stride, w + 2 * stride, w + 3 * stride)
  let whole = count & ~15
  var index = 0
  while index < whole {
    var s = FloatVector(at: y + index)
    s = multiplyAdd(x0, FloatVector(at: w + index), s)
    s = multiplyAdd(x1, FloatVector(at: w1 + index), s)
    s = multiplyAdd(x2, FloatVector(at: w2 + index), s)
    s = multiplyAdd(x3, FloatVector(at: w3 + index), s)
    s.store(to: y + index)
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    let rest = count - whole
    var s = FloatVector(at: y + whole, count: rest)
    s = multiplyAdd(x0, FloatVector(at: w + whole, count: rest), s)
    s = multiplyAdd(x1, FloatVector(at: w1 + whole, count: rest), s)
    s = multiplyAdd(x2, FloatVector(at: w2 + whole, count: rest), s)
    s = multiplyAdd(x3, FloatVector(at: w3 + whole, count: rest), s)
    s.store(to: y + whole, count: rest)
  }
}

/// y += x₀·w₀ + x₁·w₁ + x₂·w₂ + x₃·w₃ for two rows x and y, each rounded as `add4` rounds it.
@inline(__always)
private func add4x2(
  _ x: UnsafePointer<Float>, _ u: UnsafePointer<Float>, _ w: UnsafePointer<Float>, stride: Int,
  to y: UnsafeMutablePointer<Float>, _ z: UnsafeMutablePointer<Float>, count: Int
) {
  @inline(__always)
  func all(_ value: Float) -> FloatVector { FloatVector(repeating: value) }
  let (x0, x1, x2, x3) = (all(x[0]), all(x[1]), all(x[2]), all(x[3]))
  let (u0, u1, u2, u3) = (all(u[0]), all(u[1]), all(u[2]), all(u[3]))
  let (w1, w2, w3) = (w + stride, w + 2 * stride, w + 3 * stride)
  @inline(__always)
  func sums(
    _ s: FloatVector, _ t: FloatVector, _ m0: FloatVector, _ m1: FloatVector, _ m2: FloatVector,
    _ m3: FloatVector
  ) -> (FloatVector, FloatVector) {
    (
      multiplyAdd(x3, m3, multiplyAdd(x2, m2, multiplyAdd(x1, m1, multiplyAdd(x0, m0, s)))),
      multiplyAdd(u3, m3, multiplyAdd(u2, m2, multiplyAdd(u1, m1, multiplyAdd(u0, m0, t))))
    )
  }
  let whole = count & ~15
  var index = 0
  while index < whole {
    let (s, t) = sums(
      FloatVector(at: y + index), FloatVector(at: z + index), FloatVector(at: w + index),
      FloatVector(at: w1 + index), FloatVector(at: w2 + index), FloatVector(at: w3 + index))
    s.store(to: y + index)
    t.store(to: z + index)
    index &+= 16  // Safe: at most `count`.
  }
  if whole < count {
    let rest = count - whole
    let (s, t) = sums(
      FloatVector(at: y + whole, count: rest), FloatVector(at: z + whole, count: rest),
      FloatVector(at: w + whole, count: rest), FloatVector(at: w1 + whole, count: rest),
      FloatVector(at: w2 + whole, count: rest), FloatVector(at: w3 + whole, count: rest))
    s.store(to: y + whole, count: rest)
    t.store(to: z + whole, count: rest)
  }
}
