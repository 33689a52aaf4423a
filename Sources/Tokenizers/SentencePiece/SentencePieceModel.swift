/// The models of sentencepiece itself: unigram and byte pairs by score, words, characters.
///
/// Unlike those of `tokenizers` they work on the whole text at once, in single precision, and know
/// user-defined symbols and unused pieces.
/// - SeeAlso: `unigram_model.cc`, `bpe_model.cc`, `word_model.cc`, `char_model.cc` of sentencepiece.
final class SentencePieceModel: Sendable {
  typealias Algorithm = SentencePieceFile.Algorithm
  typealias Kind = SentencePieceFile.Kind

  /// No token.
  static let none = UInt32.max

  let algorithm: Algorithm
  /// By id.
  let kinds: [Kind]
  let scores: [Float]
  /// The pieces that a text can be cut into; for byte pairs all pieces.
  private let pieces: StringTable
  /// Of a unigram model.
  private let trie: ByteTrie?
  /// User-defined symbols, found before anything else.
  let symbols: ByteTrie?
  /// The unknown piece; `none` when bytes stand for everything.
  let unknown: UInt32
  /// The pieces of single bytes; `nil` without byte fallback.
  private let bytes: [UInt32]?
  /// Merges may use any piece, of whatever kind (as llama.cpp has it).
  private let mergesAll: Bool
  private let unknownScore: Float
  /// No piece reaches over the beginning of a word, so that words can be cut alone and remembered.
  private let cutsWords: Bool

  /// How decoding treats spaces at the beginning.
  let dropsFirstSpace: Bool
  let dropsLeadingSpaces: Bool
  let unknownSurface: String
  let texts: StringTable

  /// The model of a file.
  convenience init(_ file: SentencePieceFile) {
    self.init(
      pieces: file.pieces, algorithm: file.algorithm, fallsBackToBytes: file.fallsBackToBytes,
      dropsFirstSpace: file.normalization.addsDummyPrefix || file.normalization.removesExtraWhitespace,
      dropsLeadingSpaces: file.normalization.removesExtraWhitespace, unknownSurface: file.unknownSurface)
  }

  /// - Parameters:
  ///   - pieces: at least one; scores finite.
  ///   - unknown: the unknown piece, when it is not the one of that kind.
  ///   - mergesAll: merges use pieces of every kind, and user-defined symbols are not looked for.
  init(
    pieces all: [SentencePieceFile.Piece], algorithm: Algorithm, fallsBackToBytes: Bool,
    dropsFirstSpace: Bool,
    dropsLeadingSpaces: Bool, unknownSurface: String, unknown given: Int? = nil, mergesAll: Bool = false
  ) {
    self.algorithm = algorithm
    self.dropsFirstSpace = dropsFirstSpace
    self.dropsLeadingSpaces = dropsLeadingSpaces
    self.unknownSurface = unknownSurface
    self.mergesAll = mergesAll
    kinds = all.map(\.kind)
    scores = all.map(\.score)
    let pieces = StringTable(capacity: all.count, bytes: 8 * all.count)
    let texts = StringTable(capacity: all.count, bytes: 8 * all.count)
    var bytes = [UInt32](repeating: SentencePieceModel.none, count: 256)
    let symbols = StringTable(capacity: 16)
    var unknown = SentencePieceModel.none
    var lowest = Float.greatestFiniteMagnitude
    var spans = false
    var hasUnused = false
    // Of a repeated text the first counts.
    for (index, piece) in all.enumerated().reversed() {
      let id = UInt32(index)
      var text = piece.text
      text.withUTF8 { text in
        texts.insert(text, id)
        if piece.kind == .unused, text.elementsEqual([0]) { return }
        if algorithm == .bytePairs || [.normal, .userDefined, .unused].contains(piece.kind) {
          pieces.insert(text, id)
          if SentencePieceModel.spansWords(text) { spans = true }
        }
        if piece.kind == .userDefined { symbols.insert(text, id) }
      }
      switch piece.kind {
      case .unknown: unknown = id
      case .unused: hasUnused = true
      case .normal: lowest = min(lowest, piece.score)
      case .byte: if let byte = SentencePieceFile.byte(of: piece.text) { bytes[Int(byte)] = id }
      default: break
      }
    }
    self.pieces = pieces
    self.texts = texts
    self.unknown = given.map { UInt32($0) } ?? unknown
    self.bytes = fallsBackToBytes ? bytes : nil
    trie = algorithm == .unigram ? ByteTrie(pieces) : nil
    self.symbols = symbols.count == 0 || mergesAll ? nil : ByteTrie(symbols)
    unknownScore = lowest - Float(Unigram.unknownPenalty)
    cutsWords = algorithm == .bytePairs && !spans && (!hasUnused || mergesAll)
  }

