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
    let rows = logits.count / vocabularySize
    var divergence = 0.0
    var agreements = 0
    logits.withUnsafeBufferPointer { logits in
      reference.withUnsafeBufferPointer { reference in
        for row in 0..<rows {
          let q = logits.baseAddress! + row * vocabularySize
          let p = reference.baseAddress! + row * vocabularySize
          let normalizerQ = logSumExp(q, count: vocabularySize)
          let normalizerP = logSumExp(p, count: vocabularySize)
          for token in 0..<vocabularySize where p[token] > -.infinity {
            let logP = Double(p[token]) - normalizerP
            divergence += exp(logP) * (logP - (Double(q[token]) - normalizerQ))
          }
          if argmax(p, count: vocabularySize) == argmax(q, count: vocabularySize) { agreements += 1 }
        }
      }
    }
    // Rounding can leave a sum of nothing slightly below zero.
    meanDivergence = max(0, divergence / Double(rows))
    agreement = Double(agreements) / Double(rows)
  }
}
