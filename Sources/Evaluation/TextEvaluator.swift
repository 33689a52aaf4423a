import Kernels
import Tokenizers
import Transformer

/// How well a model predicts a text, or many.
public struct TextResults: Sendable, Equatable {
  /// Documents.
  public let documentCount: Int
  /// Bytes of all documents.
  public let byteCount: Int
  /// Characters (Unicode scalars) of all documents.
  public let characterCount: Int
  /// Of the tokens of all documents.
  public let perplexity: Perplexity

  /// Σ −log₂ p over the characters.
  public var bitsPerCharacter: Double {
    characterCount > 0 ? perplexity.bitsPerByte * Double(byteCount) / Double(characterCount) : 0
  }
}

/// Measures how well a model predicts whole documents, first token included, so that its bits per byte stand
/// beside those of a compressor.
public struct TextEvaluator: Sendable {
  private let scorer: Scorer
  private let tokenizer: Tokenizer
  private let prefix: [Int]
  private let window: Int?
  private let stride: Int?
  private var values: [Double] = []
  private var counts = (documents: 0, bytes: 0, characters: 0)

  /// Prepares.
  ///
  /// - Parameters: `window` and `stride` as of `Scorer.perplexity`.
  public init(
    decoder: Decoder, engine: any ComputeEngine, tokenizer: Tokenizer, window: Int? = nil, stride: Int? = nil
  ) {
    scorer = Scorer(decoder: decoder, engine: engine)
    self.tokenizer = tokenizer
    self.window = window
    self.stride = stride
    prefix = TextPrefix.tokens(tokenizer: tokenizer, configuration: decoder.configuration)
  }

  /// Whether first tokens are scored; otherwise the model has nothing that could stand before them.
  public var scoresFirstTokens: Bool { !prefix.isEmpty }

  /// Scores a document, which follows nothing.
  ///
  /// - Parameters:
  ///   - text: UTF-8; an empty one is passed over.
  ///   - onProgress: receives the tokens scored of all documents; returns whether to go on.
  /// - Returns: whether it was scored to its end.
  /// - Throws: `TokenizerError`, `ScoringError` or `DecoderError`.
  public mutating func add(
    utf8 text: UnsafeBufferPointer<UInt8>, onProgress: (Int) -> Bool = { _ in true }
  ) throws -> Bool {
    let tokens = prefix + (try tokenizer.encode(utf8: text, addSpecialTokens: false))
    counts.bytes += text.count
    counts.characters += text.reduce(0) { $0 + ($1 & 0xC0 == 0x80 ? 0 : 1) }
    counts.documents += text.isEmpty ? 0 : 1
    // Of a text of one token before which nothing stands there is nothing to say.
    guard tokens.count > 1 else { return true }
    let done = values.count
    guard
      let scores = try scorer.negativeLogLikelihoods(
        of: tokens, window: window, stride: stride, onProgress: { onProgress(done + $0) })
    else { return false }
    values += scores
    return true
  }

  /// What came out so far.
  ///
  /// - Throws: `ScoringError.tooShort` when there is nothing to score.
  public func results() throws -> TextResults {
    guard !values.isEmpty else { throw ScoringError.tooShort(tokens: counts.documents) }
    return TextResults(
      documentCount: counts.documents, byteCount: counts.bytes, characterCount: counts.characters,
      perplexity: Perplexity(negativeLogLikelihoods: values, byteCount: counts.bytes))
  }
}
