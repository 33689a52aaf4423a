import Checkpoints
import Testing
import _TestSupport

@testable import Corpora

private let fingerprint = String(repeating: "0123456789abcdef", count: 4)

/// Writes documents of tokens and gives the path.
private func pack(
  _ documents: [[UInt32]], vocabularySize: Int, endOfText: Int? = nil, in folder: TemporaryFolder
) throws -> String {
  let path = folder("train.tokens")
  let writer = try TokenFileWriter(
    path: path, vocabularySize: vocabularySize, fingerprint: fingerprint, endOfText: endOfText)
  for document in documents { try writer.append(document, textByteCount: 10 * document.count) }
  try writer.finish()
  return path
}

@Suite("Token files")
struct TokenFileTests {
  @Test("What is written is read", arguments: [1, 300, 65_536, 65_537, 1 << 24])
  func roundTrip(vocabularySize: Int) throws {
    let folder = try TemporaryFolder()
    var random = SeededGenerator(seed: UInt64(vocabularySize))
    let documents = (0..<200).map { index in
      (0..<(index % 17 == 3 ? 0 : Int.random(in: 1...3000, using: &random))).map { _ in
        UInt32.random(in: 0..<UInt32(vocabularySize), using: &random)
      }
    }
    let path = try pack(documents, vocabularySize: vocabularySize, endOfText: 0, in: folder)
    let file = try TokenFile(path: path)
    let all = documents.flatMap { $0 }.map(Int.init)
    #expect(file.count == all.count)
    #expect(file.vocabularySize == vocabularySize)
    #expect(file.endOfText == 0)
    #expect(file.tokenizerFingerprint == fingerprint)
    #expect(file.textByteCount == 10 * all.count)
    #expect(try file.tokens(at: 0, count: all.count) == all)
    var starts: [Int] = []
    var position = 0
    for document in documents where !document.isEmpty {
      starts.append(position)
      position += document.count
    }
    #expect(Array(file.documentStarts) == starts)
    for _ in 0..<200 {
      let start = Int.random(in: 0...all.count, using: &random)
      let count = Int.random(in: 0...min(70, all.count - start), using: &random)
      #expect(try file.tokens(at: start, count: count) == Array(all[start..<start + count]))
      let copy = UnsafeMutableBufferPointer<Int32>.allocate(capacity: count)
      defer { copy.deallocate() }
      try file.copyTokens(at: start, into: copy)
      #expect(copy.map(Int.init) == Array(all[start..<start + count]))
    }
    try file.validate()
    let size = vocabularySize <= 65_536 ? 2 : 4
    #expect(try readFile(path).count == 128 + size * all.count)
  }

  @Test("The bytes are as documented")
  func layout() throws {
    let folder = try TemporaryFolder()
    let path = try pack([[1, 2], [0x1234]], vocabularySize: 0x2000, in: folder)
    let bytes = try readFile(path)
    #expect(bytes[..<12] == [0x89, 0x49, 0x4E, 0x4B, 0x54, 0x4F, 0x4B, 0x0A, 1, 0, 0, 0])
    #expect(bytes[12..<24] == [2, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0])
    #expect(bytes[24..<40] == [2, 0, 0, 0, 0, 0, 0, 0, 0, 0x20, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF])
    #expect(bytes[40..<48] == [0x01, 0x23, 0x45, 0x67, 0x89, 0xAB, 0xCD, 0xEF])
    #expect(bytes[128...] == [1, 0, 2, 0, 0x34, 0x12])
    let index = try readFile(path + ".index")
    #expect(index[16..<32] == [2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0])
    #expect(index[64...] == [0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0])
  }

  @Test("Tokens of another vocabulary are refused")
  func otherVocabulary() throws {
    let folder = try TemporaryFolder()
    let file = try TokenFile(path: try pack([[1]], vocabularySize: 2, in: folder))
    try file.check(tokenizerFingerprint: fingerprint)
    let other = String(fingerprint.reversed())
    #expect(throws: TokenFileError.otherVocabulary(path: file.path, found: fingerprint, wanted: other)) {
      try file.check(tokenizerFingerprint: other)
    }
  }

  @Test("Nothing is left behind when nothing was appended, or the writer goes away")
  func empty() throws {
    let folder = try TemporaryFolder()
    #expect(throws: TokenFileError.noTokens(path: folder("train.tokens"))) {
      try pack([[], []], vocabularySize: 5, in: folder)
    }
    do {
      let writer = try TokenFileWriter(
        path: folder("train.tokens"), vocabularySize: 5, fingerprint: fingerprint, endOfText: nil)
      try writer.append([1], textByteCount: 1)
    }
    #expect(folder.contents.isEmpty)
  }
}

