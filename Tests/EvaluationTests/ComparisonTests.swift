import Testing

@testable import Evaluation

@Suite struct ComparisonTests {
  private func compare(_ value: Double, _ reference: Double) -> Bool {
    var comparison = Comparison(Tolerance(absolute: 1e-3, relative: 1e-2))
    comparison.compare(0, with: 0, at: 0)
    comparison.compare(value, with: reference, at: 1)
    return comparison.isWithin
  }

  @Test func allowsWhatTheToleranceAllows() {
    #expect(compare(1, 1))
    #expect(compare(100.9, 100))
    #expect(!compare(101.1, 100))
    #expect(compare(0.0009, 0))
    #expect(!compare(0.0011, 0))
  }

  @Test func infinitiesAndNaNAreWithinNoTolerance() {
    #expect(compare(-.infinity, -.infinity))
    #expect(!compare(.infinity, -.infinity))
    #expect(!compare(-.infinity, -1e30))
    #expect(!compare(-1e30, -.infinity))
    #expect(!compare(.nan, 0))
    #expect(!compare(0, .nan))
    #expect(!compare(.nan, .nan))
  }

  @Test func chunksAreUnevenAndComplete() {
    for count in 1..<60 {
      let chunks = Verifier.unevenChunks(of: count)
      #expect(chunks.reduce(0, +) == count)
      #expect(chunks.allSatisfy { $0 > 0 })
    }
    #expect(Set(Verifier.unevenChunks(of: 30)).count > 3)
  }
}
