import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// How far two models' distributions over the next token are apart.
public struct DistributionDistance: Sendable, Equatable {
  /// Mean over positions of KL(reference ‖ this) = Σ p·(log p − log q), in nats.
  public let meanDivergence: Double
  /// Share of positions at which both find the same token best.
  public let agreement: Double

  /// Compares (T, V) logits, row by row.
  /// - Precondition: both have the same, whole number of rows, at least one.
  init(_ logits: [Float], reference: [Float], vocabularySize: Int) {
    precondition(
      logits.count == reference.count && !logits.isEmpty && logits.count.isMultiple(of: vocabularySize))
    var total = Total()
    logits.withUnsafeBufferPointer { logits in
      reference.withUnsafeBufferPointer { reference in
        for start in stride(from: 0, to: logits.count, by: vocabularySize) {
          total.add(
            RowDistance(
              logits.baseAddress! + start, reference: reference.baseAddress! + start, count: vocabularySize))
        }
      }
    }
    self.init(total)
  }

  /// The means of a total of at least one row.
  init(_ total: Total) {
    // Rounding can leave a sum of nothing slightly below zero.
    meanDivergence = max(0, total.divergence / Double(total.rows))
    agreement = Double(total.agreements) / Double(total.rows)
  }

  /// What rows add up to.
  struct Total {
    fileprivate var rows = 0
    fileprivate var divergence = 0.0
    fileprivate var agreements = 0

    mutating func add(_ row: RowDistance) {
      rows += 1
      divergence += row.divergence
      if row.agrees { agreements += 1 }
    }
  }
}

/// How far apart two distributions are.
struct RowDistance {
  /// KL(reference ‖ this) in nats.
  let divergence: Double
  /// Whether both find the same token best.
  let agrees: Bool

  /// Compares (V) logits.
  init(_ q: UnsafePointer<Float>, reference p: UnsafePointer<Float>, count: Int) {
    let normalizerQ = logSumExp(q, count: count)
    let normalizerP = logSumExp(p, count: count)
    var sum = 0.0
    for token in 0..<count where p[token] > -.infinity {
      let logP = Double(p[token]) - normalizerP
      sum += exp(logP) * (logP - (Double(q[token]) - normalizerQ))
    }
    divergence = sum
    agrees = argmax(p, count: count) == argmax(q, count: count)
  }
}
