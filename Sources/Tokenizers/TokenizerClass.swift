import JSON

/// The classes of transformers 5.23 that build their pipeline themselves.
///
/// Of a tokenizer.json they take the vocabulary, the merges, the compiled rules and mostly the post-processor, and
/// put their own normaliser, pre-tokeniser and decoder around them. Every other class takes the file as it is.
enum TokenizerClass: String, Sendable {
  case gpt2 = "GPT2Tokenizer"
  case codeGen = "CodeGenTokenizer"
  case roberta = "RobertaTokenizer"
  case qwen2 = "Qwen2Tokenizer"
  case qwen35 = "Qwen3_5Tokenizer"
  case gptNeoX = "GPTNeoXTokenizer"
  case cohere = "CohereTokenizer"
  case llama = "LlamaTokenizer"
  case codeLlama = "CodeLlamaTokenizer"
  case gemma = "GemmaTokenizer"
  case bert = "BertTokenizer"
  case t5 = "T5Tokenizer"
  case albert = "AlbertTokenizer"
  case xlmRoberta = "XLMRobertaTokenizer"

  /// A class by its name in tokenizer_config.json, aliases included.
  init?(named name: String) {
    let plain = name.hasSuffix("Fast") ? String(name.dropLast(4)) : name
    switch plain {
    case "DistilBertTokenizer", "ElectraTokenizer", "MobileBertTokenizer", "LxmertTokenizer",
      "SqueezeBertTokenizer", "LayoutLMTokenizer", "DPRQuestionEncoderTokenizer",
      "DPRContextEncoderTokenizer",
      "DPRReaderTokenizer":
      self = .bert
    case "BartTokenizer", "LEDTokenizer", "LongformerTokenizer", "MvpTokenizer": self = .roberta
    default: self.init(rawValue: plain)
    }
  }

  /// The class that `AutoTokenizer` registers for a `model_type`: a name, `generic` for the one that takes
  /// tokenizer.json as it is, `nil` for none.
  static func registered(for modelType: String) -> String? {
    switch modelType {
    case "gpt2", "gpt_neo", "gptj", "opt", "phi", "starcoder2", "codegen", "dbrx": "GPT2Tokenizer"
    case "qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next": "Qwen2Tokenizer"
    case "qwen3_5": "Qwen3_5Tokenizer"
    case "gpt_neox", "mpt", "mamba", "olmo", "olmoe": "GPTNeoXTokenizer"
    case "cohere", "cohere2": "CohereTokenizer"
    case "code_llama": "CodeLlamaTokenizer"
    case "gemma", "gemma2", "gemma3", "gemma3_text": "GemmaTokenizer"
    case "bert", "distilbert", "electra", "mobilebert", "squeezebert", "convbert": "BertTokenizer"
    case "roberta", "bart", "led", "longformer": "RobertaTokenizer"
    case "t5", "mt5", "switch_transformers": "T5Tokenizer"
    case "albert": "AlbertTokenizer"
    case "xlm-roberta", "xmod": "XLMRobertaTokenizer"
    case "gpt_bigcode", "mistral", "ministral", "mixtral", "phi3", "phimoe", "stablelm", "olmo2", "olmo3",
      "granite", "granitemoe", "umt5", "nemotron", "persimmon", "glm4", "jamba":
      generic
    default: nil
    }
  }

  static let generic = "TokenizersBackend"

  /// Model types whose published files name a wrong class.
  private static let misnamed: Set<String> = [
    "jamba", "nemotron", "phi3", "phimoe", "qwen2", "qwen3_5", "minicpm3", "internlm2", "internlm3",
  ]

  /// The class that `AutoTokenizer` chooses; `nil` when it takes the files as they are.
  ///
  /// - Parameters:
  ///   - tokenizerClass: of tokenizer_config.json.
  ///   - modelClass, modelType: `tokenizer_class` and `model_type` of config.json.
  ///   - isByteLevel: tokenizer.json has a byte-level part.
  static func chosen(
    tokenizerClass: String?, modelClass: String?, modelType: String?, isByteLevel: Bool
  ) -> String? {
    func plain(_ name: String) -> String { name.hasSuffix("Fast") ? String(name.dropLast(4)) : name }
    let registered = modelType.flatMap { TokenizerClass.registered(for: $0) }
    let isMisnamed = modelType.map { misnamed.contains($0) } ?? false
    guard let declared = tokenizerClass ?? modelClass else { return registered == generic ? nil : registered }
    if plain(declared) == llama.rawValue, isByteLevel, !isMisnamed { return nil }
    if let registered, plain(registered) != plain(declared) {
      if registered == generic { return nil }
      return isMisnamed ? registered : plain(declared)
    }
    return plain(declared)
  }

