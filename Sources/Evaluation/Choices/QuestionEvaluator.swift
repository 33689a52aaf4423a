import Kernels
import Tokenizers
import Transformer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A share, and how sure it is.
public struct Accuracy: Sendable, Equatable {
  /// Questions.
  public let count: Int
  /// Those answered rightly.
  public let correct: Int

  /// Their share.
  public var value: Double { count > 0 ? Double(correct) / Double(count) : 0 }

  /// √(s²/n), s² being the sample variance of ones and zeros; 0 for a single question.
  public var standardError: Double {
    count > 1 ? (value * (1 - value) / Double(count - 1)).squareRoot() : 0
  }
}

/// How a model answers questions, by log-likelihood alone: nothing is generated.
public struct QuestionResults: Sendable, Equatable {
  /// Of multiple-choice questions; `nil` without any.
  public struct Choices: Sendable, Equatable {
    /// The likeliest choice is the right one (`acc` of lm-evaluation-harness).
    public let accuracy: Accuracy
    /// The same with log p divided by the choice's characters (`acc_norm`).
    public let perCharacter: Accuracy
    /// The same with log p divided by the choice's bytes (`acc_bytes`).
    public let perByte: Accuracy
  }

  /// Of cloze texts; `nil` without any.
  public struct Clozes: Sendable, Equatable {
    /// The target is what greedy decoding writes (`acc` of LAMBADA).
    public let accuracy: Accuracy
    /// exp of the mean over targets of −log p (`perplexity` of LAMBADA).
    public let perplexity: Double
    /// exp of the mean over the targets' tokens of −log p.
    public let tokenPerplexity: Double
  }

  /// Of multiple-choice questions.
  public let choices: Choices?
  /// Of cloze texts.
  public let clozes: Clozes?
}

/// Asks a model questions.
public struct QuestionEvaluator: Sendable {
  private let decoder: Decoder
  private let engine: any ComputeEngine
  private let tokenizer: Tokenizer
  private let prefix: [Int]
  private let delimiter: String?

  /// Prepares.
  ///
  /// - Parameters:
  ///   - delimiter: what stands between a prompt and a choice, or a text and its target. By default a space, as in
  ///     lm-evaluation-harness, but nothing where either side has white space already, where the prompt is empty,
  ///     and beside a character that is written without spaces (Han, kana, full-width punctuation).
  public init(decoder: Decoder, engine: any ComputeEngine, tokenizer: Tokenizer, delimiter: String? = nil) {
    self.decoder = decoder
    self.engine = engine
    self.tokenizer = tokenizer
    self.delimiter = delimiter
    prefix = TextPrefix.tokens(tokenizer: tokenizer, configuration: decoder.configuration)
  }

  /// Asks all questions.
  ///
  /// What is scored are the tokens of prompt and choice together, behind as many as the prompt alone has.
  ///
  /// - Parameter onProgress: receives the number of questions answered; returns whether to go on.
  /// - Returns: `nil` when `onProgress` ended it.
  /// - Throws: `TokenizerError`, `ScoringError` or `DecoderError` for a question that cannot be scored.
  public func answer(
    _ questions: [EvaluationQuestion], onProgress: (Int) -> Bool = { _ in true }
  ) throws -> QuestionResults? {
    let scorer = try ContinuationScorer(
      decoder: decoder, engine: engine, capacity: decoder.configuration.contextLength)
    var choiceCount = 0
    var correct = (plain: 0, perCharacter: 0, perByte: 0)
    var clozes = (count: 0, greedy: 0, logProbability: 0.0, tokens: 0)
    for (index, question) in questions.enumerated() {
      switch question {
      case .choice(let prompt, let choices, let answer):
        let scores = try choices.map { try score(prompt, $0, scorer).logProbability }
        choiceCount += 1
        if QuestionEvaluator.best(scores) == answer { correct.plain += 1 }
        let perCharacter = zip(scores, choices).map { $0 / Double($1.unicodeScalars.count) }
        if QuestionEvaluator.best(perCharacter) == answer { correct.perCharacter += 1 }
        let perByte = zip(scores, choices).map { $0 / Double($1.utf8.count) }
        if QuestionEvaluator.best(perByte) == answer { correct.perByte += 1 }
      case .cloze(let text, let target):
        let score = try score(text, target, scorer)
        clozes.count += 1
        clozes.greedy += score.isGreedy ? 1 : 0
        clozes.logProbability += score.logProbability
        clozes.tokens += score.tokenCount
      }
      guard onProgress(index + 1) else { return nil }
    }
    return QuestionResults(
      choices: choiceCount == 0
        ? nil
        : QuestionResults.Choices(
          accuracy: Accuracy(count: choiceCount, correct: correct.plain),
          perCharacter: Accuracy(count: choiceCount, correct: correct.perCharacter),
          perByte: Accuracy(count: choiceCount, correct: correct.perByte)),
      clozes: clozes.count == 0
        ? nil
        : QuestionResults.Clozes(
          accuracy: Accuracy(count: clozes.count, correct: clozes.greedy),
          perplexity: exp(-clozes.logProbability / Double(clozes.count)),
          tokenPerplexity: exp(-clozes.logProbability / Double(clozes.tokens))))
  }

  /// The first of the largest.
  static func best(_ scores: [Double]) -> Int {
    var best = 0
    for (index, score) in scores.enumerated() where score > scores[best] { best = index }
    return best
  }

  /// The text between a prompt and what follows it.
  func delimiter(between prompt: String, and continuation: String) -> String {
    if let delimiter { return delimiter }
    guard let last = prompt.unicodeScalars.last, let first = continuation.unicodeScalars.first else {
      return ""
    }
    for scalar in [last, first] {
      if scalar.properties.isWhitespace { return "" }
      let value = scalar.value
      // Punctuation and letters of CJK, kana, full-width forms.
      if scalar.properties.isIdeographic || (0x3000...0x30FF).contains(value)
        || (0x31F0...0x31FF).contains(value) || (0xFF00...0xFFEF).contains(value)
        || [0x2018, 0x2019, 0x201C, 0x201D, 0x2014, 0x2026].contains(value)
      {
        return ""
      }
    }
    return " "
  }

  private func score(
    _ prompt: String, _ continuation: String, _ scorer: ContinuationScorer
  ) throws -> ContinuationScore {
    var context = prompt
    // Spaces at the end of a prompt belong to the token of the word that follows.
    var ending = ""
    while let last = context.unicodeScalars.last, last.properties.isWhitespace {
      ending = String(last) + ending
      context.unicodeScalars.removeLast()
    }
    let rest = ending + delimiter(between: prompt, and: continuation) + continuation
    let before = prefix + (context.isEmpty ? [] : try tokenizer.encode(context, addSpecialTokens: false))
    let tokens = prefix + (try tokenizer.encode(context + rest, addSpecialTokens: false))
    guard tokens.count > 1 else { throw ScoringError.tooShort(tokens: tokens.count) }
    return try scorer.score(tokens, from: max(1, min(before.count, tokens.count - 1)))
  }
}
