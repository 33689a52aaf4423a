import Checkpoints
import JSON

/// Builds a tokenizer from the files of a folder.
enum TokenizerLoader {
  static func load(from path: String) throws -> Tokenizer.Storage {
    guard folderExists(path) else { return try fromJSON(path, configuration: nil) }
    let wanted = "tokenizer.json, or vocab.json and merges.txt"
    let json = path + "/tokenizer.json"
    let vocabulary = path + "/vocab.json"
    let merges = path + "/merges.txt"
    if fileExists(json) {
      return try fromJSON(json, configuration: TokenizerConfiguration(folder: path))
    }
    guard fileExists(vocabulary), fileExists(merges) else {
      throw TokenizerError.missingFile(folder: path, wanted: wanted)
    }
    return try fromVocabulary(vocabulary, merges, TokenizerConfiguration(folder: path), folder: path)
  }

  // MARK: tokenizer.json

  private static func fromJSON(_ file: String, configuration: TokenizerConfiguration?) throws
    -> Tokenizer.Storage
  {
    let root = try FieldReader(JSONDocument.load(file), file: file, path: "")
    if let version = try root.optionalString("version"), version != "1.0" {
      throw root.malformed("version", "is \(version); only 1.0 is known")
    }
    var configuration = configuration
    if let pad = try checkTruncationAndPadding(root) { configuration?.setDefault("pad_token", pad) }
    guard let modelPart = try root.part("model") else { throw root.malformed("model", "is missing") }
    let preTokenizerPart = try root.part("pre_tokenizer")
    let feedsBytes =
      try ModelReader.type(of: modelPart) == "BPE" && PipelineReader.endsInBytes(preTokenizerPart)
    let (vocabulary, model) = try ModelReader.model(modelPart, feedsBytes: feedsBytes)
    var declared = root["added_tokens"] == nil ? [] : try root.parts("added_tokens").map(addedToken)
    if configuration?.rebuildsAddedTokens == true { declared = [] }
    return try assemble(
      vocabulary, model, declared: declared, configuration,
      normalizers: PipelineReader.normalizers(root.part("normalizer")),
      preTokenizers: PipelineReader.preTokenizers(preTokenizerPart, feedsBytes: feedsBytes),
      postProcessor: PipelineReader.postProcessor(root.part("post_processor")),
      decoders: PipelineReader.decoders(root.part("decoder")))
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
    let vocabulary = try ModelReader.vocabulary(
      JSONDocument.load(vocabularyFile), unit: .byte, file: vocabularyFile, field: "")
    let merges = try readMerges(mergesFile, vocabulary)
    let isQwen2 = configuration.className == "Qwen2Tokenizer"
    let byteLevel: PreTokenizer = .byteLevel(
      addsPrefixSpace: configuration.addsPrefixSpace, pattern: isQwen2 ? nil : .known(.gpt2), mapsBytes: false
    )
    var configuration = configuration
    if !isQwen2 {
      // These two files alone are what GPT-2 was published as.
      configuration.className = "GPT2Tokenizer"
      configuration.applyClassDefaults()
    }
    try readAddedTokens(folder + "/added_tokens.json", &configuration)
    return try assemble(
      vocabulary, .bytePairs(ModelReader.bytePairs(vocabulary, merges)), declared: [], configuration,
      normalizers: isQwen2 ? [.normalForm(.nfc)] : [],
      preTokenizers: isQwen2
        ? [.split(.known(.cl100k(digits: 1)), .isolated, inverted: false), byteLevel] : [byteLevel],
      postProcessor: nil, decoders: [.byteLevel])
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

  // MARK: Both

  /// Joins the parts and adds the tokens in the order in which transformers adds them.
  private static func assemble(
    _ vocabulary: ModelVocabulary, _ model: Tokenizer.Storage.Model, declared: [AddedToken],
    _ configuration: TokenizerConfiguration?, normalizers: [Normalizer], preTokenizers: [PreTokenizer],
    postProcessor: PostProcessor?, decoders: [Decoder]
  ) throws -> Tokenizer.Storage {
    var added = AddedTokens()
    let add = { (added: inout AddedTokens, tokens: [AddedToken]) in
      added.add(tokens, modelSize: vocabulary.count) { vocabulary.id(for: $0) }
    }
    add(&added, declared)
    var decoders = decoders
    var postProcessor = postProcessor
    var named: [String: String] = [:]
    if let configuration {
      let listed = configuration.added.map(\.token)
      var known = Set(added.ids.keys).union(listed.map(\.content))
      var new = listed
      for token in configuration.named.map(\.token) + configuration.extra
      where known.insert(token.content).inserted {
        var token = token
        token.isSpecial = true
        new.append(token)
      }
      add(&added, new)
      for (role, token) in configuration.named { named[role] = token.content }

      var cleansUp = configuration.cleansUpSpaces
      if case .bytePairs = model { cleansUp = cleansUp && configuration.cleansUpSpacesOfBytePairs }
      if cleansUp {
        decoders.append(.fuse)
        decoders += Decoder.cleanUps.map { .replace(.text(Array($0.0.utf8)), with: $0.1) }
      }
      if postProcessor == nil {
        let begin = configuration.addsBeginOfSequence ? named["bos_token"].flatMap { added.ids[$0] } : nil
        let end = configuration.addsEndOfSequence ? named["eos_token"].flatMap { added.ids[$0] } : nil
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
