import JSON

/// Reads normalisers, pre-tokenisers, post-processors and decoders as tokenizer.json declares them.
enum PipelineReader {
  // MARK: Normalisers

  static func normalizers(_ part: FieldReader?) throws -> [Normalizer] {
    guard let part else { return [] }
    let type = try part.type()
    switch type {
    case "Sequence": return try part.parts("normalizers").flatMap { try normalizers($0) }
    case "NFC", "NFD", "NFKC", "NFKD": return [.normalForm(NormalForm(rawValue: type)!)]
    case "Lowercase": return [.lowercase]
    case "Replace": return [.replace(try replaced(part), with: Array(try part.string("content").utf8))]
    case "Prepend":
      let prefix = Array(try part.string("prepend").utf8)
      return prefix.isEmpty ? [] : [.prepend(prefix)]
    case "Strip": return [.strip(left: try part.bool("strip_left"), right: try part.bool("strip_right"))]
    case "StripAccents": return [.stripAccents]
    case "Nmt": return [.nmt]
    case "ByteLevel": return [.byteLevel]
    case "BertNormalizer":
      let lowercases = try part.bool("lowercase")
      return [
        .bert(
          BertNormalizer(
            cleansText: try part.bool("clean_text"),
            handlesChineseCharacters: try part.bool("handle_chinese_chars"),
            stripsAccents: try part.bool("strip_accents", default: lowercases), lowercases: lowercases))
      ]
    case "Precompiled":
      let field = "precompiled_charsmap"
      guard let blob = Base64.decode(try part.string(field)) else {
        throw part.malformed(field, "is not base64")
      }
      return [
        .precompiled(
          try Charsmap(blob, requiresWholeBlocks: false, file: part.file, field: part.name(field)))
      ]
    default: throw part.unsupported(type)
    }
  }

  private static func replaced(_ part: FieldReader) throws -> Normalizer.Pattern {
    let (text, isRegex) = try pattern(part)
    return isRegex ? .regex(try Regex(text, file: part.file)) : .text(Array(text.utf8))
  }

  /// `{"String": …}` or `{"Regex": …}`.
  private static func pattern(_ part: FieldReader) throws -> (text: String, isRegex: Bool) {
    guard let pattern = try part.part("pattern") else { throw part.malformed("pattern", "is missing") }
    if let text = try pattern.optionalString("String") { return (text, false) }
    if let text = try pattern.optionalString("Regex") { return (text, true) }
    throw part.malformed("pattern", "has neither String nor Regex")
  }

  // MARK: Pre-tokenisers

  /// - Parameter feedsBytes: the model takes the bytes of a final `ByteLevel` as they are.
  static func preTokenizers(_ part: FieldReader?, feedsBytes: Bool) throws -> [PreTokenizer] {
    let parts = try flattened(part)
    return try parts.enumerated().map { index, part in
      try preTokenizer(part, mapsBytes: !(feedsBytes && index == parts.count - 1))
    }
  }

  /// The only `ByteLevel` is the last step, so that a model can work on bytes.
  static func endsInBytes(_ part: FieldReader?) throws -> Bool {
    let types = try flattened(part).map { try $0.type() }
    return types.last == "ByteLevel" && !types.dropLast().contains("ByteLevel")
  }

  private static func flattened(_ part: FieldReader?) throws -> [FieldReader] {
    guard let part else { return [] }
    guard try part.type() == "Sequence" else { return [part] }
    return try part.parts("pretokenizers").flatMap { try flattened($0) }
  }

  private static func preTokenizer(_ part: FieldReader, mapsBytes: Bool) throws -> PreTokenizer {
    let type = try part.type()
    switch type {
    case "ByteLevel":
      _ = try part.bool("trim_offsets", default: true)  // concerns offsets, which are not offered
      return .byteLevel(
        addsPrefixSpace: try part.bool("add_prefix_space"),
        pattern: try part.bool("use_regex", default: true) ? .known(.gpt2) : nil, mapsBytes: mapsBytes)
    case "Split":
      return .split(
        try splitPattern(part), try part.choice("behavior"), inverted: try part.bool("invert", default: false)
      )
    case "WhitespaceSplit": return .whitespaceSplit
    case "Whitespace": return .whitespace
    case "Digits": return .digits(individually: try part.bool("individual_digits", default: false))
    case "Punctuation": return .punctuation(try part.choice("behavior", default: .isolated))
    case "CharDelimiterSplit": return .delimiter(Array(String(try part.scalar("delimiter")).utf8))
    case "BertPreTokenizer": return .bert
    case "UnicodeScripts": return .unicodeScripts
    case "FixedLength":
      let length = try part.count("length", default: 5)
      guard length > 0 else { throw part.malformed("length", "is 0; give how many characters make a piece") }
      return .fixedLength(length)
    case "Metaspace":
      let (replacement, scheme) = try metaspace(part)
      return .metaspace(
        replacement: Array(String(replacement).utf8), scheme, splits: try part.bool("split", default: true))
    default: throw part.unsupported(type)
    }
  }

