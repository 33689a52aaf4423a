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
