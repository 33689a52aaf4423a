import Checkpoints

/// Turns text into tokens and back, exactly as Hugging Face's `tokenizers` does from the same files.
///
/// The order of an encoding: added tokens are found, the text between them is normalised, cut into words by
/// the pre-tokenisers and given to the model word by word; the post-processor adds the special tokens. A
/// value may be used from several threads at once.
public struct Tokenizer: Sendable {
  let storage: Storage

  /// The parts of a tokenizer, as declared.
  final class Storage: Sendable {
    enum Model: Sendable {
      case bytePairs(BytePairEncoding)
      case wordLevel(WordLevel)
      case wordPiece(WordPiece)
      case unigram(Unigram)
      case sentencePiece(SentencePieceModel)
    }

    let vocabulary: ModelVocabulary
    let model: Model
    let added: AddedTokens
    let normalizers: [Normalizer]
    let preTokenizers: [PreTokenizer]
    let postProcessor: PostProcessor
    let decoders: [Decoder]
    let namedTokens: [String: String]
    /// The ids that decoding leaves out.
    let specialIDs: Set<Int>
    let scratch = ScratchPool()
    /// Tokens that end a generation, where the file itself says so.
    let ends: [Int]
    /// A pre-tokeniser wants to know whether a piece begins the text.
    let asksForBeginning: Bool

    init(
      vocabulary: ModelVocabulary, model: Model, added: AddedTokens, normalizers: [Normalizer],
      preTokenizers: [PreTokenizer], postProcessor: PostProcessor, decoders: [Decoder],
      namedTokens: [String: String], alsoSpecial: [Int] = [], ends: [Int] = []
    ) {
      self.vocabulary = vocabulary
      self.model = model
      self.added = added
      self.normalizers = normalizers
      self.preTokenizers = preTokenizers
      self.postProcessor = postProcessor
      self.decoders = decoders
      self.namedTokens = namedTokens
      self.ends = ends
      asksForBeginning = preTokenizers.contains {
        if case .metaspace(_, .first, _) = $0 { true } else { false }
      }
      // Special by text, as `tokenizers` has it: an id of the model with the text of a special token is left
      // out too, and a special token that normalisation changed is not.
      var special = Set(alsoSpecial)
      for (id, text) in added.texts where added.isSpecial(text) { special.insert(Int(id)) }
      for content in added.specialTexts {
        if let id = vocabulary.id(for: content), added.texts[id] == nil { special.insert(Int(id)) }
      }
      specialIDs = special
    }
  }

  /// Loads a tokenizer.
  ///
  /// - Parameter path: a folder, from which the first of these counts:
  ///   1. `tokenizer.json`, as transformers' `AutoTokenizer` reads it;
  ///   2. `tokenizer.model` (`spiece.model`, `sentencepiece.bpe.model`), as the package `sentencepiece` reads it; with a tokenizer_config.json beside it the
  ///      special tokens and flags of that apply too;
  ///   3. `vocab.json` and `merges.txt`, a byte-level tokenizer of the class that the configuration names, or GPT-2's;
  ///   4. `vocab.txt`, a vocabulary of BERT as transformers' `BertTokenizer` reads it.
  ///
  ///   tokenizer_config.json, special_tokens_map.json, added_tokens.json and config.json are read beside them. Or the
  ///   path of one file, which counts alone: a `.gguf`, as llama.cpp reads it; a `.model`; a `.txt`; anything else
  ///   is a tokenizer.json, as `tokenizers` itself reads it.
  /// - Throws: `TokenizerError` naming the file and the field; `FileError`, `GGUFError` or `JSONDocumentError` for a
  ///   file that cannot be read or is not of its format.
  /// - Note: `truncation` and `padding` of tokenizer.json are checked and, as by `AutoTokenizer`, not applied
  ///   to a single text.
  public static func load(from path: String) throws -> Tokenizer {
    Tokenizer(storage: try TokenizerLoader.load(from: path))
  }

  /// The tokenizer in the metadata of a GGUF file, as llama.cpp reads it.
  ///
  /// - Throws: as `load(from:)`.
  public static func load(from metadata: GGUFMetadata) throws -> Tokenizer {
    Tokenizer(storage: try GGUFVocabulary.load(metadata))
  }

  /// The highest token id plus one, added tokens included.
  public var vocabularySize: Int {
    max(storage.vocabulary.size, storage.added.tokens.keys.max().map { Int($0) + 1 } ?? 0)
  }

