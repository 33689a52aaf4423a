import Checkpoints
import JSON
import Kernels

/// A decoder-only transformer: p(x) = ∏ p(x_t | x_<t), with p(x_t | x_<t) = softmax(h_t·Wᵀ).
///
/// Immutable once loaded, so any number of `InferenceSession`s may use one at the same time.
public final class Decoder: Sendable {
  /// What the model looks like.
  public let configuration: DecoderConfiguration
  /// Its weights.
  public let weights: DecoderWeights
  /// Fields of `config.json` that the family does not know and that were passed over.
  public let unknownConfigurationFields: [String]
  /// The frequencies of each rotary embedding whose frequencies do not change with the length of the sequence.
  let fixedFrequencies: [[Float]?]

  /// Assembles a decoder of weights that are in memory already.
  init(
    configuration: DecoderConfiguration, weights: DecoderWeights, unknownConfigurationFields: [String] = []
  ) {
    self.configuration = configuration
    self.weights = weights
    self.unknownConfigurationFields = unknownConfigurationFields
    fixedFrequencies = configuration.rotaryEmbeddings.map {
      $0.dependsOnLength ? nil : $0.inverseFrequencies(sequenceLength: 1)
    }
  }

  /// Loads a model: a folder in Hugging Face's layout (`config.json` and safetensors, single or sharded), or a
  /// GGUF file.
  ///
  /// - Parameters:
  ///   - path: the folder or file.
  ///   - adapter: a folder in PEFT's layout whose changes are merged into the weights.
  ///   - format: how matrices are held; by default as the files have them.
  ///   - threadCount: threads that pack them, where they are packed.
  ///   - check: when weights are looked through for NaN and ∞.
  /// - Throws: `ConfigurationError`, `DecoderError`, `AdapterError` or an error of `Checkpoints` that names file and
  ///   field; nothing is guessed and nothing is left out.
  public static func load(
    from path: String, adapter: String? = nil, format: WeightFormat = .asStored,
    threadCount: Int = WorkerPool.defaultThreadCount(), check: WeightCheck = .whenLoaded
  ) throws -> Decoder {
    let (description, source) = try openModel(path, adapter: adapter)
    try description.refuseUnknownSettings()
    let loader = WeightLoader(
      family: description.family, configuration: description.configuration, source: source)
    return Decoder(
      configuration: description.configuration,
      weights: try loader.load(format, threadCount: threadCount, check: check),
      unknownConfigurationFields: description.unknownFields)
  }

  /// Bytes that a model's weights will take in a format, from its headers alone.
  ///
  /// - Throws: what `load` throws for tensors that are missing or of the wrong shape.
  public static func weightByteCount(of path: String, format: WeightFormat = .asStored) throws -> Int {
    let (description, source) = try openModel(path)
    let loader = WeightLoader(
      family: description.family, configuration: description.configuration, source: source)
    try loader.check()
    return try loader.byteCount(format)
  }
}
