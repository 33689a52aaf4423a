import Checkpoints
import JSON

/// Builds a tokenizer from the files of a folder.
enum TokenizerLoader {
  static func load(from path: String) throws -> Tokenizer.Storage {
    guard folderExists(path) else { return try fromFile(path) }
    let json = path + "/tokenizer.json"
    let pieces = pieceFiles.map { "\(path)/\($0)" }.first { fileExists($0) }
    let vocabulary = path + "/vocab.json"
    let merges = path + "/merges.txt"
    let words = path + "/vocab.txt"
    let configuration = try TokenizerConfiguration(folder: path)
    if fileExists(json) { return try fromJSON(json, configuration: configuration) }
    if let pieces { return try fromPieces(pieces, configuration: configuration) }
    if fileExists(vocabulary), fileExists(merges) {
      return try fromVocabulary(vocabulary, merges, configuration, folder: path)
    }
    if fileExists(words) { return try fromWords(words, configuration, folder: path) }
    throw TokenizerError.missingFile(
      folder: path, wanted: "tokenizer.json, tokenizer.model, vocab.json and merges.txt, or vocab.txt")
  }

  /// Names under which sentencepiece models are published.
  static let pieceFiles = ["tokenizer.model", "spiece.model", "sentencepiece.bpe.model"]

  /// A single file counts alone, by its name.
  private static func fromFile(_ path: String) throws -> Tokenizer.Storage {
    if path.hasSuffix(".gguf") || GGUFFile.recognises(path) {
      return try GGUFVocabulary.load(GGUFFile(path: path).metadata)
    }
    if path.hasSuffix(".model") { return try fromPieces(path, configuration: nil) }
    if path.hasSuffix(".txt") { return try fromWords(path, TokenizerConfiguration(.bert), folder: "") }
    return try fromJSON(path, configuration: nil)
  }

  // MARK: tokenizer.json

  private static func fromJSON(_ file: String, configuration: TokenizerConfiguration?) throws
    -> Tokenizer.Storage
  {
    try parse(JSONDocument.load(file), file: file, configuration: configuration)
  }

  /// Reads a tokenizer.json that is in memory.
  ///
  /// - Parameter file: what messages call it.
  static func parse(
    _ document: JSONValue, file: String, configuration: TokenizerConfiguration? = nil
  ) throws -> Tokenizer.Storage {
    let root = try FieldReader(document, file: file, path: "")
    if let version = try root.optionalString("version"), version != "1.0" {
      throw root.malformed("version", "is \(version); only 1.0 is known")
    }
    var configuration = configuration
    if let pad = try checkTruncationAndPadding(root) { configuration?.setDefault("pad_token", pad) }
    guard let modelPart = try root.part("model") else { throw root.malformed("model", "is missing") }
    var declared = root["added_tokens"] == nil ? [] : try root.parts("added_tokens").map(addedToken)
    // All is read, so that a fault is told whatever the class makes of it.
    let normalizers = try PipelineReader.normalizers(root.part("normalizer"))
    let preTokenizerPart = try root.part("pre_tokenizer")
    let postProcessor = try root.part("post_processor").map { try PipelineReader.postProcessor($0) }
    let decoders = try PipelineReader.decoders(root.part("decoder"))
    let type = try ModelReader.type(of: modelPart)

    if let known = configuration?.tokenizerClass, let configuration {
      var rules: Charsmap?
      for case .precompiled(let found) in normalizers where rules == nil { rules = found }
      let profile = try TokenizerProfile(known, configuration.fields, rules: rules)
      if profile.model.type == type {
        let (vocabulary, model) = try ModelReader.model(
          modelPart, feedsBytes: profile.feedsBytes, profile: profile,
          unknown: configuration.named.first { $0.role == "unk_token" }?.token.content)
        if configuration.rebuildsAddedTokens { declared = [] }
        return try assemble(
          vocabulary, model, declared: declared, configuration, profile, declaredPostProcessor: postProcessor,
          hasOwnFile: true)
      }
    }
    let feedsBytes = try type == "BPE" && PipelineReader.endsInBytes(preTokenizerPart)
    let (vocabulary, model) = try ModelReader.model(modelPart, feedsBytes: feedsBytes)
    return try assemble(
      vocabulary, model, declared: declared, configuration, normalizers: normalizers,
      preTokenizers: PipelineReader.preTokenizers(preTokenizerPart, feedsBytes: feedsBytes),
      postProcessor: postProcessor ?? PostProcessor(), decoders: decoders)
  }

  private static func addedToken(_ part: FieldReader) throws -> AddedToken {
    _ = try part.count("id")
    return AddedToken(
      content: try part.string("content"), isSingleWord: try part.bool("single_word"),
      stripsLeft: try part.bool("lstrip"), stripsRight: try part.bool("rstrip"),
      isNormalized: try part.bool("normalized"), isSpecial: try part.bool("special"))
  }

