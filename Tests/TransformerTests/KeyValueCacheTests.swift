import Kernels
import Testing

@testable import Transformer

@Suite struct KeyValueCacheTests {
  private func cache(capacity: Int = 40, rows: Int = 4) throws -> KeyValueCache {
    try KeyValueCache(
      layerCount: 2, shape: AttentionShape(queryHeadCount: 2, keyValueHeadCount: 1, headDimension: 3),
      capacity: capacity, maximumRows: rows)
  }

  @Test func aPromptIsOneRun() throws {
    let cache = try cache()
    let first = cache.appendPositions(5)
    #expect(first.writes == [KeyValueRun(slot: 0, start: 0, count: 5)])
    #expect(first.plan.sharedRuns == [KeyValueRun(slot: 0, start: 0, count: 5)])
    let second = cache.appendPositions(3)
    #expect(second.writes == [KeyValueRun(slot: 0, start: 5, count: 3)])
    #expect(second.plan.sharedCount == 8)
    #expect(second.plan.isCausal)
  }

  /// Random genealogies: what a row attends to is always what was written along its line of parents.
  @Test(arguments: 0..<30)
  func rowsFollowTheirParents(seed: Int) throws {
    var state = UInt64(seed + 1)
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    let cache = try cache()
    let prompt = 1 + random(10)
    _ = cache.appendPositions(prompt)
    // Stand-in for keys: what was written at (slot, position), and each row's own history.
    var written: [KeyValueRun: Int] = [:]
    var next = 0
    var histories: [[Int]] = [[]]
    for position in 0..<prompt {
      written[KeyValueRun(slot: 0, start: position, count: 1)] = next
      histories[0].append(next)
      next += 1
    }
    for _ in 0..<25 {
      let parents = (0..<1 + random(4)).map { _ in random(histories.count) }
      cache.select(parents: parents)
      histories = parents.map { histories[$0] }
      let (writes, plan) = cache.appendStep()
      for (row, write) in writes.enumerated() {
        written[write] = next
        histories[row].append(next)
        next += 1
      }
      for row in histories.indices {
        let attended = (plan.sharedRuns + plan.ownRuns(of: row)).flatMap { run in
          (run.start..<run.start + run.count).map {
            written[KeyValueRun(slot: run.slot, start: $0, count: 1)]
          }
        }
        #expect(attended == histories[row], "seed \(seed), row \(row)")
      }
    }
  }

  @Test func costsOnlyWhatIsUsed() throws {
    // 2 layers × 2 × 4 rows × 3·10⁶ positions: 576 MB of address space, of which nothing is touched.
    let before = residentBytes()
    let cache = try cache(capacity: 3_000_000)
    _ = cache.appendPositions(2)
    #expect(residentBytes() - before < 64 << 20)
  }

  @Test func refusesWhatNoAddressSpaceHolds() {
    #expect(throws: DecoderError.self) {
      _ = try KeyValueCache(
        layerCount: 1 << 30,
        shape: AttentionShape(queryHeadCount: 1, keyValueHeadCount: 1, headDimension: 1 << 20),
        capacity: 1 << 16, maximumRows: 1)
    }
  }
}

extension KeyValueRun: Hashable {
  /// By place; runs that differ in length alone may collide.
  public func hash(into hasher: inout Hasher) {
    hasher.combine(slot)
    hasher.combine(start)
  }
}

private func residentBytes() -> Int {
  guard let file = fopen("/proc/self/statm", "r") else { return 0 }
  defer { fclose(file) }
  var buffer = [CChar](repeating: 0, count: 128)
  guard fgets(&buffer, 128, file) != nil else { return 0 }
  let fields = String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    .split(separator: " ")
  return Int(fields[1])! * 4096
}

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif
