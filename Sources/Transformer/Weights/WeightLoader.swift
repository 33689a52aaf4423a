import Checkpoints
import Kernels

/// Reads the tensors of a checkpoint into the parameters of a decoder: all of them, or an error.
struct WeightLoader {
  let family: DecoderFamily
  let configuration: DecoderConfiguration
  let source: any WeightSource
  /// What the decoder consists of.
  let table: ParameterTable
  /// Receives what is to be looked at when it is used; nothing where all is looked at at once.
  private(set) var checks: PendingChecks?

  init(family: DecoderFamily, configuration: DecoderConfiguration, source: any WeightSource) {
    self.family = family
    self.configuration = configuration
    self.source = source
    let prefix =
      family.prefixes.first { prefix in
        ParameterTable(family, configuration, prefix: prefix).modelParameters.flatMap(\.pieces)
          .contains { $0.tensor.hasPrefix(prefix) && source.shape(of: $0.tensor) != nil }
      } ?? family.prefixes[0]
    // A tied model whose file holds a head all the same uses that head, as transformers does.
    let head = ParameterTable.headName(family, configuration, prefix: prefix)
    table = ParameterTable(
      family, configuration, prefix: prefix,
      hasOwnHead: !configuration.tiesWordEmbeddings || head.map { source.shape(of: $0) != nil } ?? false)
  }

  /// Loads every tensor, after checking that the source holds the right ones and no others.
  ///
  /// - Parameters:
  ///   - format: how matrices are held.
  ///   - threadCount: threads that pack them.
  ///   - check: when they are looked through for NaN and ∞.
  ///   - available: bytes that may be allocated.
  func load(
    _ format: WeightFormat = .float32, threadCount: Int = 1, check: WeightCheck = .whenLoaded,
    available: Int? = availableMemory()
  ) throws -> DecoderWeights {
    if check == .whenUsed, checks == nil {
      var loader = self
      loader.checks = PendingChecks()
      return try loader.load(format, threadCount: threadCount, available: available)
    }
    let checks = checks
    try self.check()
    let (floats, packed) = try byteCounts(format, countsMapped: false)
    let needed = floats + packed
    if let available, needed > available {
      throw DecoderError.weightMemory(path: source.path, bytes: needed, available: available)
    }
    var owners: [AnyObject] = []
    // All of it will be read: the disk may begin, unless that would push out what memory holds.
    let files = source.mappedFiles
    if files.reduce(0, { $0 + $1.bytes.count }) <= available ?? 0 {
      // Floats are read where they are used, here and there; what is packed is read from end to end, and faster without help.
      for file in files {
        if packed == 0 { file.readAhead() } else { file.willNeed(0..<file.bytes.count) }
      }
    }
    let pool = WorkerPool(threadCount: threadCount)
    let arena = WeightArena(byteCount: packed)
    var weights = try table.assemble(
      owners: { owners },
      stage: { checks?.stage = $0 },
      pointer: { parameter in
        if let checks, parameter.columns == 1 {
          let vector = try laterVector(parameter, checks)
          owners.append(vector)
          return UnsafePointer(vector.elements.baseAddress!)
        }
        var (values, owner) = try elements(of: parameter, pool: pool)
        // A vector between packed matrices would keep a large page of what was read of them.
        if format != .float32, parameter.count <= 16_384, owner is MappedFile {
          let copy = FloatBuffer(count: parameter.count)
          copy.elements.baseAddress!.update(from: values, count: parameter.count)
          (values, owner) = (UnsafePointer(copy.elements.baseAddress!), copy)
        }
        owners.append(owner)
        return values
      },
      inPlace: { parameter, use in
        guard let (place, places) = try mapInPlace(parameter, use, pool: pool) else { return nil }
        owners += places
        return place
      }, packed: { parameter, use in try pack(parameter, use, format, arena: arena, pool: pool) })
    weights.checks = checks
    return weights
  }

  /// The same loader, looking at all at once.
  private var withoutChecks: WeightLoader {
    var loader = self
    loader.checks = nil
    return loader
  }

  /// A vector that is filled before it is used.
  private func laterVector(_ parameter: Parameter, _ checks: PendingChecks) throws -> FloatBuffer {
    try checkShapes(of: parameter)
    let buffer = FloatBuffer(count: parameter.count)
    // Safe: nothing changes what a loader reads, and the buffer is nobody else's until this has been done, once.
    nonisolated(unsafe) let (loader, target) = (withoutChecks, buffer)
    checks.add { pool in
      let (values, owner) = try loader.elements(of: parameter, pool: pool)
      withExtendedLifetime(owner) {
        target.elements.baseAddress!.update(from: values, count: parameter.count)
      }
    }
    return buffer
  }

