import Checkpoints

/// What a `tokenizer.model` of sentencepiece says.
///
/// - SeeAlso: `sentencepiece_model.proto`.
struct SentencePieceFile {
  /// How a text is cut; the raw values are those of the file.
  enum Algorithm: Int {
    case unigram = 1
    case bytePairs
    case words
    case characters
  }

  /// What a piece is for; the raw values are those of the file and of GGUF's token types.
  enum Kind: UInt8 {
    case normal = 1
    case unknown
    case control
    case userDefined
    case unused
    case byte
  }

  /// One entry of the vocabulary; its place in the list is its id.
  struct Piece {
    var text = ""
    var score: Float = 0
    var kind = Kind.normal
  }

  /// How a text is normalised.
  struct Normalization {
    var charsmap: [UInt8] = []
    var addsDummyPrefix = true
    var removesExtraWhitespace = true
    var escapesWhitespace = true
  }

  let path: String
  private(set) var pieces: [Piece] = []
  private(set) var algorithm = Algorithm.unigram
  private(set) var treatsWhitespaceAsSuffix = false
  private(set) var fallsBackToBytes = false
  private(set) var unknownPiece = "<unk>"
  private(set) var beginPiece = "<s>"
  private(set) var endPiece = "</s>"
  private(set) var paddingPiece = "<pad>"
  private(set) var unknownSurface = " \u{2047} "
  private(set) var normalization = Normalization()

  /// Longer pieces are refused, as by sentencepiece.
  private static let maximumPiece = 8000

  /// Reads and checks a file.
  ///
  /// - Throws: `TokenizerError` for a file that is no sentencepiece model or that sentencepiece would refuse;
  ///   `FileError` for one that cannot be read.
  init(_ path: String) throws {
    self.path = path
    let bytes = try readFile(path, acceptingPipes: false)
    try bytes.withUnsafeBytes { try read(ProtobufReader($0, file: path)) }
    try check()
  }

  private func malformed(_ field: String, _ reason: String) -> TokenizerError {
    .malformed(file: path, field: field, reason: reason)
  }

  // MARK: Reading

  private mutating func read(_ message: ProtobufReader) throws {
    var message = message
    while let (field, value) = try message.next() {
      guard case .bytes(let range) = value else { continue }
      let part = ProtobufReader(message.bytes, range, file: path)
      switch field {
      case 1: pieces.append(try piece(part))
      case 2: try readTrainer(part)
      case 3: try readNormalization(part)
      case 5:
        var denormalization = part
        while let (field, value) = try denormalization.next() {
          if field == 2, case .bytes(let range) = value, !range.isEmpty {
            throw TokenizerError.unsupported(
              file: path, part: "denormalizer_spec", type: "precompiled_charsmap")
          }
        }
      default: break
      }
    }
  }

  private func text(_ message: ProtobufReader, _ range: Range<Int>, _ field: String) throws -> String {
    let bytes = UnsafeRawBufferPointer(rebasing: message.bytes[range]).bindMemory(to: UInt8.self)
    if UTF8Bytes.firstInvalidByte(bytes) != nil { throw malformed(field, "is not UTF-8") }
    return String(decoding: bytes, as: UTF8.self)
  }

  private func piece(_ message: ProtobufReader) throws -> Piece {
    var message = message
    var piece = Piece()
    let name = "pieces[\(pieces.count)]"
    while let (field, value) = try message.next() {
      switch (field, value) {
      case (1, .bytes(let range)):
        guard range.count < SentencePieceFile.maximumPiece else {
          throw malformed(name, "has a text of \(range.count) bytes; fewer than 8000 are allowed")
        }
        piece.text = try text(message, range, name)
      case (2, .fixed32(let bits)): piece.score = Float(bitPattern: bits)
      case (3, .number(let number)):
        // An unknown kind counts as none, as protobuf has it.
        piece.kind = UInt8(exactly: number).flatMap { Kind(rawValue: $0) } ?? piece.kind
      default: break
      }
    }
    return piece
  }

