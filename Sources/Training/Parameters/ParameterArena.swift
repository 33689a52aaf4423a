import Checkpoints
import Kernels
import Transformer

/// The weights that are trained, one after another, and their gradients in the same order beside them.
///
/// A decoder assembled of the arena computes with the weights where they lie: what the optimiser writes, the next
/// pass reads.
package final class ParameterArena {
  /// One parameter and where it lies.
  package struct Slot {
    /// What it is.
    package let parameter: Parameter
    /// Its first element.
    package let start: Int

    /// Its elements' places.
    package var range: Range<Int> { start..<start + parameter.count }
    /// The name of its first tensor, which no other parameter has.
    package var name: String { parameter.pieces[0].tensor }
    /// Whether weight decay applies: to matrices and tables, not to norms and biases.
    package var isDecayed: Bool { parameter.kind == .matrix || parameter.kind == .embedding }
  }

  /// The parameters, in the order of the forward pass.
  package let slots: [Slot]
  /// Elements of the arena, the gaps between parameters included.
  package let count: Int
  /// Elements of all parameters.
  package let parameterCount: Int
  let values: FloatMemory
  let gradients: FloatMemory

  /// Makes room for the parameters of a table; all are zero.
  ///
  /// - Throws: `DecoderError.memory`.
  package init(_ parameters: [Parameter]) throws {
    var slots: [Slot] = []
    var start = 0
    for parameter in parameters {
      slots.append(Slot(parameter: parameter, start: start))
      // Every parameter begins at a cache line.
      start += (parameter.count + 15) / 16 * 16
    }
    self.slots = slots
    count = start
    parameterCount = parameters.reduce(0) { $0 + $1.count }
    values = try FloatMemory(count: start, purpose: "the weights")
    gradients = try FloatMemory(count: start, purpose: "the gradients")
  }

  /// The decoder that computes with these weights.
  ///
  /// - Parameter table: the table whose parameters the arena holds.
  func decoder(_ description: ModelDescription, _ table: ParameterTable) -> Decoder {
    let places = Dictionary(uniqueKeysWithValues: slots.map { ($0.name, $0.start) })
    return Decoder(
      description,
      weights: table.assemble(owners: { [self] }) { parameter in
        UnsafePointer(values.base + places[parameter.pieces[0].tensor]!)
      })
  }

  /// Where the gradient of a weight is collected; nothing when the weight is not one of these.
  func gradient(of weight: UnsafePointer<Float>) -> UnsafeMutablePointer<Float>? {
    let offset = weight - UnsafePointer(values.base)
    return offset >= 0 && offset < count ? gradients.base + offset : nil
  }

  /// Forgets all gradients.
  func clearGradients() { gradients.base.update(repeating: 0, count: count) }

  // MARK: Tensors of a checkpoint

  /// The tensors that the parameters make up, as a checkpoint has them.
  package var tensors: [TensorDeclaration] {
    slots.flatMap { slot in
      slot.parameter.pieces.map { TensorDeclaration(name: $0.tensor, type: .f32, shape: $0.shape) }
    }
  }

  /// The elements of one tensor, row-major, out of memory in the arena's order.
  ///
  /// - Parameter memory: weights, gradients or anything that lies as they do.
  func tensor(_ name: String, from memory: FloatMemory) -> [Float] {
    for slot in slots {
      for piece in slot.parameter.pieces where piece.tensor == name {
        let columns = slot.parameter.columns
        return [Float](unsafeUninitializedCapacity: piece.shape.reduce(1, *)) { target, count in
          for run in piece.runs {
            (target.baseAddress! + run.source * columns).initialize(
              from: memory.base + slot.start + run.target * columns, count: run.count * columns)
          }
          count = piece.shape.reduce(1, *)
        }
      }
    }
    preconditionFailure("no parameter holds a tensor \(name)")
  }

  /// The gradient of one tensor, row-major.
  package func gradient(ofTensor name: String) -> [Float] { tensor(name, from: gradients) }

  /// Writes memory in the arena's order as a safetensors file under the checkpoint's names.
  ///
  /// - Throws: `FileError`, for a full disk among others.
  func save(_ memory: FloatMemory, to path: String) throws {
    try SafetensorsWriter.write(
      to: path, tensors, metadata: ["format": "pt"], alignment: SafetensorsWriter.modelAlignment
    ) { tensor, append in
      try self.tensor(tensor.name, from: memory).withUnsafeBytes { try append($0) }
    }
  }

  /// Reads what `save` wrote.
  ///
  /// - Throws: `TrainingError.checkpoint` when the file holds other tensors, or an error of `Checkpoints`.
  func load(_ path: String, into memory: FloatMemory) throws {
    let file = try SafetensorsFile(path: path)
    let known = Set(tensors.map(\.name))
    let records = Dictionary(file.tensors.map { ($0.name, $0) }) { first, _ in first }
    if let other = file.tensors.map(\.name).first(where: { !known.contains($0) }) {
      throw TrainingError.checkpoint(
        path: path, reason: "holds a tensor \(other) that this model does not have")
    }
    for slot in slots {
      let columns = slot.parameter.columns
      for piece in slot.parameter.pieces {
        guard let record = records[piece.tensor], record.shape == piece.shape else {
          throw TrainingError.checkpoint(
            path: path, reason: "holds no tensor \(piece.tensor) of shape \(piece.shape)")
        }
        let elements = try record.floats()
        elements.withUnsafeBufferPointer { elements in
          for run in piece.runs {
            (memory.base + slot.start + run.target * columns).update(
              from: elements.baseAddress! + run.source * columns, count: run.count * columns)
          }
        }
      }
    }
  }
}
