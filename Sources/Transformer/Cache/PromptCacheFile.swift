import Checkpoints
import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The keys and values of a prompt in a file, so that a later call with the same beginning need not run it again.
///
/// Little-endian:
///
/// | bytes | field |
/// |---|---|
/// | 0–7 | `89 49 4E 4B 4B 56 43 0A` (“INKKVC”) |
/// | 8–11 | version, 1 |
/// | 12, 13 | type of keys, of values: 0 f32, 1 f16, 2 q8_0 |
/// | 14, 15 | zero |
/// | 16–23 | tokens, n |
/// | 24–31 | layers |
/// | 32–39 | bytes of keys and values |
/// | 40–47 | fingerprint of the model |
/// | 48–55 | hash of all that follows the header |
/// | 56–63 | hash of bytes 0–55 |
///
/// Then n tokens of 32 bits; for each layer how many of the latest positions it keeps, 64 bits; and layer by layer the keys and
/// then the values of each head, position after position.
public enum PromptCacheFile {
  /// Why a file is of no use for a prompt.
  public enum Obstacle: Error, Equatable, CustomStringConvertible {
    /// Written by another version, cut off, or changed.
    case damaged(String)
    /// Of another model, or of the same one computed with other weights.
    case otherModel
    /// Keys or values in other types.
    case otherTypes(String)
    /// It is complete and of this model, and has nothing for this prompt.
    case notReusable(String)

    /// A part of a sentence.
    public var description: String {
      switch self {
      case .damaged(let reason): "is damaged (\(reason))"
      case .otherModel: "belongs to another model"
      case .otherTypes(let types): "holds keys and values as \(types)"
      case .notReusable(let reason): reason
      }
    }
  }

  private static let magic: [UInt8] = [0x89, 0x49, 0x4E, 0x4B, 0x4B, 0x56, 0x43, 0x0A]
  private static let headerSize = 64

  /// Whether a file begins as one of these.
  ///
  /// - Throws: `FileError`.
  public static func recognises(_ path: String) throws -> Bool {
    // An empty file cannot be mapped.
    if let status = try fileStatus(path), status.isRegular, status.st_size < magic.count { return false }
    let file = try MappedFile(path: path)
    return file.bytes.count >= magic.count && file.bytes.prefix(magic.count).elementsEqual(magic)
  }

  /// Writes the single row of a session.
  ///
  /// - Parameter tokens: (session.length), what the session has run.
  /// - Throws: `FileError`; the file is then as it was.
  static func write(_ session: InferenceSession, tokens: [Int], to path: String) throws {
    let cache = session.cache
    precondition(tokens.count == cache.length && cache.rowCount == 1, "one row of \(cache.length) tokens")
    var contents: [UInt8] = []
    for token in tokens { append(UInt32(token), to: &contents) }
    for layer in 0..<cache.layerCount {
      append(UInt64(min(cache.length, cache.layers[layer].period)), to: &contents)
    }
    var hash = StreamHash()
    contents.withUnsafeBytes { hash.update($0) }
    let blocks = cache.blocks(length: cache.length)
    for block in blocks {
      let bytes = cache.copyBytes(of: block)
      defer { bytes.deallocate() }
      hash.update(UnsafeRawBufferPointer(bytes))
    }
    let payload = blocks.reduce(0) { $0 + $1.byteCount }

    var header = magic
    append(UInt32(1), to: &header)
    header += [code(cache.types.keys), code(cache.types.values), 0, 0]
    append(UInt64(tokens.count), to: &header)
    append(UInt64(cache.layerCount), to: &header)
    append(UInt64(payload), to: &header)
    append(session.decoder.fingerprint, to: &header)
    append(hash.value, to: &header)
    append(header.withUnsafeBytes { StreamHash.value(of: $0) }, to: &header)

    let start = UnsafeMutableRawBufferPointer.allocate(
      byteCount: header.count + contents.count, alignment: 64)
    defer { start.deallocate() }
    start.copyBytes(from: header)
    UnsafeMutableRawBufferPointer(rebasing: start[header.count...]).copyBytes(from: contents)
    var file = try AtomicFile(path: path)
    try file.append(UnsafeRawBufferPointer(start))
    for block in blocks {
      let bytes = cache.copyBytes(of: block)
      defer { bytes.deallocate() }
      try file.append(UnsafeRawBufferPointer(bytes))
    }
    try file.commit()
  }

