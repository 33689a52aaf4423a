import Testing

@testable import Generation

@Suite("Token histories")
struct TokenHistoriesTests {
  @Test("histories fork and grow")
  func histories() {
    var generator = SeededGenerator(seed: 9)
    let prompt = [5, 6, 7]
    var histories = TokenHistories(prompt: prompt)
    var model = [prompt]
    for step in 0..<300 {
      let count = step == 0 ? 4 : max(1, Int.random(in: model.count - 1...4, using: &generator))
      let parents =
        step % 3 == 0
        ? (0..<min(count, model.count)).map { $0 }
        : (0..<count).map { _ in
          Int.random(in: 0..<model.count, using: &generator)
        }
      let tokens = parents.map { _ in Int.random(in: 0..<1000, using: &generator) }
      histories.advance(parents: parents, appending: tokens)
      model = zip(parents, tokens).map { model[$0] + [$1] }
      #expect(histories.rowCount == model.count)
      for (row, expected) in model.enumerated() {
        #expect(histories.row(row).map { Int($0) } == expected, "step \(step), row \(row)")
      }
    }
  }
}
