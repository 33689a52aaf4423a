import Kernels

/// The weight and bias of a normalisation, (C) each.
public struct NormalizationWeight: @unchecked Sendable {
  // Safe: nothing writes through the pointers after loading.

  /// γ.
  public let weight: UnsafePointer<Float>
  /// β.
  public let bias: UnsafePointer<Float>?
}

/// The weights of one block.
public struct BlockWeights: Sendable {
  /// Before attention.
  public let attentionNorm: NormalizationWeight
  /// C → Q|K|V, one product for the three.
  public let queryKeyValue: LinearWeight
  /// H·D → C.
  public let attentionOutput: LinearWeight
  /// Before the feed-forward maps.
  public let feedForwardNorm: NormalizationWeight
  /// C → inner.
  public let feedForwardInput: LinearWeight
  /// Inner → C.
  public let feedForwardOutput: LinearWeight
}

/// Every weight of a decoder, where it lies in memory.
public struct DecoderWeights: @unchecked Sendable {
  // Safe: nothing writes through the pointers after loading; `owners` keeps the memory.

  /// (V, C).
  public let tokenEmbedding: UnsafePointer<Float>
  /// (positions, C).
  public let positionEmbedding: UnsafePointer<Float>
  /// The blocks, in order.
  public let blocks: [BlockWeights]
  /// After the last block.
  public let finalNorm: NormalizationWeight
  /// C → V.
  public let head: LinearWeight
  /// Whether the head is the token embedding.
  public let isHeadTied: Bool
  /// Mapped files and converted copies that the pointers lead into.
  let owners: [AnyObject]
}
