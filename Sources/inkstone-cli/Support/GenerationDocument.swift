import ArgumentParser
import Foundation
import Inkstone

/// The forms in which `generate` gives its result.
enum OutputFormat: String, ExpressibleByArgument, CaseIterable {
  case text, markdown, json
}

/// Everything that `generate` knows in the end, in the form that is asked for.
struct GenerationDocument {
  /// The text of a sequence.
  struct Text {
    /// As the model wrote it.
    let raw: String
    /// After post-processing.
    let final: String

    /// Byte for byte: `==` takes canonically equivalent texts for equal.
    var isChanged: Bool { !raw.utf8.elementsEqual(final.utf8) }
  }

  let prompt: [Int]
  let result: GenerationResult
  /// One for each sequence.
  let texts: [Text]
  let loadDuration: Duration
  /// Tokens of the prompt that a file spared; `nil` without one.
  var cachedTokens: Int?
  /// What a token looks like; `nil` without a tokeniser.
  let tokenText: ((Int) -> String)?

  private var generatedCount: Int { result.sequences.reduce(0) { $0 + $1.tokens.count } }

  /// The document with the line end that finishes it.
  func rendered(as format: OutputFormat) -> String {
    switch format {
    case .text: texts.map(\.final).joined(separator: "\n") + "\n"
    case .markdown: markdown
    case .json: json.text(.indented) + "\n"
    }
  }

  // MARK: JSON

  var json: JSONValue {
    var usage: [JSONObject.Member] = [
      .init(key: "prompt_tokens", value: .integer(prompt.count)),
      .init(key: "completion_tokens", value: .integer(generatedCount)),
    ]
    if let cachedTokens { usage.append(.init(key: "cached_tokens", value: .integer(cachedTokens))) }
    var timings: [JSONObject.Member] = [
      .init(key: "load_ms", value: .number(milliseconds(loadDuration))),
      .init(key: "prompt_ms", value: .number(milliseconds(result.promptDuration))),
      .init(key: "prompt_per_second", value: .number(rate(prompt.count, result.promptDuration))),
      .init(key: "predicted_ms", value: .number(milliseconds(result.generationDuration))),
      .init(key: "predicted_per_second", value: .number(rate(generatedCount, result.generationDuration))),
    ]
    if let counts = result.speculation {
      timings.append(.init(key: "draft_n", value: .integer(counts.drafted)))
      timings.append(.init(key: "draft_n_accepted", value: .integer(counts.accepted)))
    }
    return [
      "prompt_ids": .array(prompt.map { .integer($0) }),
      "sequences": .array(zip(result.sequences, texts).map(json)),
      "usage": .object(JSONObject(usage)),
      "timings": .object(JSONObject(timings)),
    ]
  }

  private func json(_ sequence: GeneratedSequence, _ text: Text) -> JSONValue {
    var members: [JSONObject.Member] = [
      .init(key: "text", value: .string(text.final)),
      .init(key: "token_ids", value: .array(sequence.tokens.map { .integer($0) })),
      .init(key: "logprobs", value: .array(sequence.logProbabilities.map { .number(Double($0)) })),
      .init(key: "score", value: sequence.score.map { .number(Double($0)) } ?? .null),
      .init(key: "finish_reason", value: .string(sequence.finishReason.rawValue)),
    ]
    if text.isChanged { members.append(.init(key: "raw_text", value: .string(text.raw))) }
    return .object(JSONObject(members))
  }

  // MARK: Markdown

  private var markdown: String {
    var lines: [String] = []
    for (number, (sequence, text)) in zip(result.sequences, texts).enumerated() {
      lines.append(texts.count == 1 ? "## Text\n" : "## Text \(number + 1) of \(texts.count)\n")
      lines.append(quoted(text.final) + "\n")
      if text.isChanged { lines.append("### Before post-processing\n\n" + quoted(text.raw) + "\n") }
      let total = sequence.logProbabilities.reduce(0) { $0 + Double($1) }
      let mean = sequence.tokens.isEmpty ? "" : four(total / Double(sequence.tokens.count))
      lines += [
        "| finish reason | tokens | log p | per token | score |", "|---|---:|---:|---:|---:|",
        "| \(sequence.finishReason.rawValue) | \(sequence.tokens.count) | \(four(total)) | \(mean) "
          + "| \(sequence.score.map { four(Double($0)) } ?? "") |\n",
        "| token | text | log p |", "|---:|---|---:|",
      ]
      for (token, score) in zip(sequence.tokens, sequence.logProbabilities) {
        lines.append("| \(token) | \(tokenText.map { code($0(token)) } ?? "") | \(four(Double(score))) |")
      }
      lines.append("")
    }
    lines += [
      "## Timings\n", "| | tokens | ms | tokens/s |", "|---|---:|---:|---:|",
      "| load | | \(milliseconds(loadDuration)) | |",
      "| prompt | \(prompt.count) | \(milliseconds(result.promptDuration)) "
        + "| \(rate(prompt.count, result.promptDuration)) |",
      "| generation | \(generatedCount) | \(milliseconds(result.generationDuration)) "
        + "| \(rate(generatedCount, result.generationDuration)) |",
    ]
    return lines.joined(separator: "\n") + "\n"
  }

  private func four(_ value: Double) -> String { String(format: "%.4f", value) }

  /// A block quote, which sets the text off from what is around it whatever it consists of.
  private func quoted(_ text: String) -> String {
    // Two spaces at the end keep a line end that Markdown would otherwise make a space.
    text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
      .map { $0.isEmpty ? ">" : "> \($0)" }.joined(separator: "  \n")
  }

  /// A code span within a table: escaped as JSON, because tokens hold line ends and spaces.
  private func code(_ text: String) -> String {
    let quoted = JSONValue.string(text).text().replacing("|", with: "\\|")
    let longest = quoted.split { $0 != "`" }.map(\.count).max() ?? 0
    let mark = String(repeating: "`", count: longest + 1)
    return mark + quoted + mark
  }
}

/// A duration in milliseconds, to the microsecond.
func milliseconds(_ duration: Duration) -> Double {
  ((duration / .milliseconds(1)) * 1000).rounded() / 1000
}

/// Things per second, to two digits; 0 when no time was measured.
func rate(_ count: Int, _ duration: Duration) -> Double {
  let seconds = duration / .seconds(1)
  return seconds > 0 ? (Double(count) / seconds * 100).rounded() / 100 : 0
}