@Suite("Hostile token files")
struct HostileTokenFileTests {
  @Test("Every bit of both headers counts")
  func flippedBits() throws {
    let folder = try TemporaryFolder()
    let path = try pack([[1, 2, 3], [4]], vocabularySize: 10, in: folder)
    for (name, length) in [("train.tokens", 128), ("train.tokens.index", 64)] {
      let bytes = try readFile(folder(name))
      for at in 0..<length {
        for bit in 0..<8 {
          var damaged = bytes
          damaged[at] ^= 1 << UInt8(bit)
          try folder.write(damaged, name)
          #expect(throws: TokenFileError.self, "bit \(bit) of byte \(at) of \(name)") {
            try TokenFile(path: path)
          }
        }
      }
      try folder.write(bytes, name)
    }
    _ = try TokenFile(path: path)
  }

  @Test("A file cut or lengthened anywhere is refused")
  func cut() throws {
    let folder = try TemporaryFolder()
    let path = try pack([[1, 2, 3], [4]], vocabularySize: 10, in: folder)
    for name in ["train.tokens", "train.tokens.index"] {
      let bytes = try readFile(folder(name))
      for count in 0..<bytes.count {
        try folder.write(Array(bytes[..<count]), name)
        #expect(throws: TokenFileError.self, "\(name) cut at \(count)") { try TokenFile(path: path) }
      }
      for extra in [1, 2, 8] {
        try folder.write(bytes + [UInt8](repeating: 0, count: extra), name)
        #expect(throws: TokenFileError.self, "\(extra) bytes behind \(name)") { try TokenFile(path: path) }
      }
      try folder.write(bytes, name)
    }
  }

  /// Replaces fields of the header and makes its checksum right again.
  private func forge(_ bytes: [UInt8], _ changes: [(Int, UInt64, Int)], end: Int = 120) -> [UInt8] {
    var forged = bytes
    for (offset, value, width) in changes {
      for byte in 0..<width { forged[offset + byte] = UInt8(truncatingIfNeeded: value >> UInt64(8 * byte)) }
    }
    let hash = forged[..<end].withUnsafeBytes { ContentHash.of($0) }
    for byte in 0..<8 { forged[end + byte] = UInt8(truncatingIfNeeded: hash >> UInt64(8 * byte)) }
    return forged
  }

  @Test("A header that lies with a right checksum is refused")
  func lies() throws {
    let folder = try TemporaryFolder()
    let path = try pack([[1, 2, 3], [4]], vocabularySize: 10, endOfText: 9, in: folder)
    let bytes = try readFile(path)
    let lies: [(Int, UInt64, Int)] = [
      (8, 2, 4), (12, 0, 4), (12, 1, 4), (12, 4, 4), (12, 0xFFFF_FFFF, 4), (16, 0, 8), (16, 3, 8), (16, 5, 8),
      (16, .max, 8), (16, 1 << 63, 8), (16, UInt64(Int.max), 8), (24, 5, 8), (24, .max, 8), (24, 1, 8),
      (32, 0, 4), (32, 65_537, 4), (32, 0xFFFF_FFFF, 4), (36, 10, 4), (72, .max, 8), (80, 1, 8),
    ]
    for lie in lies {
      try folder.write(forge(bytes, [lie]), "train.tokens")
      #expect(throws: TokenFileError.self, "\(lie)") { try TokenFile(path: path) }
    }
    try folder.write(bytes, "train.tokens")
    let index = try readFile(path + ".index")
    for start: UInt64 in [0, 4, 5, .max, 1 << 63] {
      var damaged = index
      for byte in 0..<8 { damaged[72 + byte] = UInt8(truncatingIfNeeded: start >> UInt64(8 * byte)) }
      try folder.write(damaged, "train.tokens.index")
      #expect(throws: TokenFileError.self, "document 1 at \(start)") { try TokenFile(path: path) }
    }
    for lie: (Int, UInt64, Int) in [(16, 1, 8), (16, 3, 8), (16, .max, 8), (24, 9, 8), (32, 9, 8), (8, 7, 4)]
    {
      try folder.write(forge(index, [lie], end: 56), "train.tokens.index")
      #expect(throws: TokenFileError.self, "\(lie) in the index") { try TokenFile(path: path) }
    }
  }

  @Test("A token beyond the vocabulary is found where it is read, and by validation")
  func largeToken() throws {
    let folder = try TemporaryFolder()
    let path = try pack([[1, 2, 3], [4]], vocabularySize: 10, in: folder)
    var bytes = try readFile(path)
    bytes[128 + 4] = 10
    try folder.write(bytes, "train.tokens")
    let file = try TokenFile(path: path)
    let error = TokenFileError.token(path: path, position: 2, id: 10, vocabularySize: 10)
    #expect(try file.tokens(at: 0, count: 2) == [1, 2])
    #expect(throws: error) { try file.tokens(at: 1, count: 3) }
    #expect(throws: error) { try file.validate() }
    let buffer = UnsafeMutableBufferPointer<Int32>.allocate(capacity: 2)
    defer { buffer.deallocate() }
    #expect(throws: error) { try file.copyTokens(at: 2, into: buffer) }
    bytes[128 + 4] = 9
    try folder.write(bytes, "train.tokens")
    #expect(
      throws: TokenFileError.damaged(
        path: path, field: "tokens", reason: "do not match their checksum")
    ) { try TokenFile(path: path).validate() }
  }

  @Test("A missing index is named")
  func missingIndex() throws {
    let folder = try TemporaryFolder()
    let path = try pack([[1]], vocabularySize: 2, in: folder)
    try folder.write([], "train.tokens.index")
    #expect(throws: TokenFileError.self) { try TokenFile(path: path) }
    #expect(throws: FileError.missing(path: folder("absent"))) { try TokenFile(path: folder("absent")) }
    #expect(throws: FileError.isDirectory(path: folder.path)) { try TokenFile(path: folder.path) }
  }
}
