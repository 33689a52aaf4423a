import Checkpoints
import JSON

/// Says with the metadata of a GGUF file what a tokenizer does, so that llama.cpp cuts texts as it does.
///
/// What will be written is read back and tried on texts that tell tokenizers apart. Where GGUF has no form for the
/// tokenizer, or only one that cuts otherwise, the folder's tokenizer.json goes in besides, whole, under the key that
/// GGUF has for it.
/// - SeeAlso: `gguf/vocab.py` and `convert_hf_to_gguf.py` of llama.cpp.
public struct GGUFVocabularyExport {
  /// The key of a whole tokenizer.json.
  static let documentKey = "tokenizer.huggingface.json"

  /// Keys and values, in the order of the file.
  public private(set) var metadata: [(key: String, value: GGUFValue)] = []
  /// What llama.cpp will do otherwise, one line each.
  public private(set) var notes: [String] = []

  /// - Parameters:
  ///   - folder: holds the tokenizer's files.
  ///   - vocabularySize: ids that the model has; those without a token are filled up.
  /// - Throws: `TokenizerError` or what reading the files throws.
  public init(folder: String, vocabularySize: Int) throws {
    let tokenizer = try Tokenizer.load(from: folder)
    let maker = MetadataMaker(tokenizer, vocabularySize: vocabularySize)
    if let surplus = maker.surplus {
      notes.append("token ids from \(surplus) on are beyond the model's \(vocabularySize) and are left out")
    }
    var form: [(key: String, value: GGUFValue)] = []
    if let made = try maker.metadata() {
      form = made
      if let text = try GGUFVocabularyExport.difference(tokenizer, form) {
        notes.append(
          "llama.cpp will cut some texts otherwise than this tokenizer, such as \(text)"
        )
      }
    } else {
      form = [("tokenizer.ggml.model", .string("no_vocab"))] + maker.roles()
      notes.append("GGUF has no form for this kind of tokenizer; llama.cpp will know token ids only")
    }
    metadata = form
    let path = folder + "/tokenizer.json"
    if !notes.isEmpty, fileExists(path) {
      let bytes = try readFile(path, acceptingPipes: false)
      metadata.append((GGUFVocabularyExport.documentKey, .string(String(decoding: bytes, as: UTF8.self))))
    }
  }

  /// Texts on which tokenizers differ that differ at all; the first is the one by which llama.cpp's own converter tells
  /// them apart.
  static let probes = [
    "\n \n\n \n\n\n \t \t\t \t\n  \n   \n    \n     \n🚀 (normal) 😶\u{200D}🌫️ (multiple emojis concatenated) ✅ 🦙🦙 3 33 333 "
      + "3333 33333 333333 3333333 33333333 3.3 3..3 3...3 កាន់តែពិសេសអាច😁 ?我想在apple工作1314151天～ ------======= "
      + "нещо на Български ''''''```````\"\"\"\"......!!!!!!?????? I've been 'told he's there, 'RE you sure? 'M not sure "
      + "I'll make it, 'D you like some tea? We'Ve a'lL",
    "Hello, world! This is a test of 12345 things; isn't it?  Two spaces, CamelCaseWord, snake_case_word.",
    "人工智能是计算机科学的一个分支。它试图了解智能的实质！", " leading", "trailing ", "a\tb\r\nc\n\n\nd", "ÀÉÎõü ﬁ ①②③ Ⅳ ½",
    "\u{301}e\u{301}a\u{FEFF}b\u{200B}c", "x", "", "😀😃 👨‍👩‍👧",
    "a  b   c    d",
    "日本語のテキスト、ひらがなとカタカナ", "한국어 텍스트", "العربية 123", "https://example.org/a?b=c&d=%20",
    "def f(x):\n    return x**2  # ok",
  ]

  /// A text that the tokenizer cuts otherwise than a reader of its metadata, if any does.
  static func difference(
    _ tokenizer: Tokenizer, _ metadata: [(key: String, value: GGUFValue)]
  ) throws -> String? {
    let read = try GGUFWriter.readBack(metadata)
    guard let other = try? Tokenizer.load(from: read) else { return "every text" }
    // Its own added tokens, alone and between words.
    let added = tokenizer.storage.added.tokens.sorted { $0.key < $1.key }.prefix(64).map(\.value.content)
    let own = added.flatMap { [$0, "a \($0) b", "a\($0)b"] }
    return (probes + own).first { text in
      guard let expected = try? tokenizer.encode(text) else { return false }
      return (try? other.encode(text)) != expected
        || other.decode(expected, skipSpecialTokens: false)
          != tokenizer.decode(expected, skipSpecialTokens: false)
    }.map {
      "\"\($0.prefix(24).replacing("\n", with: "\\n").replacing("\t", with: "\\t").replacing("\r", with: "\\r"))\""
    }
  }
}

