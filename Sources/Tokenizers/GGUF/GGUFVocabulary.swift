import Checkpoints
import JSON

/// The tokenizer that a GGUF file carries in its metadata, cut as llama.cpp cuts it.
///
/// Equal to llama.cpp (version b11549) but for: characters newer than its Unicode tables or older than ours; a text in
/// which two special tokens overlap, where the leftmost and longest counts; BERT's vocabularies, which are cut and decoded
/// as BERT's own tokenizer does it, decompositions whole; user-defined symbols of `t5` vocabularies, which llama.cpp also
/// takes for found when a text only begins like one; combining marks in words of `gpt-4o` and `tekken`, and word
/// boundaries of `tiny_aya`, where the tokenizers' own patterns count.
/// Texts are decoded token by token, without `clean_spaces`.
/// - SeeAlso: `llama_vocab::impl::load` and `tokenize` of llama.cpp.
struct GGUFVocabulary {
  private typealias Kind = SentencePieceFile.Kind

  private static let prefix = "tokenizer.ggml."
  private static let space = SentencePieceNormalizer.space
  private static let unescaped: Decoder = .replace(.text(space), with: " ")

  /// The keys of tokens by role.
  private static let roleKeys = [
    ("cls_token", "cls_token_id"), ("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"),
    ("eot_token", "eot_token_id"), ("eom_token", "eom_token_id"), ("unk_token", "unknown_token_id"),
    ("sep_token", "seperator_token_id"), ("pad_token", "padding_token_id"), ("mask_token", "mask_token_id"),
  ]

  private let metadata: GGUFMetadata
  /// The kind of vocabulary.
  private let model: String
  /// By id; the score of a token without one is 0.
  private var pieces: [SentencePieceFile.Piece] = []
  /// Tokens by role.
  private var roles: [String: Int] = [:]

  /// The tokenizer of a file's metadata.
  ///
  /// - Throws: `TokenizerError` for a vocabulary that is damaged or of an unknown kind; `GGUFError` for a value of
  ///   another type than expected.
  static func load(_ metadata: GGUFMetadata) throws -> Tokenizer.Storage {
    if let text = try metadata.string(GGUFVocabularyExport.documentKey) { return try parse(text, metadata) }
    var vocabulary = try GGUFVocabulary(metadata)
    try vocabulary.readPieces()
    try vocabulary.readRoles()
    vocabulary.markControlTokens()
    return try vocabulary.assemble()
  }

  /// A whole tokenizer.json, which says more than the vocabulary beside it.
  private static func parse(_ text: String, _ metadata: GGUFMetadata) throws -> Tokenizer.Storage {
    let document: JSONValue
    do {
      document = try JSONValue.parse(text)
    } catch let fault as JSONError {
      throw TokenizerError.malformed(
        file: metadata.path, field: GGUFVocabularyExport.documentKey, reason: "is \(fault)")
    }
    let storage = try TokenizerLoader.parse(document, file: metadata.path)
    var roles: [String: String] = [:]
    for (role, key) in roleKeys {
      guard let id = try metadata.integer(prefix + key), let number = UInt32(exactly: id) else { continue }
      roles[role] = storage.added.texts[number] ?? storage.vocabulary.text(of: id)
    }
    return Tokenizer.Storage(
      vocabulary: storage.vocabulary, model: storage.model, added: storage.added,
      normalizers: storage.normalizers, preTokenizers: storage.preTokenizers,
      postProcessor: storage.postProcessor, decoders: storage.decoders, namedTokens: roles)
  }

  /// Whether there is a vocabulary.
  static func exists(in metadata: GGUFMetadata) -> Bool {
    if metadata.contains(GGUFVocabularyExport.documentKey) { return true }
    guard metadata.contains(prefix + "tokens") else { return false }
    let model = (try? metadata.string(prefix + "model")) ?? nil
    return model != "no_vocab" && model != "none"
  }

  private init(_ metadata: GGUFMetadata) throws {
    self.metadata = metadata
    guard let model = try metadata.string(GGUFVocabulary.prefix + "model") else {
      throw TokenizerError.malformed(
        file: metadata.path, field: GGUFVocabulary.prefix + "model",
        reason: "is missing; give the tokenizer in a folder beside the file")
    }
    self.model = model
  }

  private func malformed(_ key: String, _ reason: String) -> TokenizerError {
    .malformed(file: metadata.path, field: GGUFVocabulary.prefix + key, reason: reason)
  }

  private func flag(_ key: String) throws -> Bool? { try metadata.boolean(GGUFVocabulary.prefix + key) }

