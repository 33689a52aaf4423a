/// A token outside of the model: found in the text before the model sees it.
struct AddedToken: Sendable, Equatable {
  var content: String
  /// Only where no word character touches it.
  var isSingleWord = false
  /// White space before (after) it belongs to it.
  var stripsLeft = false
  var stripsRight = false
  /// Looked for in the normalised text, itself normalised.
  var isNormalized = false
  /// Left out by decoding with `skipSpecialTokens`.
  var isSpecial = true

  /// The same in every flag and byte.
  func isSame(as other: AddedToken) -> Bool {
    self == other && ExactText(content) == ExactText(other.content)
  }
}

/// The added vocabulary: which tokens there are, their ids, and the search for them in a text.
struct AddedTokens: Sendable {
  /// A part of a text: a token, or text for the model.
  struct Segment {
    var token: UInt32?
    var start: Int
    var end: Int
  }

  private(set) var ids: [ExactText: UInt32] = [:]
  private(set) var tokens: [UInt32: AddedToken] = [:]
  private var specialContents: Set<ExactText> = []
  /// The texts that tokens decode to: as they are looked for, hence normalised where the token is.
  private(set) var texts: [UInt32: String] = [:]
  /// Special tokens are not looked for.
  var splitsSpecialTokens = false
  private var special: [AddedToken] = []
  private var classic: [AddedToken] = []
  private var plainSearch = TokenSearch()
  private var normalizedSearch = TokenSearch()

  /// The id of a token's text.
  func id(for content: String) -> UInt32? { ids[ExactText(content)] }

  /// Whether a text is that of a special token.
  func isSpecial(_ content: String) -> Bool { specialContents.contains(ExactText(content)) }

  /// The texts of all special tokens.
  var specialTexts: [String] { specialContents.map(\.text) }

  /// Adds tokens as `tokenizers` does: one that the model has keeps its id, others are numbered on.
  ///
  /// - Parameters:
  ///   - modelSize: how many tokens the model has.
  ///   - modelToken: the model's id of a text.
  mutating func add(_ new: [AddedToken], modelSize: Int, modelToken: (String) -> UInt32?) {
    for token in new where token.isSpecial && !token.content.isEmpty {
      if specialContents.insert(ExactText(token.content)).inserted { special.append(token) }
    }
    var highest = ids.values.max().map(Int.init)
    for token in new where !token.content.isEmpty {
      if let id = id(for: token.content), tokens[id]?.isSame(as: token) == true { continue }
      let id =
        self.id(for: token.content) ?? modelToken(token.content)
        ?? UInt32(highest.map { $0 >= modelSize || modelSize == 0 ? $0 + 1 : modelSize } ?? modelSize)
      highest = max(highest ?? 0, Int(id))
      ids[ExactText(token.content)] = id
      tokens[id] = token
      if !isSpecial(token.content) { classic.append(token) }
    }
  }

  /// Prepares the searches; call after the last `add`.
  mutating func prepare(normalize: ([UInt8]) throws -> [UInt8]) rethrows {
    for token in special + classic {
      guard let id = id(for: token.content) else { continue }
      if token.isNormalized {
        normalizedSearch.add(try normalize(Array(token.content.utf8)), id)
      } else {
        plainSearch.add(Array(token.content.utf8), id)
      }
    }
    for (id, token) in tokens {
      texts[id] =
        token.isNormalized
        ? String(decoding: try normalize(Array(token.content.utf8)), as: UTF8.self) : token.content
    }
  }

  /// Cuts a text that is not normalised at the tokens that want it so.
  func split(_ text: UnsafeBufferPointer<UInt8>) -> [Segment] { split(text, plainSearch) }

  /// Cuts normalised text at the other tokens.
  func splitNormalized(_ text: UnsafeBufferPointer<UInt8>) -> [Segment] { split(text, normalizedSearch) }

  private func split(_ text: UnsafeBufferPointer<UInt8>, _ search: TokenSearch) -> [Segment] {
    guard let base = text.baseAddress, !text.isEmpty else { return [] }
    var segments: [Segment] = []
    var done = 0
    search.forEachMatch(in: text) { id, start, end in
      guard let token = tokens[id], !(splitsSpecialTokens && isSpecial(token.content)) else {
        return
      }
      var start = start
      var end = end
      if token.isSingleWord {
        let words = CodePointSet.wordOfAddedTokens
        if start > 0, words.contains(UTF8Bytes.scalarBefore(base, start).value) { return }
        if end < text.count, words.contains(UTF8Bytes.scalar(base, end).value) { return }
      }
      if token.stripsLeft {
        while start > done {
          let (value, length) = UTF8Bytes.scalarBefore(base, start)
          guard CodePointSet.whitespace.contains(value) else { break }
          start -= length
        }
        start = max(start, done)
      }
      if token.stripsRight {
        while end < text.count {
          let (value, length) = UTF8Bytes.scalar(base, end)
          guard CodePointSet.whitespace.contains(value) else { break }
          end += length
        }
      }
      if done < start { segments.append(Segment(token: nil, start: done, end: start)) }
      segments.append(Segment(token: id, start: start, end: end))
      done = end
    }
    if done != text.count {
      segments.append(Segment(token: nil, start: min(done, text.count), end: text.count))
    }
    return segments
  }
}

/// Finds the longest of many texts at the leftmost place, as Aho–Corasick with leftmost-longest matching.
struct TokenSearch: Sendable {
  private let table = StringTable(capacity: 16)
  private var lengths: [[Int]] = Array(repeating: [], count: 256)  // by first byte, longest first
  private var onlyFirst: UInt8?
  private var isEmpty = true

  /// Adds a text; the first of two equal ones counts.
  mutating func add(_ content: [UInt8], _ id: UInt32) {
    guard let first = content.first else { return }
    let known = content.withUnsafeBufferPointer { table.find($0) }
    guard known == nil else { return }
    content.withUnsafeBufferPointer { _ = table.insert($0, id) }
    let at = Int(first)
    if !lengths[at].contains(content.count) {
      lengths[at].append(content.count)
      lengths[at].sort(by: >)
    }
    onlyFirst = isEmpty || onlyFirst == first ? first : nil
    isEmpty = false
  }

  /// Calls the body with id and bounds of each match; matches do not overlap.
  func forEachMatch(in text: UnsafeBufferPointer<UInt8>, _ body: (UInt32, Int, Int) -> Void) {
    guard let base = text.baseAddress, !isEmpty else { return }
    var at = 0
    while at < text.count {
      if let onlyFirst {
        guard let next = text[at...].firstIndex(of: onlyFirst) else { return }
        at = next
      }
      var length = 0
      for candidate in lengths[Int(base[at])] where candidate <= text.count - at {
        if let id = table.find(base + at, candidate) {
          body(id, at, at + candidate)
          length = candidate
          break
        }
      }
      at += max(1, length)
    }
  }
}