  /// Whether a space stands in a text behind something that is none.
  private static func spansWords(_ text: UnsafeBufferPointer<UInt8>) -> Bool {
    var at = 0
    var isInWord = false
    while at < text.count {
      let isSpace = text.count - at >= 3 && text[at] == 0xE2 && text[at + 1] == 0x96 && text[at + 2] == 0x81
      if isSpace, isInWord { return true }
      isInWord = !isSpace
      at += isSpace ? 3 : 1
    }
    return false
  }

  // MARK: Encoding

  /// Appends the tokens of a normalised text that is not empty.
  func encode(
    _ text: UnsafePointer<UInt8>, _ count: Int, into tokens: inout [UInt32], scratch: inout ModelScratch
  ) throws {
    let first = tokens.count
    switch algorithm {
    case .unigram: try cutByScores(text, count, first, &tokens, &scratch)
    case .bytePairs:
      if cutsWords {
        try forEachWord(text, count) { try mergeWord($0, $1, first, &tokens, &scratch) }
      } else {
        try merge(text, count, first, &tokens, &scratch)
      }
    case .words:
      try forEachWord(text, count) { try append(plainToken($0, $1), $0, $1, first, &tokens) }
    case .characters:
      var at = 0
      while at < count {
        let length = symbolLength(text + at, count - at).length
        try append(plainToken(text + at, length), text + at, length, first, &tokens)
        at += length
      }
    }
  }

  /// The token of a piece, unknown where there is none or it is unused.
  private func plainToken(_ text: UnsafePointer<UInt8>, _ count: Int) -> UInt32 {
    guard let token = pieces.find(text, count), kinds[Int(token)] != .unused else { return unknown }
    return token
  }

  /// The user-defined symbol, or else the character, that the text begins with.
  @inline(__always)
  private func symbolLength(_ text: UnsafePointer<UInt8>, _ count: Int) -> (length: Int, isSymbol: Bool) {
    if let symbols {
      let length = symbols.longestPrefix(text, count).length
      if length > 0 { return (length, true) }
    }
    return (min(UTF8Bytes.scalar(text, 0).length, count), false)
  }

  /// Calls the body for each word: a space and what is behind it, up to the next space behind a letter.
  private func forEachWord(
    _ text: UnsafePointer<UInt8>, _ count: Int, _ body: (UnsafePointer<UInt8>, Int) throws -> Void
  ) rethrows {
    let keepsRuns = algorithm == .bytePairs
    var start = 0
    var at = 0
    var isInWord = false
    while at < count {
      let isSpace = count &- at >= 3 && text[at] == 0xE2 && text[at &+ 1] == 0x96 && text[at &+ 2] == 0x81
      if isSpace, at > start, isInWord || !keepsRuns {
        try body(text + start, at - start)
        start = at
      }
      isInWord = !isSpace
      at += isSpace ? 3 : UTF8Bytes.scalar(text, at).length
    }
    if start < count { try body(text + start, count - start) }
  }

  /// Appends a token, or what stands for a piece that is unknown.
  @inline(__always)
  private func append(
    _ token: UInt32, _ piece: UnsafePointer<UInt8>, _ count: Int, _ first: Int, _ tokens: inout [UInt32]
  ) throws {
    guard token == unknown else { return tokens.append(token) }
    try appendUnknown(piece, count, first, &tokens)
  }

  private func appendUnknown(
    _ piece: UnsafePointer<UInt8>, _ count: Int, _ first: Int, _ tokens: inout [UInt32]
  ) throws {
    if let bytes {
      for at in 0..<count {
        let token = bytes[Int(piece[at])]
        if token != SentencePieceModel.none {
          tokens.append(token)
        } else if let plain = pieces.find(piece + at, 1) {
          tokens.append(plain)
        } else if unknown != SentencePieceModel.none {
          tokens.append(unknown)
        } else {
          throw TokenizerError.unencodable(
            reason: "the byte \(piece[at]) has no token and there is no unknown token either")
        }
      }
    } else if tokens.count == first || tokens[tokens.count - 1] != unknown {
      // Neighbouring unknown pieces are one token.
      tokens.append(unknown)
    }
  }

  // MARK: Unigram

