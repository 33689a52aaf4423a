import Checkpoints
import Kernels

/// Rounds a model's matrices with error feedback, on inputs that a calibration text gives them.
///
/// Block after block: its inputs are those that the blocks before it give once they are rounded. Matrices that the type's
/// mixture gives another type (the head), those of experts' second maps, and all else stay for rounding to nearest.
///
/// - SeeAlso: Frantar et al., "GPTQ" (arXiv:2210.17323).
public enum ModelQuantizer {
  /// Matrices in blocks, under the names of a checkpoint.
  public struct Result: Sendable {
    var matrices: [String: any StoredMatrix] = [:]
    /// How many there are.
    public var count: Int { matrices.count }

    /// One tensor's blocks; nothing for a tensor that was not rounded with feedback.
    package func blocks(of tensor: String) -> BlockMatrix? { matrices[tensor] as? BlockMatrix }
  }

  /// Rounds.
  ///
  /// - Parameters:
  ///   - model: a folder in Hugging Face's layout, or a GGUF file.
  ///   - type: one of `ErrorFeedback.types`.
  ///   - calibration: windows of tokens, none longer than the context.
  ///   - progress: receives the number of blocks done and of all; returns whether to go on.
  /// - Returns: `nil` when `progress` ended it.
  /// - Throws: what `Decoder.load` throws, or `DecoderError` for a window that the model cannot run.
  public static func quantize(
    model: String, as type: WeightType, calibration: [[Int]],
    threadCount: Int = WorkerPool.defaultThreadCount(), progress: (Int, Int) -> Bool = { _, _ in true }
  ) throws -> Result? {
    let (description, source) = try openModel(model)
    try description.refuseUnknownSettings()
    let configuration = description.configuration
    let loader = WeightLoader(family: description.family, configuration: configuration, source: source)
    let pool = WorkerPool(threadCount: threadCount)
    let (weights, matrices) = try loader.loadMutable(pool: pool)
    let engine = BLASEngine(pool: pool)
    let mixture = WeightMixture(
      type: type, layerCount: configuration.layerCount, expertCount: configuration.experts?.count ?? 0)
    var blocks = BlockStore(type: type)
    let decoder = Decoder(configuration: configuration, weights: weights)
    let longest = max(calibration.map(\.count).max() ?? 0, 1)
    let session = try InferenceSession(
      decoder: decoder, engine: engine, capacity: longest, chunkSize: longest)
    var streams = ResidualStreams(windows: calibration, channels: configuration.hiddenSize)
    for layer in 0..<configuration.layerCount {
      guard progress(layer, configuration.layerCount) else { return nil }
      let wanted = matrices.filter { matrix in
        matrix.use.layer == layer
          && mixture.type(of: matrix.use.role, layer: layer)?.fitting(inputs: matrix.inputs) == type
      }
      guard !wanted.isEmpty else { continue }
      var hessians = Hessians(pool: pool)
      try streams.run(through: layer, session: session) { hessians.add($0, $1, layer: layer) }
      for role in hessians.roles {
        let ofRole = wanted.filter { $0.use.role == role }
        guard !ofRole.isEmpty, let curvature = hessians.curvature(role) else { continue }
        for matrix in ofRole { blocks.add(matrix, curvature: curvature, pool: pool) }
      }
    }
    _ = progress(configuration.layerCount, configuration.layerCount)
    return Result(matrices: blocks.matrices)
  }

  /// The residual stream of every window, kept from block to block, so that each block is run as often for a deep model as for a
  /// shallow one.
  private struct ResidualStreams {
    private let windows: [[Int]]
    private let channels: Int
    /// What the first block that is still to be run reads, (T, C) of each window; nothing before the first one.
    private var streams: [FloatBuffer] = []
    /// Blocks that the streams have passed.
    private var passed = 0

    init(windows: [[Int]], channels: Int) {
      self.windows = windows
      self.channels = channels
    }

    /// Runs the blocks up to one, and keeps what that one read: by then those before it are rounded, and it is not.
    mutating func run(
      through block: Int, session: InferenceSession, observe: @escaping ActivationObserver
    ) throws {
      if block > 0, streams.isEmpty { streams = windows.map { FloatBuffer(count: $0.count * channels) } }
      for (index, window) in windows.enumerated() {
        let stream =
          streams.isEmpty
          ? nil
          : MutableMatrixView(
            streams[index].elements.baseAddress!, rows: window.count, columns: channels)
        let residual = passed > 0 ? stream?.readOnly : nil
        try session.run(passed..<block + 1, over: window, from: residual) { point, x in
          if case .block(block - 1) = point, let stream { session.engine.copy(x, into: stream) }
          observe(point, x)
        }
      }
      passed = block
    }
  }

