import Kernels

/// The tokens that may still be drawn, with their scores, in ascending order of id.
///
/// Starts as the whole vocabulary; each filter removes some. A token that is not in the set has score −∞, so
/// filters after the first work on what is left, not on the vocabulary. Memory is allocated once.
final class CandidateSet {
  private(set) var count = 0
  /// Token ids, ascending.
  let tokens: UnsafeMutablePointer<Int32>
  /// Their scores.
  let scores: UnsafeMutablePointer<Float>
  /// Room for one number per candidate: probabilities, mostly.
  let weights: UnsafeMutablePointer<Float>
  /// Room for another.
  let keys: UnsafeMutablePointer<Float>
  let capacity: Int

  private let ordering: UnsafeMutablePointer<Int32>
  private let masses = Scratch<Double>(count: CandidateSet.bucketCount, repeating: 0)
  private static let bucketCount = 2048

  /// A set for a vocabulary of `capacity` tokens.
  init(capacity: Int) {
    self.capacity = capacity
    tokens = .allocate(capacity: capacity)
    scores = .allocate(capacity: capacity)
    weights = .allocate(capacity: capacity)
    keys = .allocate(capacity: capacity)
    ordering = .allocate(capacity: capacity)
  }

  deinit {
    tokens.deallocate()
    scores.deallocate()
    weights.deallocate()
    keys.deallocate()
    ordering.deallocate()
  }

  /// Becomes the whole vocabulary with the given scores, (capacity).
  func load(_ row: UnsafePointer<Float>) {
    count = capacity
    scores.update(from: row, count: capacity)
    for token in 0..<capacity { tokens[token] = Int32(truncatingIfNeeded: token) }
  }

  /// Removes the candidates for whose index `keeps` is false.
  @inline(__always)
  func keep(where keeps: (Int) -> Bool) {
    var kept = 0
    for index in 0..<count where keeps(index) {
      tokens[kept] = tokens[index]
      scores[kept] = scores[index]
      kept += 1
    }
    count = kept
  }

  /// Removes the candidates whose score is below a threshold.
  func keep(scoresFrom threshold: Float) {
    var kept = 0
    // Blocks at a time: after the first filter of a large vocabulary almost all go.
    for start in stride(from: 0, to: count, by: 64) {
      let block = start..<min(start + 64, count)
      guard maximumOfRow(scores + start, count: block.count) >= threshold else { continue }
      for index in block where scores[index] >= threshold {
        tokens[kept] = tokens[index]
        scores[kept] = scores[index]
        kept += 1
      }
    }
    count = kept
  }

  /// Writes the softmax of the scores to `weights`.
  /// - Returns: whether the scores define a distribution.
  func computeProbabilities() -> Bool { softmaxRow(scores, into: weights, count: count) }

  /// The k-th largest score, counting equal ones; k is at most `count`.
  func score(ofRank rank: Int) -> Float { largest(rank, of: scores, count: count) }

  /// The first candidate, in ascending order of key and then of index, at which the sum of weights crosses.
  ///
  /// To cross is to exceed the target, or with `orEquals` to reach it; `nil` when the sum of all does not.
  ///
  /// Sums are accumulated in Double and rounded to Float before each comparison, as torch's `cumsum` does.
  /// Only the candidates near the crossing are sorted: keys are distributed over buckets whose masses are
  /// summed first.
  ///
  /// - Complexity: O(count) for keys that are spread out.
  func crossing(
    keys: UnsafePointer<Float>, weights: UnsafePointer<Float>, target: Float, orEquals: Bool
  ) -> Int? {
    func crosses(_ sum: Double) -> Bool { orEquals ? Float(sum) >= target : Float(sum) > target }

    let buckets = count <= 256 ? 1 : CandidateSet.bucketCount
    var (low, high) = (Float.infinity, -Float.infinity)
    for index in 0..<count where keys[index].isFinite {
      low = min(low, keys[index])
      high = max(high, keys[index])
    }
    // Monotonic in the key; infinities go to the ends.
    let scale = high > low ? Float(buckets - 1) / (high - low) : 0
    func bucket(_ key: Float) -> Int {
      if key <= low { return 0 }
      if key >= high { return buckets - 1 }
      return min(Int((key - low) * scale), buckets - 1)
    }

    let masses = masses.start
    masses.update(repeating: 0, count: buckets)
    if buckets > 1 { for index in 0..<count { masses[bucket(keys[index])] += Double(weights[index]) } }

    var sum = 0.0
    for current in 0..<buckets {
      // Sums in another order may differ in the last bits of a Double: a bucket is opened a little early.
      if buckets > 1, !crosses(sum + masses[current] + 1e-9), current < buckets - 1 {
        sum += masses[current]
        continue
      }
      var members = 0
      for index in 0..<count where buckets == 1 || bucket(keys[index]) == current {
        ordering[members] = Int32(truncatingIfNeeded: index)
        members += 1
      }
      var order = UnsafeMutableBufferPointer(start: ordering, count: members)
      order.sort { left, right in
        let (leftKey, rightKey) = (keys[Int(left)], keys[Int(right)])
        return leftKey < rightKey || (leftKey == rightKey && left < right)
      }
      for index in order {
        sum += Double(weights[Int(index)])
        if crosses(sum) { return Int(index) }
      }
    }
    return nil
  }

  /// Draws one candidate with probability in proportion to e^score.
  ///
  /// - Parameter uniform: a number in [0, 1).
  /// - Returns: its index; `nil` when the scores define no distribution.
  func draw(_ uniform: Double) -> Int? {
    let maximum = maximumOfRow(scores, count: count)
    guard maximum.isFinite else { return nil }
    let total = exponentialsOfRow(scores, minus: maximum, into: weights, count: count)
    guard total.isFinite else { return nil }
    let target = uniform * total
    var sum = 0.0
    var last: Int?
    for index in 0..<count where weights[index] > 0 {
      sum += Double(weights[index])
      last = index
      if sum > target { break }
    }
    return last
  }

  /// Writes the scores to a row of the vocabulary, −∞ where a token is no longer a candidate.
  func scatter(to row: UnsafeMutablePointer<Float>) {
    row.update(repeating: -.infinity, count: capacity)
    for index in 0..<count { row[Int(tokens[index])] = scores[index] }
  }
}
