import Synchronization

/// Memory that operations borrow and give back, so that none of them allocates once the sizes have settled.
final class ScratchMemory: Sendable {
  private struct Piece: @unchecked Sendable {  // Safe: one borrower at a time.
    var base: UnsafeMutableRawPointer
    var count: Int
  }

  private let free = Mutex<[Piece]>([])

  deinit { free.withLock { for piece in $0 { piece.base.deallocate() } } }

  /// Lends at least `count` bytes, aligned to 64, during the call; their contents are undefined.
  func withMemory(_ count: Int, _ body: (UnsafeMutableRawPointer) -> Void) {
    var piece =
      free.withLock { $0.popLast() } ?? Piece(base: .allocate(byteCount: 64, alignment: 64), count: 64)
    if piece.count < count {
      piece.base.deallocate()
      piece = Piece(base: .allocate(byteCount: count, alignment: 64), count: count)
    }
    body(piece.base)
    let returned = piece
    free.withLock { $0.append(returned) }
  }
}
