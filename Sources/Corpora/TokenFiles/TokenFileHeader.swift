/// The first bytes of a token file, little-endian.
///
/// | bytes | field |
/// |---|---|
/// | 0–7 | `89 49 4E 4B 54 4F 4B 0A` (“INKTOK”) |
/// | 8–11 | version, 1 |
/// | 12–15 | bytes per token: 2 or 4 |
/// | 16–23 | tokens |
/// | 24–31 | documents |
/// | 32–35 | vocabulary size; every token is smaller |
/// | 36–39 | the token that ends a document, or `FFFFFFFF` |
/// | 40–71 | fingerprint of the tokenizer (SHA-256) |
/// | 72–79 | bytes of the text that the tokens came from |
/// | 80–87 | hash of the tokens' bytes |
/// | 88–119 | zero |
/// | 120–127 | hash of bytes 0–119 |
///
/// The tokens follow.
struct TokenFileHeader: Equatable {
  static let byteCount = 128
  static let magic: [UInt8] = [0x89, 0x49, 0x4E, 0x4B, 0x54, 0x4F, 0x4B, 0x0A]

  var bytesPerToken = 2
  var tokenCount = 0
  var documentCount = 0
  var vocabularySize = 0
  var endOfText: Int?
  var fingerprint: [UInt8] = []
  var textByteCount = 0
  var dataHash: UInt64 = 0

  /// The header as it stands in the file.
  var bytes: [UInt8] {
    var out = TokenFileHeader.magic
    out.appendInteger(UInt32(TokenFile.version))
    out.appendInteger(UInt32(bytesPerToken))
    out.appendInteger(UInt64(tokenCount))
    out.appendInteger(UInt64(documentCount))
    out.appendInteger(UInt32(vocabularySize))
    out.appendInteger(endOfText.map { UInt32($0) } ?? .max)
    out += fingerprint
    out.appendInteger(UInt64(textByteCount))
    out.appendInteger(dataHash)
    out += [UInt8](repeating: 0, count: TokenFileHeader.byteCount - 8 - out.count)
    out.appendInteger(out.withUnsafeBytes { ContentHash.of($0) })
    return out
  }

  /// Reads and checks a header.
  ///
  /// - Parameter file: the whole file; its length must be what the header says.
  init(reading file: UnsafeRawBufferPointer, path: String) throws(TokenFileError) {
    guard file.count >= TokenFileHeader.byteCount, file.starts(with: TokenFileHeader.magic) else {
      throw .notTokenFile(path: path)
    }
    let version = file.integer(8, as: UInt32.self)
    guard version == TokenFile.version else { throw .version(path: path, found: Int(version)) }
    let end = TokenFileHeader.byteCount - 8
    guard ContentHash.of(UnsafeRawBufferPointer(rebasing: file[..<end])) == file.integer(end, as: UInt64.self)
    else { throw .damaged(path: path, field: "header", reason: "does not match its checksum") }

    bytesPerToken = Int(file.integer(12, as: UInt32.self))
    guard bytesPerToken == 2 || bytesPerToken == 4 else {
      throw .damaged(path: path, field: "bytes per token", reason: "is \(bytesPerToken), not 2 or 4")
    }
    let (tokens, documents) = (file.integer(16, as: UInt64.self), file.integer(24, as: UInt64.self))
    let available = (file.count - TokenFileHeader.byteCount) / bytesPerToken
    guard tokens <= UInt64(available), Int(tokens) * bytesPerToken == file.count - TokenFileHeader.byteCount
    else {
      throw .damaged(
        path: path, field: "tokens",
        reason: "is \(tokens), and the file's \(file.count) bytes do not hold just as many")
    }
    tokenCount = Int(tokens)
    guard documents <= tokens else {
      throw .damaged(
        path: path, field: "documents", reason: "is \(documents), more than the \(tokens) tokens")
    }
    documentCount = Int(documents)
    let size = file.integer(32, as: UInt32.self)
    guard size > 0, bytesPerToken == 4 || size <= 1 << 16 else {
      throw .damaged(
        path: path, field: "vocabulary size", reason: "is \(size), which \(bytesPerToken) bytes cannot hold")
    }
    vocabularySize = Int(size)
    let endOfText = file.integer(36, as: UInt32.self)
    guard endOfText == .max || endOfText < size else {
      throw .damaged(path: path, field: "end of text", reason: "is \(endOfText), beyond the vocabulary")
    }
    self.endOfText = endOfText == .max ? nil : Int(endOfText)
    fingerprint = Array(file[40..<72])
    let textBytes = file.integer(72, as: UInt64.self)
    guard textBytes <= UInt64(Int.max) else {
      throw .damaged(path: path, field: "bytes of text", reason: "is \(textBytes)")
    }
    textByteCount = Int(textBytes)
    dataHash = file.integer(80, as: UInt64.self)
  }

