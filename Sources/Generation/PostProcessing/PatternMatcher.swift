/// Finds many texts at once, in whole characters (Aho–Corasick).
///
/// - SeeAlso: Aho and Corasick, "Efficient string matching: an aid to bibliographic search", CACM 18 (1975).
struct PatternMatcher: Sendable {
  /// A node of the automaton: what has been read last, as far as it begins a pattern.
  typealias State = Int32
  static let start: State = 0

  private let foldsCase: Bool
  /// Numbers of the characters that occur in patterns.
  ///
  /// Most of a text is ASCII or Han, whose scalars need no detour over strings; in strings, canonically equivalent
  /// characters are equal.
  private var scalarNumbers: [UInt32: Int32] = [:]
  private var textNumbers: [String: Int32] = [:]

  /// (state, character number) → state.
  private var transitions: [UInt64: State] = [:]
  /// The state of the longest proper end of a state that begins a pattern too.
  private var fallback: [State] = [0]
  /// Characters of the pattern that ends here; 0 where none does.
  private var ownLength: [Int32] = [0]
  /// The nearest state along the fallbacks where a pattern ends.
  private var nextMatch: [State] = [0]

  /// - Complexity: O(characters in the patterns).
  init(_ patterns: [String], foldsCase: Bool) {
    self.foldsCase = foldsCase
    for pattern in patterns { add(TextCharacters(pattern)) }
    link()
  }

  /// Whether there is nothing to find.
  var isEmpty: Bool { fallback.count == 1 }

  /// The number of a character; 0 for one that is in no pattern.
  func number(_ characters: TextCharacters, _ index: Int) -> Int32 {
    if let scalar = plainScalar(characters[index]) { return scalarNumbers[scalar] ?? 0 }
    return textNumbers[folded(characters.text(of: index))] ?? 0
  }

  /// The number of a scalar that is a character of its own.
  func number(_ scalar: Unicode.Scalar) -> Int32 {
    let characters = TextCharacters(String(scalar))
    return number(characters, 0)
  }

  /// The state after one more character.
  ///
  /// - Complexity: O(1) on average over a text.
  func state(after state: State, _ number: Int32) -> State {
    guard number != 0 else { return PatternMatcher.start }
    var state = state
    while true {
      if let next = transitions[PatternMatcher.key(state, number)] { return next }
      if state == PatternMatcher.start { return state }
      state = fallback[Int(state)]
    }
  }

  /// The lengths of the patterns that end in a state, the longest first, until one is accepted.
  func longestMatch(in state: State, where isAccepted: (Int) -> Bool) -> Int? {
    var state = ownLength[Int(state)] > 0 ? state : nextMatch[Int(state)]
    while state != PatternMatcher.start {
      let length = Int(ownLength[Int(state)])
      if isAccepted(length) { return length }
      state = nextMatch[Int(state)]
    }
    return nil
  }

  // MARK: Building

  private mutating func add(_ pattern: TextCharacters) {
    guard !pattern.isEmpty else { return }
    var state = PatternMatcher.start
    for index in pattern.indices {
      let key = PatternMatcher.key(state, assignedNumber(pattern, index))
      if let next = transitions[key] {
        state = next
      } else {
        let next = State(fallback.count)
        transitions[key] = next
        fallback.append(0)
        ownLength.append(0)
        nextMatch.append(0)
        state = next
      }
    }
    ownLength[Int(state)] = Int32(pattern.count)
  }

  private mutating func assignedNumber(_ characters: TextCharacters, _ index: Int) -> Int32 {
    let known = number(characters, index)
    if known != 0 { return known }
    let next = Int32(scalarNumbers.count + textNumbers.count + 1)
    if let scalar = plainScalar(characters[index]) {
      scalarNumbers[scalar] = next
    } else {
      textNumbers[folded(characters.text(of: index))] = next
    }
    return next
  }

  /// Sets fallbacks in order of depth, so that the shorter states are done first.
  private mutating func link() {
    var children = [[(number: Int32, state: State)]](repeating: [], count: fallback.count)
    for (key, state) in transitions { children[Int(key >> 32)].append((Int32(key & 0xFFFF_FFFF), state)) }
    var queue = [PatternMatcher.start]
    var position = 0
    while position < queue.count {
      let parent = queue[position]
      position += 1
      for (number, child) in children[Int(parent)] {
        queue.append(child)
        guard parent != PatternMatcher.start else { continue }
        let target = state(after: fallback[Int(parent)], number)
        fallback[Int(child)] = target
        nextMatch[Int(child)] = ownLength[Int(target)] > 0 ? target : nextMatch[Int(target)]
      }
    }
  }

  private static func key(_ state: State, _ number: Int32) -> UInt64 { UInt64(state) << 32 | UInt64(number) }

  private func plainScalar(_ character: TextCharacter) -> UInt32? {
    guard character.isSingle else { return nil }
    let scalar = foldsCase ? character.scalar.halfWidth : character.scalar
    if scalar.isASCII {
      return foldsCase && ("A"..."Z").contains(scalar) ? scalar.value + 32 : scalar.value
    }
    // Unified ideographs have neither case nor a decomposition.
    return (0x4E00...0x9FFF).contains(scalar.value) ? scalar.value : nil
  }

  private func folded(_ text: String) -> String { foldsCase ? text.lowercased() : text }
}
