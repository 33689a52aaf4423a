import JSON

/// Reads the model of a tokenizer.json.
enum ModelReader {
  /// - Parameters:
  ///   - feedsBytes: words reach the model as raw bytes.
  ///   - profile: what a class of transformers makes of the vocabulary instead of what is declared.
  static func model(
    _ part: FieldReader, feedsBytes: Bool, profile: TokenizerProfile? = nil, unknown: String? = nil
  ) throws -> (vocabulary: ModelVocabulary, model: Tokenizer.Storage.Model) {
    switch try type(of: part) {
    case "BPE":
      let unit: BytePairEncoding.Unit = feedsBytes ? .byte : .character
      return try bytePairs(part, unit: unit, profile?.model, unknown: unknown)
    case "WordLevel":
      let vocabulary = try vocabulary(part, unit: .character)
      let name = try part.string("unk_token")
      let model = WordLevel(
        vocabulary: vocabulary.table, unknown: vocabulary.id(for: name), unknownText: name)
      return (vocabulary, .wordLevel(model))
    case "WordPiece":
      let vocabulary = try vocabulary(part, unit: .character)
      if profile != nil { return (vocabulary, wordPieces(vocabulary, unknown: unknown ?? "[UNK]")) }
      let name = try part.string("unk_token")
      let model = WordPiece(
        vocabulary: vocabulary.table, prefix: try part.string("continuing_subword_prefix"),
        maximumCharacters: try part.count("max_input_chars_per_word"), unknown: vocabulary.id(for: name),
        unknownText: name)
      return (vocabulary, .wordPiece(model))
    case "Unigram": return try unigram(part, profile?.model)
    case let type: throw part.unsupported(type)
    }
  }

  /// The declared type; old files leave it out, and the fields of a model tell which it is.
  static func type(of part: FieldReader) throws -> String {
    if let type = try part.optionalString("type") { return type }
    if part["merges"] != nil { return "BPE" }
    if part["max_input_chars_per_word"] != nil { return "WordPiece" }
    if part["vocab"]?.array != nil { return "Unigram" }
    if part["unk_token"] != nil { return "WordLevel" }
    throw part.malformed("type", "is missing")
  }

  /// BERT's own WordPiece.
  static func wordPieces(_ vocabulary: ModelVocabulary, unknown: String) -> Tokenizer.Storage.Model {
    .wordPiece(
      WordPiece(
        vocabulary: vocabulary.table, prefix: "##", maximumCharacters: 100,
        unknown: vocabulary.id(for: unknown),
        unknownText: unknown))
  }

  private static func unigram(
    _ part: FieldReader, _ rebuilt: TokenizerProfile.Model?
  ) throws -> (vocabulary: ModelVocabulary, model: Tokenizer.Storage.Model) {
    let field = part.name("vocab")
    var tokens: [(text: String, id: UInt32)] = []
    var scores: [Double] = []
    for (index, value) in try part.array("vocab").enumerated() {
      guard let pair = value.array, pair.count == 2, case .string(let text) = pair[0],
        let score = pair[1].double, score.isFinite
      else {
        throw TokenizerError.malformed(
          file: part.file, field: "\(field)[\(index)]", reason: "is not a token and its score")
      }
      tokens.append((text, UInt32(index)))
      scores.append(RustNumber.parsed(score))
    }
    var unknown = part["unk_id"] == nil ? nil : try part.count("unk_id")
    var fallsBack = try part.bool("byte_fallback", default: false)
    if case .unigram(let id) = rebuilt { (unknown, fallsBack) = (id, false) }
    if let unknown, unknown >= tokens.count {
      throw part.malformed("unk_id", "is \(unknown) in a vocabulary of \(tokens.count) tokens")
    }
    let vocabulary = try ModelVocabulary(
      tokens, unit: .character, keepsRepeated: true, file: part.file, field: field)
    let model = Unigram(
      vocabulary: vocabulary.table, scores: scores, unknown: unknown.map { UInt32($0) },
      fallback: fallsBack ? fallbackTokens(vocabulary) : nil)
    return (vocabulary, .unigram(model))
  }

