import Kernels

/// A place in the forward pass whose result can be looked at.
public enum ActivationPoint: Sendable, Hashable {
  /// Token plus position embeddings, (R, C).
  case embedding
  /// The input of attention after its norm, (R, C).
  case attentionInput(layer: Int)
  /// Queries, keys and values, (R, (H + 2G)·D).
  case queryKeyValue(layer: Int)
  /// What attention gathered, before its output map, (R, H·D).
  case attended(layer: Int)
  /// The residual stream after attention, (R, C).
  case afterAttention(layer: Int)
  /// The input of the feed-forward block after its norm, (R, C).
  case feedForwardInput(layer: Int)
  /// After the nonlinearity, (R, inner).
  case activated(layer: Int)
  /// The block's output, (R, C).
  case block(layer: Int)
  /// After the final norm, (R, C).
  case finalNorm
}

/// Receives results of a forward pass; the view is valid during the call only.
public typealias ActivationObserver = (ActivationPoint, MatrixView) -> Void

/// What one forward pass works on: R tokens, where they stand, and what they attend to.
struct ForwardPass {
  /// R token ids.
  var tokens: [Int]
  /// R positions, from 0.
  var positions: [Int]
  /// Where the rows' keys and values are kept.
  var writes: [KeyValueRun]
  /// What the rows attend to.
  var plan: AttentionPlan
}

extension Decoder {
  /// The decoder's equations, in the order in which they are computed.
  ///
  /// - Parameters:
  ///   - scored: the rows whose logits are wanted.
  ///   - logits: (scored, V).
  /// - SeeAlso: Radford et al. 2019; arXiv:1706.03762
  func forward(
    _ pass: ForwardPass, engine: any ComputeEngine, buffers: ActivationBuffers, cache: KeyValueCache,
    scored: Range<Int>, logits: MutableMatrixView, observe: ActivationObserver? = nil
  ) {
    let rows = pass.tokens.count
    let shape = configuration.attention
    let epsilon = configuration.normalizationEpsilon
    let x = buffers.residual(rows)
    let normalized = buffers.normalized(rows)
    let queryKeyValue = buffers.queryKeyValue(rows)
    let queries = queryKeyValue.columns(0..<shape.queryWidth)
    let keys = queryKeyValue.columns(shape.queryWidth..<shape.queryWidth + shape.keyValueWidth)
    let values = queryKeyValue.columns(
      shape.queryWidth + shape.keyValueWidth..<shape.queryWidth + 2 * shape.keyValueWidth)
    let attended = buffers.attended(rows)
    let hidden = buffers.feedForward(rows)

    // x = E[token] + P[position]
    let channels = configuration.hiddenSize
    let tokens = MatrixView(weights.tokenEmbedding, rows: configuration.vocabularySize, columns: channels)
    let positions = MatrixView(
      weights.positionEmbedding, rows: configuration.contextLength, columns: channels)
    engine.embed(pass.tokens, table: tokens, into: x, accumulate: false)
    engine.embed(pass.positions, table: positions, into: x, accumulate: true)
    observe?(.embedding, x.readOnly)

    for (index, block) in weights.blocks.enumerated() {
      let layer = cache.layer(index)

      // q, k, v = norm(x)·W + b
      engine.layerNorm(
        x.readOnly, weight: block.attentionNorm.weight, bias: block.attentionNorm.bias, epsilon: epsilon,
        into: normalized)
      observe?(.attentionInput(layer: index), normalized.readOnly)
      engine.linear(normalized.readOnly, block.queryKeyValue, into: queryKeyValue, epilogue: .store)
      observe?(.queryKeyValue(layer: index), queryKeyValue.readOnly)

      // x += (softmax(s·q·Kᵀ)·V)·W + b
      engine.store(
        keys: keys.readOnly, values: values.readOnly, in: layer, at: pass.writes, shape: shape)
      engine.attention(
        queries: queries.readOnly, layer: layer, plan: pass.plan, shape: shape,
        scale: configuration.attentionScale(layer: index), into: attended)
      observe?(.attended(layer: index), attended.readOnly)
      engine.linear(attended.readOnly, block.attentionOutput, into: x, epilogue: .add)
      observe?(.afterAttention(layer: index), x.readOnly)

      // x += f(norm(x)·W + b)·W + b
      engine.layerNorm(
        x.readOnly, weight: block.feedForwardNorm.weight, bias: block.feedForwardNorm.bias, epsilon: epsilon,
        into: normalized)
      observe?(.feedForwardInput(layer: index), normalized.readOnly)
      engine.linear(
        normalized.readOnly, block.feedForwardInput, into: hidden,
        epilogue: .activate(configuration.activation))
      observe?(.activated(layer: index), hidden.readOnly)
      engine.linear(hidden.readOnly, block.feedForwardOutput, into: x, epilogue: .add)
      observe?(.block(layer: index), x.readOnly)
    }

    // logits = norm(x)·Wᵀ, for the rows that are asked for
    let wanted = observe == nil ? scored : 0..<rows
    engine.layerNorm(
      x.rows(wanted).readOnly, weight: weights.finalNorm.weight, bias: weights.finalNorm.bias,
      epsilon: epsilon,
      into: normalized.rows(wanted))
    observe?(.finalNorm, normalized.readOnly)
    guard !scored.isEmpty else { return }
    engine.linear(normalized.rows(scored).readOnly, weights.head, into: logits, epilogue: .store)
  }
}
