#if canImport(Darwin)
  import Darwin
#elseif canImport(Musl)
  import Musl
#else
  import Glibc
#endif

/// Changes how many elements a block holds; what is in it stays.
///
/// Large blocks move by their page table and not by their bytes, so that growth needs no second copy.
///
/// - Parameter block: from `allocate(capacity:)` with an element of ordinary alignment, or from here.
func grow<Element: BitwiseCopyable>(
  _ block: UnsafeMutablePointer<Element>, to capacity: Int
) -> UnsafeMutablePointer<Element> {
  let size = max(capacity, 1) * MemoryLayout<Element>.stride
  guard let moved = realloc(block, size) else { fatalError("out of memory: \(size) bytes") }
  return moved.bindMemory(to: Element.self, capacity: capacity)
}