  /// The tokens of a text.
  ///
  /// - Parameters:
  ///   - text: any text; lone surrogates cannot occur in a `String`.
  ///   - addSpecialTokens: whether the post-processor adds what the model expects around a text.
  /// - Returns: token ids.
  /// - Throws: `TokenizerError.unencodable` when the tokenizer has no token for a character and no unknown
  ///   token either.
  /// - Complexity: linear in the text; O(n log n) in one uncut word.
  public func encode(_ text: String, addSpecialTokens: Bool = true) throws -> [Int] {
    var text = text
    return try text.withUTF8 { try encode(checked: $0, addSpecialTokens: addSpecialTokens) }
  }

  /// The tokens of a text given as bytes.
  ///
  /// - Throws: `TokenizerError.invalidUTF8` with the offset of the first bad byte; otherwise as the other
  ///   `encode`.
  public func encode(utf8: UnsafeBufferPointer<UInt8>, addSpecialTokens: Bool) throws -> [Int] {
    if let offset = UTF8Bytes.firstInvalidByte(utf8) { throw TokenizerError.invalidUTF8(offset: offset) }
    return try encode(checked: utf8, addSpecialTokens: addSpecialTokens)
  }

  /// The text of tokens.
  ///
  /// - Parameters:
  ///   - ids: token ids; one that the vocabulary does not have is passed over, as by `tokenizers`.
  ///   - skipSpecialTokens: whether special tokens are left out.
  /// - Returns: the text; bytes that make no UTF-8 become U+FFFD.
  public func decode(_ ids: [Int], skipSpecialTokens: Bool = true) -> String {
    if storage.decoders.count == 1, case .byteLevel = storage.decoders[0] {
      return decodeBytes(ids, skipSpecialTokens: skipSpecialTokens)
    }
    var stream = makeStreamDecoder(skipSpecialTokens: skipSpecialTokens)
    var text = ""
    for id in ids { text += stream.append(id) }
    return text + stream.finish()
  }

  /// A decoder for tokens that come one at a time.
  public func makeStreamDecoder(skipSpecialTokens: Bool) -> StreamDecoder {
    StreamDecoder(tokenizer: self, skipsSpecialTokens: skipSpecialTokens)
  }

  /// The text of a token as the vocabulary writes it (`Ġhello`); `nil` for an unknown id.
  ///
  /// An added token that is looked for in normalised text is given normalised.
  public func token(for id: Int) -> String? {
    if let key = UInt32(exactly: id), let text = storage.added.texts[key] { return text }
    return storage.vocabulary.text(of: id)
  }

  /// The id of a token's text as the vocabulary writes it.
  public func id(for token: String) -> Int? {
    (storage.added.id(for: token) ?? storage.vocabulary.id(for: token)).map(Int.init)
  }

  /// Whether decoding with `skipSpecialTokens` leaves this token out.
  public func isSpecial(_ id: Int) -> Bool { storage.specialIDs.contains(id) }

  /// The token that begins a sequence (`bos_token`).
  public var beginOfSequence: Int? { named("bos_token") }
  /// The token that ends a sequence (`eos_token`).
  public var endOfSequence: Int? { named("eos_token") }
  /// The token that fills short sequences (`pad_token`).
  public var padding: Int? { named("pad_token") }
  /// The token of what the vocabulary does not have (`unk_token`).
  public var unknown: Int? { named("unk_token") }

  /// The tokens at which a generation ends, where the tokenizer's own file names them: of a GGUF file, all that
  /// llama.cpp stops at; empty for other files, whose model says it.
  public var endsOfGeneration: [Int] { storage.ends }

  /// The texts of the special tokens that have a role, by role: `bos_token` and so on, as chat templates ask for.
  public var specialTokens: [String: String] { storage.namedTokens }

  /// A token by its role as the configuration names it: `bos_token`, `sep_token`, `mask_token`.
  public func named(_ role: String) -> Int? { storage.namedTokens[role].flatMap { id(for: $0) } }

  private func decodeBytes(_ ids: [Int], skipSpecialTokens: Bool) -> String {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(ids.count * 4)
    let added = storage.added.texts
    for id in ids {
      if skipSpecialTokens, isSpecial(id) { continue }
      if let key = UInt32(exactly: id), let text = added[key] {
        bytes += ByteLevelStage.bytes(of: text)
      } else {
        _ = storage.vocabulary.appendDecodedBytes(of: id, to: &bytes)
      }
    }
    return String(decoding: bytes, as: UTF8.self)
  }
}