  /// The tokens `<0x00>`…`<0xFF>`, `missing` where there is none.
  static func fallbackTokens(_ vocabulary: ModelVocabulary) -> [UInt32] {
    let digits = Array("0123456789ABCDEF")
    return (0..<256).map {
      vocabulary.id(for: "<0x\(digits[$0 >> 4])\(digits[$0 & 15])>") ?? BytePairEncoding.missing
    }
  }

  private static func vocabulary(_ part: FieldReader, unit: BytePairEncoding.Unit) throws -> ModelVocabulary {
    guard let value = part["vocab"] else { throw part.malformed("vocab", "is missing") }
    return try vocabulary(value, unit: unit, file: part.file, field: part.name("vocab"))
  }

  /// A vocabulary from an object of texts and ids.
  static func vocabulary(
    _ value: JSONValue, unit: BytePairEncoding.Unit, file: String, field: String
  ) throws -> ModelVocabulary {
    guard let object = value.object else {
      throw TokenizerError.malformed(file: file, field: field, reason: "is \(value.kind), not an object")
    }
    var tokens: [(text: String, id: UInt32)] = []
    tokens.reserveCapacity(object.members.count)
    for member in object.members {
      guard case .integer(let number) = member.value, let id = UInt32(exactly: number), id != .max else {
        throw TokenizerError.malformed(
          file: file, field: field, reason: "the id of \(member.key) is not an integer from 0 to 4294967294")
      }
      tokens.append((member.key, id))
    }
    return try ModelVocabulary(tokens, unit: unit, file: file, field: field)
  }

  private static func bytePairs(
    _ part: FieldReader, unit: BytePairEncoding.Unit, _ rebuilt: TokenizerProfile.Model?,
    unknown name: String?
  ) throws -> (vocabulary: ModelVocabulary, model: Tokenizer.Storage.Model) {
    if let value = part["dropout"] {
      guard let dropout = value.double else {
        throw part.malformed("dropout", "is \(value.kind), not a number")
      }
      // With dropout the same text gives other tokens every time; that serves training alone.
      guard dropout == 0 else { throw part.malformed("dropout", "is \(dropout); set it to null to encode") }
    }
    let vocabulary = try vocabulary(part, unit: unit)
    if case .bytePairs(let hasUnknown, let fusesUnknown, let fallsBack) = rebuilt {
      let merges = try mergeTable(
        merges: try part.array("merges"), vocabulary, prefix: "", file: part.file, field: part.name("merges"))
      let model = bytePairs(
        vocabulary, merges, unknown: hasUnknown ? name : nil, fusesUnknown: fusesUnknown, fallsBack: fallsBack
      )
      return (vocabulary, .bytePairs(model))
    }
    let prefix = try part.optionalString("continuing_subword_prefix") ?? ""
    let merges = try mergeTable(
      merges: try part.array("merges"), vocabulary, prefix: prefix, file: part.file,
      field: part.name("merges"))
    let unknown = try part.optionalString("unk_token")
    let model = bytePairs(
      vocabulary, merges, prefix: prefix, suffix: try part.optionalString("end_of_word_suffix") ?? "",
      unknown: unknown, fusesUnknown: try part.bool("fuse_unk", default: false),
      fallsBack: try part.bool("byte_fallback", default: false),
      ignoresMerges: try part.bool("ignore_merges", default: false))
    return (vocabulary, .bytePairs(model))
  }

