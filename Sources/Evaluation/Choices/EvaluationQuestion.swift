import Checkpoints
import JSON

/// A question whose answer a model is judged by.
public enum EvaluationQuestion: Sendable, Equatable {
  /// Which of some texts follows a prompt: the right one is `choices[answer]`.
  case choice(prompt: String, choices: [String], answer: Int)
  /// How likely a target follows a text.
  case cloze(text: String, target: String)
}

/// Why a file of questions cannot be used.
public enum EvaluationQuestionError: Error, Equatable, CustomStringConvertible {
  /// There is nothing in it.
  case empty(path: String)
  /// A line is no question.
  case line(path: String, number: Int, reason: String)

  /// One line with the file, the line and the fix.
  public var description: String {
    switch self {
    case .empty(let path): "\(path) holds no questions; put a JSON object on each line"
    case .line(let path, let number, let reason): "\(path), line \(number): \(reason)"
    }
  }
}

extension EvaluationQuestion {
  /// Reads a file with a question on each line.
  ///
  /// Either `{"prompt": "…", "choices": ["…", "…"], "answer": 0}`, where `"question"` may stand for `"prompt"` and
  /// the answer is an index or the text of a choice, or `{"text": "…", "target": "…"}`. Other fields are ignored.
  ///
  /// - Throws: `FileError`, or `EvaluationQuestionError` naming the line and the field.
  public static func load(_ path: String) throws -> [EvaluationQuestion] {
    let bytes = try readFile(path)
    var questions: [EvaluationQuestion] = []
    for (index, line) in bytes.split(separator: 0x0A, omittingEmptySubsequences: false).enumerated() {
      guard line.contains(where: { ![0x20, 0x09, 0x0D].contains($0) }) else { continue }
      func fail(_ reason: String) -> EvaluationQuestionError {
        .line(path: path, number: index + 1, reason: reason)
      }
      let value: JSONValue
      do {
        value = try line.withUnsafeBytes { try JSONValue.parse($0) }
      } catch let fault as JSONError {
        throw fail("\(fault)")
      }
      do {
        questions.append(try EvaluationQuestion(value))
      } catch let reason as Reason {
        throw fail(reason.text)
      }
    }
    guard !questions.isEmpty else { throw EvaluationQuestionError.empty(path: path) }
    return questions
  }

  /// What is wrong with a record.
  private struct Reason: Error {
    let text: String
  }

  private init(_ value: JSONValue) throws {
    guard value.object != nil else { throw Reason(text: "must be an object, is \(value.kind)") }
    func text(_ name: String) throws -> String? {
      guard let field = value[name], !field.isNull else { return nil }
      guard let text = field.string else { throw Reason(text: "\(name) must be a text, is \(field.kind)") }
      return text
    }
    if let choices = value["choices"] {
      let prompt = try text("prompt")
      let question = try text("question")
      guard let prompt = prompt ?? question else { throw Reason(text: "prompt is missing") }
      guard let values = choices.array, values.count > 1 else {
        throw Reason(text: "choices must be an array of two or more texts")
      }
      let texts = try values.map { choice in
        guard let text = choice.string, !text.isEmpty else {
          throw Reason(
            text:
              "choices must be texts that are not empty, one is \(choice.string == nil ? choice.kind : "empty")"
          )
        }
        return text
      }
      guard let answer = value["answer"], !answer.isNull else { throw Reason(text: "answer is missing") }
      let index = answer.string.map { text in texts.firstIndex(of: text) ?? -1 } ?? answer.int
      guard let index, texts.indices.contains(index) else {
        throw Reason(
          text:
            "answer must be an index from 0 to \(texts.count - 1) or the text of a choice, is \(answer.text())"
        )
      }
      self = .choice(prompt: prompt, choices: texts, answer: index)
      return
    }
    guard let target = try text("target") else {
      throw Reason(text: "needs prompt, choices and answer, or text and target")
    }
    guard !target.isEmpty else { throw Reason(text: "target is empty") }
    guard let context = try text("text") else { throw Reason(text: "text is missing") }
    self = .cloze(text: context, target: target)
  }
}