  private mutating func readTrainer(_ message: ProtobufReader) throws {
    var message = message
    while let (field, value) = try message.next() {
      switch (field, value) {
      case (3, .number(let number)):
        algorithm = Int(exactly: number).flatMap { Algorithm(rawValue: $0) } ?? algorithm
      case (24, .number(let number)): treatsWhitespaceAsSuffix = number != 0
      case (35, .number(let number)): fallsBackToBytes = number != 0
      case (44, .bytes(let range)): unknownSurface = try text(message, range, "trainer_spec.unk_surface")
      case (45, .bytes(let range)): unknownPiece = try text(message, range, "trainer_spec.unk_piece")
      case (46, .bytes(let range)): beginPiece = try text(message, range, "trainer_spec.bos_piece")
      case (47, .bytes(let range)): endPiece = try text(message, range, "trainer_spec.eos_piece")
      case (48, .bytes(let range)): paddingPiece = try text(message, range, "trainer_spec.pad_piece")
      default: break
      }
    }
  }

  private mutating func readNormalization(_ message: ProtobufReader) throws {
    var message = message
    while let (field, value) = try message.next() {
      switch (field, value) {
      case (2, .bytes(let range)): normalization.charsmap = Array(message.bytes[range])
      case (3, .number(let number)): normalization.addsDummyPrefix = number != 0
      case (4, .number(let number)): normalization.removesExtraWhitespace = number != 0
      case (5, .number(let number)): normalization.escapesWhitespace = number != 0
      default: break
      }
    }
  }

  // MARK: Checks

  private mutating func check() throws {
    guard !pieces.isEmpty else {
      throw malformed("pieces", "is empty; this is no sentencepiece model")
    }
    guard pieces.count < Int(Int32.max) else { throw malformed("pieces", "has more than 2³¹ entries") }
    let known = StringTable(capacity: pieces.count, bytes: 8 * pieces.count)
    let reserved = StringTable(capacity: 512)
    var bytesFound = [Bool](repeating: false, count: 256)
    var unknowns = 0
    for index in pieces.indices {
      let name = "pieces[\(index)]"
      if pieces[index].text == "\0" {
        // Some converters write such a piece beside <0x00>; it is not used.
        if fallsBackToBytes { pieces[index].kind = .unused }
        if pieces[index].kind == .unused { continue }
      }
      var piece = pieces[index]
      guard !piece.text.isEmpty else { throw malformed(name, "is empty") }
      guard !piece.text.utf8.contains(0) else { throw malformed(name, "has a null character in its text") }
      guard piece.score.isFinite else { throw malformed(name, "has the score \(piece.score)") }
      let isReserved = [.unknown, .control, .byte].contains(piece.kind) && algorithm != .bytePairs
      let table = isReserved ? reserved : known
      guard piece.text.withUTF8({ table.insert($0, 0) }) == nil else {
        throw malformed(name, "has the text \(piece.text) of an earlier piece")
      }
      switch piece.kind {
      case .unknown: unknowns += 1
      case .byte:
        guard fallsBackToBytes else {
          throw malformed(name, "is a byte, but trainer_spec.byte_fallback is false")
        }
        guard let byte = SentencePieceFile.byte(of: piece.text) else {
          throw malformed(name, "is a byte, but its text \(piece.text) is none of <0x00> to <0xFF>")
        }
        bytesFound[Int(byte)] = true
      default: break
      }
    }
    guard unknowns <= 1 else {
      throw malformed("pieces", "has \(unknowns) pieces of the kind UNKNOWN; one is allowed")
    }
    guard unknowns == 1 || fallsBackToBytes else {
      throw malformed("pieces", "has no piece of the kind UNKNOWN")
    }
    if fallsBackToBytes, let byte = bytesFound.firstIndex(of: false) {
      throw malformed("pieces", "lacks the byte \(byte), but trainer_spec.byte_fallback is true")
    }
  }

  /// The byte that a text such as `<0xE4>` stands for, in exactly this spelling.
  static func byte(of text: String) -> UInt8? {
    let bytes = Array(text.utf8)
    guard bytes.count == 6, bytes.starts(with: "<0x".utf8), bytes[5] == UInt8(ascii: ">") else { return nil }
    func digit(_ byte: UInt8) -> UInt8? {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - UInt8(ascii: "0")
      case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - UInt8(ascii: "A") + 10
      default: nil
      }
    }
    guard let high = digit(bytes[3]), let low = digit(bytes[4]) else { return nil }
    return high << 4 | low
  }
}
