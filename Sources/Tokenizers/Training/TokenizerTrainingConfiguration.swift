/// What kind of tokenizer to learn from a text, and how large.
public struct TokenizerTrainingConfiguration: Sendable, Equatable {
  /// What makes tokens of words.
  public enum Model: String, Sendable, CaseIterable {
    /// Byte-level byte-pair encoding, as of GPT-2, Llama 3 and Qwen.
    case bytePairs = "bpe"
    /// WordPiece, as of BERT.
    case wordPiece = "wordpiece"
    /// A token for each character.
    case characters = "characters"
  }

  /// The model.
  public var model: Model
  /// Tokens to end with, special ones included; fewer when nothing is left to merge.
  public var vocabularySize = 32_000
  /// A pair that occurs less often is not merged; a character that does is not taken (`.characters`).
  public var minimumFrequency = 0
  /// The first tokens of the vocabulary.
  public var specialTokens: [String]
  /// How text is cut into words (`.bytePairs`): `gpt2`, `qwen2`, `llama3`, or a regular expression in Oniguruma's
  /// syntax whose matches, and what is between them, are the words.
  public var pattern = "gpt2"
  /// Whether a text that does not begin with a space gets one (`.bytePairs` with the pattern `gpt2`).
  public var addsPrefixSpace = false
  /// Whether all 256 bytes are tokens, seen or not (`.bytePairs`).
  public var includesAllBytes = true
  /// The most characters to begin with; the rarest others are left out of the words.
  public var alphabetLimit: Int?
  /// Pairs whose bytes together reach this number are not counted, as by `max_token_length` of `BpeTrainer`
  /// (`.bytePairs`).
  public var maximumTokenLength: Int?
  /// Whether text is put into lower case and stripped of accents first (`.wordPiece`).
  public var lowercases = false
  /// Whether every text begins with the token that begins texts, which must be among the special ones.
  ///
  /// For a model that has seen a mark before each of its documents: without it a short prompt looks like the middle of one.
  public var addsBeginOfSequence = false

  /// The names by which a special token is known to begin texts, the first that is there counting.
  static let beginOfSequenceNames = ["<s>", "<|startoftext|>", "<|begin_of_text|>", "<|endoftext|>"]
  /// The special token that begins texts.
  var beginOfSequence: String? {
    TokenizerTrainingConfiguration.beginOfSequenceNames.first { specialTokens.contains($0) }
  }

  /// The usual settings of a model: for `.bytePairs` the special token `<|endoftext|>`, for `.wordPiece` those of
  /// BERT, for `.characters` none.
  public init(model: Model = .bytePairs) {
    self.model = model
    specialTokens =
      switch model {
      case .bytePairs: ["<|endoftext|>"]
      case .wordPiece: ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
      case .characters: []
      }
  }

  /// The largest vocabulary that is accepted.
  static let largestVocabulary = 1 << 24

  /// The pattern as tokenizer.json writes it.
  var regularExpression: String {
    switch pattern {
    case "gpt2": KnownPattern.gpt2.pattern
    case "qwen2": KnownPattern.cl100k(digits: 1).pattern
    case "llama3": KnownPattern.cl100k(digits: 3).pattern
    default: pattern
    }
  }

  /// Checks the settings against each other.
  func check() throws(TokenizerTrainingError) {
    guard vocabularySize > 0, vocabularySize <= TokenizerTrainingConfiguration.largestVocabulary else {
      throw .setting(
        name: "vocabulary size",
        reason: "is \(vocabularySize); give 1 to \(TokenizerTrainingConfiguration.largestVocabulary)")
    }
    if let alphabetLimit, alphabetLimit < 1 {
      throw .setting(name: "alphabet limit", reason: "is \(alphabetLimit); give at least 1")
    }
    if let maximumTokenLength, maximumTokenLength < 1 {
      throw .setting(name: "maximum token length", reason: "is \(maximumTokenLength); give at least 1")
    }
    if maximumTokenLength != nil, model != .bytePairs {
      throw .setting(name: "maximum token length", reason: "goes with byte-pair encoding only")
    }
    var seen = Set<[UInt8]>()
    for token in specialTokens {
      guard !token.isEmpty else { throw .setting(name: "special tokens", reason: "one of them is empty") }
      guard seen.insert(Array(token.utf8)).inserted else {
        throw .setting(name: "special tokens", reason: "\(token) is given twice")
      }
    }
    if model == .wordPiece, !specialTokens.contains("[UNK]") {
      throw .setting(name: "special tokens", reason: "WordPiece needs [UNK] among them")
    }
    if addsPrefixSpace, model != .bytePairs || pattern != "gpt2" {
      throw .setting(name: "prefix space", reason: "goes with the pattern gpt2 only")
    }
    if addsBeginOfSequence, beginOfSequence == nil {
      let names = TokenizerTrainingConfiguration.beginOfSequenceNames.joined(separator: ", ")
      throw .setting(
        name: "begin of sequence", reason: "none of the special tokens begins texts; give one of \(names)")
    }
  }
}

/// Why no tokenizer can be learned.
public enum TokenizerTrainingError: Error, Equatable, CustomStringConvertible {
  /// A setting that makes no sense.
  case setting(name: String, reason: String)
  /// There is nothing to learn from.
  case noText
  /// The tokens to begin with are more than there is room for.
  case vocabularyTooSmall(size: Int, needed: Int)
  /// The training was ended by the caller.
  case interrupted

  /// One line that names the fault and the fix.
  public var description: String {
    switch self {
    case .setting(let name, let reason): "\(name): \(reason)"
    case .noText: "the text to learn from is empty; give files with text in them"
    case .vocabularyTooSmall(let size, let needed):
      "a vocabulary of \(size) tokens has no room for the special tokens and the \(needed) tokens to begin with in "
        + "all; ask for more than \(needed)"
    case .interrupted: "the training was interrupted"
    }
  }
}
