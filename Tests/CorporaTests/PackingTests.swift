import Checkpoints
import Foundation
import JSON
import Kernels
import Testing
import Tokenizers
import _TestSupport

@testable import Corpora

/// A tokenizer learned from the fixture's text.
private func tokenizer(_ model: TokenizerTrainingConfiguration.Model = .bytePairs, in folder: TemporaryFolder)
  throws
  -> Tokenizer
{
  var configuration = TokenizerTrainingConfiguration(model: model)
  configuration.vocabularySize = 500
  let trainer = try TokenizerTrainer(configuration, pool: CorpusFixtures.pool)
  try CorpusFixtures.text.withUnsafeBufferPointer { try trainer.add($0, sequences: [0..<$0.count]) }
  try trainer.train().write(to: folder("tokenizer"))
  return try Tokenizer.load(from: folder("tokenizer"))
}

private func pack(
  _ documents: [String], _ configuration: PackConfiguration, _ tokenizer: Tokenizer,
  in folder: TemporaryFolder,
  threads: Int = 2, characters: Int? = nil
) throws -> (training: TokenFile, validation: TokenFile?, report: PackReport) {
  let packer = try Packer(
    tokenizer: tokenizer, configuration, trainingPath: folder("t"), validationPath: folder("v"),
    characters: characters, pool: WorkerPool(threadCount: threads))
  // In two batches.
  try packer.add(batch(Array(documents[..<(documents.count / 2)])))
  try packer.add(batch(Array(documents[(documents.count / 2)...])))
  try packer.finish()
  return (
    try TokenFile(path: folder("t")),
    configuration.validationFraction > 0 ? try TokenFile(path: folder("v")) : nil, packer.report
  )
}

