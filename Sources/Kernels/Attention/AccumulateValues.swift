/// Adds weighted values to a few rows.  y[r] += Σ w[r, t]·v[t]
///
/// The terms of a row are added in the order of t, one by one, whatever rows stand beside it.
///
/// - Parameters:
///   - weights: (rows, count), rows `stride` apart.
///   - values: (count, dimension).
///   - y: (rows, dimension).
func accumulateValues(
  _ weights: UnsafePointer<Float>, stride: Int, rows: Int, values: UnsafePointer<Float>, count: Int,
  dimension: Int, into y: UnsafeMutablePointer<Float>
) {
  var row = 0
  while row < rows {
    let isQuad = rows - row >= 4
    let w = weights + row * stride
    let target = y + row * dimension
    var channel = 0
    while dimension - channel >= 64 {
      if isQuad {
        addQuad(
          w, stride: stride, values + channel, count: count, dimension: dimension, into: target + channel)
      } else {
        addSingle(w, values + channel, count: count, dimension: dimension, into: target + channel)
      }
      channel += 64
    }
    while channel < dimension {
      let width = min(16, dimension - channel)
      for offset in 0..<(isQuad ? 4 : 1) {
        addNarrow(
          w + offset * stride, values + channel, count: count, dimension: dimension,
          into: target + offset * dimension + channel, width: width)
      }
      channel += width
    }
    row += isQuad ? 4 : 1
  }
}

/// 64 channels of four rows.
private func addQuad(
  _ weights: UnsafePointer<Float>, stride: Int, _ values: UnsafePointer<Float>, count: Int, dimension: Int,
  into y: UnsafeMutablePointer<Float>
) {
  let (y1, y2, y3) = (y + dimension, y + 2 * dimension, y + 3 * dimension)
  let (w1, w2, w3) = (weights + stride, weights + 2 * stride, weights + 3 * stride)
  var (a0, a1, a2, a3) = load64(y)
  var (b0, b1, b2, b3) = load64(y1)
  var (c0, c1, c2, c3) = load64(y2)
  var (d0, d1, d2, d3) = load64(y3)
  var v = values
  for index in 0..<count {
    let (v0, v1, v2, v3) = load64(v)
    let (wa, wb) = (FloatVector(repeating: weights[index]), FloatVector(repeating: w1[index]))
    let (wc, wd) = (FloatVector(repeating: w2[index]), FloatVector(repeating: w3[index]))
    a0 = multiplyAdd(wa, v0, a0)
    a1 = multiplyAdd(wa, v1, a1)
    a2 = multiplyAdd(wa, v2, a2)
    a3 = multiplyAdd(wa, v3, a3)
    b0 = multiplyAdd(wb, v0, b0)
    b1 = multiplyAdd(wb, v1, b1)
    b2 = multiplyAdd(wb, v2, b2)
    b3 = multiplyAdd(wb, v3, b3)
    c0 = multiplyAdd(wc, v0, c0)
    c1 = multiplyAdd(wc, v1, c1)
    c2 = multiplyAdd(wc, v2, c2)
    c3 = multiplyAdd(wc, v3, c3)
    d0 = multiplyAdd(wd, v0, d0)
    d1 = multiplyAdd(wd, v1, d1)
    d2 = multiplyAdd(wd, v2, d2)
    d3 = multiplyAdd(wd, v3, d3)
    v += dimension
  }
  store64((a0, a1, a2, a3), y)
  store64((b0, b1, b2, b3), y1)
  store64((c0, c1, c2, c3), y2)
  store64((d0, d1, d2, d3), y3)
}

/// 64 channels of one row.
private func addSingle(
  _ weights: UnsafePointer<Float>, _ values: UnsafePointer<Float>, count: Int, dimension: Int,
  into y: UnsafeMutablePointer<Float>
) {
  var (a0, a1, a2, a3) = load64(y)
  var v = values
  for index in 0..<count {
    let (v0, v1, v2, v3) = load64(v)
    let w = FloatVector(repeating: weights[index])
    a0 = multiplyAdd(w, v0, a0)
    a1 = multiplyAdd(w, v1, a1)
    a2 = multiplyAdd(w, v2, a2)
    a3 = multiplyAdd(w, v3, a3)
    v += dimension
  }
  store64((a0, a1, a2, a3), y)
}

/// Up to 16 channels of one row.
private func addNarrow(
  _ weights: UnsafePointer<Float>, _ values: UnsafePointer<Float>, count: Int, dimension: Int,
  into y: UnsafeMutablePointer<Float>, width: Int
) {
  var v = values
  if width == 16 {
    var sum = FloatVector(at: y)
    for index in 0..<count {
      sum = multiplyAdd(FloatVector(repeating: weights[index]), FloatVector(at: v), sum)
      v += dimension
    }
    sum.store(to: y)
  } else {
    var sum = FloatVector(at: y, count: width)
    for index in 0..<count {
      sum = multiplyAdd(FloatVector(repeating: weights[index]), FloatVector(at: v, count: width), sum)
      v += dimension
    }
    sum.store(to: y, count: width)
  }
}

@inline(__always)
private func load64(
  _ x: UnsafePointer<Float>
) -> (FloatVector, FloatVector, FloatVector, FloatVector) {
  (FloatVector(at: x), FloatVector(at: x + 16), FloatVector(at: x + 32), FloatVector(at: x + 48))
}

@inline(__always)
private func store64(
  _ x: (FloatVector, FloatVector, FloatVector, FloatVector), _ y: UnsafeMutablePointer<Float>
) {
  x.0.store(to: y)
  x.1.store(to: y + 16)
  x.2.store(to: y + 32)
  x.3.store(to: y + 48)
}

/// The naive twin of `accumulateValues`.
func accumulateValuesReference(
  _ weights: UnsafePointer<Float>, stride: Int, rows: Int, values: UnsafePointer<Float>, count: Int,
  dimension: Int, into y: UnsafeMutablePointer<Float>
) {
  for row in 0..<rows {
    for index in 0..<count {
      for channel in 0..<dimension {
        y[row * dimension + channel] += weights[row * stride + index] * values[index * dimension + channel]
      }
    }
  }
}
