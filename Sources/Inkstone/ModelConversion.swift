import ChatTemplates
import Checkpoints
import JSON
import Tokenizers
import Transformer

/// Writes models in other forms: GGUF files, and folders in Hugging Face's layout of another element type.
public enum ModelConversion {
  /// The key of a model's generation_config.json in a GGUF file.
  static let generationKey = "inkstone.generation_config"

  /// Writes a GGUF file that llama.cpp loads.
  ///
  /// - Parameters:
  ///   - model: a folder in Hugging Face's layout, or a GGUF file.
  ///   - path: the file; replaced only when all is written.
  ///   - type: how matrices are encoded.
  ///   - includesVocabulary: whether the tokeniser and the chat template go in.
  ///   - quantized: matrices that are in blocks already, of `ModelQuantizer`.
  /// - Returns: what llama.cpp will not do as the model does, one line each.
  /// - Throws: `GGUFExportError` for a model that GGUF cannot express; otherwise an error that names the file and
  ///   the field or tensor.
  public static func writeGGUF(
    from model: String, to path: String, as type: GGUFExport.OutputType, includesVocabulary: Bool = true,
    quantized: ModelQuantizer.Result? = nil
  ) throws -> [String] {
    let export = try GGUFExport(model: model, quantized: quantized)
    var metadata: [(key: String, value: GGUFValue)] = []
    var notes = export.notes
    var name = model.split(separator: "/").last.map(String.init) ?? "model"
    if GGUFFile.recognises(model) {
      let source = try GGUFFile(path: model).metadata
      name = try source.string("general.name") ?? name
      for key in source.keys where includesVocabulary && key.hasPrefix("tokenizer.") || key == generationKey {
        if let value = source.raw(key) { metadata.append((key, value)) }
      }
    } else {
      if includesVocabulary, Tokenizer.exists(in: model) {
        let vocabulary = try GGUFVocabularyExport(folder: model, vocabularySize: export.vocabularySize)
        metadata += vocabulary.metadata
        notes += vocabulary.notes
      }
      if includesVocabulary { metadata += try chatTemplates(model) }
      if let settings = try generationSettings(model, export) {
        metadata.append((generationKey, .string(settings.text())))
      }
    }
    if !metadata.contains(where: { $0.key == "tokenizer.ggml.model" }) {
      metadata.append(("tokenizer.ggml.model", .string("no_vocab")))
    }
    addTokens(export, try endTokens(model), to: &metadata)
    try export.write(to: path, as: type, name: name, vocabulary: metadata)
    return notes
  }

  /// Writes a folder in Hugging Face's layout: `config.json`, `model.safetensors`, and what the model holds besides.
  ///
  /// - Parameters:
  ///   - model: a folder in Hugging Face's layout, or a GGUF file.
  ///   - folder: made if it is not there.
  ///   - type: of all tensors.
  ///   - adapter: a folder of an adapter, whose changes are merged into the weights; what stands beside the weights
  ///     is taken from there where it has it.
  /// - Returns: what could not be taken over, one line each.
  /// - Throws: an error that names the file and the field or tensor.
  public static func writeFolder(
    from model: String, to folder: String, as type: CheckpointExport.OutputType, adapter: String? = nil
  ) throws -> [String] {
    try CheckpointExport.write(model: model, to: folder, as: type, adapter: adapter)
    var notes: [String] = []
    if GGUFFile.recognises(model) {
      notes = try writeTokenizer(of: GGUFFile(path: model).metadata, to: folder)
    } else {
      try copyCompanions(of: model, to: folder)
    }
    if let adapter { try copyCompanions(of: adapter, to: folder) }
    return notes
  }

  private static func copyCompanions(of model: String, to folder: String) throws {
    for name in try folderEntries(model) where isCompanion(name) && !folderExists(joined(model, name)) {
      let bytes = try readFile(joined(model, name), acceptingPipes: false)
      try bytes.withUnsafeBytes { try AtomicFile.write($0, to: joined(folder, name)) }
    }
  }

  // MARK: To GGUF

  /// Whether a folder's file belongs to the model without being its weights or their description.
  private static func isCompanion(_ name: String) -> Bool {
    [
      "tokenizer.json", "tokenizer_config.json", "generation_config.json", "tokenizer.model", "spiece.model",
      "sentencepiece.bpe.model", "vocab.txt", "vocab.json", "merges.txt", "special_tokens_map.json",
      "added_tokens.json", "chat_template.jinja", "LICENSE", "README.md",
    ].contains(name)
  }

