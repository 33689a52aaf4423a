import Checkpoints
import JSON
import Kernels
import Transformer

/// A model whose weights lie in one arena, ready to be changed.
package final class TrainableModel {
  /// What the model says about itself.
  package let description: ModelDescription
  /// What it consists of.
  package let table: ParameterTable
  /// Its weights and their gradients.
  package let parameters: ParameterArena
  /// The decoder that computes with them.
  package let decoder: Decoder

  private init(_ description: ModelDescription, _ table: ParameterTable) throws {
    guard description.configuration.experts == nil else {
      throw TrainingError.mixture(modelType: description.configuration.modelType)
    }
    self.description = description
    self.table = table
    parameters = try ParameterArena(table.parameters)
    decoder = parameters.decoder(description, table)
  }

  /// Loads a model folder in Hugging Face's layout.
  ///
  /// - Throws: what `Decoder.load` throws, and `TrainingError.mixture`.
  package convenience init(folder: String) throws {
    let description = try ModelDescription.load(from: folder)
    let (table, copy) = try ParameterTable.open(description, folder: folder)
    try self.init(description, table)
    for slot in parameters.slots { try copy(slot.parameter, parameters.values.base + slot.start) }
  }

  /// Draws the weights of a model that has learned nothing.
  ///
  /// - Parameters:
  ///   - deviation: of matrices and tables.
  ///   - seed: the same seed gives the same weights.
  /// - Throws: `TrainingError.mixture` or `DecoderError.memory`.
  package convenience init(
    _ description: ModelDescription, deviation: Double, seed: UInt64, pool: WorkerPool
  ) throws {
    try self.init(description, description.parameterTable)
    parameters.initialize(decoder, deviation: deviation, seed: seed, pool: pool)
  }
}
