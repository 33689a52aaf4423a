import Kernels
import Transformer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The operations of a model's forward pass in the shapes that a prompt and a single token give them.
struct OperationTable {
  private let configuration: DecoderConfiguration
  private let layout: LinearWeight.Layout
  private let engine: BLASEngine
  private let pool: WorkerPool
  private let naive = NaiveEngine()
  /// Weights that are not in a cache: every call takes the next ones.
  private let values: FloatArena

  /// Prepares operations of a model.
  ///
  /// - Parameters:
  ///   - layout: the order of the blocks' matrices.
  ///   - limits: whose threads the OpenBLAS path uses.
  init(configuration: DecoderConfiguration, layout: LinearWeight.Layout, limits: MachineLimits) {
    self.configuration = configuration
    self.layout = layout
    pool = limits.pool
    engine = BLASEngine(pool: limits.pool)
    let largest = max(
      configuration.vocabularySize * configuration.hiddenSize,
      configuration.feedForwardSize * configuration.hiddenSize)
    values = largest <= limits.values.count ? limits.values : FloatArena(count: largest, amplitude: 0.0625)
  }

  /// All of them, products first; each allocates its operands when it is called for.
  ///
  /// - Parameter promptLength: rows of the prompt's operations, at most the model's context.
  func operations(promptLength: Int) -> [() -> Operation] {
    let channels = configuration.hiddenSize
    let attention = configuration.attention
    let fused = attention.queryWidth + 2 * attention.keyValueWidth
    let inner = configuration.feedForwardSize
    let activate = LinearEpilogue.activate(configuration.activation)
    let lengths = [promptLength, min(2 * promptLength, configuration.contextLength)]
    let longer = lengths[1] > lengths[0] ? [lengths[1]] : []
    func products(_ rows: Int) -> [() -> Operation] {
      [
        { linear("QKV product", rows, channels, fused, layout, .store) },
        { linear("attention output product", rows, attention.queryWidth, channels, layout, .add) },
        { linear("feed-forward product 1", rows, channels, inner, layout, .store) },
        { linear("feed-forward product 2", rows, inner, channels, layout, .add) },
        { linear("head product", rows, channels, configuration.vocabularySize, .outputMajor, .store) },
      ]
    }
    var operations = products(promptLength)
    operations.append { linear("product 1 with activation", promptLength, channels, inner, layout, activate) }
    for length in [promptLength] + longer { operations.append { promptAttention(length) } }
    for length in [promptLength] + longer { operations.append { softmax(length) } }
    operations.append { layerNorm(promptLength) }
    operations.append { activation(promptLength) }
    operations += products(1)
    operations.append { stepAttention(positions: lengths[1]) }
    return operations
  }

  /// Bytes of the largest operation's operands.
  static func byteCount(_ configuration: DecoderConfiguration, promptLength: Int) -> Int {
    let length = Double(min(2 * promptLength, configuration.contextLength))
    let head = Double(promptLength) * Double(2 * configuration.vocabularySize + configuration.hiddenSize)
    let softmax = 3 * length * length * Double(configuration.attention.queryHeadCount)
    let inner = 3 * Double(promptLength) * Double(configuration.feedForwardSize)
    return Int(min(4 * max(head, softmax, inner), 0x1p62))
  }

  // MARK: Products

