import ArgumentParser
import Inkstone

/// `inkstone tokenize`: text to token ids.
struct TokenizeCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "tokenize",
    abstract: "Turn a text into token ids.",
    discussion: """
      Examples:
        inkstone tokenize -m MODEL "人工智能是"
        inkstone tokenize -m MODEL -f chapter.txt --json
        cat chapter.txt | inkstone tokenize -m MODEL --no-special
        inkstone tokenize -m model.gguf "Hello"
        inkstone tokenize -m folder/tokenizer.model "Hello" --json

      MODEL is a folder, of whose files the first of these counts: tokenizer.json, tokenizer.model, vocab.json and merges.txt,
      vocab.txt. A single file counts alone: .gguf, .model, vocab.txt or tokenizer.json.

      Keys of --json: "ids" and "tokens" (as the vocabulary spells them).
      """)

  @OptionGroup var model: ModelOptions

  @Argument(help: "The text; - or a pipe reads standard input.")
  var text: String?

  @Option(
    name: [.customShort("f"), .customLong("file")],
    help: ArgumentHelp("Read the text from a file, byte for byte.", valueName: "path"))
  var file: String?

  @Flag(help: "Leave out special tokens that the model's template adds.")
  var noSpecial = false

  @Flag(help: "Print one JSON object.")
  var json = false

  func validate() throws {
    if text != nil, file != nil {
      throw ValidationError("the text is given twice: as an argument and with --file; keep one")
    }
  }

  func run() throws {
    let tokenizer = try Tokenizer.load(from: try model.resolvedFolder())
    let bytes: [UInt8]
    if let file, file != "-" {
      bytes = try readFile(file)
    } else if let text, text != "-" {
      bytes = Array(text.utf8)
    } else if text == "-" || file == "-" || StandardStreams.hasPipedInput {
      bytes = try StandardStreams.readInput()
    } else {
      throw UsageError("no text: give it as an argument, with --file, or through a pipe")
    }
    let ids = try bytes.withUnsafeBufferPointer {
      try tokenizer.encode(utf8: $0, addSpecialTokens: !noSpecial)
    }
    if json {
      let document: JSONValue = [
        "ids": .array(ids.map { .integer($0) }),
        "tokens": .array(ids.map { tokenizer.token(for: $0).map { .string($0) } ?? .null }),
      ]
      try StandardStreams.write(document.text() + "\n")
    } else {
      try StandardStreams.write(ids.map(String.init).joined(separator: " ") + "\n")
    }
  }
}