  // MARK: Reading

  private mutating func readPieces() throws {
    guard let texts = try metadata.strings(GGUFVocabulary.prefix + "tokens") else {
      throw malformed("tokens", "is missing; the file has no vocabulary")
    }
    guard texts.count > 0, texts.count < 1 << 26 else {
      throw malformed("tokens", "has \(texts.count) entries")
    }
    // Counted before they are copied: a file may hold more of them than memory does.
    for key in ["scores", "token_type"] {
      if let count = metadata.elementCount(GGUFVocabulary.prefix + key),
        !(texts.count..<1 << 26).contains(count)
      {
        throw malformed(key, "has \(count) entries for \(texts.count) tokens")
      }
    }
    let scores = try metadata.floats(GGUFVocabulary.prefix + "scores")
    let kinds = try metadata.integers(GGUFVocabulary.prefix + "token_type")
    pieces.reserveCapacity(texts.count)
    for (index, raw) in texts.enumerated() {
      let bytes = raw.bindMemory(to: UInt8.self)
      guard UTF8Bytes.firstInvalidByte(bytes) == nil else {
        throw malformed("tokens[\(index)]", "is not UTF-8")
      }
      var piece = SentencePieceFile.Piece()
      // An empty token has no text that could be found; it gets one as in llama.cpp.
      piece.text = bytes.isEmpty ? "[EMPTY_\(index)]" : String(decoding: bytes, as: UTF8.self)
      if let scores {
        guard scores[index].isFinite else { throw malformed("scores[\(index)]", "is \(scores[index])") }
        piece.score = scores[index]
      }
      if let kinds { piece.kind = UInt8(exactly: kinds[index]).flatMap { Kind(rawValue: $0) } ?? .normal }
      pieces.append(piece)
    }
  }

  /// The roles of tokens; a number beyond the vocabulary names none.
  private mutating func readRoles() throws {
    let defaults: [String: Int] =
      switch model {
      case "llama": ["bos_token": 1, "eos_token": 2, "unk_token": 0]
      case "bert": ["bos_token": 101, "unk_token": 100, "sep_token": 102, "pad_token": 0, "mask_token": 103]
      case "t5": ["eos_token": 1, "unk_token": 2, "pad_token": 0]
      default: [:]
      }
    for (role, id) in defaults where id < pieces.count { roles[role] = id }
    for (role, key) in GGUFVocabulary.roleKeys {
      guard let id = try metadata.integer(GGUFVocabulary.prefix + key), id >= 0, id < pieces.count else {
        continue
      }
      roles[role] = id
    }
    if model == "bert", try metadata.integer(GGUFVocabulary.prefix + "bos_token_id") == nil,
      let id = roles["cls_token"]
    {
      roles["bos_token"] = id
    }
  }

  /// Texts at which a generation ends or that mark a prompt's parts, whatever type the file gives them.
  private static let ends: Set<String> = [
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
    "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
  ]
  private static let infills: Set<String> = [
    "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>",
    "<|prefix|>", "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
    "<|code_suffix|>", "<|suffix|>", "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>",
    "▁<MID>", "<|code_middle|>", "<|middle|>", "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]",
    "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
  ]
  private static let shown: Set<String> = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"]

  private mutating func markControlTokens() {
    for index in pieces.indices {
      let text = pieces[index].text
      if GGUFVocabulary.shown.contains(text) {
        pieces[index].kind = .userDefined
      } else if GGUFVocabulary.ends.contains(text) || GGUFVocabulary.infills.contains(text) {
        pieces[index].kind = .control
      }
    }
  }

  // MARK: Assembling

  /// What the kinds of vocabulary differ in.
  private struct Pipeline {
    var unit = BytePairEncoding.Unit.character
    var normalizers: [Normalizer] = []
    var preTokenizers: [PreTokenizer] = []
    var decoders: [Decoder] = []
    var addsBegin = false
    var addsEnd = false
  }

  private func assemble() throws -> Tokenizer.Storage {
    switch model {
    case "gpt2", "gemma4": try assembleBytePairs()
    case "llama": try assemblePieces()
    case "bert": try assembleWordPieces()
    case "t5": try assembleUnigram()
    default:
      throw TokenizerError.unsupported(
        file: metadata.path, part: GGUFVocabulary.prefix + "model", type: model)
    }
  }

