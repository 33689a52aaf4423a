import Checkpoints
import JSON

/// A tokenizer that was learned, ready to be written.
public struct TrainedTokenizer: Sendable {
  /// Tokens.
  public let vocabularySize: Int
  /// Merges; none for characters.
  public let mergeCount: Int
  /// Bytes of the text it was learned from.
  public let byteCount: Int
  /// Tokens of that text.
  public internal(set) var tokenCount: Int
  /// The tokens in UTF-8, as the vocabulary spells them.
  let texts: [[UInt8]]
  /// `tokenizer.json`, as `tokenizers` reads it.
  public let document: JSONValue
  /// `tokenizer_config.json`, as transformers reads it.
  public let configuration: JSONValue

  init(
    _ configuration: TokenizerTrainingConfiguration, vocabulary: TrainingVocabulary,
    merges: [MergeTrainer.Merge], byteCount: Int, tokenCount: Int
  ) {
    vocabularySize = vocabulary.count
    mergeCount = merges.count
    texts = vocabulary.texts
    self.byteCount = byteCount
    self.tokenCount = tokenCount
    let writer = TrainedTokenizerDocument(
      configuration: configuration, vocabulary: vocabulary, merges: merges)
    document = writer.document
    self.configuration = writer.tokenizerConfiguration
  }

  /// Writes `tokenizer.json` and `tokenizer_config.json`.
  ///
  /// - Parameter folder: made where it is not there; other files in it stay.
  /// - Throws: `FileError`.
  public func write(to folder: String) throws {
    try createFolder(folder)
    try AtomicFile.write(document.text(.indented) + "\n", to: folder + "/tokenizer.json")
    try AtomicFile.write(configuration.text(.indented) + "\n", to: folder + "/tokenizer_config.json")
  }
}

/// Spells a tokenizer as Hugging Face's files.
struct TrainedTokenizerDocument {
  let configuration: TokenizerTrainingConfiguration
  let vocabulary: TrainingVocabulary
  let merges: [MergeTrainer.Merge]

  /// Characters in a word of WordPiece; longer ones are unknown.
  static let maximumCharacters = 100

  private func text(_ id: UInt32) -> String { String(decoding: vocabulary.texts[Int(id)], as: UTF8.self) }

  var document: JSONValue {
    [
      "version": "1.0", "truncation": nil, "padding": nil, "added_tokens": .array(addedTokens),
      "normalizer": normalizer, "pre_tokenizer": preTokenizer, "post_processor": postProcessor,
      "decoder": decoder, "model": model,
    ]
  }

  private var addedTokens: [JSONValue] {
    configuration.specialTokens.compactMap { token in
      vocabulary.id(of: Array(token.utf8)).map { id in
        [
          "id": .integer(Int(id)), "content": .string(token), "single_word": false, "lstrip": false,
          "rstrip": false, "normalized": false, "special": true,
        ]
      }
    }
  }

  private var normalizer: JSONValue {
    guard configuration.model == .wordPiece else { return nil }
    return [
      "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": nil,
      "lowercase": .bool(configuration.lowercases),
    ]
  }

  private var preTokenizer: JSONValue {
    switch configuration.model {
    case .bytePairs:
      let usesOwn = KnownPattern(configuration.regularExpression) == .gpt2
      let bytes: JSONValue = [
        "type": "ByteLevel", "add_prefix_space": .bool(configuration.addsPrefixSpace), "trim_offsets": true,
        "use_regex": .bool(usesOwn),
      ]
      if usesOwn { return bytes }
      return [
        "type": "Sequence",
        "pretokenizers": [split(configuration.regularExpression), bytes],
      ]
    case .wordPiece: return ["type": "BertPreTokenizer"]
    case .characters: return split(#"[\s\S]"#)
    }
  }

  private func split(_ pattern: String) -> JSONValue {
    ["type": "Split", "pattern": ["Regex": .string(pattern)], "behavior": "Isolated", "invert": false]
  }

  private var postProcessor: JSONValue {
    guard configuration.addsBeginOfSequence, let token = configuration.beginOfSequence,
      let id = vocabulary.id(of: Array(token.utf8))
    else { return nil }
    func special(_ type: Int) -> JSONValue {
      ["SpecialToken": ["id": .string(token), "type_id": .integer(type)]]
    }
    func sequence(_ name: String, _ type: Int) -> JSONValue {
      ["Sequence": ["id": .string(name), "type_id": .integer(type)]]
    }
    return [
      "type": "TemplateProcessing", "single": [special(0), sequence("A", 0)],
      "pair": [special(0), sequence("A", 0), special(1), sequence("B", 1)],
      "special_tokens": .object(
        JSONObject([
          .init(
            key: token,
            value: ["id": .string(token), "ids": [.integer(Int(id))], "tokens": [.string(token)]])
        ])),
    ]
  }

  private var decoder: JSONValue {
    switch configuration.model {
    case .bytePairs:
      ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true]
    case .wordPiece:
      ["type": "WordPiece", "prefix": .string(TokenizerTrainer.wordPiecePrefix), "cleanup": true]
    case .characters: ["type": "Fuse"]
    }
  }

  private var model: JSONValue {
    let tokens = JSONValue.object(
      JSONObject(
        vocabulary.texts.enumerated().map { id, text in
          .init(key: String(decoding: text, as: UTF8.self), value: .integer(id))
        }))
    switch configuration.model {
    case .bytePairs:
      return [
        "type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
        "end_of_word_suffix": nil, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
        "vocab": tokens,
        "merges": .array(merges.map { [.string(text($0.left)), .string(text($0.right))] }),
      ]
    case .wordPiece:
      return [
        "type": "WordPiece", "unk_token": "[UNK]",
        "continuing_subword_prefix": .string(TokenizerTrainer.wordPiecePrefix),
        "max_input_chars_per_word": .integer(TrainedTokenizerDocument.maximumCharacters), "vocab": tokens,
      ]
    case .characters:
      return ["type": "WordLevel", "vocab": tokens, "unk_token": .string(unknown ?? "<unk>")]
    }
  }

  private var unknown: String? { role(["<unk>", "[UNK]"]) }

  /// The first of the names that is a special token.
  private func role(_ names: [String]) -> String? { names.first { configuration.specialTokens.contains($0) } }

  /// What transformers needs to know beside tokenizer.json: the class, and special tokens by their usual names.
  var tokenizerConfiguration: JSONValue {
    var members: [JSONObject.Member] = [
      .init(key: "tokenizer_class", value: "PreTrainedTokenizerFast"),
      .init(key: "clean_up_tokenization_spaces", value: false),
    ]
    let roles: [(String, [String])] = [
      ("bos_token", TokenizerTrainingConfiguration.beginOfSequenceNames),
      ("eos_token", ["</s>", "<|endoftext|>", "<|end_of_text|>", "<|im_end|>"]),
      ("unk_token", ["<unk>", "[UNK]"]), ("pad_token", ["<pad>", "[PAD]", "<|pad|>"]),
      ("cls_token", ["[CLS]"]), ("sep_token", ["[SEP]"]), ("mask_token", ["<mask>", "[MASK]"]),
    ]
    for (name, candidates) in roles {
      if let token = role(candidates) { members.append(.init(key: name, value: .string(token))) }
    }
    return .object(JSONObject(members))
  }
}