  /// A header of no tokens yet.
  init(vocabularySize: Int, endOfText: Int?, fingerprint: [UInt8]) {
    self.vocabularySize = vocabularySize
    self.endOfText = endOfText
    self.fingerprint = fingerprint
    bytesPerToken = vocabularySize <= 1 << 16 ? 2 : 4
  }
}

/// The first bytes of the file of document offsets, little-endian.
///
/// | bytes | field |
/// |---|---|
/// | 0–7 | `89 49 4E 4B 49 44 58 0A` (“INKIDX”) |
/// | 8–11 | version, 1 |
/// | 12–15 | zero |
/// | 16–23 | documents |
/// | 24–31 | tokens of the token file |
/// | 32–39 | hash of the tokens' bytes, as in the token file |
/// | 40–55 | zero |
/// | 56–63 | hash of bytes 0–55 |
///
/// The position of each document's first token follows, 8 bytes each.
struct TokenIndexHeader: Equatable {
  static let byteCount = 64
  static let magic: [UInt8] = [0x89, 0x49, 0x4E, 0x4B, 0x49, 0x44, 0x58, 0x0A]

  let documentCount: UInt64
  let tokenCount: UInt64
  let dataHash: UInt64

  /// What the index of a token file says.
  init(of header: TokenFileHeader) {
    documentCount = UInt64(header.documentCount)
    tokenCount = UInt64(header.tokenCount)
    dataHash = header.dataHash
  }

  /// The header as it stands in the file.
  var bytes: [UInt8] {
    var out = TokenIndexHeader.magic
    out.appendInteger(UInt32(TokenFile.version))
    out.appendInteger(UInt32(0))
    out.appendInteger(documentCount)
    out.appendInteger(tokenCount)
    out.appendInteger(dataHash)
    out += [UInt8](repeating: 0, count: 16)
    out.appendInteger(out.withUnsafeBytes { ContentHash.of($0) })
    return out
  }

  /// Reads a header and checks it against itself and the file's length.
  init(reading file: UnsafeRawBufferPointer, path: String) throws(TokenFileError) {
    guard file.count >= TokenIndexHeader.byteCount, file.starts(with: TokenIndexHeader.magic) else {
      throw .index(path: path, reason: "is no index of a token file")
    }
    let version = file.integer(8, as: UInt32.self)
    guard version == TokenFile.version else { throw .version(path: path, found: Int(version)) }
    guard ContentHash.of(UnsafeRawBufferPointer(rebasing: file[..<56])) == file.integer(56, as: UInt64.self)
    else { throw .damaged(path: path, field: "header", reason: "does not match its checksum") }
    documentCount = file.integer(16, as: UInt64.self)
    tokenCount = file.integer(24, as: UInt64.self)
    dataHash = file.integer(32, as: UInt64.self)
    let available = (file.count - TokenIndexHeader.byteCount) / 8
    guard documentCount == available, (file.count - TokenIndexHeader.byteCount).isMultiple(of: 8) else {
      throw .damaged(
        path: path, field: "documents",
        reason: "is \(documentCount), and the file's \(file.count) bytes do not hold just as many")
    }
  }
}

extension [UInt8] {
  /// Appends an integer, least significant byte first.
  mutating func appendInteger(_ value: some FixedWidthInteger) {
    Swift.withUnsafeBytes(of: value.littleEndian) { append(contentsOf: $0) }
  }
}

extension UnsafeRawBufferPointer {
  /// The little-endian integer at an offset, which the caller has checked.
  func integer<Value: FixedWidthInteger & BitwiseCopyable>(_ offset: Int, as type: Value.Type) -> Value {
    Value(littleEndian: loadUnaligned(fromByteOffset: offset, as: type))
  }
}
