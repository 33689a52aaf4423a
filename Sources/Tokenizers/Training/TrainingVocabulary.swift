/// The tokens of a vocabulary in the making, in the order of their ids.
struct TrainingVocabulary {
  /// UTF-8, as the vocabulary spells them.
  private(set) var texts: [[UInt8]] = []
  private var ids: [[UInt8]: UInt32] = [:]

  var count: Int { texts.count }

  /// The id of a text, which is added where it is new.
  mutating func add(_ text: [UInt8]) -> UInt32 {
    if let id = ids[text] { return id }
    let id = UInt32(texts.count)
    texts.append(text)
    ids[text] = id
    return id
  }

  /// The id of a text.
  func id(of text: [UInt8]) -> UInt32? { ids[text] }
}
