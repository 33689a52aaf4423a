/// The K largest of a stream of scores, the largest first, equal ones in the order they came.
///
/// A sorted list of K with a threshold: most elements cost one comparison, eight at a time.
///
/// - Complexity: O(n) comparisons, and for scores in random order O(K·log(n/K)) insertions of O(K).
struct TopSelection: ~Copyable {
  private(set) var count = 0
  private let limit: Int
  private let scores: UnsafeMutablePointer<Float>
  private let indices: UnsafeMutablePointer<Int>

  /// Makes room for `limit` ≥ 1 scores.
  init(limit: Int) {
    precondition(limit >= 1, "a selection of \(limit)")
    self.limit = limit
    scores = .allocate(capacity: limit)
    indices = .allocate(capacity: limit)
  }

  deinit {
    scores.deallocate()
    indices.deallocate()
  }

  /// Forgets everything.
  mutating func reset() { count = 0 }

  /// The score of the given rank.
  func score(_ rank: Int) -> Float { scores[rank] }

  /// The index of the score of the given rank.
  func index(_ rank: Int) -> Int { indices[rank] }

  /// Takes a row of scores, each with an addend, under consecutive indices.
  ///
  /// NaN is taken only while room is left.
  mutating func take(
    _ row: UnsafePointer<Float>, count rowCount: Int, adding addend: Float = 0, firstIndex: Int = 0
  ) {
    var position = 0
    while count < limit, position < rowCount {
      insert(row[position] + addend, firstIndex + position)
      position += 1
    }
    guard position < rowCount else { return }
    let raw = UnsafeRawPointer(row)
    let addends = LogSoftmax.Lanes(repeating: addend)
    var threshold = scores[limit - 1]
    while position + 32 <= rowCount {
      // Safe: 32 elements from `position` on are within the row.
      var best = LogSoftmax.load(raw, position)
      for step in 1..<4 {
        let next = LogSoftmax.load(raw, position &+ 8 &* step)
        best.replace(with: next, where: next .> best)
      }
      // Rounding is monotonic: the largest sum is the sum with the largest.
      if any((best + addends) .> threshold) {
        for offset in position..<position &+ 32 {
          let score = row[offset] + addend
          if score > threshold {
            insert(score, firstIndex &+ offset)
            threshold = scores[limit - 1]
          }
        }
      }
      position += 32
    }
    while position < rowCount {
      let score = row[position] + addend
      if score > scores[limit - 1] { insert(score, firstIndex + position) }
      position += 1
    }
  }

  private mutating func insert(_ score: Float, _ index: Int) {
    var (low, high) = (0, count)
    while low < high {
      let middle = (low &+ high) / 2
      if scores[middle] < score { high = middle } else { low = middle + 1 }
    }
    let moved = min(count, limit - 1) - low
    if moved > 0 {
      (scores + low + 1).update(from: scores + low, count: moved)
      (indices + low + 1).update(from: indices + low, count: moved)
    }
    if low < limit {
      scores[low] = score
      indices[low] = index
    }
    count = min(count + 1, limit)
  }
}