  /// A byte-pair encoding of a vocabulary and its merges.
  static func bytePairs(
    _ vocabulary: ModelVocabulary, _ merges: MergeTable, prefix: String = "", suffix: String = "",
    unknown: String? = nil, fusesUnknown: Bool = false, fallsBack: Bool = false, ignoresMerges: Bool = false
  ) -> BytePairEncoding {
    let unit = vocabulary.unit
    let missing = BytePairEncoding.missing
    var byteTokens: [UInt32] = []
    if unit == .byte {
      byteTokens = (0...255).map { byte in
        withUnsafeBytes(of: UInt8(byte)) { vocabulary.table.find($0.bindMemory(to: UInt8.self)) ?? missing }
      }
    }
    let unknownID = unknown.flatMap { vocabulary.id(for: $0) }
    return BytePairEncoding(
      unit: unit, vocabulary: vocabulary.table, merges: merges, byteTokens: byteTokens,
      hasAllBytes: unit == .byte && prefix.isEmpty && suffix.isEmpty && !byteTokens.contains(missing),
      fallback: fallsBack ? fallbackTokens(vocabulary) : nil, unknown: unknownID, fusesUnknown: fusesUnknown,
      missingUnknown: unknownID == nil ? unknown : nil, prefix: affix(prefix, unit),
      suffix: affix(suffix, unit),
      ignoresMerges: ignoresMerges, hasSharedTokens: vocabulary.hasSharedIDs)
  }

  /// A prefix or suffix in the form of the vocabulary's keys.
  private static func affix(_ text: String, _ unit: BytePairEncoding.Unit) -> [UInt8] {
    unit == .byte ? ByteLevelStage.bytes(of: text) : Array(text.utf8)
  }

  /// The merges in either spelling: `["a", "b"]` or `"a b"`.
  private static func mergeTable(
    merges: [JSONValue], _ vocabulary: ModelVocabulary, prefix: String, file: String, field: String
  ) throws -> MergeTable {
    var reader = MergeReader(capacity: merges.count, vocabulary, prefix: prefix, file: file, field: field)
    var isListed: Bool?
    for merge in merges {
      switch merge {
      case .array(let pair):
        guard isListed != false, pair.count == 2, case .string(let left) = pair[0],
          case .string(let right) = pair[1]
        else { throw reader.malformed("is not a pair of tokens") }
        isListed = true
        try reader.add(left, right)
      case .string(let line):
        guard isListed != true else { throw reader.malformed("mixes two spellings") }
        isListed = false
        if line.hasPrefix("#version") { continue }
        try reader.add(line: line)
      default: throw reader.malformed("is \(merge.kind), not a pair of tokens")
      }
    }
    return reader.table
  }
}

/// Fills a table of merges from texts.
struct MergeReader {
  let table: MergeTable
  private let vocabulary: ModelVocabulary
  private let prefixCount: Int
  private let file: String
  private let field: String
  private var rank: UInt32 = 0

  init(capacity: Int, _ vocabulary: ModelVocabulary, prefix: String, file: String, field: String) {
    table = MergeTable(capacity: capacity)
    self.vocabulary = vocabulary
    prefixCount = prefix.utf8.count
    self.file = file
    self.field = field
  }

  /// An error that names the merge that is next.
  func malformed(_ reason: String) -> TokenizerError {
    .malformed(file: file, field: field.isEmpty ? "merge \(rank)" : "\(field)[\(rank)]", reason: reason)
  }

  /// Adds a merge written as two tokens with a space between.
  mutating func add(line: String) throws {
    let parts = line.utf8.split(separator: UInt8(ascii: " "), omittingEmptySubsequences: false)
    guard parts.count == 2 else { throw malformed("\"\(line)\" is not two tokens with a space between") }
    try add(String(parts[0])!, String(parts[1])!)
  }

  /// Adds a merge; all three tokens must be in the vocabulary.
  mutating func add(_ left: String, _ right: String) throws {
    guard let leftID = vocabulary.id(for: left) else { throw unknown(left) }
    guard let rightID = vocabulary.id(for: right) else { throw unknown(right) }
    guard right.utf8.count >= prefixCount else {
      throw malformed("\(right) is shorter than the subword prefix")
    }
    var whole = left
    whole += prefixCount == 0 ? right : String(decoding: right.utf8.dropFirst(prefixCount), as: UTF8.self)
    guard let wholeID = vocabulary.id(for: whole) else { throw unknown(whole) }
    table.insert(leftID, rightID, .init(rank: rank, token: wholeID))
    rank += 1
  }

  private func unknown(_ token: String) -> TokenizerError {
    malformed("the token \(token) is not in the vocabulary; add it or remove the merge")
  }
}