/// Makes the metadata of one tokenizer.
private struct MetadataMaker {
  private typealias Kind = SentencePieceFile.Kind

  private let tokenizer: Tokenizer
  private let size: Int

  init(_ tokenizer: Tokenizer, vocabularySize: Int) {
    self.tokenizer = tokenizer
    size = vocabularySize
  }

  private var storage: Tokenizer.Storage { tokenizer.storage }

  /// The first id that the model does not have, if the tokenizer goes so far.
  var surplus: Int? { tokenizer.vocabularySize > size ? size : nil }

  /// The keys and values; `nil` for a kind of tokenizer that GGUF does not have.
  func metadata() throws -> [(key: String, value: GGUFValue)]? {
    switch storage.model {
    case .bytePairs(let model) where !model.prefix.isEmpty || !model.suffix.isEmpty: return nil
    case .bytePairs(let model) where model.unit == .byte: return byteLevel(model)
    case .bytePairs(let model):
      guard model.fallback != nil else { return nil }
      return pieces(scores: scores(of: model), unknown: model.unknown.map { Int($0) })
    case .sentencePiece(let model) where model.algorithm == .bytePairs:
      return pieces(
        scores: (0..<size).map { model.scores.indices.contains($0) ? model.scores[$0] : 0 },
        unknown: model.unknown == SentencePieceModel.none ? nil : Int(model.unknown), kinds: model.kinds)
    case .wordPiece: return wordPieces()
    default: return nil
    }
  }

  // MARK: Kinds

  private func byteLevel(_ model: BytePairEncoding) -> [(key: String, value: GGUFValue)] {
    let names = ModelTexts(storage.vocabulary)
    let merges = model.merges.sorted().map { Array("\(names[$0.left]) \(names[$0.right])".utf8) }
    var made = start("gpt2")
    made.append(("tokenizer.ggml.pre", .string(way(model) ?? "default")))
    let (tokens, kinds) = tokens { _, _ in .normal }
    made.append(("tokenizer.ggml.tokens", .strings(tokens)))
    made.append(("tokenizer.ggml.token_type", .integers(kinds.map { Int32($0.rawValue) })))
    made.append(("tokenizer.ggml.merges", .strings(merges)))
    return made + roles() + flags()
  }

  private func pieces(
    scores: [Float], unknown: Int?, kinds given: [Kind]? = nil
  ) -> [(key: String, value: GGUFValue)] {
    var made = start("llama")
    made.append(("tokenizer.ggml.pre", .string("default")))
    let (tokens, kinds) = tokens(unescapes: true) { id, text in
      if id == unknown { return .unknown }
      if let given, given.indices.contains(id) { return given[id] }
      return MetadataMaker.isByte(text) ? .byte : .normal
    }
    made.append(("tokenizer.ggml.tokens", .strings(tokens)))
    made.append(("tokenizer.ggml.scores", .floats(scores)))
    made.append(("tokenizer.ggml.token_type", .integers(kinds.map { Int32($0.rawValue) })))
    let first = (try? tokenizer.encode("a", addSpecialTokens: false))?.first
    let addsSpace = first.flatMap { tokenizer.token(for: $0) }?.hasPrefix("▁") ?? false
    made.append(("tokenizer.ggml.add_space_prefix", .bool(addsSpace)))
    return made + roles() + flags()
  }

  private func wordPieces() -> [(key: String, value: GGUFValue)]? {
    guard case .bert(let normalizer)? = storage.normalizers.first, storage.normalizers.count == 1 else {
      return nil
    }
    var made = start("bert")
    let (tokens, kinds) = tokens { _, _ in .normal }
    // Words begin with a mark in GGUF; in BERT's own files it is their other parts that do.
    let texts = zip(tokens, kinds).map { text, kind in
      guard kind == .normal else { return text }
      return text.starts(with: "##".utf8) ? Array(text.dropFirst(2)) : Array("\u{2581}".utf8) + text
    }
    made.append(("tokenizer.ggml.token_type_count", .uint32(2)))
    made.append(("tokenizer.ggml.tokens", .strings(texts)))
    made.append(("tokenizer.ggml.token_type", .integers(kinds.map { Int32($0.rawValue) })))
    made.append(("tokenizer.ggml.normalizer.lowercase", .bool(normalizer.lowercases)))
    made.append(("tokenizer.ggml.normalizer.strip_accents", .bool(normalizer.stripsAccents)))
    return made + roles()
  }

  // MARK: Pieces

  private func start(_ model: String) -> [(key: String, value: GGUFValue)] {
    [("tokenizer.ggml.model", .string(model))]
  }

  private static func isByte(_ text: String) -> Bool {
    let bytes = Array(text.utf8)
    return bytes.count == 6 && text.hasPrefix("<0x") && text.hasSuffix(">")
      && bytes[3...4].allSatisfy { (0x30...0x39).contains($0) || (0x41...0x46).contains($0) }
  }

