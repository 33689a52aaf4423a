import Kernels

/// What the machine multiplies at best, to compare a step with.
enum ProductRate {
  /// Floating-point operations per second of 1024 × 1024 × 1024 products shared out among a pool's threads.
  ///
  /// - Parameter duration: seconds to spend.
  static func measure(pool: WorkerPool, duration: Double = 0.3) throws -> Double {
    let size = 1024
    let memory = try FloatMemory(count: 3 * size * size, purpose: "measuring the machine")
    for index in 0..<2 * size * size { memory.base[index] = Float(index % 17) - 8 }
    let (a, b, c) = (memory.base, memory.base + size * size, memory.base + 2 * size * size)
    let clock = ContinuousClock()
    let start = clock.now
    var best = 0.0
    repeat {
      let begun = clock.now
      pool.run(pool.threadCount) { task in
        let rows = size * task / pool.threadCount..<size * (task + 1) / pool.threadCount
        LimitProduct.multiply(
          m: rows.count, n: size, k: size, a: a + rows.lowerBound * size, b: b,
          into: c + rows.lowerBound * size)
      }
      best = max(best, 2 * Double(size * size * size) / begun.duration(to: clock.now).seconds)
    } while start.duration(to: clock.now).seconds < duration
    return withExtendedLifetime(memory) { best }
  }
}

extension Duration {
  /// Seconds, with their fraction.
  var seconds: Double { Double(components.seconds) + Double(components.attoseconds) * 1e-18 }
}