  /// Puts what a file has of a prompt into an empty session; the last token is left, for its scores.
  ///
  /// - Returns: the tokens that need not be run.
  /// - Throws: `Obstacle`, and the session is empty; `FileError`.
  static func restore(_ session: InferenceSession, prompt: [Int], from path: String) throws -> Int {
    let file = try MappedFile(path: path)
    let bytes = file.bytes
    let cache = session.cache
    precondition(cache.length == 0, "a session that holds \(cache.length) tokens")
    guard bytes.count >= headerSize, bytes.prefix(magic.count).elementsEqual(magic) else {
      throw Obstacle.damaged("its beginning is not that of a prompt cache")
    }
    guard read(UInt64.self, bytes, 56) == StreamHash.value(of: UnsafeRawBufferPointer(rebasing: bytes[..<56]))
    else { throw Obstacle.damaged("the header does not match its hash") }
    guard read(UInt32.self, bytes, 8) == 1 else {
      throw Obstacle.damaged("version \(read(UInt32.self, bytes, 8)) is unknown")
    }
    guard read(UInt64.self, bytes, 40) == session.decoder.fingerprint else { throw Obstacle.otherModel }
    guard bytes[12] == code(cache.types.keys), bytes[13] == code(cache.types.values) else {
      func name(_ code: UInt8) -> String {
        KeyValueType.allCases.first { self.code($0) == code }?.rawValue ?? "unknown types"
      }
      throw Obstacle.otherTypes("\(name(bytes[12])) and \(name(bytes[13]))")
    }
    let (count, layerCount, payload) = (
      read(UInt64.self, bytes, 16), read(UInt64.self, bytes, 24), read(UInt64.self, bytes, 32)
    )
    guard layerCount == cache.layerCount, count > 0,
      count <= UInt64(session.decoder.configuration.contextLength)
    else { throw Obstacle.damaged("\(count) tokens in \(layerCount) layers") }
    let length = Int(count)
    let tableStart = headerSize + 4 * length
    let payloadStart = tableStart + 8 * cache.layerCount
    guard payload <= UInt64(Int.max / 2), bytes.count == payloadStart + Int(payload) else {
      throw Obstacle.damaged("\(bytes.count) bytes are not its length")
    }
    let tokens = (0..<length).map { Int(read(UInt32.self, bytes, headerSize + 4 * $0)) }
    let vocabularySize = session.decoder.configuration.vocabularySize
    if let token = tokens.first(where: { $0 >= vocabularySize }) {
      throw Obstacle.damaged("token \(token) is none of the model's")
    }
    let kept = (0..<cache.layerCount).map { read(UInt64.self, bytes, tableStart + 8 * $0) }
    guard kept.allSatisfy({ $0 >= 1 && $0 <= count }) else {
      throw Obstacle.damaged("a layer keeps other positions than there are")
    }
    let sizes = [
      cache.types.keys.byteCount(dimension: session.decoder.configuration.attention.headDimension),
      cache.types.values.byteCount(dimension: session.decoder.configuration.attention.headDimension),
    ]
    let heads = session.decoder.configuration.attention.keyValueHeadCount
    // Safe: no more than the context's positions, whose size was checked when the cache was made.
    guard kept.reduce(0, { $0 + Int($1) * heads * (sizes[0] + sizes[1]) }) == Int(payload) else {
      throw Obstacle.damaged("its sizes do not add up")
    }

    let common = zip(tokens, prompt).prefix { $0 == $1 }.count
    let reused = min(common, prompt.count - 1, cache.capacity)
    guard reused > 0 else { throw Obstacle.notReusable("begins with another text") }
    if let stable = session.decoder.configuration.stableLength, max(length, prompt.count) > stable {
      throw Obstacle.notReusable("is of a length at which the model's angles change")
    }
    var hash = StreamHash()
    hash.update(UnsafeRawBufferPointer(rebasing: bytes[headerSize..<payloadStart]))
    var offset = payloadStart
    for layer in 0..<cache.layerCount {
      for size in sizes {
        for _ in 0..<heads {
          let end = offset + Int(kept[layer]) * size
          hash.update(UnsafeRawBufferPointer(rebasing: bytes[offset..<end]))
          offset = end
        }
      }
    }
    guard hash.value == read(UInt64.self, bytes, 48) else {
      throw Obstacle.damaged("its contents do not match their hash")
    }
    guard cache.restore(bytes[payloadStart...], kept: kept.map { Int($0) }, of: length, to: reused) else {
      throw Obstacle.notReusable("no longer has what the sliding windows of this prompt see")
    }
    return reused
  }

