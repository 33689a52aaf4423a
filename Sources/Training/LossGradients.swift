import Kernels
import Transformer

/// The loss of a model on some sequences, and its gradient with respect to every tensor of the checkpoint.
public final class LossGradients {
  /// The mean of −log p over all targets.
  public let loss: Double
  private let parameters: ParameterArena
  private let shapes: [String: [Int]]

  /// Computes them.
  ///
  /// - Parameters:
  ///   - folder: a model folder in Hugging Face's layout.
  ///   - sequences: at least one, of two tokens or more; each token is the target of the one before.
  ///   - threadCount: threads that compute.
  /// - Throws: what loading throws; `DecoderError` for a token that the model does not have or a sequence that is
  ///   longer than its positions.
  public init(
    folder: String, sequences: [[Int]], threadCount: Int = WorkerPool.defaultThreadCount()
  ) throws {
    let pool = WorkerPool(threadCount: threadCount)
    let model = try TrainableModel(folder: folder)
    let configuration = model.decoder.configuration
    for token in sequences.joined() where !(0..<configuration.vocabularySize).contains(token) {
      throw DecoderError.tokenOutOfRange(token: token, vocabularySize: configuration.vocabularySize)
    }
    let longest = sequences.map(\.count).max() ?? 0
    if let limit = configuration.maximumPositions, longest - 1 > limit {
      throw DecoderError.contextExceeded(length: longest - 1, capacity: limit)
    }
    let batch = TokenBatch(sequences: sequences)
    let pass = try TrainingPass(model.decoder, model.parameters, pool: pool)
    loss = try pass.run(batch, targetCount: batch.targetCount) / Double(max(1, batch.targetCount))
    parameters = model.parameters
    shapes = Dictionary(uniqueKeysWithValues: parameters.tensors.map { ($0.name, $0.shape) })
  }

  /// The extents of a tensor of the checkpoint; `nil` when it has none of that name.
  public func shape(of name: String) -> [Int]? { shapes[name] }

  /// The gradient of a tensor that the checkpoint has, row-major.
  public func gradient(of name: String) -> [Float] { parameters.gradient(ofTensor: name) }
}
