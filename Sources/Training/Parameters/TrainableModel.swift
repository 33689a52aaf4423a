import Checkpoints
import JSON
import Kernels
import Transformer

/// A model that learns: all of its weights, in one arena, or adapters beside weights that stay as they are.
package final class TrainableModel {
  /// What the model says about itself.
  package let description: ModelDescription
  /// What it consists of.
  package let table: ParameterTable
  /// What learns, and its gradients.
  package let parameters: ParameterArena
  /// The decoder that computes with the weights; without the adapters.
  package let decoder: Decoder
  /// What is added to it, if that is what learns.
  package let adapters: AdapterSet?

  private init(_ description: ModelDescription, _ table: ParameterTable) throws {
    try TrainableModel.refuseMixture(description)
    self.description = description
    self.table = table
    parameters = try ParameterArena(table.parameters)
    decoder = parameters.decoder(description, table)
    adapters = nil
  }

  private static func refuseMixture(_ description: ModelDescription) throws {
    guard description.configuration.experts == nil else {
      throw TrainingError.mixture(modelType: description.configuration.modelType)
    }
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

  /// Loads a model whose weights stay where they are, in its files if they can, and puts adapters beside them.
  ///
  /// - Parameters:
  ///   - settings: which maps, and how large.
  ///   - seed: of what adapters begin as.
  /// - Throws: what `Decoder.load` throws, `TrainingError.mixture` and `TrainingError.setting`.
  package init(folder: String, adapters settings: AdapterSettings, seed: UInt64, pool: WorkerPool) throws {
    description = try ModelDescription.load(from: folder)
    try TrainableModel.refuseMixture(description)
    (decoder, table) = try Decoder.open(folder)
    let adapters = try AdapterSet(decoder, table, settings, seed: seed, pool: pool)
    self.adapters = adapters
    parameters = adapters.parameters
  }

  /// What computes when the model writes.
  func engine(pool: WorkerPool) -> any ComputeEngine {
    let engine = BLASEngine(pool: pool)
    return adapters.map { AdaptedEngine(base: engine, adapters: $0) } ?? engine
  }

  /// Operations of a step per token: two for each weight forwards, and four backwards where it learns, else two.
  ///
  /// As is customary, all weights count, tables that are looked up included.
  var operationsPerToken: Double {
    let learned = Double(parameters.parameterCount)
    return 6 * learned + (adapters == nil ? 0 : 4 * Double(description.parameterCounts.total))
  }

  // MARK: Files

  /// Writes the model, or the adapters, as others read them.
  ///
  /// - Parameter base: what an adapter calls the model that it belongs to.
  func save(to folder: String, base: String?) throws {
    if let adapters { return try adapters.save(to: folder, base: base ?? "") }
    try parameters.save(parameters.values, to: folder + "/model.safetensors")
    try AtomicFile.write(description.document.text(.indented) + "\n", to: folder + "/config.json")
  }

  /// Reads what a checkpoint holds.
  func load(_ folder: String) throws {
    if let adapters { return try adapters.loadState(from: folder) }
    try parameters.load(folder + "/model.safetensors", into: parameters.values)
  }
}
