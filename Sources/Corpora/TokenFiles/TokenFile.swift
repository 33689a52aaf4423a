import Checkpoints
import Tokenizers

/// A long sequence of tokens in a file, read from disk as it is touched.
///
/// `inkstone data pack` writes one, with an index of its documents beside it (`PATH.index`). Opening checks both
/// headers and the offsets of the documents; tokens are checked as they are read, or all at once by `validate()`.
/// A value may be used from several threads at once.
///
/// - SeeAlso: `TokenFileHeader` for the layout.
public final class TokenFile: Sendable {
  /// The version of the format that is read and written.
  public static let version = 1
  /// What the path of the index ends in.
  public static let indexSuffix = ".index"

  /// The path the file was opened by.
  public let path: String
  private let header: TokenFileHeader
  private let file: MappedFile

  /// The first token of each document.
  public let documentStarts: DocumentStarts

  /// Opens a token file and its index.
  ///
  /// - Throws: `TokenFileError` naming the file and the field, or `FileError` when one cannot be read.
  public init(path: String) throws {
    file = try TokenFile.open(path)
    header = try TokenFileHeader(reading: file.bytes, path: path)
    guard header.tokenCount > 0 else { throw TokenFileError.noTokens(path: path) }
    self.path = path
    documentStarts = try DocumentStarts(path: path + TokenFile.indexSuffix, of: header)
  }

  /// How many tokens there are.
  public var count: Int { header.tokenCount }
  /// Every token is smaller than this.
  public var vocabularySize: Int { header.vocabularySize }
  /// The token that ends each document; `nil` when documents follow each other without one.
  public var endOfText: Int? { header.endOfText }
  /// The fingerprint of the tokenizer that made the tokens, 64 hexadecimal digits.
  public var tokenizerFingerprint: String { hexadecimal(header.fingerprint) }
  /// UTF-8 bytes of the text that the tokens came from, for bits per byte.
  public var textByteCount: Int { header.textByteCount }

  /// Checks that the tokens are of a tokenizer's vocabulary.
  ///
  /// - Throws: `TokenFileError.otherVocabulary`.
  public func check(tokenizerFingerprint wanted: String) throws(TokenFileError) {
    guard wanted == tokenizerFingerprint else {
      throw .otherVocabulary(path: path, found: tokenizerFingerprint, wanted: wanted)
    }
  }

  /// Consecutive tokens.
  ///
  /// - Parameters:
  ///   - start: the position of the first.
  ///   - count: how many; they lie within the file.
  /// - Throws: `TokenFileError.token` for an id that the vocabulary does not have.
  public func tokens(at start: Int, count: Int) throws(TokenFileError) -> [Int] {
    checkRange(start, count)
    var out = [Int](repeating: 0, count: count)
    let largest = out.withUnsafeMutableBufferPointer { fill($0.baseAddress, start, count) { Int($0) } }
    try check(largest, start, count)
    return out
  }

  /// Copies consecutive tokens.
  ///
  /// - Parameters:
  ///   - start: the position of the first; `out.count` tokens from there lie within the file.
  ///   - out: receives the ids.
  /// - Throws: `TokenFileError.token` for an id that the vocabulary does not have.
  public func copyTokens(at start: Int, into out: UnsafeMutableBufferPointer<Int32>) throws(TokenFileError) {
    checkRange(start, out.count)
    let largest = fill(out.baseAddress, start, out.count) { Int32(truncatingIfNeeded: $0) }
    try check(largest, start, out.count)
  }

  /// Asks the system to read a range of tokens ahead of their use.
  public func willNeed(at start: Int, count: Int) {
    let from = TokenFileHeader.byteCount + start * header.bytesPerToken
    file.willNeed(from..<from + count * header.bytesPerToken)
  }

  /// Checks every token and the hash of them all.
  ///
  /// - Throws: `TokenFileError`.
  /// - Complexity: reads the whole file.
  public func validate() throws(TokenFileError) {
    let data = UnsafeRawBufferPointer(rebasing: file.bytes[TokenFileHeader.byteCount...])
    var hash = ContentHash()
    let chunk = 1 << 18
    for start in stride(from: 0, to: count, by: chunk) {
      let count = min(chunk, self.count - start)
      let range = start * header.bytesPerToken..<(start + count) * header.bytesPerToken
      hash.update(UnsafeRawBufferPointer(rebasing: data[range]))
      try check(fill(nil as UnsafeMutablePointer<Int32>?, start, count) { Int32($0) }, start, count)
    }
    guard hash.value == header.dataHash else {
      throw .damaged(path: path, field: "tokens", reason: "do not match their checksum")
    }
  }

