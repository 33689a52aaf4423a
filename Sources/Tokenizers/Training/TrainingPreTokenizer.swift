/// Cuts a sequence into the words that training counts.
enum TrainingPreTokenizer: Sendable {
  case known(KnownPattern, addsPrefixSpace: Bool)
  case regex(Regex)
  case bert(BertNormalizer)
  case characters

  init(_ configuration: TokenizerTrainingConfiguration) throws {
    switch configuration.model {
    case .bytePairs: break
    case .wordPiece:
      // Without a word on accents, BERT strips them where it lowers case.
      self = .bert(
        BertNormalizer(stripsAccents: configuration.lowercases, lowercases: configuration.lowercases))
      return
    case .characters:
      self = .characters
      return
    }
    let pattern = configuration.regularExpression
    if let known = KnownPattern(pattern) {
      self = .known(known, addsPrefixSpace: configuration.addsPrefixSpace)
    } else {
      self = .regex(try Regex(pattern, file: "--pattern"))
    }
  }

  /// Adds the words of a sequence, which is UTF-8, to a table.
  func count(
    _ sequence: UnsafeBufferPointer<UInt8>, in table: WordTable, _ scratch: TrainingScratch
  ) throws {
    guard let base = sequence.baseAddress, !sequence.isEmpty else { return }
    switch self {
    case .known(let pattern, let addsPrefixSpace):
      if addsPrefixSpace, base[0] != UInt8(ascii: " ") {
        scratch.text.removeAll(keepingCapacity: true)
        scratch.text.append(UInt8(ascii: " "))
        scratch.text.append(contentsOf: sequence)
        scratch.text.withUnsafeBufferPointer { text in
          pattern.forEachMatch(in: text) { table.add(text.baseAddress! + $0, $1 - $0) }
        }
      } else {
        pattern.forEachMatch(in: sequence) { table.add(base + $0, $1 - $0) }
      }
    case .regex(let regex):
      var end = 0
      try regex.forEachMatch(in: sequence, scratch: scratch.regex) { start, stop in
        if start > end { table.add(base + end, start - end) }
        if stop > start { table.add(base + start, stop - start) }
        end = stop
      }
      if end < sequence.count { table.add(base + end, sequence.count - end) }
    case .bert(let normalizer):
      let normalized = normalizer.apply(to: sequence)
      let text = normalized ?? Array(sequence)
      try text.withUnsafeBufferPointer { text in
        var cut = PreTokenizedText(text, beginning: 1)
        defer { cut.deallocate() }
        try PreTokenizer.bert.apply(to: &cut, scratch: scratch.regex)
        for piece in cut.pieces {
          let word = cut.bytes(piece)
          table.add(word.baseAddress!, word.count)
        }
      }
    case .characters:
      var at = 0
      while at < sequence.count {
        let length = UTF8Bytes.scalar(base, at).length
        table.add(base + at, length)
        at += length
      }
    }
  }
}

/// What one thread writes to while it counts words.
final class TrainingScratch: @unchecked Sendable {
  // Safe: one thread has it at a time.
  let regex = RegexScratch()
  var text: [UInt8] = []
}
