import Kernels

/// The distinct words of a text as tokens that training merges.
final class TrainingWords: @unchecked Sendable {
  // Safe: the threads of a merge step work on words of their own.

  struct Word {
    var start: Int
    var count: Int
    var length: UInt32
  }

  let words: UnsafeMutablePointer<Word>
  let count: Int
  let symbols: UnsafeMutablePointer<UInt32>
  /// Of all words when they were made.
  let symbolCount: Int

  /// Spells words with the tokens of their units.
  ///
  /// - Parameters:
  ///   - table: words of two and more units are taken; others have no pairs.
  ///   - spell: writes the tokens of a word and gives their number; at most one per byte.
  init(
    _ table: WordTable, spell: (UnsafeBufferPointer<UInt8>, UnsafeMutablePointer<UInt32>) -> Int
  ) {
    var symbolCapacity = max(table.arenaCount, 1)
    var symbols = UnsafeMutablePointer<UInt32>.allocate(capacity: symbolCapacity)
    var words = UnsafeMutablePointer<Word>.allocate(capacity: max(table.count, 1))
    var (count, used) = (0, 0)
    for index in 0..<table.count {
      let length = spell(table.bytes(index), symbols + used)
      guard length > 1 else { continue }
      words[count] = Word(start: used, count: table.entries[index].count, length: UInt32(length))
      count += 1
      used += length
    }
    symbolCapacity = used
    symbols = grow(symbols, to: symbolCapacity)
    words = grow(words, to: count)
    self.words = words
    self.count = count
    self.symbols = symbols
    symbolCount = used
  }

  deinit {
    words.deallocate()
    symbols.deallocate()
  }
}

/// How often each pair of neighbours occurs at the start, and in which words.
struct InitialPairs {
  struct Pair {
    var pair: UInt64
    var count: Int
    /// Where the words begin in `positions`.
    var start: Int
    var length: Int
  }

  private(set) var pairs: [Pair] = []
  private(set) var positions: UnsafeMutablePointer<UInt32>
  private(set) var positionCount: Int

  /// More tokens than this are counted through a hash table instead of a square one.
  private static let denseLimit = 1024

  /// Counts the pairs.
  ///
  /// - Parameter tokenCount: every symbol is smaller.
  init(_ words: TrainingWords, tokenCount: Int, pool: WorkerPool) {
    let index = tokenCount <= InitialPairs.denseLimit ? nil : PairNumbers(words)
    let kinds = index?.count ?? tokenCount * tokenCount
    // Cut by the number of words alone: the result is the same anyway, but so is the memory.
    let parts = kinds <= 1 << 20 ? min(pool.threadCount, max(1, words.count / 4096)) : 1
    let counters = (0..<parts).map { _ in PairCounters(kinds) }
    defer { for counter in counters { counter.deallocate() } }
    func number(_ left: UInt32, _ right: UInt32) -> Int {
      index?.number(left, right) ?? Int(left) &* tokenCount &+ Int(right)
    }
    pool.run(parts) { part in
      counters[part].count(words, words.count * part / parts..<words.count * (part + 1) / parts, number)
    }

    var total = 0
    for kind in 0..<kinds {
      let start = total
      var count = 0
      for counter in counters {
        count += counter.counts[kind]
        let length = Int(counter.lengths[kind])
        counter.starts[kind] = total
        total += length
      }
      guard total > start else { continue }
      let pair =
        index?.pairs[kind] ?? UInt64(kind / tokenCount) << 32 | UInt64(kind % tokenCount)
      pairs.append(Pair(pair: pair, count: count, start: start, length: total - start))
    }
    let positions = UnsafeMutablePointer<UInt32>.allocate(capacity: max(total, 1))
    pool.run(parts) { part in
      counters[part].place(
        words, words.count * part / parts..<words.count * (part + 1) / parts, positions, number)
    }
    self.positions = positions
    positionCount = total
  }
}

/// The pairs that occur, numbered as they are met.
private final class PairNumbers {
  private var numbers: [UInt64: Int] = [:]
  private(set) var pairs: [UInt64] = []
  var count: Int { pairs.count }

  init(_ words: TrainingWords) {
    for index in 0..<words.count {
      let word = words.words[index]
      let symbols = words.symbols + word.start
      for at in 1..<Int(word.length) {
        let pair = UInt64(symbols[at - 1]) << 32 | UInt64(symbols[at])
        if numbers[pair] == nil {
          numbers[pair] = pairs.count
          pairs.append(pair)
        }
      }
    }
  }

  func number(_ left: UInt32, _ right: UInt32) -> Int { numbers[UInt64(left) << 32 | UInt64(right)]! }
}

/// What one thread counts.
private struct PairCounters {
  let kinds: Int
  let counts: UnsafeMutablePointer<Int>
  let lengths: UnsafeMutablePointer<UInt32>
  let starts: UnsafeMutablePointer<Int>
  /// The last word that had the pair, so that a word is listed once.
  let last: UnsafeMutablePointer<UInt32>

  init(_ kinds: Int) {
    self.kinds = kinds
    counts = .allocate(capacity: max(kinds, 1))
    counts.initialize(repeating: 0, count: kinds)
    lengths = .allocate(capacity: max(kinds, 1))
    lengths.initialize(repeating: 0, count: kinds)
    starts = .allocate(capacity: max(kinds, 1))
    starts.initialize(repeating: 0, count: kinds)
    last = .allocate(capacity: max(kinds, 1))
  }

  func deallocate() {
    counts.deallocate()
    lengths.deallocate()
    starts.deallocate()
    last.deallocate()
  }

  @inline(__always)
  func count(_ words: TrainingWords, _ range: Range<Int>, _ number: (UInt32, UInt32) -> Int) {
    last.initialize(repeating: .max, count: kinds)
    for index in range {
      let word = words.words[index]
      let symbols = words.symbols + word.start
      for at in 1..<Int(word.length) {
        let kind = number(symbols[at &- 1], symbols[at])
        counts[kind] &+= word.count
        if last[kind] != UInt32(truncatingIfNeeded: index) {
          last[kind] = UInt32(truncatingIfNeeded: index)
          lengths[kind] &+= 1
        }
      }
    }
  }

  @inline(__always)
  func place(
    _ words: TrainingWords, _ range: Range<Int>, _ positions: UnsafeMutablePointer<UInt32>,
    _ number: (UInt32, UInt32) -> Int
  ) {
    last.update(repeating: .max, count: kinds)
    for index in range {
      let word = words.words[index]
      let symbols = words.symbols + word.start
      for at in 1..<Int(word.length) {
        let kind = number(symbols[at &- 1], symbols[at])
        if last[kind] != UInt32(truncatingIfNeeded: index) {
          last[kind] = UInt32(truncatingIfNeeded: index)
          positions[starts[kind]] = UInt32(truncatingIfNeeded: index)
          starts[kind] &+= 1
        }
      }
    }
  }
}
