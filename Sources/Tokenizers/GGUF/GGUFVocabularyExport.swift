import Checkpoints
import JSON

/// Says with the metadata of a GGUF file what a folder's tokenizer says, so that llama.cpp cuts texts as we do.
///
/// - SeeAlso: `gguf/vocab.py` and `convert_hf_to_gguf.py` of llama.cpp.
public enum GGUFVocabularyExport {
  /// The keys and values of a folder's tokenizer.
  ///
  /// - Parameters:
  ///   - folder: holds `tokenizer.json`, and perhaps `tokenizer_config.json`.
  ///   - vocabularySize: ids that the model has; those without a token are filled up.
  /// - Returns: the metadata, and a note when GGUF has no name for the way in which texts are split.
  /// - Throws: `GGUFVocabularyError` for a tokenizer that GGUF cannot express.
  public static func metadata(
    folder: String, vocabularySize: Int
  ) throws -> (metadata: [(key: String, value: GGUFValue)], note: String?) {
    let base = folder.hasSuffix("/") ? folder : folder + "/"
    let path = base + "tokenizer.json"
    guard fileExists(path) else { return ([], "no tokenizer.json: the GGUF file has no vocabulary") }
    let document = try JSONDocument.load(path)
    func fail(_ reason: String) -> GGUFVocabularyError { GGUFVocabularyError(path: path, reason: reason) }
    let model = document["model"] ?? .null
    guard let vocabulary = model["vocab"]?.object, model["type"]?.string ?? "BPE" == "BPE" else {
      throw fail(
        "a \(model["type"]?.string ?? "vocabulary of unknown kind") cannot be written to GGUF; BPE can. "
          + "Use --no-vocabulary to write the weights alone")
    }
    let isByteFallback = model["byte_fallback"]?.bool ?? false

    var tokens = [[UInt8]](repeating: [], count: vocabularySize)
    var types = [Int32](repeating: 5, count: vocabularySize)
    func set(_ id: Int?, _ text: String, _ type: Int32) throws {
      guard let id, id >= 0, id < vocabularySize else {
        throw fail("token \(text.debugDescription) has an id beyond the model's \(vocabularySize)")
      }
      tokens[id] = Array(text.utf8)
      types[id] = type
    }
    let unknown = model["unk_token"]?.string
    for member in vocabulary.members {
      let isByte = isByteFallback && member.key.utf8.count == 6 && member.key.hasPrefix("<0x")
      try set(member.value.int, member.key, member.key == unknown ? 2 : isByte ? 6 : 1)
    }
    for token in document["added_tokens"]?.array ?? [] {
      let text = token["content"]?.string ?? ""
      try set(token["id"]?.int, text, text == unknown ? 2 : token["special"]?.bool == true ? 3 : 4)
    }
    for id in 0..<vocabularySize where types[id] == 5 { tokens[id] = Array("[PAD\(id)]".utf8) }

    let merges: [String] = (model["merges"]?.array ?? []).compactMap { merge in
      merge.string ?? merge.array.map { $0.compactMap(\.string).joined(separator: " ") }
    }
    var metadata: [(key: String, value: GGUFValue)] = []
    var note: String?
    func add(_ name: String, _ value: GGUFValue) { metadata.append(("tokenizer.ggml.\(name)", value)) }
    add("model", .string(isByteFallback ? "llama" : "gpt2"))
    if isByteFallback {
      add("pre", .string("default"))
    } else if let name = preTokenizer(document) {
      add("pre", .string(name))
    } else {
      note = "GGUF has no name for this tokenizer's way of splitting texts; llama.cpp may cut them otherwise"
      add("pre", .string("default"))
    }
    add("tokens", .strings(tokens))
    if isByteFallback {
      // llama.cpp merges what has the highest score: the earlier a merge, the higher.
      var scores = [Float](repeating: 0, count: vocabularySize)
      let ids = Dictionary(
        vocabulary.members.map { ($0.key, $0.value.int ?? 0) }, uniquingKeysWith: { first, _ in first })
      for (rank, merge) in merges.enumerated() {
        let merged = merge.replacing(" ", with: "")
        if let id = ids[merged], scores[id] == 0 { scores[id] = -Float(rank + 1) }
      }
      add("scores", .floats(scores))
    }
    add("token_type", .integers(types))
    if !isByteFallback { add("merges", .strings(merges.map { Array($0.utf8) })) }

    let tokenizer = try Tokenizer.load(from: folder)
    for (role, key) in [
      ("bos_token", "bos_token_id"), ("eos_token", "eos_token_id"), ("unk_token", "unknown_token_id"),
      ("pad_token", "padding_token_id"),
    ] {
      if let id = tokenizer.named(role) { add(key, .uint32(UInt32(id))) }
    }
    let bare = try tokenizer.encode("a", addSpecialTokens: false)
    let whole = try tokenizer.encode("a", addSpecialTokens: true)
    add("add_bos_token", .bool(whole.first != bare.first))
    add("add_eos_token", .bool(whole.last != bare.last))
    if isByteFallback {
      add("add_space_prefix", .bool(tokenizer.token(for: bare.first ?? 0)?.hasPrefix("▁") ?? false))
    }
    let configuration = base + "tokenizer_config.json"
    if fileExists(configuration), let template = try JSONDocument.load(configuration)["chat_template"]?.string
    {
      metadata.append(("tokenizer.chat_template", .string(template)))
    }
    return (metadata, note)
  }

  /// What llama.cpp calls the way in which a byte-level tokenizer splits texts.
  private static func preTokenizer(_ document: JSONValue) -> String? {
    let stage = document["pre_tokenizer"] ?? .null
    let stages = stage["pretokenizers"]?.array ?? [stage]
    let patterns = stages.compactMap { $0["pattern"]?["Regex"]?.string }
    if patterns.isEmpty, stages.count == 1, stages[0]["type"]?.string == "ByteLevel",
      stages[0]["use_regex"]?.bool ?? true
    {
      return "gpt-2"
    }
    guard patterns.count == 1 else { return nil }
    if patterns[0].contains("\\p{N}{1,3}") { return "llama-bpe" }
    return patterns[0].contains("[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}|") ? "qwen2" : nil
  }
}

/// Why a tokenizer cannot be written to GGUF.
public struct GGUFVocabularyError: Error, Equatable, CustomStringConvertible {
  /// The file.
  public let path: String
  /// What is in the way.
  public let reason: String

  /// One line: file, reason.
  public var description: String { "\(path): \(reason)" }
}
