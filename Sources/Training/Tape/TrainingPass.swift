import Kernels
import Transformer

/// Sequences side by side, and what should follow each of their tokens.
package struct TokenBatch: Sendable, Equatable {
  /// The tokens of each sequence.
  package var inputs: [[Int]]
  /// What follows each token, `CrossEntropySettings.ignoredTarget` where it does not count; as many as tokens.
  package var targets: [[Int]]

  /// Puts sequences side by side.
  /// - Precondition: each sequence has a token, and as many targets as tokens.
  package init(inputs: [[Int]], targets: [[Int]]) {
    precondition(
      inputs.count == targets.count
        && zip(inputs, targets).allSatisfy { $0.count == $1.count && !$0.isEmpty },
      "sequences and targets of different lengths")
    self.inputs = inputs
    self.targets = targets
  }

  /// Sequences in which each token is the target of the one before.
  package init(sequences: [[Int]]) {
    self.init(
      inputs: sequences.map { Array($0.dropLast()) }, targets: sequences.map { Array($0.dropFirst()) })
  }

  /// Targets that count.
  package var targetCount: Int {
    targets.reduce(0) { $0 + $1.count { $0 != CrossEntropySettings.ignoredTarget } }
  }

  /// Tokens of all sequences.
  package var tokenCount: Int { inputs.reduce(0) { $0 + $1.count } }
}