  private func linear(
    _ name: String, _ rows: Int, _ inputs: Int, _ outputs: Int, _ layout: LinearWeight.Layout,
    _ epilogue: LinearEpilogue
  ) -> Operation {
    let x = FloatArena(count: rows * inputs, amplitude: 1)
    let y = FloatArena(count: rows * outputs, amplitude: 0)
    let expected = FloatArena(count: rows * outputs, amplitude: 0)
    let bias = FloatArena(count: outputs, amplitude: 0.02)
    let size = inputs * outputs
    let rotation = Rotation(count: values.count / size, stride: size)
    func weight(_ offset: Int) -> LinearWeight {
      LinearWeight(
        values: values.base + offset, bias: bias.base, inputs: inputs, outputs: outputs, layout: layout)
    }
    let flops = 2 * Double(rows) * Double(size)
    return Operation(
      name: name, shape: "\(rows)×\(inputs)×\(outputs)",
      // One row multiplies each weight once: then memory is the limit.
      work: rows == 1 ? .bytesRead(Double(4 * size)) : .operations(flops),
      fast: {
        engine.linear(
          MatrixView(x.base, rows: rows, columns: inputs), weight(rotation.next()),
          into: MutableMatrixView(y.base, rows: rows, columns: outputs), epilogue: epilogue)
      },
      naive: { count in
        let sample = RowSample(count, of: rows)
        naive.linear(
          sample.view(x.base, columns: inputs), weight(rotation.next()),
          into: sample.mutableView(expected.base, columns: outputs), epilogue: epilogue)
      },
      rowCount: rows,
      verify: { count in
        for arena in [y, expected] { arena.base.update(repeating: 0, count: arena.count) }
        let sample = RowSample(count, of: rows)
        engine.linear(
          MatrixView(x.base, rows: rows, columns: inputs), weight(0),
          into: MutableMatrixView(y.base, rows: rows, columns: outputs), epilogue: epilogue)
        naive.linear(
          sample.view(x.base, columns: inputs), weight(0),
          into: sample.mutableView(expected.base, columns: outputs),
          epilogue: epilogue)
        // Rounding errors of k additions add up as a random walk, each at most half a unit of a partial sum, and no
        // partial sum exceeds ‖x‖·‖w‖ (Cauchy–Schwarz): √k·2⁻²⁴·‖x‖·‖w‖. The values are uniform, 1 and 1/16 at most.
        let k = Double(inputs)
        let norms = (k / 3).squareRoot() * 0.0625 * (k / 3).squareRoot()
        return Operation.Agreement(
          error: sample.largestDifference(y.base, expected.base, columns: outputs),
          tolerance: k.squareRoot() * 0x1p-24 * norms)
      })
  }

  // MARK: Attention

  /// Causal attention of a whole prompt over itself.
  private func promptAttention(_ length: Int) -> Operation {
    let shape = configuration.attention
    let keyValueSize = shape.keyValueWidth * length
    let queries = FloatArena(count: length * shape.queryWidth, amplitude: 1)
    let y = FloatArena(count: queries.count, amplitude: 0)
    let expected = FloatArena(count: queries.count, amplitude: 0)
    let cache = FloatArena(count: 2 * keyValueSize, amplitude: 1)
    // A function, so that whoever uses the layer keeps its memory.
    func layer() -> KeyValueLayer {
      KeyValueLayer(
        keys: cache.base, values: cache.base + keyValueSize,
        slotStride: length * shape.keyValueHeadCount, headStride: length)
    }
    func plan(_ positions: Int) -> AttentionPlan {
      AttentionPlan(sharedRuns: [KeyValueRun(slot: 0, start: 0, count: positions)], isCausal: true)
    }
    let pairs = Double(length) * Double(length + 1) / 2
    // The rows in the middle see as many positions as all rows do on average.
    func middle(_ count: Int) -> Range<Int> { (length - count) / 2..<(length - count) / 2 + count }
    func runNaive(_ rows: Range<Int>) {
      naive.attention(
        queries: MatrixView(queries.base, rows: length, columns: shape.queryWidth).rows(rows), layer: layer(),
        plan: plan(rows.upperBound), shape: shape,
        scoring: AttentionScoring(scale: configuration.attentionScale),
        into: MutableMatrixView(expected.base, rows: length, columns: shape.queryWidth).rows(rows))
    }
    func runFast() {
      engine.attention(
        queries: MatrixView(queries.base, rows: length, columns: shape.queryWidth), layer: layer(),
        plan: plan(length),
        shape: shape, scoring: AttentionScoring(scale: configuration.attentionScale),
        into: MutableMatrixView(y.base, rows: length, columns: shape.queryWidth))
    }
    return Operation(
      name: "attention", shape: "\(length) × \(shape.queryHeadCount) heads of \(shape.headDimension)",
      work: .operations(4 * Double(shape.queryWidth) * pairs), fast: runFast, naive: { runNaive(middle($0)) },
      rowCount: length,
      verify: { count in
        runFast()
        var error = 0.0
        for rows in [0..<min(count, length), middle(count), length - count..<length] {
          runNaive(rows)
          let offset = rows.lowerBound * shape.queryWidth
          error = max(
            error,
            RowSample(rows.count, of: rows.count).largestDifference(
              y.base + offset, expected.base + offset, columns: shape.queryWidth))
        }
        return Operation.Agreement(error: error, tolerance: attentionTolerance(length))
      })
  }

