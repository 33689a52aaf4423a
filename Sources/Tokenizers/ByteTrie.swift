/// The tokens of a vocabulary as a double array: one memory access for each byte of text.
///
/// The child of a node by a byte is the cell at `base ^ byte`, if that cell names the node as its parent.
/// Written only while building and read-only afterwards, hence safe to share.
/// - SeeAlso: Aoe, "An Efficient Digital Search Algorithm by Using a Double-Array Structure" (1989).
final class ByteTrie: @unchecked Sendable {
  private struct Cell {
    var base: UInt32
    /// The parent's cell; `free` where no node lies.
    var parent: UInt32
    var value: UInt32
  }

  /// The value of a node at which no token ends.
  static let none = UInt32.max
  /// The node from which every walk begins.
  ///
  /// No node has it as a child, so it also stands for "no such node".
  static let root: UInt32 = 0

  private static let free = UInt32.max
  private static let blockSize = 256
  /// Only the last blocks are searched for room, so that building stays linear.
  private static let openBlocks = 16

  private var cells: UnsafeMutablePointer<Cell>
  private var count = ByteTrie.blockSize
  private var capacity: Int

  /// The trie of all entries of a table, with their values; an empty text is left out.
  ///
  /// - Complexity: O(bytes + entries · log entries).
  init(_ table: StringTable) {
    capacity = max(ByteTrie.blockSize, 4 * table.count)
    capacity += -capacity & (ByteTrie.blockSize - 1)
    cells = .allocate(capacity: capacity)
    cells.initialize(repeating: Cell(base: 0, parent: ByteTrie.free, value: ByteTrie.none), count: count)
    cells[0].parent = 0
    var builder = Builder(count: count)
    builder.take(0)
    var keys = (0..<table.count).map { Key(table.bytes(ofEntry: $0), table.value(ofEntry: $0)) }
    keys.removeAll { $0.count == 0 }
    keys.sort { $0.precedes($1) }
    build(keys, &builder)
  }

  deinit { cells.deallocate() }

  /// The node after one more byte, `root` where there is none.
  @inline(__always)
  func child(_ node: UInt32, _ byte: UInt8) -> UInt32 {
    // Safe: a base and its 256 neighbours by exclusive or lie in one block, and blocks are whole.
    let at = cells[Int(node)].base ^ UInt32(byte)
    return cells[Int(at)].parent == node ? at : ByteTrie.root
  }

  /// The value of the text that ends at a node, `none` where none ends.
  @inline(__always)
  func value(_ node: UInt32) -> UInt32 { cells[Int(node)].value }

  /// The node that a text leads to; `root` for an empty text, `nil` where no token begins so.
  func node(of text: [UInt8]) -> UInt32? {
    var node = ByteTrie.root
    for byte in text {
      node = child(node, byte)
      if node == ByteTrie.root { return nil }
    }
    return node
  }

  /// The length and value of the longest text that the bytes begin with; length 0 where there is none.
  @inline(__always)
  func longestPrefix(_ text: UnsafePointer<UInt8>, _ count: Int) -> (length: Int, value: UInt32) {
    var node = ByteTrie.root
    var at = 0
    var length = 0
    var found = ByteTrie.none
    while at < count {
      node = child(node, text[at])
      if node == ByteTrie.root { break }
      at &+= 1
      if cells[Int(node)].value != ByteTrie.none {
        length = at
        found = cells[Int(node)].value
      }
    }
    return (length, found)
  }

  // MARK: Building

  /// A text with its first eight bytes as a number, which settles most comparisons.
  private struct Key {
    let bytes: UnsafePointer<UInt8>
    let count: Int
    let head: UInt64
    let value: UInt32

    init(_ text: UnsafeBufferPointer<UInt8>, _ value: UInt32) {
      bytes = text.baseAddress ?? UnsafePointer(bitPattern: 1)!  // never read when there are no bytes
      count = text.count
      self.value = value
      var head: UInt64 = 0
      for at in 0..<8 { head = head << 8 | (at < text.count ? UInt64(text[at]) : 0) }
      self.head = head
    }

