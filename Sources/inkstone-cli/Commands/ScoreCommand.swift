import ArgumentParser
import Foundation
import Inkstone

/// `inkstone score`: how likely a model finds a text, token by token.
struct ScoreCommand: ModelCommand {
  static let configuration = CommandConfiguration(
    commandName: "score",
    abstract: "Show log p(x_t | x_<t) of every token of a text, and their sum.",
    discussion: """
      Examples:
        inkstone score -m MODEL "人工智能是计算机科学的一个分支"
        inkstone score -m MODEL -f chapter.txt --json
        inkstone score -m MODEL --prompt-ids 1,2,3

      The text must fit the model's context; `inkstone perplexity` scores longer ones
      in windows. Keys of --json: "token_ids"; "token_logprobs" in nats, null for the
      first token; "nll", their negative sum; "perplexity", exp of the mean.
      """)

  @OptionGroup var prompt: PromptOptions
  @OptionGroup var model: ModelOptions
  @OptionGroup var adapter: AdapterOptions
  @OptionGroup(title: "Engine") var engine: EngineOptions

  @Flag(help: "Print one JSON object.")
  var json = false

  func run() throws {
    let model = try engine.load(try modelFolder(), adapter: adapter.lora)
    let tokens = try prompt.tokens(for: model)
    let scorer = Scorer(decoder: model.decoder, engine: model.engine)
    let scores = try scorer.logProbabilities(of: tokens)
    let total = -scores.reduce(0, +)
    let perplexity = exp(total / Double(scores.count))
    if json {
      let document: JSONValue = [
        "token_ids": .array(tokens.map { .integer($0) }),
        "token_logprobs": .array([.null] + scores.map { .number($0) }),
        "nll": .number(total), "perplexity": .number(perplexity),
      ]
      try StandardStreams.write(document.text() + "\n")
      return
    }
    var lines: [String] = []
    for (index, token) in tokens.enumerated() {
      let score = index == 0 ? "          " : fixed(scores[index - 1], width: 10)
      let text = model.tokenizer.map { $0.decode([token], skipSpecialTokens: false) } ?? ""
      lines.append("\(score)  \(token)\(text.isEmpty ? "" : "  " + JSONValue.string(text).text())")
    }
    lines.append(
      "\nNLL \(fixed(total, width: 0)) over \(scores.count) tokens, perplexity \(fixed(perplexity, width: 0))"
    )
    try StandardStreams.write(lines.joined(separator: "\n") + "\n")
  }
}

/// A number with four digits after the point, right-aligned.
func fixed(_ value: Double, width: Int) -> String {
  let text = String(format: "%.4f", value)
  return String(repeating: " ", count: max(0, width - text.count)) + text
}
