import Checkpoints
import Kernels

extension WeightLoader {
  /// Outputs of a matrix that share a type.
  struct Span: Equatable {
    var outputs: Range<Int>
    let type: WeightType
  }

  /// How the matrix of a parameter is packed; nothing where it stays as floats.
  ///
  /// - Parameter matrices: the parameter's tensors, in the order of its pieces.
  func spans(
    _ parameter: Parameter, _ use: MatrixUse, _ format: WeightFormat,
    _ matrices: () throws -> [any StoredMatrix]
  ) rethrows -> [Span]? {
    guard use.role != .router else { return nil }
    let isOutputMajor = use.layout == .outputMajor
    let outputs = isOutputMajor ? parameter.rows : parameter.columns
    let inputs = isOutputMajor ? parameter.columns : parameter.rows
    guard outputs > 0, inputs > 0 else { return nil }
    var spans: [Span] = []
    func add(_ range: Range<Int>, _ type: WeightType) {
      if let last = spans.last, last.type == type, last.outputs.upperBound == range.lowerBound {
        spans[spans.count - 1].outputs = last.outputs.lowerBound..<range.upperBound
      } else if !range.isEmpty {
        spans.append(Span(outputs: range, type: type))
      }
    }
    switch format {
    case .float32: return nil
    case .packed(let type):
      let mixture = WeightMixture(
        type: type, layerCount: configuration.layerCount, expertCount: configuration.experts?.count ?? 0)
      func chosen(_ part: Int?) -> WeightType? {
        mixture.type(of: use.role, layer: use.layer, part: part)?.fitting(inputs: inputs)
      }
      if use.role == .queryKeyValue, parameter.pieces.count == 3 {
        for (part, piece) in parameter.pieces.enumerated() {
          guard let type = chosen(part), let run = piece.runs.first else { return nil }
          add(run.target..<run.target + run.count, type)
        }
      } else {
        guard let type = chosen(nil) else { return nil }
        add(0..<outputs, type)
      }
    case .asStored:
      let matrices = try matrices()
      let types = matrices.map { matrix -> WeightType? in
        guard let type = WeightType(matrix.type) else { return nil }
        // Blocks run along the inputs, or they cannot be kept.
        let areRowsOutputs = isOutputMajor != matrix.isTransposed
        return type.isQuantized && !areRowsOutputs ? nil : type
      }
      guard let first = types.first, let first else { return nil }
      if types.allSatisfy({ $0 == first }) {
        add(0..<outputs, first)
        break
      }
      for (piece, type) in zip(parameter.pieces, types) {
        guard let type, piece.runs.count == 1 else { return nil }
        add(piece.runs[0].target..<piece.runs[0].target + piece.runs[0].count, type)
      }
    }
    return spans
  }

  /// The tensors of a parameter as matrices.
  func matrices(_ parameter: Parameter) throws -> [any StoredMatrix] {
    try parameter.pieces.map { piece in
      if let matrix = try source.matrix(of: piece.tensor) { return matrix }
      let (values, owner) = try source.floats(of: piece.tensor)
      let columns = piece.shape.last ?? 1
      return FloatMatrix(
        values: values, owner: owner, rows: piece.shape.reduce(1, *) / max(columns, 1), columns: columns)
    }
  }

  /// Packs the matrix of a parameter, reading its tensors piece by piece and giving back what has been read.
  ///
  /// What the file holds as it will be packed is only looked through here and packed when it is used for the second time.
  ///
  /// - Returns: nothing where the format leaves it as floats.
  /// - Throws: an error that names file and tensor: a shape, NaN or ∞, a number beyond the type.
  func pack(
    _ parameter: Parameter, _ use: MatrixUse, _ format: WeightFormat, arena: WeightArena? = nil,
    pool: WorkerPool
  ) throws -> PackedWeight? {
    guard format != .float32, use.role != .router else { return nil }
    try checkShapes(of: parameter)
    let matrices = try matrices(parameter)
    guard let spans = spans(parameter, use, format, { matrices }), !spans.isEmpty else { return nil }
    let inputs = use.layout == .outputMajor ? parameter.columns : parameter.rows
    if let parts = try deferred(
      parameter, use.layout, matrices, spans, inputs: inputs, arena: arena, pool: pool)
    {
      return PackedWeight(parts, roundsActivations: format == .packed(.bf16))
    }
    let parts = try spans.map { span in
      try PackedMatrix(
        type: span.type, outputs: span.outputs.count, inputs: inputs, arena: arena, pool: pool
      ) { range, target in
        let start = span.outputs.lowerBound
        try encode(
          parameter, use.layout, matrices, outputs: start + range.lowerBound..<start + range.upperBound,
          inputs: inputs, as: span.type, into: target)
      }
    }
    for matrix in matrices { matrix.release() }
    // Only where bfloat16 was asked for are activations rounded to it: what a file holds is computed with in full.
    return PackedWeight(parts, roundsActivations: format == .packed(.bf16))
  }

