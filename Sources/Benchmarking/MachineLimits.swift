import Kernels

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// What the machine can do at best, measured over and over beside what is compared with it.
///
/// - **Multiplication**: a 2048 × 2048 × 2048 product by OpenBLAS, its rows shared out among the threads, one
///   call each, which equals or beats columns shared out and OpenBLAS's own threads: 2·2048³ operations over the time. Where
///   OpenBLAS does not know the CPU, the engine's own product.
/// - **Reading**: 256 MiB, beyond any cache, summed by all threads: bytes over the time.
/// - **One pass**: reading and writing so many bytes in place, wherever they fit.
///
/// Use it from one thread.
public final class MachineLimits {
  /// Threads that take part.
  public var threadCount: Int { pool.threadCount }

  /// Bytes that the operands take.
  static let byteCount = readByteCount + 3 * size * size * MemoryLayout<Float>.stride

  private static let size = 2048
  private static let readByteCount = 256 << 20

  let pool: WorkerPool
  /// Values between −1/16 and 1/16, more than a cache holds; also used as weights that are not in a cache.
  let values: FloatArena
  private let operands: FloatArena
  /// Results of reading; kept, so that the compiler cannot leave it out.
  private let sums: FloatArena

  /// Fills the operands.
  ///
  /// - Parameter pool: the threads, which are also those of the engine that is measured.
  public init(pool: WorkerPool) {
    self.pool = pool
    values = FloatArena(count: MachineLimits.readByteCount / MemoryLayout<Float>.stride, amplitude: 0.0625)
    operands = FloatArena(count: 3 * MachineLimits.size * MachineLimits.size, amplitude: 1)
    sums = FloatArena(count: 16 * pool.threadCount, amplitude: 0)
  }

  /// The rate of a large product, in floating-point operations per second.
  ///
  /// - Parameter duration: seconds to spend on it.
  public func multiplicationRate(lasting duration: Double) -> Double {
    let size = MachineLimits.size
    let tasks = pool.threadCount
    let samples = slice(lasting: duration) {
      pool.run(tasks) { task in
        let (rows, (a, b, c)) = (size * task / tasks..<size * (task + 1) / tasks, matrices)
        LimitProduct.multiply(
          m: rows.count, n: size, k: size, a: a + rows.lowerBound * size, b: b,
          into: c + rows.lowerBound * size)
      }
    }
    return rate(2 * Double(size * size * size), samples)
  }

  /// The same by OpenBLAS's own threads, for comparison.
  public func libraryMultiplicationRate(lasting duration: Double) -> Double {
    let size = MachineLimits.size
    var samples: [Double] = []
    BLAS.withOwnThreads(pool.threadCount) {
      let (a, b, c) = matrices
      samples = slice(lasting: duration) {
        BLAS.multiply(
          m: size, n: size, k: size, a: a, strideA: size, b: b, strideB: size, c: c, strideC: size)
      }
    }
    return rate(2 * Double(size * size * size), samples)
  }

  private var matrices:
    (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>)
  {
    let count = MachineLimits.size * MachineLimits.size
    return (operands.base, operands.base + count, operands.base + 2 * count)
  }

  /// The rate of reading memory, in bytes per second.
  ///
  /// - Parameter duration: seconds to spend on it.
  public func readRate(lasting duration: Double) -> Double {
    // Several pieces per thread, so that one that is held up does not hold up the other.
    let pieces = 16 * pool.threadCount
    let base = values.base
    let count = values.count
    let samples = slice(lasting: duration) {
      pool.run(pieces) { piece in
        let start = count * piece / pieces
        sums.base[piece] = sum(base + start, count: count * (piece + 1) / pieces - start)
      }
    }
    return rate(Double(MachineLimits.readByteCount), samples)
  }

  /// The rate of going over some memory once, reading and writing it, in bytes (read plus written) per second.
  ///
  /// - Parameters:
  ///   - count: floats to go over.
  ///   - duration: seconds to spend on it.
  func passRate(over count: Int, lasting duration: Double) -> Double {
    let count = min(count, operands.count)
    let base = operands.base
    let samples = slice(lasting: duration) {
      pool.run(count, grain: 16_384) { range in scale(base + range.lowerBound, by: 1, count: range.count) }
    }
    return rate(Double(2 * count * MemoryLayout<Float>.stride), samples)
  }

  private func rate(_ work: Double, _ samples: [Double]) -> Double {
    work * Double(samples.count) / samples.reduce(0, +)
  }
}

/// Floats that an object owns, filled with reproducible noise.
final class FloatArena {
  let base: UnsafeMutablePointer<Float>
  let count: Int

  /// Allocates and fills.
  init(count: Int, amplitude: Float) {
    let memory = UnsafeMutableRawPointer.allocate(
      byteCount: max(count, 1) * MemoryLayout<Float>.stride, alignment: 64)
    base = memory.bindMemory(to: Float.self, capacity: max(count, 1))
    self.count = count
    var state: UInt64 = 0x2545_F491_4F6C_DD1D
    let scale = amplitude / Float(1 << 23)
    for index in 0..<count {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      base[index] = (Float(state >> 40) - Float(1 << 23)) * scale
    }
  }

  deinit { base.deallocate() }
}

/// Adds up floats at the speed of memory: eight sums, so that no addition waits for another.
@inline(never)
private func sum(_ x: UnsafePointer<Float>, count: Int) -> Float {
  typealias Lanes = SIMD16<Float>
  let source = UnsafeRawPointer(x)
  var (a, b, c, d) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
  var (e, f, g, h) = (Lanes.zero, Lanes.zero, Lanes.zero, Lanes.zero)
  let end = count / 128 * 512
  var offset = 0
  while offset < end {
    a += source.loadUnaligned(fromByteOffset: offset, as: Lanes.self)
    b += source.loadUnaligned(fromByteOffset: offset &+ 64, as: Lanes.self)
    c += source.loadUnaligned(fromByteOffset: offset &+ 128, as: Lanes.self)
    d += source.loadUnaligned(fromByteOffset: offset &+ 192, as: Lanes.self)
    e += source.loadUnaligned(fromByteOffset: offset &+ 256, as: Lanes.self)
    f += source.loadUnaligned(fromByteOffset: offset &+ 320, as: Lanes.self)
    g += source.loadUnaligned(fromByteOffset: offset &+ 384, as: Lanes.self)
    h += source.loadUnaligned(fromByteOffset: offset &+ 448, as: Lanes.self)
    offset &+= 512  // Safe: at most four times `count`.
  }
  return ((a + b) + (c + d) + (e + f) + (g + h)).sum()
}

/// x ← s·x in plain steps; `s` is a parameter so that the compiler cannot leave the pass out.
@inline(never)
private func scale(_ x: UnsafeMutablePointer<Float>, by factor: Float, count: Int) {
  for index in 0..<count { x[index] *= factor }
}
