@_exported import ChatTemplates
@_exported import Checkpoints
@_exported import Corpora
@_exported import Evaluation
@_exported import Generation
@_exported import JSON
@_exported import Kernels
@_exported import Tokenizers
@_exported import Transformer

/// The version of the library and of the program.
public let inkstoneVersion = "0.1.0"

/// A model folder, loaded: the decoder, its tokeniser, and how it wants to be sampled.
///
/// ```swift
/// let model = try LanguageModel.load(from: "path/to/model")
/// ```
public struct LanguageModel: Sendable {
  /// The folder it came from.
  public let folder: String
  /// The transformer.
  public let decoder: Decoder
  /// The tokeniser; `nil` when the folder holds none, and the model is used by token ids.
  public let tokenizer: Tokenizer?
  /// The model's own generation settings.
  public let generationConfiguration: GenerationConfiguration
  /// How the model wants conversations written down; `nil` when it says nothing, and is not made for them.
  public let chatTemplates: ChatTemplateSet?

  /// What computes.
  public let engine: any ComputeEngine

  /// Loads a folder in Hugging Face's layout, a GGUF file, or an adapter with the model that it names.
  ///
  /// - Parameters:
  ///   - folder: holds `config.json`, safetensors, and usually a tokeniser and `generation_config.json`.
  ///   - adapter: a folder of an adapter, whose changes are merged into the weights; tokeniser, chat template and
  ///     generation settings count from there where it has them.
  ///   - engine: what computes; by default OpenBLAS with a thread per core.
  ///   - format: how matrices are held; by default as the files have them.
  ///   - check: when weights are looked through for NaN and ∞; an adapter's and what is computed of it always at once.
  /// - Throws: an error that names the file, the field or tensor, and the fix.
  public static func load(
    from folder: String, adapter: String? = nil, engine: (any ComputeEngine)? = nil,
    format: WeightFormat = .asStored, check: WeightCheck = .whenLoaded
  ) throws -> LanguageModel {
    let engine = engine ?? BLASEngine()
    if adapter == nil, let base = try LowRankAdapter.baseModel(of: folder) {
      return try load(from: base, adapter: folder, engine: engine, format: format, check: check)
    }
    let vocabulary = [adapter, folder].compactMap { $0 }.first { Tokenizer.exists(in: $0) }
    // Weights wait for memory and disk, a vocabulary of 150,000 tokens for a core.
    let tokenizer = Meanwhile { try vocabulary.map { try Tokenizer.load(from: $0) } }
    // An error may end the process, which is not to happen below a thread that still reads.
    defer { _ = try? tokenizer.value() }
    let decoder = try Decoder.load(
      from: folder, adapter: adapter, format: format, threadCount: engine.threadCount, check: check)
    let settings = adapter.flatMap { fileExists($0 + "/generation_config.json") ? $0 : nil } ?? folder
    return LanguageModel(
      folder: folder, decoder: decoder, tokenizer: try tokenizer.value(),
      generationConfiguration: try generationConfiguration(in: settings, decoder: decoder.configuration),
      chatTemplates: try adapter.flatMap { try ChatTemplateSet.load(from: $0) }
        ?? ChatTemplateSet.load(from: folder),
      engine: engine)
  }

  /// What the folder says about generating: `generation_config.json` alone where there is one, else `config.json`.
  private static func generationConfiguration(
    in folder: String, decoder: DecoderConfiguration
  ) throws -> GenerationConfiguration {
    if GGUFFile.recognises(folder) {
      let metadata = try GGUFFile(path: folder).metadata
      if let text = try metadata.string(ModelConversion.generationKey) {
        let source = "\(folder): \(ModelConversion.generationKey)"
        do {
          return try GenerationConfiguration(json: try JSONValue.parse(text), source: source)
        } catch let fault as JSONError {
          throw metadata.error(ModelConversion.generationKey, "is \(fault)")
        }
      }
      var settings = GenerationConfiguration()
      settings.endTokens = decoder.endOfSequenceTokens.isEmpty ? nil : decoder.endOfSequenceTokens
      settings.beginToken = decoder.beginOfSequenceToken
      settings.padToken = decoder.paddingToken
      return settings
    }
    let base = folder.hasSuffix("/") ? folder : folder + "/"
    let path = base + "generation_config.json"
    if fileExists(path) {
      return try GenerationConfiguration(json: try JSONDocument.load(path), source: path)
    }
    var settings = try GenerationConfiguration(
      generationConfiguration: nil, modelConfiguration: try JSONDocument.load(base + "config.json"))
    // The family's own defaults count where config.json leaves the special tokens out.
    settings.endTokens = decoder.endOfSequenceTokens.isEmpty ? nil : decoder.endOfSequenceTokens
    settings.beginToken = decoder.beginOfSequenceToken
    settings.padToken = decoder.paddingToken
    return settings
  }
}
