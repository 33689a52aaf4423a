import Kernels

/// The weights of one block.
public struct BlockWeights: Sendable {
  /// Before attention.
  public let attentionNorm: NormalizationWeight?
  /// C → Q|K|V, one product for the three.
  public let queryKeyValue: LinearWeight
  /// Of queries.
  public let queryNorm: NormalizationWeight?
  /// Of keys.
  public let keyNorm: NormalizationWeight?
  /// H·D → C.
  public let attentionOutput: LinearWeight
  /// After attention.
  public let attentionPostNorm: NormalizationWeight?
  /// Before the feed-forward maps.
  public let feedForwardNorm: NormalizationWeight?
  /// The feed-forward maps, or several of which each token takes some.
  public let feedForward: FeedForwardWeights
  /// After the feed-forward maps.
  public let feedForwardPostNorm: NormalizationWeight?
}

/// The weights of a feed-forward block.
public enum FeedForwardWeights: Sendable {
  /// One pair of maps.
  case dense(FeedForwardMaps)
  /// A router, C → experts, and a pair of maps for each expert.
  case experts(router: LinearWeight, [FeedForwardMaps])
}

/// The two maps of a feed-forward block.
public struct FeedForwardMaps: Sendable {
  /// C → inner, or C → gate|up.
  public let input: LinearWeight
  /// Inner → C.
  public let output: LinearWeight
}

/// Every weight of a decoder, where it lies in memory.
public struct DecoderWeights: @unchecked Sendable {
  // Safe: inference never writes through the pointers; `owners` keeps the memory.

  /// (V, embedding channels).
  public let tokenEmbedding: UnsafePointer<Float>
  /// (offset + positions, C).
  public let positionEmbedding: UnsafePointer<Float>?
  /// After the embedding.
  public let embeddingNorm: NormalizationWeight?
  /// Embedding channels → C.
  public let embeddingProjection: LinearWeight?
  /// The blocks, in order.
  public let blocks: [BlockWeights]
  /// After the last block.
  public let finalNorm: NormalizationWeight?
  /// C → embedding channels.
  public let outputProjection: LinearWeight?
  /// Embedding channels → V.
  public let head: LinearWeight
  /// Whether the head is the token embedding.
  public let isHeadTied: Bool
  /// Mapped files and converted copies that the pointers lead into.
  let owners: [AnyObject]
}