    func precedes(_ other: Key) -> Bool {
      if head != other.head { return head < other.head }
      var at = 8
      while at < count, at < other.count {
        if bytes[at] != other.bytes[at] { return bytes[at] < other.bytes[at] }
        at += 1
      }
      return count < other.count
    }
  }

  private func build(_ keys: [Key], _ builder: inout Builder) {
    var pending: [(node: UInt32, start: Int, end: Int, depth: Int)] = [(ByteTrie.root, 0, keys.count, 0)]
    var labels: [UInt8] = []
    var starts: [Int] = []
    while let (node, first, end, depth) = pending.popLast() {
      labels.removeAll(keepingCapacity: true)
      starts.removeAll(keepingCapacity: true)
      var at = first
      while at < end, keys[at].count == depth {
        cells[Int(node)].value = keys[at].value
        at += 1
      }
      while at < end {
        let byte = keys[at].bytes[depth]
        if labels.last != byte {
          labels.append(byte)
          starts.append(at)
        }
        at += 1
      }
      guard let firstLabel = labels.first else { continue }
      starts.append(end)
      let base = place(labels, firstLabel, &builder)
      cells[Int(node)].base = base
      for (index, label) in labels.enumerated() {
        let child = base ^ UInt32(label)
        builder.take(Int(child))
        cells[Int(child)].parent = node
        pending.append((child, starts[index], starts[index + 1], depth + 1))
      }
    }
  }

  /// A base whose cells for all labels are free; new blocks are added when there is none.
  private func place(_ labels: [UInt8], _ first: UInt8, _ builder: inout Builder) -> UInt32 {
    var at = builder.firstFree
    while at >= 0 {
      let base = UInt32(at) ^ UInt32(first)
      if labels.allSatisfy({ cells[Int(base ^ UInt32($0))].parent == ByteTrie.free }) { return base }
      at = builder.next(at)
    }
    let start = count
    addBlock(&builder)
    return UInt32(start)
  }

  private func addBlock(_ builder: inout Builder) {
    if count == capacity {
      let larger = UnsafeMutablePointer<Cell>.allocate(capacity: 2 * capacity)
      larger.update(from: cells, count: count)
      cells.deallocate()
      cells = larger
      capacity *= 2
    }
    (cells + count).initialize(
      repeating: Cell(base: 0, parent: ByteTrie.free, value: ByteTrie.none), count: ByteTrie.blockSize)
    builder.add(start: count, count: ByteTrie.blockSize)
    count += ByteTrie.blockSize
    let closed = count / ByteTrie.blockSize - ByteTrie.openBlocks - 1
    if closed >= 0 { builder.close(start: closed * ByteTrie.blockSize, count: ByteTrie.blockSize) }
  }

  /// The free cells of the open blocks, as a doubly linked list.
  private struct Builder {
    private var nexts: [Int32] = []
    private var previous: [Int32] = []
    private var isListed: [Bool] = []
    private(set) var firstFree = -1
    private var lastFree = -1

    init(count: Int) { add(start: 0, count: count) }

    func next(_ at: Int) -> Int { Int(nexts[at]) }

    mutating func add(start: Int, count: Int) {
      for at in start..<(start + count) {
        nexts.append(-1)
        previous.append(Int32(lastFree))
        isListed.append(true)
        if lastFree >= 0 { nexts[lastFree] = Int32(at) } else { firstFree = at }
        lastFree = at
      }
    }

    mutating func take(_ at: Int) {
      guard isListed[at] else { return }
      isListed[at] = false
      let before = Int(previous[at])
      let after = Int(nexts[at])
      if before >= 0 { nexts[before] = Int32(after) } else { firstFree = after }
      if after >= 0 { previous[after] = Int32(before) } else { lastFree = before }
    }

    mutating func close(start: Int, count: Int) {
      for at in start..<(start + count) { take(at) }
    }
  }
}
