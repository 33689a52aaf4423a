import ArgumentParser
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

      Keys of --json: "text".
      """)

  @OptionGroup var model: ModelOptions

  @Argument(help: "Token ids, separated by spaces or commas; without any, a pipe is read.")
  var ids: [String] = []

  @Flag(help: "Leave special tokens out of the text.")
  var noSpecial = false

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let tokenizer = try Tokenizer.load(from: try model.resolvedFolder())
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
}
