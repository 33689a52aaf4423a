extension TensorRecord {
  /// The elements in place, when they are `Float` at an address a `Float` may have.
  ///
  /// - Returns: (elementCount), row-major, valid as long as `file` lives; `nil` when a conversion or a copy is
  ///   needed. Values are not checked; see `firstNonFinite()`.
  public var floatsWithoutCopy: UnsafeBufferPointer<Float>? {
    guard type == .f32 else { return nil }
    guard elementCount > 0, let base = bytes.baseAddress else {
      return UnsafeBufferPointer(start: nil, count: 0)
    }
    guard Int(bitPattern: base) % MemoryLayout<Float>.alignment == 0 else { return nil }
    // Safe: within the file (checked in `init`), aligned, read-only, and every bit pattern is a Float.
    return UnsafeBufferPointer(start: base.assumingMemoryBound(to: Float.self), count: elementCount)
  }

  /// Converts all elements to `Float`.
  ///
  /// - Parameter destination: (elementCount), row-major.
  /// - Precondition: `destination` has exactly `elementCount` elements.
  /// - Throws: `CheckpointError.notFloatingPoint`, or `FileError.resized` when the file changed under the map.
  /// - Accuracy: exact for F32, F16 (subnormals, infinities and NaN included) and BF16; F64 rounds to nearest;
  ///   quantised blocks bit for bit as gguf-py.
  /// - Complexity: O(elements), at the speed of memory.
  public func copyFloats(into destination: UnsafeMutableBufferPointer<Float>) throws {
    precondition(
      destination.count == elementCount,
      "tensor \(name): \(elementCount) elements into a buffer of \(destination.count)")
    guard let base = destination.baseAddress else { return try checkConvertible() }
    try copyFloats(0..<elementCount, into: base)
  }

  /// Converts a range of elements to `Float`, so that several threads can share a tensor.
  ///
  /// - Parameters:
  ///   - range: positions in row-major order.
  ///   - destination: (range.count).
  /// - Precondition: the range lies within the tensor and consists of whole blocks.
  /// - Throws: as `copyFloats(into:)`.
  public func copyFloats(_ range: Range<Int>, into destination: UnsafeMutablePointer<Float>) throws {
    precondition(
      range.lowerBound >= 0 && range.upperBound <= elementCount,
      "tensor \(name): \(range) of \(elementCount) elements")
    let blockLength = type.elementsPerBlock
    precondition(
      range.lowerBound % blockLength == 0 && range.count % blockLength == 0,
      "tensor \(name): \(range) is not whole blocks of \(blockLength)")
    try checkConvertible()
    guard !range.isEmpty else { return }
    try file.checkLength()
    convertFloats(range, into: destination)
  }

  /// The same for a caller that has looked: the type converts, the range lies within and is whole blocks, and the file has
  /// its length.
  package func convertFloats(_ range: Range<Int>, into destination: UnsafeMutablePointer<Float>) {
    guard let base = bytes.baseAddress else { return }
    let blockLength = type.elementsPerBlock
    // Safe: type and range are checked, so each leaf reads `range.count` elements within the file.
    let source = base + range.lowerBound / blockLength * type.bytesPerBlock
    switch type {
    case .f32: UnsafeMutableRawPointer(destination).copyMemory(from: source, byteCount: range.count * 4)
    case .bf16: widenBFloat16(source, into: destination, count: range.count)
    case .f16: widenFloat16(source, into: destination, count: range.count)
    case .f64: narrowFloat64(source, into: destination, count: range.count)
    default: BlockDecoding.decode(type, source, into: destination, blocks: range.count / blockLength)
    }
  }

  /// All elements as `Float`.
  ///
  /// - Throws: as `copyFloats(into:)`.
  public func floats() throws -> [Float] {
    try [Float](unsafeUninitializedCapacity: elementCount) { buffer, count in
      try copyFloats(into: UnsafeMutableBufferPointer(rebasing: buffer[..<elementCount]))
      count = elementCount
    }
  }

  /// The first element that is NaN or ∞ as a `Float`, in row-major order, or `nil`.
  ///
  /// An F64 beyond the range of `Float` counts: converted, it would be ∞.
  /// - Throws: as `copyFloats(into:)`.
  /// - Complexity: O(elements), at the speed of memory, without a copy.
  public func firstNonFinite() throws -> Int? {
    try checkConvertible()
    guard elementCount > 0, let base = bytes.baseAddress else { return nil }
    try file.checkLength()
    if type.elementsPerBlock > 1 { return firstNonFinite(inBlocksAt: base) }
    let size = type.bytesPerBlock
    // One test per block keeps the inner loops free of branches; a block fits the first-level cache, so that
    // the search within the block that has one is cheap.
    let block = 4096
    for start in stride(from: 0, to: elementCount, by: block) {
      let count = min(block, elementCount - start)
      let source = base + start * size
      guard hasNonFinite(source, count: count) else { continue }
      for index in 0..<count where hasNonFinite(source + index * size, count: 1) { return start + index }
    }
    return nil
  }

  /// Whether a range of elements is free of NaN and ∞, told of the bytes as they are stored.
  ///
  /// - Precondition: as for `convertFloats`. For the exponent alone of a microscaling block, false may be too careful.
  package func isFinite(_ range: Range<Int>) -> Bool {
    guard let base = bytes.baseAddress else { return true }
    let blockLength = type.elementsPerBlock
    let source = base + range.lowerBound / blockLength * type.bytesPerBlock
    if blockLength == 1 { return !hasNonFinite(source, count: range.count) }
    return BlockDecoding.areSurelyFinite(type, source, blocks: range.count / blockLength)
  }

  /// Refuses a tensor that holds NaN or ∞.
  ///
  /// - Throws: `CheckpointError.notFinite` with the first such element, or as `copyFloats(into:)`.
  public func checkFinite() throws {
    guard let element = try firstNonFinite() else { return }
    let start = element / type.elementsPerBlock * type.elementsPerBlock
    var values = [Float](repeating: 0, count: type.elementsPerBlock)
    try copyFloats(start..<start + values.count, into: &values)
    throw CheckpointError.notFinite(
      path: path, tensor: name, element: element, value: values[element - start])
  }

  /// The same for quantised blocks: their scales tell, and only a block that they give away is decoded.
  private func firstNonFinite(inBlocksAt base: UnsafeRawPointer) -> Int? {
    let blockLength = type.elementsPerBlock
    return withUnsafeTemporaryAllocation(of: Float.self, capacity: blockLength) { elements in
      for block in 0..<elementCount / blockLength {
        let source = base + block * type.bytesPerBlock
        if BlockDecoding.areSurelyFinite(type, source, blocks: 1) { continue }
        BlockDecoding.decode(type, source, into: elements.baseAddress!, blocks: 1)
        if let index = elements.firstIndex(where: { !$0.isFinite }) { return block * blockLength + index }
      }
      return nil
    }
  }

  private func checkConvertible() throws {
    guard type.isConvertibleToFloat else {
      throw CheckpointError.notFloatingPoint(path: path, tensor: name, type: type)
    }
  }

  private func hasNonFinite(_ source: UnsafeRawPointer, count: Int) -> Bool {
    switch type {
    case .f32: hasAllOnesExponent32(source, count: count)
    case .bf16: hasAllOnesExponent16(source, count: count, exponentStep: 0x0080)
    case .f16: hasAllOnesExponent16(source, count: count, exponentStep: 0x0400)
    default: hasNonFiniteFloat64(source, count: count)
    }
  }
}

