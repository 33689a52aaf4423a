/// The tokens of a model: text → id and id → text; read-only once made.
final class ModelVocabulary: @unchecked Sendable {
  /// How texts are kept: as they are, or as the bytes that byte-level characters stand for.
  let unit: BytePairEncoding.Unit
  /// Keys in the form that the model meets them.
  let table: StringTable
  /// Tokens that no byte-level word can be, because a character is not of the alphabet.
  private var others: [ExactText: UInt32] = [:]
  private var otherTexts: [String] = []
  /// By id: an entry of `table`, −1 for none, −2 − n for `otherTexts[n]`.
  private var entries: [Int32]
  /// Tokens as the file lists them, repeated texts counted once.
  var count: Int { table.count + others.count }
  /// The highest id, plus one.
  var size: Int { entries.count }
  /// Two texts have the same id.
  private(set) var hasSharedIDs = false
  private let keepsRepeated: Bool

  /// - Parameters:
  ///   - tokens: texts and ids; of a repeated text the last counts.
  ///   - unit: `.byte` when the words reach the model as raw bytes.
  ///   - keepsRepeated: the other ids of a repeated text still decode to it.
  /// - Throws: `TokenizerError.malformed` for an id out of all proportion.
  init(
    _ tokens: some Collection<(text: String, id: UInt32)>, unit: BytePairEncoding.Unit,
    keepsRepeated: Bool = false, file: String, field: String
  ) throws {
    self.unit = unit
    self.keepsRepeated = keepsRepeated
    table = StringTable(capacity: tokens.count, bytes: 8 * tokens.count)
    let highest = tokens.lazy.map(\.id).max().map(Int.init) ?? -1
    guard highest < max(1 << 22, 64 * tokens.count) else {
      throw TokenizerError.malformed(
        file: file, field: field,
        reason: "id \(highest) in a vocabulary of \(tokens.count) tokens; number the tokens from 0 on")
    }
    entries = [Int32](repeating: -1, count: highest + 1)
    for (text, id) in tokens {
      var text = text
      let isMapped = text.withUTF8 { bytes in
        guard unit == .byte else {
          note(table.insert(bytes, id), id, Int32(table.count - 1))
          return true
        }
        return ByteAlphabet.withBytes(of: bytes) { mapped in
          guard let mapped else { return false }
          note(table.insert(mapped, id), id, Int32(table.count - 1))
          return true
        }
      }
      if !isMapped {
        others[ExactText(text)] = id
        otherTexts.append(text)
        if entries[Int(id)] != -1 { hasSharedIDs = true }
        entries[Int(id)] = -1 - Int32(otherTexts.count)
      }
    }
  }

  private func note(_ previous: UInt32?, _ id: UInt32, _ entry: Int32) {
    if entries[Int(id)] != -1 { hasSharedIDs = true }
    if let previous {
      // A repeated text: its entry is found by its old id, which now names nothing.
      let known = entries[Int(previous)]
      if previous != id, !keepsRepeated { entries[Int(previous)] = -1 }
      entries[Int(id)] = known
    } else {
      entries[Int(id)] = entry
    }
  }

  /// The id of a token's text.
  func id(for token: String) -> UInt32? {
    var token = token
    return token.withUTF8 { id(forText: $0) }
  }

  /// The id of a token's text in UTF-8.
  func id(forText text: UnsafeBufferPointer<UInt8>) -> UInt32? {
    guard unit == .byte else { return table.find(text) }
    return ByteAlphabet.withBytes(of: text) { mapped in
      if let mapped { return table.find(mapped) }
      return others.isEmpty ? nil : others[ExactText(String(decoding: text, as: UTF8.self))]
    }
  }

  /// The text of a token.
  func text(of id: Int) -> String? {
    guard entries.indices.contains(id), entries[id] != -1 else { return nil }
    guard entries[id] >= 0 else { return otherTexts[Int(-2 - entries[id])] }
    return table.withEntry(Int(entries[id])) { bytes in
      guard unit == .byte else { return String(decoding: bytes, as: UTF8.self) }
      var text: [UInt8] = []
      ByteAlphabet.appendCharacters(of: bytes, to: &text)
      return String(decoding: text, as: UTF8.self)
    }
  }

  /// Appends what `ByteLevel` decodes a token to; false when there is no such token.
  func appendDecodedBytes(of id: Int, to out: inout [UInt8]) -> Bool {
    guard entries.indices.contains(id), entries[id] != -1 else { return false }
    guard entries[id] >= 0 else {
      out.append(contentsOf: otherTexts[Int(-2 - entries[id])].utf8)
      return true
    }
    table.withEntry(Int(entries[id])) { bytes in
      if unit == .byte {
        out.append(contentsOf: bytes)
      } else if !ByteAlphabet.appendBytes(of: bytes, to: &out) {
        out.append(contentsOf: bytes)
      }
    }
    return true
  }
}
