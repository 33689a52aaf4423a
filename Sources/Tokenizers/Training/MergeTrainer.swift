import Kernels

/// Learns which tokens to merge: again and again the pair of neighbours that occurs most often.
///
/// Gives the merges that `BpeTrainer` of `tokenizers` 0.23 gives, with its peculiarities: a tie goes to the pair
/// of the smaller ids; a pair's count is not lowered when the pair itself is merged; and a pair that comes up
/// again because a token was made in a second way is merged again, which moves the merge to the later place.
///
/// What is different is the work. A step does not note changes of counts one by one but sums them by neighbour,
/// `x` before and `y` after the pair, in arrays as long as the vocabulary; the table of pairs is then changed
/// once per neighbour.
///
/// - SeeAlso: Sennrich et al., arXiv:1508.07909; `trainer.rs` of huggingface/tokenizers.
final class MergeTrainer {
  struct Parameters {
    var vocabularySize: Int
    /// A pair that occurs less often is not merged.
    var minimumFrequency: Int
    /// Pairs whose units together reach this number are not counted.
    ///
    /// Goes with an empty prefix only: with one, a text can be a unit and also made of several.
    var maximumTokenLength: Int
    /// What the text of a token begins with when the token does not begin a word.
    var prefix: [UInt8]
  }

  struct Merge: Equatable {
    var left: UInt32
    var right: UInt32
    var token: UInt32
  }

  private(set) var vocabulary: TrainingVocabulary
  /// In the order of their ranks, each pair once.
  private(set) var merges: [Merge] = []

  private let parameters: Parameters
  private let words: TrainingWords
  private let pool: WorkerPool
  private let lanes: [MergeLane]
  /// Units in each token.
  private let lengths: UnsafeMutablePointer<Int32>
  private var queue = PairQueue()
  private var counts = PairCounts()
  /// The words of each entry of the queue, one after the other.
  private var positions: UnsafeMutablePointer<UInt32>
  private var positionCount: Int
  private var positionCapacity: Int
  /// How many of them belong to entries that are still in the queue.
  private var livePositions: Int

  /// Fewer words are merged by one thread.
  private let parallelLimit: Int

  /// - Parameters:
  ///   - words: spelled with tokens of the vocabulary; changed by training.
  ///   - vocabulary: special tokens and units.
  init(
    _ words: TrainingWords, _ vocabulary: TrainingVocabulary, _ parameters: Parameters, pool: WorkerPool,
    parallelLimit: Int = 8192
  ) {
    self.parallelLimit = parallelLimit
    self.words = words
    self.vocabulary = vocabulary
    self.parameters = parameters
    self.pool = pool
    let capacity = max(parameters.vocabularySize, vocabulary.count) + 1
    lengths = .allocate(capacity: capacity)
    lengths.initialize(repeating: 1, count: capacity)
    lanes = (0..<pool.threadCount).map { _ in MergeLane(capacity) }
    let initial = InitialPairs(words, tokenCount: vocabulary.count, pool: pool)
    positions = initial.positions
    positionCount = initial.positionCount
    positionCapacity = max(initial.positionCount, 1)
    livePositions = 0
    for pair in initial.pairs {
      counts.add(pair.count, to: pair.pair)
      push(
        pair.pair, count: pair.count,
        start: pair.length == 1 ? Int(positions[pair.start]) : pair.start, length: pair.length, step: 0)
      if pair.length > 1 { livePositions += pair.length }
    }
  }

  deinit {
    lengths.deallocate()
    positions.deallocate()
    queue.deallocate()
    counts.deallocate()
  }

