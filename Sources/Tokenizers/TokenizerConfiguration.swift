import Checkpoints
import JSON

/// What tokenizer_config.json and its older companions say beside the tokenizer's own file.
struct TokenizerConfiguration {
  /// The fields of tokenizer_config.json and of what is laid over them.
  private(set) var fields: FieldReader
  /// Whether there is any of these files.
  private(set) var exists = false
  /// The class that rebuilds the pipeline; `nil` when the tokenizer's file counts as it is.
  var tokenizerClass: TokenizerClass?
  /// Special tokens by role, such as `eos_token`.
  var named: [(role: String, token: AddedToken)] = []
  /// Special tokens without a role.
  var extra: [AddedToken] = []
  /// Tokens to add before those, by id.
  var added: [(id: Int, token: AddedToken)] = []
  private(set) var addsBeginOfSequence = false
  private(set) var addsEndOfSequence = false
  private(set) var mentionsBeginFlag = false
  private(set) var cleansUpSpaces = false
  /// Special tokens in a text are cut like any text.
  private(set) var splitsSpecialTokens = false
  private(set) var cleansUpSpacesOfBytePairs = false
  /// Roles that some file mentions, be it with `null`.
  private var mentioned: Set<String> = []

  private static let roles = [
    "bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token",
  ]

  /// No files: what a class has by itself.
  init(_ tokenizerClass: TokenizerClass) throws {
    fields = FieldReader(JSONObject(), file: "tokenizer_config.json", path: "")
    self.tokenizerClass = tokenizerClass
    try applyClassDefaults()
  }

  /// Reads what there is in a folder; all of it may be absent.
  init(folder: String) throws {
    var fields = JSONObject()
    let file = folder + "/tokenizer_config.json"
    if fileExists(file) {
      fields = try FieldReader(JSONDocument.load(file), file: file, path: "").object
    }
    let reader = FieldReader(fields, file: file, path: "")
    self.fields = reader
    exists = fileExists(file) || fileExists(folder + "/special_tokens_map.json")
    tokenizerClass = try TokenizerConfiguration.tokenizerClass(
      declared: reader.optionalString("tokenizer_class"), folder)
    splitsSpecialTokens = try reader.bool("split_special_tokens", default: false)
    addsBeginOfSequence = try reader.bool("add_bos_token", default: false)
    mentionsBeginFlag = reader["add_bos_token"] != nil
    addsEndOfSequence = try reader.bool("add_eos_token", default: false)
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
    self.fields = FieldReader(fields, file: file, path: "")
    try readSpecialTokens(self.fields)
    mentioned = Set(fields.members.map(\.key))
    try applyClassDefaults()
  }

  /// Whether the class takes the added tokens that the configuration lists, and not those of tokenizer.json.
  var rebuildsAddedTokens: Bool { !added.isEmpty && tokenizerClass != nil }

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
  mutating func applyClassDefaults() throws {
    for (role, content) in tokenizerClass?.defaultTokens ?? [] { setDefault(role, content) }
    named.sort { TokenizerConfiguration.order($0.role) < TokenizerConfiguration.order($1.role) }
    if tokenizerClass == .t5, extra.isEmpty, !mentioned.contains("additional_special_tokens") {
      let count = try fields.count("extra_ids", default: 100)
      guard count < 1 << 20 else { throw fields.malformed("extra_ids", "is \(count), out of all proportion") }
      extra = (0..<count).map { AddedToken(content: "<extra_id_\($0)>") }
    }
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

  /// The class that transformers chooses by the tokenizer's files and config.json.
  private static func tokenizerClass(declared: String?, _ folder: String) throws -> TokenizerClass? {
    let file = folder + "/config.json"
    var modelClass: String?
    var modelType: String?
    if fileExists(file) {
      let reader = try FieldReader(JSONDocument.load(file), file: file, path: "")
      modelClass = try reader.optionalString("tokenizer_class")
      modelType = try reader.optionalString("model_type")
    }
    let json = folder + "/tokenizer.json"
    let isByteLevel =
      try (declared ?? modelClass)?.hasPrefix(TokenizerClass.llama.rawValue) == true && fileExists(json)
      && readFile(json, acceptingPipes: false).withUnsafeBytes { contains("\"ByteLevel\"", $0) }
    let name = TokenizerClass.chosen(
      tokenizerClass: declared, modelClass: modelClass, modelType: modelType, isByteLevel: isByteLevel)
    return name.flatMap { TokenizerClass(named: $0) }
  }

  private static func contains(_ wanted: String, _ bytes: UnsafeRawBufferPointer) -> Bool {
    var isFound = false
    PreTokenizer.forEachOccurrence(of: Array(wanted.utf8), in: bytes.bindMemory(to: UInt8.self)) { _, _ in
      isFound = true
    }
    return isFound
  }
}
