import CZlib
import Checkpoints

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// The bytes of a file or of standard input, expanded where they are compressed with gzip.
///
/// Compression is told by the first two bytes and not by the name.
final class ByteSource {
  /// What messages call it.
  let name: String
  /// Bytes read from the disk so far, before expansion.
  private(set) var position = 0
  /// Bytes on the disk; `nil` when that cannot be known.
  let size: Int?

  private let file: FileDescriptor
  private var expander: Expander?
  private let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 1 << 18, alignment: 16)
  /// What was read and not handed out.
  private var pending: Range<Int> = 0..<0
  private var hasBegun = false
  private var atEnd = false

  /// Opens a file, or standard input for `-`.
  ///
  /// - Throws: `FileError`.
  init(_ path: String) throws {
    name = path == "-" ? "standard input" : path
    file = try FileDescriptor(path == "-" ? "/dev/stdin" : path, O_RDONLY)
    let status = try file.status()
    if status.isDirectory { throw FileError.isDirectory(path: path) }
    size = status.isRegular ? Int(status.st_size) : nil
  }

  deinit { buffer.deallocate() }

  /// Reads bytes; 0 at the end.
  ///
  /// - Throws: `FileError`, or `CorpusError.compression`.
  func read(into out: UnsafeMutableRawBufferPointer) throws -> Int {
    if !hasBegun {
      hasBegun = true
      // A pipe may give a byte at a time, and the mark of gzip has two.
      while pending.count < 2, !atEnd { try fill() }
      if pending.count >= 2, buffer[0] == 0x1F, buffer[1] == 0x8B { expander = try Expander(name) }
    }
    guard let expander else { return try copy(to: out) }
    while true {
      if pending.isEmpty, !atEnd { try fill() }
      let input = UnsafeMutableRawBufferPointer(rebasing: buffer[pending])
      let (used, made) = try expander.expand(input, into: out, atEnd: atEnd)
      pending = pending.lowerBound + used..<pending.upperBound
      if made > 0 { return made }
      if pending.isEmpty, atEnd {
        try expander.finish()
        return 0
      }
    }
  }

  private func copy(to out: UnsafeMutableRawBufferPointer) throws -> Int {
    if pending.isEmpty {
      if atEnd { return 0 }
      let count = try file.read(into: out)
      position += count
      atEnd = count == 0
      return count
    }
    let count = min(out.count, pending.count)
    out.copyMemory(
      from: UnsafeRawBufferPointer(rebasing: buffer[pending.lowerBound..<pending.lowerBound + count]))
    pending = pending.lowerBound + count..<pending.upperBound
    return count
  }

  private func fill() throws {
    if pending.isEmpty { pending = 0..<0 }
    let count = try file.read(into: UnsafeMutableRawBufferPointer(rebasing: buffer[pending.upperBound...]))
    position += count
    atEnd = count == 0
    pending = pending.lowerBound..<pending.upperBound + count
  }
}

/// Expands gzip, member after member.
private final class Expander {
  private let name: String
  private var stream = z_stream()
  private var isOpen = false
  /// Nothing of the current member was seen yet.
  private var isFresh = true

  init(_ name: String) throws {
    self.name = name
    let status = inflateInit2_(&stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    guard status == Z_OK else { throw CorpusError.compression(path: name, reason: "no memory for zlib") }
    isOpen = true
  }

  deinit { if isOpen { inflateEnd(&stream) } }

  /// Expands some bytes.
  func expand(
    _ input: UnsafeMutableRawBufferPointer, into out: UnsafeMutableRawBufferPointer, atEnd: Bool
  ) throws -> (used: Int, made: Int) {
    if isFresh, input.isEmpty { return (0, 0) }
    // What is behind the last member and is none itself is padding, as `gzip` has it.
    if isFresh, stream.total_out == 0, input[0] == 0 { return (1, 0) }
    isFresh = false
    stream.next_in = input.baseAddress?.assumingMemoryBound(to: Bytef.self)
    stream.avail_in = uInt(input.count)
    stream.next_out = out.baseAddress?.assumingMemoryBound(to: Bytef.self)
    stream.avail_out = uInt(min(out.count, 1 << 30))
    let room = Int(stream.avail_out)
    let status = inflate(&stream, Z_NO_FLUSH)
    let (used, made) = (input.count - Int(stream.avail_in), room - Int(stream.avail_out))
    switch status {
    case Z_OK: break
    case Z_STREAM_END:
      inflateReset(&stream)
      isFresh = true
    case Z_BUF_ERROR:
      if atEnd, input.isEmpty {
        throw CorpusError.compression(path: name, reason: "the file ends in the middle")
      }
    default:
      let message = stream.msg.map { String(cString: $0) } ?? "error \(status)"
      throw CorpusError.compression(path: name, reason: message)
    }
    return (used, made)
  }

  /// Checks that the last member was whole.
  func finish() throws {
    guard isFresh else { throw CorpusError.compression(path: name, reason: "the file ends in the middle") }
  }
}
