import Kernels
import Transformer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Tunes the scales of a quantised model's blocks, so that it says what the model said before.
///
/// The integers stay as they are. What is minimised, over the calibration text, is the divergence of the quantised model's
/// distributions from the original's: a scale answers for what its block does to the result, not to the map alone.
///
/// - SeeAlso: Chen et al., "EfficientQAT" (arXiv:2407.11062), which trains scales alone once integers are chosen;
///   Hinton et al. (arXiv:1503.02531).
public enum ScaleTuning {
  /// How far a scale may move in a step, as a share of itself.
  private static let learningRate = 3e-3
  /// Windows between two updates.
  private static let windowsPerStep = 4
  /// Steps until the full learning rate.
  private static let warmup = 5

  /// One window of so many is not tuned on but measured.
  private static let heldOutShare = 8

  /// What tuning did.
  public struct Result: Sendable {
    /// Scales that were tuned.
    public let scaleCount: Int
    /// The mean of Σ p·ln(p/q) on the windows held out, in nats.
    public let before: Double
    /// The same with the new scales.
    public let after: Double
    /// Whether the scales are the new ones; those that do not do better are thrown away.
    public var isKept: Bool { after < before }
  }

  /// Tunes.
  ///
  /// Every eighth window is held out and decides whether the new scales are kept; of fewer than eight, all are tuned on
  /// and decide.
  ///
  /// - Parameters:
  ///   - quantized: the model's matrices in blocks; their scales change.
  ///   - model: the model's folder in Hugging Face's layout.
  ///   - calibration: windows of tokens, none longer than the context.
  ///   - passes: over the calibration text; at least one.
  ///   - progress: receives the number of windows done and of all; returns whether to go on.
  /// - Returns: `nil` when `progress` ended it; the scales are then as they were.
  /// - Throws: what `Decoder.load` throws, `TrainingError.mixture`, or `DecoderError` for a window that the model cannot
  ///   run.
  public static func tune(
    _ quantized: ModelQuantizer.Result, model: String, calibration: [[Int]], passes: Int,
    threadCount: Int = WorkerPool.defaultThreadCount(), progress: (Int, Int) -> Bool = { _, _ in true }
  ) throws -> Result? {
    precondition(passes > 0 && !calibration.isEmpty, "\(passes) passes over \(calibration.count) windows")
    let pool = WorkerPool(threadCount: threadCount)
    let student = try TrainableModel(folder: model)
    let matrices = student.parameters.slots.flatMap { slot in
      slot.parameter.pieces.compactMap { piece in
        quantized.blocks(of: piece.tensor).map {
          TunedMatrix($0, slot: slot, runs: piece.runs, arena: student.parameters)
        }
      }
    }
    for matrix in matrices { matrix.write(pool: pool) }
    let pass = try TrainingPass(student.decoder, student.parameters, pool: pool)
    let teacher = try Teacher(model, longest: calibration.map(\.count).max() ?? 1, pool: pool)

    let isSplit = calibration.count >= heldOutShare
    let (measured, learned) = (
      calibration.indices.filter { !isSplit || $0 % heldOutShare == heldOutShare - 1 }.map {
        calibration[$0]
      },
      calibration.indices.filter { !isSplit || $0 % heldOutShare != heldOutShare - 1 }.map { calibration[$0] }
    )
    let windowCount = passes * learned.count + 2 * measured.count
    var done = 0
    /// The sum of the rows' divergences, or nothing when it was ended; a gradient is that of the mean over the windows.
    func divergence(_ windows: ArraySlice<[Int]>, wantsGradient: Bool) throws -> Double? {
      let rowCount = windows.reduce(0) { $0 + $1.count }
      var sum = 0.0
      for window in windows {
        guard progress(done, windowCount) else { return nil }
        let hidden = try teacher.hidden(window)
        sum += try pass.distill(window, rowCount: rowCount, wantsGradient: wantsGradient) { rows, logits in
          teacher.score(hidden.rows(rows), into: logits)
        }
        done += 1
      }
      return sum / Double(rowCount)
    }

    guard let before = try divergence(measured[...], wantsGradient: false) else { return nil }
    let stepsPerPass = (learned.count + windowsPerStep - 1) / windowsPerStep
    var settings = TrainingSettings()
    settings.iters = passes * stepsPerPass
    settings.warmupIters = min(warmup, settings.iters / 4)
    (settings.learningRate, settings.minLearningRate) = (learningRate, learningRate / 20)
    for step in 0..<settings.iters {
      let (passIndex, place) = step.quotientAndRemainder(dividingBy: stepsPerPass)
      let start = place * windowsPerStep
      let windows = shuffled(learned, pass: passIndex)[start..<min(start + windowsPerStep, learned.count)]
      student.parameters.clearGradients()
      guard try divergence(windows, wantsGradient: true) != nil else { return nil }
      for matrix in matrices {
        matrix.update(step: step + 1, learningRate: Float(settings.learningRate(step: step)), pool: pool)
      }
    }
    guard let after = try divergence(measured[...], wantsGradient: false) else { return nil }
    _ = progress(done, windowCount)
    let result = Result(scaleCount: matrices.reduce(0) { $0 + $1.count }, before: before, after: after)
    if result.isKept { for matrix in matrices { matrix.finish() } }
    return result
  }

