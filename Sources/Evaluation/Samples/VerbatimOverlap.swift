/// Finds what texts have in common, word for word, with a much longer one that streams past.
///
/// The texts are kept as a suffix automaton, which takes memory in proportion to them; the long text is read once,
/// a character at a time, and nothing of it is kept. White space does not count on either side: line ends and
/// indentation must not hide a copy.
///
/// - SeeAlso: Blumer et al., The smallest automaton recognizing the subwords of a text (1985).
public struct VerbatimOverlap: Sendable {
  /// What a text has in common with the long one.
  public struct Result: Sendable, Equatable {
    /// Characters (Unicode scalars) of the text, white space left out.
    public let length: Int
    /// Its longest part that stands in the long text; white space left out.
    public let longestMatch: String
    /// The share of its n-grams of characters that stand in the long text; `nil` when it is shorter than one.
    public let share: Double?
  }

  /// A set of suffixes that end in the same places.
  private struct State {
    /// Characters of the longest of them.
    var length: Int32 = 0
    /// The state of the longest suffix that ends in more places.
    var link: Int32 = -1
    /// The longest match that has ended here.
    var reached: Int32 = 0
    /// The first of its edges, a list; −1 for none.
    var edge: Int32 = -1
  }

  /// A way out of a state: the transition's character, and the state's next edge.
  private struct Edge {
    var character: UInt32
    var next: Int32
  }

  /// Stands between texts; beyond every scalar, so that no match goes across.
  private static let boundary: UInt32 = 0x110000

  /// Characters of an n-gram.
  public let gramLength: Int
  private let texts: [[UInt32]]
  private var states: [State] = [State()]
  private var edges: [Edge] = []
  /// Where each edge leads, by state and character.
  private var transitions: [UInt64: Int32] = [:]
  private var last: Int32 = 0
  /// Where the long text is: a state, and how many characters match.
  private var position: (state: Int32, length: Int32) = (0, 0)

  /// Indexes texts.
  ///
  /// - Parameters:
  ///   - samples: the texts.
  ///   - gramLength: characters of the n-grams whose share is told.
  /// - Precondition: `gramLength` is at least 1, and the texts come to less than 2³⁰ characters.
  /// - Complexity: O(characters).
  public init(_ samples: [String], gramLength: Int = 20) {
    precondition(gramLength > 0, "n-grams of \(gramLength) characters")
    self.gramLength = gramLength
    texts = samples.map { text in
      text.unicodeScalars.lazy.filter { !$0.properties.isWhitespace }.map(\.value)
    }
    let count = texts.reduce(0) { $0 + $1.count + 1 }
    precondition(count < 1 << 30, "\(count) characters of samples")
    states.reserveCapacity(2 * count)
    transitions.reserveCapacity(3 * count)
    for text in texts {
      for character in text { append(character) }
      append(VerbatimOverlap.boundary)
    }
  }

  // MARK: The long text

  /// Reads on.
  ///
  /// - Parameter text: bytes of UTF-8, cut anywhere between characters.
  /// - Complexity: O(bytes), amortised.
  public mutating func read(utf8 text: UnsafeBufferPointer<UInt8>) {
    for scalar in String(decoding: text, as: UTF8.self).unicodeScalars where !scalar.properties.isWhitespace {
      advance(scalar.value)
    }
  }

  /// Reads on.
  public mutating func read(_ text: String) {
    var text = text
    text.withUTF8 { read(utf8: $0) }
  }

  /// Ends a document: what comes next does not follow what came before.
  public mutating func endDocument() { position = (0, 0) }

  private mutating func advance(_ character: UInt32) {
    var (state, length) = position
    while true {
      if let next = transitions[VerbatimOverlap.key(state, character)] {
        position = (next, length + 1)
        if length + 1 > states[Int(next)].reached { states[Int(next)].reached = length + 1 }
        return
      }
      guard states[Int(state)].link >= 0 else {
        position = (0, 0)
        return
      }
      state = states[Int(state)].link
      length = states[Int(state)].length
    }
  }

  // MARK: Results

  /// What each text has in common with what was read.
  ///
  /// - Complexity: O(characters of the texts).
  public func results() -> [Result] {
    // A match that ended in a state has its suffixes in the states it links to, in full length.
    var reached = states.map(\.reached)
    var order = Array(states.indices.dropFirst())
    order.sort { states[$0].length > states[$1].length }
    for state in order where reached[state] > 0 {
      let link = Int(states[state].link)
      reached[link] = max(reached[link], min(reached[state], states[link].length))
    }
    // The longest match that ends where a state ends: its own, or that of a suffix.
    for state in order.reversed() where reached[state] == 0 {
      reached[state] = reached[Int(states[state].link)]
    }

    var state: Int32 = 0
    return texts.map { text in
      var (longest, end, found) = (0, 0, 0)
      for (index, character) in text.enumerated() {
        state = transitions[VerbatimOverlap.key(state, character)]!
        let match = Int(reached[Int(state)])
        if match > longest { (longest, end) = (match, index + 1) }
        if match >= gramLength { found += 1 }
      }
      state = transitions[VerbatimOverlap.key(state, VerbatimOverlap.boundary)]!
      var match = String.UnicodeScalarView()
      match.append(contentsOf: text[end - longest..<end].lazy.compactMap(Unicode.Scalar.init))
      let grams = text.count - gramLength + 1
      return Result(
        length: text.count, longestMatch: String(match),
        share: grams > 0 ? Double(found) / Double(grams) : nil)
    }
  }

  // MARK: The automaton

  private static func key(_ state: Int32, _ character: UInt32) -> UInt64 {
    UInt64(UInt32(bitPattern: state)) << 32 | UInt64(character)
  }

  /// Adds a character behind what was added so far.
  private mutating func append(_ character: UInt32) {
    let current = Int32(states.count)
    states.append(State(length: states[Int(last)].length + 1))
    var state = last
    last = current
    while state >= 0, transitions[VerbatimOverlap.key(state, character)] == nil {
      connect(state, character, to: current)
      state = states[Int(state)].link
    }
    guard state >= 0, let target = transitions[VerbatimOverlap.key(state, character)] else {
      states[Int(current)].link = 0
      return
    }
    let length = states[Int(state)].length + 1
    guard states[Int(target)].length != length else {
      states[Int(current)].link = target
      return
    }
    // The target's shorter suffixes now end here too, and get a state of their own.
    let clone = Int32(states.count)
    states.append(State(length: length, link: states[Int(target)].link))
    var edge = states[Int(target)].edge
    while edge >= 0 {
      let (character, next) = (edges[Int(edge)].character, edges[Int(edge)].next)
      connect(clone, character, to: transitions[VerbatimOverlap.key(target, character)]!)
      edge = next
    }
    while state >= 0, transitions[VerbatimOverlap.key(state, character)] == target {
      transitions[VerbatimOverlap.key(state, character)] = clone
      state = states[Int(state)].link
    }
    states[Int(target)].link = clone
    states[Int(current)].link = clone
  }

  /// Adds an edge.
  private mutating func connect(_ state: Int32, _ character: UInt32, to target: Int32) {
    transitions[VerbatimOverlap.key(state, character)] = target
    edges.append(Edge(character: character, next: states[Int(state)].edge))
    states[Int(state)].edge = Int32(edges.count - 1)
  }
}
