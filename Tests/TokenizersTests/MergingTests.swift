import Foundation
import Testing

@testable import Tokenizers

/// The two ways of merging, and the cost of long words.
@Suite struct MergingTests {
  /// Random merges over few symbols, so that they interact.
  private func randomTable(_ random: inout SeededGenerator) -> MergeTable {
    let table = MergeTable(capacity: 40)
    var names: [String: UInt32] = ["a": 0, "b": 1, "c": 2]
    for rank in UInt32(0)..<40 {
      let left = names.randomElement(using: &random)!
      let right = names.randomElement(using: &random)!
      let id = names[left.key + right.key] ?? UInt32(names.count)
      names[left.key + right.key] = id
      table.insert(left.value, right.value, .init(rank: rank, token: id))
    }
    return table
  }

  @Test func scanningEqualsTheQueue() {
    for seed in UInt64(0)..<2000 {
      var random = SeededGenerator(seed: seed)
      let table = randomTable(&random)
      let word = (0..<Int.random(in: 1...PairMerging.scanLimit, using: &random)).map { _ in
        UInt32.random(in: 0..<3, using: &random)
      }
      var scanned = word
      let count = scanned.withUnsafeMutableBufferPointer { PairMerging.mergeByScanning($0, table) }
      var scratch = ModelScratch()
      scratch.symbols = word
      PairMerging.mergeByQueue(&scratch, table)
      #expect(Array(scanned[..<count]) == scratch.symbols, "seed \(seed)")
    }
  }

  /// Seconds of processor time of this thread, which other tests do not disturb.
  private func processorTime(_ body: () throws -> Void) rethrows -> Double {
    func now() -> Double {
      var time = timespec()
      clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
      return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
    }
    let start = now()
    try body()
    return now() - start
  }

  @Test func aLongRunIsNotQuadratic() throws {
    let tokenizer = try Fixtures.tokenizer("gpt2")
    let short = String(repeating: "a", count: 20_000)
    let long = String(repeating: "a", count: 1_280_000)
    var ratio = Double.infinity
    for _ in 0..<3 {
      let base = try processorTime { _ = try tokenizer.encode(short) }
      ratio = try min(ratio, processorTime { _ = try tokenizer.encode(long) } / base)
    }
    // 64 times the text: some hundred times the work by a queue, 4096 times by a quadratic way.
    #expect(ratio < 1000, "\(ratio)")
  }

  @Test func theCacheChangesNothing() throws {
    let tokenizer = try Fixtures.tokenizer("qwen2")
    var random = SeededGenerator(seed: 7)
    let texts = (0..<200).map { _ in random.text(maximumLength: 40) }
    let first = try texts.map { try tokenizer.encode($0) }
    #expect(try texts.map { try tokenizer.encode($0) } == first)
    #expect(try texts.map { try Fixtures.tokenizer("qwen2").encode($0) } == first)
  }

  @Test func threadsDoNotDisturbEachOther() async throws {
    let tokenizer = try Fixtures.tokenizer("qwen2")
    var random = SeededGenerator(seed: 11)
    let texts = (0..<100).map { _ in random.text(maximumLength: 60) }
    let expected = try texts.map { try tokenizer.encode($0) }
    try await withThrowingTaskGroup(of: [[Int]].self) { group in
      for _ in 0..<8 { group.addTask { try texts.map { try tokenizer.encode($0) } } }
      for try await result in group { #expect(result == expected) }
    }
  }
}
