import ChatTemplates
import JSON
import Tokenizers

/// Tokens to learn from, and which of them are the model's own.
package struct TokenExample: Sendable, Equatable {
  /// The tokens.
  package var tokens: [Int]
  /// Which of them are learned; ascending, apart from one another.
  package var answers: [Range<Int>]

  /// Tokens that are learned; the first of a text follows nothing and cannot be.
  package var targetCount: Int {
    answers.reduce(0) { $0 + $1.count - ($1.lowerBound == 0 && !$1.isEmpty ? 1 : 0) }
  }

  /// Inputs, and the target of each.
  var sequence: (inputs: [Int], targets: [Int]) {
    var targets = [Int](repeating: -100, count: tokens.count - 1)
    for range in answers {
      for place in range where place > 0 { targets[place - 1] = tokens[place] }
    }
    return (Array(tokens.dropLast()), targets)
  }
}

/// A question as the model reads it, and the answer that it should give.
package struct HeldOutQuestion: Sendable {
  /// The question, for people.
  package let text: String
  /// The tokens up to where the answer begins.
  package let prompt: [Int]
  /// The answer.
  package let answer: String
}

/// Lays rows out as the model will read them, and finds the model's own words among the tokens.
struct ExampleEncoder {
  let tokenizer: Tokenizer
  let template: ChatTemplate?
  /// Whether everything is learned, not the answers only.
  let trainsOnPrompt: Bool
  /// What ends a text that the template does not end.
  let endToken: Int?
  /// Tokens that the post-processor puts around a text.
  private let around: (before: [Int], after: [Int])

  init(tokenizer: Tokenizer, template: ChatTemplate?, trainsOnPrompt: Bool, endToken: Int?) throws {
    self.tokenizer = tokenizer
    self.template = template
    self.trainsOnPrompt = trainsOnPrompt
    self.endToken = endToken
    let (bare, whole) = (
      try tokenizer.encode("a", addSpecialTokens: false), try tokenizer.encode("a", addSpecialTokens: true)
    )
    let start =
      (0...max(0, whole.count - bare.count)).first { whole[$0...].starts(with: bare) } ?? 0
    around = (Array(whole[..<start]), Array(whole.dropFirst(start + bare.count)))
  }

  /// The examples that a row makes: one, or one for each answer where answers cannot share a text.
  ///
  /// - Throws: `TrainingError.data` that names the row.
  func examples(of row: FineTuningRow) throws -> [TokenExample] {
    do {
      switch row.content {
      case .text(let text): return [try completion("", text)]
      case .completion(let prompt, let answer): return [try completion(prompt, answer)]
      case .conversation(let messages, let first, let tools):
        guard let template else {
          return try answers(messages, from: first).map { index in
            let (prompt, answer) = plain(messages, index)
            return try completion(prompt, answer)
          }
        }
        return try conversation(messages, first, tools, template, row.place)
      }
    } catch let error as TemplateError {
      throw TrainingError.data(path: row.place, reason: "the chat template refuses it: \(error)")
    }
  }

  /// The last question of a row with its answer; `nil` for a text.
  func question(of row: FineTuningRow) throws -> HeldOutQuestion? {
    switch row.content {
    case .text: return nil
    case .completion(let prompt, let answer):
      guard !prompt.isEmpty else { return nil }
      let tokens = around.before + (try tokenizer.encode(prompt, addSpecialTokens: false))
      return HeldOutQuestion(text: prompt, prompt: tokens, answer: answer)
    case .conversation(let messages, let first, let tools):
      guard let index = answers(messages, from: first).last, index > 0 else { return nil }
      let tokens: [Int]
      if let template {
        let text = try render(Array(messages[..<index]), tools, template, isQuestion: true)
        tokens = try tokenizer.encode(text, addSpecialTokens: false)
      } else {
        tokens =
          around.before + (try tokenizer.encode(plain(messages, index).prompt, addSpecialTokens: false))
      }
      let asked = messages[..<index].last { $0.role == "user" }?.content ?? ""
      return HeldOutQuestion(text: asked, prompt: tokens, answer: messages[index].content ?? "")
    }
  }

  /// The tokens of a question that a user asks.
  func prompt(_ text: String) throws -> [Int] {
    guard let template else {
      return around.before + (try tokenizer.encode(text, addSpecialTokens: false))
    }
    return try tokenizer.encode(
      try render([.user(text)], nil, template, isQuestion: true), addSpecialTokens: false)
  }

  private func answers(_ messages: [ChatMessage], from first: Int) -> [Int] {
    messages.indices.filter { $0 >= first && messages[$0].role == "assistant" }
  }

  // MARK: Without a template

  /// Messages without a template are lines: what `chat` and `generate` make of them.
  private func plain(_ messages: [ChatMessage], _ index: Int) -> (prompt: String, answer: String) {
    let prompt = messages[..<index].compactMap(\.content).joined(separator: "\n")
    return (prompt, (prompt.isEmpty ? "" : "\n") + (messages[index].content ?? ""))
  }