  /// Both are not applied to single texts (transformers switches them off), but a file must be well-formed.
  ///
  /// - Returns: the padding token, which takes its role where nothing else does.
  private static func checkTruncationAndPadding(_ root: FieldReader) throws -> String? {
    if let truncation = try root.part("truncation") { _ = try truncation.count("max_length") }
    guard let padding = try root.part("padding") else { return nil }
    _ = try padding.count("pad_id")
    return try padding.string("pad_token")
  }

  // MARK: vocab.json and merges.txt

  private static func fromVocabulary(
    _ vocabularyFile: String, _ mergesFile: String, _ configuration: TokenizerConfiguration, folder: String
  ) throws -> Tokenizer.Storage {
    var configuration = configuration
    var profile = try configuration.tokenizerClass.map {
      try TokenizerProfile($0, configuration.fields, rules: nil)
    }
    if profile?.feedsBytes != true {
      // These two files alone are what GPT-2 was published as.
      configuration.tokenizerClass = .gpt2
      try configuration.applyClassDefaults()
      profile = try TokenizerProfile(.gpt2, configuration.fields, rules: nil)
    }
    let vocabulary = try ModelReader.vocabulary(
      JSONDocument.load(vocabularyFile), unit: .byte, file: vocabularyFile, field: "")
    let merges = try readMerges(mergesFile, vocabulary)
    try readAddedTokens(folder + "/added_tokens.json", &configuration)
    return try assemble(
      vocabulary, .bytePairs(ModelReader.bytePairs(vocabulary, merges)), declared: [], configuration,
      profile!,
      declaredPostProcessor: nil, hasOwnFile: false)
  }

  private static func readMerges(_ file: String, _ vocabulary: ModelVocabulary) throws -> MergeTable {
    try readFile(file, acceptingPipes: false).withUnsafeBytes { bytes in
      let bytes = bytes.bindMemory(to: UInt8.self)
      if let offset = UTF8Bytes.firstInvalidByte(bytes) {
        throw TokenizerError.malformed(file: file, field: "", reason: "byte \(offset) is not UTF-8")
      }
      var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      if lines.last?.isEmpty == true { lines.removeLast() }
      var reader = MergeReader(capacity: lines.count, vocabulary, prefix: "", file: file, field: "")
      for line in lines {
        let text = line.last == UInt8(ascii: "\r") ? line.dropLast() : line
        if text.starts(with: "#version".utf8) { continue }
        try reader.add(line: String(decoding: text, as: UTF8.self))
      }
      return reader.table
    }
  }

  /// added_tokens.json, of folders from before `added_tokens_decoder`.
  private static func readAddedTokens(_ file: String, _ configuration: inout TokenizerConfiguration) throws {
    guard configuration.added.isEmpty, fileExists(file) else { return }
    let special = Set(configuration.named.map(\.token.content) + configuration.extra.map(\.content))
    let reader = try FieldReader(JSONDocument.load(file), file: file, path: "")
    for member in reader.object.members {
      let isSpecial = special.contains(member.key)
      let token = AddedToken(content: member.key, isNormalized: !isSpecial, isSpecial: isSpecial)
      configuration.added.append((try reader.count(member.key), token))
    }
    configuration.added.sort { $0.id < $1.id }
  }

  // MARK: vocab.txt

