import Checkpoints
import JSON
import Kernels
import Tokenizers

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// What a document is in a file.
public enum DocumentLayout: String, Sendable, CaseIterable {
  /// `jsonl` for names that end in .jsonl or .ndjson (before .gz), otherwise `line`.
  case automatic = "auto"
  /// Each line that is not empty, without its end.
  case line
  /// Lines up to the next blank one, joined by line feeds.
  case paragraph
  /// The whole file.
  case file
  /// Each line is a JSON object with a text in a field.
  case jsonl
}

/// Consecutive documents of one file.
public final class DocumentBatch: @unchecked Sendable {
  // Safe: filled by the reader before anybody else sees it, and not changed afterwards.

  /// The texts, with whatever is between them.
  public let bytes: [UInt8]
  /// Where each document is; UTF-8, not checked.
  public let documents: [Range<Int>]
  /// The line on which each document begins, from 1.
  public let lines: [Int]
  /// The record that each document is a field of; empty for plain text.
  public let records: [JSONObject]
  /// The name of the file.
  public let path: String

  init(bytes: [UInt8], documents: [Range<Int>], lines: [Int], records: [JSONObject], path: String) {
    self.bytes = bytes
    self.documents = documents
    self.lines = lines
    self.records = records
    self.path = path
  }

  /// The bytes of a document.
  public func withDocument<Result>(
    _ index: Int, _ body: (UnsafeBufferPointer<UInt8>) throws -> Result
  ) rethrows -> Result {
    try bytes.withUnsafeBufferPointer { try body(UnsafeBufferPointer(rebasing: $0[documents[index]])) }
  }

  /// Checks that a document is UTF-8.
  ///
  /// - Throws: `CorpusError.invalidUTF8`.
  func check(_ index: Int) throws(CorpusError) {
    let offset = withDocument(index) { UTF8Bytes.firstInvalidByte($0) }
    if let offset { throw .invalidUTF8(path: path, line: lines[index], offset: offset) }
  }
}

/// Reads documents from files of text or JSON lines, plain or compressed, in constant memory.
public final class DocumentReader {
  /// The longest document that is accepted.
  public static let longestDocument = 1 << 30

  private let paths: [String]
  private let names: [String]
  private let layout: DocumentLayout
  private let field: String
  private let keepsLineEnds: Bool
  private let pool: WorkerPool
  private let batchSize: Int
  private var nextPath = 0
  private var source: ByteSource?
  private var sourceLayout = DocumentLayout.line
  private var line = 1
  /// Read and not yet cut into documents.
  private var rest: [UInt8] = []
  private var doneBytes = 0

  /// Prepares to read files one after the other.
  ///
  /// - Parameters:
  ///   - paths: `-` is standard input.
  ///   - names: what messages and reports call the files, when that is not their paths.
  ///   - field: the name of the text in JSON lines.
  ///   - keepsLineEnds: whether the documents of `line` keep their line feeds, and empty lines count.
  ///   - batchSize: bytes that are read at once; a longer document makes a larger batch.
  /// - Throws: `FileError` when a file is not there or is a folder: better now than after hours.
  public init(
    paths: [String], names: [String]? = nil, layout: DocumentLayout = .automatic, field: String = "text",
    keepsLineEnds: Bool = false,
    pool: WorkerPool, batchSize: Int = 1 << 22
  ) throws {
    precondition(names == nil || names?.count == paths.count, "names of other files")
    self.paths = paths
    self.names = names ?? paths.map { $0 == "-" ? "standard input" : $0 }
    self.layout = layout
    self.field = field
    self.keepsLineEnds = keepsLineEnds
    self.pool = pool
    self.batchSize = batchSize
    var total: Int? = 0
    for path in paths {
      let status = path == "-" ? nil : try fileStatus(path)
      if path != "-" {
        guard let status else { throw FileError.missing(path: path) }
        if status.isDirectory { throw FileError.isDirectory(path: path) }
        // A pipe is opened once only: whoever writes to it would take a second end for the last.
        if status.isRegular { _ = try ByteSource(path) }
      }
      total = status.flatMap { $0.isRegular ? Int($0.st_size) : nil }.flatMap { size in
        total.map { $0 + size }
      }
    }
    totalBytes = total
  }

