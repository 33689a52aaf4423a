import Kernels

/// A place in the forward pass whose result can be looked at.
public enum ActivationPoint: Sendable, Hashable {
  /// What the first block reads, (R, C).
  case embedding
  /// The input of attention after its norm, (R, C).
  case attentionInput(layer: Int)
  /// Queries, keys and values, normalised and turned, (R, (H + 2G)·D).
  case queryKeyValue(layer: Int)
  /// What attention gathered, before its output map, (R, H·D).
  case attended(layer: Int)
  /// The residual stream after attention, (R, C); in a parallel block that is not yet the input of anything.
  case afterAttention(layer: Int)
  /// The input of the feed-forward block after its norm, (R, C).
  case feedForwardInput(layer: Int)
  /// After the nonlinearity, (R, inner); not in a mixture of experts.
  case activated(layer: Int)
  /// The block's output, (R, C).
  case block(layer: Int)
  /// After the final norm, (R, C), and after the map to the embedding's channels where there is one.
  case finalNorm
}

/// Receives results of a forward pass; the view is valid during the call only.
public typealias ActivationObserver = (ActivationPoint, MatrixView) -> Void

/// What one forward pass works on: R tokens, where they stand, and what they attend to.
package struct ForwardPass {
  /// R token ids.
  package var tokens: [Int] = []
  /// R positions, from 0.
  package var positions: [Int] = []
  /// All rows, in order: those of one sequence, or of sequences that share their beginning, make a segment.
  package var segments: [AttentionSegment] = []
  /// For each segment, the length of its sequences, which some rotary embeddings depend on.
  package var sequenceLengths: [Int] = []
  /// Rows whose scores are wanted, where these do not follow one another.
  package var scoredRows: [Int] = []
  /// The blocks that are run where not the whole model is, scores left out.
  var blocks: Range<Int>?
  /// The residual stream before the first of `blocks`, (R, C); the embedding's where there is none.
  var residual: MatrixView?

  /// A pass without rows.
  package init() {}

  package init(tokens: [Int], positions: [Int], sequenceLengths: [Int], segments: [AttentionSegment]) {
    self.tokens = tokens
    self.positions = positions
    self.sequenceLengths = sequenceLengths
    self.segments = segments
  }
}