  private static func code(_ type: KeyValueType) -> UInt8 {
    switch type {
    case .f32: 0
    case .f16: 1
    case .q8_0: 2
    }
  }

  private static func append(_ value: some FixedWidthInteger, to bytes: inout [UInt8]) {
    withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
  }

  private static func read<Value: FixedWidthInteger>(
    _ type: Value.Type, _ bytes: UnsafeRawBufferPointer, _ offset: Int
  ) -> Value {
    Value(littleEndian: bytes.loadUnaligned(fromByteOffset: offset, as: Value.self))
  }
}

extension InferenceSession {
  /// Writes the keys and values of the single row to a file.
  ///
  /// - Parameter tokens: what the session has run.
  /// - Throws: `FileError`; the file is then as it was.
  public func saveCache(of tokens: [Int], to path: String) throws {
    try PromptCacheFile.write(self, tokens: tokens, to: path)
  }

  /// Replaces what the session holds by what a file has of a prompt.
  ///
  /// - Returns: the tokens that need not be run; the prompt's last is never among them.
  /// - Throws: `PromptCacheFile.Obstacle` where the file is of no use, `FileError`; the session is then empty.
  public func restoreCache(of prompt: [Int], from path: String) throws -> Int {
    reset()
    let count = try PromptCacheFile.restore(self, prompt: prompt, from: path)
    rememberPrompt(Array(prompt[..<count]))
    return count
  }
}

extension KeyValueCache {
  /// The latest positions of one head's keys or values in one layer.
  struct Block {
    let memory: UnsafeMutableRawPointer
    /// Bytes of a position.
    let size: Int
    /// Positions after which places are used again.
    let period: Int
    let positions: Range<Int>
    var byteCount: Int { positions.count * size }

    /// Calls `body` with the memory of some of the positions, in order.
    func forEachPiece(_ part: Range<Int>, _ body: (UnsafeMutableRawBufferPointer) -> Void) {
      var position = part.lowerBound
      while position < part.upperBound {
        let place = position % period
        let count = min(part.upperBound - position, period - place)
        body(UnsafeMutableRawBufferPointer(start: memory + place * size, count: count * size))
        position += count
      }
    }
  }

  /// The blocks of slot 0, in the order of a file.
  func blocks(length: Int) -> [Block] {
    var blocks: [Block] = []
    for index in 0..<layerCount {
      let layer = layers[index]
      let first = length - min(length, layer.period)
      for (memory, type) in [(layer.keys, layer.keyType), (layer.values, layer.valueType)] {
        let size = type.byteCount(dimension: headDimension)
        for head in 0..<layer.slotStride / layer.headStride {
          blocks.append(
            Block(
              memory: memory + head * layer.headStride * size, size: size, period: layer.period,
              positions: first..<length))
        }
      }
    }
    return blocks
  }

