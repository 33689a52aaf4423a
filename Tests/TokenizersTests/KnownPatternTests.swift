import Testing

@testable import Tokenizers

/// The patterns matched by hand against the same patterns through PCRE2.
@Suite struct KnownPatternTests {
  @Test(arguments: [KnownPattern.gpt2, .cl100k(digits: 1), .cl100k(digits: 3)])
  func equalsTheRegularExpression(known: KnownPattern) throws {
    let regex = try Regex(known.pattern, file: "test")
    #expect(KnownPattern(known.pattern) == known)
    let scratch = RegexScratch()
    for seed in UInt64(0)..<4000 {
      var random = SeededGenerator(seed: seed)
      var text = random.text(maximumLength: 30)
      try text.withUTF8 { bytes in
        var expected: [Int] = []
        var found: [Int] = []
        try regex.forEachMatch(in: bytes, scratch: scratch) { expected += [$0, $1] }
        known.forEachMatch(in: bytes) { found += [$0, $1] }
        #expect(found == expected, "seed \(seed)")
      }
    }
  }

  @Test func theTablesAgreeWithTheSets() {
    let table = CategoryTable.shared
    let space = CategoryTable.mask([.zs, .zl, .zp]) | 1 << UInt32(CategoryTable.controlSpace)
    let letter = CategoryTable.mask([.lu, .ll, .lt, .lm, .lo])
    let letters = CodePointSet([.lu, .ll, .lt, .lm, .lo])
    for value in UInt32(0)..<0x11_0000 {
      #expect((table.bit(value) & space != 0) == CodePointSet.whitespace.contains(value))
      #expect((table.bit(value) & letter != 0) == letters.contains(value))
    }
  }
}