extension Decoder {
  /// The decoder's equations, in the order in which they are computed.
  ///
  /// Legend: R rows, C channels, H query heads, G key/value heads, D head dimension, V vocabulary.
  ///
  /// - Parameters:
  ///   - engine: computes, and in training remembers what it computed.
  ///   - storage: where intermediate results go.
  ///   - scored: the rows whose logits are wanted, unless the pass has `scoredRows`.
  ///   - logits: (scored, V).
  /// - SeeAlso: Radford et al. 2019; arXiv:1706.03762; arXiv:2302.13971
  package func forward(
    _ pass: ForwardPass, engine: any ComputeEngine, storage: any ActivationStorage,
    scored: Range<Int>, logits: MutableMatrixView,
    observe: ActivationObserver? = nil
  ) {
    let rows = pass.tokens.count
    let shape = configuration.attention
    let placement = configuration.normalization.placement
    /// Whether weights that have not been read yet are as they should be; if not, the pass ends and its session throws.
    func areUsable(_ stage: Int) -> Bool { weights.checks?.pass(stage, engine.pool) ?? true }

    /// norm(x), or x itself where there is no norm.
    func normalized(
      _ x: MutableMatrixView, _ norm: NormalizationWeight?, _ role: ActivationRole
    ) -> MutableMatrixView {
      guard let norm else { return x }
      let y = storage.matrix(role, x.rows, x.columns)
      engine.normalize(x.readOnly, norm, into: y)
      return y
    }

    /// x += s·norm(y·W + b), or x = norm(x + s·(y·W + b)).
    func addBranch(
      _ norm: NormalizationWeight?, to x: MutableMatrixView,
      _ compute: (MutableMatrixView, LinearEpilogue) -> Void
    ) {
      let scale = configuration.residualScale
      if scale == 1, norm == nil || placement == .afterResidual {
        compute(x, .add)
      } else {
        let branch = storage.matrix(.branch, x.rows, x.columns)
        compute(branch, .store)
        if let norm, placement != .afterResidual { engine.normalize(branch.readOnly, norm, into: branch) }
        engine.add(branch.readOnly, scaledBy: scale, to: x)
      }
      if let norm, placement == .afterResidual { engine.normalize(x.readOnly, norm, into: x) }
    }

    // x = s·E[token] + P[position]
    guard areUsable(0) else { return }
    let x: MutableMatrixView
    if let residual = pass.residual {
      x = storage.matrix(.residual, rows, configuration.hiddenSize)
      engine.copy(residual, into: x)
    } else {
      x = embed(pass, engine: engine, storage: storage)
    }
    // Before the first point: training that recomputes begins its first block there, and keeps what was made by then.
    let rotations = rotations(for: pass, storage: storage)
    if pass.residual == nil { observe?(.embedding, x.readOnly) }

    for index in pass.blocks ?? weights.blocks.indices {
      guard areUsable(index + 1) else { return }
      let block = weights.blocks[index]
      // q, k, v = norm(x)·W + b
      let attentionInput = normalized(x, block.attentionNorm, .attentionInput)
      observe?(.attentionInput(layer: index), attentionInput.readOnly)
      let queryKeyValue = storage.matrix(.queryKeyValue, rows, shape.queryWidth + 2 * shape.keyValueWidth)
      engine.linear(attentionInput.readOnly, block.queryKeyValue, into: queryKeyValue, epilogue: .store)
      let queries = queryKeyValue.columns(0..<shape.queryWidth)
      let keys = queryKeyValue.columns(shape.queryWidth..<shape.queryWidth + shape.keyValueWidth)
      let values = queryKeyValue.columns(
        shape.queryWidth + shape.keyValueWidth..<shape.queryWidth + 2 * shape.keyValueWidth)

      // q, k = norm(q), norm(k), turned by their positions
      if let norm = block.queryNorm { normalizeHeads(queries, norm, engine: engine) }
      if let norm = block.keyNorm { normalizeHeads(keys, norm, engine: engine) }
      if let rotary = configuration.layers[index].rotary {
        let (cosines, sines) = rotations[rotary]
        for heads in [queries, keys] {
          engine.rotate(
            heads, cosines: cosines, sines: sines, dimension: shape.headDimension,
            pairing: configuration.rotaryEmbeddings[rotary].pairing)
        }
      }
      observe?(.queryKeyValue(layer: index), queryKeyValue.readOnly)

      // a = softmax(score(q, K))·V
      let attended = storage.matrix(.attended, rows, shape.queryWidth)
      engine.store(
        keys: keys.readOnly, values: values.readOnly, segments: pass.segments, layer: index, shape: shape)
      engine.attention(
        queries: queries.readOnly, segments: pass.segments, layer: index, shape: shape,
        scoring: configuration.attentionScoring(layer: index), into: attended)
      observe?(.attended(layer: index), attended.readOnly)

      // A parallel block's feed-forward maps read what attention reads, not what it writes.
      let parallelInput =
        configuration.isParallel
        ? block.feedForwardNorm.map { normalized(x, $0, .feedForwardInput) } ?? attentionInput : nil

      // x += a·W + b
      if configuration.residualFollowsNorm { engine.copy(attentionInput.readOnly, into: x) }
      addBranch(block.attentionPostNorm, to: x) { target, epilogue in
        engine.linear(attended.readOnly, block.attentionOutput, into: target, epilogue: epilogue)
      }
      observe?(.afterAttention(layer: index), x.readOnly)

      // x += f(norm(x)·W + b)·W + b
      let feedForwardInput = parallelInput ?? normalized(x, block.feedForwardNorm, .feedForwardInput)
      observe?(.feedForwardInput(layer: index), feedForwardInput.readOnly)
      if configuration.residualFollowsNorm { engine.copy(feedForwardInput.readOnly, into: x) }
      addBranch(block.feedForwardPostNorm, to: x) { target, epilogue in
        switch block.feedForward {
        case .dense(let maps):
          let activated = activated(feedForwardInput.readOnly, maps, engine: engine, storage: storage)
          observe?(.activated(layer: index), activated.readOnly)
          engine.linear(activated.readOnly, maps.output, into: target, epilogue: epilogue)
        case .experts(let router, let experts):
          mix(
            feedForwardInput.readOnly, router, experts, into: target, epilogue: epilogue, engine: engine,
            storage: storage)
        }
      }
      observe?(.block(layer: index), x.readOnly)
    }
    guard pass.blocks == nil else { return }

    // logits = cap(s·norm(x)·Wᵀ), for the rows that are asked for
    var last = x
    var (scored, wanted) = (scored, observe == nil ? scored : 0..<rows)
    if !pass.scoredRows.isEmpty {
      precondition(observe == nil, "rows are looked at where they follow one another")
      last = storage.matrix(.scored, pass.scoredRows.count, x.columns)
      engine.gather(x.readOnly, rows: pass.scoredRows, into: last)
      scored = 0..<last.rows
      wanted = scored
    }
    guard !wanted.isEmpty, areUsable(PendingChecks.last) else { return }
    var output = normalized(last.rows(wanted), weights.finalNorm, .finalNorm)
    if let projection = weights.outputProjection {
      let projected = storage.matrix(.outputProjection, output.rows, projection.outputs)
      engine.linear(output.readOnly, projection, into: projected, epilogue: .store)
      output = projected
    }
    observe?(.finalNorm, output.readOnly)
    guard !scored.isEmpty else { return }
    output = output.rows(scored.lowerBound - wanted.lowerBound..<scored.upperBound - wanted.lowerBound)
    engine.linear(output.readOnly, weights.head, into: logits, epilogue: .store)
    if configuration.logitScale != 1 { engine.scale(logits, by: configuration.logitScale) }
    if let cap = configuration.logitSoftCap { engine.softCap(logits, cap: cap) }
  }

