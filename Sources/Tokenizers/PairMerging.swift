/// The two ways to apply merges; equal in result.
enum PairMerging {
  /// Words of at most so many symbols are merged by scanning; measured to beat the queue up to there.
  static let scanLimit = 64

  /// Merges in place and returns how many symbols are left.
  ///
  /// - Complexity: O(symbols²), with a scan of 32-bit ranks as the inner loop.
  static func mergeByScanning(_ symbols: UnsafeMutableBufferPointer<UInt32>, _ merges: MergeTable) -> Int {
    guard symbols.count > 1 else { return symbols.count }
    return withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 2 * scanLimit) { scratch in
      // Safe: `symbols` has at most `scanLimit` elements; every index below stays under `count`.
      let tokens = symbols.baseAddress!
      let ranks = scratch.baseAddress!
      let merged = ranks + scanLimit
      var count = symbols.count
      var pairs = count &- 1
      for at in 0..<pairs {
        let merge = merges.find(tokens[at], tokens[at &+ 1])
        ranks[at] = merge.rank
        merged[at] = merge.token
      }
      while pairs > 0 {
        var best = UInt32.max
        for at in 0..<pairs { best = min(best, ranks[at]) }
        if best == .max { break }
        var at = 0
        while ranks[at] != best { at &+= 1 }

        tokens[at] = merged[at]
        count &-= 1
        pairs &-= 1
        for next in (at &+ 1)..<max(count, at &+ 1) { tokens[next] = tokens[next &+ 1] }
        for next in at..<max(pairs, at) {
          ranks[next] = ranks[next &+ 1]
          merged[next] = merged[next &+ 1]
        }
        if at < pairs {
          let merge = merges.find(tokens[at], tokens[at &+ 1])
          ranks[at] = merge.rank
          merged[at] = merge.token
        }
        if at > 0 {
          let merge = merges.find(tokens[at &- 1], tokens[at])
          ranks[at &- 1] = merge.rank
          merged[at &- 1] = merge.token
        }
      }
      return count
    }
  }

  /// A symbol in the linked list; merged-away ones have no token.
  struct Link {
    var token: UInt32
    var previous: Int32
    var next: Int32
    var isAlive: Bool
  }

  /// A merge that could be applied, ordered by rank and then from left to right.
  struct Candidate: HeapElement {
    var rank: UInt32
    var position: Int32
    var token: UInt32

    @inline(__always)
    var key: UInt64 { UInt64(rank) &<< 32 | UInt64(UInt32(bitPattern: position)) }
  }

  /// Merges a long word; the result replaces `scratch.symbols`.
  ///
  /// A candidate is stale when its pair no longer becomes its token; that is how `tokenizers` tells, and it
  /// matters where two strings share a token.
  /// - Complexity: O(symbols · log symbols).
  static func mergeByQueue(_ scratch: inout ModelScratch, _ merges: MergeTable) {
    let count = scratch.symbols.count
    guard count > 1 else { return }
    var links = scratch.links
    var queue = scratch.queue
    scratch.links = []
    scratch.queue = []
    links.removeAll(keepingCapacity: true)
    queue.removeAll(keepingCapacity: true)
    for at in 0..<count {
      links.append(
        Link(
          token: scratch.symbols[at], previous: Int32(at) - 1, next: at + 1 < count ? Int32(at) + 1 : -1,
          isAlive: true))
    }
    for at in 0..<(count - 1) {
      let merge = merges.find(links[at].token, links[at + 1].token)
      if merge.rank != .max {
        queue.append(Candidate(rank: merge.rank, position: Int32(at), token: merge.token))
      }
    }
    // Makes a heap of what is there; single pushes follow.
    for at in stride(from: queue.count / 2 - 1, through: 0, by: -1) { MergeHeap.sink(&queue, at) }

    while let top = queue.first {
      let last = queue.removeLast()
      if !queue.isEmpty {
        queue[0] = last
        MergeHeap.sink(&queue, 0)
      }
      let at = Int(top.position)
      guard links[at].isAlive, links[at].next >= 0 else { continue }
      let right = Int(links[at].next)
      let merge = merges.find(links[at].token, links[right].token)
      guard merge.rank != .max, merge.token == top.token else { continue }

      links[at].token = top.token
      links[at].next = links[right].next
      links[right].isAlive = false
      if links[at].next >= 0 { links[Int(links[at].next)].previous = Int32(at) }
      if links[at].previous >= 0 { push(Int(links[at].previous), at, links, merges, &queue) }
      if links[at].next >= 0 { push(at, Int(links[at].next), links, merges, &queue) }
    }

    scratch.symbols.removeAll(keepingCapacity: true)
    for link in links where link.isAlive { scratch.symbols.append(link.token) }
    scratch.links = links
    scratch.queue = queue
  }

  @inline(__always)
  private static func push(
    _ left: Int, _ right: Int, _ links: [Link], _ merges: MergeTable, _ queue: inout [Candidate]
  ) {
    let merge = merges.find(links[left].token, links[right].token)
    guard merge.rank != .max else { return }
    queue.append(Candidate(rank: merge.rank, position: Int32(left), token: merge.token))
    MergeHeap.raiseLast(&queue)
  }
}
