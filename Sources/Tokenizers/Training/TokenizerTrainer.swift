import JSON
import Kernels
import Synchronization

/// Learns a tokenizer from text.
///
/// First the text, in any number of pieces: `add` counts its words and keeps nothing else, so that memory grows with
/// the distinct words. Then `train`.
///
/// The result is the one of `tokenizers` 0.23 (`BpeTrainer` with `ByteLevel`), byte for byte, and does not depend on
/// the number of threads or on the order of the text.
public final class TokenizerTrainer {
  /// What is being done, for a progress line.
  public enum Stage: Sendable {
    /// Tokens so far and in the end.
    case merging(tokens: Int, of: Int)
  }

  private let configuration: TokenizerTrainingConfiguration
  private let pool: WorkerPool
  private let words: WordCounter

  /// Prepares for text.
  ///
  /// - Throws: `TokenizerTrainingError` for settings that make no sense, `TokenizerError.pattern` for a regular
  ///   expression that cannot be used.
  public init(_ configuration: TokenizerTrainingConfiguration, pool: WorkerPool) throws {
    try configuration.check()
    self.configuration = configuration
    self.pool = pool
    words = try WordCounter(configuration, threadCount: pool.threadCount)
  }

  /// Bytes of text so far.
  public private(set) var byteCount = 0

  /// Counts the words of sequences; no word reaches from one into the next.
  ///
  /// To learn what `Tokenizer.train(files)` of `tokenizers` learns, a sequence is a line with its line feed; for
  /// `train_from_iterator`, an item.
  ///
  /// - Parameters:
  ///   - text: UTF-8; checked.
  ///   - sequences: ranges of the text.
  /// - Throws: `TokenizerError.invalidUTF8` with an offset into the text, or an error of the regular expression.
  public func add(_ text: UnsafeBufferPointer<UInt8>, sequences: [Range<Int>]) throws {
    try words.add(text, sequences, pool)
    for sequence in sequences { byteCount += sequence.count }
  }

  /// Learns from the words counted so far; afterwards there are none.
  ///
  /// - Parameter progress: told about every 64 merges; false ends the training.
  /// - Throws: `TokenizerTrainingError`.
  public func train(_ progress: (Stage) -> Bool = { _ in true }) throws -> TrainedTokenizer {
    let table = words.finish()
    guard table.count > 0 else { throw TokenizerTrainingError.noText }
    switch configuration.model {
    case .bytePairs: return try trainBytePairs(table, progress)
    case .wordPiece: return try trainWordPiece(table, progress)
    case .characters: return try trainCharacters(table)
    }
  }

  // MARK: Models

  private func trainBytePairs(
    _ table: WordTable, _ progress: (Stage) -> Bool
  ) throws -> TrainedTokenizer {
    var vocabulary = TrainingVocabulary()
    for token in configuration.specialTokens { _ = vocabulary.add(Array(token.utf8)) }
    let spelled = (0..<256).map { byte in
      var text: [UInt8] = []
      UTF8Bytes.append(ByteAlphabet.codePoints[byte], to: &text)
      return text
    }
    var counts = [UInt32: Int](minimumCapacity: 256)
    for index in 0..<table.count {
      let times = table.entries[index].count
      for byte in table.bytes(index) { counts[ByteAlphabet.codePoints[Int(byte)], default: 0] += times }
    }
    if configuration.includesAllBytes {
      for codePoint in ByteAlphabet.codePoints { counts[codePoint] = .max }
    }
    let kept = Set(TokenizerTrainer.alphabet(counts, limit: configuration.alphabetLimit))
    for codePoint in kept.sorted() {
      var text: [UInt8] = []
      UTF8Bytes.append(codePoint, to: &text)
      _ = vocabulary.add(text)
    }
    // A byte that is a special token's text is that token.
    let none = UInt32.max
    let tokens = (0..<256).map { vocabulary.id(of: spelled[$0]) ?? none }
    let words = tokens.withUnsafeBufferPointer { tokens in
      TrainingWords(table) { bytes, out in
        var count = 0
        for byte in bytes where tokens[Int(byte)] != none {
          out[count] = tokens[Int(byte)]
          count &+= 1
        }
        return count
      }
    }
    // Merging needs the memory.
    table.removeWords()
    return try merge(words, vocabulary, total: table.total, prefix: "", progress)
  }