  // MARK: Parts

  /// s·E[token] + P[position], normalised and mapped to the residual stream where the model does that.
  private func embed(
    _ pass: ForwardPass, engine: any ComputeEngine, storage: any ActivationStorage
  ) -> MutableMatrixView {
    let rows = pass.tokens.count
    let x = storage.matrix(.residual, rows, configuration.hiddenSize)
    func look(_ y: MutableMatrixView) {
      switch weights.embedding {
      case .packed(let table): engine.embed(pass.tokens, table: table, into: y)
      case .floats(let values):
        engine.embed(
          pass.tokens,
          table: MatrixView(
            values, rows: configuration.vocabularySize, columns: configuration.embeddingSize),
          into: y, accumulate: false)
        weights.unseenEmbedding?.lookAtRows(y.readOnly)
      }
    }
    if let projection = weights.embeddingProjection {
      let narrow = storage.matrix(.embedding, rows, configuration.embeddingSize)
      look(narrow)
      if configuration.embeddingScale != 1 { engine.scale(narrow, by: configuration.embeddingScale) }
      engine.linear(narrow.readOnly, projection, into: x, epilogue: .store)
    } else {
      look(x)
      if configuration.embeddingScale != 1 { engine.scale(x, by: configuration.embeddingScale) }
    }
    if let positions = configuration.learnedPositions, let embedding = weights.positionEmbedding {
      engine.embed(
        pass.positions,
        table: MatrixView(
          embedding + positions.offset * configuration.hiddenSize, rows: positions.count,
          columns: configuration.hiddenSize), into: x, accumulate: true)
    }
    if let norm = weights.embeddingNorm { engine.normalize(x.readOnly, norm, into: x) }
    return x
  }

