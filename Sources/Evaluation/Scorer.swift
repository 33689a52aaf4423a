import Kernels
import Transformer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Why a text cannot be scored.
public enum ScoringError: Error, Equatable, CustomStringConvertible {
  /// There is no token that another one precedes.
  case tooShort(tokens: Int)
  /// The window is not one that the model and the stride allow.
  case window(reason: String)
  /// A row of the model's logits is no distribution.
  case invalidLogits

  /// One line with the fix.
  public var description: String {
    switch self {
    case .tooShort(let tokens):
      "the text has \(tokens == 1 ? "1 token" : "\(tokens) tokens"); a score needs at least 2, as the first is only given"
    case .window(let reason): reason
    case .invalidLogits:
      "the model's logits are not numbers (NaN or infinite): its weights are damaged or overflow; check the checkpoint"
    }
  }
}

/// The perplexity of a text, and how sure it is.
public struct Perplexity: Sendable, Equatable {
  /// Tokens scored, n: all but the first.
  public let tokenCount: Int
  /// Mean of −log p(x_t | x_<t), in nats.
  public let meanNegativeLogLikelihood: Double
  /// √(s²/n) of that mean, s² being the sample variance; 0 for a single token.
  public let standardError: Double
  /// Σ −log₂ p over the bytes of the text.
  public let bitsPerByte: Double

  /// exp(mean NLL).
  public var perplexity: Double { exp(meanNegativeLogLikelihood) }

  /// Summarises the negative log-likelihoods of a text of so many bytes.
  init(negativeLogLikelihoods values: [Double], byteCount: Int) {
    let count = Double(values.count)
    let sum = values.reduce(0, +)
    let mean = sum / count
    tokenCount = values.count
    meanNegativeLogLikelihood = mean
    standardError =
      values.count > 1
      ? (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / (count - 1) / count).squareRoot() : 0
    bitsPerByte = byteCount > 0 ? sum / log(2) / Double(byteCount) : 0
  }
}

/// log p of a token under (V) logits, in nats; −∞ for a token that the model rules out.
///
/// - Throws: `ScoringError.invalidLogits` where they define no distribution.
func logProbability(ofToken token: Int, in logits: UnsafePointer<Float>, count: Int) throws -> Double {
  precondition((0..<count).contains(token), "token \(token) of \(count)")
  let total = logSumExp(logits, count: count)
  guard total.isFinite else { throw ScoringError.invalidLogits }
  return Double(logits[token]) - total
}

/// A model beside another one.
public struct ComparedModel: Sendable, Equatable {
  /// Its own perplexity.
  public let perplexity: Perplexity
  /// How far its distributions are from the other one's.
  public let distance: DistributionDistance
}

/// Gives log p(x_t | x_<t) of the tokens of a text.
public struct Scorer: Sendable {
  private let decoder: Decoder
  private let engine: any ComputeEngine

  /// Rows of logits held at once: a few dozen megabytes for a large vocabulary.
  private static let chunkSize = 128

  /// Scores with a model and an engine.
  public init(decoder: Decoder, engine: any ComputeEngine) {
    self.decoder = decoder
    self.engine = engine
  }

  /// log p(x_t | x_<t) in nats for every token but the first.
  ///
  /// - Parameter tokens: T ids, at least 2, no more than the model's context.
  /// - Returns: (T − 1), summed in Double over the engine's logits.
  /// - Throws: `ScoringError`, or `DecoderError` for an id or a length that the model does not have.
  public func logProbabilities(of tokens: [Int]) throws -> [Double] {
    guard tokens.count > 1 else { throw ScoringError.tooShort(tokens: tokens.count) }
    let reader = try ChunkReader(self, capacity: tokens.count)
    var values: [Double] = []
    try Scorer.forEachChunk(of: tokens, from: 1, [reader]) { targets, logits in
      values += try negativeLogLikelihoods(of: targets, in: logits[0]).map { -$0 }
    }
    return values
  }