  /// Looks through matrices that are used where they lie, or has them looked through before they are.
  private func checkFinite(_ matrices: [any StoredMatrix], pool: WorkerPool) throws {
    guard let checks else {
      for matrix in matrices { try matrix.checkFinite(pool) }
      return
    }
    for matrix in matrices { try matrix.check() }
    checks.add { pool in
      for matrix in matrices { try matrix.checkFinite(pool) }
    }
  }

  /// Checks that the source holds the right tensors and no others, without reading them.
  func check() throws {
    try refuseUnexpectedTensors()
    for parameter in table.parameters { try checkShapes(of: parameter) }
  }

  /// The elements of a parameter as `Float`: in place where the source has them so, else put together once.
  func elements(
    of parameter: Parameter, pool: WorkerPool
  ) throws -> (values: UnsafePointer<Float>, owner: AnyObject) {
    try checkShapes(of: parameter)
    if let found = try elementsInPlace(of: parameter, pool: pool) { return found }
    if parameter.isWholeTensor { return try source.floats(of: parameter.pieces[0].tensor) }
    let buffer = FloatBuffer(count: parameter.count)
    try copy(parameter, into: buffer.elements, pool: pool)
    return (UnsafePointer(buffer.elements.baseAddress!), buffer)
  }

  /// The elements of a parameter whose tensors lie one behind the other in a file, as floats and in the right order: one tensor
  /// does, and those of the gate and of what it gates in most files.
  private func elementsInPlace(
    of parameter: Parameter, pool: WorkerPool
  ) throws -> (values: UnsafePointer<Float>, owner: AnyObject)? {
    guard let (matrices, place) = try floatsInPlace(of: parameter) else { return nil }
    try checkFinite(matrices, pool: pool)
    return place
  }

  /// The same, with the tensors, before anyone has looked at them.
  private func floatsInPlace(
    of parameter: Parameter
  ) throws -> (matrices: [any StoredMatrix], place: (values: UnsafePointer<Float>, owner: AnyObject))? {
    guard let matrices = try adjacentMatrices(of: parameter) else { return nil }
    var found: (values: UnsafePointer<Float>, owner: AnyObject)?
    for matrix in matrices {
      guard let place = matrix.floatsInPlace(), found == nil || found?.owner === place.owner else {
        return nil
      }
      found = found ?? place
    }
    return found.map { (matrices, $0) }
  }

  /// The tensors of a parameter, if they are floats of one file that follow each other as the parameter has them.
  func adjacentMatrices(of parameter: Parameter) throws -> [any StoredMatrix]? {
    var matrices: [any StoredMatrix] = []
    var (row, end): (Int, UnsafeRawPointer?) = (0, nil)
    for piece in parameter.pieces {
      guard let matrix = try source.matrix(of: piece.tensor), matrix.type == .f32, !matrix.isTransposed,
        matrix.isInOrder, matrix.columns == parameter.columns, let start = matrix.bytes(row: 0),
        end == nil || start == end,
        piece.runs == [.init(source: 0, target: row, count: matrix.rows)]
      else { return nil }
      row += matrix.rows
      end = start + matrix.rows * matrix.columns * MemoryLayout<Float>.stride
      matrices.append(matrix)
    }
    return row == parameter.rows ? matrices : nil
  }

  /// The matrix of a map that the source has as floats, in one place or in several, as the map or the other way round: used there, it
  /// needs neither a copy nor memory, and its first product looks through it.
  private func mapInPlace(
    _ parameter: Parameter, _ use: MatrixUse, pool: WorkerPool
  ) throws -> (place: MatrixInPlace, owners: [AnyObject])? {
    try checkShapes(of: parameter)
    guard let (matrices, elements, owners) = try mapElements(of: parameter, use) else { return nil }
    // What is chosen by a router's scores should not depend on NaN.
    guard let checks, use.role != .router else {
      try checkFinite(matrices, pool: pool)
      return (MatrixInPlace(elements: elements), owners)
    }
    for matrix in matrices { try matrix.check() }
    checks.add { _ in for matrix in matrices { try matrix.check() } }
    return (
      MatrixInPlace(elements: elements, unseen: UnseenMatrix(report: checks.report(of: matrices))), owners
    )
  }

