/// The weight and bias of an affine map from `inputs` to `outputs` channels: y = x·Wᵀ + b.
///
/// The owner of the memory (a mapped checkpoint, a converted copy) outlives it.
public struct LinearWeight: @unchecked Sendable {
  // Safe: nothing writes through the pointers after loading.

  /// How a checkpoint stores the matrix.
  public enum Layout: Sendable {
    /// (outputs, inputs), as PyTorch's `nn.Linear`.
    case outputMajor
    /// (inputs, outputs), as GPT-2's `Conv1D`.
    case inputMajor
  }

  /// Where the elements are, and in what form.
  public enum Storage: @unchecked Sendable {
    /// Floats in the order of the layout.
    case floats(UnsafePointer<Float>, Layout)
    /// Floats of one order, (outputs, inputs), in several places.
    case scattered(ScatteredMatrix)
    /// Compact matrices whose outputs follow one another.
    case packed(PackedWeight)
  }

  /// The matrix.
  public let storage: Storage
  /// (outputs), or nothing.
  public let bias: UnsafePointer<Float>?
  /// Channels in.
  public let inputs: Int
  /// Channels out.
  public let outputs: Int
  /// Told of the first product; nothing where the matrix has been looked through, or its reader looks.
  public let unseen: UnseenMatrix?

  /// The matrix as floats, in the order `layout` names; one in several places is put together.
  /// - Precondition: it is not packed.
  public var values: UnsafePointer<Float> {
    switch storage {
    case .floats(let values, _): return values
    case .scattered(let matrix): return matrix.makeWhole()
    case .packed: preconditionFailure("a packed weight has no floats")
    }
  }

  /// Bytes of the matrix in memory.
  public var byteCount: Int {
    switch storage {
    case .floats, .scattered: inputs * outputs * MemoryLayout<Float>.stride
    case .packed(let packed): packed.byteCount
    }
  }

  /// The order of the matrix; a packed one reads as (outputs, inputs).
  public var layout: Layout {
    guard case .floats(_, let layout) = storage else { return .outputMajor }
    return layout
  }

  /// The same with its extents.
  var matrix: MatrixView {
    layout == .outputMajor
      ? MatrixView(values, rows: outputs, columns: inputs)
      : MatrixView(values, rows: inputs, columns: outputs)
  }

  /// Describes a map in memory.
  /// - Precondition: both extents are positive.
  public init(
    values: UnsafePointer<Float>, bias: UnsafePointer<Float>? = nil, inputs: Int, outputs: Int,
    layout: Layout,
    unseen: UnseenMatrix? = nil
  ) {
    precondition(inputs > 0 && outputs > 0, "a map from \(inputs) to \(outputs) channels")
    storage = .floats(values, layout)
    self.bias = bias
    self.inputs = inputs
    self.outputs = outputs
    self.unseen = unseen
  }

  /// Describes a map whose matrix is packed, and keeps it.
  public init(_ packed: PackedWeight, bias: UnsafePointer<Float>? = nil) {
    storage = .packed(packed)
    self.bias = bias
    inputs = packed.inputs
    outputs = packed.outputs
    unseen = nil
  }

  /// Describes a map whose matrix lies in several places, and keeps it.
  public init(
    _ scattered: ScatteredMatrix, bias: UnsafePointer<Float>? = nil, unseen: UnseenMatrix? = nil
  ) {
    storage = .scattered(scattered)
    self.bias = bias
    inputs = scattered.inputs
    outputs = scattered.outputs
    self.unseen = unseen
  }

  /// The matrix alone, as if it had been looked through.
  var withoutBias: LinearWeight { LinearWeight(storage, inputs: inputs, outputs: outputs) }

  private init(_ storage: Storage, inputs: Int, outputs: Int) {
    self.storage = storage
    self.inputs = inputs
    self.outputs = outputs
    bias = nil
    unseen = nil
  }
}

/// A matrix in compact types: one part, or several whose outputs follow one another (queries, keys and values may differ).
public struct PackedWeight: Sendable {
  /// The parts, in the order of their outputs.
  public let parts: [PackedMatrix]
  /// Whether bfloat16 meets activations that are rounded to bfloat16 too, where the build has the instruction; otherwise it is
  /// widened and the products are those of floats.
  public let roundsActivations: Bool

  /// Channels in.
  public var inputs: Int { parts[0].inputs }
  /// Channels out.
  public var outputs: Int { parts.reduce(0) { $0 + $1.outputs } }
  /// Bytes in memory.
  public var byteCount: Int { parts.reduce(0) { $0 + $1.byteCount } }

  /// Puts parts together.
  /// - Precondition: there is at least one, and all have the same inputs.
  public init(_ parts: [PackedMatrix], roundsActivations: Bool = false) {
    precondition(!parts.isEmpty && parts.allSatisfy { $0.inputs == parts[0].inputs }, "parts of one matrix")
    self.parts = parts
    self.roundsActivations = roundsActivations
  }

  /// One row as floats.
  /// - Parameter row: (inputs).
  public func copyRow(_ index: Int, into row: UnsafeMutablePointer<Float>) {
    var first = 0
    for part in parts {
      if index < first + part.outputs { return part.copyRow(index - first, into: row) }
      first += part.outputs
    }
    preconditionFailure("row \(index) of a matrix that has \(first)")
  }
}
