import Checkpoints
import JSON

/// What tokenizer_config.json and its older companions say beside tokenizer.json.
struct TokenizerConfiguration {
  /// The tokenizer's class without the suffix `Fast`; it sets defaults.
  var className: String?
  /// Special tokens by role, such as `eos_token`.
  var named: [(role: String, token: AddedToken)] = []
  /// Special tokens without a role.
  var extra: [AddedToken] = []
  /// Tokens to add before those, by id.
  var added: [(id: Int, token: AddedToken)] = []
  var addsBeginOfSequence = false
  var addsEndOfSequence = false
  var addsPrefixSpace = false
  var cleansUpSpaces = false
  var cleansUpSpacesOfBytePairs = false
  /// Roles that some file mentions, be it with `null`.
  private var mentioned: Set<String> = []

  private static let roles = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// Reads what there is in a folder; all of it may be absent.
  init(folder: String) throws {
    var fields = JSONObject()
    let file = folder + "/tokenizer_config.json"
    if fileExists(file) {
      fields = try FieldReader(JSONDocument.load(file), file: file, path: "").object
    }
    let reader = FieldReader(fields, file: file, path: "")
    className = try reader.optionalString("tokenizer_class")
    if className == nil { className = try TokenizerConfiguration.modelClass(folder) }
    if let name = className, name.hasSuffix("Fast") { className = String(name.dropLast(4)) }
    addsBeginOfSequence = try reader.bool("add_bos_token", default: false)
    addsEndOfSequence = try reader.bool("add_eos_token", default: false)
    addsPrefixSpace = try reader.bool("add_prefix_space", default: false)
    cleansUpSpaces = try reader.bool("clean_up_tokenization_spaces", default: false)
    cleansUpSpacesOfBytePairs = try reader.bool(
      "clean_up_tokenization_spaces_for_bpe_even_though_it_will_corrupt_output", default: false)

    if let decoder = try reader.part("added_tokens_decoder") {
      for member in decoder.object.members {
        guard let id = Int(member.key) else { throw decoder.malformed(member.key, "is not a token id") }
        added.append((id, try TokenizerConfiguration.token(decoder, member.key, defaultsToSpecial: false)))
      }
      added.sort { $0.id < $1.id }
    } else {
      try overlay(&fields, folder)
    }
    try readSpecialTokens(FieldReader(fields, file: file, path: ""))
    mentioned = Set(fields.members.map(\.key))
    applyClassDefaults()
  }

  /// Whether the class builds its tokenizer anew from vocabulary and merges.
  ///
  /// It then takes the added tokens that the configuration lists, and not those of tokenizer.json.
  var rebuildsAddedTokens: Bool {
    let classes = [
      "GPT2Tokenizer", "Qwen2Tokenizer", "Qwen3_5Tokenizer", "LlamaTokenizer", "CodeLlamaTokenizer",
      "GemmaTokenizer", "GPTNeoXTokenizer", "CohereTokenizer", "CodeGenTokenizer",
    ]
    return !added.isEmpty && className.map { classes.contains($0) } == true
  }

  /// Sets a role that no file mentions.
  mutating func setDefault(_ role: String, _ content: String) {
    if mentioned.insert(role).inserted { named.append((role, AddedToken(content: content))) }
  }

  /// Older folders keep the special tokens in special_tokens_map.json; it counts more than the
  /// configuration.
  private mutating func overlay(_ fields: inout JSONObject, _ folder: String) throws {
    let map = folder + "/special_tokens_map.json"
    if fileExists(map) {
      for member in try FieldReader(JSONDocument.load(map), file: map, path: "").object.members {
        fields.members.removeAll { $0.key == member.key }
        fields.members.append(member)
      }
    }
  }

  private mutating func readSpecialTokens(_ reader: FieldReader) throws {
    for member in reader.object.members {
      guard member.key.hasSuffix("_token"), !member.value.isNull else { continue }
      let isKnown = TokenizerConfiguration.roles.contains(member.key)
      guard isKnown || member.value.string != nil else { continue }
      named.append(
        (member.key, try TokenizerConfiguration.token(reader, member.key, defaultsToSpecial: true)))
    }
    named.sort { TokenizerConfiguration.order($0.role) < TokenizerConfiguration.order($1.role) }
    // `extra_special_tokens` replaces `additional_special_tokens` where both say something.
    for key in ["extra_special_tokens", "additional_special_tokens"] {
      guard let value = reader[key] else { continue }
      if let object = value.object {
        let part = FieldReader(object, file: reader.file, path: reader.name(key))
        for member in object.members {
          named.append(
            (member.key, try TokenizerConfiguration.token(part, member.key, defaultsToSpecial: true)))
        }
        if !object.members.isEmpty { break }
      } else {
        for (index, _) in try reader.array(key).enumerated() {
          extra.append(try TokenizerConfiguration.element(reader, key, index))
        }
        if !extra.isEmpty { break }
      }
    }
    // A role whose token is listed with its flags takes those flags.
    for index in named.indices {
      if let listed = added.last(where: { $0.token.content == named[index].token.content }) {
        named[index].token = listed.token
      }
    }
  }

  /// The class's own defaults, for roles that no file mentions (`null` counts as a mention).
  mutating func applyClassDefaults() {
    let defaults: [String]
    switch className {
    case "GPT2Tokenizer": defaults = ["unk_token", "bos_token", "eos_token"]
    case "Qwen2Tokenizer": defaults = ["unk_token", "eos_token", "pad_token"]
    default: defaults = []
    }
    for role in defaults { setDefault(role, "<|endoftext|>") }
  }

  private static func order(_ role: String) -> Int { roles.firstIndex(of: role) ?? roles.count }

  private static func token(_ reader: FieldReader, _ key: String, defaultsToSpecial: Bool) throws
    -> AddedToken
  {
    guard let value = reader[key] else { throw reader.malformed(key, "is missing") }
    return try token(value, reader.file, reader.name(key), defaultsToSpecial: defaultsToSpecial)
  }

  private static func element(_ reader: FieldReader, _ key: String, _ index: Int) throws -> AddedToken {
    let name = "\(reader.name(key))[\(index)]"
    return try token(reader.array(key)[index], reader.file, name, defaultsToSpecial: true)
  }

  /// A token as a text or as an object with flags.
  static func token(
    _ value: JSONValue, _ file: String, _ name: String, defaultsToSpecial: Bool
  ) throws -> AddedToken {
    if let content = value.string { return AddedToken(content: content) }
    let part = try FieldReader(value, file: file, path: name)
    let isSpecial = try part.bool("special", default: defaultsToSpecial)
    return AddedToken(
      content: try part.string("content"), isSingleWord: try part.bool("single_word", default: false),
      stripsLeft: try part.bool("lstrip", default: false),
      stripsRight: try part.bool("rstrip", default: false),
      isNormalized: try part.bool("normalized", default: !isSpecial), isSpecial: isSpecial)
  }

  /// The class that transformers chooses by config.json where the tokenizer's files name none.
  private static func modelClass(_ folder: String) throws -> String? {
    let file = folder + "/config.json"
    guard fileExists(file) else { return nil }
    let reader = try FieldReader(JSONDocument.load(file), file: file, path: "")
    if let name = try reader.optionalString("tokenizer_class") { return name }
    switch try reader.optionalString("model_type") {
    case "gpt2", "gpt_neo", "gptj", "opt", "phi", "starcoder2": return "GPT2Tokenizer"
    case "qwen2", "qwen2_moe", "qwen3", "qwen3_moe": return "Qwen2Tokenizer"
    default: return nil
    }
  }
}
