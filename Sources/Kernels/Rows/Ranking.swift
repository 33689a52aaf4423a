/// The largest value that is not NaN; −∞ when there is none.
///
/// - Parameter x: (count).
/// - Precondition: `count ≥ 0`.
/// - Complexity: O(count), one pass.
public func maximumOfRow(_ x: UnsafePointer<Float>, count: Int) -> Float {
  precondition(count >= 0, "the largest of \(count) values")
  let least = FloatVector(repeating: -.infinity)
  var (a, b, c, d) = (least, least, least, least)
  let whole = count & ~15
  let endOfFours = count & ~63
  var index = 0  // Every addition to it is safe: it stays within `count`.
  while index < endOfFours {
    a = a.larger(FloatVector(at: x + index))
    b = b.larger(FloatVector(at: x + (index &+ 16)))
    c = c.larger(FloatVector(at: x + (index &+ 32)))
    d = d.larger(FloatVector(at: x + (index &+ 48)))
    index &+= 64
  }
  while index < whole {
    a = a.larger(FloatVector(at: x + index))
    index &+= 16
  }
  if whole < count { b = b.larger(FloatVector(at: x + whole, count: count - whole, rest: -.infinity)) }
  return a.larger(b).larger(c.larger(d)).largestLane
}

/// The place of the largest value, the first of equals.
///
/// NaN is never the largest; a row of nothing but NaN or −∞ answers 0 or its first −∞.
///
/// - Parameter x: (count).
/// - Precondition: `count > 0`.
/// - Complexity: O(count), reading `x` at most twice.
public func argmax(_ x: UnsafePointer<Float>, count: Int) -> Int {
  precondition(count > 0, "the largest of \(count) values")
  let maximum = maximumOfRow(x, count: count)
  let whole = count & ~15
  var index = 0
  while index < whole, !any(FloatVector(at: x + index) .== maximum) {
    index &+= 16  // Safe: at most `count`.
  }
  return firstPlace(of: maximum, in: x, index..<min(index + 16, count))
}

/// The first place of a value within a range; 0 when it is not there.
private func firstPlace(of value: Float, in x: UnsafePointer<Float>, _ range: Range<Int>) -> Int {
  for index in range where x[index] == value { return index }
  return 0
}

/// The places of the largest values, largest first, of equals the first.
///
/// NaN counts as −∞.
///
/// - Parameters:
///   - x: (count).
///   - places: (k) to be filled.
/// - Precondition: `k ≤ count < 2³²`.
/// - Complexity: O(count + k log k), the larger values being spread over the row; O(count) for k near count.
public func topK(_ x: UnsafePointer<Float>, count: Int, into places: UnsafeMutableBufferPointer<Int>) {
  let k = places.count
  precondition(k <= count && count < 1 << 32, "the \(k) largest of \(count) values")
  if k > max(1024, count / 32) {
    rankAll(x, count: count, into: places)
  } else if k > 0 {
    rankFew(x, count: count, into: places)
  }
}

/// The places of the k largest values, as an array.
///
/// - Parameter x: (count).
/// - Precondition: `0 ≤ k ≤ count < 2³²`.
public func topK(_ k: Int, of x: UnsafePointer<Float>, count: Int) -> [Int] {
  precondition(k >= 0, "the \(k) largest of \(count) values")
  return Array(unsafeUninitializedCapacity: k) { places, written in
    topK(x, count: count, into: UnsafeMutableBufferPointer(rebasing: places[..<k]))
    written = k
  }
}

/// The k-th largest value, equal ones counted each; NaN counts as −∞.
///
/// - Parameter x: (count).
/// - Precondition: `1 ≤ k ≤ count < 2³²`.
/// - Complexity: O(count), the values being spread over the row: nothing is sorted.
public func largest(_ k: Int, of x: UnsafePointer<Float>, count: Int) -> Float {
  precondition(k >= 1 && k <= count && count < 1 << 32, "the \(k)-th largest of \(count) values")
  return withLargestKeys(k, of: x, count: count) { _, smallest in smallest }
}

/// `topK` for few of many: only those are sorted.
private func rankFew(_ x: UnsafePointer<Float>, count: Int, into places: UnsafeMutableBufferPointer<Int>) {
  withLargestKeys(places.count, of: x, count: count) { keys, _ in
    var keys = keys
    keys.sort(by: >)
    for rank in places.indices { places[rank] = rankedPlace(keys[rank]) }
  }
}

