/// Something that waits in a `MergeHeap`.
protocol HeapElement {
  /// What comes first is smallest.
  var key: UInt64 { get }
}

/// A binary heap over an array that its owner keeps, the smallest key first.
///
/// Merging spends its time here: the array is used again for every word, and nothing is checked.
enum MergeHeap {
  /// Puts the last element of the array where it belongs.
  @inline(__always)
  static func raiseLast<Element: HeapElement>(_ elements: inout [Element]) {
    elements.withUnsafeMutableBufferPointer { heap in
      var at = heap.count - 1
      while at > 0 {
        let parent = (at - 1) / 2
        if heap[parent].key <= heap[at].key { break }
        heap.swapAt(parent, at)
        at = parent
      }
    }
  }

  /// Lets an element sink to where it belongs.
  @inline(__always)
  static func sink<Element: HeapElement>(_ elements: inout [Element], _ start: Int) {
    elements.withUnsafeMutableBufferPointer { heap in
      var at = start
      while true {
        var child = 2 * at + 1
        if child >= heap.count { break }
        if child + 1 < heap.count, heap[child + 1].key < heap[child].key { child += 1 }
        if heap[at].key <= heap[child].key { break }
        heap.swapAt(at, child)
        at = child
      }
    }
  }
}
