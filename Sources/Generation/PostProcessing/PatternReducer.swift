/// Drops or masks patterns until none is left.
///
/// First all occurrences go that the text has, overlapping ones included. What is left is then read once more
/// onto a stack that remembers the automaton's state at every depth, because dropping can put new occurrences
/// together (`<|a<|a|>|>`): one that is completed is taken off, and the state below it is where reading goes on.
/// So the result holds none, after one pass.
struct PatternReducer: Sendable {
  let matcher: PatternMatcher
  let action: WordFilter.Action
  /// Whether a pattern that begins or ends with a word character must do so at a word's edge.
  let respectsWords: Bool

  init(_ matcher: PatternMatcher, action: WordFilter.Action, respectsWords: Bool) {
    self.matcher = matcher
    self.action = action
    self.respectsWords = respectsWords
  }

  func apply(to text: String) -> String {
    if matcher.isEmpty { return text }
    let characters = TextCharacters(text)
    guard let covered = occurrences(characters) else { return text }
    var reduction = Reduction(self, characters, covered)
    return reduction.run()
  }

  /// For each character whether it belongs to an occurrence; `nil` if none does.
  private func occurrences(_ characters: TextCharacters) -> [Bool]? {
    // Ends of occurrences, each with the length of the longest, which covers the others.
    var reach = [Int](repeating: 0, count: characters.count)
    var found = false
    var state = PatternMatcher.start
    for index in characters.indices {
      state = matcher.state(after: state, matcher.number(characters, index))
      let length = matcher.longestMatch(in: state) { length in
        isWhole(
          before: index >= length ? characters[index - length].isWordCharacter : false,
          first: characters[index - length + 1].isWordCharacter, last: characters[index].isWordCharacter,
          after: index + 1 < characters.count ? characters[index + 1].isWordCharacter : false)
      }
      if let length {
        reach[index] = length
        found = true
      }
    }
    guard found else { return nil }
    var covered = [Bool](repeating: false, count: characters.count)
    var remaining = 0
    for index in characters.indices.reversed() {
      remaining = max(remaining - 1, reach[index])
      covered[index] = remaining > 0
    }
    return covered
  }

  /// Whether an occurrence stands between edges of words, given what of it and around it is a word character.
  fileprivate func isWhole(before: Bool, first: Bool, last: Bool, after: Bool) -> Bool {
    !respectsWords || !(before && first) && !(last && after)
  }
}

/// The second reading: what is left of the text, on a stack.
private struct Reduction {
  /// A character of the text or one that is put in.
  private enum Element {
    case original(Int)
    case narrowMask, wideMask, space
  }

  private let reducer: PatternReducer
  private let characters: TextCharacters
  private let covered: [Bool]
  private let starNumber: Int32
  private let spaceNumber: Int32

  private var position = 0
  /// To be read before the rest of the text, the last first.
  private var pushedBack: [Element] = []
  private var stack: [(element: Element, state: PatternMatcher.State)] = []
  /// Whether something was dropped between the top of the stack and what is read next.
  private var isAfterDrop = false

  init(_ reducer: PatternReducer, _ characters: TextCharacters, _ covered: [Bool]) {
    self.reducer = reducer
    self.characters = characters
    self.covered = covered
    starNumber = reducer.matcher.number("*")
    spaceNumber = reducer.matcher.number(" ")
    stack.reserveCapacity(characters.count)
  }

  mutating func run() -> String {
    while let element = read() {
      if isAfterDrop, !tidy(before: element) { continue }
      push(element)
    }
    if isAfterDrop, isSpace(stack.last?.element) { stack.removeLast() }
    var builder = TextBuilder(capacity: characters.utf8.count)
    for entry in stack {
      switch entry.element {
      case .original(let index): builder.append(characters, index)
      case .narrowMask: builder.append("*")
      case .wideMask: builder.append("＊")
      case .space: builder.append(" ")
      }
    }
    return builder.text
  }

  private mutating func read() -> Element? {
    if let element = pushedBack.popLast() { return element }
    guard let element = next() else { return nil }
    position += 1
    return element
  }

  /// What is read next from the text, after passing over what is dropped there.
  private mutating func next() -> Element? {
    while position < characters.count {
      if !covered[position] { return .original(position) }
      if reducer.action == .mask { return mask(of: .original(position)) }
      isAfterDrop = true
      position += 1
    }
    return nil
  }

  private mutating func push(_ element: Element) {
    let below = stack.last?.state ?? PatternMatcher.start
    stack.append((element, reducer.matcher.state(after: below, number(element))))
    let following = pushedBack.last ?? next()
    let length = reducer.matcher.longestMatch(in: stack.last!.state) { length in
      let first = stack.count - length
      return reducer.isWhole(
        before: first > 0 && isWordCharacter(stack[first - 1].element),
        first: isWordCharacter(stack[first].element),
        last: isWordCharacter(element), after: following.map(isWordCharacter) ?? false)
    }
    guard let length else { return }
    if reducer.action == .mask {
      // Masks can complete another pattern (`*x`), so they are read like text.
      for entry in stack.suffix(length).reversed() { pushedBack.append(mask(of: entry.element)) }
    } else {
      isAfterDrop = true
    }
    stack.removeLast(length)
  }

  /// Mends the gap that a dropped occurrence leaves before an element; false if the element goes too.
  private mutating func tidy(before element: Element) -> Bool {
    let top = stack.last?.element
    if isSpace(element), top == nil || isSpace(top) || isLineEnd(top) { return false }
    isAfterDrop = false
    if isSpace(top), isLineEnd(element) || isClosing(element) { stack.removeLast() }
    // A space keeps two characters apart that would become one.
    if case .original(let left)? = stack.last?.element, case .original(let right) = element,
      characters.fuse(left, right)
    {
      push(.space)
    }
    return true
  }

  private func number(_ element: Element) -> Int32 {
    switch element {
    case .original(let index): reducer.matcher.number(characters, index)
    // The full-width asterisk is the half-width one to a matcher that folds, and masking folds.
    case .narrowMask, .wideMask: starNumber
    case .space: spaceNumber
    }
  }

  private func mask(of element: Element) -> Element {
    guard case .original(let index) = element else { return element }
    return characters[index].columnCount == 2 ? .wideMask : .narrowMask
  }

  private func isWordCharacter(_ element: Element) -> Bool {
    if case .original(let index) = element { characters[index].isWordCharacter } else { false }
  }

  private func isSpace(_ element: Element?) -> Bool {
    switch element {
    case .original(let index): characters[index].isSpace
    case .space: true
    default: false
    }
  }

  private func isLineEnd(_ element: Element?) -> Bool {
    if case .original(let index) = element { characters[index].isLineEnd } else { false }
  }

  private func isClosing(_ element: Element) -> Bool {
    guard case .original(let index) = element, characters[index].isSingle else { return false }
    return characters[index].scalar.isForbiddenAtLineStart
  }
}
