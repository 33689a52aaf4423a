import Checkpoints
import JSON

/// The files of a folder in Hugging Face's layout that say what the vocabulary of a GGUF file does.
public struct GGUFTokenizerFiles {
  /// The text of tokenizer.json.
  public let tokenizer: String
  /// tokenizer_config.json, without chat templates.
  public let configuration: JSONValue
  /// What the files do otherwise than the GGUF file, one line each.
  public private(set) var notes: [String] = []

  /// - Parameter metadata: of the GGUF file.
  /// - Returns: nothing when the file has no vocabulary.
  /// - Throws: `TokenizerError` for a vocabulary that is damaged, or of a kind that tokenizer.json cannot express.
  public init?(_ metadata: GGUFMetadata) throws {
    guard GGUFVocabulary.exists(in: metadata) else { return nil }
    let source = try Tokenizer.load(from: metadata)
    var members: [JSONObject.Member] = []
    for role in ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"] {
      if let text = source.storage.namedTokens[role] {
        members.append(.init(key: role, value: .string(text)))
      }
    }
    members.append(.init(key: "clean_up_tokenization_spaces", value: false))
    members.append(.init(key: "tokenizer_class", value: "PreTrainedTokenizerFast"))
    configuration = .object(JSONObject(members))
    if let own = try metadata.string(GGUFVocabularyExport.documentKey) {
      tokenizer = own
      return
    }
    let document = try DocumentMaker(metadata, source).document()
    tokenizer = document.text(.indented) + "\n"
    let made = try Tokenizer(storage: TokenizerLoader.parse(document, file: "tokenizer.json"))
    let other = GGUFVocabularyExport.probes.first { (try? made.encode($0)) != (try? source.encode($0)) }
    if other != nil {
      notes.append("tokenizer.json cuts some texts otherwise than llama.cpp does with the GGUF file")
    }
  }
}

/// Makes a tokenizer.json.
private struct DocumentMaker {
  private static let prefix = "tokenizer.ggml."
  private static let mark = "\u{2581}"

  private let metadata: GGUFMetadata
  private let source: Tokenizer
  private var texts: [String] = []
  private var kinds: [Int] = []
  private var scores: [Float] = []

  init(_ metadata: GGUFMetadata, _ source: Tokenizer) throws {
    self.metadata = metadata
    self.source = source
    // The tokenizer was loaded, so all of this is known to be sound.
    if let tokens = try metadata.strings(Self.prefix + "tokens") {
      for bytes in tokens { texts.append(String(decoding: bytes, as: UTF8.self)) }
    }
    kinds = try metadata.integers(Self.prefix + "token_type") ?? []
    scores = try metadata.floats(Self.prefix + "scores") ?? []
  }

  private func kind(_ id: Int) -> Int { kinds.indices.contains(id) ? kinds[id] : 1 }

  func document() throws -> JSONValue {
    let model = try metadata.string(Self.prefix + "model") ?? ""
    switch model {
    case "gpt2": return try byteLevel()
    case "llama": return try pieces()
    case "bert": return try wordPieces()
    default:
      throw TokenizerError.unsupported(
        file: metadata.path, part: Self.prefix + "model in a tokenizer.json", type: model)
    }
  }

  private func assemble(
    normalizer: JSONValue, preTokenizer: JSONValue, decoder: JSONValue, model: JSONValue
  ) throws -> JSONValue {
    [
      "version": "1.0", "truncation": nil, "padding": nil, "added_tokens": .array(addedTokens()),
      "normalizer": normalizer, "pre_tokenizer": preTokenizer, "post_processor": postProcessor(),
      "decoder": decoder, "model": model,
    ]
  }

  /// Tokens that are found in a text before it is cut.
  private func addedTokens() -> [JSONValue] {
    texts.indices.filter { [2, 3, 4].contains(kind($0)) && !texts[$0].isEmpty }.map { id in
      let added = source.storage.added.tokens[UInt32(id)]
      return [
        "id": .integer(id), "content": .string(texts[id]), "single_word": false, "lstrip": false,
        "rstrip": .bool(added?.stripsRight ?? false), "normalized": false, "special": .bool(kind(id) != 4),
      ]
    }
  }

  /// The tokens around a text.
  private func postProcessor() -> JSONValue {
    let around = source.storage.postProcessor.apply(to: [-1], addSpecialTokens: true)
    guard around != [-1] else { return nil }
    func piece(_ id: Int, _ sequence: String) -> JSONValue {
      id < 0
        ? ["Sequence": ["id": .string(sequence), "type_id": 0]]
        : ["SpecialToken": ["id": .string(texts[id]), "type_id": 0]]
    }
    var used: [Int] = []
    for id in around where id >= 0 && !used.contains(id) { used.append(id) }
    let single = around.map { piece($0, "A") }
    return [
      "type": "TemplateProcessing", "single": .array(single),
      "pair": .array(single + around.map { piece($0, "B") }),
      "special_tokens": .object(
        JSONObject(
          used.map { id in
            .init(
              key: texts[id],
              value: [
                "id": .string(texts[id]), "ids": .array([.integer(id)]),
                "tokens": .array([.string(texts[id])]),
              ])
          })),
    ]
  }