  /// Merges until the vocabulary is full or nothing is left to merge.
  ///
  /// - Parameter progress: told the size of the vocabulary now and then; false ends the training.
  /// - Returns: false when `progress` ended it.
  func run(_ progress: (Int) -> Bool) -> Bool {
    var ranked: [Merge] = []
    while vocabulary.count < parameters.vocabularySize, let top = queue.first {
      let count = UInt64(bitPattern: Int64(counts[top.pair]))
      if count != top.count {
        var entry = top
        entry.count = count
        queue.replaceFirst(entry)
        continue
      }
      if count < 1 || UInt64(max(parameters.minimumFrequency, 0)) > count { break }
      queue.removeFirst()
      let left = UInt32(truncatingIfNeeded: top.pair >> 32)
      let right = UInt32(truncatingIfNeeded: top.pair)
      let token = vocabulary.add(text(left, right))
      lengths[Int(token)] = lengths[Int(left)] &+ lengths[Int(right)]
      ranked.append(Merge(left: left, right: right, token: token))
      merge(top, left, right, token, step: UInt32(ranked.count))
      if ranked.count % 64 == 0, !progress(vocabulary.count) { return false }
    }
    // A pair that was merged twice has the later rank.
    var seen = Set<UInt64>()
    merges = ranked.reversed().filter { seen.insert(UInt64($0.left) << 32 | UInt64($0.right)).inserted }
    merges.reverse()
    return true
  }

  /// The text of a new token.
  private func text(_ left: UInt32, _ right: UInt32) -> [UInt8] {
    let tail = vocabulary.texts[Int(right)]
    let prefix = parameters.prefix
    return vocabulary.texts[Int(left)]
      + (!prefix.isEmpty && tail.starts(with: prefix) ? tail.dropFirst(prefix.count) : tail[...])
  }

  private func merge(_ entry: PairQueue.Entry, _ left: UInt32, _ right: UInt32, _ token: UInt32, step: UInt32)
  {
    let length = Int(entry.length)
    let merging = MergeLane.Step(
      words: words.words, symbols: words.symbols, left: left, right: right, token: token, lengths: lengths,
      // Strictly less, and counted with the token that is being made.
      limit: parameters.maximumTokenLength - Int(lengths[Int(token)]))
    if length == 1 {
      var word = UInt32(truncatingIfNeeded: entry.start)
      lanes[0].merge(&word, 1, merging)
    } else {
      let list = positions + entry.start
      let parts = length < parallelLimit ? 1 : lanes.count
      if parts == 1 {
        lanes[0].merge(list, length, merging)
      } else {
        pool.run(parts) { part in
          let range = length * part / parts..<length * (part + 1) / parts
          self.lanes[part].merge(list + range.lowerBound, range.count, merging)
        }
      }
      livePositions -= length
    }
    apply(merging, step)
  }

  /// Enters what the lanes have found into the counts and the queue.
  private func apply(_ step: MergeLane.Step, _ number: UInt32) {
    let first = lanes[0]
    for lane in lanes.dropFirst() { first.add(lane) }
    let (left, right) = (first.before, first.after)
    for x in left.touched where step.allows(x) { counts.add(left.counts[Int(x)], to: step.pairBefore(x)) }
    for y in right.touched where step.allows(y) { counts.add(right.counts[Int(y)], to: step.pairAfter(y)) }
    for x in left.touched {
      counts.subtract(left.counts[Int(x)], from: UInt64(x) << 32 | UInt64(step.left))
    }
    for y in right.touched {
      counts.subtract(right.counts[Int(y)], from: UInt64(step.right) << 32 | UInt64(y))
    }

    // When the token was there before, it can stand on both sides of itself: one pair, two lists.
    let joins = left.isTouched(step.token) && right.isTouched(step.token) && step.allows(step.token)
    var room = 0
    for (side, isBefore) in [(left, true), (right, false)] {
      for x in side.touched where step.allows(x) {
        let pair = isBefore ? step.pairBefore(x) : step.pairAfter(x)
        let length = Int(side.lengths[Int(x)])
        side.starts[Int(x)] = counts[pair] > 0 ? room : -1
        if counts[pair] > 0, length > 1 || (joins && x == step.token) { room += length }
      }
    }
    let joinedStart = room
    if joins { room += Int(left.lengths[Int(step.token)]) + Int(right.lengths[Int(step.token)]) }
    reserve(room)
    let base = positionCount
    for lane in lanes {
      place(lane.before, of: left, base, joins ? step.token : nil)
      place(lane.after, of: right, base, joins ? step.token : nil)
    }
    positionCount += room
    livePositions += room
    for (side, isBefore) in [(left, true), (right, false)] {
      for x in side.touched where step.allows(x) && side.starts[Int(x)] >= 0 {
        let length = Int(side.lengths[Int(x)])
        let pair = isBefore ? step.pairBefore(x) : step.pairAfter(x)
        if joins, x == step.token {
          if isBefore { pushJoined(pair, left, right, base, joinedStart, number) }
          continue
        }
        let end = side.starts[Int(x)]
        push(
          pair, count: counts[pair], start: length == 1 ? end : base + end - length, length: length,
          step: number)
      }
    }
    for lane in lanes { lane.reset() }
  }