  /// Attention of one token over a filled cache, one layer after another so that none is in a cache of the CPU.
  private func stepAttention(positions: Int) -> Operation {
    let shape = configuration.attention
    let size = 2 * shape.keyValueWidth * positions
    let queries = FloatArena(count: shape.queryWidth, amplitude: 1)
    let y = FloatArena(count: shape.queryWidth, amplitude: 0)
    let expected = FloatArena(count: shape.queryWidth, amplitude: 0)
    let rotation = Rotation(count: max(1, values.count / size), stride: size)
    let memory = size <= values.count ? values : FloatArena(count: size, amplitude: 0.0625)
    func run(_ engine: any ComputeEngine, _ offset: Int, into y: FloatArena) {
      let keys = memory.base + offset
      engine.attention(
        queries: MatrixView(queries.base, rows: 1, columns: shape.queryWidth),
        layer: KeyValueLayer(
          keys: keys, values: keys + size / 2, slotStride: positions * shape.keyValueHeadCount,
          headStride: positions),
        plan: AttentionPlan(sharedRuns: [KeyValueRun(slot: 0, start: 0, count: positions)], isCausal: true),
        shape: shape, scoring: AttentionScoring(scale: configuration.attentionScale),
        into: MutableMatrixView(y.base, rows: 1, columns: shape.queryWidth))
    }
    return Operation(
      name: "attention", shape: "1 × \(positions) × \(shape.queryHeadCount) heads",
      work: .bytesRead(Double(4 * size)), fast: { run(engine, rotation.next(), into: y) },
      naive: { _ in run(naive, rotation.next(), into: expected) }, rowCount: 1,
      verify: { _ in
        run(engine, 0, into: y)
        run(naive, 0, into: expected)
        return Operation.Agreement(
          error: RowSample(1, of: 1).largestDifference(y.base, expected.base, columns: shape.queryWidth),
          tolerance: attentionTolerance(positions))
      })
  }

  /// Outputs are weighted means of values up to 1; the weights carry the rounding of their scores and of their sum
  /// over T terms, and the mean that of T additions: some √T·2⁻²⁴ each.
  private func attentionTolerance(_ positions: Int) -> Double { 4 * Double(positions).squareRoot() * 0x1p-24 }

  // MARK: Rows

  private func softmax(_ length: Int) -> Operation {
    let rows = length * configuration.attention.queryHeadCount
    return inPlace(
      "softmax", rows: rows, columns: length, amplitude: 8, tolerance: 2e-6,
      fast: { x in
        pool.run(rows, grain: max(1, 16_384 / length)) {
          for row in $0 { softmaxRow(x + row * length, into: x + row * length, count: length) }
        }
      },
      naive: { view in
        for row in 0..<view.rows { softmaxRowReference(view.row(row), into: view.row(row), count: length) }
      })
  }

  private func activation(_ rows: Int) -> Operation {
    let columns = configuration.feedForwardSize
    let activation = configuration.activation
    // Two units in the last place of results up to 8.
    return inPlace(
      "activation, \(activation.rawValue)", rows: rows, columns: columns, amplitude: 8, tolerance: 2e-6,
      fast: { x in
        pool.run(rows, grain: max(1, 16_384 / columns)) {
          activate(MutableMatrixView(x, rows: rows, columns: columns).rows($0), bias: nil, activation)
        }
      },
      naive: { activateReference($0, bias: nil, activation) })
  }