  /// The vocabulary by text; of a repeated text the first counts.
  private func vocabulary(_ text: (Int) -> String) -> JSONValue {
    var seen: Set<ExactText> = []
    return .object(
      JSONObject(
        texts.indices.compactMap { id in
          let text = text(id)
          return seen.insert(ExactText(text)).inserted ? .init(key: text, value: .integer(id)) : nil
        }))
  }

  // MARK: Kinds

  private func byteLevel() throws -> JSONValue {
    let name = try metadata.string(Self.prefix + "pre") ?? ""
    guard let way = GGUFPreTokenizer(named: name) else {
      throw TokenizerError.unsupported(file: metadata.path, part: Self.prefix + "pre", type: name)
    }
    let isGPT2 = way.patterns == [KnownPattern.gpt2Pattern]
    let splits = way.patterns.map { pattern -> JSONValue in
      [
        "type": "Split", "pattern": ["Regex": .string(pattern)], "behavior": "Isolated", "invert": false,
      ]
    }
    let bytes: JSONValue = [
      "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": .bool(isGPT2),
    ]
    let merges = try metadata.strings(Self.prefix + "merges")?.map { line -> JSONValue in
      let parts = String(decoding: line, as: UTF8.self).split(separator: " ", maxSplits: 1)
      return .array(parts.map { .string(String($0)) })
    }
    return try assemble(
      normalizer: nil,
      preTokenizer: isGPT2 ? bytes : ["type": "Sequence", "pretokenizers": .array(splits + [bytes])],
      decoder: ["type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true],
      model: [
        "type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": nil,
        "end_of_word_suffix": nil, "fuse_unk": false, "byte_fallback": false,
        "ignore_merges": .bool(way.ignoresMerges), "vocab": vocabulary { texts[$0] },
        "merges": .array(merges ?? []),
      ])
  }

  private func pieces() throws -> JSONValue {
    let addsSpace = try metadata.boolean(Self.prefix + "add_space_prefix") ?? true
    let replace: JSONValue = ["type": "Replace", "pattern": ["String": " "], "content": .string(Self.mark)]
    let prepend: JSONValue = ["type": "Prepend", "prepend": .string(Self.mark)]
    var decoders: [JSONValue] = [
      ["type": "Replace", "pattern": ["String": .string(Self.mark)], "content": " "],
      ["type": "ByteFallback"],
      ["type": "Fuse"],
    ]
    if addsSpace { decoders.append(["type": "Strip", "content": " ", "start": 1, "stop": 0]) }
    var unknown = JSONValue.null
    if let id = texts.indices.first(where: { kind($0) == 2 }) { unknown = .string(texts[id]) }
    return try assemble(
      normalizer: addsSpace ? ["type": "Sequence", "normalizers": [prepend, replace]] : replace,
      preTokenizer: nil,
      decoder: ["type": "Sequence", "decoders": .array(decoders)],
      model: [
        "type": "BPE", "dropout": nil, "unk_token": unknown, "continuing_subword_prefix": nil,
        "end_of_word_suffix": nil, "fuse_unk": true, "byte_fallback": true, "ignore_merges": false,
        "vocab": vocabulary { texts[$0] }, "merges": .array(merges()),
      ])
  }

  /// Every way to put a piece together of two others, the pieces of the highest score first, as transformers derives
  /// them from sentencepiece models.
  private func merges() -> [JSONValue] {
    var ids: [ExactText: Int] = [:]
    for id in texts.indices.reversed() where ![3, 6].contains(kind(id)) { ids[ExactText(texts[id])] = id }
    var found: [(score: Float, id: Int, left: Int, right: Int, leftText: String, rightText: String)] = []
    for id in texts.indices where kind(id) == 1 && scores.indices.contains(id) {
      let scalars = Array(texts[id].unicodeScalars)
      guard scalars.count > 1 else { continue }
      for cut in 1..<scalars.count {
        var (left, right) = ("", "")
        left.unicodeScalars.append(contentsOf: scalars[..<cut])
        right.unicodeScalars.append(contentsOf: scalars[cut...])
        if let first = ids[ExactText(left)], let second = ids[ExactText(right)] {
          found.append((scores[id], id, first, second, left, right))
        }
      }
    }
    found.sort { ($1.score, $0.id, $0.left, $0.right) < ($0.score, $1.id, $1.left, $1.right) }
    return found.map { .array([.string($0.leftText), .string($0.rightText)]) }
  }

  private func wordPieces() throws -> JSONValue {
    let lowercases = try metadata.boolean(Self.prefix + "normalizer.lowercase") ?? true
    let strips = try metadata.boolean(Self.prefix + "normalizer.strip_accents") ?? lowercases
    let unknown = source.storage.namedTokens["unk_token"] ?? "[UNK]"
    return try assemble(
      normalizer: [
        "type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
        "strip_accents": .bool(strips),
        "lowercase": .bool(lowercases),
      ], preTokenizer: ["type": "BertPreTokenizer"],
      decoder: ["type": "WordPiece", "prefix": "##", "cleanup": true],
      model: [
        "type": "WordPiece", "unk_token": .string(unknown), "continuing_subword_prefix": "##",
        "max_input_chars_per_word": 100,
        "vocab": vocabulary { id in
          let text = texts[id]
          guard kind(id) == 1 else { return text }
          return text.hasPrefix(Self.mark) ? String(text.unicodeScalars.dropFirst()) : "##" + text
        },
      ])
  }
}
