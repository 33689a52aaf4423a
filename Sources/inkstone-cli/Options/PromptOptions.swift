import ArgumentParser
import Foundation
import Inkstone

/// Where the prompt comes from.
struct PromptOptions: ParsableArguments {
  @Argument(help: "The prompt; - reads it from standard input.")
  var text: String?

  @Option(
    name: [.customShort("p"), .customLong("prompt")], help: ArgumentHelp("The prompt.", valueName: "text"))
  var prompt: String?

  @Option(
    name: [.customShort("f"), .customLong("file")],
    help: ArgumentHelp("Read the prompt from a file.", valueName: "path"))
  var file: String?

  @Option(
    help: ArgumentHelp("Token ids instead of a text, such as 1,2,3 (no tokeniser needed).", valueName: "ids"))
  var promptIds: String?

  func validate() throws {
    let given = [("the argument", text), ("--prompt", prompt), ("--file", file), ("--prompt-ids", promptIds)]
      .filter { $0.1 != nil }.map(\.0)
    guard given.count <= 1 else {
      throw ValidationError("the prompt is given more than once: \(given.joined(separator: ", ")); keep one")
    }
  }

  /// The prompt's token ids.
  ///
  /// A pipe is read too, and what it holds comes before a prompt given otherwise, on lines of its own.
  func tokens(for model: LanguageModel) throws -> [Int] {
    if let promptIds { return try PromptOptions.ids(promptIds, flag: "--prompt-ids") }
    let bytes = try self.bytes(isRequired: true, readsPipe: true) ?? []
    guard let tokenizer = model.tokenizer else {
      throw UsageError("\(model.folder) holds no tokenizer; give token ids with --prompt-ids")
    }
    return try bytes.withUnsafeBufferPointer { try tokenizer.encode(utf8: $0, addSpecialTokens: true) }
  }

  /// The prompt's text, where it goes into something else.
  ///
  /// - Parameters:
  ///   - isRequired: whether a missing prompt is an error; otherwise it is `nil`, as is an empty pipe.
  ///   - readsPipe: whether a pipe is read that nothing else asks for.
  func text(isRequired: Bool, readsPipe: Bool) throws -> String? {
    guard let bytes = try bytes(isRequired: isRequired, readsPipe: readsPipe) else { return nil }
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw UsageError("the prompt is not UTF-8 text")
    }
    return text
  }

  private func bytes(isRequired: Bool, readsPipe: Bool) throws -> [UInt8]? {
    var given: [UInt8]?
    var readsInput = readsPipe && StandardStreams.hasPipedInput
    if let text = text ?? prompt {
      if text == "-" { readsInput = true } else { given = Array(text.utf8) }
    } else if let file {
      if file == "-" { readsInput = true } else { given = try readFile(file) }
    } else if !readsInput {
      guard isRequired else { return nil }
      throw UsageError("no prompt: give it as an argument, with --prompt or --file, or through a pipe")
    }
    guard readsInput else { return given ?? [] }
    var piped = try StandardStreams.readInput()
    guard let given else {
      return piped.isEmpty && !isRequired ? nil : PromptOptions.withoutFinalNewline(piped)
    }
    if piped.isEmpty { return given }
    if piped.last != UInt8(ascii: "\n") { piped.append(UInt8(ascii: "\n")) }
    return piped + given
  }

  /// Without the line end that `echo` and editors put after a text.
  private static func withoutFinalNewline(_ bytes: [UInt8]) -> [UInt8] {
    var bytes = bytes
    if bytes.last == UInt8(ascii: "\n") { bytes.removeLast() }
    if bytes.last == UInt8(ascii: "\r") { bytes.removeLast() }
    return bytes
  }

  /// A list of token ids, separated by commas or spaces.
  static func ids(_ text: String, flag: String) throws -> [Int] {
    let trimmed = text.trimmingCharacters(in: CharacterSet(charactersIn: "[] \n\t"))
    return try trimmed.split(whereSeparator: { ", \n\t".contains($0) }).map { part in
      guard let id = Int(part), id >= 0 else { throw UsageError("\(flag): \"\(part)\" is no token id") }
      return id
    }
  }
}