  /// The best way to reach a place in the text.
  struct Step {
    var score: Float
    /// Where its last piece begins; −1 as long as nothing ends here.
    var start: Int32
    var token: UInt32
  }

  private func cutByScores(
    _ text: UnsafePointer<UInt8>, _ count: Int, _ first: Int, _ tokens: inout [UInt32],
    _ scratch: inout ModelScratch
  ) throws {
    if scratch.floatSteps.count <= count {
      let room = count + count / 2 + 65
      scratch.floatSteps = [Step](repeating: Step(score: 0, start: -1, token: 0), count: room)
    }
    var ends: [Int32] = []
    scratch.floatSteps.withUnsafeMutableBufferPointer { buffer in
      let steps = buffer.baseAddress!
      for at in 0...count { steps[at] = Step(score: 0, start: -1, token: 0) }
      scores.withUnsafeBufferPointer { scores in
        kinds.withUnsafeBufferPointer { search(text, count, steps, scores.baseAddress!, $0.baseAddress!) }
      }
      var end = count
      while end > 0 {
        ends.append(Int32(end))
        end = Int(steps[end].start)
      }
    }
    var start = 0
    for end in ends.reversed() {
      let length = Int(end) - start
      try append(scratch.floatSteps[Int(end)].token, text + start, length, first, &tokens)
      start = Int(end)
    }
  }

  private func search(
    _ text: UnsafePointer<UInt8>, _ count: Int, _ steps: UnsafeMutablePointer<Step>,
    _ scores: UnsafePointer<Float>, _ kinds: UnsafePointer<Kind>
  ) {
    guard let trie else { return }
    // Sums that grow large are taken back, or single precision would not tell pieces apart.
    let resetThreshold: Float = 100_000
    var frontier = 0
    var at = 0
    while at < count {
      let character = min(UTF8Bytes.scalar(text, at).length, count &- at)
      var here = steps[at].score
      if abs(here) > resetThreshold {
        for place in at...max(at, frontier) where place == at || steps[place].start != -1 {
          steps[place].score -= here
        }
        here = 0
      }
      var node = ByteTrie.root
      var end = at
      var coversCharacter = false
      while end < count {
        node = trie.child(node, text[end])
        if node == ByteTrie.root { break }
        end &+= 1
        let token = trie.value(node)
        if token == ByteTrie.none { continue }
        let kind = kinds[Int(token)]
        if kind == .unused { continue }
        frontier = max(frontier, end)
        let own = kind == .userDefined ? Float(0.1 * Double(end &- at &- 1)) : scores[Int(token)]
        let score = own + here
        if steps[end].start == -1 || score > steps[end].score {
          steps[end] = Step(score: score, start: Int32(truncatingIfNeeded: at), token: token)
        }
        if end &- at == character { coversCharacter = true }
      }
      if !coversCharacter {
        let end = at &+ character
        frontier = max(frontier, end)
        let score = unknownScore + here
        if steps[end].start == -1 || score > steps[end].score {
          steps[end] = Step(score: score, start: Int32(truncatingIfNeeded: at), token: unknown)
        }
      }
      at &+= character
    }
  }

  // MARK: Byte pairs

  /// A symbol in the linked list of a text; merged-away ones are empty.
  struct Span {
    var start: Int32
    var count: Int32
    var previous: Int32
    var next: Int32
    /// A user-defined symbol is never merged.
    var isFrozen: Bool
  }

  /// A merge that could be applied: the highest score first, then from left to right.
  struct Candidate: HeapElement {
    /// The negated order of the score, then the left symbol.
    var key: UInt64
    var right: Int32
    var size: Int32

    var left: Int { Int(UInt32(truncatingIfNeeded: key)) }
  }

  private func mergeWord(
    _ word: UnsafePointer<UInt8>, _ count: Int, _ first: Int, _ tokens: inout [UInt32],
    _ scratch: inout ModelScratch
  ) throws {
    // Only where what is before a word has no say in its tokens.
    guard count <= WordCache.maximumWord, bytes != nil else {
      return try merge(word, count, first, &tokens, &scratch)
    }
    let hash = StringTable.hash(word, count)
    if scratch.cache.append(word, count, hash, to: &tokens) { return }
    let start = tokens.count
    try merge(word, count, first, &tokens, &scratch)
    scratch.cache.insert(word, count, hash, tokens: tokens[start...])
  }

