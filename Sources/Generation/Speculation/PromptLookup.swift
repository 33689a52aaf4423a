/// Guesses that a text goes on as it went on before: after the latest n-gram that equals its end.
///
/// - SeeAlso: A. Saxena, "Prompt lookup decoding", 2023.
public final class PromptLookup: Drafter {
  private let maximum: Int
  /// The longest n-gram that is looked for, and the shortest.
  private static let sizes = (longest: 4, shortest: 2)

  /// - Parameter maximum: the most tokens of a guess, at least 1.
  public init(maximum: Int) {
    precondition(maximum > 0, "guesses of \(maximum) tokens")
    self.maximum = maximum
  }

  /// What followed the latest occurrence of the longest n-gram at the end.
  ///
  /// Where the text repeats itself that occurrence may be so late that little follows it; what was guessed is then part of
  /// what is looked at, so that a loop goes on.
  /// - Complexity: O(history).
  public func draft(_ history: UnsafeBufferPointer<Int32>, limit: Int) -> [Int] {
    let count = min(limit, maximum)
    guard let size = longestMatch(history), let start = latest(size, history) else { return [] }
    var guess: [Int] = []
    guess.reserveCapacity(count)
    for place in start..<start + count {
      guess.append(place < history.count ? Int(history[place]) : guess[place - history.count])
    }
    return guess
  }

  /// The size of the longest n-gram at the end that occurs before.
  private func longestMatch(_ history: UnsafeBufferPointer<Int32>) -> Int? {
    var best = 0
    forEachMatch(history) { best = max(best, $1) }
    return best >= PromptLookup.sizes.shortest ? best : nil
  }

  /// Where the latest n-gram of a size that equals the end ends.
  private func latest(_ size: Int, _ history: UnsafeBufferPointer<Int32>) -> Int? {
    var latest: Int?
    forEachMatch(history) { if $1 >= size { latest = $0 } }
    return latest
  }

  /// Calls `body` with each place before the end that what precedes it agrees with the end, and the number of tokens that agree.
  @inline(__always)
  private func forEachMatch(_ history: UnsafeBufferPointer<Int32>, _ body: (Int, Int) -> Void) {
    let end = history.count
    guard end > 1 else { return }
    let last = history[end - 1]
    for place in 1..<end where history[place - 1] == last {
      var size = 1
      while size < PromptLookup.sizes.longest, size < place,
        history[place - 1 - size] == history[end - 1 - size]
      {
        size += 1
      }
      body(place, size)
    }
  }
}