  /// Σ x·xᵀ over the inputs x of each map of a block.
  private struct Hessians {
    let pool: WorkerPool
    private var sums: [MatrixUse.Role: (buffer: FloatBuffer, count: Int)] = [:]

    init(pool: WorkerPool) { self.pool = pool }

    var roles: [MatrixUse.Role] {
      [.queryKeyValue, .attentionOutput, .feedForwardInput, .feedForwardOutput].filter { sums[$0] != nil }
    }

    /// Adds the rows of a point of the forward pass that some map reads.
    mutating func add(_ point: ActivationPoint, _ x: MatrixView, layer: Int) {
      let role: MatrixUse.Role
      switch point {
      case .attentionInput(layer): role = .queryKeyValue
      case .attended(layer): role = .attentionOutput
      case .feedForwardInput(layer): role = .feedForwardInput
      case .activated(layer): role = .feedForwardOutput
      default: return
      }
      let count = x.columns
      if sums[role] == nil {
        let buffer = FloatBuffer(count: count * count)
        buffer.elements.initialize(repeating: 0)
        sums[role] = (buffer, count)
      }
      linearBackwardWeight(
        x, x, layout: .outputMajor, into: sums[role]!.buffer.elements.baseAddress!, pool: pool)
    }

    /// H, damped, and the factor of its inverse; nothing when there is none.
    func curvature(_ role: MatrixUse.Role) -> Curvature? {
      guard let (hessian, count) = sums[role] else { return nil }
      let factor = FloatBuffer(count: count * count)
      return ErrorFeedback.factorize(
        hessian.elements.baseAddress!, into: factor.elements.baseAddress!, count: count)
        ? Curvature(hessian: hessian, factor: factor) : nil
    }
  }

  /// What errors in the inputs' weights cost.
  private struct Curvature {
    let hessian: FloatBuffer
    let factor: FloatBuffer
  }

  /// Blocks, sorted into the tensors of the checkpoint.
  private struct BlockStore {
    let type: WeightType
    private(set) var matrices: [String: BlockMatrix] = [:]

    init(type: WeightType) { self.type = type }

    /// Rounds a matrix, in place and into blocks.
    mutating func add(_ matrix: MutableMatrix, curvature: Curvature, pool: WorkerPool) {
      let (outputs, inputs) = (matrix.outputs, matrix.inputs)
      let rowBytes = inputs / type.elementsPerBlock * type.bytesPerBlock
      let blocks = UnsafeMutableRawPointer.allocate(byteCount: outputs * rowBytes, alignment: 64)
      defer { blocks.deallocate() }
      let values = matrix.buffer.elements.baseAddress!
      let isOutputMajor = matrix.use.layout == .outputMajor
      let rows = isOutputMajor ? values : .allocate(capacity: outputs * inputs)
      defer { if !isOutputMajor { rows.deallocate() } }
      if !isOutputMajor { transpose(values, rows: inputs, columns: outputs, into: rows) }
      ErrorFeedback.round(
        rows, outputs: outputs, inputs: inputs, hessian: curvature.hessian.elements.baseAddress!,
        factor: curvature.factor.elements.baseAddress!, as: type, into: blocks, pool: pool)
      if !isOutputMajor { transpose(rows, rows: outputs, columns: inputs, into: values) }
      for piece in matrix.parameter.pieces {
        let count = isOutputMajor ? piece.shape.dropLast().reduce(1, *) : outputs
        let store =
          matrices[piece.tensor]
          ?? BlockMatrix(
            blockType: type.tensorType, rows: count, columns: inputs, isTransposed: !isOutputMajor)
        matrices[piece.tensor] = store
        for run in isOutputMajor ? piece.runs : [.init(source: 0, target: 0, count: outputs)] {
          (store.base + run.source * rowBytes).copyMemory(
            from: blocks + run.target * rowBytes, byteCount: run.count * rowBytes)
        }
      }
    }
  }
}

/// A matrix that may be changed, where a decoder reads it.
struct MutableMatrix {
  let parameter: Parameter
  let use: MatrixUse
  let buffer: FloatBuffer

  var outputs: Int { use.layout == .outputMajor ? parameter.rows : parameter.columns }
  var inputs: Int { use.layout == .outputMajor ? parameter.columns : parameter.rows }
}

