import Kernels
import Transformer

/// The fast engine with adapters beside the maps that have them: inference while adapters learn.
struct AdaptedEngine: ComputeEngine {
  let base: BLASEngine
  let adapters: AdapterSet

  var name: String { base.name }
  var threadCount: Int { base.threadCount }

  func linear(_ x: MatrixView, _ weight: LinearWeight, into y: MutableMatrixView, epilogue: LinearEpilogue) {
    let beside = adapters.adapters(of: weight)
    guard !beside.isEmpty else { return base.linear(x, weight, into: y, epilogue: epilogue) }
    base.linear(x, weight, into: y, epilogue: epilogue == .add ? .add : .store)
    for adapter in beside {
      let rank = adapter.a.outputs
      withUnsafeTemporaryAllocation(of: Float.self, capacity: x.rows * rank) { memory in
        let low = MutableMatrixView(memory.baseAddress!, rows: x.rows, columns: rank)
        base.linear(x, adapter.a, into: low, epilogue: .store)
        base.scale(low, by: adapter.scale)
        base.linear(low.readOnly, adapter.b, into: y.columns(adapter.outputs), epilogue: .add)
      }
    }
    if case .activate(let activation) = epilogue { activate(y, bias: nil, activation) }
  }

  func embed(_ ids: [Int], table: MatrixView, into y: MutableMatrixView, accumulate: Bool) {
    base.embed(ids, table: table, into: y, accumulate: accumulate)
  }

  func normalize(_ x: MatrixView, _ weight: NormalizationWeight, into y: MutableMatrixView) {
    base.normalize(x, weight, into: y)
  }

  func normalizeHeads(
    _ x: MutableMatrixView, _ weight: NormalizationWeight, dimension: Int, weightStride: Int
  ) { base.normalizeHeads(x, weight, dimension: dimension, weightStride: weightStride) }

  func rotate(
    _ x: MutableMatrixView, cosines: MatrixView, sines: MatrixView, dimension: Int, pairing: RotaryPairing
  ) { base.rotate(x, cosines: cosines, sines: sines, dimension: dimension, pairing: pairing) }

  func store(
    keys: MatrixView, values: MatrixView, segments: [AttentionSegment], layer: Int, shape: AttentionShape
  ) { base.store(keys: keys, values: values, segments: segments, layer: layer, shape: shape) }

  func attention(
    queries: MatrixView, segments: [AttentionSegment], layer: Int, shape: AttentionShape,
    scoring: AttentionScoring, into y: MutableMatrixView
  ) {
    base.attention(
      queries: queries, segments: segments, layer: layer, shape: shape, scoring: scoring, into: y)
  }

  func activateGated(
    gate: MatrixView, up: MatrixView, into y: MutableMatrixView, activation: Activation
  ) { base.activateGated(gate: gate, up: up, into: y, activation: activation) }

  func copy(_ x: MatrixView, into y: MutableMatrixView) { base.copy(x, into: y) }

  func clear(_ x: MutableMatrixView) { base.clear(x) }

  func add(_ x: MatrixView, scaledBy scale: Float, to y: MutableMatrixView) {
    base.add(x, scaledBy: scale, to: y)
  }

  func scale(_ x: MutableMatrixView, by scale: Float) { base.scale(x, by: scale) }

  func softCap(_ x: MutableMatrixView, cap: Float) { base.softCap(x, cap: cap) }

  func route(_ x: MutableMatrixView, count: Int, isNormalized: Bool) -> [ExpertShare] {
    base.route(x, count: count, isNormalized: isNormalized)
  }

  func gather(_ x: MatrixView, rows: [Int], into y: MutableMatrixView) { base.gather(x, rows: rows, into: y) }

  func scatterAdd(_ x: MatrixView, rows: [Int], shares: [Float], to y: MutableMatrixView) {
    base.scatterAdd(x, rows: rows, shares: shares, to: y)
  }
}