  /// As `WordPieceTrainer` of `tokenizers`: byte-pair merges of characters, of which those that do not begin a word
  /// are tokens of their own.
  ///
  /// There the order of those tokens, and with it of merges between equals, is another one in every run; here they
  /// are in the order of their code points.
  private func trainWordPiece(
    _ table: WordTable, _ progress: (Stage) -> Bool
  ) throws -> TrainedTokenizer {
    var counts: [UInt32: Int] = [:]
    for index in 0..<table.count {
      let times = table.entries[index].count
      TokenizerTrainer.forEachScalar(of: table.bytes(index)) { value, _ in counts[value, default: 0] += times
      }
    }
    let kept = Set(TokenizerTrainer.alphabet(counts, limit: configuration.alphabetLimit))
    var continuing = Set<UInt32>()
    for index in 0..<table.count {
      TokenizerTrainer.forEachScalar(of: table.bytes(index)) { value, isFirst in
        if !isFirst, kept.contains(value) { continuing.insert(value) }
      }
    }
    var vocabulary = TrainingVocabulary()
    for token in configuration.specialTokens { _ = vocabulary.add(Array(token.utf8)) }
    let prefix = Array(TokenizerTrainer.wordPiecePrefix.utf8)
    var (firstTokens, laterTokens): ([UInt32: UInt32], [UInt32: UInt32]) = ([:], [:])
    func text(_ value: UInt32) -> [UInt8] {
      var text: [UInt8] = []
      UTF8Bytes.append(value, to: &text)
      return text
    }
    for value in kept.sorted() { firstTokens[value] = vocabulary.add(text(value)) }
    for value in continuing.sorted() { laterTokens[value] = vocabulary.add(prefix + text(value)) }
    let words = TrainingWords(table) { bytes, out in
      var count = 0
      TokenizerTrainer.forEachScalar(of: bytes) { value, isFirst in
        if let token = isFirst ? firstTokens[value] : laterTokens[value] {
          out[count] = token
          count += 1
        }
      }
      return count
    }
    var trained = try merge(
      words, vocabulary, total: table.total, prefix: TokenizerTrainer.wordPiecePrefix, progress)
    trained.tokenCount = try wordPieceTokens(of: table, trained)
    return trained
  }

  static let wordPiecePrefix = "##"

  /// Tokens of the text: WordPiece takes the longest tokens first, not the merges in their order.
  private func wordPieceTokens(of table: WordTable, _ trained: TrainedTokenizer) throws -> Int {
    let texts = trained.texts
    let strings = StringTable(capacity: texts.count)
    for (id, text) in texts.enumerated() {
      text.withUnsafeBufferPointer { _ = strings.insert($0, UInt32(id)) }
    }
    let model = WordPiece(
      vocabulary: strings, prefix: TokenizerTrainer.wordPiecePrefix,
      maximumCharacters: TrainedTokenizerDocument.maximumCharacters, unknown: 0, unknownText: "")
    var scratch = ModelScratch()
    var (tokens, count): ([UInt32], Int) = ([], 0)
    for index in 0..<table.count {
      let word = table.bytes(index)
      tokens.removeAll(keepingCapacity: true)
      try model.encode(word.baseAddress!, word.count, into: &tokens, scratch: &scratch)
      count += tokens.count * table.entries[index].count
    }
    return count
  }

  private static func forEachScalar(
    of word: UnsafeBufferPointer<UInt8>, _ body: (UInt32, Bool) -> Void
  ) {
    guard let base = word.baseAddress else { return }
    var at = 0
    while at < word.count {
      let (value, length) = UTF8Bytes.scalar(base, at)
      body(value, at == 0)
      at += length
    }
  }