  /// Matrices that are packed when they are used for the second time; nothing where rows have to be computed first.
  private func deferred(
    _ parameter: Parameter, _ layout: LinearWeight.Layout, _ matrices: [any StoredMatrix], _ spans: [Span],
    inputs: Int, arena: WeightArena?, pool: WorkerPool
  ) throws -> [PackedMatrix]? {
    /// The run of a tensor's rows that holds an output, with its tensor.
    struct Run {
      let outputs: Range<Int>
      let source: Int
      let matrix: any StoredMatrix
    }
    var runs: [Run] = []
    for (piece, matrix) in zip(parameter.pieces, matrices) {
      // Rows are to be outputs, as they lie in the file.
      guard (layout == .outputMajor) != matrix.isTransposed, matrix.bytes(row: 0) != nil else { return nil }
      let rows =
        layout == .outputMajor ? piece.runs : [.init(source: 0, target: 0, count: parameter.columns)]
      for run in rows where run.count > 0 {
        runs.append(
          Run(outputs: run.target..<run.target + run.count, source: run.source, matrix: matrix))
      }
    }
    runs.sort { $0.outputs.lowerBound < $1.outputs.lowerBound }
    for span in spans {
      for run in runs where run.outputs.overlaps(span.outputs) {
        guard run.matrix.type == span.type.tensorType else { return nil }
      }
    }
    for matrix in matrices { try checks == nil ? matrix.checkFinite(pool) : matrix.check() }
    let sorted = runs
    let report = checks?.report(of: matrices)
    return spans.map { span in
      let rowBytes = inputs / span.type.elementsPerBlock * span.type.bytesPerBlock
      let used = sorted.filter { $0.outputs.overlaps(span.outputs) }
      return PackedMatrix(
        type: span.type, outputs: span.outputs.count, inputs: inputs, arena: arena,
        rows: { range, target in
          let start = span.outputs.lowerBound
          let range = start + range.lowerBound..<start + range.upperBound
          for run in used {
            let part = range.clamped(to: run.outputs)
            guard !part.isEmpty else { continue }
            let row = run.source + part.lowerBound - run.outputs.lowerBound
            // While the rows are in the nearest cache.
            defer {
              if let report, !(row..<row + part.count).allSatisfy(run.matrix.isFinite(row:)) { report() }
            }
            let place = target + (part.lowerBound - range.lowerBound) * rowBytes
            if run.matrix.isInOrder {
              place.copyMemory(from: run.matrix.bytes(row: row)!, byteCount: part.count * rowBytes)
            } else {
              for index in 0..<part.count {
                (place + index * rowBytes).copyMemory(
                  from: run.matrix.bytes(row: row + index)!, byteCount: rowBytes)
              }
            }
          }
        },
        release: { range in
          if range == 0..<span.outputs.count {
            for run in used { run.matrix.release() }
            return
          }
          let start = span.outputs.lowerBound
          for run in used {
            let part = (start + range.lowerBound..<start + range.upperBound).clamped(to: run.outputs)
            let shift = run.source - run.outputs.lowerBound
            run.matrix.release(rows: part.lowerBound + shift..<part.upperBound + shift)
          }
        })
    }
  }

  /// Bytes of packed rows after which the file's memory behind them is given back.
  private static let releasedBytes = 1 << 21