  /// Cosines and sines of the rows' positions, for each rotary embedding.
  private func rotations(
    for pass: ForwardPass, storage: any ActivationStorage
  ) -> [(cosines: MatrixView, sines: MatrixView)] {
    let embeddings = configuration.rotaryEmbeddings
    guard !embeddings.isEmpty else { return [] }
    let rows = pass.tokens.count
    // One piece of memory for all, because each is needed until the last block.
    let total = embeddings.reduce(0) { $0 + $1.dimension / 2 }
    let cosines = storage.matrix(.cosines, rows, total)
    let sines = storage.matrix(.sines, rows, total)
    var start = 0
    return embeddings.enumerated().map { index, embedding in
      let columns = start..<start + embedding.dimension / 2
      start = columns.upperBound
      let (cosine, sine) = (cosines.columns(columns), sines.columns(columns))
      if let frequencies = fixedFrequencies[index] {
        embedding.fill(
          positions: pass.positions[...], frequencies: frequencies, cosines: cosine, sines: sine)
      } else {
        for (segment, length) in zip(pass.segments, pass.sequenceLengths) {
          embedding.fill(
            positions: pass.positions[segment.rows],
            frequencies: embedding.inverseFrequencies(sequenceLength: length),
            cosines: cosine.rows(segment.rows), sines: sine.rows(segment.rows))
        }
      }
      return (cosine.readOnly, sine.readOnly)
    }
  }

  private func normalizeHeads(_ x: MutableMatrixView, _ norm: NormalizationWeight, engine: any ComputeEngine)
  {
    let dimension = configuration.attention.headDimension
    switch configuration.queryKeyNormalization?.extent {
    case .head: engine.normalizeHeads(x, norm, dimension: dimension, weightStride: 0)
    case .ownHead: engine.normalizeHeads(x, norm, dimension: dimension, weightStride: dimension)
    case .all: engine.normalize(x.readOnly, norm, into: x)
    case nil: preconditionFailure("a norm of queries or keys that the configuration does not know")
    }
  }

  /// f(x·W + b), or f(x·W₁ + b₁)·(x·W₂ + b₂).
  private func activated(
    _ x: MatrixView, _ maps: FeedForwardMaps, engine: any ComputeEngine, storage: any ActivationStorage
  ) -> MutableMatrixView {
    let inner = maps.output.inputs
    let activated = storage.matrix(.activated, x.rows, inner)
    if configuration.isGated {
      let both = storage.matrix(.gated, x.rows, 2 * inner)
      engine.linear(x, maps.input, into: both, epilogue: .store)
      engine.activateGated(
        gate: both.columns(0..<inner).readOnly, up: both.columns(inner..<2 * inner).readOnly, into: activated,
        activation: configuration.activation)
    } else {
      engine.linear(x, maps.input, into: activated, epilogue: .activate(configuration.activation))
    }
    return activated
  }

  /// Σ share·expert(x) over the experts that the router chooses for each row.
  ///
  /// - SeeAlso: arXiv:2401.04088
  private func mix(
    _ x: MatrixView, _ router: LinearWeight, _ experts: [FeedForwardMaps], into y: MutableMatrixView,
    epilogue: LinearEpilogue, engine: any ComputeEngine, storage: any ActivationStorage
  ) {
    guard let settings = configuration.experts else { preconditionFailure("experts without a configuration") }
    let scores = storage.matrix(.router, x.rows, experts.count)
    engine.linear(x, router, into: scores, epilogue: .store)
    let shares = engine.route(
      scores, count: settings.perToken, isNormalized: settings.normalizesShares)
    var rows = [[Int]](repeating: [], count: experts.count)
    var weights = [[Float]](repeating: [], count: experts.count)
    for (index, share) in shares.enumerated() {
      rows[share.expert].append(index / settings.perToken)
      weights[share.expert].append(share.share)
    }
    if epilogue == .store { engine.clear(y) }
    for (expert, maps) in experts.enumerated() where !rows[expert].isEmpty {
      let input = storage.matrix(.expertInput, rows[expert].count, x.columns)
      engine.gather(x, rows: rows[expert], into: input)
      let activated = activated(input.readOnly, maps, engine: engine, storage: storage)
      let output = storage.matrix(.expertOutput, rows[expert].count, y.columns)
      engine.linear(activated.readOnly, maps.output, into: output, epilogue: .store)
      engine.scatterAdd(output.readOnly, rows: rows[expert], shares: weights[expert], to: y)
    }
  }
}