/// One pass over a batch: its loss, and the gradients of the weights.
///
/// The decoder's equations run with a `TapeEngine`. Logits, the largest result of all, are computed for some rows at a
/// time, become their own gradients and are gone before the next rows.
package final class TrainingPass {
  /// The model.
  package let decoder: Decoder
  /// Its weights and their gradients.
  package let parameters: ParameterArena
  private let tape: TapeEngine
  private let pool: WorkerPool
  /// One address per layer, where an inference would keep keys and values.
  private let cache: FloatMemory
  private var logits: FloatMemory?
  /// Rows that are scored, and their gradients, where others lie between them.
  private var scored: FloatMemory?
  private var teacherLogits: FloatMemory?

  /// Floats of logits that are held at once, where one row is not more.
  private static let logitCount = 1 << 25

  /// Prepares.
  ///
  /// - Parameters:
  ///   - decoder: the model.
  ///   - parameters: the weights whose gradients are wanted.
  ///   - adapters: maps of low rank beside the decoder's.
  ///   - precision: what the operands of products with weights are rounded to. Sums, norms, attention, the loss and the
  ///     weights themselves stay in single precision.
  ///   - recomputes: whether the results of blocks are computed again on the way back instead of being kept.
  /// - Throws: `TrainingError.mixture` for a model whose gradients are not computed, or `DecoderError.memory`.
  package init(
    _ decoder: Decoder, _ parameters: ParameterArena, adapters: AdapterSet? = nil,
    precision: ProductPrecision = .f32, recomputes: Bool = false, pool: WorkerPool
  ) throws {
    guard decoder.configuration.experts == nil else {
      throw TrainingError.mixture(modelType: decoder.configuration.modelType)
    }
    self.decoder = decoder
    self.parameters = parameters
    self.pool = pool
    tape = try TapeEngine(pool: pool, parameters: parameters, adapters: adapters, precision: precision)
    tape.recomputes = recomputes
    // In transformers, these families' embeddings know no padding token; all others' do.
    let unpadded = ["bloom", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj"]
    if let token = decoder.configuration.paddingToken, !unpadded.contains(decoder.configuration.modelType) {
      tape.padding = (decoder.weights.tokenEmbedding, token)
    }
    cache = try FloatMemory(count: decoder.configuration.layerCount, purpose: "a table of layers")
  }

  /// Bytes of activations, gradients of activations and logits, at most so far.
  package var workspaceByteCount: Int {
    tape.arena.largestByteCount + tape.arena.gradientByteCount
      + ((logits?.count ?? 0) + (scored?.count ?? 0) + (teacherLogits?.count ?? 0)) * 4
  }

  /// Computes a batch's loss, and adds its gradients to the arena of parameters.
  ///
  /// - Parameters:
  ///   - batch: ids below the vocabulary's size.
  ///   - targetCount: targets of the whole step, of which the batch is a part: gradients are those of
  ///     Σ loss / targetCount.
  ///   - labelSmoothing: the share of probability that is spread evenly.
  ///   - dropout: what drops.
  ///   - wantsGradient: whether gradients are wanted at all.
  /// - Returns: the sum of the losses of the batch's targets.
  /// - Throws: `DecoderError.memory`.
  package func run(
    _ batch: TokenBatch, targetCount: Int, labelSmoothing: Float = 0, dropout: DropoutSettings = .init(),
    wantsGradient: Bool = true
  ) throws -> Double {
    var loss = 0.0
    var dropout = dropout
    for part in parts(batch) {
      tape.reset()
      tape.dropout = dropout
      let hidden = forward(part)
      let targets = part.targets.flatMap { $0 }
      // Rows without a target cost nothing where they are many: prompts are often longer than answers.
      let places = targets.indices.filter { targets[$0] != CrossEntropySettings.ignoredTarget }
      let isSparse = places.count < targets.count - targets.count / 8
      let counted = isSparse ? places.map { targets[$0] } : targets
      let settings = lossSettings(labelSmoothing: labelSmoothing)
      loss += try head(hidden, places: isSparse ? places : nil, wantsGradient: wantsGradient) {
        logits, rows, losses in
        crossEntropy(
          logits, targets: counted[rows], settings, scale: 1 / Float(max(1, targetCount)), losses: losses,
          wantsGradient: wantsGradient, pool: pool)
      }
      if wantsGradient { tape.backward() } else { tape.reset() }
      // Another part draws other numbers.
      dropout.seed = dropout.seed &+ 0x9E37_79B9
    }
    return loss
  }

  /// Computes how far a sequence's distributions are from a teacher's, and adds the gradients to the arena of parameters.
  ///
  /// - Parameters:
  ///   - sequence: at least one id, each below the vocabulary's size.
  ///   - rowCount: rows of the whole step, of which the sequence's are a part.
  ///   - wantsGradient: whether gradients are wanted at all.
  ///   - teacher: fills logits, (rows, V), with the teacher's for some rows of the sequence.
  /// - Returns: the sum of the rows' divergences.
  /// - Throws: `DecoderError.memory`.
  package func distill(
    _ sequence: [Int], rowCount: Int, wantsGradient: Bool = true,
    teacher: (Range<Int>, MutableMatrixView) -> Void
  ) throws -> Double {
    tape.reset()
    tape.dropout = DropoutSettings()
    let hidden = forward(TokenBatch(inputs: [sequence], targets: [sequence]))
    let settings = lossSettings(labelSmoothing: 0)
    let loss = try head(hidden, places: nil, wantsGradient: wantsGradient) { logits, rows, losses in
      let count = logits.rows * logits.columns
      if teacherLogits.map({ $0.count < count }) ?? true {
        teacherLogits = nil
        teacherLogits = try FloatMemory(count: count, purpose: "a teacher's logits")
      }
      let wanted = MutableMatrixView(teacherLogits!.base, rows: logits.rows, columns: logits.columns)
      teacher(rows, wanted)
      divergence(
        logits, from: wanted, settings, scale: 1 / Float(max(1, rowCount)), losses: losses, pool: pool)
    }
    if wantsGradient { tape.backward() } else { tape.reset() }
    return loss
  }

  private func lossSettings(labelSmoothing: Float) -> CrossEntropySettings {
    CrossEntropySettings(
      labelSmoothing: labelSmoothing, softCap: decoder.configuration.logitSoftCap,
      logitScale: decoder.configuration.logitScale)
  }

  /// The batch as it is computed: whole, unless the angles of a long sequence's positions are not those of a short one's.
  ///
  /// Such sequences are computed alone, as each would be without the others.
  private func parts(_ batch: TokenBatch) -> [TokenBatch] {
    let limits = decoder.configuration.rotaryEmbeddings.compactMap(\.stableLength)
    guard let limit = limits.min(), batch.inputs.count > 1, batch.inputs.contains(where: { $0.count > limit })
    else { return [batch] }
    let places = batch.inputs.indices
    let short = places.filter { batch.inputs[$0].count <= limit }
    let groups =
      (short.isEmpty ? [] : [short]) + places.filter { batch.inputs[$0].count > limit }.map { [$0] }
    return groups.map { group in
      TokenBatch(inputs: group.map { batch.inputs[$0] }, targets: group.map { batch.targets[$0] })
    }
  }

  /// Everything up to what the head reads, (R, embedding channels).
  private func forward(_ batch: TokenBatch) -> MatrixView {
    // The tape remembers keys and values itself: no layer keeps any.
    let layers = [KeyValueLayer](
      repeating: KeyValueLayer(keys: cache.base, values: cache.base, slotStride: 0, headStride: 0),
      count: decoder.configuration.layerCount)
    var hidden: MatrixView?
    let none = MutableMatrixView(cache.base, rows: 0, columns: decoder.configuration.vocabularySize)
    layers.withUnsafeBufferPointer { layers in
      var segments: [AttentionSegment] = []
      var row = 0
      for sequence in batch.inputs {
        let place = KeyValueRun(slot: 0, start: 0, count: sequence.count)
        segments.append(
          AttentionSegment(
            rows: row..<row + sequence.count, layers: layers.baseAddress!, writes: [place],
            plan: AttentionPlan(sharedRuns: [place], isCausal: true)))
        row += sequence.count
      }
      let longest = batch.inputs.map(\.count).max() ?? 0
      let pass = ForwardPass(
        tokens: batch.inputs.flatMap { $0 }, positions: batch.inputs.flatMap { Array(0..<$0.count) },
        sequenceLengths: [Int](repeating: longest, count: segments.count), segments: segments)
      decoder.forward(pass, engine: tape, storage: tape, scored: 0..<0, logits: none) { point, view in
        switch point {
        case .embedding: self.tape.beginBlocks(view, count: self.decoder.configuration.layerCount)
        case .block(let layer): self.tape.endBlock(layer)
        case .finalNorm: hidden = view
        default: break
        }
      }
    }
    guard let hidden else { preconditionFailure("a forward pass without a result") }
    return hidden
  }

  /// The loss of all rows and its gradient, some rows at a time.
  ///
  /// - Parameters:
  ///   - places: the rows that count, where they are few; nothing for all.
  ///   - loss: makes of the logits of some of the rows that count their gradients, and fills in the rows' losses.
  private func head(
    _ hidden: MatrixView, places: [Int]?, wantsGradient: Bool,
    loss: (MutableMatrixView, Range<Int>, UnsafeMutablePointer<Double>) throws -> Void
  ) throws -> Double {
    let weight = decoder.weights.head
    let rowCount = places?.count ?? hidden.rows
    let gradient = wantsGradient ? tape.arena.gradientTarget(of: hidden, isWritten: true).view : nil
    if places != nil, let gradient { tape.engine.clear(gradient) }
    guard rowCount > 0 else { return 0 }
    let blocks = max(1, (rowCount * weight.outputs + TrainingPass.logitCount - 1) / TrainingPass.logitCount)
    let blockRows = max(1, (rowCount + blocks - 1) / blocks)
    if logits.map({ $0.count < blockRows * weight.outputs }) ?? true {
      logits = nil
      logits = try FloatMemory(count: blockRows * weight.outputs, purpose: "logits")
    }
    if places != nil, scored.map({ $0.count < 2 * blockRows * hidden.columns }) ?? true {
      scored = nil
      scored = try FloatMemory(count: 2 * blockRows * hidden.columns, purpose: "rows that are scored")
    }
    var losses = [Double](repeating: 0, count: blockRows)
    var total = 0.0
    var start = 0
    while start < rowCount {
      let rows = start..<min(start + blockRows, rowCount)
      let block = MutableMatrixView(logits!.base, rows: rows.count, columns: weight.outputs)
      var input = hidden
      var dInput: MutableMatrixView?
      if let places {
        let gathered = MutableMatrixView(scored!.base, rows: rows.count, columns: hidden.columns)
        tape.engine.gather(hidden, rows: Array(places[rows]), into: gathered)
        input = gathered.readOnly
        dInput = MutableMatrixView(
          scored!.base + blockRows * hidden.columns, rows: rows.count, columns: hidden.columns)
      } else {
        input = hidden.rows(rows)
        dInput = gradient?.rows(rows)
      }
      tape.engine.linear(input, weight, into: block, epilogue: .store)
      try losses.withUnsafeMutableBufferPointer { try loss(block, rows, $0.baseAddress!) }
      for index in 0..<rows.count { total += losses[index] }
      if let gradient, let dInput {
        if let dWeight = parameters.gradient(of: weight.values) {
          linearBackwardWeight(
            block.readOnly, input, layout: weight.layout, into: dWeight, precision: tape.precision, pool: pool
          )
        }
        if let dBias = weight.bias.flatMap(parameters.gradient) {
          biasBackward(block.readOnly, into: dBias, pool: pool)
        }
        linearBackwardInput(
          block.readOnly, weight, into: dInput, accumulate: false, precision: tape.precision, pool: pool)
        if let places {
          for (index, place) in places[rows].enumerated() {
            gradient.row(place).update(from: dInput.row(index), count: hidden.columns)
          }
        }
      }
      start = rows.upperBound
    }
    return total
  }
}
