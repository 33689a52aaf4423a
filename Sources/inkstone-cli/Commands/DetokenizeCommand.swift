import ArgumentParser
import Corpora
import Inkstone

/// `inkstone detokenize`: token ids to text.
struct DetokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "detokenize",
    abstract: "Turn token ids into a text.",
    discussion: """
      Examples:
        inkstone detokenize -m MODEL 15496 995
        inkstone tokenize -m MODEL "Hello" | inkstone detokenize -m MODEL
        inkstone detokenize -m MODEL 1,2,3 --no-special --json
        inkstone detokenize -m model.gguf 1 2 3
        inkstone detokenize -m MODEL --tokens packed/validation.tokens > texts.jsonl

      Keys of --json: "text". --tokens prints each document of a file that inkstone
      data pack wrote as {"text": …} on a line of its own, without special tokens.
      """)

  @OptionGroup var model: ModelOptions

  @Argument(help: "Token ids, separated by spaces or commas; without any, a pipe is read.")
  var ids: [String] = []

  @Option(help: ArgumentHelp("Read the documents of a token file instead.", valueName: "file"))
  var tokens: String?

  @Flag(help: "Leave special tokens out of the text.")
  var noSpecial = false

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    if tokens != nil, !ids.isEmpty {
      throw ValidationError("--tokens and token ids are two things to read; keep one")
    }
  }

  func run() throws {
    let tokenizer = try Tokenizer.load(from: try model.resolvedFolder())
    if let tokens { return try printDocuments(of: TokenFile(path: tokens), tokenizer) }
    var text = ids.joined(separator: " ")
    if ids.isEmpty || ids == ["-"] {
      guard StandardStreams.hasPipedInput || ids == ["-"] else {
        throw UsageError("no token ids: give them as arguments or through a pipe")
      }
      text = String(decoding: try StandardStreams.readInput(), as: UTF8.self)
    }
    let tokens = try PromptOptions.ids(text, flag: "token ids")
    for token in tokens where token >= tokenizer.vocabularySize {
      throw DecoderError.tokenOutOfRange(token: token, vocabularySize: tokenizer.vocabularySize)
    }
    let result = tokenizer.decode(tokens, skipSpecialTokens: noSpecial)
    try StandardStreams.write((json ? (["text": .string(result)] as JSONValue).text() : result) + "\n")
  }

  private func printDocuments(of file: TokenFile, _ tokenizer: Tokenizer) throws {
    try file.check(tokenizerFingerprint: tokenizer.fingerprint())
    let starts = file.documentStarts
    for (index, start) in starts.enumerated() {
      let end = index + 1 < starts.count ? starts[index + 1] : file.count
      let text = tokenizer.decode(try file.tokens(at: start, count: end - start))
      try StandardStreams.write((["text": .string(text)] as JSONValue).text() + "\n")
    }
  }
}
