import Checkpoints
import Corpora
import JSON
import Kernels
import Tokenizers

/// What a run learns from, and the tokenizer that goes with it.
package struct TrainingData {
  /// What is trained on.
  package let training: TokenSequence
  /// What is validated on, if anything.
  package let validation: TokenSequence?
  /// Tokens of the vocabulary.
  package let vocabularySize: Int
  /// The tokenizer, unless tokens are used as they are.
  package let tokenizer: Tokenizer?
  /// The files of the tokenizer, by name, to be written beside the model.
  package let tokenizerFiles: [(name: String, contents: [UInt8])]
  /// The token that ends a text, if there is one.
  package let endOfText: Int?

  static let fileNames = [
    "tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "vocab.txt",
    "special_tokens_map.json",
    "added_tokens.json", "tokenizer.model", "chat_template.jinja",
  ]

  /// Opens the data that the settings name.
  ///
  /// - Throws: an error that names the file: `TrainingError`, `TokenFileError`, `TokenizerError` or `FileError`.
  package init(_ settings: TrainingSettings, pool: WorkerPool) throws {
    guard let train = settings.train else {
      throw TrainingError.setting(
        source: "settings", key: "train", reason: "is missing; give a token file of data pack, or a text")
    }
    let texts = try [train, settings.valid].compactMap { $0 }.filter { try !TrainingData.isTokenFile($0) }
    var tokenizer: Tokenizer?
    var files: [(name: String, contents: [UInt8])] = []
    let folder = settings.tokenizer ?? settings.initFrom.flatMap { Tokenizer.exists(in: $0) ? $0 : nil }
    if settings.tokenizer == "characters" {
      guard !texts.isEmpty else {
        throw TrainingError.setting(
          source: "settings", key: "tokenizer",
          reason: "characters are learned from a text; give one as train")
      }
      let trainer = try TokenizerTrainer(TokenizerTrainingConfiguration(model: .characters), pool: pool)
      for path in texts {
        let bytes = try TrainingData.text(path)
        try bytes.withUnsafeBufferPointer { try trainer.add($0, sequences: [0..<bytes.count]) }
      }
      let trained = try trainer.train()
      for (name, document) in [
        ("tokenizer.json", trained.document), ("tokenizer_config.json", trained.configuration),
      ] {
        files.append((name, Array((document.text(.indented) + "\n").utf8)))
      }
      tokenizer = try TrainingData.tokenizer(of: files)
    } else if let folder {
      tokenizer = try Tokenizer.load(from: folder)
      files = try TrainingData.tokenizerFiles(in: folder.hasSuffix("/") ? folder : folder + "/")
    }
    if tokenizer == nil, let path = texts.first {
      throw TrainingError.setting(
        source: "settings", key: "tokenizer",
        reason: "is missing; \(path) is a text: give the folder of a tokenizer, or characters")
    }

    func open(_ path: String) throws -> (TokenSequence, Int, Int?) {
      if try TrainingData.isTokenFile(path) {
        let file = try TokenFile(path: path)
        if let tokenizer { try file.check(tokenizerFingerprint: tokenizer.fingerprint()) }
        return (TokenSequence(file), file.vocabularySize, file.endOfText)
      }
      let tokens = try tokenizer!.encode(utf8: try TrainingData.text(path))
      return (TokenSequence(tokens[...], path: path), tokenizer!.vocabularySize, nil)
    }
    let (first, size, end) = try open(train)
    self.tokenizer = tokenizer
    tokenizerFiles = files
    endOfText = end ?? tokenizer?.endOfSequence
    vocabularySize = max(size, tokenizer?.vocabularySize ?? 0)
    if let valid = settings.valid {
      let (second, otherSize, _) = try open(valid)
      guard otherSize == size else {
        throw TrainingError.data(
          path: valid,
          reason: "has a vocabulary of \(otherSize) tokens, \(train) one of \(size); pack both alike")
      }
      training = first
      validation = second
    } else if settings.validationFraction > 0 {
      let (beginning, rest) = first.split(fraction: settings.validationFraction)
      training = beginning
      validation = rest.count > 1 ? rest : nil
    } else {
      training = first
      validation = nil
    }
  }

  /// The files of a folder that make up its tokenizer, by name.
  static func tokenizerFiles(in base: String) throws -> [(name: String, contents: [UInt8])] {
    try fileNames.filter { fileExists(base + $0) }.map {
      ($0, try readFile(base + $0, acceptingPipes: false))
    }
  }

  /// Whether a file begins as token files do.
  private static func isTokenFile(_ path: String) throws -> Bool {
    if folderExists(path) { throw FileError.isDirectory(path: path) }
    guard fileExists(path) else { throw FileError.missing(path: path) }
    let file: MappedFile
    do throws(FileError) {
      file = try MappedFile(path: path)
    } catch {
      if case .empty = error {
        throw TrainingError.data(path: path, reason: "is empty; give a text that is not")
      }
      throw error
    }
    return withExtendedLifetime(file) {
      file.bytes.starts(with: [0x89, 0x49, 0x4E, 0x4B, 0x54, 0x4F, 0x4B, 0x0A])
    }
  }

  private static func text(_ path: String) throws -> [UInt8] {
    let limit = 256 << 20
    let bytes = try readFile(path)
    guard bytes.count <= limit else {
      throw TrainingError.data(
        path: path,
        reason: "is longer than \(limit >> 20) MB; make a token file of it with inkstone data pack")
    }
    guard bytes.contains(where: { $0 > 32 }) else {
      throw TrainingError.data(path: path, reason: "holds no text; give one that is not empty")
    }
    guard String(validating: bytes, as: UTF8.self) != nil else {
      throw TrainingError.data(path: path, reason: "is not UTF-8 text; run it through inkstone data clean")
    }
    return bytes
  }

  /// A tokenizer whose files are in memory.
  private static func tokenizer(of files: [(name: String, contents: [UInt8])]) throws -> Tokenizer {
    let folder = try TemporaryFolder()
    for file in files {
      try file.contents.withUnsafeBytes { try AtomicFile.write($0, to: folder.path + "/" + file.name) }
    }
    return try Tokenizer.load(from: folder.path)
  }
}

extension Tokenizer {
  /// The tokens of a text, line after line: cuts at line ends keep memory small.
  func encode(utf8 bytes: [UInt8]) throws -> [Int32] {
    var tokens: [Int32] = []
    try bytes.withUnsafeBufferPointer { bytes in
      for id in try encode(utf8: bytes, addSpecialTokens: false) {
        tokens.append(Int32(truncatingIfNeeded: id))
      }
    }
    return tokens
  }
}
