import Checkpoints
import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

extension ModelDescription {
  /// What the model consists of, under the names that transformers saves.
  package var parameterTable: ParameterTable { ParameterTable(family, configuration) }
}

extension Decoder {
  /// Assembles a decoder of weights that their owner may go on changing between two passes.
  package convenience init(_ description: ModelDescription, weights: DecoderWeights) {
    self.init(
      configuration: description.configuration, weights: weights,
      unknownConfigurationFields: description.unknownFields)
  }
}

extension ParameterTable {
  /// The parameters of a checkpoint, checked, and what copies them.
  ///
  /// - Returns: the table under the checkpoint's own names, and a function that fills one parameter's elements.
  /// - Throws: what `Decoder.load` throws.
  package static func open(_ description: ModelDescription, folder: String) throws -> (
    table: ParameterTable, copy: (Parameter, UnsafeMutablePointer<Float>) throws -> Void
  ) {
    let checkpoint = try Checkpoint(path: folder)
    let loader = WeightLoader(
      family: description.family, configuration: description.configuration, source: checkpoint)
    let weights = try loader.load()
    var table = loader.table
    // A file may hold the embedding a second time as the head of a model that ties them: they stay one.
    let configuration = description.configuration
    let count = configuration.vocabularySize * configuration.embeddingSize
    if configuration.tiesWordEmbeddings, table.hasOwnHead,
      memcmp(weights.head.values, weights.tokenEmbedding, count * MemoryLayout<Float>.stride) == 0
    {
      table = ParameterTable(loader.family, configuration, prefix: table.prefix, hasOwnHead: false)
    }
    return (
      table,
      { parameter, target in
        for piece in parameter.pieces {
          let (values, owner) = try checkpoint.floats(of: piece.tensor)
          withExtendedLifetime(owner) {
            for run in piece.runs {
              (target + run.target * parameter.columns).update(
                from: values + run.source * parameter.columns, count: run.count * parameter.columns)
            }
          }
        }
      }
    )
  }
}
