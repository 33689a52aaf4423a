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

  /// The matrix, in the order `layout` names.
  public let values: UnsafePointer<Float>
  /// (outputs), or nothing.
  public let bias: UnsafePointer<Float>?
  /// Channels in.
  public let inputs: Int
  /// Channels out.
  public let outputs: Int
  /// The order of the matrix in memory.
  public let layout: Layout

  /// Describes a map in memory.
  /// - Precondition: both extents are positive.
  public init(
    values: UnsafePointer<Float>, bias: UnsafePointer<Float>? = nil, inputs: Int, outputs: Int, layout: Layout
  ) {
    precondition(inputs > 0 && outputs > 0, "a map from \(inputs) to \(outputs) channels")
    self.values = values
    self.bias = bias
    self.inputs = inputs
    self.outputs = outputs
    self.layout = layout
  }
}
