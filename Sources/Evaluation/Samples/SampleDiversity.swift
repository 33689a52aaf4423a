import Generation

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// How much a set of texts repeats: within each text, and from one to another.
///
/// N-grams are of `TextUnits`, and do not reach from one text into the next.
public struct SampleDiversity: Sendable, Equatable {
  /// Texts measured.
  public let sampleCount: Int
  /// Units of all texts.
  public let unitCount: Int
  /// distinct-1 to distinct-4: different n-grams over all n-grams, of all texts together; `nil` where there is none.
  ///
  /// - SeeAlso: arXiv:1510.03055, section 5.
  public let distinct: [Double?]
  /// The mean over texts of 1 − different 4-grams / 4-grams (seq-rep-4); texts below 4 units do not count.
  ///
  /// - SeeAlso: arXiv:1908.04319, section 6.
  public let sequenceRepetition: Double?
  /// The mean BLEU-4 of each text with all the others as its references; 1 says that all are the same.
  ///
  /// The BLEU of one sentence: uniform weights, clipped precisions, 0.1 in place of a number of matches that is
  /// zero (method 1 of Chen and Cherry), the brevity penalty of the closest length. `nil` for fewer than two texts.
  /// - SeeAlso: arXiv:1802.01886; `sentence_bleu` of nltk, with `SmoothingFunction().method1`.
  public let selfBLEU: Double?
  /// The share of texts whose end says the same thing over and over, as `LoopTrimmer` finds it.
  public let loopRate: Double
  /// The share of texts with U+FFFD, which stands for bytes that are no character.
  public let brokenRate: Double

  /// Measures texts.
  ///
  /// - Complexity: O(units + texts·log texts).
  public init(of samples: [String]) {
    var identifiers: [Substring: Int32] = [:]
    let texts = samples.map { sample in
      TextUnits(sample).units.map { unit -> Int32 in
        if let identifier = identifiers[unit] { return identifier }
        let next = Int32(identifiers.count)
        identifiers[unit] = next
        return next
      }
    }
    let grams = (1...4).map { size in texts.map { SampleDiversity.counts(of: $0, size: size) } }
    sampleCount = samples.count
    unitCount = texts.reduce(0) { $0 + $1.count }
    distinct = grams.map { counts in
      let total = counts.reduce(0) { $0 + $1.values.reduce(0, +) }
      let different = counts.reduce(into: Set<SIMD4<Int32>>()) { $0.formUnion($1.keys) }.count
      return total > 0 ? Double(different) / Double(total) : nil
    }
    let repetitions = grams[3].compactMap { counts -> Double? in
      let total = counts.values.reduce(0, +)
      return total > 0 ? 1 - Double(counts.count) / Double(total) : nil
    }
    sequenceRepetition =
      repetitions.isEmpty ? nil : repetitions.reduce(0, +) / Double(repetitions.count)
    selfBLEU = SampleDiversity.selfBLEU(lengths: texts.map(\.count), grams: grams)
    let count = Double(max(samples.count, 1))
    let trimmer = LoopTrimmer()
    loopRate =
      Double(samples.count { !trimmer.apply(to: $0).utf8.elementsEqual($0.utf8) }) / count
    brokenRate = Double(samples.count { $0.unicodeScalars.contains("\u{FFFD}") }) / count
  }

  /// How often each n-gram occurs.
  private static func counts(of text: [Int32], size: Int) -> [SIMD4<Int32>: Int] {
    var counts: [SIMD4<Int32>: Int] = [:]
    guard text.count >= size else { return counts }
    for start in 0...text.count - size {
      var gram = SIMD4<Int32>(repeating: -1)
      for offset in 0..<size { gram[offset] = text[start + offset] }
      counts[gram, default: 0] += 1
    }
    return counts
  }

  /// The highest counts of an n-gram in any text: the best one, whose it is, and the best of the others.
  private struct Peak {
    var best = 0
    var owner = -1
    var second = 0

    mutating func add(_ count: Int, of text: Int) {
      if count > best {
        second = best
        (best, owner) = (count, text)
      } else if count > second {
        second = count
      }
    }

    func highest(without text: Int) -> Int { owner == text ? second : best }
  }

  private static func selfBLEU(lengths: [Int], grams: [[[SIMD4<Int32>: Int]]]) -> Double? {
    guard lengths.count > 1 else { return nil }
    // A reference counts with the most occurrences in any one of the others, which needs no pairs of texts.
    let peaks = grams.map { counts in
      var peaks: [SIMD4<Int32>: Peak] = [:]
      for (text, counts) in counts.enumerated() {
        for (gram, count) in counts { peaks[gram, default: Peak()].add(count, of: text) }
      }
      return peaks
    }
    let sorted = lengths.sorted()
    let scores = lengths.indices.map { text -> Double in
      let length = lengths[text]
      var logarithms = 0.0
      for size in 1...4 {
        let counts = grams[size - 1][text]
        let matches = counts.reduce(0) {
          $0 + min($1.value, peaks[size - 1][$1.key]?.highest(without: text) ?? 0)
        }
        if size == 1, matches == 0 { return 0 }
        let total = max(1, length - size + 1)
        logarithms += log((matches == 0 ? 0.1 : Double(matches)) / Double(total))
      }
      let reference = closestLength(to: length, in: sorted)
      let penalty = length > reference ? 1 : exp(1 - Double(reference) / Double(length))
      return penalty * exp(logarithms / 4)
    }
    return scores.reduce(0, +) / Double(scores.count)
  }

  /// The length of another text that is closest to a text's own, the shorter one of two as close.
  ///
  /// - Parameter sorted: the lengths of all texts, at least two; that of the text itself is among them.
  private static func closestLength(to length: Int, in sorted: [Int]) -> Int {
    var (low, high) = (0, sorted.count)
    while low < high {
      let middle = (low + high) / 2
      if sorted[middle] < length { low = middle + 1 } else { high = middle }
    }
    // The text itself is the first of its length; its neighbours are the closest.
    guard low + 1 < sorted.count else { return sorted[low - 1] }
    guard low > 0 else { return sorted[low + 1] }
    return length - sorted[low - 1] <= sorted[low + 1] - length && sorted[low + 1] != length
      ? sorted[low - 1] : sorted[low + 1]
  }
}