  /// Writes the blocks of some outputs, row after row.
  private func encode(
    _ parameter: Parameter, _ layout: LinearWeight.Layout, _ matrices: [any StoredMatrix],
    outputs: Range<Int>,
    inputs: Int, as type: WeightType, into target: UnsafeMutableRawPointer
  ) throws {
    let rowBytes = inputs / type.elementsPerBlock * type.bytesPerBlock
    try withUnsafeTemporaryAllocation(of: Float.self, capacity: inputs) { values in
      let row = values.baseAddress!
      func put(_ output: Int, _ matrix: any StoredMatrix, _ tensor: String) throws {
        guard allFinite(row, count: inputs) else {
          try matrix.throwNonFinite()
          preconditionFailure("\(tensor) holds NaN or ∞ and passes for finite")
        }
        let bytes = UnsafeMutableRawBufferPointer(
          start: target + (output - outputs.lowerBound) * rowBytes, count: rowBytes)
        if BlockEncoding.encode(type.tensorType, UnsafeBufferPointer(start: row, count: inputs), into: bytes)
          != nil
        {
          throw DecoderError.beyondType(path: source.path(of: tensor), name: tensor, type: type.rawValue)
        }
      }
      for (piece, matrix) in zip(parameter.pieces, matrices) {
        try matrix.check()
        if (layout == .outputMajor) != matrix.isTransposed {
          // Rows are outputs: those of the checkpoint's tensor where it lies as declared.
          for run in layout == .outputMajor
            ? piece.runs : [.init(source: 0, target: 0, count: parameter.columns)]
          {
            let part = outputs.clamped(to: run.target..<run.target + run.count)
            for output in part {
              let index = run.source + output - run.target
              if matrix.type == type.tensorType, let bytes = matrix.bytes(row: index) {
                guard matrix.isFinite(row: index) else {
                  try matrix.throwNonFinite()
                  preconditionFailure("\(piece.tensor) holds NaN or ∞ and passes for finite")
                }
                (target + (output - outputs.lowerBound) * rowBytes).copyMemory(
                  from: bytes, byteCount: rowBytes)
              } else {
                matrix.copyFloats(row: index, columns: 0..<inputs, into: row)
                try put(output, matrix, piece.tensor)
              }
            }
            // Every thread stops while memory is given back, so that is done in large pieces.
            let piece = max(1, WeightLoader.releasedBytes / max(rowBytes, 1))
            let last = run.source + part.upperBound - run.target
            if !part.isEmpty, last / piece > (last - part.count) / piece {
              matrix.release(rows: max(0, last - piece)..<last)
            }
          }
        } else {
          // Rows are inputs: a band of columns of each makes up the rows of the outputs.
          precondition(
            piece.runs.count == 1 && piece.runs[0].target == 0,
            "a matrix of (inputs, outputs) is one tensor")
          let count = outputs.count
          let first = outputs.lowerBound / matrix.type.elementsPerBlock * matrix.type.elementsPerBlock
          let last =
            (outputs.upperBound + matrix.type.elementsPerBlock - 1) / matrix.type.elementsPerBlock
            * matrix.type.elementsPerBlock
          try withUnsafeTemporaryAllocation(of: Float.self, capacity: inputs * count + last - first) {
            block in
            let band = block.baseAddress! + inputs * count
            let rows = block.baseAddress!
            for input in 0..<inputs {
              matrix.copyFloats(row: input, columns: first..<last, into: band)
              for index in 0..<count {
                rows[index * inputs + input] = band[outputs.lowerBound - first + index]
              }
            }
            for output in outputs {
              row.update(from: rows + (output - outputs.lowerBound) * inputs, count: inputs)
              try put(output, matrix, piece.tensor)
            }
          }
        }
      }
    }
  }

  /// Bytes of all weights in a format, as they will lie in memory.
  ///
  /// - Parameter countsMapped: whether those count too that are used where the file has them.
  func byteCount(_ format: WeightFormat, countsMapped: Bool = true) throws -> Int {
    let (floats, packed) = try byteCounts(format, countsMapped: countsMapped)
    return floats + packed
  }

  /// The same of weights that stay floats and of packed matrices.
  func byteCounts(_ format: WeightFormat, countsMapped: Bool) throws -> (floats: Int, packed: Int) {
    var (floats, packed) = (0, 0)
    var isCounted = false
    // Stands for weights that are only counted.
    let owner = FloatBuffer(count: 1)
    let placeholder = UnsafePointer(owner.elements.baseAddress!)
    _ = try table.assemble(
      owners: { [] },
      pointer: { parameter in
        let isMapped =
          try parameter.isWholeTensor
          ? source.matrix(of: parameter.pieces[0].tensor)?.type == .f32
          : adjacentMatrices(of: parameter) != nil
        if !isCounted, countsMapped || !isMapped { floats += parameter.count * MemoryLayout<Float>.stride }
        isCounted = false
        return placeholder
      },
      inPlace: { _, _ in nil },
      packed: { parameter, use in
        let found = try spans(parameter, use, format) {
          try parameter.pieces.map { piece in
            if let matrix = try source.matrix(of: piece.tensor) { return matrix }
            return FloatMatrix(values: placeholder, owner: owner, rows: 1, columns: 1)
          }
        }
        guard let found, !found.isEmpty else { return nil }
        let inputs = use.layout == .outputMajor ? parameter.columns : parameter.rows
        packed += found.reduce(0) {
          $0 + PackedMatrix.byteCount($1.type, outputs: $1.outputs.count, inputs: inputs)
        }
        isCounted = true
        return nil
      })
    return (floats, packed)
  }
}
