/// Which documents are good enough to train on.
///
/// The limits are those of Gopher (Rae et al., arXiv:2112.11446, appendix A1.1) and C4 (Raffel et al.,
/// arXiv:1910.10683, section 2.2). Both were made for English: a word is what spaces separate, and in scripts without
/// spaces two characters are taken for a word, which is what a Chinese word has on the average.
public struct FilterConfiguration: Sendable, Equatable {
  /// A limit by its name on the command line.
  public enum Limit: String, Sendable, CaseIterable {
    // Gopher, quality
    case minimumWords = "min-words"
    case maximumWords = "max-words"
    case minimumMeanWordLength = "min-mean-word-length"
    case maximumMeanWordLength = "max-mean-word-length"
    case maximumSymbolRatio = "max-symbol-ratio"
    case maximumBulletLines = "max-bullet-lines"
    case maximumEllipsisLines = "max-ellipsis-lines"
    case minimumAlphabeticWords = "min-alphabetic-words"
    case minimumStopWords = "min-stop-words"
    // Gopher, repetition
    case maximumDuplicateLines = "max-duplicate-lines"
    case maximumDuplicateParagraphs = "max-duplicate-paragraphs"
    case maximumDuplicateLineCharacters = "max-duplicate-line-chars"
    case maximumDuplicateParagraphCharacters = "max-duplicate-paragraph-chars"
    case maximumTop2Gram = "max-top-2-gram"
    case maximumTop3Gram = "max-top-3-gram"
    case maximumTop4Gram = "max-top-4-gram"
    case maximumDuplicate5Grams = "max-duplicate-5-grams"
    case maximumDuplicate6Grams = "max-duplicate-6-grams"
    case maximumDuplicate7Grams = "max-duplicate-7-grams"
    case maximumDuplicate8Grams = "max-duplicate-8-grams"
    case maximumDuplicate9Grams = "max-duplicate-9-grams"
    case maximumDuplicate10Grams = "max-duplicate-10-grams"
    // C4
    case minimumLineWords = "min-line-words"
    case minimumSentences = "min-sentences"
    /// The rules that follow have no number: 1 switches them on.
    case terminalPunctuation = "terminal-punctuation"
    case scriptLines = "javascript-lines"
    case placeholderText = "lorem-ipsum"
    case curlyBrackets = "curly-brackets"

    /// The paper's value.
    public var standard: Double {
      switch self {
      case .minimumWords: 50
      case .maximumWords: 100_000
      case .minimumMeanWordLength: 3
      case .maximumMeanWordLength: 10
      case .maximumSymbolRatio: 0.1
      case .maximumBulletLines: 0.9
      case .maximumEllipsisLines: 0.3
      case .minimumAlphabeticWords: 0.8
      case .minimumStopWords: 2
      case .maximumDuplicateLines, .maximumDuplicateParagraphs: 0.3
      case .maximumDuplicateLineCharacters, .maximumDuplicateParagraphCharacters: 0.2
      case .maximumTop2Gram: 0.2
      case .maximumTop3Gram: 0.18
      case .maximumTop4Gram: 0.16
      case .maximumDuplicate5Grams: 0.15
      case .maximumDuplicate6Grams: 0.14
      case .maximumDuplicate7Grams: 0.13
      case .maximumDuplicate8Grams: 0.12
      case .maximumDuplicate9Grams: 0.11
      case .maximumDuplicate10Grams: 0.10
      case .minimumLineWords: 5
      case .minimumSentences: 3
      case .terminalPunctuation, .scriptLines, .placeholderText, .curlyBrackets: 1
      }
    }

    /// The paper it is of.
    public var ruleSet: RuleSet {
      switch self {
      case .minimumLineWords, .minimumSentences, .terminalPunctuation, .scriptLines, .placeholderText,
        .curlyBrackets:
        .c4
      default: .gopher
      }
    }
  }

  /// The rules of a paper.
  public enum RuleSet: String, Sendable, CaseIterable {
    /// Length, symbols, bullets, stop words and repetition.
    case gopher
    /// Lines that end in punctuation and have enough words; no placeholder text, no code; enough sentences.
    case c4
  }

  /// The papers whose rules apply.
  public var ruleSets: Set<RuleSet> = Set(RuleSet.allCases)
  /// Limits other than the papers'; a limit that is given applies whatever the rule sets, one that is NaN does not.
  public var limits: [Limit: Double] = [:]
  /// The language to keep; any when `nil`.
  public var language: ScriptLanguage?
  /// The share of letters that must be of the language's script.
  public var minimumLanguageShare = 0.5
  /// Documents that hold one of these are removed.
  ///
  /// Letters of scripts with spaces are matched as whole words, without
  /// regard to case.
  public var forbiddenWords: [String] = []
  /// Where there are any, only documents that hold one of these are kept.
  public var requiredWords: [String] = []

  /// All rules of both papers.
  public init() {}

  /// Whether a rule without a number is on.
  func applies(_ limit: Limit) -> Bool { value(limit).map { $0 != 0 } ?? false }

  /// The value of a limit; `nil` when it does not apply.
  func value(_ limit: Limit) -> Double? {
    if let value = limits[limit] { return value.isNaN ? nil : value }
    return ruleSets.contains(limit.ruleSet) ? limit.standard : nil
  }
}
