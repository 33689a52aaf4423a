/// The text of one sequence, piece by piece, as its tokens come.
///
/// Holds back bytes that do not yet make a character, and any end of the text that could begin a stop string.
/// The pieces joined are the decoding of all tokens, or of what comes before the first stop string.
public struct TextStreamer {
  private var output: any StreamingTextDecoder
  /// Decodes for the comparison with stop strings where that is not the output: special tokens, which the
  /// output leaves out, can be stop strings.
  private var comparison: (any StreamingTextDecoder)?
  private var matcher: StopStringMatcher

  /// Output not yet given away; each scalar stands at a byte offset of the compared stream.
  private var held: [(scalar: Unicode.Scalar, offset: Int)] = []
  /// Bytes of the compared stream so far, the prompt's not counted.
  private var length = 0

  /// Whether a stop string has come; later tokens are passed over.
  public private(set) var hasStopped = false

  /// - Parameters:
  ///   - decoder: makes the text that is given away.
  ///   - stopStrings: texts at which it ends; none of them empty.
  ///   - comparisonDecoder: makes the text that is compared with stop strings, where it is another one (with
  ///     special tokens, say).
  ///   - prompt: tokens before the sequence, where a stop string may begin.
  public init(
    decoder: any StreamingTextDecoder, stopStrings: [String] = [],
    comparisonDecoder: (any StreamingTextDecoder)? = nil, prompt: [Int] = []
  ) {
    output = decoder
    matcher = StopStringMatcher(stopStrings)
    guard !stopStrings.isEmpty else { return }
    comparison = comparisonDecoder
    var promptDecoder = comparisonDecoder ?? decoder
    for token in prompt.suffix(matcher.longest) {
      for byte in promptDecoder.append(token).utf8 { _ = matcher.append(byte) }
    }
  }

  /// Takes one token.
  /// - Returns: the text that is certain now; may be empty.
  public mutating func append(_ token: Int) -> String {
    guard !hasStopped else { return "" }
    let text = output.append(token)
    return take(text, compared: comparison?.append(token) ?? text)
  }

  /// Says that no token follows.
  /// - Returns: what was held back, unless it belongs to a stop string.
  public mutating func finish() -> String {
    guard !hasStopped else { return "" }
    let text = output.finish()
    let piece = take(text, compared: comparison?.finish() ?? text)
    return piece + release(before: Int.max)
  }

  /// The whole text of a finished sequence, by the same rules.
  public static func text(
    of tokens: [Int], decoder: any StreamingTextDecoder, stopStrings: [String] = [],
    comparisonDecoder: (any StreamingTextDecoder)? = nil, prompt: [Int] = []
  ) -> String {
    var streamer = TextStreamer(
      decoder: decoder, stopStrings: stopStrings, comparisonDecoder: comparisonDecoder, prompt: prompt)
    var text = ""
    for token in tokens { text += streamer.append(token) }
    return text + streamer.finish()
  }

  private mutating func take(_ text: String, compared: String) -> String {
    if matcher.longest == 0 { return text }
    let start = length
    var stop: Int?
    for byte in compared.utf8 {
      length += 1
      guard let matched = matcher.append(byte) else { continue }
      stop = length - matched
      break
    }
    // Where both decoders agree, offsets are exact. Where one of them holds text back or leaves it out, the
    // output stands at the nearest place of this token.
    let last = max(start, start + compared.utf8.count - 1)
    var offset = start
    for scalar in text.unicodeScalars {
      held.append((scalar, min(offset, last)))
      offset += UTF8.width(scalar)
    }
    if let stop {
      hasStopped = true
      let piece = release(before: stop)
      held = []
      return piece
    }
    return release(before: length - matcher.heldBack)
  }

  private mutating func release(before offset: Int) -> String {
    let count = held.prefix { $0.offset < offset }.count
    var piece = ""
    for entry in held.prefix(count) { piece.unicodeScalars.append(entry.scalar) }
    held.removeFirst(count)
    return piece
  }
}