  /// The perplexity of a text of any length, in windows that overlap.
  ///
  /// - Parameters:
  ///   - tokens: ids, at least 2.
  ///   - byteCount: bytes of the text that they encode.
  ///   - window: as of `negativeLogLikelihoods(of:window:stride:onProgress:)`, like the others.
  /// - Returns: `nil` when `onProgress` ended it.
  /// - Throws: as `logProbabilities(of:)`.
  public func perplexity(
    of tokens: [Int], byteCount: Int, window: Int? = nil, stride: Int? = nil,
    onProgress: (Int) -> Bool = { _ in true }
  ) throws -> Perplexity? {
    try negativeLogLikelihoods(of: tokens, window: window, stride: stride, onProgress: onProgress).map {
      Perplexity(negativeLogLikelihoods: $0, byteCount: byteCount)
    }
  }

  /// The perplexity of a text of any length, and that of other models beside it, with how far their distributions are from
  /// this model's.
  ///
  /// - Parameter others: models of the same vocabulary and at least the same context.
  /// - Returns: one result for each of `others`; `nil` when `onProgress` ended it.
  /// - Throws: as `logProbabilities(of:)`.
  public func comparison(
    with others: [Scorer], of tokens: [Int], byteCount: Int, window: Int? = nil, stride: Int? = nil,
    onProgress: (Int) -> Bool = { _ in true }
  ) throws -> (own: Perplexity, others: [ComparedModel])? {
    let scorers = [self] + others
    let vocabulary = decoder.configuration.vocabularySize
    precondition(
      others.allSatisfy { $0.decoder.configuration.vocabularySize == vocabulary },
      "models of the same vocabulary are compared")
    var values = [[Double]](repeating: [], count: scorers.count)
    var totals = [DistributionDistance.Total](repeating: .init(), count: others.count)
    let isWhole = try Scorer.forEachChunk(
      of: tokens, by: scorers, window: window, stride: stride, onProgress: onProgress
    ) { targets, logits in
      for (index, logits) in logits.enumerated() {
        values[index] += try negativeLogLikelihoods(of: targets, in: logits)
      }
      for index in others.indices {
        for distance in distances(of: logits[index + 1], from: logits[0]) { totals[index].add(distance) }
      }
    }
    guard isWhole else { return nil }
    let perplexities = values.map { Perplexity(negativeLogLikelihoods: $0, byteCount: byteCount) }
    return (
      perplexities[0],
      zip(perplexities.dropFirst(), totals).map {
        ComparedModel(perplexity: $0, distance: DistributionDistance($1))
      }
    )
  }

  /// −log p(x_t | context) in nats for every token but the first of a text of any length.
  ///
  /// Windows of `window` tokens begin `stride` tokens apart; each scores the tokens that no earlier one has
  /// scored, so every token but the first is scored once, with at least `window − stride` tokens before it.
  ///
  /// - Parameters:
  ///   - tokens: T ids, at least 2.
  ///   - window: tokens that the model sees at once; by default its context.
  ///   - stride: tokens from one window to the next; by default half a window.
  ///   - onProgress: receives the number of tokens scored, window by window; returns whether to go on.
  /// - Returns: (T − 1); `nil` when `onProgress` ended it.
  /// - Throws: as `logProbabilities(of:)`.
  public func negativeLogLikelihoods(
    of tokens: [Int], window: Int? = nil, stride: Int? = nil, onProgress: (Int) -> Bool = { _ in true }
  ) throws -> [Double]? {
    var values: [Double] = []
    values.reserveCapacity(tokens.count)
    let isWhole = try Scorer.forEachChunk(
      of: tokens, by: [self], window: window, stride: stride, onProgress: onProgress
    ) { targets, logits in values += try negativeLogLikelihoods(of: targets, in: logits[0]) }
    return isWhole ? values : nil
  }

