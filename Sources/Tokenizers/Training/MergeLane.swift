/// What one thread of a merge step writes to.
final class MergeLane: @unchecked Sendable {
  // Safe: one thread has a lane during a step.

  /// A step: in these words, `left` followed by `right` becomes `token`.
  struct Step: @unchecked Sendable {
    // Safe: the pointers outlive the step, and threads of a step change different words.
    let words: UnsafeMutablePointer<TrainingWords.Word>
    let symbols: UnsafeMutablePointer<UInt32>
    let left: UInt32
    let right: UInt32
    let token: UInt32
    let lengths: UnsafeMutablePointer<Int32>
    /// A neighbour of so many units or more makes no new pair.
    let limit: Int

    @inline(__always)
    func allows(_ neighbour: UInt32) -> Bool { Int(lengths[Int(neighbour)]) < limit }

    @inline(__always)
    func pairBefore(_ neighbour: UInt32) -> UInt64 { UInt64(neighbour) << 32 | UInt64(token) }

    @inline(__always)
    func pairAfter(_ neighbour: UInt32) -> UInt64 { UInt64(token) << 32 | UInt64(neighbour) }
  }

  /// Neighbours before the pair, and after it.
  let before: MergeSide
  let after: MergeSide

  init(_ capacity: Int) {
    before = MergeSide(capacity)
    after = MergeSide(capacity)
  }

  /// Merges in a list of words, in which each stands once.
  func merge(_ list: UnsafePointer<UInt32>, _ count: Int, _ step: Step) {
    let (left, right, token) = (step.left, step.right, step.token)
    var touched: UInt32 = 0
    for index in 0..<count {
      if index & (MergeLane.stride &- 1) == 0 {
        // The words lie anywhere in memory. Loads that do not depend on each other wait for it together.
        for ahead in index..<min(index &+ MergeLane.stride, count) {
          let word = step.words + Int(list[ahead])
          let symbols = step.symbols + word.pointee.start
          touched ^= symbols[0] ^ symbols[Int(word.pointee.length) &>> 1]
        }
      }
      let number = list[index]
      // Safe: lists hold numbers of words, and a word never grows.
      let word = step.words + Int(number)
      let symbols = step.symbols + word.pointee.start
      let length = Int(word.pointee.length)
      var at = MergeLane.find(left, right, symbols, length)
      if at &+ 1 >= length { continue }
      let times = word.pointee.count
      var out = at
      while at < length {
        let symbol = symbols[at]
        if symbol == left, at &+ 1 < length, symbols[at &+ 1] == right {
          if out > 0 { before.note(symbols[out &- 1], number, times, step) }
          symbols[out] = token
          at &+= 2
          if at < length { after.note(symbols[at], number, times, step) }
        } else {
          symbols[out] = symbol
          at &+= 1
        }
        out &+= 1
      }
      word.pointee.length = UInt32(truncatingIfNeeded: out)
    }
    // Kept, so that the compiler keeps the loads.
    sink = touched
  }

  /// Words whose memory is fetched together.
  private static let stride = 16
  private var sink: UInt32 = 0

  /// The first place of the pair; `length − 1` or more when there is none.
  @inline(__always)
  private static func find(
    _ left: UInt32, _ right: UInt32, _ symbols: UnsafePointer<UInt32>, _ length: Int
  ) -> Int {
    var at = 0
    // A text without spaces is one long word: look at eight symbols at a time.
    while at &+ 9 <= length {
      // Safe: nine symbols are left.
      let here = UnsafeRawPointer(symbols + at).loadUnaligned(as: SIMD8<UInt32>.self)
      let next = UnsafeRawPointer(symbols + at + 1).loadUnaligned(as: SIMD8<UInt32>.self)
      if any((here .== left) .& (next .== right)) { break }
      at &+= 8
    }
    while at &+ 1 < length {
      if symbols[at] == left, symbols[at &+ 1] == right { return at }
      at &+= 1
    }
    return at
  }

  /// Adds the sums of another lane; its list of words stays where it is.
  func add(_ other: MergeLane) {
    before.add(other.before)
    after.add(other.after)
  }