  private func vocabulary(_ unit: BytePairEncoding.Unit) throws -> ModelVocabulary {
    // Of a repeated text the first counts, and all decode to it.
    let tokens = pieces.indices.reversed().map { (text: pieces[$0].text, id: UInt32($0)) }
    return try ModelVocabulary(
      tokens, unit: unit, keepsRepeated: true, file: metadata.path, field: GGUFVocabulary.prefix + "tokens")
  }

  private func assembleBytePairs() throws -> Tokenizer.Storage {
    let name = model == "gemma4" ? model : try metadata.string(GGUFVocabulary.prefix + "pre") ?? ""
    guard let way = GGUFPreTokenizer(named: name) else {
      throw TokenizerError.unsupported(file: metadata.path, part: GGUFVocabulary.prefix + "pre", type: name)
    }
    var pipeline = Pipeline(unit: way.marksSpaces ? .character : .byte, addsBegin: way.addsBegin)
    pipeline.preTokenizers = try way.preTokenizers(file: metadata.path)
    if way.marksSpaces {
      pipeline.normalizers = [.replace(.text([UInt8(ascii: " ")]), with: GGUFVocabulary.space)]
      pipeline.decoders = [GGUFVocabulary.unescaped, .byteFallback, .fuse]
    } else {
      pipeline.decoders = [.byteLevel]
    }
    let vocabulary = try vocabulary(pipeline.unit)
    guard let lines = try metadata.strings(GGUFVocabulary.prefix + "merges") else {
      throw malformed("merges", "is missing; convert the model again")
    }
    var reader = MergeReader(
      capacity: lines.count, vocabulary, prefix: "", file: metadata.path,
      field: GGUFVocabulary.prefix + "merges")
    for line in lines {
      let bytes = line.bindMemory(to: UInt8.self)
      guard UTF8Bytes.firstInvalidByte(bytes) == nil else { throw reader.malformed("is not UTF-8") }
      try reader.add(line: String(decoding: bytes, as: UTF8.self))
    }
    let pairs = ModelReader.bytePairs(
      vocabulary, reader.table, fallsBack: way.marksSpaces, ignoresMerges: way.ignoresMerges)
    return try finish(pipeline, vocabulary, .bytePairs(pairs))
  }

  private func assemblePieces() throws -> Tokenizer.Storage {
    let addsSpace = try flag("add_space_prefix") ?? true
    var pipeline = Pipeline(addsBegin: true)
    pipeline.normalizers = [.replace(.text([UInt8(ascii: " ")]), with: GGUFVocabulary.space)]
    if addsSpace { pipeline.normalizers.insert(.prepend([UInt8(ascii: " ")]), at: 0) }
    pipeline.decoders = [GGUFVocabulary.unescaped, .byteFallback, .fuse]
    if addsSpace { pipeline.decoders.append(.strip(" ", start: 1, stop: 0)) }
    let own = SentencePieceModel(
      pieces: pieces, algorithm: .bytePairs, fallsBackToBytes: true, dropsFirstSpace: addsSpace,
      dropsLeadingSpaces: false, unknownSurface: "", unknown: roles["unk_token"], mergesAll: true)
    return try finish(pipeline, vocabulary(.character), .sentencePiece(own))
  }

  private func assembleWordPieces() throws -> Tokenizer.Storage {
    let lowercases = try flag("normalizer.lowercase") ?? true
    let strips = try flag("normalizer.strip_accents") ?? lowercases
    var pipeline = Pipeline()
    pipeline.normalizers = [.bert(BertNormalizer(stripsAccents: strips, lowercases: lowercases))]
    pipeline.preTokenizers = [.bert]
    // As the decoder of BERT's own vocabularies.
    pipeline.decoders = [GGUFVocabulary.unescaped]
    pipeline.decoders += WordPieceStage.cleanUps.map { .replace(.text(Array($0.0.utf8)), with: $0.1) }
    pipeline.decoders += [.fuse, .strip(" ", start: 1, stop: 0)]
    let vocabulary = try vocabulary(.character)
    let words = WordPiece(
      vocabulary: vocabulary.table, prefix: "", wordStart: "\u{2581}", maximumCharacters: .max,
      unknown: roles["unk_token"].map { UInt32($0) }, unknownText: "unknown_token_id")
    // Both are always added, whatever the file says of the others.
    var items: [PostProcessor.Item] = [.sequence]
    if let begin = roles["bos_token"] { items.insert(.tokens([UInt32(begin)]), at: 0) }
    if let end = roles["sep_token"] { items.append(.tokens([UInt32(end)])) }
    return try finish(pipeline, vocabulary, .wordPiece(words), PostProcessor(templates: [items]))
  }

