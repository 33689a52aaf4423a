/// A set of code points as sorted, disjoint, non-adjacent ranges.
struct CodePointSet: Sendable, Equatable {
  private(set) var ranges: [ClosedRange<UInt32>]

  /// Every code point.
  static let all = CodePointSet([0...0x10_FFFF])
  /// The characters of ASCII.
  static let ascii = CodePointSet([0...0x7F])

  /// The union of ranges in any order.
  init(_ ranges: [ClosedRange<UInt32>] = []) {
    var merged: [ClosedRange<UInt32>] = []
    for range in ranges.sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = merged.last, range.lowerBound <= last.upperBound &+ 1 {
        merged[merged.count - 1] = last.lowerBound...max(last.upperBound, range.upperBound)
      } else {
        merged.append(range)
      }
    }
    self.ranges = merged
  }

  /// The union of categories and of generated ranges (gaps and lengths in base 36).
  init(_ categories: [GeneralCategory], adding text: StaticString = "") {
    let numbers = CompactText.numbers(text)
    var ranges: [ClosedRange<UInt32>] = []
    var position = 0
    for pair in 0..<(numbers.count / 2) {
      let start = position + numbers[2 * pair]
      position = start + numbers[2 * pair + 1]
      ranges.append(UInt32(start)...UInt32(position - 1))
    }
    if !categories.isEmpty {
      let wanted = Set(categories.map(\.rawValue))
      CategoryTable.forEachRange { category, range in
        if wanted.contains(category.rawValue) { ranges.append(range) }
      }
    }
    self.init(ranges)
  }

  /// Whether a code point is a member; O(log ranges).
  func contains(_ codePoint: UInt32) -> Bool {
    var low = 0
    var high = ranges.count
    while low < high {
      let middle = (low + high) / 2
      if ranges[middle].upperBound < codePoint {
        low = middle + 1
      } else {
        high = middle
      }
    }
    return low < ranges.count && ranges[low].lowerBound <= codePoint
  }

  /// Members of either.
  func union(_ other: CodePointSet) -> CodePointSet { CodePointSet(ranges + other.ranges) }

  /// Code points that are not members.
  var complement: CodePointSet {
    var out: [ClosedRange<UInt32>] = []
    var next: UInt32 = 0
    for range in ranges {
      if range.lowerBound > next { out.append(next...(range.lowerBound - 1)) }
      next = range.upperBound + 1
    }
    if next <= 0x10_FFFF { out.append(next...0x10_FFFF) }
    var set = CodePointSet()
    set.ranges = out
    return set
  }

  /// Members of both.
  func intersection(_ other: CodePointSet) -> CodePointSet {
    complement.union(other.complement).complement
  }

  /// Members that are not in the other.
  func subtracting(_ other: CodePointSet) -> CodePointSet { intersection(other.complement) }
}
