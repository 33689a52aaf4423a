import Testing

@testable import Evaluation

@Suite struct RougeTests {
  /// Lin's examples: S1 "police killed the gunman" against S2 "police kill the gunman" and S3 "the gunman kill police".
  @Test func examplesOfThePaper() {
    let reference = "police killed the gunman"
    #expect(RougeL(candidate: "police kill the gunman", reference: reference).score == 0.75)
    #expect(RougeL(candidate: "the gunman kill police", reference: reference).score == 0.5)
  }

  @Test func precisionAndRecallDiffer() {
    let part = RougeL(candidate: "the cat", reference: "The cat sat on the mat.")
    #expect(part.precision == 1 && part.recall == 2.0 / 6 && abs(part.score - 0.5) < 1e-12)
    #expect(RougeL(candidate: "a", reference: "b").score == 0)
    #expect(
      RougeL(candidate: "", reference: "b").score == 0 && RougeL(candidate: "a", reference: "").score == 0)
    #expect(RougeL(candidate: " .", reference: "").score == 1)
  }

  @Test func unitsAreWordsOrCharacters() {
    #expect(RougeL.units("GPT-4 是 OpenAI 的模型。") == ["gpt", "4", "是", "openai", "的", "模", "型"])
    #expect(RougeL.units("naïve café, 3,14") == ["naïve", "café", "3", "14"])
    #expect(RougeL.units("カタカナ、ひらがな 한국") == ["カ", "タ", "カ", "ナ", "ひ", "ら", "が", "な", "한", "국"])
    // 人工智能 and 智能: two of four characters.
    #expect(abs(RougeL(candidate: "智能", reference: "人工智能").score - 2.0 / 3) < 1e-12)
  }

  @Test func exactMatchesIgnoreSpaceAround() {
    #expect(AnswerComparison.isExact(" Python\n", "Python") && !AnswerComparison.isExact("python", "Python"))
    let answers = [
      AnswerComparison(question: "a", reference: "x y", before: "z", after: "x y"),
      AnswerComparison(question: "b", reference: "u v", before: "u", after: "u w"),
    ]
    let summary = AnswerComparison.Summary(answers)
    #expect(summary.exact == (0, 0.5) && summary.count == 2)
    #expect(abs(summary.rougeL.before - 1.0 / 3) < 1e-12 && abs(summary.rougeL.after - 0.75) < 1e-12)
  }
}