extension WeightLoader {
  /// Loads every tensor as floats, the matrices of the blocks as copies that may be changed.
  ///
  /// - Parameter pool: threads that copy.
  func loadMutable(pool: WorkerPool) throws -> (DecoderWeights, [MutableMatrix]) {
    try check()
    var owners: [AnyObject] = []
    var matrices: [MutableMatrix] = []
    var use: MatrixUse?
    let weights = try table.assemble(
      owners: { owners },
      pointer: { parameter in
        let (values, owner) = try elements(of: parameter, pool: pool)
        guard let matrixUse = use else {
          owners.append(owner)
          return values
        }
        use = nil
        let buffer = FloatBuffer(count: parameter.count)
        withExtendedLifetime(owner) {
          _ = buffer.elements.initialize(from: UnsafeBufferPointer(start: values, count: parameter.count))
        }
        owners.append(buffer)
        matrices.append(MutableMatrix(parameter: parameter, use: matrixUse, buffer: buffer))
        return UnsafePointer(buffer.elements.baseAddress!)
      },
      inPlace: { _, _ in nil },
      packed: { _, matrixUse in
        switch matrixUse.role {
        case .queryKeyValue, .attentionOutput, .feedForwardInput, .feedForwardOutput: use = matrixUse
        case .tokenEmbedding, .head, .router, .projection: use = nil
        }
        return nil
      })
    return (weights, matrices)
  }
}

/// A matrix of blocks in memory, of one of `ErrorFeedback.types`.
package final class BlockMatrix: StoredMatrix, @unchecked Sendable {
  // Safe: whoever writes rows or scales does so while nobody else reads.
  let blockType: TensorType
  /// Outputs of the map.
  package let rows: Int
  /// Inputs of the map.
  package let columns: Int
  /// Whether the checkpoint has the map as (inputs, outputs).
  package let isTransposed: Bool
  let base: UnsafeMutableRawPointer

  /// Blocks of a row.
  package var blocksPerRow: Int { columns / blockType.elementsPerBlock }

  /// The elements of a block, (32).
  package func copyBlock(_ index: Int, ofRow row: Int, into target: UnsafeMutablePointer<Float>) {
    copyFloats(row: row, columns: 32 * index..<32 * (index + 1), into: target)
  }

  /// Multiplies a block's scale, which is kept in half precision; where that does not reach, the scale stays.
  package func multiplyScale(ofBlock index: Int, row: Int, by factor: Float) {
    let block = base + (row * blocksPerRow + index) * blockType.bytesPerBlock
    let scale = Float(Float16(bitPattern: UInt16(littleEndian: block.load(as: UInt16.self)))) * factor
    let half = Float16(scale)
    guard half.isFinite else { return }
    block.storeBytes(of: half.bitPattern.littleEndian, as: UInt16.self)
  }

  init(blockType: TensorType, rows: Int, columns: Int, isTransposed: Bool) {
    self.blockType = blockType
    self.rows = rows
    self.columns = columns
    self.isTransposed = isTransposed
    let byteCount = rows * (columns / blockType.elementsPerBlock * blockType.bytesPerBlock)
    base = .allocate(byteCount: max(byteCount, 1), alignment: 64)
    base.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
  }

  deinit { base.deallocate() }

  var type: TensorType { blockType }

  func bytes(row: Int) -> UnsafeRawPointer? {
    UnsafeRawPointer(base + row * (columns / blockType.elementsPerBlock * blockType.bytesPerBlock))
  }

  func copyFloats(row: Int, columns range: Range<Int>, into target: UnsafeMutablePointer<Float>) {
    let length = blockType.elementsPerBlock
    BlockEncoding.decode(
      blockType, bytes(row: row)! + range.lowerBound / length * blockType.bytesPerBlock, into: target,
      blocks: range.count / length)
  }
}

/// (rows, columns) as (columns, rows), in squares, so that both sides stay in cache.
func transpose(
  _ source: UnsafePointer<Float>, rows: Int, columns: Int, into target: UnsafeMutablePointer<Float>
) {
  for blockRow in stride(from: 0, to: rows, by: 32) {
    for blockColumn in stride(from: 0, to: columns, by: 32) {
      for row in blockRow..<min(blockRow + 32, rows) {
        for column in blockColumn..<min(blockColumn + 32, columns) {
          target[column * rows + row] = source[row * columns + column]
        }
      }
    }
  }
}
