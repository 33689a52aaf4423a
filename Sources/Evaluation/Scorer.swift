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

  /// One line with the fix.
  public var description: String {
    switch self {
    case .tooShort(let tokens):
      "the text has \(tokens == 1 ? "1 token" : "\(tokens) tokens"); a score needs at least 2, as the first is only given"
    case .window(let reason): reason
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
    let session = try makeSession(capacity: tokens.count)
    return try scores(of: tokens, from: 1, session: session)
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
    guard tokens.count > 1 else { throw ScoringError.tooShort(tokens: tokens.count) }
    let context = decoder.configuration.contextLength
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
    let session = try makeSession(capacity: min(window, tokens.count))
    var values: [Double] = []
    values.reserveCapacity(tokens.count - 1)
    var start = 0
    while values.count < tokens.count - 1 {
      let end = min(start + window, tokens.count)
      session.reset()
      values += try scores(of: Array(tokens[start..<end]), from: values.count + 1 - start, session: session)
      guard onProgress(values.count) else { return nil }
      start += stride
    }
    return values.map { -$0 }
  }

  private func makeSession(capacity: Int) throws -> InferenceSession {
    let context = decoder.configuration.contextLength
    guard capacity <= context else { throw DecoderError.contextExceeded(length: capacity, capacity: context) }
    return try InferenceSession(decoder: decoder, engine: engine, capacity: capacity)
  }

  /// log p of `tokens[first...]`, each after all tokens before it.
  private func scores(of tokens: [Int], from first: Int, session: InferenceSession) throws -> [Double] {
    let vocabulary = decoder.configuration.vocabularySize
    // A score is looked up by token id before that token is run, so ids are checked here.
    if let token = tokens.first(where: { !(0..<vocabulary).contains($0) }) {
      throw DecoderError.tokenOutOfRange(token: token, vocabularySize: vocabulary)
    }
    // Row r of logits scores token r + 1: the rows before `first − 1` are context only.
    if first > 1 { try session.append(Array(tokens[..<(first - 1)])) }
    var results: [Double] = []
    var start = first - 1
    let end = tokens.count - 1
    var logits = [Float](repeating: 0, count: min(Scorer.chunkSize, end - start) * vocabulary)
    while start < end {
      let count = min(Scorer.chunkSize, end - start)
      try logits.withUnsafeMutableBufferPointer { buffer in
        let view = MutableMatrixView(buffer.baseAddress!, rows: count, columns: vocabulary)
        try session.append(Array(tokens[start..<start + count]), logits: view)
        for row in 0..<count {
          results.append(
            logProbability(of: tokens[start + row + 1], in: view.readOnly.row(row), count: vocabulary))
        }
      }
      start += count
    }
    return results
  }
}
