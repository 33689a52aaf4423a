/// How the byte-pair vocabularies of GGUF files cut a text, by `tokenizer.ggml.pre`.
///
/// The patterns are those of the tokenizers that the names come from; where llama.cpp writes one in another way, both
/// give the same words.
/// - SeeAlso: `llama-vocab.cpp` of llama.cpp.
struct GGUFPreTokenizer {
  /// Applied one after another; matches and what is between them are words.
  var patterns: [String]
  /// A word that is a token is taken as it is.
  var ignoresMerges = false
  /// Whether the model's begin token is put in front when the file does not say.
  var addsBegin = false
  /// Words reach the model as text with marks for spaces, not as bytes.
  var marksSpaces = false

  private static let contractions = "'s|'t|'re|'ve|'m|'ll|'d"
  private static let anyCase = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
  private static let gpt2 = KnownPattern.gpt2Pattern
  private static let qwen2 = KnownPattern.cl100k(digits: 1).pattern
  private static let llama3 = KnownPattern.cl100k(digits: 3).pattern
  private static let spaces = #"\s*[\r\n]+|\s+(?!\S)|\s+"#

  private static func o200k(digits: String, suffix: String, marks: String = #"\p{M}"#) -> String {
    #"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\#(marks)]*[\p{Ll}\p{Lm}\p{Lo}\#(marks)]+"# + suffix
      + #"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\#(marks)]+[\p{Ll}\p{Lm}\p{Lo}\#(marks)]*"# + suffix
      + "|" + digits + #"| ?[^\s\p{L}\p{N}]+[\r\n/]*|"# + spaces
  }

  private static let gpt4o = o200k(digits: #"\p{N}{1,3}"#, suffix: "(?i:" + contractions + ")?")

  /// Chinese, Japanese and Korean as DeepSeek's first tokenizers have them.
  private static let deepSeekIdeographs = #"[\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+"#

  private static let deepSeekWords =
    #"\s?[A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}"#
    + #"\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}"#
    + #"\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}"#
    + #"\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}"#
    + #"\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}"#
    + #"\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}"#
    + #"\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}"#
    + #"\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}"#
    + #"\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}"#
    + #"\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}"#
    + #"\x{A640}-\x{A66D}\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}"#
    + #"\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}"#
    + #"\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}"#
    + #"\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}]+"#

  private static let deepSeek3 = [
    #"\p{N}{1,3}"#, #"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+"#,
    ##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|"##
      + spaces,
  ]

  private static let bloom =
    #" ?[^(\s|.,!?\x{2026}\x{3002}\x{FF0C}\x{3001}\x{964}\x{6D4}\x{60C})]+"#

  /// The way of a name; `nil` for one that is not known.
  init?(named name: String) {
    typealias Own = GGUFPreTokenizer
    switch name {
    case "", "default":
      patterns = [#"[\p{P}\$\+<=>\^~\|]+"#, Own.gpt2, #"\p{N}+"#, "[0-9][0-9][0-9]"]
    case "llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2",
      "jina-v5-nano":
      patterns = [Own.llama3]
      ignoresMerges = true
      addsBegin = true
    case "dbrx", "smaug-bpe", "glm4", "chatglm-bpe": patterns = [Own.llama3]
    case "minicpm5":
      patterns = [
        #"\p{N}{1,3}"#,
        Own.anyCase + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|"# + Own.spaces,
      ]
      ignoresMerges = true
    case "gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum",
      "modern-bert", "jina-v1-en", "jina-v2-code", "roberta-bpe", "exaone4", "mpt", "olmo", "jais",
      "trillion",
      "granite-docling":
      patterns = [Own.gpt2]
    case "starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2":
      patterns = [#"\p{N}"#, Own.gpt2]
    case "qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open",
      "grok-2":
      patterns = [Own.qwen2]
    case "qwen35":
      patterns = [
        "(?i:" + Own.contractions
          + #")|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|"# + Own.spaces
      ]
    case "deepseek-llm":
      patterns = [
        #"[\r\n]"#, Own.deepSeekWords,
        #"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+"#, #"\s+$"#,
        Own.deepSeekIdeographs, #"\p{N}+"#,
      ]
    case "deepseek-coder":
      patterns = [#"[\r\n]"#, #"\s?\p{L}+"#, #"\s?\p{P}+"#, Own.deepSeekIdeographs, #"\p{N}"#]
    case "deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4": patterns = Own.deepSeek3
    case "falcon":
      patterns = [#"[\p{P}\$\+<=>\^~\|`]+"#, Own.gpt2, "[0-9][0-9][0-9]"]
    case "poro-chat", "bloom", "gpt3-finnish": patterns = [Own.bloom]
    case "viking": patterns = [Own.bloom, #"\p{N}"#]
    case "tekken":
      patterns = [Own.o200k(digits: #"\p{N}"#, suffix: "")]
      ignoresMerges = true
      addsBegin = true
    case "gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2": patterns = [Own.gpt4o]
    case "tiny_aya", "cohere2moe": patterns = [#"\d{1,3}(?=(?:\d{3})*\b)"#, Own.gpt4o]
    case "chameleon":
      patterns = [
        "<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", #"([\t\n]|    |  )"#, #"\p{N}"#,
        #"[\p{P}!-/:-@\[-`{-~]"#, Own.gpt2,
      ]
      addsBegin = true
    case "superbpe": patterns = [#"\p{N}+"#, #"(?=(\d{3})+(?!\d))"#]
    case "bailingmoe", "bailingmoe2", "llada-moe":
      patterns = [
        #"'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"#
          + #"|\s*[\r\n]|\s+(?!\S)|\s+"#
      ]
    case "seed-coder":
      patterns = [
        Own.anyCase + #"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|"# + Own.spaces
      ]
    case "ufakzeka":
      patterns = [#"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|"# + Own.spaces]
    case "laguna": patterns = [#"[^\n]+|[\n]+"#, Own.qwen2]
    case "exaone-moe":
      patterns = [
        Own.anyCase
          + #"|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?"#
          + #"|\s*[\r\n]|\s+(?!\S)|\s+"#
      ]
    case "youtu":
      patterns = [
        #"[\x{AC00}-\x{D7A3}\x{3131}-\x{318E}]+|"#
          + #"[\x{FF01}\x{2026}\x{201C}\x{201D}\x{2018}\x{2019}\x{2014}\x{FF1A}\x{FF1B}\x{FF0C}\x{3001}-\x{303F}"#
          + #"\x{FE30}-\x{FE4F}]+|[\x{3105}-\x{312F}]+|[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+"#,
        Own.o200k(digits: #"\p{N}"#, suffix: Own.anyCase + "?"),
      ]
      ignoresMerges = true
    case "gemma4", "sarvam-moe", "granite-embed-multi-311m":
      patterns = [#"[^\n]+|[\n]+"#]
      marksSpaces = true
      addsBegin = name == "gemma4"
    default: return nil
    }
  }

  /// The steps for a model that takes bytes, or text when spaces are marked.
  func preTokenizers(file: String) throws -> [PreTokenizer] {
    let splits = try patterns.map { text in
      PreTokenizer.split(
        try KnownPattern(text).map { .known($0) } ?? .regex(Regex(text, file: file)), .isolated,
        inverted: false)
    }
    return marksSpaces
      ? splits : splits + [.byteLevel(addsPrefixSpace: false, pattern: nil, mapsBytes: false)]
  }
}
