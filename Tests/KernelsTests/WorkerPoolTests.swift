import Kernels
import Testing

@Suite struct WorkerPoolTests {
  @Test(arguments: [1, 2, 3, 8])
  func runsEveryTaskOnce(threads: Int) {
    let pool = WorkerPool(threadCount: threads)
    #expect(pool.threadCount == threads)
    for count in [0, 1, 2, 7, 64, 1000] {
      for _ in 0..<50 {
        let counts = (0..<count).map { _ in Counter() }
        pool.run(count) { counts[$0].add() }
        #expect(counts.allSatisfy { $0.value == 1 }, "\(count) tasks on \(threads) threads")
      }
    }
  }

  @Test func rangesCoverEverythingOnce() {
    let pool = WorkerPool(threadCount: 3)
    for count in [0, 1, 5, 99, 1000] {
      for grain in [1, 7, 100, 5000] {
        let marks = (0..<count).map { _ in Counter() }
        pool.run(count, grain: grain) { for index in $0 { marks[index].add() } }
        #expect(marks.allSatisfy { $0.value == 1 }, "\(count) by \(grain)")
      }
    }
  }

  /// However many threads and elements: every element once, in few ranges, none longer than the first.
  @Test(arguments: [1, 2, 3, 8])
  func shrinkingRangesCoverEverythingOnce(threads: Int) {
    let pool = WorkerPool(threadCount: threads)
    for count in Array(0...40) + [97, 1000, 1571] {
      let marks = (0..<count).map { _ in Counter() }
      let (ranges, longest) = (Counter(), Counter())
      pool.runShrinking(count) { range in
        ranges.add()
        #expect(!range.isEmpty && range.upperBound <= count)
        if range.count > (count + 2 * threads - 1) / (2 * threads) { longest.add() }
        for index in range { marks[index].add() }
      }
      #expect(marks.allSatisfy { $0.value == 1 }, "\(count) on \(threads) threads")
      #expect(threads == 1 || longest.value == 0, "\(count) on \(threads) threads")
      // Claimed seldom: a few ranges per thread for every halving.
      #expect(ranges.value <= 2 * threads * 12, "\(count) on \(threads) threads: \(ranges.value) ranges")
    }
  }

  @Test func callsFromTasksAndFromOtherThreadsComplete() async {
    let pool = WorkerPool(threadCount: 2)
    let total = Counter()
    await withTaskGroup(of: Void.self) { group in
      for _ in 0..<4 {
        group.addTask {
          for _ in 0..<200 { pool.run(5) { _ in pool.run(3) { _ in total.add() } } }
        }
      }
    }
    #expect(total.value == 4 * 200 * 15)
  }

  @Test func wakesWorkersThatSleep() {
    let pool = WorkerPool(threadCount: 2)
    for _ in 0..<3 {
      // Long enough for the workers to stop spinning.
      var pause = timespec(tv_sec: 0, tv_nsec: 30_000_000)
      nanosleep(&pause, nil)
      let total = Counter()
      pool.run(100) { _ in total.add() }
      #expect(total.value == 100)
    }
  }
}

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif
