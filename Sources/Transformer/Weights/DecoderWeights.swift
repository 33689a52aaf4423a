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
  public let embedding: EmbeddingTable
  /// Told of rows that are looked up; nothing where the table has been looked through, or its reader looks.
  let unseenEmbedding: UnseenMatrix?
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
  /// What of them has not been read yet; nothing where all has.
  var checks: PendingChecks?

  /// (V, embedding channels) as floats.
  /// - Precondition: the table is not packed.
  public var tokenEmbedding: UnsafePointer<Float> { embedding.values }

  /// Bytes of the blocks' matrices; of a mixture those of the experts that one token takes.
  public func matrixByteCount(expertsPerToken: Int) -> Int {
    blocks.reduce(0) { total, block in
      let maps =
        switch block.feedForward {
        case .dense(let maps): maps.input.byteCount + maps.output.byteCount
        case .experts(let router, let experts):
          router.byteCount
            + experts.reduce(0) { $0 + $1.input.byteCount + $1.output.byteCount } * expertsPerToken
            / max(experts.count, 1)
        }
      return total + block.queryKeyValue.byteCount + block.attentionOutput.byteCount + maps
    } + (embeddingProjection?.byteCount ?? 0) + (outputProjection?.byteCount ?? 0)
  }

  /// What a report calls the weights: the type that was asked for, or the one that most of them have.
  public func typeName(_ format: WeightFormat) -> String {
    format == .asStored ? packedTypes.first?.type.rawValue ?? WeightFormat.float32.name : format.name
  }

  /// Bytes of all weights as they lie in memory.
  public func byteCount(of model: ModelDescription) -> Int {
    let counts = model.parameterCounts
    let table =
      switch embedding {
      case .packed(let table): table.byteCount
      case .floats: 4 * counts.tokenEmbedding
      }
    return matrixByteCount(expertsPerToken: model.configuration.experts?.count ?? 0) + table
      + (isHeadTied ? 0 : head.byteCount) + 4 * (counts.vectors + counts.positionEmbedding)
  }

  /// The types that matrices are packed in, with their bytes, largest first; what is left is `Float`.
  public var packedTypes: [(type: WeightType, byteCount: Int)] {
    var bytes: [WeightType: Int] = [:]
    func add(_ packed: PackedWeight) {
      for part in packed.parts { bytes[part.type, default: 0] += part.byteCount }
    }
    func add(_ weight: LinearWeight) { if case .packed(let packed) = weight.storage { add(packed) } }
    if case .packed(let table) = embedding, !isHeadTied { add(table) }
    for block in blocks {
      add(block.queryKeyValue)
      add(block.attentionOutput)
      switch block.feedForward {
      case .dense(let maps):
        add(maps.input)
        add(maps.output)
      case .experts(_, let experts):
        for maps in experts {
          add(maps.input)
          add(maps.output)
        }
      }
    }
    for weight in [embeddingProjection, outputProjection, head].compactMap({ $0 }) { add(weight) }
    return bytes.map { ($0.key, $0.value) }.sorted {
      ($1.byteCount, $0.type.rawValue) < ($0.byteCount, $1.type.rawValue)
    }
  }
}