  /// Bytes of all files on the disk; `nil` when a pipe is among them.
  public let totalBytes: Int?
  /// Bytes read from the disk so far.
  public var position: Int { doneBytes + (source?.position ?? 0) }

  /// The next documents; `nil` at the end.
  ///
  /// - Throws: `FileError` or `CorpusError`.
  public func next() throws -> DocumentBatch? {
    while true {
      if source == nil {
        guard nextPath < paths.count else { return nil }
        source = try ByteSource(paths[nextPath])
        sourceLayout = layout == .automatic ? DocumentReader.layout(of: paths[nextPath]) : layout
        nextPath += 1
        line = 1
      }
      guard let source else { return nil }
      let isLast = try fill(source)
      let batch = try cut(names[nextPath - 1], isLast: isLast)
      if isLast {
        doneBytes += source.position
        self.source = nil
        rest = []
      }
      if !batch.documents.isEmpty { return batch }
    }
  }

  private static func layout(of path: String) -> DocumentLayout {
    let name = path.hasSuffix(".gz") ? String(path.dropLast(3)) : path
    return name.hasSuffix(".jsonl") || name.hasSuffix(".ndjson") ? .jsonl : .line
  }

  /// Reads until there is a batch's worth with an end to cut at; true at the end of the file.
  private func fill(_ source: ByteSource) throws -> Bool {
    var wanted = batchSize
    while true {
      while rest.count < wanted {
        let start = rest.count
        let room = max(wanted - start, 1 << 16)
        var count = 0
        // The array grows in place; what was read is not moved again.
        rest.append(contentsOf: repeatElement(0, count: room))
        try rest.withUnsafeMutableBytes { bytes in
          count = try source.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[start...]))
        }
        rest.removeLast(room - count)
        if count == 0 { return true }
      }
      if cutEnd() != nil { return false }
      guard rest.count < DocumentReader.longestDocument else {
        throw CorpusError.tooLong(
          path: names[nextPath - 1], line: line, limit: DocumentReader.longestDocument)
      }
      wanted = 2 * rest.count
    }
  }

  /// Where the last whole document ends.
  private func cutEnd() -> Int? {
    guard sourceLayout != .file else { return nil }
    let lineFeed = UInt8(ascii: "\n")
    guard sourceLayout == .paragraph else {
      return rest.withUnsafeBufferPointer { bytes in
        bytes.lastIndex(of: lineFeed).map { $0 + 1 }
      }
    }
    return rest.withUnsafeBufferPointer { bytes in
      var end = bytes.count
      while let feed = bytes[..<end].lastIndex(of: lineFeed) {
        // The line that this one ends, if it is blank and whole.
        let start = bytes[..<feed].lastIndex(of: lineFeed).map { $0 + 1 } ?? 0
        if start > 0, DocumentReader.isBlank(bytes[start..<feed]) { return feed + 1 }
        end = feed
      }
      return nil
    }
  }

  private static func isBlank(_ line: Slice<UnsafeBufferPointer<UInt8>>) -> Bool {
    line.allSatisfy { $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") || $0 == UInt8(ascii: "\r") }
  }

  /// Takes whole documents off what was read.
  private func cut(_ name: String, isLast: Bool) throws -> DocumentBatch {
    let end = isLast ? rest.count : cutEnd() ?? 0
    let bytes: [UInt8]
    if end == rest.count {
      bytes = rest
      rest = []
    } else {
      bytes = Array(rest[..<end])
      rest = Array(rest[end...])
    }
    var documents: [Range<Int>] = []
    var lines: [Int] = []
    switch sourceLayout {
    case .file:
      if !bytes.isEmpty {
        documents = [0..<bytes.count]
        lines = [1]
      }
    case .paragraph: cutParagraphs(bytes, &documents, &lines)
    case .line, .jsonl, .automatic: cutLines(bytes, &documents, &lines)
    }
    if sourceLayout == .jsonl { return try parse(bytes, documents, lines, name) }
    return DocumentBatch(bytes: bytes, documents: documents, lines: lines, records: [], path: name)
  }

  private func cutLines(_ bytes: [UInt8], _ documents: inout [Range<Int>], _ lines: inout [Int]) {
    bytes.withUnsafeBufferPointer { bytes in
      var start = 0
      while start < bytes.count {
        let feed = DocumentReader.lineFeed(bytes, from: start)
        var end = feed
        if keepsLineEnds {
          end = min(feed + 1, bytes.count)
        } else if end > start, bytes[end - 1] == UInt8(ascii: "\r") {
          end -= 1
        }
        if end > start {
          documents.append(start..<end)
          lines.append(line)
        }
        line += 1
        start = feed + 1
      }
    }
  }

  private func cutParagraphs(_ bytes: [UInt8], _ documents: inout [Range<Int>], _ lines: inout [Int]) {
    bytes.withUnsafeBufferPointer { bytes in
      var start = 0
      var first: (offset: Int, line: Int)?
      var last = 0
      while start < bytes.count {
        let feed = DocumentReader.lineFeed(bytes, from: start)
        if DocumentReader.isBlank(bytes[start..<feed]) {
          if let (offset, number) = first {
            documents.append(offset..<last)
            lines.append(number)
          }
          first = nil
        } else {
          if first == nil { first = (start, line) }
          last = feed
          if feed > start, bytes[feed - 1] == UInt8(ascii: "\r") { last -= 1 }
        }
        line += 1
        start = feed + 1
      }
      if let (offset, number) = first {
        documents.append(offset..<last)
        lines.append(number)
      }
    }
  }

  /// The next line feed, or the end.
  private static func lineFeed(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
    guard start < bytes.count, let base = bytes.baseAddress else { return bytes.count }
    // Safe: the search ends where the buffer does.
    guard let found = memchr(base + start, 0x0A, bytes.count - start) else { return bytes.count }
    return UnsafeRawPointer(found) - UnsafeRawPointer(base)
  }

  /// Parses lines of JSON, with all threads.
  private func parse(
    _ bytes: [UInt8], _ rows: [Range<Int>], _ lines: [Int], _ name: String
  ) throws -> DocumentBatch {
    let parsed = try pool.map(rows.count) { [field] index -> (JSONObject, String)? in
      let row = bytes[rows[index]]
      if row.allSatisfy({ $0 == UInt8(ascii: " ") || $0 == UInt8(ascii: "\t") }) { return nil }
      func fault(_ reason: String) -> CorpusError { .line(path: name, line: lines[index], reason: reason) }
      let value: JSONValue
      do {
        value = try row.withUnsafeBytes { try JSONValue.parse($0) }
      } catch {
        throw fault("\(error)")
      }
      guard let record = value.object else { throw fault("is \(value.kind), not an object") }
      guard let member = record[field] else {
        let names = record.members.prefix(8).map { printable($0.key, limit: 40) }.joined(separator: ", ")
        throw fault("has no field \(field) (it has \(names)); choose one with --field")
      }
      guard let text = member.string else { throw fault("\(field) is \(member.kind), not a string") }
      return (record, text)
    }
    var texts: [UInt8] = []
    texts.reserveCapacity(bytes.count)
    var documents: [Range<Int>] = []
    var numbers: [Int] = []
    var records: [JSONObject] = []
    for (index, row) in parsed.enumerated() {
      guard let (record, text) = row, !text.isEmpty else { continue }
      let start = texts.count
      texts.append(contentsOf: text.utf8)
      documents.append(start..<texts.count)
      numbers.append(lines[index])
      records.append(record)
    }
    return DocumentBatch(bytes: texts, documents: documents, lines: numbers, records: records, path: name)
  }
}