  /// The class adds its special tokens a second time: true with the flags they have, false as plain special ones.
  var addsSpecialTokensAgain: Bool? {
    switch self {
    case .qwen2: false
    case .cohere: true
    default: nil
    }
  }

  /// Roles that have a token even when no file mentions them.
  var defaultTokens: [(role: String, content: String)] {
    let end = "<|endoftext|>"
    switch self {
    case .gpt2, .codeGen: return [("bos_token", end), ("eos_token", end), ("unk_token", end)]
    case .qwen2, .qwen35: return [("eos_token", end), ("unk_token", end), ("pad_token", end)]
    case .gptNeoX:
      return [
        ("bos_token", end), ("eos_token", end), ("unk_token", end), ("pad_token", "<|padding|>"),
      ]
    case .cohere:
      return [
        ("bos_token", "<BOS_TOKEN>"), ("eos_token", "<|END_OF_TURN_TOKEN|>"), ("unk_token", "<UNK>"),
        ("sep_token", "<SEP>"), ("pad_token", "<PAD>"), ("cls_token", "<CLS>"),
        ("mask_token", "<MASK_TOKEN>"),
      ]
    case .llama: return [("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>")]
    case .codeLlama:
      return [
        ("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>"), ("prefix_token", "▁<PRE>"),
        ("middle_token", "▁<MID>"), ("suffix_token", "▁<SUF>"), ("eot_token", "▁<EOT>"),
        ("fill_token", "<FILL_ME>"),
      ]
    case .gemma:
      return [
        ("bos_token", "<bos>"), ("eos_token", "<eos>"), ("unk_token", "<unk>"), ("pad_token", "<pad>"),
        ("mask_token", "<mask>"),
      ]
    case .bert:
      return [
        ("unk_token", "[UNK]"), ("sep_token", "[SEP]"), ("pad_token", "[PAD]"), ("cls_token", "[CLS]"),
        ("mask_token", "[MASK]"),
      ]
    case .t5: return [("eos_token", "</s>"), ("unk_token", "<unk>"), ("pad_token", "<pad>")]
    case .albert:
      return [
        ("bos_token", "[CLS]"), ("eos_token", "[SEP]"), ("unk_token", "<unk>"), ("sep_token", "[SEP]"),
        ("pad_token", "<pad>"), ("cls_token", "[CLS]"), ("mask_token", "[MASK]"),
      ]
    case .roberta, .xlmRoberta:
      return [
        ("bos_token", "<s>"), ("eos_token", "</s>"), ("unk_token", "<unk>"), ("sep_token", "</s>"),
        ("pad_token", "<pad>"), ("cls_token", "<s>"), ("mask_token", "<mask>"),
      ]
    }
  }
}

/// What a class puts around a vocabulary.
struct TokenizerProfile {
  /// What is done to make the post-processor.
  enum PostProcessing {
    /// The one of tokenizer.json; without one, begin and end as the configuration asks.
    case declared
    /// Begin and end as the configuration asks.
    case flags
    /// Tokens by role in front and behind.
    case around(begin: String?, end: String)
    /// Tokens by their texts, as they stand in the model.
    case aroundTexts(begin: String, end: String)
  }

  /// The kind of model that the class builds.
  enum Model: Equatable {
    case bytePairs(unknown: Bool, fusesUnknown: Bool, fallsBack: Bool)
    case wordPiece
    case unigram(unknown: Int)

    /// The name of the kind in tokenizer.json.
    var type: String {
      switch self {
      case .bytePairs: "BPE"
      case .wordPiece: "WordPiece"
      case .unigram: "Unigram"
      }
    }
  }

  let tokenizerClass: TokenizerClass
  var normalizers: [Normalizer] = []
  var preTokenizers: [PreTokenizer] = []
  var decoders: [Decoder] = []
  var model = Model.bytePairs(unknown: false, fusesUnknown: false, fallsBack: false)
  var postProcessing = PostProcessing.declared

  /// Words reach the model as raw bytes.
  var feedsBytes: Bool {
    if case .byteLevel = preTokenizers.last { true } else { false }
  }

  private static let qwen35Pattern =
    #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"#
    + #"\s*[\r\n]+|\s+(?!\S)|\s+"#