  /// A block's bytes in one piece, for the caller to deallocate.
  func copyBytes(of block: Block) -> UnsafeMutableRawBufferPointer {
    let bytes = UnsafeMutableRawBufferPointer.allocate(byteCount: block.byteCount, alignment: 64)
    var offset = 0
    block.forEachPiece(block.positions) { piece in
      UnsafeMutableRawBufferPointer(rebasing: bytes[offset...]).copyMemory(
        from: UnsafeRawBufferPointer(piece))
      offset += piece.count
    }
    return bytes
  }

  /// Fills an empty cache with the first positions of a file.
  ///
  /// - Parameters:
  ///   - payload: the blocks of a cache of `length` positions, of which each layer has the latest `kept`.
  ///   - newLength: positions to take over.
  /// - Returns: false where what the positions after those see is not in the file; the cache is then empty.
  func restore(_ payload: Slice<UnsafeRawBufferPointer>, kept: [Int], of length: Int, to newLength: Int)
    -> Bool
  {
    // What a layer is to hold, and what of that it has to hold.
    var mark = newLength
    for index in 0..<layerCount {
      let first = length - kept[index]
      let needed = windows[index].map { max(0, newLength - $0 + 1) } ?? 0
      guard first <= needed, newLength > first else { return false }
      if layers[index].period != .max {
        mark = max(mark, max(first, newLength - layers[index].period) + layers[index].period)
      } else if first > 0 {
        // Every layer but those with a window has all; here a session that keeps more than the file's.
        return false
      }
    }
    var offset = payload.startIndex
    for (number, block) in blocks(length: newLength).enumerated() {
      let perLayer = 2 * shape.keyValueHeadCount
      let first = length - kept[number / perLayer]
      let part = max(first, block.positions.lowerBound)..<newLength
      var source = offset + (part.lowerBound - first) * block.size
      block.forEachPiece(part) { piece in
        piece.copyMemory(from: UnsafeRawBufferPointer(rebasing: payload.base[source..<source + piece.count]))
        source += piece.count
      }
      offset += kept[number / perLayer] * block.size
    }
    setSingleRow(length: newLength, highWater: mark)
    return true
  }
}

/// A hash of bytes that come in pieces, to notice damage; each piece is padded to whole words.
struct StreamHash {
  private var lanes = SIMD4<UInt64>(0x9E37_79B9_7F4A_7C15, 0xBF58_476D_1CE4_E5B9, 0x94D0_49BB_1331_11EB, 1)
  private var count: UInt64 = 0

  mutating func update(_ bytes: UnsafeRawBufferPointer) {
    let factor: UInt64 = 0xD6E8_FEB8_6659_FD93
    let whole = bytes.count & ~31
    var state = lanes
    var index = 0
    while index < whole {
      let words = bytes.loadUnaligned(fromByteOffset: index, as: SIMD4<UInt64>.self)
      state = (state ^ words) &* factor
      state ^= state &>> 29
      index += 32
    }
    if whole < bytes.count {
      var words = SIMD4<UInt64>()
      withUnsafeMutableBytes(of: &words) {
        $0.copyMemory(from: UnsafeRawBufferPointer(rebasing: bytes[whole...]))
      }
      state = (state ^ words) &* factor
      state ^= state &>> 29
    }
    lanes = state
    count &+= UInt64(bytes.count)
  }

  var value: UInt64 {
    var result = count
    for lane in 0..<4 {
      result = (result ^ lanes[lane]) &* 0xFF51_AFD7_ED55_8CCD
      result ^= result &>> 32
    }
    return result
  }

  static func value(of bytes: UnsafeRawBufferPointer) -> UInt64 {
    var hash = StreamHash()
    hash.update(bytes)
    return hash.value
  }
}