/// Calls `body` with the keys of the k ≥ 1 largest values, in any order, and the smallest of those values; one
/// pass that keeps candidates.
@inline(__always)
private func withLargestKeys<Result>(
  _ k: Int, of x: UnsafePointer<Float>, count: Int,
  _ body: (UnsafeMutableBufferPointer<UInt64>, Float) -> Result
) -> Result {
  // Candidates collect until the buffer is full, then only the k largest stay, whose smallest is from then
  // on what a candidate must exceed. A longer buffer is thinned out less often.
  let capacity = min(max(4 * k, 512), count)
  return withUnsafeTemporaryAllocation(of: UInt64.self, capacity: capacity) { candidates in
    let keys = candidates.baseAddress!
    for place in 0..<capacity { keys[place] = rankingKey(x[place], at: place) }
    var threshold = keepLargest(k, of: keys, count: capacity)
    var kept = k
    for first in stride(from: capacity, to: count, by: 16) {
      // Sixteen at a time while none of them counts.
      if first + 16 <= count, !any(FloatVector(at: x + first) .> threshold) { continue }
      for place in first..<min(first + 16, count) where x[place] > threshold {
        if kept == capacity {
          threshold = keepLargest(k, of: keys, count: kept)
          kept = k
          if x[place] <= threshold { continue }
        }
        keys[kept] = rankingKey(x[place], at: place)
        kept += 1
      }
    }
    threshold = keepLargest(k, of: keys, count: kept)
    return body(UnsafeMutableBufferPointer(start: keys, count: k), threshold)
  }
}

/// `topK` for many: a radix sort of all, by eleven bits of the value at a time.
private func rankAll(_ x: UnsafePointer<Float>, count: Int, into places: UnsafeMutableBufferPointer<Int>) {
  let digits = 1 << 11
  withUnsafeTemporaryAllocation(of: UInt64.self, capacity: 2 * count) { buffer in
    withUnsafeTemporaryAllocation(of: Int.self, capacity: digits) { next in
      guard var source = buffer.baseAddress else { return }
      var target = source + count
      // Larger values first means smaller complements first. Equal values keep the order of their places.
      for place in 0..<count { source[place] = ~rankingKey(x[place], at: place) }
      for shift in [UInt64(32), 43, 54] {
        next.update(repeating: 0)
        for index in 0..<count { next[Int(source[index] >> shift) & (digits - 1)] += 1 }
        var sum = 0
        for digit in 0..<digits { (next[digit], sum) = (sum, sum + next[digit]) }
        for index in 0..<count {
          let digit = Int(source[index] >> shift) & (digits - 1)
          target[next[digit]] = source[index]
          next[digit] += 1
        }
        (source, target) = (target, source)
      }
      for rank in places.indices { places[rank] = rankedPlace(~source[rank]) }
    }
  }
}

/// A number that orders values ascending and, among equals, places descending.
@inline(__always)
private func rankingKey(_ value: Float, at place: Int) -> UInt64 {
  // −0 + 0 is 0, so the zeros are equal. The bits of negative numbers ascend with their magnitude.
  let bits = (value == value ? value + 0 : -.infinity).bitPattern
  let ascending = bits >> 31 == 0 ? bits | 0x8000_0000 : ~bits
  return UInt64(ascending) << 32 | UInt64(~UInt32(truncatingIfNeeded: place))
}

/// The place of a ranking key.
@inline(__always)
private func rankedPlace(_ key: UInt64) -> Int { Int(~UInt32(truncatingIfNeeded: key)) }

/// The value of a ranking key.
@inline(__always)
private func rankedValue(_ key: UInt64) -> Float {
  let ascending = UInt32(key >> 32)
  return Float(bitPattern: ascending >> 31 == 1 ? ascending & 0x7FFF_FFFF : ~ascending)
}

/// Moves the k largest keys to the front, in any order; returns the smallest value among them.
///
/// - Parameter keys: (count), all different.
private func keepLargest(_ k: Int, of keys: UnsafeMutablePointer<UInt64>, count: Int) -> Float {
  // Quickselect: after each round, keys before `low` are larger and keys after `high` smaller than those between.
  var (low, high) = (0, count - 1)
  while low < high {
    let pivot = medianOfThree(keys[low], keys[(low + high) / 2], keys[high])
    var (left, right) = (low, high)
    while left <= right {
      while keys[left] > pivot { left += 1 }
      while keys[right] < pivot { right -= 1 }
      if left <= right {
        (keys[left], keys[right]) = (keys[right], keys[left])
        left += 1
        right -= 1
      }
    }
    if k - 1 <= right {
      high = right
    } else if k - 1 >= left {
      low = left
    } else {
      break
    }
  }
  return rankedValue(keys[k - 1])
}

private func medianOfThree(_ a: UInt64, _ b: UInt64, _ c: UInt64) -> UInt64 {
  max(min(a, b), min(max(a, b), c))
}

/// The place of the largest value: the naive twin of `argmax`.
func argmaxReference(_ x: UnsafePointer<Float>, count: Int) -> Int {
  var best = -1
  for index in 0..<count where x[index] == x[index] && (best < 0 || x[index] > x[best]) { best = index }
  return max(best, 0)
}

/// The places of the largest values, by sorting all: the naive twin of `topK`.
func topKReference(_ x: UnsafePointer<Float>, count: Int, into places: UnsafeMutableBufferPointer<Int>) {
  let ranked = (0..<count).sorted { first, second in
    let (a, b) = (x[first].isNaN ? -.infinity : x[first], x[second].isNaN ? -.infinity : x[second])
    return a != b ? a > b : first < second
  }
  for rank in places.indices { places[rank] = ranked[rank] }
}