  /// A vocabulary of BERT: a token a line, numbered from 0.
  private static func fromWords(
    _ file: String, _ configuration: TokenizerConfiguration, folder: String
  ) throws -> Tokenizer.Storage {
    var configuration = configuration
    if configuration.tokenizerClass != .bert {
      configuration.tokenizerClass = .bert
      try configuration.applyClassDefaults()
    }
    let tokens = try readFile(file, acceptingPipes: false).withUnsafeBytes { bytes in
      let bytes = bytes.bindMemory(to: UInt8.self)
      if let offset = UTF8Bytes.firstInvalidByte(bytes) {
        throw TokenizerError.malformed(file: file, field: "", reason: "byte \(offset) is not UTF-8")
      }
      var lines = bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false)
      if lines.last?.isEmpty == true { lines.removeLast() }
      return lines.enumerated().map { index, line in
        (text: trimmedEnd(UnsafeBufferPointer(rebasing: line)), id: UInt32(index))
      }
    }
    let vocabulary = try ModelVocabulary(tokens, unit: .character, file: file, field: "")
    if !folder.isEmpty { try readAddedTokens(folder + "/added_tokens.json", &configuration) }
    let unknown = configuration.named.first { $0.role == "unk_token" }?.token.content ?? "[UNK]"
    let profile = try TokenizerProfile(.bert, configuration.fields, rules: nil)
    return try assemble(
      vocabulary, ModelReader.wordPieces(vocabulary, unknown: unknown), declared: [], configuration, profile,
      declaredPostProcessor: nil, hasOwnFile: false)
  }

  private static func trimmedEnd(_ line: UnsafeBufferPointer<UInt8>) -> String {
    var end = line.count
    while end > 0 {
      let (value, length) = UTF8Bytes.scalarBefore(line.baseAddress!, end)
      guard CodePointSet.whitespace.contains(value) else { break }
      end -= length
    }
    return String(decoding: line[..<end], as: UTF8.self)
  }

  // MARK: tokenizer.model

  /// - Parameter configuration: `nil`, or one without files, for what the package `sentencepiece` gives.
  private static func fromPieces(
    _ path: String, configuration: TokenizerConfiguration?
  ) throws -> Tokenizer.Storage {
    let file = try SentencePieceFile(path)
    let model = SentencePieceModel(file)
    let tokens = file.pieces.enumerated().map { (text: $1.text, id: UInt32($0)) }
    let vocabulary = try ModelVocabulary(
      tokens, unit: .character, keepsRepeated: true, file: path, field: "pieces")
    let isPlain = configuration?.exists != true
    let rules =
      try file.normalization.charsmap.isEmpty
      ? nil
      : Charsmap(
        file.normalization.charsmap, requiresWholeBlocks: true, file: path,
        field: "normalizer_spec.precompiled_charsmap")
    let normalizer = SentencePieceNormalizer(
      rules: rules, symbols: model.symbols,
      scheme: file.normalization.addsDummyPrefix ? (isPlain ? .always : .first) : .never,
      removesExtraWhitespace: file.normalization.removesExtraWhitespace,
      escapes: file.normalization.escapesWhitespace, putsSpaceBehind: file.treatsWhitespaceAsSuffix)
    let roles = [
      ("bos_token", file.beginPiece, SentencePieceFile.Kind.control),
      ("eos_token", file.endPiece, .control), ("unk_token", file.unknownPiece, .unknown),
      ("pad_token", file.paddingPiece, .control),
    ].filter { role in file.pieces.contains { $0.text == role.1 && $0.kind == role.2 } }
    guard !isPlain, var configuration else {
      let special = file.pieces.indices.filter { file.pieces[$0].kind == .control }
      return Tokenizer.Storage(
        vocabulary: vocabulary, model: .sentencePiece(model), added: AddedTokens(),
        normalizers: [.sentencePiece(normalizer)], preTokenizers: [], postProcessor: PostProcessor(),
        decoders: [.sentencePiece(model)],
        namedTokens: Dictionary(roles.map { ($0.0, $0.1) }, uniquingKeysWith: { $1 }), alsoSpecial: special)
    }
    for (role, text, _) in roles { configuration.setDefault(role, text) }
    let declared = file.pieces.filter { $0.kind == .control || $0.kind == .userDefined }.map {
      AddedToken(content: $0.text, isSpecial: $0.kind == .control)
    }
    if let known = configuration.tokenizerClass, file.algorithm == .bytePairs {
      let profile = try TokenizerProfile(known, configuration.fields, rules: rules)
      if case .bytePairs(_, _, true) = profile.model {
        return try assemble(
          vocabulary, .sentencePiece(model), declared: declared, configuration, profile,
          declaredPostProcessor: nil, hasOwnFile: false)
      }
    }
    var decoders: [Decoder] = [
      .replace(.text(SentencePieceNormalizer.space), with: " "), .byteFallback, .fuse,
    ]
    if model.dropsFirstSpace { decoders.append(.strip(" ", start: 1, stop: 0)) }
    return try assemble(
      vocabulary, .sentencePiece(model), declared: declared, configuration,
      normalizers: [.sentencePiece(normalizer)], preTokenizers: [], postProcessor: nil, decoders: decoders)
  }

  // MARK: All

  /// Joins the parts of a class that builds its pipeline itself.
  ///
  /// - Parameter hasOwnFile: there is a tokenizer.json, beside which `add_bos_token` and `add_eos_token` do not count.
  private static func assemble(
    _ vocabulary: ModelVocabulary, _ model: Tokenizer.Storage.Model, declared: [AddedToken],
    _ configuration: TokenizerConfiguration, _ profile: TokenizerProfile,
    declaredPostProcessor: PostProcessor?,
    hasOwnFile: Bool
  ) throws -> Tokenizer.Storage {
    var wanted = Wanted()
    switch profile.postProcessing {
    case .declared where hasOwnFile: wanted = Wanted(postProcessor: declaredPostProcessor ?? PostProcessor())
    case .declared: break
    case .flags: wanted.ignoresFlags = hasOwnFile
    case .around(let begin, let end): wanted.roles = (begin, end)
    case .aroundTexts(let begin, let end): wanted.roles = (begin, end)
    }
    wanted.addsBegin = profile.tokenizerClass == .codeLlama
    return try assemble(
      vocabulary, model, declared: declared, configuration, normalizers: profile.normalizers,
      preTokenizers: profile.preTokenizers, wanted, decoders: profile.decoders)
  }

  /// What is to become the post-processor.
  private struct Wanted {
    /// Made already.
    var postProcessor: PostProcessor?
    /// The tokens of these roles around the text.
    var roles: (begin: String?, end: String)?
    /// `add_bos_token` and `add_eos_token` have their defaults.
    var ignoresFlags = false
    /// The default of `add_bos_token`.
    var addsBegin = false
  }

  private static func assemble(
    _ vocabulary: ModelVocabulary, _ model: Tokenizer.Storage.Model, declared: [AddedToken],
    _ configuration: TokenizerConfiguration?, normalizers: [Normalizer], preTokenizers: [PreTokenizer],
    postProcessor: PostProcessor?, decoders: [Decoder]
  ) throws -> Tokenizer.Storage {
    try assemble(
      vocabulary, model, declared: declared, configuration, normalizers: normalizers,
      preTokenizers: preTokenizers, Wanted(postProcessor: postProcessor), decoders: decoders)
  }

  /// Joins the parts and adds the tokens in the order in which transformers adds them.
  private static func assemble(
    _ vocabulary: ModelVocabulary, _ model: Tokenizer.Storage.Model, declared: [AddedToken],
    _ configuration: TokenizerConfiguration?, normalizers: [Normalizer], preTokenizers: [PreTokenizer],
    _ wanted: Wanted, decoders: [Decoder]
  ) throws -> Tokenizer.Storage {
    var added = AddedTokens()
    var size = vocabulary.count
    if case .unigram(let model) = model { size = model.scores.count }
    let add = { (added: inout AddedTokens, tokens: [AddedToken]) in
      added.add(tokens, modelSize: size) { vocabulary.id(for: $0) }
    }
    add(&added, declared)
    var decoders = decoders
    var postProcessor = wanted.postProcessor
    var named: [String: String] = [:]
    if let configuration {
      let listed = configuration.added.map(\.token)
      var known = Set(added.ids.keys).union(listed.map { ExactText($0.content) })
      var new = listed
      for token in configuration.named.map(\.token) + configuration.extra
      where known.insert(ExactText(token.content)).inserted {
        var token = token
        token.isSpecial = true
        new.append(token)
      }
      add(&added, new)
      for (role, token) in configuration.named { named[role] = token.content }
      if let again = configuration.tokenizerClass?.addsSpecialTokensAgain {
        // The class adds them once more, which takes their other flags away.
        let special = configuration.named.map(\.token) + configuration.extra
        add(&added, special.map { again ? $0 : AddedToken(content: $0.content) })
      }
      added.splitsSpecialTokens = configuration.splitsSpecialTokens

      var cleansUp = configuration.cleansUpSpaces
      if case .bytePairs = model { cleansUp = cleansUp && configuration.cleansUpSpacesOfBytePairs }
      if cleansUp {
        decoders.append(.fuse)
        decoders += Decoder.cleanUps.map { .replace(.text(Array($0.0.utf8)), with: $0.1) }
      }
      let token = { (role: String) in named[role].flatMap { added.id(for: $0) ?? vocabulary.id(for: $0) } }
      if let roles = wanted.roles {
        // A role without a token is numbered as BERT's published vocabularies number it.
        let begin = roles.begin.map { token($0) ?? 2 }
        postProcessor = PostProcessor(templates: [
          (begin.map { [.tokens([$0])] } ?? []) + [.sequence, .tokens([token(roles.end) ?? 3])]
        ])
      }
      if postProcessor == nil {
        let addsBegin = wanted.ignoresFlags ? false : configuration.addsBeginOfSequence
        let addsEnd = wanted.ignoresFlags ? false : configuration.addsEndOfSequence
        let begin =
          addsBegin || (wanted.addsBegin && (wanted.ignoresFlags || !configuration.mentionsBeginFlag))
          ? token("bos_token") : nil
        let end = addsEnd ? token("eos_token") : nil
        postProcessor = PostProcessor(templates: [
          (begin.map { [.tokens([$0])] } ?? []) + [.sequence] + (end.map { [.tokens([$0])] } ?? [])
        ])
      }
    }
    let scratch = RegexScratch()
    try added.prepare { try Tokenizer.Storage.normalize($0, normalizers, scratch) }
    return Tokenizer.Storage(
      vocabulary: vocabulary, model: model, added: added, normalizers: normalizers,
      preTokenizers: preTokenizers, postProcessor: postProcessor ?? PostProcessor(), decoders: decoders,
      namedTokens: named)
  }
}
