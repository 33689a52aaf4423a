import Kernels

/// The intermediate results of a forward pass, allocated once for the most rows that a pass may have.
///
/// Inference uses the same memory for every block.
final class ActivationBuffers {
  let maximumRows: Int
  private let configuration: DecoderConfiguration
  private let residualBuffer: FloatBuffer
  private let normalizedBuffer: FloatBuffer
  private let queryKeyValueBuffer: FloatBuffer
  private let attendedBuffer: FloatBuffer
  private let feedForwardBuffer: FloatBuffer

  init(configuration: DecoderConfiguration, maximumRows: Int) {
    self.configuration = configuration
    self.maximumRows = maximumRows
    let attention = configuration.attention
    residualBuffer = FloatBuffer(count: maximumRows * configuration.hiddenSize)
    normalizedBuffer = FloatBuffer(count: maximumRows * configuration.hiddenSize)
    queryKeyValueBuffer = FloatBuffer(
      count: maximumRows * (attention.queryWidth + 2 * attention.keyValueWidth))
    attendedBuffer = FloatBuffer(count: maximumRows * attention.queryWidth)
    feedForwardBuffer = FloatBuffer(count: maximumRows * configuration.feedForwardSize)
  }

  private func view(_ buffer: FloatBuffer, _ rows: Int, _ columns: Int) -> MutableMatrixView {
    precondition(rows <= maximumRows, "\(rows) rows in buffers for \(maximumRows)")
    return MutableMatrixView(buffer.elements.baseAddress!, rows: rows, columns: columns)
  }

  /// The residual stream, (R, C).
  func residual(_ rows: Int) -> MutableMatrixView { view(residualBuffer, rows, configuration.hiddenSize) }
  /// The normalised input of the next map, (R, C).
  func normalized(_ rows: Int) -> MutableMatrixView { view(normalizedBuffer, rows, configuration.hiddenSize) }
  /// Queries, keys and values side by side, (R, (H + 2G)·D).
  func queryKeyValue(_ rows: Int) -> MutableMatrixView {
    view(
      queryKeyValueBuffer, rows,
      configuration.attention.queryWidth + 2 * configuration.attention.keyValueWidth)
  }
  /// What attention gathered, (R, H·D).
  func attended(_ rows: Int) -> MutableMatrixView {
    view(attendedBuffer, rows, configuration.attention.queryWidth)
  }
  /// Between the feed-forward maps, (R, inner).
  func feedForward(_ rows: Int) -> MutableMatrixView {
    view(feedForwardBuffer, rows, configuration.feedForwardSize)
  }
}
