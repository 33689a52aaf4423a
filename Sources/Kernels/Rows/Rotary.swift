/// Which channels of a head form the pairs that a rotary embedding turns.
public enum RotaryPairing: Sendable, Equatable {
  /// Channel i with channel i + n/2 of the n that turn (GPT-NeoX, Llama in Hugging Face's layout).
  case halves
  /// Channel 2i with channel 2i + 1 (GPT-J, Cohere).
  case neighbours
}

/// Turns pairs of channels of each head by an angle that grows with the position, in place.
///
/// (a, b) ← (a·cos θ − b·sin θ, b·cos θ + a·sin θ)
///
/// - Parameters:
///   - x: (rows, heads·dimension).
///   - cosines: (rows, n/2), where the first n ≤ dimension channels of a head turn.
///   - sines: (rows, n/2).
///   - dimension: channels of a head.
/// - SeeAlso: arXiv:2104.09864
func rotate(
  _ x: MutableMatrixView, cosines: MatrixView, sines: MatrixView, dimension: Int, pairing: RotaryPairing
) {
  checkExtents(x, cosines, sines, dimension)
  let half = cosines.columns
  for row in 0..<x.rows {
    let (cosine, sine) = (cosines.row(row), sines.row(row))
    for head in 0..<x.columns / dimension {
      let values = x.row(row) + head * dimension
      switch pairing {
      case .halves: rotateHalves(values, cosine, sine, half)
      case .neighbours: rotateNeighbours(values, cosine, sine, half)
      }
    }
  }
}

private func rotateHalves(
  _ x: UnsafeMutablePointer<Float>, _ cosine: UnsafePointer<Float>, _ sine: UnsafePointer<Float>, _ half: Int
) {
  let whole = half & ~15
  var index = 0
  while index < whole {
    let (a, b) = (FloatVector(at: x + index), FloatVector(at: x + half + index))
    let (c, s) = (FloatVector(at: cosine + index), FloatVector(at: sine + index))
    (a * c - b * s).store(to: x + index)
    (b * c + a * s).store(to: x + half + index)
    index &+= 16  // Safe: at most `half`.
  }
  if whole < half {
    let rest = half - whole
    let a = FloatVector(at: x + whole, count: rest)
    let b = FloatVector(at: x + half + whole, count: rest)
    let c = FloatVector(at: cosine + whole, count: rest)
    let s = FloatVector(at: sine + whole, count: rest)
    (a * c - b * s).store(to: x + whole, count: rest)
    (b * c + a * s).store(to: x + half + whole, count: rest)
  }
}

private func rotateNeighbours(
  _ x: UnsafeMutablePointer<Float>, _ cosine: UnsafePointer<Float>, _ sine: UnsafePointer<Float>, _ half: Int
) {
  for index in 0..<half {
    let (a, b) = (x[2 * index], x[2 * index + 1])
    x[2 * index] = a * cosine[index] - b * sine[index]
    x[2 * index + 1] = b * cosine[index] + a * sine[index]
  }
}

/// The naive twin of `rotate`.
func rotateReference(
  _ x: MutableMatrixView, cosines: MatrixView, sines: MatrixView, dimension: Int, pairing: RotaryPairing
) {
  checkExtents(x, cosines, sines, dimension)
  let half = cosines.columns
  for row in 0..<x.rows {
    for head in 0..<x.columns / dimension {
      let values = x.row(row) + head * dimension
      for index in 0..<half {
        let (first, second) = pairing == .halves ? (index, index + half) : (2 * index, 2 * index + 1)
        let (a, b) = (values[first], values[second])
        values[first] = a * cosines.row(row)[index] - b * sines.row(row)[index]
        values[second] = b * cosines.row(row)[index] + a * sines.row(row)[index]
      }
    }
  }
}

private func checkExtents(
  _ x: MutableMatrixView, _ cosines: MatrixView, _ sines: MatrixView, _ dimension: Int
) {
  precondition(
    dimension > 0 && x.columns.isMultiple(of: dimension) && cosines.rows == x.rows && sines.rows == x.rows
      && cosines.columns == sines.columns && 2 * cosines.columns <= dimension,
    "(\(x.rows), \(x.columns)) in heads of \(dimension), turned by (\(cosines.rows), \(cosines.columns)) angles"
  )
}
