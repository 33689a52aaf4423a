/// SentencePiece's compiled normalisation rules: a double-array trie of what to replace, and the replacements.
///
/// Each 32-bit unit of the array holds a label, an offset to its children and whether a rule ends there, as
/// darts-clone packs them. Everything that can be reached is checked when the rules are read.
/// - SeeAlso: `normalizer.cc` of sentencepiece, the crate `spm_precompiled`.
final class Charsmap: Sendable {
  private let units: [UInt32]
  private let replacements: [UInt8]

  /// - Parameter requiresWholeBlocks: as sentencepiece does and `tokenizers` does not.
  /// - Throws: `TokenizerError.malformed` when an offset leads outside or a replacement is not text.
  init(_ blob: [UInt8], requiresWholeBlocks: Bool, file: String, field: String) throws {
    func malformed(_ reason: String) -> TokenizerError {
      .malformed(file: file, field: field, reason: reason + "; get the file again")
    }
    guard blob.count > 4 else { throw malformed("is too short for a table of normalisation rules") }
    let size = blob[..<4].reversed().reduce(0) { $0 << 8 | Int($1) }
    guard size >= 4, size <= blob.count - 4 else {
      throw malformed("says that its trie has \(size) bytes of \(blob.count - 4)")
    }
    let trieEnd = 4 + size / 4 * 4
    replacements = Array(blob[trieEnd...])
    if requiresWholeBlocks {
      guard size % 1024 == 0 else { throw malformed("has a trie of \(size) bytes, no multiple of 1024") }
      guard replacements.last == 0 else { throw malformed("has replacements without an end") }
    }
    units = blob.withUnsafeBytes { bytes in
      stride(from: 4, to: trieEnd, by: 4).map {
        UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: $0, as: UInt32.self))
      }
    }
    if let offset = replacements.withUnsafeBufferPointer({ UTF8Bytes.firstInvalidByte($0) }) {
      throw malformed("has a replacement that is not UTF-8 at byte \(offset)")
    }
    if let reason = firstFault() { throw malformed(reason) }
  }

  // MARK: Units

  @inline(__always)
  private static func label(_ unit: UInt32) -> UInt32 { unit & 0x8000_00FF }
  @inline(__always)
  private static func offset(_ unit: UInt32) -> UInt32 { (unit &>> 10) &<< ((unit & 0x200) &>> 6) }
  @inline(__always)
  private static func endsRule(_ unit: UInt32) -> Bool { unit &>> 8 & 1 == 1 }
  @inline(__always)
  private static func value(_ unit: UInt32) -> UInt32 { unit & 0x7FFF_FFFF }

  /// Walks all that a text could reach.
  private func firstFault() -> String? {
    var isSeen = [Bool](repeating: false, count: units.count)
    var pending = [UInt32(0)]
    isSeen[0] = true
    while let node = pending.popLast() {
      let base = node ^ Charsmap.offset(units[Int(node)])
      if node != 0, Charsmap.endsRule(units[Int(node)]) {
        guard Int(base) < units.count else { return "has a trie with a leaf at \(base) of \(units.count)" }
        let value = Int(Charsmap.value(units[Int(base)]))
        guard value <= replacements.count else {
          return "names a replacement at \(value) of \(replacements.count)"
        }
        if value < replacements.count, replacements[value] & 0xC0 == 0x80 {
          return "names a replacement inside of a character at \(value)"
        }
      }
      for byte in UInt32(1)...255 {
        let child = Int(base ^ byte)
        guard child < units.count else { continue }
        if Charsmap.label(units[child]) == byte, !isSeen[child] {
          isSeen[child] = true
          pending.append(UInt32(child))
        }
      }
    }
    return nil
  }

  // MARK: Look-up

  /// A rule that a text begins with.
  struct Match {
    /// How many bytes of the text it takes.
    var length: Int
    /// Where its replacement lies.
    var start: Int
    var end: Int
  }

  /// Calls the body for each rule that the text begins with, shortest first, until it returns false.
  @inline(__always)
  private func forEachRule(_ text: UnsafePointer<UInt8>, _ count: Int, _ body: (Int, UInt32) -> Bool) {
    units.withUnsafeBufferPointer { units in
      let limit = UInt32(truncatingIfNeeded: units.count)
      var node = Charsmap.offset(units[0])
      var at = 0
      while at < count, text[at] != 0 {
        node ^= UInt32(text[at])
        guard node < limit else { return }
        let unit = units[Int(node)]
        guard Charsmap.label(unit) == UInt32(text[at]) else { return }
        node ^= Charsmap.offset(unit)
        at &+= 1
        if Charsmap.endsRule(unit) {
          // Safe: checked to lie inside when the rules were read.
          if !body(at, Charsmap.value(units[Int(node)])) { return }
        }
      }
    }
  }

  private func match(_ length: Int, _ start: UInt32) -> Match {
    let start = Int(start)
    var end = start
    while end < replacements.count, replacements[end] != 0 { end &+= 1 }
    return Match(length: length, start: start, end: end)
  }

  /// The shortest rule that the text begins with: what `tokenizers` takes.
  @inline(__always)
  func shortest(_ text: UnsafePointer<UInt8>, _ count: Int) -> Match? {
    var found: Match?
    forEachRule(text, count) { length, start in
      found = match(length, start)
      return false
    }
    return found
  }

  /// The longest rule that the text begins with: what sentencepiece takes.
  ///
  /// A rule without a replacement inside of the table does not count.
  @inline(__always)
  func longest(_ text: UnsafePointer<UInt8>, _ count: Int) -> Match? {
    var length = 0
    var start: UInt32 = 0
    forEachRule(text, count) {
      length = $0
      start = $1
      return true
    }
    return length == 0 || Int(start) >= replacements.count ? nil : match(length, start)
  }

  /// Appends the replacement of a rule.
  @inline(__always)
  func append(_ match: Match, to out: inout [UInt8]) {
    for at in match.start..<match.end { out.append(replacements[at]) }
  }

  /// Calls the body with the replacement of a rule.
  @inline(__always)
  func withReplacement(_ match: Match, _ body: (UnsafeBufferPointer<UInt8>) -> Void) {
    replacements.withUnsafeBufferPointer { body(UnsafeBufferPointer(rebasing: $0[match.start..<match.end])) }
  }

  // MARK: Normalising as `tokenizers` does

  /// How many bytes at the front of `normalize`'s result count as coming from the first `beginning` bytes.
  ///
  /// `tokenizers` goes through old and new characters in step, one new for one old, the surplus of a longer
  /// replacement beside its last; a removed cluster at the very front is not counted at all.
  func beginning(_ beginning: Int, of text: UnsafeBufferPointer<UInt8>) -> Int {
    guard let base = text.baseAddress else { return 0 }
    let limit = (0..<beginning).reduce(0) { $0 + (text[$1] & 0xC0 != 0x80 ? 1 : 0) }
    var bytes = 0
    var old = 0
    // Takes a part of so many old characters that became others; false when the rest lies behind.
    let take = { (oldCount: Int, new: ArraySlice<UInt8>) in
      let starts = new.indices.filter { new[$0] & 0xC0 != 0x80 } + [new.endIndex]
      let newCount = starts.count - 1
      for index in 0..<newCount {
        let source = index < oldCount ? old + index : max(0, old + oldCount - 1)
        guard source < limit else { return false }
        bytes += starts[index + 1] - starts[index]
      }
      // Without anything new in front there is nobody to count what is removed.
      if newCount > 0 || bytes > 0 { old += oldCount }
      return true
    }
    var at = 0
    while at < text.count {
      let end = GraphemeClusters.end(base, at, text.count)
      var part = at
      while part < end {
        let isWhole = part == at && end - at < 6
        let length = isWhole ? end - at : UTF8Bytes.scalar(base, part).length
        var stop = part + length
        var new: [UInt8] = []
        if let match = shortest(base + part, length) {
          append(match, to: &new)
        } else {
          stop = part + UTF8Bytes.scalar(base, part).length
          if isWhole, stop < end {
            // No rule for the cluster: its characters one by one.
            while stop <= end, part < end {
              let length = UTF8Bytes.scalar(base, part).length
              new.removeAll()
              if let match = shortest(base + part, length) {
                append(match, to: &new)
              } else {
                new += text[part..<(part + length)]
              }
              guard take(1, new[...]) else { return bytes }
              part += length
              stop = part
            }
            continue
          }
          new += text[part..<stop]
        }
        let characters = (part..<stop).reduce(0) { $0 + (text[$1] & 0xC0 != 0x80 ? 1 : 0) }
        guard take(characters, new[...]) else { return bytes }
        part = stop
      }
      at = end
    }
    return bytes
  }

  /// The text after the rules of `tokenizers`' `Precompiled`; `nil` when it is unchanged.
  ///
  /// A cluster of fewer than six bytes is replaced as a whole by the shortest rule that it begins with;
  /// otherwise each of its characters is, by itself.
  func normalize(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    guard let base = text.baseAddress else { return nil }
    var out: [UInt8] = []
    out.reserveCapacity(text.count + 16)
    var isChanged = false
    var at = 0
    while at < text.count {
      let start = at
      let end = GraphemeClusters.end(base, at, text.count)
      if end - at < 6, let match = shortest(base + at, end - at) {
        append(match, to: &out)
        isChanged = true
        at = end
        continue
      }
      while at < end {
        let length = UTF8Bytes.scalar(base, at).length
        // A cluster of one character was looked up already.
        if length < end - start, let match = shortest(base + at, length) {
          append(match, to: &out)
          isChanged = true
        } else {
          for byte in at..<(at + length) { out.append(text[byte]) }
        }
        at += length
      }
    }
    return isChanged ? out : nil
  }
}
