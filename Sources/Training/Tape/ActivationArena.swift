import Kernels
import Transformer

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// Fresh memory for every intermediate result of one forward pass, all of it taken back at once.
///
/// Addresses are reserved and cost memory only where they are written; the next pass finds the pages of the last
/// one in place. Beside each piece stands its gradient, which exists from the moment that something is added to it
/// until everything that was computed from that moment on has been gone back through.
final class ActivationArena {
  /// One piece of memory.
  struct Piece {
    let start: Int
    let count: Int
    /// Whether later operations change it, so that whoever wants it as it is must copy it.
    let isMutable: Bool
    /// Operations that were recorded when it was handed out.
    let born: Int
  }

  private let pool: WorkerPool
  private let base: UnsafeMutablePointer<Float>
  private let byteCount: Int
  private var used = 0
  private(set) var pieces: [Piece] = []
  private var gradients: [UnsafeMutablePointer<Float>?] = []
  private var gradientMemory = GradientMemory()

  /// Bytes of results in the largest pass so far.
  private(set) var largestByteCount = 0
  /// Bytes of the gradients that existed at once at most.
  var gradientByteCount: Int { gradientMemory.byteCount }

  /// Reserves addresses.
  ///
  /// - Parameter pool: who clears memory.
  /// - Throws: `DecoderError.memory` when the system refuses.
  init(pool: WorkerPool) throws {
    self.pool = pool
    var size = 1 << 40
    #if os(Linux)
      let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
    #else
      let flags = MAP_PRIVATE | MAP_ANON
    #endif
    while true {
      if let memory = mmap(nil, size, PROT_READ | PROT_WRITE, flags, -1, 0), memory != MAP_FAILED {
        base = memory.bindMemory(to: Float.self, capacity: size / 4)
        byteCount = size
        #if os(Linux)
          madvise(memory, size, MADV_HUGEPAGE)
        #endif
        return
      }
      // A limit on addresses (ulimit -v) may leave less.
      size /= 2
      guard size >= 1 << 30 else { throw DecoderError.memory(bytes: size, purpose: "activations") }
    }
  }

  deinit { munmap(base, byteCount) }

  /// Takes everything back.
  func reset() {
    for index in pieces.indices { freeGradient(index) }
    pieces.removeAll(keepingCapacity: true)
    gradients.removeAll(keepingCapacity: true)
    used = 0
  }

  /// Memory for a matrix; its contents are undefined.
  func matrix(_ rows: Int, _ columns: Int, isMutable: Bool = false, born: Int) -> MutableMatrixView {
    let count = rows * columns
    // Every piece begins at a cache line.
    let reserved = max(16, (count + 15) / 16 * 16)
    precondition(
      (used + reserved) * 4 <= byteCount, "activations need more than \(byteCount) bytes of addresses")
    let piece = Piece(start: used, count: count, isMutable: isMutable, born: born)
    used += reserved
    largestByteCount = max(largestByteCount, used * 4)
    pieces.append(piece)
    gradients.append(nil)
    return MutableMatrixView(base + piece.start, rows: rows, columns: columns)
  }

  /// The piece that an address lies in.
  func index(of address: UnsafePointer<Float>) -> Int {
    let offset = address - UnsafePointer(base)
    precondition(offset >= 0 && offset < used, "a matrix that is no result of this pass")
    var (low, high) = (0, pieces.count - 1)
    while low < high {
      let middle = (low + high + 1) / 2
      if pieces[middle].start <= offset { low = middle } else { high = middle - 1 }
    }
    return low
  }

  /// Whether later operations change what a matrix lies in.
  func isMutable(_ x: MatrixView) -> Bool { pieces[index(of: x.base)].isMutable }

  /// The gradient of a matrix, or nothing where it is zero.
  func gradient(of x: MatrixView) -> MutableMatrixView? {
    let index = index(of: x.base)
    return gradients[index].map { view(x, index, $0) }
  }

  /// The gradient of a matrix, to be added to or, where there is none yet, to be written.
  ///
  /// - Parameter isWritten: whether the caller writes every element of what lies in the same piece, so that it need
  ///   not be zero when it is new.
  /// - Returns: the gradient, and whether there is something in it to add to.
  func gradientTarget(of x: MatrixView, isWritten: Bool = false) -> (
    view: MutableMatrixView, accumulate: Bool
  ) {
    let index = index(of: x.base)
    if let gradient = gradients[index] { return (view(x, index, gradient), true) }
    let piece = pieces[index]
    let gradient = gradientMemory.take(piece.count)
    gradients[index] = gradient
    if isWritten || (x.rows * x.columns == piece.count && x.rowStride == x.columns) {
      return (view(x, index, gradient), false)
    }
    pool.run(piece.count, grain: 1 << 15) { (gradient + $0.lowerBound).update(repeating: 0, count: $0.count) }
    return (view(x, index, gradient), true)
  }

  // MARK: Reuse

  /// A place that memory can be taken back to.
  struct Mark {
    fileprivate let used: Int
    fileprivate let pieceCount: Int
  }

  /// Where the next piece will begin.
  var mark: Mark { Mark(used: used, pieceCount: pieces.count) }

  /// Takes back what was handed out since a mark; later pieces will lie where it lay.
  ///
  /// - Returns: the pieces, to be restored when they are needed again.
  func release(to mark: Mark) -> [Piece] {
    let released = Array(pieces[mark.pieceCount...])
    pieces.removeLast(released.count)
    gradients.removeLast(released.count)
    used = mark.used
    return released
  }

  /// Takes pieces back in, at the top and without gradients; what lies in them now is whatever came after them.
  func restore(_ released: [Piece]) {
    pieces += released
    gradients += [UnsafeMutablePointer<Float>?](repeating: nil, count: released.count)
    if let last = released.last { used = last.start + max(16, (last.count + 15) / 16 * 16) }
  }

  /// Memory for a gradient on the way, to be given back with `giveBack`.
  func borrow(_ rows: Int, _ columns: Int) -> MutableMatrixView {
    MutableMatrixView(gradientMemory.take(rows * columns), rows: rows, columns: columns)
  }

  /// Returns what was borrowed.
  func giveBack(_ x: MutableMatrixView) { gradientMemory.giveBack(x.base) }

  /// Frees the gradients of everything that was handed out from an operation on.
  func freeGradients(bornFrom operation: Int) {
    while let last = pieces.last, last.born >= operation {
      freeGradient(pieces.count - 1)
      pieces.removeLast()
      gradients.removeLast()
    }
  }

  private func freeGradient(_ index: Int) {
    guard let gradient = gradients[index] else { return }
    gradientMemory.giveBack(gradient)
    gradients[index] = nil
  }

  private func view(
    _ x: MatrixView, _ index: Int, _ gradient: UnsafeMutablePointer<Float>
  ) -> MutableMatrixView {
    let offset = x.base - UnsafePointer(base) - pieces[index].start
    return MutableMatrixView(gradient + offset, rows: x.rows, columns: x.columns, rowStride: x.rowStride)
  }
}
