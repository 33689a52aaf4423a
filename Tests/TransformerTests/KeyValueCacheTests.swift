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

  /// Random genealogies: what a row attends to is always what was written along its line of parents, also where the latest
  /// positions alone are kept.
  @Test(arguments: 0..<60)
  func rowsFollowTheirParents(seed: Int) throws {
    var state = UInt64(seed + 1)
    func random(_ bound: Int) -> Int {
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      return Int(state >> 33) % bound
    }
    let shape = AttentionShape(queryHeadCount: 2, keyValueHeadCount: 2, headDimension: 3)
    let windows: [Int?] = [nil, 1 + random(8)]
    let cache = try KeyValueCache(
      layerCount: 2, shape: shape, capacity: 70, maximumRows: 4, windows: windows, slack: 12)
    var next: Float = 0
    var histories: [[Float]] = [[]]
    /// Writes marks as the keys and values of new positions.
    func write(_ segment: AttentionSegment, _ marks: [Float]) {
      for layer in 0..<2 {
        let places = segment.layers[layer]
        var mark = 0
        for run in segment.writes {
          for position in run.start..<run.start + run.count {
            for head in 0..<2 {
              for (memory, sign) in [(places.keys, Float(1)), (places.values, -1)] {
                let place =
                  run.slot * places.slotStride + head * places.headStride
                  + (places.period == .max ? position : position % places.period)
                for channel in 0..<3 {
                  memory.storeBytes(
                    of: sign * (marks[mark] + Float(head) / 4), toByteOffset: (place * 3 + channel) * 4,
                    as: Float.self)
                }
              }
            }
            mark += 1
          }
        }
      }
    }
    func check(_ segment: AttentionSegment) {
      for layer in 0..<2 {
        let places = segment.layers[layer]
        for row in histories.indices {
          let seen = (segment.plan.sharedRuns + segment.plan.ownRuns(of: row)).flatMap { run in
            (run.start..<run.start + run.count).map { (run.slot, $0) }
          }
          #expect(seen.map(\.1) == Array(0..<histories[row].count))
          let first = windows[layer].map { max(0, seen.count - $0) } ?? 0
          for (slot, position) in seen[first...] {
            for head in 0..<2 {
              let place =
                slot * places.slotStride + head * places.headStride
                + (places.period == .max ? position : position % places.period)
              let mark = histories[row][position] + Float(head) / 4
              #expect(
                places.keys.load(fromByteOffset: place * 12, as: Float.self) == mark
                  && places.values.load(fromByteOffset: place * 12 + 8, as: Float.self) == -mark,
                "seed \(seed), layer \(layer), row \(row), position \(position)")
            }
          }
        }
      }
    }
    func prompt(_ count: Int) {
      let marks = (0..<count).map { next + Float($0) }
      next += Float(count)
      write(cache.appendPositions(count), marks)
      histories[0] += marks
    }

    prompt(1 + random(10))
    if seed % 3 == 0 {
      prompt(1 + random(10))
      // Taken back and continued otherwise.
      let left = cache.length - random(min(cache.length, 4))
      #expect(cache.canTruncate(to: left))
      cache.truncate(to: left)
      histories[0].removeSubrange(left...)
    }
    while cache.length < 60 {
      // Now and then all rows but one end, and now and then nothing changes.
      let kind = random(6)
      if kind > 0 {
        let parents = (0..<(kind == 1 ? 1 : 1 + random(4))).map { _ in random(histories.count) }
        cache.select(parents: parents)
        histories = parents.map { histories[$0] }
      }
      let segment = cache.appendStep()
      let marks = histories.indices.map { next + Float($0) }
      next += Float(histories.count)
      write(segment, marks)
      for row in histories.indices { histories[row].append(marks[row]) }
      check(segment)
    }
  }

  /// What later positions took the place of cannot be continued from.
  @Test func whatAWindowLostIsLost() throws {
    let shape = AttentionShape(queryHeadCount: 1, keyValueHeadCount: 1, headDimension: 2)
    let cache = try KeyValueCache(
      layerCount: 1, shape: shape, capacity: 100, maximumRows: 1, windows: [4], slack: 8)
    for _ in 0..<5 { _ = cache.appendPositions(8) }
    // 40 positions, of which the latest 12 are there; the next one sees three before it.
    #expect(cache.canTruncate(to: 31) && !cache.canTruncate(to: 30) && cache.canTruncate(to: 0))
    cache.truncate(to: 35)
    #expect(cache.canTruncate(to: 31) && !cache.canTruncate(to: 30))
    _ = cache.appendPositions(2)
    #expect(!cache.canTruncate(to: 30))
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
