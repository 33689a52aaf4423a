import Checkpoints

/// Writes a token file and its index, document by document, in constant memory.
///
/// Both appear under their names when `finish()` returns; before that, and when the writer goes away without it,
/// what was there stays.
public final class TokenFileWriter {
  private static let bufferSize = 1 << 20

  private var header: TokenFileHeader
  private var tokens: AtomicFile
  private var index: AtomicFile
  private var tokenBuffer: [UInt8] = []
  private var indexBuffer: [UInt8] = []
  private var hash = ContentHash()
  private var isComplete = false

  /// Opens both files.
  ///
  /// - Parameters:
  ///   - path: the token file; the index is beside it.
  ///   - vocabularySize: every token is smaller; up to 65536 a token takes two bytes, otherwise four.
  ///   - fingerprint: of the tokenizer, 64 hexadecimal digits.
  ///   - endOfText: the token that ends each document, for readers to know; it is not added here.
  /// - Throws: `FileError`.
  public init(path: String, vocabularySize: Int, fingerprint: String, endOfText: Int?) throws {
    precondition(vocabularySize > 0 && vocabularySize < Int(UInt32.max), "\(vocabularySize) tokens")
    let digest = stride(from: 0, to: fingerprint.utf8.count, by: 2).map { offset in
      UInt8(fingerprint.dropFirst(offset).prefix(2), radix: 16) ?? 0
    }
    precondition(digest.count == 32 && hexadecimal(digest) == fingerprint, "fingerprint \(fingerprint)")
    header = TokenFileHeader(vocabularySize: vocabularySize, endOfText: endOfText, fingerprint: digest)
    tokens = try AtomicFile(path: path)
    index = try AtomicFile(path: path + TokenFile.indexSuffix)
    try tokens.append(Array(header.bytes))
    try index.append(TokenIndexHeader(of: header).bytes)
  }

  /// Tokens written so far.
  public var tokenCount: Int { header.tokenCount }
  /// Documents written so far.
  public var documentCount: Int { header.documentCount }

  /// Appends a document.
  ///
  /// - Parameters:
  ///   - document: its tokens, with the one that ends it; a document without tokens leaves no trace.
  ///   - textByteCount: bytes of its text.
  /// - Throws: `FileError` when the disk is full.
  public func append(_ document: some Collection<UInt32>, textByteCount: Int) throws {
    precondition(!isComplete, "a document behind the end of \(tokens.path)")
    header.textByteCount += textByteCount
    guard !document.isEmpty else { return }
    indexBuffer.appendInteger(UInt64(header.tokenCount))
    header.documentCount += 1
    header.tokenCount += document.count
    for id in document {
      precondition(Int(id) < header.vocabularySize, "token \(id) of \(header.vocabularySize)")
      if header.bytesPerToken == 2 {
        tokenBuffer.append(UInt8(truncatingIfNeeded: id))
        tokenBuffer.append(UInt8(truncatingIfNeeded: id >> 8))
      } else {
        tokenBuffer.appendInteger(id)
      }
    }
    if tokenBuffer.count >= TokenFileWriter.bufferSize { try flushTokens() }
    if indexBuffer.count >= TokenFileWriter.bufferSize { try flushIndex() }
  }

  /// Writes all that is left, so that only the names are missing.
  ///
  /// Several files that belong together are completed first and named afterwards: a full disk then leaves none of
  /// them. `finish()` completes too.
  ///
  /// - Throws: `FileError`; `TokenFileError.noTokens` when nothing was appended.
  public func complete() throws {
    guard !isComplete else { return }
    guard header.tokenCount > 0 else { throw TokenFileError.noTokens(path: tokens.path) }
    try flushTokens()
    try flushIndex()
    header.dataHash = hash.value
    try header.bytes.withUnsafeBytes { try tokens.overwrite($0, at: 0) }
    try TokenIndexHeader(of: header).bytes.withUnsafeBytes { try index.overwrite($0, at: 0) }
    isComplete = true
  }

  /// Puts both files under their names.
  ///
  /// - Throws: `FileError`; `TokenFileError.noTokens` when nothing was appended, and then nothing is written.
  public func finish() throws {
    try complete()
    // A crash between the two leaves an index that does not match the old tokens, which opening notices.
    try index.commit()
    try tokens.commit()
  }

  private func flushTokens() throws {
    tokenBuffer.withUnsafeBytes { hash.update($0) }
    try tokens.append(tokenBuffer)
    tokenBuffer.removeAll(keepingCapacity: true)
  }

  private func flushIndex() throws {
    try index.append(indexBuffer)
    indexBuffer.removeAll(keepingCapacity: true)
  }
}

extension AtomicFile {
  /// Appends bytes.
  mutating func append(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try append($0) } }
}
