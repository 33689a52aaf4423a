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
  /// - Throws: `ConfigurationError`, `DecoderError` or an error of `Checkpoints` that names file and field;
  ///   nothing is guessed and nothing is left out.
  public static func load(from path: String) throws -> Decoder {
    let (description, source) = try openModel(path)
    try description.refuseUnknownSettings()
    let loader = WeightLoader(
      family: description.family, configuration: description.configuration, source: source)
    return Decoder(
      configuration: description.configuration, weights: try loader.load(),
      unknownConfigurationFields: description.unknownFields)
  }
}