  private func trainCharacters(_ table: WordTable) throws -> TrainedTokenizer {
    var counts: [UInt32: Int] = [:]
    for index in 0..<table.count {
      let word = table.bytes(index)
      counts[UTF8Bytes.scalar(word.baseAddress!, 0).value] = table.entries[index].count
    }
    counts = counts.filter { $0.value >= configuration.minimumFrequency }
    var vocabulary = TrainingVocabulary()
    for token in configuration.specialTokens { _ = vocabulary.add(Array(token.utf8)) }
    let room = max(0, configuration.vocabularySize - vocabulary.count)
    let limit = min(room, configuration.alphabetLimit ?? .max)
    var tokenCount = 0
    for codePoint in TokenizerTrainer.alphabet(counts, limit: limit).sorted() {
      var text: [UInt8] = []
      UTF8Bytes.append(codePoint, to: &text)
      _ = vocabulary.add(text)
      tokenCount += counts[codePoint] ?? 0
    }
    return TrainedTokenizer(
      configuration, vocabulary: vocabulary, merges: [], byteCount: byteCount, tokenCount: tokenCount)
  }

  private func merge(
    _ words: TrainingWords, _ vocabulary: TrainingVocabulary, total wordCount: Int, prefix: String,
    _ progress: (Stage) -> Bool
  ) throws -> TrainedTokenizer {
    guard vocabulary.count <= configuration.vocabularySize else {
      throw TokenizerTrainingError.vocabularyTooSmall(
        size: configuration.vocabularySize, needed: vocabulary.count)
    }
    let trainer = MergeTrainer(
      words, vocabulary,
      MergeTrainer.Parameters(
        vocabularySize: configuration.vocabularySize, minimumFrequency: configuration.minimumFrequency,
        maximumTokenLength: configuration.maximumTokenLength ?? .max, prefix: Array(prefix.utf8)),
      pool: pool)
    let total = configuration.vocabularySize
    guard trainer.run({ progress(.merging(tokens: $0, of: total)) }) else {
      throw TokenizerTrainingError.interrupted
    }
    var tokenCount = wordCount
    for index in 0..<words.count {
      tokenCount += words.words[index].count * (Int(words.words[index].length) - 1)
    }
    return TrainedTokenizer(
      configuration, vocabulary: trainer.vocabulary, merges: trainer.merges, byteCount: byteCount,
      tokenCount: tokenCount)
  }

  /// The characters to begin with.
  ///
  /// - Parameter limit: how many; of the rarest, those with the largest code points are left out (`tokenizers`
  ///   chooses among equals at random).
  static func alphabet(_ counts: [UInt32: Int], limit: Int?) -> [UInt32] {
    guard let limit, counts.count > limit else { return Array(counts.keys) }
    let ordered = counts.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
    return ordered.prefix(limit).map(\.key)
  }
}

/// Counts words with several threads, each in a table of its own.
private final class WordCounter {
  private var tables: [WordTable]
  private let scratch: [TrainingScratch]
  private let preTokenizer: TrainingPreTokenizer

  init(_ configuration: TokenizerTrainingConfiguration, threadCount: Int) throws {
    tables = (0..<threadCount).map { _ in WordTable() }
    scratch = (0..<threadCount).map { _ in TrainingScratch() }
    preTokenizer = try TrainingPreTokenizer(configuration)
  }

  func add(_ text: UnsafeBufferPointer<UInt8>, _ sequences: [Range<Int>], _ pool: WorkerPool) throws {
    let faults = Mutex<[(sequence: Int, error: any Error)]>([])
    let next = Atomic(0)
    // A thread takes sequences until none is left, so that a long one does not hold up the rest.
    let step = max(1, sequences.count / (64 * tables.count))
    pool.run(tables.count) { thread in
      while true {
        let from = next.add(step, ordering: .relaxed).oldValue
        guard from < sequences.count else { return }
        for index in from..<min(from + step, sequences.count) {
          do {
            let sequence = UnsafeBufferPointer(rebasing: text[sequences[index]])
            if let offset = UTF8Bytes.firstInvalidByte(sequence) {
              throw TokenizerError.invalidUTF8(offset: sequences[index].lowerBound + offset)
            }
            try preTokenizer.count(sequence, in: tables[thread], scratch[thread])
          } catch {
            faults.withLock { $0.append((index, error)) }
            return
          }
        }
      }
    }
    if let fault = faults.withLock({ $0.min { $0.sequence < $1.sequence } }) { throw fault.error }
  }

  /// All words in one table.
  func finish() -> WordTable {
    let whole = tables[0]
    for index in tables.indices.dropFirst() {
      whole.add(tables[index])
      tables[index] = WordTable()
    }
    tables[0] = WordTable()
    return whole
  }
}