  /// Where the floats of a map's matrix lie, with their tensors, before anyone has looked at them.
  private func mapElements(
    of parameter: Parameter, _ use: MatrixUse
  ) throws -> (matrices: [any StoredMatrix], elements: MatrixInPlace.Elements, owners: [AnyObject])? {
    if let (matrices, place) = try floatsInPlace(of: parameter) {
      return (matrices, .rows(place.values), [place.owner])
    }
    guard use.role != .head else { return nil }
    var matrices: [any StoredMatrix] = []
    var parts: [ScatteredMatrix.Part] = []
    var owners: [AnyObject] = []
    for piece in parameter.pieces {
      guard let matrix = try source.matrix(of: piece.tensor), let place = matrix.floatsInPlace() else {
        return nil
      }
      if parameter.isWholeTensor, matrix.isTransposed {
        return ([matrix], .transposed(place.values), [place.owner])
      }
      let row = parts.reduce(0) { $0 + $1.outputs }
      guard use.layout == .outputMajor, !matrix.isTransposed, matrix.columns == parameter.columns,
        piece.runs == [.init(source: 0, target: row, count: matrix.rows)]
      else { return nil }
      matrices.append(matrix)
      parts.append(.init(values: place.values, outputs: matrix.rows))
      owners.append(place.owner)
    }
    guard parts.count > 1, parts.reduce(0, { $0 + $1.outputs }) == parameter.rows else { return nil }
    let scattered = ScatteredMatrix(parts, inputs: parameter.columns) { [matrices] in
      for matrix in matrices { matrix.release(rows: 0..<matrix.rows) }
    }
    return (matrices, .scattered(scattered), owners)
  }

  func checkShapes(of parameter: Parameter) throws {
    for piece in parameter.pieces {
      guard let shape = source.shape(of: piece.tensor) else {
        throw DecoderError.missingTensor(path: source.path, name: piece.tensor)
      }
      guard shape == piece.shape else {
        throw DecoderError.wrongShape(
          path: source.path(of: piece.tensor), name: piece.tensor, shape: shape, expected: piece.shape)
      }
    }
  }

  /// Copies the rows of a parameter's tensors, whose shapes are right, to their places.
  private func copy(
    _ parameter: Parameter, into target: UnsafeMutableBufferPointer<Float>, pool: WorkerPool
  ) throws {
    let columns = parameter.columns
    for piece in parameter.pieces {
      let (values, owner) = try source.floats(of: piece.tensor)
      withExtendedLifetime(owner) {
        for run in piece.runs {
          // New memory is cleared as it is touched, which takes the system longer than the copy.
          pool.run(run.count, grain: max(1, 262_144 / max(columns, 1))) { rows in
            (target.baseAddress! + (run.target + rows.lowerBound) * columns).update(
              from: values + (run.source + rows.lowerBound) * columns, count: rows.count * columns)
          }
        }
      }
      // What has been copied need not stay in memory twice.
      if let matrix = try source.matrix(of: piece.tensor) { matrix.release(rows: 0..<matrix.rows) }
    }
  }

  // MARK: Names

  private func refuseUnexpectedTensors() throws {
    let outside = table.modelTensorNames
    // Only layers that the source names are looked up, so that a layer count from a hostile file costs nothing.
    var layers: [Int: Set<String>] = [:]
    let unexpected = source.tensorNames.filter { name in
      if outside.contains(name) { return false }
      let bare = name.hasPrefix(table.prefix) ? name.dropFirst(table.prefix.count) : Substring(name)
      if family.buffers.contains(String(bare)) { return false }
      guard let (pattern, layer) = DecoderFamily.pattern(of: bare), layer < configuration.layerCount else {
        return true
      }
      if family.buffers.contains(pattern) { return false }
      if layers[layer] == nil { layers[layer] = table.tensorNames(layer: layer) }
      return !layers[layer]!.contains(name)
    }
    guard unexpected.isEmpty else {
      throw DecoderError.unexpectedTensors(path: source.path, names: unexpected.sorted())
    }
  }
}

extension DecoderFamily {
  /// A name with its first number replaced by `{layer}`, and that number.
  static func pattern(of name: Substring) -> (pattern: String, layer: Int)? {
    var parts = name.split(separator: ".", omittingEmptySubsequences: false).map(String.init)
    guard let index = parts.firstIndex(where: { !$0.isEmpty && $0.allSatisfy { ("0"..."9").contains($0) } }),
      let layer = Int(parts[index]), String(layer) == parts[index]
    else { return nil }
    parts[index] = "{layer}"
    return (parts.joined(separator: "."), layer)
  }
}

/// Floats that an object owns, aligned for vector loads.
final class FloatBuffer {
  let elements: UnsafeMutableBufferPointer<Float>

  init(count: Int) {
    let memory = allocateWeights(byteCount: max(count, 1) * MemoryLayout<Float>.stride)
    elements = UnsafeMutableBufferPointer(
      start: memory.bindMemory(to: Float.self, capacity: max(count, 1)), count: count)
  }

  deinit { elements.baseAddress?.deallocate() }
}
