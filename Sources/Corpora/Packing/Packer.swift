import Checkpoints
import Kernels
import Tokenizers

#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Turns documents into token files: one for training, one for validation.
///
/// Documents are tokenised by all threads and written in order, so that the files do not depend on the number of
/// threads. Nothing is at the paths until `finish()`.
public final class Packer {
  private let tokenizer: Tokenizer
  private let configuration: PackConfiguration
  private let pool: WorkerPool
  private let training: TokenFileWriter
  private let validation: TokenFileWriter?
  /// Characters before the cut of `.tail`.
  private var charactersLeft: Int
  private let charactersExpected: Int
  private var characterCount = 0
  private let paths: (training: String, validation: String)

  /// What was packed so far.
  public private(set) var report = PackReport()

  /// Opens the files.
  ///
  /// - Parameters:
  ///   - trainingPath: the token file for training.
  ///   - validationPath: the one for validation. When nothing is kept back, it is removed.
  ///   - characters: of the whole text, which `.tail` must know beforehand (`Packer.countCharacters`).
  /// - Throws: `FileError`.
  public init(
    tokenizer: Tokenizer, _ configuration: PackConfiguration, trainingPath: String, validationPath: String,
    characters: Int? = nil, pool: WorkerPool
  ) throws {
    let fraction = configuration.validationFraction
    precondition(fraction >= 0 && fraction < 1, "a validation fraction of \(fraction)")
    precondition(
      configuration.split == .hash || fraction == 0 || characters != nil, "tail of an unknown text")
    self.tokenizer = tokenizer
    self.configuration = configuration
    self.pool = pool
    let fingerprint = tokenizer.fingerprint()
    func writer(_ path: String) throws -> TokenFileWriter {
      try TokenFileWriter(
        path: path, vocabularySize: tokenizer.vocabularySize, fingerprint: fingerprint,
        endOfText: configuration.endOfText)
    }
    training = try writer(trainingPath)
    validation = fraction > 0 ? try writer(validationPath) : nil
    charactersExpected = characters ?? 0
    charactersLeft = Int((Double(characters ?? 0) * (1 - fraction)).rounded(.down))
    paths = (trainingPath, validationPath)
  }

  /// The characters (Unicode scalars) of documents, for `.tail`.
  ///
  /// - Throws: `CorpusError.invalidUTF8`.
  public static func countCharacters(of batch: DocumentBatch, pool: WorkerPool) throws -> Int {
    try pool.map(batch.documents.count) { index in
      try batch.check(index)
      return batch.withDocument(index) { bytes in bytes.reduce(0) { $0 + ($1 & 0xC0 == 0x80 ? 0 : 1) } }
    }.reduce(0, +)
  }

  /// Tokenises and writes documents.
  ///
  /// - Throws: `CorpusError.invalidUTF8` naming the document, `TokenizerError`, or `FileError` for a full disk.
  public func add(_ batch: DocumentBatch) throws {
    var pieces = batch.documents.indices.map { (document: $0, range: batch.documents[$0], isTraining: true) }
    if validation != nil {
      switch configuration.split {
      case .hash:
        for index in pieces.indices { pieces[index].isTraining = !isHeldBack(batch, pieces[index].document) }
      case .tail: pieces = try cutTail(batch)
      }
    }
    let endOfText = configuration.endOfText.map { UInt32($0) }
    let encoded = try pool.map(pieces.count) { [tokenizer] index in
      let piece = pieces[index]
      return try batch.bytes.withUnsafeBufferPointer { bytes in
        do {
          var tokens = try tokenizer.encode(
            utf8: UnsafeBufferPointer(rebasing: bytes[piece.range]), addSpecialTokens: false
          ).map { UInt32(truncatingIfNeeded: $0) }
          if let endOfText { tokens.append(endOfText) }
          return tokens
        } catch TokenizerError.invalidUTF8(let offset) {
          throw CorpusError.invalidUTF8(path: batch.path, line: batch.lines[piece.document], offset: offset)
        } catch TokenizerError.unencodable(let reason) {
          throw CorpusError.line(
            path: batch.path, line: batch.lines[piece.document], reason: "cannot be encoded: \(reason)")
        }
      }
    }
    for (piece, tokens) in zip(pieces, encoded) {
      if !piece.isTraining, let validation {
        try validation.append(tokens, textByteCount: piece.range.count)
        report.validation.note(tokens.count, piece.range.count)
      } else {
        try training.append(tokens, textByteCount: piece.range.count)
        report.training.note(tokens.count, piece.range.count)
      }
    }
  }

  /// Puts the files under their names.
  ///
  /// - Throws: `CorpusError.empty` when no document came, `PackError.emptySplit`, or `FileError`.
  public func finish() throws {
    let documents = report.training.documents + report.validation.documents
    if configuration.split == .tail, validation != nil, characterCount != charactersExpected {
      throw PackError.changed
    }
    if documents > 0 {
      let fraction = configuration.validationFraction
      if report.training.tokens == 0 {
        throw PackError.emptySplit(training: true, documents: documents, fraction: fraction)
      }
      if validation != nil, report.validation.tokens == 0, configuration.requiresValidation {
        throw PackError.emptySplit(training: false, documents: documents, fraction: fraction)
      }
    }
    // All bytes before the first name: a full disk leaves neither file.
    let keepsValidation = report.validation.tokens > 0
    try training.complete()
    if keepsValidation { try validation?.complete() }
    if keepsValidation {
      try validation?.finish()
    } else {
      // Of an earlier run: beside the new training file it would be taken for the documents kept back from that.
      for path in [paths.validation, paths.validation + TokenFile.indexSuffix] { unlink(path) }
    }
    try training.finish()
  }

  private func isHeldBack(_ batch: DocumentBatch, _ index: Int) -> Bool {
    let hash = batch.withDocument(index) { ContentHash.of(UnsafeRawBufferPointer($0), seed: 0x5EED) }
    // The upper 53 bits, which a Double holds exactly.
    return Double(hash >> 11) < configuration.validationFraction * Double(1 << 53 as UInt64)
  }

  /// The documents before the cut, those after it, and the two parts of the one in which it falls.
  private func cutTail(
    _ batch: DocumentBatch
  ) throws -> [(document: Int, range: Range<Int>, isTraining: Bool)] {
    var pieces: [(document: Int, range: Range<Int>, isTraining: Bool)] = []
    for (index, range) in batch.documents.enumerated() {
      try batch.check(index)
      var cut = range.lowerBound
      batch.bytes.withUnsafeBufferPointer { bytes in
        for at in range where bytes[at] & 0xC0 != 0x80 {
          characterCount += 1
          if charactersLeft > 0 {
            charactersLeft -= 1
            cut = at + 1
          }
        }
        // The rest of the last character before the cut.
        while cut > range.lowerBound, cut < range.upperBound, bytes[cut] & 0xC0 == 0x80 { cut += 1 }
      }
      if cut > range.lowerBound { pieces.append((index, range.lowerBound..<cut, true)) }
      if cut < range.upperBound { pieces.append((index, cut..<range.upperBound, false)) }
    }
    return pieces
  }
}

extension PackReport.Part {
  fileprivate mutating func note(_ tokens: Int, _ bytes: Int) {
    documents += 1
    self.tokens += tokens
    self.bytes += bytes
  }
}