  private static func chatTemplates(_ folder: String) throws -> [(key: String, value: GGUFValue)] {
    guard let templates = try ChatTemplateSet.load(from: folder) else { return [] }
    var metadata: [(key: String, value: GGUFValue)] = []
    let others = templates.names.filter { $0 != "default" }
    if let text = templates.text(named: "default") {
      metadata.append(("tokenizer.chat_template", .string(text)))
    }
    if !others.isEmpty {
      metadata.append(("tokenizer.chat_templates", .strings(others.map { Array($0.utf8) })))
    }
    for name in others {
      metadata.append(("tokenizer.chat_template.\(name)", .string(templates.text(named: name) ?? "")))
    }
    return metadata
  }

  /// A folder's generation settings: `generation_config.json`, or what an older `config.json` says of them.
  private static func generationSettings(_ folder: String, _ export: GGUFExport) throws -> JSONValue? {
    let path = joined(folder, "generation_config.json")
    if fileExists(path) { return try JSONDocument.load(path) }
    var members = (try JSONDocument.load(joined(folder, "config.json")).object?.members ?? []).filter {
      generationConfigurationFields.contains($0.key)
    }
    guard !members.isEmpty else { return nil }
    let tokens = export.tokens
    func add(_ key: String, _ ids: [Int]) {
      guard let first = ids.first else { return }
      members.append(
        .init(key: key, value: ids.count == 1 ? .integer(first) : .array(ids.map { .integer($0) })))
    }
    add("bos_token_id", tokens.begin.map { [$0] } ?? [])
    add("eos_token_id", tokens.ends)
    add("pad_token_id", tokens.padding.map { [$0] } ?? [])
    return .object(JSONObject(members))
  }

  /// The end tokens that a model's own generation settings name.
  private static func endTokens(_ model: String) throws -> [Int] {
    guard !GGUFFile.recognises(model) else { return [] }
    let path = joined(model, "generation_config.json")
    guard fileExists(path), let value = try JSONDocument.load(path)["eos_token_id"] else { return [] }
    return (value.array ?? [value]).compactMap(\.int)
  }

  /// Adds the special tokens of `config.json` and generation_config.json where the tokeniser does not say otherwise.
  private static func addTokens(
    _ export: GGUFExport, _ ends: [Int], to metadata: inout [(key: String, value: GGUFValue)]
  ) {
    func value(_ name: String) -> Int? {
      guard
        case .uint32(let id)? = metadata.last(where: { $0.key == "tokenizer.ggml.\(name)_token_id" })?.value
      else { return nil }
      return Int(id)
    }
    func has(_ name: String) -> Bool { metadata.contains { $0.key == "tokenizer.ggml.\(name)_token_id" } }
    func add(_ name: String, _ id: Int?) {
      guard let id, (0..<export.vocabularySize).contains(id), !has(name) else { return }
      metadata.append(("tokenizer.ggml.\(name)_token_id", .uint32(UInt32(id))))
    }
    let tokens = export.tokens
    // BERT's vocabularies begin a text with a token of their own.
    if !has("cls") { add("bos", tokens.begin) }
    add("padding", tokens.padding)
    let own = value("eos")
    var rest = (ends + tokens.ends).filter { $0 != own }
    if !has("eos"), !rest.isEmpty { add("eos", rest.removeFirst()) }
    let first = value("eos")
    var others: [Int] = []
    for id in rest where id != first && !others.contains(id) { others.append(id) }
    // GGUF knows an end of turn and an end of message besides.
    add("eot", others.first)
    add("eom", others.dropFirst().first)
  }

  // MARK: From GGUF

  private static func writeTokenizer(of metadata: GGUFMetadata, to folder: String) throws -> [String] {
    var notes: [String] = []
    if let text = try metadata.string(generationKey) {
      try AtomicFile.write(
        try JSONValue.parse(text).text(.indented) + "\n", to: joined(folder, "generation_config.json"))
    }
    do {
      guard let files = try GGUFTokenizerFiles(metadata) else {
        return ["the GGUF file holds no vocabulary; the folder has no tokenizer"]
      }
      try AtomicFile.write(files.tokenizer, to: joined(folder, "tokenizer.json"))
      var configuration = files.configuration.object?.members ?? []
      if let template = try metadata.string("tokenizer.chat_template") {
        configuration.append(.init(key: "chat_template", value: .string(template)))
      }
      try AtomicFile.write(
        JSONValue.object(JSONObject(configuration)).text(.indented) + "\n",
        to: joined(folder, "tokenizer_config.json"))
      notes += files.notes
    } catch let error as TokenizerError {
      notes.append("the folder has no tokenizer: \(error)")
    }
    return notes
  }

  private static func joined(_ folder: String, _ name: String) -> String {
    folder.hasSuffix("/") ? folder + name : folder + "/" + name
  }
}
