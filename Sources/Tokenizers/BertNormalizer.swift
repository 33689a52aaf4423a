/// BERT's normaliser: control characters away, spaces around Chinese characters, accents away, lower case.
struct BertNormalizer: Sendable, Equatable {
  var cleansText = true
  var handlesChineseCharacters = true
  var stripsAccents = true
  var lowercases = true

  private static let removed: UInt8 = 1
  private static let space: UInt8 = 2
  private static let chinese: UInt8 = 3

  private static let kinds = CodePointTable([
    (CodePointSet.whitespace, space),
    (.bertRemoved, removed),
    (
      CodePointSet([
        0x4E00...0x9FFF, 0x3400...0x4DBF, 0x20000...0x2A6DF, 0x2A700...0x2B73F, 0x2B740...0x2B81F,
        0x2B920...0x2CEAF, 0xF900...0xFAFF, 0x2F800...0x2FA1F,
      ]), chinese
    ),
  ])

  /// The normalised text.
  func apply(to text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
    guard let base = text.baseAddress else { return nil }
    var out: [UInt8] = []
    out.reserveCapacity(text.count + text.count / 2 + 16)
    let kinds = BertNormalizer.kinds
    let lowersAtOnce = lowercases
    var isASCII = true
    var at = 0
    while at < text.count {
      let (value, length) = UTF8Bytes.scalar(base, at)
      let end = at + length
      switch kinds[value] {
      case BertNormalizer.removed where cleansText: break
      case BertNormalizer.space where cleansText: out.append(UInt8(ascii: " "))
      case BertNormalizer.chinese where handlesChineseCharacters:
        isASCII = false
        out.append(UInt8(ascii: " "))
        for byte in at..<end { out.append(text[byte]) }
        out.append(UInt8(ascii: " "))
      default:
        if length == 1 {
          let byte = text[at]
          // Lower case of ASCII does not meet the steps between, so it is done here.
          out.append(lowersAtOnce && byte &- 0x41 < 26 ? byte | 0x20 : byte)
        } else {
          isASCII = false
          for byte in at..<end { out.append(text[byte]) }
        }
      }
      at = end
    }
    if isASCII { return out }
    if stripsAccents { out = BertNormalizer.stripped(out) }
    if lowercases { out = out.withUnsafeBufferPointer { $0.isEmpty ? [] : Normalizer.lowercased($0) } }
    return out
  }

  private static let marks = CodePointTable([(.bertMarks, 1)])

  private static func stripped(_ text: [UInt8]) -> [UInt8] {
    text.withUnsafeBufferPointer { NormalForm.nfd.apply(to: $0) ?? text }.withUnsafeBufferPointer { text in
      var out: [UInt8] = []
      out.reserveCapacity(text.count)
      let marks = marks
      var at = 0
      while at < text.count {
        let (value, length) = UTF8Bytes.scalar(text.baseAddress!, at)
        if marks[value] == 0 { for byte in at..<(at + length) { out.append(text[byte]) } }
        at += length
      }
      return out
    }
  }
}