  private func layerNorm(_ rows: Int) -> Operation {
    let columns = configuration.hiddenSize
    let weight = FloatArena(count: columns, amplitude: 1)
    let bias = FloatArena(count: columns, amplitude: 1)
    func run(_ engine: any ComputeEngine, _ x: MutableMatrixView) {
      // Made here, so that this function keeps the memory of both.
      let norm = NormalizationWeight(
        kind: .layerNorm, weight: weight.base, bias: bias.base, epsilon: configuration.normalization.epsilon)
      engine.normalize(x.readOnly, norm, into: x)
    }
    return inPlace(
      "layer norm", rows: rows, columns: columns, amplitude: 4,
      // The naive mean and variance carry √n·2⁻²⁴ of relative error; results are below 4.
      tolerance: 8 * Double(columns).squareRoot() * 0x1p-24,
      fast: { run(engine, MutableMatrixView($0, rows: rows, columns: columns)) }, naive: { run(naive, $0) })
  }

  /// An operation on rows in place: what it overwrites is put back, untimed, before each call.
  private func inPlace(
    _ name: String, rows: Int, columns: Int, amplitude: Float, tolerance: Double,
    fast: @escaping (UnsafeMutablePointer<Float>) -> Void, naive: @escaping (MutableMatrixView) -> Void
  ) -> Operation {
    let source = FloatArena(count: rows * columns, amplitude: amplitude)
    let x = FloatArena(count: rows * columns, amplitude: 0)
    let expected = FloatArena(count: rows * columns, amplitude: 0)
    func restore(_ target: FloatArena) { target.base.update(from: source.base, count: source.count) }
    return Operation(
      name: name, shape: "\(rows)×\(columns)", work: .floatsPassed(rows * columns), prepare: { restore(x) },
      fast: { fast(x.base) },
      naive: { naive(RowSample($0, of: rows).mutableView(x.base, columns: columns)) }, rowCount: rows,
      verify: { count in
        restore(x)
        restore(expected)
        let sample = RowSample(count, of: rows)
        fast(x.base)
        naive(sample.mutableView(expected.base, columns: columns))
        return Operation.Agreement(
          error: sample.largestDifference(x.base, expected.base, columns: columns), tolerance: tolerance)
      })
  }
}

/// Rows spread evenly over a matrix, the last one among them.
struct RowSample {
  let count: Int
  let first: Int
  let step: Int

  /// Chooses `count` of `all` rows; an odd distance, so that they fall on all places within a kernel's blocks.
  init(_ count: Int, of all: Int) {
    self.count = min(max(count, 1), all)
    let distance = max(1, all / self.count)
    step = distance > 1 && distance.isMultiple(of: 2) ? distance - 1 : distance
    first = all - 1 - (self.count - 1) * step
  }

  func view(_ base: UnsafePointer<Float>, columns: Int) -> MatrixView {
    MatrixView(base + first * columns, rows: count, columns: columns, rowStride: step * columns)
  }

  func mutableView(_ base: UnsafeMutablePointer<Float>, columns: Int) -> MutableMatrixView {
    MutableMatrixView(base + first * columns, rows: count, columns: columns, rowStride: step * columns)
  }

  /// The largest difference of two matrices in these rows; infinite where one has a NaN.
  func largestDifference(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, columns: Int) -> Double {
    let (a, b) = (view(a, columns: columns), view(b, columns: columns))
    var largest: Float = 0
    for row in 0..<count {
      for column in 0..<columns {
        let difference = abs(a.row(row)[column] - b.row(row)[column])
        guard !difference.isNaN else { return .infinity }
        largest = max(largest, difference)
      }
    }
    return Double(largest)
  }
}

/// Offsets of one operand after another, around and around.
private final class Rotation {
  private let count: Int
  private let stride: Int
  private var index = 0

  init(count: Int, stride: Int) {
    self.count = max(1, count)
    self.stride = stride
  }

  func next() -> Int {
    index = (index + 1) % count
    return index * stride
  }
}
