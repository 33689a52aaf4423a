import CZlib
import Checkpoints
import JSON

/// Writes documents as text or JSON lines, to a file that appears when it is complete, or to a stream.
///
/// A name that ends in .gz is compressed.
public final class DocumentWriter {
  /// How documents stand in the output.
  public enum Layout: String, Sendable, CaseIterable {
    /// One document a line; its own line feeds become spaces.
    case line
    /// Documents with a blank line between; blank lines of their own are left out.
    case paragraph
    /// As they are, each ending in a line feed.
    case file
    /// A JSON object a line: the record that was read, or a new one with the text alone.
    case jsonl
  }

  private let layout: Layout
  private let field: String
  private var file: AtomicFile?
  private let stream: ((UnsafeRawBufferPointer) throws -> Void)?
  private var compressor: Compressor?
  private var buffer: [UInt8] = []
  private static let bufferSize = 1 << 20

  /// Opens a file.
  ///
  /// - Parameter field: the name of the text in JSON lines.
  /// - Throws: `FileError`.
  public init(path: String, layout: Layout, field: String = "text") throws {
    self.layout = layout
    self.field = field
    stream = nil
    compressor = path.hasSuffix(".gz") ? try Compressor(path) : nil
    file = try AtomicFile(path: path)
  }

  /// Writes to whatever takes bytes.
  public init(
    layout: Layout, field: String = "text", stream: @escaping (UnsafeRawBufferPointer) throws -> Void
  ) {
    self.layout = layout
    self.field = field
    self.stream = stream
  }

  /// The layout for a path: by its name, and otherwise as the input.
  public static func layout(of path: String?, input: DocumentLayout, inputPaths: [String]) -> Layout {
    func isJSON(_ path: String) -> Bool {
      let name = path.hasSuffix(".gz") ? String(path.dropLast(3)) : path
      return name.hasSuffix(".jsonl") || name.hasSuffix(".ndjson")
    }
    if let path, isJSON(path) { return .jsonl }
    switch input {
    case .line: return .line
    case .paragraph: return .paragraph
    case .file: return .file
    case .jsonl: return path == nil || path == "-" ? .jsonl : .line
    case .automatic:
      return (path == nil || path == "-") && inputPaths.allSatisfy(isJSON) && !inputPaths.isEmpty
        ? .jsonl : .line
    }
  }

  /// Appends a document.
  ///
  /// - Throws: `FileError` when the disk is full, or an error of the stream.
  public func write(_ text: some Collection<UInt8>, record: JSONObject?) throws {
    let lineFeed = UInt8(ascii: "\n")
    switch layout {
    case .jsonl:
      var record = record ?? JSONObject()
      let value = JSONValue.string(String(decoding: text, as: UTF8.self))
      if let index = record.members.lastIndex(where: { $0.key == field }) {
        record.members[index].value = value
      } else {
        record.members.append(.init(key: field, value: value))
      }
      buffer.append(contentsOf: JSONValue.object(record).text().utf8)
    case .line:
      for byte in text { buffer.append(byte == lineFeed ? UInt8(ascii: " ") : byte) }
    case .paragraph:
      if hasWritten { buffer.append(lineFeed) }
      var lines = text.split(separator: lineFeed, omittingEmptySubsequences: true)[...]
      lines = lines.drop { $0.allSatisfy(DocumentWriter.isSpace) }
      for line in lines where !line.allSatisfy(DocumentWriter.isSpace) {
        if line.startIndex != lines.first?.startIndex { buffer.append(lineFeed) }
        buffer.append(contentsOf: line)
      }
    case .file: buffer.append(contentsOf: text)
    }
    if buffer.last != lineFeed || layout != .file { buffer.append(lineFeed) }
    hasWritten = true
    if buffer.count >= DocumentWriter.bufferSize { try flush(isLast: false) }
  }

  private var hasWritten = false

  private static func isSpace(_ byte: UInt8) -> Bool {
    byte == UInt8(ascii: " ") || byte == UInt8(ascii: "\t") || byte == UInt8(ascii: "\r")
  }

  /// Writes what is left, and puts a file under its name.
  ///
  /// - Throws: `FileError`, or an error of the stream.
  public func finish() throws {
    try flush(isLast: true)
    try file?.commit()
  }

  private func flush(isLast: Bool) throws {
    let bytes = try compressor?.compress(buffer, isLast: isLast) ?? buffer
    if let stream {
      try bytes.withUnsafeBytes { try stream($0) }
    } else {
      try file?.append(bytes)
    }
    buffer.removeAll(keepingCapacity: true)
  }
}

/// Makes gzip.
private final class Compressor {
  private let name: String
  private var stream = z_stream()

  init(_ name: String) throws {
    self.name = name
    let status = deflateInit2_(
      &stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION,
      Int32(MemoryLayout<z_stream>.size))
    guard status == Z_OK else { throw CorpusError.compression(path: name, reason: "no memory for zlib") }
  }

  deinit { deflateEnd(&stream) }

  func compress(_ bytes: [UInt8], isLast: Bool) throws -> [UInt8] {
    var input = bytes
    var out: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 16)
    try input.withUnsafeMutableBufferPointer { input in
      stream.next_in = input.baseAddress
      stream.avail_in = uInt(input.count)
      while true {
        let room = chunk.count
        let status = chunk.withUnsafeMutableBufferPointer { chunk in
          stream.next_out = chunk.baseAddress
          stream.avail_out = uInt(room)
          return deflate(&stream, isLast ? Z_FINISH : Z_NO_FLUSH)
        }
        guard status == Z_OK || status == Z_STREAM_END || status == Z_BUF_ERROR else {
          throw CorpusError.compression(path: name, reason: "zlib reports error \(status)")
        }
        out.append(contentsOf: chunk[..<(room - Int(stream.avail_out))])
        if stream.avail_out > 0 || status == Z_STREAM_END { break }
      }
    }
    return out
  }
}
