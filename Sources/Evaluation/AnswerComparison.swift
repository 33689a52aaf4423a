import Generation
import JSON
import Kernels
import Tokenizers
import Training
import Transformer

/// A held-out question, the answer that it should have, and those that a model gives before and after it learned.
package struct AnswerComparison: Sendable {
  /// The question, for people.
  package let question: String
  /// The answer that it should have.
  package let reference: String
  /// What the model answered before.
  package let before: String
  /// What it answers now.
  package let after: String

  /// Whether an answer is the reference, white space around it aside.
  package static func isExact(_ answer: String, _ reference: String) -> Bool {
    trimmed(answer) == trimmed(reference)
  }

  private static func trimmed(_ text: String) -> String {
    String(text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
  }

  /// Means over several questions.
  package struct Summary: Sendable, Equatable {
    /// Questions.
    package let count: Int
    /// The mean F₁ of ROUGE-L, before and after.
    package let rougeL: (before: Double, after: Double)
    /// The share of exact matches, before and after.
    package let exact: (before: Double, after: Double)

    /// Takes the means.
    package init(_ answers: [AnswerComparison]) {
      count = answers.count
      func mean(_ value: (AnswerComparison) -> Double) -> Double {
        answers.reduce(0) { $0 + value($1) } / Double(max(1, answers.count))
      }
      rougeL = (
        mean { RougeL(candidate: $0.before, reference: $0.reference).score },
        mean { RougeL(candidate: $0.after, reference: $0.reference).score }
      )
      exact = (
        mean { AnswerComparison.isExact($0.before, $0.reference) ? 1 : 0 },
        mean { AnswerComparison.isExact($0.after, $0.reference) ? 1 : 0 }
      )
    }

    /// Two summaries are the same when all their numbers are.
    package static func == (a: Summary, b: Summary) -> Bool {
      a.count == b.count && a.rougeL == b.rougeL && a.exact == b.exact
    }
  }

  /// What a run's folder keeps: the means, and every answer.
  package static func document(_ answers: [AnswerComparison]) -> JSONValue {
    let summary = Summary(answers)
    return [
      "questions": .integer(summary.count),
      "rouge_l": ["before": .number(summary.rougeL.before), "after": .number(summary.rougeL.after)],
      "exact_match": ["before": .number(summary.exact.before), "after": .number(summary.exact.after)],
      "answers": .array(
        answers.map { answer in
          [
            "question": .string(answer.question), "reference": .string(answer.reference),
            "before": .string(answer.before), "after": .string(answer.after),
            "rouge_l_before": .number(RougeL(candidate: answer.before, reference: answer.reference).score),
            "rouge_l_after": .number(RougeL(candidate: answer.after, reference: answer.reference).score),
          ]
        }),
    ]
  }

  /// Asks both models, greedily.
  ///
  /// - Parameters:
  ///   - trainer: of a fine-tuning whose run is over.
  ///   - interruption: once raised, what is there is returned.
  ///   - onAnswer: hears how many questions are answered.
  /// - Throws: what loading the first model and generating throw.
  package static func run(
    _ trainer: Trainer, interruption: InterruptionFlag? = nil, onAnswer: (Int) -> Void = { _ in }
  ) throws -> [AnswerComparison] {
    guard let tokenizer = trainer.tokenizer, !trainer.questions.isEmpty else { return [] }
    let (base, tuned) = (try trainer.baseModel(), trainer.tunedModel)
    var answers: [AnswerComparison] = []
    for question in trainer.questions where !(interruption?.isRaised ?? false) {
      func answer(_ model: (decoder: Decoder, engine: any ComputeEngine)) throws -> String {
        let configuration = model.decoder.configuration
        var settings = GenerationConfiguration()
        settings.maximumNewTokens = min(
          trainer.settings.answerTokens, configuration.contextLength - question.prompt.count)
        settings.endTokens = trainer.endTokens.isEmpty ? nil : trainer.endTokens
        let plan = try settings.plan(
          promptLength: question.prompt.count, contextLength: configuration.contextLength,
          vocabularySize: configuration.vocabularySize, source: "answers")
        let session = try InferenceSession(
          decoder: model.decoder, engine: model.engine, capacity: plan.maximumLength)
        let result = try generate(
          prompt: question.prompt, plan: plan, session: session, interruption: interruption)
        return trimmed(tokenizer.decode(result.sequences.first?.tokens ?? [], skipSpecialTokens: true))
      }
      answers.append(
        AnswerComparison(
          question: question.text, reference: question.answer, before: try answer(base),
          after: try answer(tuned)))
      onAnswer(answers.count)
    }
    return answers
  }
}
