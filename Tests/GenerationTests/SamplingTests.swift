import Foundation
import Kernels
import Testing

@testable import Generation

@Suite("Sampling")
struct SamplingTests {
  @Test("Philox4x32-10: the known answers of Random123")
  func philox() {
    #expect(
      RandomStream.block(counter: .zero, key: .zero)
        == SIMD4(0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8))
    #expect(
      RandomStream.block(counter: .init(repeating: .max), key: .init(repeating: .max))
        == SIMD4(0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd))
    #expect(
      RandomStream.block(
        counter: SIMD4(0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344),
        key: SIMD2(0xa409_3822, 0x299f_31d0)) == SIMD4(0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1))
  }

  /// A row of the size of GPT-2's vocabulary, with ties and holes.
  private static func row(_ seed: UInt64, count: Int = 50257) -> [Float] {
    var generator = SeededGenerator(seed: seed)
    var row = (0..<count).map { _ in
      // A sum of uniforms: bell-shaped, as logits are.
      (0..<4).reduce(Float(0)) { sum, _ in sum + Float.random(in: -3...3, using: &generator) }
    }
    for _ in 0..<count / 50 { row[Int.random(in: 0..<count, using: &generator)] = -.infinity }
    for _ in 0..<count / 20 {
      row[Int.random(in: 0..<count, using: &generator)] = row[Int.random(in: 0..<count, using: &generator)]
    }
    return row
  }

  private static func kept(_ row: [Float], _ filter: any CandidateFilter) -> Set<Int> {
    let candidates = CandidateSet(capacity: row.count)
    candidates.load(row)
    filter.apply(to: candidates)
    return Set((0..<candidates.count).map { Int(candidates.tokens[$0]) }.filter { row[$0] > -.infinity })
  }

  /// Probabilities as the filters see them, and the order of torch's stable ascending sort.
  private static func ascending(_ keys: [Float]) -> [Int] {
    keys.indices.sorted { keys[$0] < keys[$1] || (keys[$0] == keys[$1] && $0 < $1) }
  }

  private static func probabilities(_ row: [Float]) -> [Float] {
    var out = row
    softmaxRow(row, into: &out, count: row.count)
    return out
  }

  @Test("top-k against a full sort", arguments: [1, 2, 50, 512, 513, 5000, 50256, 50257, 60000])
  func topK(limit: Int) {
    let row = SamplingTests.row(UInt64(limit))
    let threshold = row.sorted(by: >)[min(limit, row.count) - 1]
    #expect(
      SamplingTests.kept(row, TopK(limit: limit, spared: 1))
        == Set(row.indices.filter { row[$0] >= threshold && row[$0] > -.infinity }))
  }

  @Test("top-p against a full sort", arguments: [0, 0.05, 0.3, 0.5, 0.9, 0.95, 0.99, 0.9999])
  func topP(mass: Double) {
    for spared in [1, 3] {
      for (seed, count) in [(UInt64(11), 50257), (12, 300), (13, 200)] {
        let row = SamplingTests.row(seed, count: count)
        let probabilities = SamplingTests.probabilities(row)
        var sum = 0.0
        var expected: Set<Int> = []
        for (rank, index) in SamplingTests.ascending(row).enumerated() {
          sum += Double(probabilities[index])
          if Float(sum) > Float(1 - mass) || rank >= count - spared { expected.insert(index) }
        }
        #expect(SamplingTests.kept(row, TopP(mass: mass, spared: spared)) == expected, "seed \(seed)")
      }
    }
  }

  @Test("typical against a full sort", arguments: [0.05, 0.3, 0.5, 0.9, 0.95, 0.99])
  func typical(mass: Double) {
    for spared in [1, 3] {
      for (seed, count) in [(UInt64(14), 50257), (15, 300), (16, 200)] {
        let row = SamplingTests.row(seed, count: count)
        let probabilities = SamplingTests.probabilities(row)
        let normalizer = LogNormalizer(row, count: count)
        var entropy = 0.0
        for index in row.indices where probabilities[index] > 0 {
          entropy -= Double(normalizer(row[index])) * Double(probabilities[index])
        }
        let deviations = row.map { abs(-normalizer($0) - Float(entropy)) }
        let order = SamplingTests.ascending(deviations)
        var sum = 0.0
        let sums = order.map { index in
          sum += Double(probabilities[index])
          return Float(sum)
        }
        let last = min(sums.filter { $0 < Float(mass) }.count, count - 1)
        let threshold = deviations[order[last]]
        let expected = order.enumerated()
          .filter { $0.offset < spared || deviations[$0.element] <= threshold }
          .map(\.element).filter { row[$0] > -.infinity }
        #expect(SamplingTests.kept(row, Typical(mass: mass, spared: spared)) == Set(expected), "seed \(seed)")
      }
    }
  }

  @Test("filters survive rows of equal scores and of one candidate")
  func degenerateRows() {
    let filters: [any CandidateFilter] = [
      TopK(limit: 5, spared: 2), TopP(mass: 0.5, spared: 2), MinimumP(share: 0.5, spared: 2),
      Typical(mass: 0.5, spared: 2), EpsilonCutoff(epsilon: 0.5, spared: 2),
      EtaCutoff(epsilon: 0.5, spared: 2),
      TopH(share: 0.5), Temperature(temperature: 0.5),
    ]
    var lonely = [Float](repeating: -.infinity, count: 1000)
    lonely[77] = 3
    for filter in filters {
      #expect(SamplingTests.kept(lonely, filter) == [77], "\(filter)")
      #expect(!SamplingTests.kept([Float](repeating: 1, count: 1000), filter).isEmpty, "\(filter)")
      #expect(!SamplingTests.kept([2], filter).isEmpty, "\(filter)")
    }
  }

  @Test("draws follow the distribution")
  func frequencies() {
    let row: [Float] = [1, 0, -1, -.infinity, 2, 0.5, -3]
    let probabilities = SamplingTests.probabilities(row)
    let candidates = CandidateSet(capacity: row.count)
    let stream = RandomStream(seed: 17, sequence: 0)
    var counts = [Int](repeating: 0, count: row.count)
    let draws = 100_000
    for position in 0..<draws {
      candidates.load(row)
      counts[Int(candidates.tokens[candidates.draw(stream.uniform(position: position))!])] += 1
    }
    // Five standard deviations of a binomial count.
    for token in row.indices {
      let p = Double(probabilities[token])
      #expect(
        abs(Double(counts[token]) - p * Double(draws)) <= 5 * (Double(draws) * p * (1 - p)).squareRoot())
    }
  }

  @Test("draws without replacement follow the distribution of successive draws")
  func withoutReplacement() {
    let rows: [[Float]] = [[0, 1, 2], [1.5, -.infinity, 0.5]]
    let addends: [Float] = [0, -0.5]
    let stream = RandomStream(seed: 18, sequence: 0)
    let flat = zip(rows, addends).flatMap { row, addend in row.map { exp(Double($0 + addend)) } }
    let total = flat.reduce(0, +)
    var pairs: [[Int]: Int] = [:]
    let draws = 60_000
    let sampler = BeamSampler(rowCount: 2, vocabularySize: 3)
    for position in 0..<draws {
      for (row, candidates) in zip(rows, sampler.rows) { candidates.load(row) }
      var drawn: [Int] = []
      sampler.draw(2, addends: addends, uniform: { stream.uniform(position: position, draw: $0) }) {
        score, row, token in
        #expect(score == rows[row][token] + addends[row])
        drawn.append(row * 3 + token)
      }
      pairs[drawn, default: 0] += 1
    }
    for first in flat.indices {
      #expect(pairs[[first, first]] == nil)
      for second in flat.indices where second != first {
        let p = flat[first] / total * flat[second] / (total - flat[first])
        let deviation = abs(Double(pairs[[first, second], default: 0]) - p * Double(draws))
        #expect(deviation <= 5 * (Double(draws) * p * (1 - p)).squareRoot() + 1e-9, "\(first), \(second)")
      }
    }
  }

  @Test("draws without replacement go on when no probability is left")
  func exhausted() {
    let sampler = BeamSampler(rowCount: 2, vocabularySize: 2)
    for candidates in sampler.rows { candidates.load([0, -1]) }
    var drawn: [[Int]] = []
    sampler.draw(5, addends: [0, -1e9], uniform: { _ in 0.999999 }) {
      drawn.append([$0.isFinite ? Int($0) : .min, $1, $2])
    }
    #expect(drawn.map { $0[1] } == [0, 0, 1, 1, 0])
    #expect(Set(drawn.prefix(4).map { [$0[1], $0[2]] }).count == 4)
  }
}