  private static func open(_ path: String) throws -> MappedFile {
    do {
      return try MappedFile(path: path)
    } catch FileError.empty {
      throw TokenFileError.notTokenFile(path: path)
    }
  }

  private func checkRange(_ start: Int, _ count: Int) {
    precondition(
      start >= 0 && count >= 0 && start <= self.count && count <= self.count - start,
      "\(count) tokens at \(start) of \(self.count)")
  }

  /// Converts tokens, where there is a place for them, and gives the largest.
  @inline(__always)
  private func fill<Value>(
    _ out: UnsafeMutablePointer<Value>?, _ start: Int, _ count: Int, _ convert: (UInt32) -> Value
  ) -> UInt32 {
    // Safe: the range was checked; the data begins at a multiple of four in a mapped page.
    let data = file.bytes.baseAddress! + TokenFileHeader.byteCount
    var largest: UInt32 = 0
    if header.bytesPerToken == 2 {
      let source = data.assumingMemoryBound(to: UInt16.self) + start
      for at in 0..<count {
        let id = UInt32(UInt16(littleEndian: source[at]))
        largest = max(largest, id)
        out?[at] = convert(id)
      }
    } else {
      let source = data.assumingMemoryBound(to: UInt32.self) + start
      for at in 0..<count {
        let id = UInt32(littleEndian: source[at])
        largest = max(largest, id)
        out?[at] = convert(id)
      }
    }
    return largest
  }

  /// Names the first token beyond the vocabulary where the largest is.
  private func check(_ largest: UInt32, _ start: Int, _ count: Int) throws(TokenFileError) {
    guard count > 0, Int(largest) >= vocabularySize else { return }
    for position in start..<start + count {
      let id = fill(nil as UnsafeMutablePointer<UInt32>?, position, 1) { $0 }
      if Int(id) >= vocabularySize {
        throw .token(path: path, position: position, id: Int(id), vocabularySize: vocabularySize)
      }
    }
  }
}

/// The position of each document's first token, in ascending order, mapped from the index.
public final class DocumentStarts: Sendable, RandomAccessCollection {
  private let file: MappedFile
  /// Documents.
  public let endIndex: Int
  /// Always 0.
  public var startIndex: Int { 0 }

  /// Opens an index and checks that it belongs to a token file.
  convenience init(path: String, of header: TokenFileHeader) throws {
    let file = try DocumentStarts.open(path)
    let found = try TokenIndexHeader(reading: file.bytes, path: path)
    guard found == TokenIndexHeader(of: header) else {
      throw TokenFileError.index(path: path, reason: "belongs to other tokens")
    }
    var before = -1
    for index in 0..<header.documentCount {
      let start = file.bytes.integer(TokenIndexHeader.byteCount + 8 * index, as: UInt64.self)
      guard index > 0 || start == 0, start < UInt64(header.tokenCount), Int(start) > before else {
        throw TokenFileError.damaged(
          path: path, field: "document \(index)",
          reason: "begins at token \(start) of \(header.tokenCount), and the one before at \(before)")
      }
      before = Int(start)
    }
    self.init(file: file, count: header.documentCount)
  }

  private init(file: MappedFile, count: Int) {
    self.file = file
    endIndex = count
  }

  private static func open(_ path: String) throws -> MappedFile {
    do {
      return try MappedFile(path: path)
    } catch FileError.missing {
      throw TokenFileError.index(path: path, reason: "the index of the documents is missing")
    } catch FileError.empty {
      throw TokenFileError.index(path: path, reason: "is no index of a token file")
    }
  }

  /// The first token of a document.
  public subscript(index: Int) -> Int {
    precondition(index >= 0 && index < endIndex, "document \(index) of \(endIndex)")
    return Int(file.bytes.integer(TokenIndexHeader.byteCount + 8 * index, as: UInt64.self))
  }
}