  /// A text and what follows it.
  ///
  /// The text alone has the tokens that it has as a prompt; both joined are cut as one where that comes to the same.
  private func completion(_ prompt: String, _ answer: String) throws -> TokenExample {
    let before = prompt.isEmpty ? [] : try tokenizer.encode(prompt, addSpecialTokens: false)
    var body = try tokenizer.encode(prompt + answer, addSpecialTokens: false)
    if !body.starts(with: before) {
      body = before + (try tokenizer.encode(answer, addSpecialTokens: false))
    }
    let end = around.after.isEmpty ? endToken.map { [$0] } ?? [] : around.after
    let tokens = around.before + body + end
    let start = trainsOnPrompt || prompt.isEmpty ? 0 : around.before.count + before.count
    return TokenExample(tokens: tokens, answers: [start..<tokens.count])
  }

  // MARK: With a template

  private func render(
    _ messages: [ChatMessage], _ tools: [JSONValue]?, _ template: ChatTemplate, isQuestion: Bool
  ) throws -> String {
    var options = ChatTemplate.Options()
    options.tools = tools
    options.addsGenerationPrompt = isQuestion
    return try template.render(messages, options)
  }

  private func conversation(
    _ messages: [ChatMessage], _ first: Int, _ tools: [JSONValue]?, _ template: ChatTemplate, _ place: String
  ) throws -> [TokenExample] {
    var options = ChatTemplate.Options()
    options.tools = tools
    options.addsGenerationPrompt = false
    let (text, generated) = try template.rendering(messages, options)
    if trainsOnPrompt { return [try example(text, [0..<text.utf8.count], isMarked: false)] }
    if !generated.isEmpty {
      // Answers before the first that counts are part of the question.
      let skipped = messages[..<first].count { $0.role == "assistant" }
      return [try example(text, Array(generated.dropFirst(skipped)), isMarked: true)]
    }
    // Where each answer begins and ends is found by laying out the conversation up to it.
    var spans: [(text: String, range: Range<Int>)] = []
    for index in answers(messages, from: first) {
      let through = try render(Array(messages[...index]), tools, template, isQuestion: false)
      var before = ""
      if index > 0 {
        before = try render(Array(messages[..<index]), tools, template, isQuestion: true)
        if !through.utf8.starts(with: before.utf8) {
          before = try render(Array(messages[..<index]), tools, template, isQuestion: false)
        }
      } else {
        before = try opening(of: through, tools, template)
      }
      guard through.utf8.starts(with: before.utf8) else {
        throw TrainingError.data(
          path: place,
          reason:
            "the chat template writes what comes before answer \(index + 1) in another way once it is there; mark answers in the template with {% generation %}"
        )
      }
      spans.append((through, before.utf8.count..<through.utf8.count))
    }
    // A template may leave out of earlier answers what it shows of the last one: then each is a text of its own.
    if spans.allSatisfy({ text.utf8.starts(with: $0.text.utf8) }) {
      return [try example(text, spans.map(\.range), isMarked: false)]
    }
    return try spans.map { try example($0.text, [$0.range], isMarked: false) }
  }

  /// What a template writes before an answer that begins a conversation: what it adds to a question that wants one.
  private func opening(
    of text: String, _ tools: [JSONValue]?, _ template: ChatTemplate
  ) throws -> String {
    let question = try render([.user("?")], tools, template, isQuestion: false)
    let asked = try render([.user("?")], tools, template, isQuestion: true)
    guard asked.utf8.starts(with: question.utf8) else { return "" }
    let opening = String(decoding: asked.utf8.dropFirst(question.utf8.count), as: UTF8.self)
    return text.utf8.starts(with: opening.utf8) ? opening : ""
  }

  /// The tokens of a text that a template wrote.
  ///
  /// - Parameter isMarked: whether the template says itself which words are learned.
  private func example(_ text: String, _ ranges: [Range<Int>], isMarked: Bool) throws -> TokenExample {
    var tokens = try tokenizer.encode(text, addSpecialTokens: false)
    var answers = try tokenizer.tokenRanges(of: ranges.filter { !$0.isEmpty }, in: tokens, text: text)
    if !isMarked, !trainsOnPrompt {
      answers = answers.map { range in
        // What the template puts between turns, after the token that ends one, is never the model's to say.
        guard let end = range.last(where: { tokenizer.isSpecial(tokens[$0]) }),
          tokenizer.decode(Array(tokens[(end + 1)..<range.upperBound])).allSatisfy(\.isWhitespace)
        else { return range }
        return range.lowerBound..<end + 1
      }
      if let last = answers.last, let endToken, last.upperBound == tokens.count,
        last.isEmpty || !tokenizer.isSpecial(tokens[last.upperBound - 1])
      {
        tokens.append(endToken)
        answers[answers.count - 1] = last.lowerBound..<tokens.count
      }
    }
    answers.removeAll(where: \.isEmpty)
    return TokenExample(tokens: tokens, answers: answers)
  }
}
