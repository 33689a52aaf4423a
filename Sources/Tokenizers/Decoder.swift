/// One step that turns token texts back into text.
enum Decoder: Sendable {
  case byteLevel
  case byteFallback
  case fuse
  case replace(Normalizer.Pattern, with: String)
  case strip(Unicode.Scalar, start: Int, stop: Int)
  case metaspace(replacement: Unicode.Scalar, PreTokenizer.PrependScheme)
  case wordPiece(prefix: String, cleansUp: Bool)
  case bpeSuffix(String)
  /// Connectionist temporal classification: repeated tokens once, padding away.
  case connectionist(padding: String, delimiter: String, cleansUp: Bool)
  /// All of sentencepiece's own decoding.
  case sentencePiece(SentencePieceModel)
  /// No decoder declared: texts joined by spaces.
  case joinedBySpaces

  /// The replacements of `clean_up_tokenization_spaces`, in order.
  static let cleanUps: [(String, String)] = [
    (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"), (" 'm", "'m"),
    (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
  ]

  /// A fresh state of this step.
  var stage: any DecodingStage {
    switch self {
    case .byteLevel: ByteLevelStage()
    case .byteFallback: ByteFallbackStage()
    case .fuse: FuseStage()
    case .replace(let pattern, let content): ReplaceStage(pattern: pattern, content: content)
    case .strip(let content, let start, let stop): StripStage(content: content, start: start, stop: stop)
    case .metaspace(let replacement, let scheme): MetaspaceStage(replacement: replacement, scheme: scheme)
    case .wordPiece(let prefix, let cleansUp): WordPieceStage(prefix: prefix, cleansUp: cleansUp)
    case .bpeSuffix(let suffix): SuffixStage(suffix: suffix)
    case .connectionist(let padding, let delimiter, let cleansUp):
      ConnectionistStage(padding: padding, delimiter: delimiter, cleansUp: cleansUp)
    case .sentencePiece(let model): SentencePieceStage(model: model)
    case .joinedBySpaces: JoinStage()
    }
  }
}

/// What passes between the steps of a decoder.
enum DecodedPiece {
  /// A whole token text.
  case token(String)
  /// A part of one token text that began with the first part and ends with the stream.
  case part(String)
}

/// The running state of one step: takes pieces, gives what has become certain.
///
/// Decoding at once and decoding as a stream are the same code, so their texts are equal by construction.
protocol DecodingStage: Sendable {
  mutating func push(_ piece: DecodedPiece, _ emit: (DecodedPiece) -> Void)
  mutating func finish(_ emit: (DecodedPiece) -> Void)
}

/// A chain of steps.
struct DecodingChain: Sendable {
  private var stages: [any DecodingStage]

  init(_ decoders: [Decoder]) {
    stages = decoders.map(\.stage)
  }

  /// The text that became certain by one more token.
  mutating func push(_ token: String) -> String {
    var out = ""
    push(.token(token), from: 0, &out)
    return out
  }

  /// The rest, after the last token.
  mutating func finish() -> String {
    var out = ""
    for index in stages.indices {
      var pieces: [DecodedPiece] = []
      stages[index].finish { pieces.append($0) }
      for piece in pieces { push(piece, from: index + 1, &out) }
    }
    return out
  }

  private mutating func push(_ piece: DecodedPiece, from index: Int, _ out: inout String) {
    guard index < stages.count else {
      switch piece {
      case .token(let text), .part(let text): out += text
      }
      return
    }
    var pieces: [DecodedPiece] = []
    stages[index].push(piece) { pieces.append($0) }
    for piece in pieces { push(piece, from: index + 1, &out) }
  }
}