  private static func splitPattern(_ part: FieldReader) throws -> PreTokenizer.Pattern {
    let (text, isRegex) = try pattern(part)
    guard isRegex else { return .text(Array(text.utf8)) }
    return try KnownPattern(text).map { .known($0) } ?? .regex(Regex(text, file: part.file))
  }

  private static func metaspace(_ part: FieldReader) throws -> (Unicode.Scalar, PreTokenizer.PrependScheme) {
    let scheme: PreTokenizer.PrependScheme = try part.choice("prepend_scheme", default: .always)
    // Files from before `prepend_scheme` say `add_prefix_space`; false with another scheme is refused by `tokenizers`.
    if part["add_prefix_space"] != nil, try !part.bool("add_prefix_space"), part["prepend_scheme"] != nil,
      scheme != .never
    {
      throw part.malformed("add_prefix_space", "is false, but prepend_scheme is \(scheme.rawValue)")
    }
    let isPrepended = try part.bool("add_prefix_space", default: true)
    return (try part.scalar("replacement"), isPrepended ? scheme : .never)
  }

  // MARK: Post-processors

  static func postProcessor(_ part: FieldReader?) throws -> PostProcessor {
    PostProcessor(templates: try templates(part))
  }

  private static func templates(_ part: FieldReader?) throws -> [[PostProcessor.Item]] {
    guard let part else { return [] }
    let type = try part.type()
    switch type {
    case "ByteLevel": return []  // concerns offsets, which are not offered
    case "Sequence": return try part.parts("processors").flatMap { try templates($0) }
    case "TemplateProcessing": return [try template(part)]
    case "BertProcessing", "RobertaProcessing":
      return [[.tokens([try pairID(part, "cls")]), .sequence, .tokens([try pairID(part, "sep")])]]
    default: throw part.unsupported(type)
    }
  }

  private static func template(_ part: FieldReader) throws -> [PostProcessor.Item] {
    let special = try part.part("special_tokens")
    return try part.parts("single").map { item in
      if let sequence = try item.part("Sequence") {
        guard try sequence.string("id") == "A" else {
          throw sequence.malformed("id", "is not A; the template for single texts has no other")
        }
        return .sequence
      }
      guard let token = try item.part("SpecialToken") else {
        throw TokenizerError.malformed(
          file: item.file, field: item.path, reason: "is neither Sequence nor SpecialToken")
      }
      let name = try token.string("id")
      guard let entry = try special?.part(name) else {
        throw token.malformed("id", "\(name) is not among special_tokens")
      }
      return .tokens(
        try entry.array("ids").map { value in
          guard let id = value.int.flatMap({ UInt32(exactly: $0) }) else {
            throw entry.malformed("ids", "is not a list of token ids")
          }
          return id
        })
    }
  }

  private static func pairID(_ part: FieldReader, _ key: String) throws -> UInt32 {
    let pair = try part.array(key)
    guard pair.count == 2, let id = pair[1].int.flatMap({ UInt32(exactly: $0) }) else {
      throw part.malformed(key, "is not a token and its id")
    }
    return id
  }

  // MARK: Decoders

  static func decoders(_ part: FieldReader?) throws -> [Decoder] {
    guard let part else { return [.joinedBySpaces] }
    let type = try part.type()
    switch type {
    case "Sequence": return try part.parts("decoders").flatMap { try decoders($0) }
    case "ByteLevel": return [.byteLevel]
    case "ByteFallback": return [.byteFallback]
    case "Fuse": return [.fuse]
    case "Replace": return [.replace(try replaced(part), with: try part.string("content"))]
    case "Strip":
      return [
        .strip(try part.scalar("content"), start: try part.count("start"), stop: try part.count("stop"))
      ]
    case "Metaspace":
      let (replacement, scheme) = try metaspace(part)
      return [.metaspace(replacement: replacement, scheme)]
    case "WordPiece":
      return [.wordPiece(prefix: try part.string("prefix"), cleansUp: try part.bool("cleanup"))]
    case "BPEDecoder": return [.bpeSuffix(try part.string("suffix"))]
    case "CTC":
      return [
        .connectionist(
          padding: try part.string("pad_token"), delimiter: try part.string("word_delimiter_token"),
          cleansUp: try part.bool("cleanup"))
      ]
    default: throw part.unsupported(type)
    }
  }
}