  /// Runs windows that overlap through models side by side.
  ///
  /// - Parameters:
  ///   - scorers: at least one; the first one's context is the longest window.
  ///   - body: receives tokens that follow one another and, for each model, the scores that it gave them, (tokens, V).
  /// - Returns: whether `onProgress` let it reach the end.
  private static func forEachChunk(
    of tokens: [Int], by scorers: [Scorer], window: Int?, stride: Int?, onProgress: (Int) -> Bool,
    _ body: (ArraySlice<Int>, [MatrixView]) throws -> Void
  ) throws -> Bool {
    guard tokens.count > 1 else { throw ScoringError.tooShort(tokens: tokens.count) }
    let context = scorers[0].decoder.configuration.contextLength
    let window = window ?? context
    guard (2...context).contains(window) else {
      throw ScoringError.window(
        reason: "--window must be from 2 to the model's context of \(context), is \(window)")
    }
    let stride = stride ?? max(window / 2, 1)
    guard (1..<window).contains(stride) else {
      throw ScoringError.window(
        reason: "--stride must be from 1 to \(window - 1), one less than the window, is \(stride)")
    }
    let readers = try scorers.map { try ChunkReader($0, capacity: min(window, tokens.count)) }
    var scored = 0
    var start = 0
    while scored < tokens.count - 1 {
      let end = min(start + window, tokens.count)
      let text = Array(tokens[start..<end])
      try forEachChunk(of: text, from: scored + 1 - start, readers, body)
      scored = end - 1
      guard onProgress(scored) else { return false }
      start += stride
    }
    return true
  }

  /// Runs one text through models side by side, for the scores of `tokens[first...]`, each after all tokens before it.
  private static func forEachChunk(
    of tokens: [Int], from first: Int, _ readers: [ChunkReader],
    _ body: (ArraySlice<Int>, [MatrixView]) throws -> Void
  ) throws {
    for reader in readers { try reader.begin(tokens, first: first) }
    var start = first - 1
    let end = tokens.count - 1
    while start < end {
      let count = min(Scorer.chunkSize, end - start)
      let logits = try readers.map { try $0.logits(after: Array(tokens[start..<start + count])) }
      try body(tokens[start + 1..<start + 1 + count], logits)
      start += count
    }
  }

  /// A model's scores, some rows at a time.
  private final class ChunkReader {
    private let session: InferenceSession
    private let memory: UnsafeMutablePointer<Float>
    private let vocabularySize: Int

    init(_ scorer: Scorer, capacity: Int) throws {
      session = try scorer.makeSession(capacity: capacity)
      vocabularySize = scorer.decoder.configuration.vocabularySize
      memory = .allocate(capacity: min(Scorer.chunkSize, capacity) * vocabularySize)
    }

    deinit { memory.deallocate() }

    /// Begins a text: row r of logits scores token r + 1, the rows before `first − 1` are context only.
    func begin(_ tokens: [Int], first: Int) throws {
      // A score is looked up by token id before that token is run, so ids are checked here.
      if let token = tokens.first(where: { !(0..<vocabularySize).contains($0) }) {
        throw DecoderError.tokenOutOfRange(token: token, vocabularySize: vocabularySize)
      }
      session.reset()
      if first > 1 { try session.append(Array(tokens[..<(first - 1)])) }
    }

    /// (tokens, V); valid until the next call.
    func logits(after tokens: [Int]) throws -> MatrixView {
      let view = MutableMatrixView(memory, rows: tokens.count, columns: vocabularySize)
      try session.append(tokens, logits: view)
      return view.readOnly
    }
  }

  /// −log p of some tokens.
  private func negativeLogLikelihoods(of targets: ArraySlice<Int>, in logits: MatrixView) throws -> [Double] {
    try zip(targets, 0...).map { try -logProbability(ofToken: $0, in: logits.row($1), count: logits.columns) }
  }

  /// KL(reference ‖ this) and agreement, row by row, in parallel.
  private func distances(of logits: MatrixView, from reference: MatrixView) -> [RowDistance] {
    [RowDistance](unsafeUninitializedCapacity: logits.rows) { results, count in
      let memory = results.baseAddress!
      engine.pool.run(logits.rows, grain: max(1, 32_768 / logits.columns)) { rows in
        for row in rows {
          (memory + row).initialize(
            to: RowDistance(logits.row(row), reference: reference.row(row), count: logits.columns))
        }
      }
      count = logits.rows
    }
  }

  private func makeSession(capacity: Int) throws -> InferenceSession {
    let context = decoder.configuration.contextLength
    guard capacity <= context else { throw DecoderError.contextExceeded(length: capacity, capacity: context) }
    return try InferenceSession(decoder: decoder, engine: engine, capacity: capacity)
  }
}
