/// A text cut into pieces, as it passes through the pre-tokenisers.
///
/// Pieces are ranges of one buffer. A pre-tokeniser that only cuts replaces the ranges; one that changes
/// characters writes a new buffer.
struct PreTokenizedText {
  /// A range of bytes; never empty.
  struct Piece {
    var start: UInt32
    var end: UInt32
  }

  /// How a matched delimiter is dealt with.
  enum DelimiterBehavior: String {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"
  }

  /// The bytes of all pieces; owned by the caller or by `owned`.
  private(set) var text: UnsafeBufferPointer<UInt8>
  private(set) var pieces: [Piece]
  /// How many bytes at the front come from the first character of the whole text.
  private(set) var beginning: Int
  private var owned: UnsafeMutableBufferPointer<UInt8>?
  private var cuts: [Piece] = []
  private var marked: [(start: UInt32, end: UInt32, isMatch: Bool)] = []

  /// One piece that is the whole of a text of less than 2 GiB, which must outlive this value.
  init(_ text: UnsafeBufferPointer<UInt8>, beginning: Int) {
    self.text = text
    self.beginning = beginning
    pieces = text.isEmpty ? [] : [Piece(start: 0, end: UInt32(text.count))]
  }

  /// Releases a buffer that a pre-tokeniser wrote.
  func deallocate() { owned?.deallocate() }

  /// The bytes of a piece.
  @inline(__always)
  func bytes(_ piece: Piece) -> UnsafeBufferPointer<UInt8> {
    UnsafeBufferPointer(
      start: text.baseAddress! + Int(piece.start), count: Int(piece.end) &- Int(piece.start))
  }

  /// Calls the body with the bytes of each piece and how many they are.
  @inline(__always)
  func forEachWord(_ body: (UnsafePointer<UInt8>, Int) throws -> Void) rethrows {
    for piece in pieces {
      // Safe: pieces are never empty and lie within the text.
      try body(text.baseAddress! + Int(piece.start), Int(piece.end) &- Int(piece.start))
    }
  }

  /// Replaces the pieces by those that the body appends for each of them (offsets into `text`).
  mutating func cut(_ body: (UnsafeBufferPointer<UInt8>, UInt32, inout [Piece]) throws -> Void) rethrows {
    cuts.removeAll(keepingCapacity: true)
    var next = cuts
    cuts = []
    for piece in pieces { try body(bytes(piece), piece.start, &next) }
    cuts = pieces
    pieces = next
  }

  /// Cuts every piece at the matches that `find` reports in ascending order, relative to the piece.
  mutating func split(
    _ behavior: DelimiterBehavior, inverted: Bool = false,
    find: (UnsafeBufferPointer<UInt8>, (Int, Int) -> Void) throws -> Void
  ) rethrows {
    if behavior == .isolated {
      // Matches and gaps are treated alike, so there is nothing to keep apart.
      try cut { bytes, base, out in
        var end: UInt32 = 0
        try withoutActuallyEscaping(find) { find in
          try find(bytes) { start, stop in
            if UInt32(start) > end { out.append(Piece(start: base + end, end: base + UInt32(start))) }
            if stop > start { out.append(Piece(start: base + UInt32(start), end: base + UInt32(stop))) }
            end = UInt32(stop)
          }
        }
        if Int(end) < bytes.count { out.append(Piece(start: base + end, end: base + UInt32(bytes.count))) }
      }
      return
    }
    var marked = self.marked
    try cut { bytes, base, out in
      marked.removeAll(keepingCapacity: true)
      var end = 0
      try find(bytes) { start, stop in
        if start > end { marked.append((UInt32(end), UInt32(start), inverted)) }
        marked.append((UInt32(start), UInt32(stop), !inverted))
        end = stop
      }
      if end < bytes.count { marked.append((UInt32(end), UInt32(bytes.count), inverted)) }
      let first = out.count
      PreTokenizedText.arrange(marked, behavior, base, &out)
      // Empty pieces come from empty matches; nobody wants them.
      if out[first...].contains(where: { $0.start == $0.end }) {
        let kept = out[first...].filter { $0.start < $0.end }
        out.replaceSubrange(first..., with: kept)
      }
    }
    self.marked = marked
  }

  private static func arrange(
    _ marked: [(start: UInt32, end: UInt32, isMatch: Bool)], _ behavior: DelimiterBehavior, _ base: UInt32,
    _ out: inout [Piece]
  ) {
    let first = out.count
    var previous = false
    switch behavior {
    case .isolated, .removed:
      for part in marked where behavior == .isolated || !part.isMatch {
        out.append(Piece(start: base + part.start, end: base + part.end))
      }
    case .contiguous:
      for (index, part) in marked.enumerated() {
        if index > 0, part.isMatch == previous {
          out[out.count - 1].end = base + part.end
        } else {
          out.append(Piece(start: base + part.start, end: base + part.end))
        }
        previous = part.isMatch
      }
    case .mergedWithPrevious:
      for part in marked {
        if part.isMatch, !previous, out.count > first {
          out[out.count - 1].end = base + part.end
        } else {
          out.append(Piece(start: base + part.start, end: base + part.end))
        }
        previous = part.isMatch
      }
    case .mergedWithNext:
      for part in marked.reversed() {
        if part.isMatch, !previous, out.count > first {
          out[out.count - 1].start = base + part.start
        } else {
          out.append(Piece(start: base + part.start, end: base + part.end))
        }
        previous = part.isMatch
      }
      out[first...].reverse()
    }
  }

  /// Rewrites every piece: the body appends the new bytes of one to the buffer; it is told whether the piece comes
  /// from the beginning of the whole text.
  mutating func rewrite(_ body: (Bool, UnsafeBufferPointer<UInt8>, inout [UInt8]) -> Void) {
    var buffer: [UInt8] = []
    buffer.reserveCapacity(text.count + text.count / 2 + 16)
    var next: [Piece] = []
    next.reserveCapacity(pieces.count)
    var newBeginning = 0
    for piece in pieces {
      let start = UInt32(buffer.count)
      let bytes = bytes(piece)
      let isBeginning = piece.start < beginning
      if isBeginning {
        // What the front alone becomes, at the place where the piece will lie.
        let front = min(bytes.count, beginning - Int(piece.start))
        body(true, UnsafeBufferPointer(rebasing: bytes[..<front]), &buffer)
        newBeginning = buffer.count
        buffer.removeLast(buffer.count - Int(start))
      }
      body(isBeginning, bytes, &buffer)
      if buffer.count > start { next.append(Piece(start: start, end: UInt32(buffer.count))) }
    }
    beginning = newBeginning
    let copy = UnsafeMutableBufferPointer<UInt8>.allocate(capacity: max(1, buffer.count))
    _ = copy.initialize(from: buffer)
    owned?.deallocate()
    owned = copy
    text = UnsafeBufferPointer(rebasing: copy[..<buffer.count])
    pieces = next
  }
}
