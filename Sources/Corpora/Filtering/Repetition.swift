/// How much of a text repeats itself.
struct Repetition {
  /// Characters that are no space.
  private let total: Int
  private let hashes: [UInt64]
  private let lengths: [Int]
  /// Units that make a word: two characters, in scripts without spaces.
  private let unitsPerWord: Int

  init(_ text: UnsafeBufferPointer<UInt8>, _ words: TextWords) {
    hashes = words.words.map { word in
      ContentHash.of(UnsafeRawBufferPointer(UnsafeBufferPointer(rebasing: text[word.start..<word.end])))
    }
    lengths = words.words.map(\.characters)
    total = lengths.reduce(0, +)
    unitsPerWord = words.isWithoutSpaces ? 2 : 1
  }

  /// The part of the characters that the most frequent run of n words makes up; 0 when none occurs twice.
  func topShare(_ n: Int) -> Double {
    let size = n * unitsPerWord
    guard hashes.count > size else { return 0 }
    var table = RunTable(hashes.count)
    var best = (count: 1, length: 0)
    forEachRun(size) { _, hash, length in
      let count = table.count(hash)
      // Of equally frequent runs the longest, so that their order does not matter.
      if count > 1, (count, length) > best { best = (count, length) }
    }
    return best.count > 1 ? Double(best.count * best.length) / Double(max(total, 1)) : 0
  }

  /// The part of the characters in runs of n words that occurred before, none counted twice.
  func duplicateShare(_ n: Int) -> Double {
    let size = n * unitsPerWord
    guard hashes.count > size else { return 0 }
    var table = RunTable(hashes.count)
    var repeated = 0
    var next = 0
    forEachRun(size) { index, hash, length in
      guard index >= next else { return }
      if table.count(hash) > 1 {
        repeated += length
        next = index + size
      }
    }
    return Double(repeated) / Double(max(total, 1))
  }

  @inline(__always)
  private func forEachRun(_ size: Int, _ body: (Int, UInt64, Int) -> Void) {
    // A polynomial over the words' hashes, moved along one word at a time.
    let base: UInt64 = 0x9E37_79B9_7F4A_7C15
    var power: UInt64 = 1
    for _ in 0..<size { power = power &* base }
    var hash: UInt64 = 0
    var length = 0
    for index in hashes.indices {
      hash = hash &* base &+ hashes[index]
      length += lengths[index]
      if index >= size {
        hash = hash &- power &* hashes[index - size]
        length -= lengths[index - size]
      }
      if index >= size - 1 { body(index - size + 1, ContentHash.mix(hash), length) }
    }
  }

  /// Lines or paragraphs that occurred before: their part of all, and of the characters.
  static func duplicates(_ parts: [ArraySlice<UInt8>]) -> (share: Double, characterShare: Double) {
    guard !parts.isEmpty else { return (0, 0) }
    var seen = Set<ArraySlice<UInt8>>()
    var (count, characters, total) = (0, 0, 0)
    for part in parts {
      let length = part.count { $0 & 0xC0 != 0x80 }
      total += length
      if !seen.insert(part).inserted {
        count += 1
        characters += length
      }
    }
    return (Double(count) / Double(parts.count), Double(characters) / Double(max(total, 1)))
  }
}

/// Counts hashes by open addressing; made for one pass over one text.
private struct RunTable {
  private var keys: [UInt64]
  private var counts: [UInt32]

  init(_ capacity: Int) {
    var size = 16
    while size < 2 * capacity { size *= 2 }
    keys = [UInt64](repeating: 0, count: size)
    counts = [UInt32](repeating: 0, count: size)
  }

  /// Counts a hash and gives how often it has come.
  mutating func count(_ hash: UInt64) -> Int {
    var slot = Int(truncatingIfNeeded: hash) & (keys.count - 1)
    while counts[slot] != 0, keys[slot] != hash { slot = (slot + 1) & (keys.count - 1) }
    keys[slot] = hash
    counts[slot] += 1
    return Int(counts[slot])
  }
}
