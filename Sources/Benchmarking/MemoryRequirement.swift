import Kernels
import Transformer

/// Bytes that a benchmark will use, known before any of them is allocated.
public struct MemoryRequirement: Sendable, Equatable {
  /// Weights, as they are held.
  public let weights: Int
  /// Keys and values of the longest test, for each engine.
  public let cache: Int
  /// Activations of one chunk and logits, for each engine.
  public let activations: Int
  /// The operands of the machine's limits.
  public let limits: Int
  /// The operands of the largest operation that is measured by itself.
  public let operations: Int

  /// All of them; `Int.max` when it is more than can be counted.
  public var total: Int { MemoryRequirement.sum([weights, cache, activations, limits, operations]) }

  /// The parts in words.
  public var summary: String {
    "weights \(byteText(weights)), KV cache \(byteText(cache)), activations \(byteText(activations)), "
      + "measuring the limits \(byteText(limits))"
      + (operations > 0 ? ", single operations \(byteText(operations))" : "")
  }

  /// Adds up what a model's tests need.
  ///
  /// - Parameters:
  ///   - positions: the most positions that a test fills.
  ///   - sequences: the most sequences that a test keeps side by side.
  ///   - chunk: tokens of a prompt that are computed at once.
  ///   - engineCount: engines that are compared, each with a session of its own.
  ///   - operationRows: rows of the operations that are measured by themselves; 0 for none.
  ///   - weightByteCount: bytes of the weights; 4 for each when not given.
  public init(
    _ model: ModelDescription, positions: Int, sequences: Int = 1, chunk: Int, engineCount: Int,
    operationRows: Int = 0, weightByteCount: Int? = nil
  ) {
    let configuration = model.configuration
    let attention = configuration.attention
    let rows = min(chunk, positions)
    let widths = MemoryRequirement.sum([
      2 * configuration.hiddenSize, 2 * attention.queryWidth, 2 * attention.keyValueWidth,
      configuration.isGated ? 3 * configuration.feedForwardSize : configuration.feedForwardSize,
    ])
    weights = weightByteCount ?? MemoryRequirement.product([model.parameterCounts.total, 4])
    cache = MemoryRequirement.product([
      2, 4, configuration.layerCount, attention.keyValueWidth, positions, sequences, engineCount,
    ])
    activations = MemoryRequirement.product([
      MemoryRequirement.sum([
        MemoryRequirement.product([rows, widths]),
        MemoryRequirement.product([sequences, configuration.vocabularySize]),
      ]), 4,
      engineCount,
    ])
    limits = MachineLimits.byteCount
    operations = operationRows > 0 ? OperationTable.byteCount(configuration, promptLength: operationRows) : 0
  }

  /// Refuses what the machine cannot hold.
  ///
  /// - Throws: `BenchmarkError.memory`. Where the system does not say what is free, nothing is refused.
  public func check(model: String, available: Int? = availableMemory()) throws {
    guard let available, total > available else { return }
    throw BenchmarkError.memory(model: model, requirement: self, available: available)
  }

  private static func product(_ factors: [Int]) -> Int {
    factors.reduce(1) { product, factor in
      let (result, overflow) = product.multipliedReportingOverflow(by: factor)
      return overflow ? .max : result
    }
  }

  private static func sum(_ terms: [Int]) -> Int {
    terms.reduce(0) { sum, term in
      let (result, overflow) = sum.addingReportingOverflow(term)
      return overflow ? .max : result
    }
  }
}
