import Transformer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Zeroed floats in large pages, which cost memory only where they are touched.
final class FloatMemory {
  let base: UnsafeMutablePointer<Float>
  let count: Int
  private let byteCount: Int

  /// Takes memory.
  ///
  /// - Throws: `DecoderError.memory` when the system refuses.
  init(count: Int, purpose: String) throws {
    self.count = count
    byteCount = max(1, count) * 4
    #if os(Linux)
      let flags = MAP_PRIVATE | MAP_ANONYMOUS
    #else
      let flags = MAP_PRIVATE | MAP_ANON
    #endif
    guard let memory = mmap(nil, byteCount, PROT_READ | PROT_WRITE, flags, -1, 0), memory != MAP_FAILED else {
      throw DecoderError.memory(bytes: byteCount, purpose: purpose)
    }
    #if os(Linux)
      madvise(memory, byteCount, MADV_HUGEPAGE)
    #endif
    base = memory.bindMemory(to: Float.self, capacity: max(1, count))
  }

  deinit { munmap(base, byteCount) }

  /// All elements.
  var elements: UnsafeMutableBufferPointer<Float> { UnsafeMutableBufferPointer(start: base, count: count) }
}