  /// The windows in an order of the pass's own, always the same one.
  private static func shuffled(_ windows: [[Int]], pass: Int) -> [[Int]] {
    let stream = PhiloxStream(seed: 1, step: 0, site: UInt32(truncatingIfNeeded: pass))
    return windows.enumerated().map { (stream.words(UInt64($0.offset))[0], $0.element) }
      .sorted { $0.0 < $1.0 }.map(\.1)
  }
}

/// The model as it was.
private final class Teacher {
  private let decoder: Decoder
  private let engine: BLASEngine
  private let session: InferenceSession
  private let memory: FloatMemory

  init(_ model: String, longest: Int, pool: WorkerPool) throws {
    decoder = try Decoder.load(from: model, format: .float32, threadCount: pool.threadCount)
    engine = BLASEngine(pool: pool)
    session = try InferenceSession(decoder: decoder, engine: engine, capacity: longest)
    memory = try FloatMemory(count: longest * decoder.configuration.embeddingSize, purpose: "a teacher")
  }

  /// What the head reads for a window, (tokens, embedding channels); valid until the next call.
  func hidden(_ window: [Int]) throws -> MatrixView {
    session.reset()
    let columns = decoder.configuration.embeddingSize
    var filled = 0
    try session.append(window) { point, view in
      guard point == .finalNorm else { return }
      for row in 0..<view.rows {
        (self.memory.base + (filled + row) * columns).update(from: view.row(row), count: columns)
      }
      filled += view.rows
    }
    return MatrixView(memory.base, rows: filled, columns: columns)
  }

  /// Logits as the head's product leaves them.
  func score(_ hidden: MatrixView, into logits: MutableMatrixView) {
    engine.linear(hidden, decoder.weights.head, into: logits, epilogue: .store)
  }
}

/// A matrix of blocks whose scales are tuned, as factors of what they were.
private final class TunedMatrix {
  private let blocks: BlockMatrix
  private let weights: UnsafeMutablePointer<Float>
  private let gradients: UnsafeMutablePointer<Float>
  /// Elements of the arena from one output to the next, and from one input to the next.
  private let (outputStride, inputStride): (Int, Int)
  /// Where each row of blocks lies in the arena's matrix.
  private let places: [Int]
  private let factors: UnsafeMutableBufferPointer<Float>
  private let moments: UnsafeMutableBufferPointer<(first: Float, second: Float)>
  let count: Int

  init(
    _ blocks: BlockMatrix, slot: ParameterArena.Slot, runs: [Parameter.Run], arena: ParameterArena
  ) {
    self.blocks = blocks
    weights = arena.values.base + slot.start
    gradients = arena.gradients.base + slot.start
    (outputStride, inputStride) =
      blocks.isTransposed ? (1, slot.parameter.columns) : (slot.parameter.columns, 1)
    var places = [Int](repeating: 0, count: blocks.rows)
    if blocks.isTransposed {
      places = Array(0..<blocks.rows)
    } else {
      for run in runs { for row in 0..<run.count { places[run.source + row] = run.target + row } }
    }
    self.places = places
    count = blocks.rows * blocks.blocksPerRow
    factors = .allocate(capacity: count)
    factors.initialize(repeating: 1)
    moments = .allocate(capacity: count)
    moments.initialize(repeating: (0, 0))
  }

  deinit {
    factors.deallocate()
    moments.deallocate()
  }

  /// Writes what the blocks say, times the factors, where the decoder reads it.
  func write(pool: WorkerPool) { forEachBlock(pool) { _, _, _ in } }

  /// Moves the factors along their gradients, by Adam, and writes the weights.
  ///
  /// - Parameter step: from 1.
  func update(step: Int, learningRate: Float, pool: WorkerPool) {
    let (beta1, beta2): (Float, Float) = (0.9, 0.95)
    let corrections = (1 - pow(beta1, Float(step)), 1 - pow(beta2, Float(step)))
    forEachBlock(pool) { index, elements, gradients in
      var gradient: Float = 0
      for place in 0..<32 { gradient += elements[place] * gradients[place * self.inputStride] }
      let first = beta1 * self.moments[index].first + (1 - beta1) * gradient
      let second = beta2 * self.moments[index].second + (1 - beta2) * gradient * gradient
      self.moments[index] = (first, second)
      self.factors[index] -=
        learningRate * (first / corrections.0) / ((second / corrections.1).squareRoot() + 1e-12)
    }
  }

  /// Gives a body each block's elements, before they are multiplied by its factor, and the gradients of the weights that
  /// they become; then writes these.
  private func forEachBlock(
    _ pool: WorkerPool, _ body: (Int, UnsafePointer<Float>, UnsafePointer<Float>) -> Void
  ) {
    pool.run(blocks.rows, grain: 16) { rows in
      withUnsafeTemporaryAllocation(of: Float.self, capacity: 32) { buffer in
        let elements = buffer.baseAddress!
        for row in rows {
          for block in 0..<blocks.blocksPerRow {
            let index = row * blocks.blocksPerRow + block
            let start = places[row] * outputStride + 32 * block * inputStride
            blocks.copyBlock(block, ofRow: row, into: elements)
            body(index, elements, gradients + start)
            for place in 0..<32 { weights[start + place * inputStride] = factors[index] * elements[place] }
          }
        }
      }
    }
  }

  /// Gives the blocks their new scales.
  func finish() {
    for row in 0..<blocks.rows {
      for block in 0..<blocks.blocksPerRow {
        blocks.multiplyScale(ofBlock: block, row: row, by: factors[row * blocks.blocksPerRow + block])
      }
    }
  }
}
