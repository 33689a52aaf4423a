import ArgumentParser
import Benchmarking
import Foundation
import Inkstone

/// What `inkstone bench` measures: a model folder, or random weights of some shape.
struct BenchSubject {
  /// As reports call it.
  let name: String
  let description: ModelDescription
  private let folder: String?

  init(model: ModelOptions, shape: String?) throws {
    if let shape {
      let shape = try ModelShape(shape)
      name = shape.name
      description = try shape.description()
      folder = nil
    } else {
      let folder = try model.resolvedFolder()
      name = URL(filePath: folder).standardizedFileURL.lastPathComponent
      description = try ModelDescription.load(from: folder)
      self.folder = folder
    }
  }

  /// Loads or draws the weights.
  func makeDecoder(_ format: WeightFormat) throws -> Decoder {
    if let folder { return try Decoder.load(from: folder, format: format) }
    return try RandomWeights(description).makeDecoder(format: format)
  }

  /// Bytes that the weights will take.
  func weightByteCount(_ format: WeightFormat) throws -> Int {
    if let folder { return try Decoder.weightByteCount(of: folder, format: format) }
    return try RandomWeights(description).byteCount(format)
  }

  /// How weights are held where nothing is said.
  var defaultFormat: WeightFormat { folder == nil ? .float32 : .asStored }

  /// Writes the random model.
  func save(to target: String) throws {
    try MemoryRequirement(description, positions: 1, chunk: 1, engineCount: 1).check(model: name)
    try RandomWeights(description).save(to: target)
    StandardStreams.report("\(name) with random weights is in \(target)")
  }

  /// The model as a report names it.
  var reported: ModelReport.Model {
    .init(name: name, path: folder ?? "", parameterCount: description.parameterCounts.total)
  }
}
