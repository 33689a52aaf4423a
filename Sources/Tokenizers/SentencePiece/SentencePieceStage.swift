/// Decoding as sentencepiece does it: marks to spaces, the first one dropped, bytes to text.
///
/// - SeeAlso: `SentencePieceProcessor::Decode`.
struct SentencePieceStage: DecodingStage {
  let model: SentencePieceModel
  private var bytes: [UInt8] = []
  private var hasText = false
  private var isAtBeginning = true
  private var fused: String?

  init(model: SentencePieceModel) {
    self.model = model
  }

  mutating func push(_ piece: DecodedPiece, _ emit: (DecodedPiece) -> Void) {
    switch piece {
    case .token(let text): decode(text, emit)
    case .part(let text): fused = (fused ?? "") + text
    }
  }

  mutating func finish(_ emit: (DecodedPiece) -> Void) {
    if let fused { decode(fused, emit) }
    flush(isEnd: true, emit)
  }

  private mutating func decode(_ token: String, _ emit: (DecodedPiece) -> Void) {
    var token = token
    let kind = token.withUTF8 { model.texts.find($0) }.map { model.kinds[Int($0)] }
    if kind == .byte, let byte = SentencePieceFile.byte(of: token) {
      bytes.append(byte)
      hasText = true
      return flush(isEnd: false, emit)
    }
    flush(isEnd: true, emit)
    if hasText { isAtBeginning = false }
    switch kind {
    case .control: return
    case .unknown:
      give(model.unknownSurface, emit)
    default:
      var rest = token.utf8[...]
      var isDropped = false
      if isAtBeginning, model.dropsFirstSpace, rest.starts(with: SentencePieceNormalizer.space) {
        rest = rest.dropFirst(SentencePieceNormalizer.space.count)
        isDropped = !model.dropsLeadingSpaces
      }
      var text = String.UnicodeScalarView()
      for scalar in Substring(rest).unicodeScalars { text.append(scalar == "\u{2581}" ? " " : scalar) }
      give(String(text), emit)
      if isDropped { isAtBeginning = false }
    }
    if hasText { isAtBeginning = false }
  }

  private mutating func give(_ text: String, _ emit: (DecodedPiece) -> Void) {
    guard !text.isEmpty else { return }
    hasText = true
    emit(.part(text))
  }

  /// Gives the characters that the bytes make, and U+FFFD for each byte that can make none.
  private mutating func flush(isEnd: Bool, _ emit: (DecodedPiece) -> Void) {
    var at = 0
    var text = ""
    while at < bytes.count {
      let rest = Array(bytes[at...])
      let length = rest.withUnsafeBufferPointer { UTF8Bytes.validLength($0.baseAddress!, $0.count) }
      if length > 0 {
        text += String(decoding: rest[..<length], as: UTF8.self)
        at += length
      } else if !isEnd, UTF8StreamDecoder.incompleteTail(rest) == rest.count {
        break
      } else {
        text += "\u{FFFD}"
        at += 1
      }
    }
    bytes.removeFirst(at)
    if !text.isEmpty { emit(.part(text)) }
  }
}