  /// - Parameters:
  ///   - fields: of tokenizer_config.json.
  ///   - rules: of a `Precompiled` normaliser of tokenizer.json, which some classes keep.
  init(_ tokenizerClass: TokenizerClass, _ fields: FieldReader, rules: Charsmap?) throws {
    self.tokenizerClass = tokenizerClass
    let space: [UInt8] = SentencePieceNormalizer.space
    let addsSpace = try fields.bool("add_prefix_space", default: false)
    let gpt2: PreTokenizer = .byteLevel(
      addsPrefixSpace: addsSpace, pattern: .known(.gpt2), mapsBytes: false)
    let precompiled = rules.map { [Normalizer.precompiled($0)] } ?? []
    let unescaped: Decoder = .replace(.text(space), with: " ")
    switch tokenizerClass {
    case .gpt2, .codeGen, .roberta:
      preTokenizers = [gpt2]
      decoders = [.byteLevel]
      if tokenizerClass == .roberta { postProcessing = .around(begin: "cls_token", end: "sep_token") }
    case .qwen2, .qwen35:
      normalizers = [.normalForm(.nfc)]
      let pattern: PreTokenizer.Pattern =
        tokenizerClass == .qwen2
        ? .known(.cl100k(digits: 1)) : .regex(try Regex(TokenizerProfile.qwen35Pattern, file: fields.file))
      preTokenizers = [
        .split(pattern, .isolated, inverted: false),
        .byteLevel(addsPrefixSpace: addsSpace, pattern: nil, mapsBytes: false),
      ]
      decoders = [.byteLevel]
    case .gptNeoX:
      normalizers = [.normalForm(.nfc)]
      preTokenizers = [gpt2]
      decoders = [.byteLevel]
      postProcessing = .flags
    case .cohere:
      normalizers = [.normalForm(.nfc)]
      preTokenizers = [.digits(individually: true), gpt2]
      decoders = [.byteLevel]
    case .llama, .codeLlama:
      // A missing or null `add_prefix_space` is true; a null `legacy` is not legacy.
      let addsSpace = try fields.bool("add_prefix_space", default: true)
      let isLegacy = try tokenizerClass == .llama && fields.bool("legacy", default: false)
      preTokenizers = [
        .metaspace(
          replacement: space, addsSpace ? (isLegacy ? .always : .first) : .never, splits: false)
      ]
      decoders = [unescaped, .byteFallback, .fuse]
      if addsSpace || tokenizerClass == .codeLlama { decoders.append(.strip(" ", start: 1, stop: 0)) }
      model = .bytePairs(unknown: tokenizerClass == .codeLlama, fusesUnknown: true, fallsBack: true)
      if tokenizerClass == .codeLlama { postProcessing = .flags }
    case .gemma:
      normalizers = [.replace(.text([UInt8(ascii: " ")]), with: space)]
      preTokenizers = [.split(.text([UInt8(ascii: " ")]), .mergedWithPrevious, inverted: false)]
      decoders = [unescaped, .byteFallback, .fuse]
      model = .bytePairs(unknown: true, fusesUnknown: true, fallsBack: true)
    case .bert:
      let lowercases = try fields.bool("do_lower_case", default: true)
      normalizers = [
        .bert(
          BertNormalizer(
            cleansText: true,
            handlesChineseCharacters: try fields.bool("tokenize_chinese_chars", default: true),
            stripsAccents: try fields.bool("strip_accents", default: lowercases), lowercases: lowercases))
      ]
      preTokenizers = [.bert]
      decoders = [.wordPiece(prefix: "##", cleansUp: true)]
      model = .wordPiece
      postProcessing = .around(begin: "cls_token", end: "sep_token")
    case .t5, .albert, .xlmRoberta:
      let addsSpace = try tokenizerClass == .t5 || fields.bool("add_prefix_space", default: true)
      let scheme: PreTokenizer.PrependScheme = addsSpace ? .always : .never
      if tokenizerClass == .albert {
        normalizers = [
          .replace(.text(Array("``".utf8)), with: [UInt8(ascii: "\"")]),
          .replace(.text(Array("''".utf8)), with: [UInt8(ascii: "\"")]),
        ]
        if try !fields.bool("keep_accents", default: false) {
          normalizers += [.normalForm(.nfkd), .stripAccents]
        }
        if try fields.bool("do_lower_case", default: true) { normalizers.append(.lowercase) }
      }
      normalizers += precompiled
      preTokenizers = [.whitespaceSplit, .metaspace(replacement: space, scheme, splits: true)]
      decoders = [.metaspace(replacement: "\u{2581}", scheme)]
      switch tokenizerClass {
      case .t5:
        model = .unigram(unknown: 2)
        postProcessing = .around(begin: nil, end: "eos_token")
      case .albert:
        model = .unigram(unknown: 1)
        postProcessing = .aroundTexts(begin: "cls_token", end: "sep_token")
      default:
        model = .unigram(unknown: 3)
        postProcessing = .around(begin: "bos_token", end: "eos_token")
      }
    }
  }
}
