import Checkpoints
import Corpora
import Kernels
import Tokenizers

/// A long sequence of tokens to train or validate on: a token file, or a text that was tokenised in memory.
package struct TokenSequence: Sendable {
  private enum Storage: Sendable {
    case file(TokenFile, Range<Int>)
    case memory(ArraySlice<Int32>)
  }

  /// What messages call it.
  package let path: String
  private let storage: Storage

  /// Opens a token file.
  package init(_ file: TokenFile) {
    path = file.path
    storage = .file(file, 0..<file.count)
  }

  /// Takes tokens in memory.
  package init(_ tokens: ArraySlice<Int32>, path: String) {
    self.path = path
    storage = .memory(tokens)
  }

  /// Tokens.
  package var count: Int {
    switch storage {
    case .file(_, let range): range.count
    case .memory(let tokens): tokens.count
    }
  }

  /// Consecutive tokens.
  ///
  /// - Throws: `TokenFileError` for a file that is damaged there.
  package func tokens(at start: Int, count: Int) throws -> [Int] {
    switch storage {
    case .file(let file, let range): return try file.tokens(at: range.lowerBound + start, count: count)
    case .memory(let tokens):
      let first = tokens.startIndex + start
      return tokens[first..<first + count].map { Int($0) }
    }
  }

  /// The beginning and the rest; the rest is a share of the whole.
  package func split(fraction: Double) -> (TokenSequence, TokenSequence) {
    let place = min(count, max(0, Int(Double(count) * (1 - fraction))))
    return (part(0..<place), part(place..<count))
  }

  private init(path: String, storage: Storage) {
    self.path = path
    self.storage = storage
  }

  private func part(_ range: Range<Int>) -> TokenSequence {
    switch storage {
    case .file(let file, let whole):
      TokenSequence(
        path: path,
        storage: .file(file, whole.lowerBound + range.lowerBound..<whole.lowerBound + range.upperBound))
    case .memory(let tokens):
      TokenSequence(
        path: path,
        storage: .memory(tokens[tokens.startIndex + range.lowerBound..<tokens.startIndex + range.upperBound]))
    }
  }
}

/// Which blocks of a sequence a step sees: a function of seed and step, so that a resumed run goes on where it was.
package struct BlockSampler: Sendable {
  private let data: TokenSequence
  private let settings: TrainingSettings
  private let blockCount: Int

  /// Prepares.
  ///
  /// - Throws: `TrainingError.data` when there is not one block.
  package init(_ data: TokenSequence, _ settings: TrainingSettings) throws {
    guard data.count > settings.blockSize else {
      throw TrainingError.data(
        path: data.path,
        reason: "holds \(data.count) tokens, fewer than the \(settings.blockSize + 1) of one block; "
          + "lower block_size or give more text")
    }
    self.data = data
    self.settings = settings
    blockCount = (data.count - 1) / settings.blockSize
  }

  /// The batch of one pass.
  ///
  /// - Parameters:
  ///   - step: from 0.
  ///   - pass: which of the step's.
  package func batch(step: Int, pass: Int) throws -> TokenBatch {
    let first = (step * settings.gradAccumulationSteps + pass) * settings.batchSize
    return TokenBatch(
      sequences: try (first..<first + settings.batchSize).map {
        try data.tokens(at: start(of: $0), count: settings.blockSize + 1)
      })
  }

  /// Where the n-th block of the run begins.
  func start(of number: Int) -> Int {
    switch settings.order {
    case .random:
      let stream = PhiloxStream(seed: UInt64(settings.seed), step: -2, site: 0)
      let words = stream.words(UInt64(number))
      let places = UInt64(data.count - settings.blockSize)
      return Int((UInt64(words[0]) << 32 | UInt64(words[1])).multipliedFullWidth(by: places).high)
    case .shuffled:
      let (epoch, index) = number.quotientAndRemainder(dividingBy: blockCount)
      let stream = PhiloxStream(
        seed: UInt64(settings.seed), step: -3, site: UInt32(truncatingIfNeeded: epoch))
      // Blocks begin at another place each time, so that their edges fall elsewhere.
      let slack = UInt64(data.count - 1 - blockCount * settings.blockSize + 1)
      let offset = Int(UInt64(stream.words(.max)[0]) % slack)
      return offset + permuted(index, stream) * settings.blockSize
    }
  }

  /// A place in a random order of all blocks: a Feistel network over the next power of four, walked until it is one.
  private func permuted(_ index: Int, _ stream: PhiloxStream) -> Int {
    var bits = 1
    while 1 << (2 * bits) < blockCount { bits += 1 }
    let mask = UInt32(truncatingIfNeeded: 1 << bits - 1)
    var value = index
    repeat {
      var (left, right) = (
        UInt32(truncatingIfNeeded: value >> bits), UInt32(truncatingIfNeeded: value) & mask
      )
      for round in 0..<4 {
        let word = stream.words(UInt64(round) << 32 | UInt64(right))[0]
        (left, right) = (right, (left ^ word) & mask)
      }
      value = Int(left) << bits | Int(right)
    } while value >= blockCount
    return value
  }
}

extension TokenSequence {
  /// Blocks that follow one another, spread over the whole sequence when not all are wanted.
  ///
  /// - Parameter batches: how many batches; 0 for all.
  func validationBatches(_ settings: TrainingSettings, batches: Int) -> [[Range<Int>]] {
    guard count > 1 else { return [] }
    let size = settings.blockSize
    var blocks = stride(from: 0, to: count - 1, by: size).map { $0..<min($0 + size + 1, count) }
    let wanted = batches * settings.batchSize
    if batches > 0, blocks.count > wanted {
      blocks = (0..<wanted).map { blocks[$0 * blocks.count / wanted] }
    }
    return stride(from: 0, to: blocks.count, by: settings.batchSize).map {
      Array(blocks[$0..<min($0 + settings.batchSize, blocks.count)])
    }
  }
}