  private func merge(
    _ text: UnsafePointer<UInt8>, _ count: Int, _ first: Int, _ tokens: inout [UInt32],
    _ scratch: inout ModelScratch
  ) throws {
    var spans = scratch.spans
    var agenda = scratch.agenda
    scratch.spans = []
    scratch.agenda = []
    defer {
      scratch.spans = spans
      scratch.agenda = agenda
    }
    spans.removeAll(keepingCapacity: true)
    agenda.removeAll(keepingCapacity: true)
    // How the pieces that are not used were made, to take them apart again.
    var halves: [UInt32: Int] = [:]
    var at = 0
    while at < count {
      let (length, isSymbol) = symbolLength(text + at, count - at)
      let index = Int32(spans.count)
      spans.append(
        Span(
          start: Int32(at), count: Int32(length), previous: index - 1,
          next: at + length < count ? index + 1 : -1, isFrozen: isSymbol))
      at += length
    }
    for left in 0..<(spans.count - 1) { propose(left, left + 1, text, spans, &agenda, &halves) }

    while let top = SentencePieceModel.popFirst(&agenda) {
      let left = top.left
      let right = Int(top.right)
      guard spans[left].count > 0, spans[right].count > 0, spans[left].count + spans[right].count == top.size
      else { continue }
      spans[left].count = top.size
      spans[right].count = 0
      spans[left].next = spans[right].next
      if spans[right].next >= 0 { spans[Int(spans[right].next)].previous = Int32(left) }
      propose(Int(spans[left].previous), left, text, spans, &agenda, &halves)
      propose(left, Int(spans[left].next), text, spans, &agenda, &halves)
    }

    var index = 0
    while index >= 0 {
      let span = spans[index]
      try appendPiece(text + Int(span.start), Int(span.count), halves, 0, first, &tokens)
      index = Int(span.next)
    }
  }

  private func isReserved(_ token: UInt32) -> Bool {
    if mergesAll { return false }
    switch kinds[Int(token)] {
    case .normal, .userDefined, .unused: return false
    default: return true
    }
  }

  @inline(__always)
  private func propose(
    _ left: Int, _ right: Int, _ text: UnsafePointer<UInt8>, _ spans: [Span], _ agenda: inout [Candidate],
    _ halves: inout [UInt32: Int]
  ) {
    guard left >= 0, right >= 0, !spans[left].isFrozen, !spans[right].isFrozen else { return }
    let size = spans[left].count + spans[right].count
    guard let token = pieces.find(text + Int(spans[left].start), Int(size)),
      mergesAll || (token != unknown && !isReserved(token))
    else { return }
    // The order of scores as unsigned numbers, turned round so that the least key is the highest score.
    let bits = scores[Int(token)].bitPattern
    let order = bits >> 31 == 0 ? bits | 1 << 31 : ~bits
    SentencePieceModel.push(
      Candidate(key: UInt64(~order) << 32 | UInt64(left), right: Int32(right), size: size), &agenda)
    if kinds[Int(token)] == .unused, !mergesAll { halves[token] = Int(spans[left].count) }
  }

  /// Appends the token of a merged piece; one that is not used is taken apart again.
  private func appendPiece(
    _ piece: UnsafePointer<UInt8>, _ count: Int, _ halves: [UInt32: Int], _ depth: Int, _ first: Int,
    _ tokens: inout [UInt32]
  ) throws {
    guard let token = pieces.find(piece, count) else {
      return try appendUnknown(piece, count, first, &tokens)
    }
    if mergesAll { return tokens.append(token) }
    if depth > 100 { return try append(token, piece, count, first, &tokens) }
    if token == unknown || isReserved(token) { return try appendUnknown(piece, count, first, &tokens) }
    guard kinds[Int(token)] == .unused else { return tokens.append(token) }
    guard let half = halves[token] else { return try appendUnknown(piece, count, first, &tokens) }
    try appendPiece(piece, half, halves, depth + 1, first, &tokens)
    try appendPiece(piece + half, count - half, halves, depth + 1, first, &tokens)
  }

  // MARK: A heap

  @inline(__always)
  private static func push(_ candidate: Candidate, _ agenda: inout [Candidate]) {
    agenda.append(candidate)
    MergeHeap.raiseLast(&agenda)
  }

  @inline(__always)
  private static func popFirst(_ agenda: inout [Candidate]) -> Candidate? {
    guard let top = agenda.first else { return nil }
    let last = agenda.removeLast()
    if agenda.isEmpty { return top }
    agenda[0] = last
    MergeHeap.sink(&agenda, 0)
    return top
  }
}
