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
  var nothing = LinesAhead(nothingAt: values)
  var row = 0
  while row < rows {
    let isQuad = rows - row >= 4
    let w = weights + row * stride
    let target = y + row * dimension
    var channel = 0
    while dimension - channel >= 64 {
      if isQuad {
        addTile4x64(
          w, stride, values + channel, stride: dimension, count: count, to: target + channel, dimension,
          &nothing)
      } else {
        addTile1x64(w, values + channel, stride: dimension, count: count, to: target + channel, &nothing)
      }
      channel += 64
    }
    while channel < dimension {
      let width = min(16, dimension - channel)
      for offset in 0..<(isQuad ? 4 : 1) {
        addTile1x16(
          w + offset * stride, values + channel, stride: dimension, count: count,
          to: target + offset * dimension + channel, width: width)
      }
      channel += width
    }
    row += isQuad ? 4 : 1
  }
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