  /// Copies a lane's words to where their pairs' lists are.
  private func place(_ lane: MergeSide, of side: MergeSide, _ base: Int, _ joined: UInt32?) {
    let target = positions + base
    for item in lane.stream {
      let x = Int(truncatingIfNeeded: item >> 32)
      let word = UInt32(truncatingIfNeeded: item)
      let start = side.starts[x]
      if start < 0 { continue }
      if side.lengths[x] == 1, joined.map({ Int($0) != x }) ?? true {
        side.starts[x] = Int(word)
      } else {
        target[start] = word
        side.starts[x] = start &+ 1
      }
    }
  }

  /// Queues the pair of a token and itself, from the words on its left and on its right.
  ///
  /// - Parameters:
  ///   - base: where the step's positions begin.
  ///   - start: after that, room for both lists.
  private func pushJoined(
    _ pair: UInt64, _ left: MergeSide, _ right: MergeSide, _ base: Int, _ start: Int, _ step: UInt32
  ) {
    let token = Int(truncatingIfNeeded: pair & 0xFFFF_FFFF)
    var list: [UInt32] = []
    for side in [left, right] {
      let end = base + side.starts[token]
      for at in end - Int(side.lengths[token])..<end { list.append(positions[at]) }
    }
    livePositions -= 2 * list.count
    // A word is listed once only: threads share the words of a list.
    var joined: [UInt32] = []
    for word in list.sorted() where joined.last != word { joined.append(word) }
    for (at, word) in joined.enumerated() { positions[base + start + at] = word }
    if joined.count > 1 { livePositions += joined.count }
    push(
      pair, count: counts[pair], start: joined.count == 1 ? Int(joined[0]) : base + start,
      length: joined.count, step: step)
  }

  private func push(_ pair: UInt64, count: Int, start: Int, length: Int, step: UInt32) {
    queue.push(
      PairQueue.Entry(
        count: UInt64(bitPattern: Int64(count)), pair: pair, start: start, length: UInt32(length),
        sequence: step))
  }

  /// Makes room for more positions; those of entries that are gone are given up first.
  private func reserve(_ more: Int) {
    guard positionCount + more > positionCapacity else { return }
    if livePositions < positionCount / 2 { compact() }
    if positionCount + more > positionCapacity {
      positionCapacity = max(positionCapacity + positionCapacity / 2, positionCount + more)
      positions = grow(positions, to: positionCapacity)
    }
  }

  private func compact() {
    let moved = UnsafeMutablePointer<UInt32>.allocate(capacity: positionCapacity)
    var used = 0
    for index in 0..<queue.count where queue.entries[index].length > 1 {
      let entry = queue.entries[index]
      (moved + used).update(from: positions + entry.start, count: Int(entry.length))
      queue.entries[index].start = used
      used += Int(entry.length)
    }
    positions.deallocate()
    positions = moved
    positionCount = used
    livePositions = used
  }
}
