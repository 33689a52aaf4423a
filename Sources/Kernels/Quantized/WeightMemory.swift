import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Memory for weights that are read from end to end once per token.
///
/// Where the system gives large pages to those who ask, it is asked: a stream through pages of 2 MiB does not stop every
/// 4 KiB to find the next.
///
/// - Returns: memory to be freed by `deallocate`, aligned to 64 bytes at least; its contents are undefined.
package func allocateWeights(byteCount: Int) -> UnsafeMutableRawPointer {
  let largePage = 1 << 21
  guard byteCount >= largePage else { return .allocate(byteCount: max(byteCount, 1), alignment: 64) }
  let memory = UnsafeMutableRawPointer.allocate(byteCount: byteCount, alignment: largePage)
  #if os(Linux)
    // A hint: a system without large pages refuses it, and nothing but speed is lost. What is left of the last page stays
    // as it is, so that no more memory is taken than was asked for.
    _ = madvise(memory, byteCount / largePage * largePage, MADV_HUGEPAGE)
  #endif
  return memory
}

/// Memory that matrices share: large pages run on from one to the next, and nothing is taken from the system before it is written.
public final class WeightArena: @unchecked Sendable {
  // Safe: no byte is given away twice.

  private let base: UnsafeMutableRawPointer
  private let byteCount: Int
  private let used = Atomic(0)

  /// Reserves memory.
  public init(byteCount: Int) {
    self.byteCount = byteCount
    base = allocateWeights(byteCount: byteCount)
  }

  deinit { base.deallocate() }

  /// Gives some away, aligned to 64 bytes, for as long as the arena lives; nothing if there is not so much.
  func take(_ count: Int) -> UnsafeMutableRawPointer? {
    let start = used.add((count + 63) / 64 * 64, ordering: .relaxed).oldValue
    return start + count <= byteCount ? base + start : nil
  }

  /// Whether memory is the arena's.
  func contains(_ address: UnsafeMutableRawPointer) -> Bool { address >= base && address < base + byteCount }
}
