import Kernels

extension DecoderConfiguration {
  /// What another configuration computes otherwise, in the field's terms; nothing when their numbers are equal.
  ///
  /// Numbers may differ by rounding; names, special tokens and how many positions the model was trained for do not
  /// count.
  func differences(from other: DecoderConfiguration) -> [String] {
    var found: [String] = []
    func check(_ name: String, _ isSame: Bool) { if !isSame { found.append(name) } }
    func near(_ left: Float, _ right: Float) -> Bool {
      abs(left - right) <= 1e-6 * max(abs(left), abs(right))
    }
    func near(_ left: Float?, _ right: Float?) -> Bool {
      guard let left, let right else { return left == right }
      return near(left, right) as Bool
    }
    check("vocabulary", vocabularySize == other.vocabularySize)
    check(
      "sizes",
      hiddenSize == other.hiddenSize && layerCount == other.layerCount && embeddingSize == other.embeddingSize
        && feedForwardSize == other.feedForwardSize && attention == other.attention)
    check("embedding scale", near(embeddingScale, other.embeddingScale))
    check("embedding norm", normalizesEmbedding == other.normalizesEmbedding)
    check("learned positions", learnedPositions == other.learnedPositions)
    check(
      "attention scale",
      near(attentionScale, other.attentionScale)
        && scalesAttentionByInverseLayer == other.scalesAttentionByInverseLayer)
    check("soft cap of attention", near(attentionSoftCap, other.attentionSoftCap))
    check("linear position biases", positionBias == other.positionBias)
    check("norms of queries and keys", queryKeyNormalization == other.queryKeyNormalization)
    check("norms", normalization == other.normalization && hasFinalNorm == other.hasFinalNorm)
    check(
      "order of the parts of a block",
      isParallel == other.isParallel && sharesParallelNorm == other.sharesParallelNorm
        && residualFollowsNorm == other.residualFollowsNorm)
    check("residual scale", near(residualScale, other.residualScale))
    check("activation \(activation.rawValue)", activation == other.activation && isGated == other.isGated)
    check("experts", experts == other.experts && layers.map(\.hasExperts) == other.layers.map(\.hasExperts))
    check("biases", biases == other.biases)
    check("logit scale", near(logitScale, other.logitScale) && near(logitSoftCap, other.logitSoftCap))
    check("tied embeddings", tiesWordEmbeddings == other.tiesWordEmbeddings)
    check("attention windows", layers.map(\.window) == other.layers.map(\.window))
    func rotary(_ configuration: DecoderConfiguration, _ layer: Int) -> RotaryEmbedding? {
      configuration.layers[layer].rotary.map { configuration.rotaryEmbeddings[$0] }
    }
    check(
      "rotary positions",
      layers.count == other.layers.count
        && layers.indices.allSatisfy { layer in
          switch (rotary(self, layer), rotary(other, layer)) {
          case (nil, nil): true
          case (let left?, let right?): left.turnsAlike(right, upTo: 4 * contextLength)
          default: false
          }
        })
    return found
  }
}

extension RotaryEmbedding {
  /// Whether two embeddings turn alike, to rounding, in sequences of up to `length` positions.
  func turnsAlike(_ other: RotaryEmbedding, upTo length: Int) -> Bool {
    if self == other { return true }
    guard dimension == other.dimension, pairing == other.pairing,
      abs(attentionFactor - other.attentionFactor) <= 1e-6 * abs(attentionFactor)
    else { return false }
    // Where one of them changes with the length, on both sides of that place.
    let places = [stableLength, other.stableLength].compactMap { $0 }.flatMap { [$0, $0 + 1] }
    return ([1, length] + places).allSatisfy { place in
      zip(inverseFrequencies(sequenceLength: place), other.inverseFrequencies(sequenceLength: place))
        .allSatisfy { abs($0 - $1) <= 1e-6 * abs($0) }
    }
  }
}