/// The texts of a file's documents.
private func texts(_ file: TokenFile?, _ tokenizer: Tokenizer) throws -> [String] {
  guard let file else { return [] }
  let starts = Array(file.documentStarts) + [file.count]
  return try zip(starts, starts.dropFirst()).map { start, end in
    var tokens = try file.tokens(at: start, count: end - start)
    if let endOfText = file.endOfText { #expect(tokens.removeLast() == endOfText) }
    return tokenizer.decode(tokens, skipSpecialTokens: false)
  }
}

@Suite("Packing")
struct PackingTests {
  private let documents: [String] = CorpusFixtures.deduplication["documents"]!.array!.map { $0.string! }

  @Test("Every document is in one file, whole, and ends with the token")
  func documentsAreKept() throws {
    let folder = try TemporaryFolder()
    let tokenizer = try tokenizer(in: folder)
    var configuration = PackConfiguration()
    configuration.validationFraction = 0.3
    configuration.endOfText = tokenizer.endOfSequence
    #expect(configuration.endOfText == 0)
    let packed = try pack(documents, configuration, tokenizer, in: folder)
    let (training, validation) = (
      try texts(packed.training, tokenizer), try texts(packed.validation, tokenizer)
    )
    #expect((training + validation).sorted() == documents.sorted())
    // Each in the order of the text.
    #expect(training == documents.filter(Set(training).contains))
    #expect(Set(training).isDisjoint(with: validation))
    #expect((0.1...0.5).contains(Double(validation.count) / Double(documents.count)))
    #expect(packed.report.training.tokens == packed.training.count)
    #expect(packed.report.validation.documents == validation.count)
    #expect(packed.training.textByteCount == training.reduce(0) { $0 + $1.utf8.count })
    #expect(packed.training.vocabularySize == 500)
    try packed.training.check(tokenizerFingerprint: tokenizer.fingerprint())
    try packed.training.validate()
    try packed.validation?.validate()
    #expect(tokenizer.fingerprint() != (try self.tokenizerOfCharacters(in: folder)).fingerprint())
  }

  private func tokenizerOfCharacters(in folder: TemporaryFolder) throws -> Tokenizer {
    try tokenizer(.characters, in: folder)
  }

  @Test("The split hangs on the document alone, and the files not on threads")
  func split() throws {
    let folder = try TemporaryFolder()
    let tokenizer = try tokenizer(in: folder)
    var configuration = PackConfiguration()
    configuration.validationFraction = 0.3
    let first = Set(
      try texts(try pack(documents, configuration, tokenizer, in: folder).validation, tokenizer))
    let bytes = try readFile(folder("t"))
    let again = try pack(documents, configuration, tokenizer, in: folder, threads: 1)
    #expect(try readFile(folder("t")) == bytes)
    #expect(Set(try texts(again.validation, tokenizer)) == first)
    let half = Array(documents.reversed().prefix(60))
    let other = try pack(half, configuration, tokenizer, in: folder)
    #expect(Set(try texts(other.validation, tokenizer)) == first.intersection(half))
    // A larger fraction keeps what a smaller one kept.
    configuration.validationFraction = 0.6
    let larger = try pack(documents, configuration, tokenizer, in: folder)
    #expect(Set(try texts(larger.validation, tokenizer)).isSuperset(of: first))
  }

  @Test("The tail of the text, cut between characters, for any fraction")
  func tail() throws {
    let folder = try TemporaryFolder()
    let tokenizer = try tokenizer(in: folder)
    let documents = ["人工智能 abc", "e\u{301}xyz", "第二", "😀😀 end of all this text"]
    let scalars = documents.flatMap { Array($0.unicodeScalars) }
    for fraction in [0.001, 0.1, 0.25, 0.5, 0.9, 0.97] {
      var configuration = PackConfiguration()
      configuration.split = .tail
      configuration.validationFraction = fraction
      let count = try Packer.countCharacters(of: batch(documents), pool: CorpusFixtures.pool)
      #expect(count == scalars.count)
      let cut = Int(Double(count) * (1 - fraction))
      let packed = try pack(documents, configuration, tokenizer, in: folder, characters: count)
      let (training, validation) = (
        try texts(packed.training, tokenizer), try texts(packed.validation, tokenizer)
      )
      #expect(training.joined().unicodeScalars.elementsEqual(scalars[..<cut]), "\(fraction)")
      #expect(validation.joined().unicodeScalars.elementsEqual(scalars[cut...]), "\(fraction)")
      #expect(throws: PackError.changed) {
        _ = try pack(documents, configuration, tokenizer, in: folder, characters: count + 1)
      }
    }
  }

  @Test("An empty side and damaged text are errors that leave nothing behind")
  func faults() throws {
    let folder = try TemporaryFolder()
    let tokenizer = try tokenizer(in: folder)
    var configuration = PackConfiguration()
    configuration.validationFraction = 1e-9
    #expect(throws: PackError.emptySplit(training: false, documents: documents.count, fraction: 1e-9)) {
      _ = try pack(documents, configuration, tokenizer, in: folder)
    }
    // Where it is no error, what an earlier run kept back goes away.
    try folder.write("old", "v")
    try folder.write("old", "v.index")
    configuration.requiresValidation = false
    let packer = try Packer(
      tokenizer: tokenizer, configuration, trainingPath: folder("t"), validationPath: folder("v"),
      pool: CorpusFixtures.pool)
    try packer.add(batch(documents))
    try packer.finish()
    #expect(!folder.contents.contains("v") && !folder.contents.contains("v.index"))
    #expect(try TokenFile(path: folder("t")).documentStarts.count == documents.count)
    for name in ["t", "t.index"] { unlink(folder(name)) }
    configuration.validationFraction = 0.999_999
    #expect(throws: PackError.emptySplit(training: true, documents: documents.count, fraction: 0.999_999)) {
      _ = try pack(documents, configuration, tokenizer, in: folder)
    }
    let other = try Packer(
      tokenizer: tokenizer, PackConfiguration(), trainingPath: folder("t"), validationPath: folder("v"),
      pool: CorpusFixtures.pool)
    #expect(throws: CorpusError.invalidUTF8(path: "memory", line: 3, offset: 2)) {
      try other.add(batch([[97], [98], [99, 100, 0xE4], [0xFF]]))
    }
    let characters = try Packer(
      tokenizer: try tokenizerOfCharacters(in: folder), PackConfiguration(), trainingPath: folder("t"),
      validationPath: folder("v"), pool: CorpusFixtures.pool)
    #expect(throws: CorpusError.self) { try characters.add(batch(["a", "Ω not in the vocabulary"])) }
    #expect(!folder.contents.contains("t") && !folder.contents.contains("v"))
  }
}