  private func assembleUnigram() throws -> Tokenizer.Storage {
    let addsSpace = try flag("add_space_prefix") ?? false
    let field = GGUFVocabulary.prefix + "precompiled_charsmap"
    let rules = try metadata.integers(field).map { values in
      try Charsmap(
        values.map { UInt8(truncatingIfNeeded: $0) }, requiresWholeBlocks: false, file: metadata.path,
        field: field)
    }
    let cuttable = StringTable(capacity: pieces.count, bytes: 8 * pieces.count)
    let symbols = StringTable(capacity: 16)
    var lowest = Float.greatestFiniteMagnitude
    for index in pieces.indices.reversed() {
      let piece = pieces[index]
      var text = piece.text
      text.withUTF8 { text in
        if [.normal, .userDefined, .unused].contains(piece.kind) { cuttable.insert(text, UInt32(index)) }
        if piece.kind == .userDefined { symbols.insert(text, UInt32(index)) }
      }
      if piece.kind == .normal { lowest = min(lowest, piece.score) }
    }
    var pipeline = Pipeline(addsEnd: true)
    pipeline.normalizers = [
      .sentencePiece(
        SentencePieceNormalizer(
          rules: rules, symbols: symbols.count == 0 ? nil : ByteTrie(symbols),
          scheme: addsSpace ? .always : .never,
          removesExtraWhitespace: try flag("remove_extra_whitespaces") ?? false, escapes: true,
          putsSpaceBehind: false, marksWords: true))
    ]
    pipeline.decoders = [GGUFVocabulary.unescaped, .byteFallback, .fuse]
    if addsSpace { pipeline.decoders.append(.strip(" ", start: 1, stop: 0)) }
    let scores = pieces.map { $0.kind == .userDefined ? 0 : Double($0.score) }
    let unigram = Unigram(
      vocabulary: cuttable, scores: scores, unknown: roles["unk_token"].map { UInt32($0) }, fallback: nil,
      unknownScore: Double(lowest - Float(Unigram.unknownPenalty)))
    return try finish(pipeline, vocabulary(.character), .unigram(unigram))
  }

  private func finish(
    _ pipeline: Pipeline, _ vocabulary: ModelVocabulary, _ model: Tokenizer.Storage.Model,
    _ template: PostProcessor? = nil
  ) throws -> Tokenizer.Storage {
    let stripsRight = try stripsBehindSpecialTokens()
    var tokens: [AddedToken] = []
    for piece in pieces where [.control, .userDefined, .unknown].contains(piece.kind) {
      let strips = stripsRight && !["<unk>", "<s>", "<|endoftext|>"].contains(piece.text)
      tokens.append(
        AddedToken(content: piece.text, stripsRight: strips, isSpecial: piece.kind != .userDefined))
    }
    var added = AddedTokens()
    added.add(tokens, modelSize: pieces.count) { vocabulary.id(for: $0) }
    added.prepare { $0 }
    var postProcessor = template
    if postProcessor == nil {
      let begin = try around("bos", byDefault: pipeline.addsBegin)
      let end = try around("eos", byDefault: pipeline.addsEnd)
      postProcessor = PostProcessor(templates: [begin + [.sequence] + end])
    }
    return Tokenizer.Storage(
      vocabulary: vocabulary, model: model, added: added, normalizers: pipeline.normalizers,
      preTokenizers: pipeline.preTokenizers, postProcessor: postProcessor!, decoders: pipeline.decoders,
      namedTokens: roles.mapValues { pieces[$0].text },
      ends: pieces.indices.filter {
        $0 == roles["eos_token"] || GGUFVocabulary.ends.contains(pieces[$0].text)
      })
  }

  /// The begin or end token, when the file or the kind of vocabulary asks for it.
  private func around(_ name: String, byDefault: Bool) throws -> [PostProcessor.Item] {
    let key = "add_\(name)_token"
    guard try flag(key) ?? byDefault else { return [] }
    guard let id = roles["\(name)_token"] else {
      throw malformed(key, "is true, but \(GGUFVocabulary.prefix)\(name)_token_id is not set")
    }
    return [.tokens([UInt32(id)])]
  }

  /// Phi-3's special tokens take the white space behind them; llama.cpp knows it by the model's name.
  private func stripsBehindSpecialTokens() throws -> Bool {
    let name = (try? metadata.string("general.name")) ?? nil
    guard let name = name?.lowercased() else { return false }
    return name.contains("phi-3") || name.contains("phi3")
  }
}
