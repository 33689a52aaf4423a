import Kernels

/// What an intermediate result of a forward pass is to the model.
package enum ActivationRole: Int, CaseIterable, Sendable {
  /// Token embeddings before their map to the residual stream, (R, embedding channels).
  case embedding
  /// The residual stream, (R, C).
  case residual
  /// The normalised input of attention, (R, C).
  case attentionInput
  /// Queries, keys and values side by side, (R, (H + 2G)·D).
  case queryKeyValue
  /// What attention gathered, (R, H·D).
  case attended
  /// A part's result before it is added to the residual stream, (R, C).
  case branch
  /// The normalised input of the feed-forward maps, (R, C).
  case feedForwardInput
  /// What the first feed-forward map gives, gate and values side by side, (R, 2·inner).
  case gated
  /// Between the feed-forward maps, (R, inner).
  case activated
  /// Scores of the experts, (R, experts).
  case router
  /// The rows that go to one expert, (r, C).
  case expertInput
  /// What one expert gives, (r, C).
  case expertOutput
  /// The rows whose scores are wanted, where these do not follow one another, (r, C).
  case scored
  /// After the final norm, (R, C).
  case finalNorm
  /// After the map from the residual stream to the embedding's channels, (R, embedding channels).
  case outputProjection
  /// Cosines of one rotary embedding, (R, n/2).
  case cosines
  /// Sines of one rotary embedding, (R, n/2).
  case sines
}

/// Where a forward pass puts its intermediate results.
///
/// The pass asks anew for each result that it computes. Inference hands out the same memory for every block;
/// training hands out fresh memory, so that what the backward pass reads stays as it was.
package protocol ActivationStorage: AnyObject {
  /// Memory for one result; its contents are undefined.
  func matrix(_ role: ActivationRole, _ rows: Int, _ columns: Int) -> MutableMatrixView
}

/// One piece of memory per role, used again by every block and every pass.
final class ActivationBuffers: ActivationStorage {
  private var buffers = [FloatBuffer?](repeating: nil, count: ActivationRole.allCases.count)

  func matrix(_ role: ActivationRole, _ rows: Int, _ columns: Int) -> MutableMatrixView {
    let count = rows * columns
    // The first passes settle the sizes; later ones allocate nothing.
    if buffers[role.rawValue].map({ $0.elements.count < count }) ?? true {
      buffers[role.rawValue] = FloatBuffer(count: count)
    }
    return MutableMatrixView(
      buffers[role.rawValue]!.elements.baseAddress!, rows: rows, columns: columns)
  }
}