  /// Makes ready for the next step.
  func reset() {
    before.reset()
    after.reset()
  }
}

/// The neighbours on one side of a pair.
final class MergeSide: @unchecked Sendable {
  // Safe: one thread notes at a time. What grows lies behind a pointer, where accesses are not checked one by one.

  private struct State {
    var last: UnsafeMutablePointer<UInt32>
    var touched: UnsafeMutablePointer<UInt32>
    var touchedCount = 0
    /// (neighbour, word), each pair once.
    var stream: UnsafeMutablePointer<UInt64>
    var streamCount = 0
    var streamCapacity = 1 << 12
  }

  /// Occurrences by neighbour.
  let counts: UnsafeMutablePointer<Int>
  /// Words by neighbour.
  let lengths: UnsafeMutablePointer<UInt32>
  /// Where the words of a neighbour are to go.
  let starts: UnsafeMutablePointer<Int>
  private let state: UnsafeMutablePointer<State>

  init(_ capacity: Int) {
    counts = .allocate(capacity: capacity)
    counts.initialize(repeating: 0, count: capacity)
    lengths = .allocate(capacity: capacity)
    lengths.initialize(repeating: 0, count: capacity)
    starts = .allocate(capacity: capacity)
    starts.initialize(repeating: -1, count: capacity)
    state = .allocate(capacity: 1)
    state.initialize(
      to: State(
        last: .allocate(capacity: capacity), touched: .allocate(capacity: capacity),
        stream: .allocate(capacity: 1 << 12)))
    state.pointee.last.initialize(repeating: .max, count: capacity)
  }

  deinit {
    counts.deallocate()
    lengths.deallocate()
    starts.deallocate()
    state.pointee.last.deallocate()
    state.pointee.touched.deallocate()
    state.pointee.stream.deallocate()
    state.deallocate()
  }

  /// The neighbours that were met.
  var touched: UnsafeBufferPointer<UInt32> {
    UnsafeBufferPointer(start: state.pointee.touched, count: state.pointee.touchedCount)
  }

  /// Each neighbour and word that make a new pair, once: the neighbour in the upper half.
  var stream: UnsafeBufferPointer<UInt64> {
    UnsafeBufferPointer(start: state.pointee.stream, count: state.pointee.streamCount)
  }

  func isTouched(_ neighbour: UInt32) -> Bool { lengths[Int(neighbour)] > 0 }

  @inline(__always)
  func note(_ neighbour: UInt32, _ word: UInt32, _ times: Int, _ step: MergeLane.Step) {
    // Safe: tokens are below the capacity, and each is touched once between two resets.
    let x = Int(neighbour)
    let state = state
    counts[x] &+= times
    if state.pointee.last[x] == word { return }
    state.pointee.last[x] = word
    if lengths[x] == 0 { touch(neighbour) }
    lengths[x] &+= 1
    guard step.allows(neighbour) else { return }
    if state.pointee.streamCount == state.pointee.streamCapacity { growStream() }
    state.pointee.stream[state.pointee.streamCount] = UInt64(neighbour) &<< 32 | UInt64(word)
    state.pointee.streamCount &+= 1
  }

  @inline(__always)
  private func touch(_ neighbour: UInt32) {
    state.pointee.touched[state.pointee.touchedCount] = neighbour
    state.pointee.touchedCount &+= 1
  }

  @inline(never)
  private func growStream() {
    state.pointee.streamCapacity *= 2
    state.pointee.stream = grow(state.pointee.stream, to: state.pointee.streamCapacity)
  }

  func add(_ other: MergeSide) {
    for neighbour in other.touched {
      let x = Int(neighbour)
      if lengths[x] == 0 { touch(neighbour) }
      counts[x] += other.counts[x]
      lengths[x] += other.lengths[x]
    }
  }

  func reset() {
    for neighbour in touched {
      let x = Int(neighbour)
      counts[x] = 0
      lengths[x] = 0
      starts[x] = -1
      state.pointee.last[x] = .max
    }
    state.pointee.touchedCount = 0
    state.pointee.streamCount = 0
  }
}