// MARK: Leaves
// All load unaligned: a header of odd length leaves every tensor at an odd address. The loops are plain so that
// they vectorise.

private func widenBFloat16(
  _ source: UnsafeRawPointer, into destination: UnsafeMutablePointer<Float>, count: Int
) {
  for index in 0..<count {
    let half = UInt16(littleEndian: source.loadUnaligned(fromByteOffset: index &* 2, as: UInt16.self))
    destination[index] = Float(bitPattern: UInt32(half) &<< 16)
  }
}

private func widenFloat16(
  _ source: UnsafeRawPointer, into destination: UnsafeMutablePointer<Float>, count: Int
) {
  for index in 0..<count {
    let half = UInt16(littleEndian: source.loadUnaligned(fromByteOffset: index &* 2, as: UInt16.self))
    destination[index] = Float(Float16(bitPattern: half))
  }
}

private func narrowFloat64(
  _ source: UnsafeRawPointer, into destination: UnsafeMutablePointer<Float>, count: Int
) {
  for index in 0..<count {
    destination[index] = Float(source.loadUnaligned(fromByteOffset: index &* 8, as: Double.self))
  }
}

/// Whether any binary32 has an exponent of ones: with the sign cleared, adding one step of the exponent carries
/// into the sign bit for those values and no other.
private func hasAllOnesExponent32(_ source: UnsafeRawPointer, count: Int) -> Bool {
  var seen: UInt32 = 0
  for index in 0..<count {
    let bits = source.loadUnaligned(fromByteOffset: index &* 4, as: UInt32.self)
    seen |= (bits & 0x7FFF_FFFF) &+ 0x0080_0000
  }
  return seen & 0x8000_0000 != 0
}

/// The same for 16 bits; the step is the lowest bit of the exponent.
private func hasAllOnesExponent16(_ source: UnsafeRawPointer, count: Int, exponentStep: UInt16) -> Bool {
  var seen: UInt16 = 0
  for index in 0..<count {
    let bits = source.loadUnaligned(fromByteOffset: index &* 2, as: UInt16.self)
    seen |= (bits & 0x7FFF) &+ exponentStep
  }
  return seen & 0x8000 != 0
}

/// Whether any binary64 is NaN or ∞ once rounded to `Float`.
private func hasNonFiniteFloat64(_ source: UnsafeRawPointer, count: Int) -> Bool {
  var seen: UInt32 = 0
  for index in 0..<count {
    let bits = Float(source.loadUnaligned(fromByteOffset: index &* 8, as: Double.self)).bitPattern
    seen |= (bits & 0x7FFF_FFFF) &+ 0x0080_0000
  }
  return seen & 0x8000_0000 != 0
}
