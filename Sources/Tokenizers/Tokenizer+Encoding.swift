import Synchronization

/// What one encoding writes to, kept for the next: word cache, buffers, match data.
final class EncodingScratch {
  /// Of a byte-pair encoding; made when it is first needed.
  var model: ModelScratch?
  var tokens: [UInt32] = []
  let regex = RegexScratch()

  /// Lets go of what a very long text has left behind.
  func trim() {
    let limit = 1 << 18
    if tokens.capacity > limit { tokens = [] }
    if let model, max(model.symbols.capacity, model.steps.count, model.spans.capacity) > limit {
      self.model = nil
    }
  }
}

/// Scratch that is not in use; each encoding borrows one, so that threads never share.
final class ScratchPool: Sendable {
  /// Hands an object from thread to thread; only one holds it at a time.
  private struct Idle: @unchecked Sendable {
    var scratch: [EncodingScratch] = []
  }

  private static let limit = 16
  private let idle = Mutex(Idle())

  /// Lends scratch to the body.
  func use<Result>(_ body: (EncodingScratch) throws -> Result) rethrows -> Result {
    let scratch = take()
    defer { giveBack(scratch) }
    return try body(scratch)
  }

  private func take() -> EncodingScratch {
    let known = idle.withLock { Idle(scratch: $0.scratch.popLast().map { [$0] } ?? []) }
    return known.scratch.first ?? EncodingScratch()
  }

  private func giveBack(_ scratch: EncodingScratch) {
    scratch.trim()
    let returned = Idle(scratch: [scratch])
    idle.withLock {
      if $0.scratch.count < ScratchPool.limit { $0.scratch += returned.scratch }
    }
  }
}

extension Tokenizer {
  /// Longer texts do not fit the 32-bit offsets of pieces.
  private static let maximumText = Int(Int32.max)

  /// Encodes bytes that are known to be UTF-8.
  func encode(checked text: UnsafeBufferPointer<UInt8>, addSpecialTokens: Bool) throws -> [Int] {
    guard text.count <= Tokenizer.maximumText else {
      throw TokenizerError.unencodable(reason: "it has more than 2 GiB; encode it in parts")
    }
    let ids = try storage.scratch.use { scratch in
      scratch.tokens.removeAll(keepingCapacity: true)
      for segment in storage.added.split(text) {
        if let token = segment.token {
          scratch.tokens.append(token)
        } else {
          let part = UnsafeBufferPointer(rebasing: text[segment.start..<segment.end])
          try storage.encodeText(part, beginsText: segment.start == 0, scratch)
        }
      }
      return scratch.tokens.map(Int.init)
    }
    return storage.postProcessor.apply(to: ids, addSpecialTokens: addSpecialTokens)
  }
}

extension Tokenizer.Storage {
  /// Applies the normalisers in order.
  static func normalize(
    _ text: [UInt8], _ normalizers: [Normalizer], _ scratch: RegexScratch
  ) throws -> [UInt8] {
    var text = text
    for normalizer in normalizers {
      text = try text.withUnsafeBufferPointer { try normalizer.apply(to: $0, scratch: scratch) } ?? text
    }
    return text
  }

  /// Encodes text that holds none of the tokens looked for in raw text.
  fileprivate func encodeText(
    _ text: UnsafeBufferPointer<UInt8>, beginsText: Bool, _ scratch: EncodingScratch
  ) throws {
    var beginning = 0
    if beginsText, asksForBeginning { beginning = UTF8Bytes.scalar(text.baseAddress!, 0).length }
    if normalizers.isEmpty { return try encodeNormalized(text, beginning, scratch) }
    var changed: [UInt8]?
    for normalizer in normalizers {
      if let current = changed {
        let next = try current.withUnsafeBufferPointer {
          try step(normalizer, $0, beginsText: beginsText, &beginning, scratch.regex)
        }
        if let next { changed = next }
      } else {
        changed = try step(normalizer, text, beginsText: beginsText, &beginning, scratch.regex)
      }
    }
    if let changed {
      try changed.withUnsafeBufferPointer { try encodeNormalized($0, beginning, scratch) }
    } else {
      try encodeNormalized(text, beginning, scratch)
    }
  }

  /// One normaliser, and what it does to the beginning.
  private func step(
    _ normalizer: Normalizer, _ text: UnsafeBufferPointer<UInt8>, beginsText: Bool, _ beginning: inout Int,
    _ scratch: RegexScratch
  ) throws -> [UInt8]? {
    let result = try normalizer.apply(to: text, beginsText: beginsText, scratch: scratch)
    if beginning > 0, let result {
      let before = beginning
      beginning = try result.withUnsafeBufferPointer {
        try normalizer.beginning(before, of: text, in: $0, scratch: scratch)
      }
    }
    return result
  }

  /// - Parameter beginning: how many bytes at the front come from the first character of the whole text.
  private func encodeNormalized(
    _ text: UnsafeBufferPointer<UInt8>, _ beginning: Int, _ scratch: EncodingScratch
  ) throws {
    guard text.count <= Int(Int32.max) else {
      throw TokenizerError.unencodable(reason: "normalised, it has more than 2 GiB; encode it in parts")
    }
    for segment in added.splitNormalized(text) {
      if let token = segment.token {
        scratch.tokens.append(token)
      } else {
        let part = UnsafeBufferPointer(rebasing: text[segment.start..<segment.end])
        try encodeWords(of: part, max(0, beginning - segment.start), scratch)
      }
    }
  }

  private func encodeWords(
    of text: UnsafeBufferPointer<UInt8>, _ beginning: Int, _ scratch: EncodingScratch
  ) throws {
    var cut = PreTokenizedText(text, beginning: beginning)
    defer { cut.deallocate() }
    for preTokenizer in preTokenizers { try preTokenizer.apply(to: &cut, scratch: scratch.regex) }
    // Held here while the words are encoded: a field of a shared object is checked at every access.
    var tokens = scratch.tokens
    var modelScratch = scratch.model
    scratch.tokens = []
    scratch.model = nil
    defer {
      scratch.tokens = tokens
      scratch.model = modelScratch
    }
    var own = modelScratch ?? ModelScratch()
    modelScratch = nil
    defer { modelScratch = own }
    // Chosen once: taking a model out of its case costs more than a short word.
    switch model {
    case .bytePairs(let model):
      try cut.forEachWord { try model.encode($0, $1, into: &tokens, scratch: &own) }
    case .wordLevel(let model): try cut.forEachWord { try model.encode($0, $1, into: &tokens) }
    case .wordPiece(let model):
      try cut.forEachWord { try model.encode($0, $1, into: &tokens, scratch: &own) }
    case .unigram(let model): try cut.forEachWord { try model.encode($0, $1, into: &tokens, scratch: &own) }
    case .sentencePiece(let model):
      try cut.forEachWord { try model.encode($0, $1, into: &tokens, scratch: &own) }
    }
  }
}