  /// The text and the kind of each id; ids without a token are filled up as llama.cpp's converter does it.
  private func tokens(
    unescapes: Bool = false, _ kind: (Int, String) -> Kind
  ) -> (texts: [[UInt8]], kinds: [Kind]) {
    var texts: [[UInt8]] = []
    var kinds: [Kind] = []
    for id in 0..<size {
      if let added = storage.added.tokens[UInt32(id)] {
        let own = kind(id, added.content)
        let isSpecial = added.isSpecial || MetadataMaker.looksSpecial(added.content)
        // Tokens that a user defines are looked for in the text as it is.
        let text = unescapes && !isSpecial ? added.content.replacing("\u{2581}", with: " ") : added.content
        texts.append(Array(text.utf8))
        kinds.append(own == .unknown ? .unknown : isSpecial ? .control : .userDefined)
      } else if let text = storage.vocabulary.text(of: id) {
        texts.append(Array(text.utf8))
        kinds.append(kind(id, text))
      } else {
        texts.append(Array("[PAD\(id)]".utf8))
        kinds.append(.unused)
      }
    }
    return (texts, kinds)
  }

  /// Some tokenizers do not call special what is; the same list as in llama.cpp's converter.
  private static func looksSpecial(_ text: String) -> Bool {
    ["<pad>", "<mask>", "<2mass>", "[@BOS@]"].contains(text) || text.hasPrefix("<|") && text.hasSuffix("|>")
      || text.hasPrefix("<｜") && text.hasSuffix("｜>") || text.hasPrefix("<unused") && text.hasSuffix(">")
  }

  /// llama.cpp merges what has the highest score: the earlier a merge, the higher.
  private func scores(of model: BytePairEncoding) -> [Float] {
    var scores = [Float](repeating: 0, count: size)
    for (place, merge) in model.merges.sorted().enumerated() {
      let id = Int(merge.merge.token)
      if id < size, scores[id] == 0 { scores[id] = -Float(place + 1) }
    }
    return scores
  }

  /// Special tokens by role.
  func roles() -> [(key: String, value: GGUFValue)] {
    [
      ("bos_token", "bos"), ("eos_token", "eos"), ("unk_token", "unknown"), ("sep_token", "seperator"),
      ("pad_token", "padding"), ("cls_token", "cls"), ("mask_token", "mask"),
    ].compactMap { role, name in
      guard let id = tokenizer.named(role), id < size else { return nil }
      return ("tokenizer.ggml.\(name)_token_id", .uint32(UInt32(id)))
    }
  }

  /// Whether a token goes before a text, and one behind it.
  private func flags() -> [(key: String, value: GGUFValue)] {
    let around = storage.postProcessor.apply(to: [-1], addSpecialTokens: true)
    return [
      ("tokenizer.ggml.add_bos_token", .bool(around.first != -1)),
      ("tokenizer.ggml.add_eos_token", .bool(around.last != -1)),
    ]
  }

  // MARK: Words

  /// What GGUF calls the way in which the tokenizer cuts texts into words, if it has a name for it.
  private func way(_ model: BytePairEncoding) -> String? {
    // Of ways that are alike the one that is most widely known comes first.
    let names = [
      "gpt-2", "llama-bpe", "qwen2", "dbrx", "starcoder", "smollm", "tekken", "gpt-4o", "deepseek-llm",
      "deepseek-coder", "deepseek-v3", "falcon", "bloom", "viking", "qwen35", "bailingmoe", "seed-coder",
      "exaone-moe", "tiny_aya", "minicpm5", "chameleon", "youtu", "superbpe", "default",
    ]
    let own = GGUFVocabularyExport.probes.map { words($0, storage.preTokenizers) }
    for name in names {
      guard let way = GGUFPreTokenizer(named: name), !way.marksSpaces,
        way.ignoresMerges == model.ignoresMerges,
        let steps = try? way.preTokenizers(file: "")
      else { continue }
      if zip(GGUFVocabularyExport.probes, own).allSatisfy({ words($0, steps) == $1 }) { return name }
    }
    return nil
  }

  private func words(_ text: String, _ steps: [PreTokenizer]) -> [[UInt8]] {
    let scratch = RegexScratch()
    return Array(text.utf8).withUnsafeBufferPointer { bytes in
      var pieces = PreTokenizedText(bytes, beginning: 0)
      defer { pieces.deallocate() }
      for step in steps { try? step.apply(to: &pieces, scratch: scratch) }
      return pieces.pieces.map { Array(pieces.bytes($0)) }
    }
  }
}

/// The texts of a vocabulary by id.
private struct ModelTexts {
  private let vocabulary: ModelVocabulary

  init(_ vocabulary: ModelVocabulary) { self.vocabulary = vocabulary }

  subscript(id: UInt32) -> String { vocabulary.text(of: Int(id)) ?? "" }
}
