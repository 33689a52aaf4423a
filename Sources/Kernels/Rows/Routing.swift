/// Chooses the experts of each row.
///
/// - Parameters:
///   - x: (rows, experts); becomes its softmax.
///   - count: experts per row; at most all.
///   - isNormalized: whether the shares of a row are divided by their sum.
///   - softmax: turns a row of so many scores into weights, in place.
/// - Returns: row after row, `count` experts each, the largest share first.
/// - SeeAlso: arXiv:2401.04088
func route(
  _ x: MutableMatrixView, count: Int, isNormalized: Bool,
  _ softmax: (UnsafeMutablePointer<Float>, Int) -> Void
) -> [ExpertShare] {
  precondition(count > 0 && count <= x.columns, "\(count) of \(x.columns) experts")
  var shares: [ExpertShare] = []
  shares.reserveCapacity(x.rows * count)
  for row in 0..<x.rows {
    let weights = x.row(row)
    softmax(weights, x.columns)
    let first = shares.count
    for _ in 0..<count {
      let taken = shares[first...]
      var best: Int?
      for expert in 0..<x.columns where !taken.contains(where: { $0.expert == expert }) {
        // The first is taken even if it is NaN, so that there are always `count`.
        if best.map({ weights[expert] > weights[$0] }) ?? true { best = expert }
      }
      shares.append(ExpertShare(expert: best!, share: weights[best!]))
    }
    if isNormalized {
      let sum = shares[first...].reduce(0) { $0 + $1.share }
      for index in first..<shares.count {
        shares[index] = ExpertShare(expert: shares[index].expert, share: shares[index].share / sum)
      }
    }
  }
  return shares
}

/// Collects rows.  y[r] = x[rows[r]]
///
/// - Parameters:
///   - x: (any, C).
///   - y: (rows.count, C); does not overlap `x`.
func gather(_ x: MatrixView, rows: [Int], into y: MutableMatrixView) {
  precondition(
    rows.count == y.rows && x.columns == y.columns, "\(rows.count) rows into (\(y.rows), \(y.columns))")
  for (index, row) in rows.enumerated() {
    precondition(row >= 0 && row < x.rows, "row \(row) of \(x.rows)")
    y.row(index).update(from: x.row(row), count: x.columns)
  }
}
