import Kernels
import Transformer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

extension ParameterArena {
  /// Draws weights for a model that has learned nothing.
  ///
  /// Matrices and tables are normal with standard deviation σ; maps that write to the residual stream with σ/√(2L),
  /// so that the stream's variance does not grow with the L blocks. Norms begin as identities, biases at 0.
  ///
  /// - Parameters:
  ///   - decoder: the decoder of this arena.
  ///   - deviation: σ.
  ///   - seed: the same seed gives the same weights, whatever the number of threads.
  /// - SeeAlso: Radford et al. 2019, section 2.3
  func initialize(_ decoder: Decoder, deviation: Double, seed: UInt64, pool: WorkerPool) {
    let configuration = decoder.configuration
    var residual = Set<UnsafePointer<Float>>()
    for block in decoder.weights.blocks {
      residual.insert(block.attentionOutput.values)
      if case .dense(let maps) = block.feedForward { residual.insert(maps.output.values) }
    }
    let narrow = deviation / (2 * Double(configuration.layerCount)).squareRoot()
    for (index, slot) in slots.enumerated() {
      let target = values.base + slot.start
      switch slot.parameter.kind {
      case .matrix, .embedding:
        // The last sites of a step that never is: no mask of dropout draws the same numbers.
        let stream = PhiloxStream(seed: seed, step: -1, site: UInt32(index))
        let scale = residual.contains(target) ? narrow : deviation
        pool.run(slot.parameter.count, grain: 4096) { range in
          drawNormal(stream, deviation: scale, range: range, into: target, count: slot.parameter.count)
        }
      case .normWeight:
        let identity =
          norms(of: decoder).first { $0.weight == UnsafePointer(target) }.map { 1 - $0.offset } ?? 1
        target.update(repeating: identity, count: slot.parameter.count)
      case .bias: target.update(repeating: 0, count: slot.parameter.count)
      }
    }
  }

  private func norms(of decoder: Decoder) -> [NormalizationWeight] {
    let weights = decoder.weights
    return [weights.embeddingNorm, weights.finalNorm].compactMap { $0 }
      + weights.blocks.flatMap { block in
        [
          block.attentionNorm, block.queryNorm, block.keyNorm, block.attentionPostNorm, block.feedForwardNorm,
          block.feedForwardPostNorm,
        ].compactMap { $0 }
      }
  }
}

/// Normal numbers, four to a counter, by the method of Box and Muller.
private func drawNormal(
  _ stream: PhiloxStream, deviation: Double, range: Range<Int>, into y: UnsafeMutablePointer<Float>,
  count: Int
) {
  var index = range.lowerBound
  while index < range.upperBound {
    let words = stream.words(UInt64(index / 4))
    var values = SIMD4<Double>.zero
    for pair in 0..<2 {
      let radius = (-2 * log((Double(words[2 * pair]) + 1) / 0x1p32)).squareRoot()
      let angle = 2 * Double.pi * Double(words[2 * pair + 1]) / 0x1p32
      values[2 * pair] = radius * cos(angle)
      values[2 * pair + 1] = radius * sin(angle)
    }
    let end = min(range.upperBound, (index / 4 + 1) * 4)
    while index < end {
      y[index] = Float(values[index % 4] * deviation)
      index += 1
    }
  }
}
