import Kernels
import Testing
import _TestSupport

@testable import Corpora

/// The rule that a text breaks.
private func rule(_ text: String, _ change: (inout FilterConfiguration) -> Void = { _ in }) -> String? {
  var configuration = FilterConfiguration()
  change(&configuration)
  let filter = DocumentFilter(configuration, pool: CorpusFixtures.pool)
  return Array(text.utf8).withUnsafeBufferPointer { filter.judge($0) }.fault?.rule
}

/// Sentences of different words, with stop words among them.
private func prose(_ sentences: Int, seed: UInt64 = 1) -> String {
  var random = SeededGenerator(seed: seed)
  return (0..<sentences).map { _ in
    let words = (0..<9).map { _ in
      String(
        (0..<Int.random(in: 3...8, using: &random)).map { _ in
          Character(Unicode.Scalar(UInt8.random(in: 97...122, using: &random)))
        })
    }
    return "The " + words.joined(separator: " ") + " of it."
  }.joined(separator: "\n")
}

/// Chinese sentences of random characters.
private func chinese(_ sentences: Int, seed: UInt64 = 1) -> String {
  var random = SeededGenerator(seed: seed)
  return (0..<sentences).map { _ in
    String(
      (0..<20).map { _ in Character(Unicode.Scalar(UInt32.random(in: 0x4E00...0x6FFF, using: &random))!) })
      + "。"
  }.joined()
}

@Suite("Filter rules")
struct FilterTests {
  @Test("Good text stays, in either kind of script")
  func good() {
    #expect(rule(prose(10)) == nil)
    #expect(rule(chinese(10)) == nil)
    #expect(rule(prose(4) + "\n" + chinese(6)) == nil)
  }

  @Test("Gopher's limits, each from both sides")
  func gopher() {
    let only = { (configuration: inout FilterConfiguration) in configuration.ruleSets = [.gopher] }
    #expect(rule(prose(4), only) == "min-words")  // 48 words
    #expect(rule(prose(5), only) == nil)
    #expect(rule(chinese(4), only) == "min-words")  // 80 characters, 40 words
    #expect(rule(chinese(5), only) == nil)
    #expect(rule(prose(5)) { ($0.ruleSets, $0.limits) = ([.gopher], [.maximumWords: 59]) } == "max-words")
    #expect(rule(prose(5) + String(repeating: " a b", count: 60), only) == "min-mean-word-length")
    #expect(
      rule(prose(5) + String(repeating: " " + String(repeating: "x", count: 99), count: 9), only)
        == "max-mean-word-length")
    #expect(rule(prose(5) + String(repeating: " #abc", count: 9), only) == "max-symbol-ratio")
    #expect(rule(prose(5) + String(repeating: " abc...", count: 9), only) == "max-symbol-ratio")
    #expect(rule(prose(5) + String(repeating: " abc… cde", count: 9), only) == "max-symbol-ratio")
    #expect(
      rule(prose(6).split(separator: "\n").map { "- " + $0 }.joined(separator: "\n"), only)
        == "max-bullet-lines")
    #expect(
      rule(
        prose(6).split(separator: "\n").enumerated().map { $0 < 2 ? $1 + "..." : $1 }.joined(separator: "\n"),
        only)
        == "max-ellipsis-lines")
    #expect(
      rule(prose(5) + (0..<20).map { " \($0 * 7919 + 10_000)" }.joined(), only) == "min-alphabetic-words")
    #expect(
      rule(prose(6).replacing("The", with: "Sie").replacing("of", with: "und"), only) == "min-stop-words")
    #expect(rule(prose(6).replacing("of", with: "und"), only) == "min-stop-words")
    #expect(
      rule(prose(6).replacing("The", with: "Sie").replacing("of", with: "und")) {
        ($0.ruleSets, $0.limits) = ([.gopher], [.minimumStopWords: .nan])
      } == nil)
  }

  @Test("Gopher's repetition: lines, paragraphs and runs of words")
  func repetition() {
    let only = { (limits: [FilterConfiguration.Limit]) in
      { (configuration: inout FilterConfiguration) in
        configuration.ruleSets = []
        for limit in limits { configuration.limits[limit] = limit.standard }
      }
    }
    let line = "the same line of text again\n"
    #expect(
      rule(prose(10) + "\n" + String(repeating: line, count: 6), only([.maximumDuplicateLines]))
        == "max-duplicate-lines")
    #expect(rule(prose(10) + "\n" + String(repeating: line, count: 3), only([.maximumDuplicateLines])) == nil)
    #expect(
      rule(
        prose(2) + "\n" + String(repeating: prose(2) + "\n", count: 1),
        only([.maximumDuplicateLineCharacters])) == "max-duplicate-line-chars")
    let paragraph = prose(3)
    let paragraphs = [paragraph, prose(2, seed: 2), paragraph, paragraph].joined(separator: "\n\n")
    #expect(rule(paragraphs, only([.maximumDuplicateParagraphs])) == "max-duplicate-paragraphs")
    #expect(rule(paragraphs, only([.maximumDuplicateParagraphCharacters])) == "max-duplicate-paragraph-chars")
    #expect(
      rule([paragraph, prose(2, seed: 2)].joined(separator: "\n\n"), only([.maximumDuplicateParagraphs]))
        == nil)

    for (n, limit) in [
      (2, FilterConfiguration.Limit.maximumTop2Gram), (3, .maximumTop3Gram), (4, .maximumTop4Gram),
    ] {
      let run = " " + (0..<n).map { "word\($0)" }.joined(separator: " ")
      #expect(rule(prose(5) + String(repeating: run, count: 20), only([limit])) == limit.rawValue)
      #expect(rule(prose(5) + String(repeating: run, count: 1), only([limit])) == nil)
    }
    let duplicates: [(Int, FilterConfiguration.Limit)] = [
      (5, .maximumDuplicate5Grams), (6, .maximumDuplicate6Grams), (7, .maximumDuplicate7Grams),
      (8, .maximumDuplicate8Grams), (9, .maximumDuplicate9Grams), (10, .maximumDuplicate10Grams),
    ]
    for (n, limit) in duplicates {
      let run = " " + (0..<n).map { "word\($0)" }.joined(separator: " ")
      #expect(
        rule(prose(5) + run + [" other", " else", " more", " less"].map { $0 + run }.joined(), only([limit]))
          == limit.rawValue)
      // A run of one word less is none.
      let short = " " + (0..<(n - 1)).map { "word\($0)" }.joined(separator: " ")
      #expect(rule(prose(5) + short + " other" + short + " else" + short, only([limit])) == nil)
    }
    // In Chinese, ten characters are five words.
    let phrase = "第一二三四五六七八九"
    #expect(
      rule(chinese(4) + phrase + "甲" + phrase + "乙" + phrase, only([.maximumDuplicate5Grams]))
        == "max-duplicate-5-grams")
    #expect(rule(chinese(4) + "第一二三四五六七八甲" + "第一二三四五六七八乙", only([.maximumDuplicate5Grams])) == nil)
  }

  @Test("The share of repeated runs against a plain count")
  func shares() {
    for seed in 0..<100 {
      var random = SeededGenerator(seed: UInt64(seed))
      let words = (0..<Int.random(in: 1...60, using: &random)).map { _ in
        ["a", "bb", "ccc", "dddd"].randomElement(using: &random)!
      }
      let text = Array(words.joined(separator: " ").utf8)
      let repetition = text.withUnsafeBufferPointer { Repetition($0, TextWords($0)) }
      let total = Double(words.reduce(0) { $0 + $1.count })
      for n in 2...10 where words.count > n {
        let runs = (0...words.count - n).map { words[$0..<$0 + n] }
        var counts: [ArraySlice<String>: Int] = [:]
        for run in runs { counts[run, default: 0] += 1 }
        let length = { (run: ArraySlice<String>) in run.reduce(0) { $0 + $1.count } }
        let top = counts.max { ($0.value, length($0.key)) < ($1.value, length($1.key)) }!
        let share = top.value > 1 ? Double(top.value * length(top.key)) / total : 0
        #expect(repetition.topShare(n) == share, "seed \(seed), n \(n)")
        var (seen, repeated, at) = (Set<ArraySlice<String>>(), 0, 0)
        while at <= words.count - n {
          if seen.insert(runs[at]).inserted {
            at += 1
          } else {
            repeated += length(runs[at])
            at += n
          }
        }
        #expect(repetition.duplicateShare(n) == Double(repeated) / total, "seed \(seed), n \(n)")
      }
    }
  }

  @Test("C4's lines and pages")
  func c4() {
    let only = { (configuration: inout FilterConfiguration) in configuration.ruleSets = [.c4] }
    #expect(rule(prose(3), only) == nil)
    #expect(rule(prose(2), only) == "min-sentences")
    #expect(rule(prose(3) + "\nThis text has lorem ipsum in the middle of it.", only) == "lorem-ipsum")
    #expect(rule(prose(3) + "\nThis text has a { in the middle of it.", only) == "curly-brackets")
    #expect(rule("Menu\nHome | About | Contact us here today", only) == "no-lines-left")
    let filter = DocumentFilter(
      {
        var configuration = FilterConfiguration(); configuration.ruleSets = [.c4]; return configuration
      }(),
      pool: CorpusFixtures.pool)
    let text =
      prose(3) + "\nNo end here and so it goes away\nToo short.\nPlease enable JavaScript to see this page.\n"
      + "It ends like this and so on...\n他说：“这是一个完整的句子，一共有很多字。”\n"
    let verdict = Array(text.utf8).withUnsafeBufferPointer { filter.judge($0) }
    #expect(verdict.fault == nil && verdict.removedLines == 4)
    #expect(String(decoding: verdict.text!, as: UTF8.self) == prose(3) + "\n他说：“这是一个完整的句子，一共有很多字。”")
  }

  @Test("Languages by script")
  func languages() {
    let texts = [
      "zh": "人工智能是计算机科学的一个分支 AI", "ja": "人工知能はコンピュータ科学の一分野です", "ko": "인공지능은 컴퓨터 과학의 한 분야다",
      "en": "Artificial intelligence is a branch", "ru": "Искусственный интеллект это раздел",
      "ar": "الذكاء الاصطناعي فرع",
      "th": "ปัญญาประดิษฐ์เป็นสาขา", "hi": "कृत्रिम बुद्धिमत्ता", "el": "Τεχνητή νοημοσύνη", "he": "בינה מלאכותית",
    ]
    for (name, text) in texts {
      for language in texts.keys {
        let found = rule(text) { ($0.ruleSets, $0.language) = ([], ScriptLanguage(language)) }
        #expect(found == (language == name ? nil : "language"), "\(text) as \(language)")
      }
    }
    #expect(rule("123 !?") { ($0.ruleSets, $0.language) = ([], ScriptLanguage("latin")) } == "language")
    #expect(ScriptLanguage("klingon") == nil && ScriptLanguage("other") == nil)
    #expect(
      rule("中文 and English words") {
        ($0.ruleSets, $0.language, $0.minimumLanguageShare) = ([], ScriptLanguage("han"), 0.1)
      } == nil)
  }

  @Test("Word lists: whole words where there are spaces, any place where there are none")
  func wordLists() {
    func holds(_ text: String, _ words: [String]) -> Bool {
      rule(text) { ($0.ruleSets, $0.forbiddenWords) = ([], words) } == "forbidden-words"
    }
    #expect(
      holds("A Bad day", ["bad"]) && holds("bad", ["BAD"]) && holds("so bad.", [" bad "])
        && holds("it's bad-ish", ["bad"]))
    #expect(
      !holds("badly", ["bad"]) && !holds("abad", ["bad"]) && !holds("b ad", ["bad"])
        && !holds("bad1", ["bad"]))
    #expect(holds("这是坏词语", ["坏词"]) && holds("two words here", ["two words"]) && holds("中bad文", ["bad"]))
    #expect(!holds("anything", []) && !holds("anything", [" "]))
    #expect(rule("about cats") { ($0.ruleSets, $0.requiredWords) = ([], ["dog", "cats"]) } == nil)
    #expect(
      rule("about birds") { ($0.ruleSets, $0.requiredWords) = ([], ["dog", "cats"]) } == "required-words")
  }

  @Test("The report counts each document once, under the rule it breaks first")
  func report() throws {
    let filter = DocumentFilter(sampleLimit: 1, pool: CorpusFixtures.pool)
    var kept: [Int] = []
    let documents = batch([
      prose(10), "short.", prose(10, seed: 2) + " { }.", "Also short, but a sentence it is.", chinese(9),
    ])
    try filter.filter(documents) { kept.append($1) }
    #expect(kept == [0, 4])
    let report = filter.report
    let removed = Dictionary(uniqueKeysWithValues: report.steps.map { ($0.name, $0.documents) }).filter {
      $0.value > 0
    }
    #expect(removed == ["no-lines-left": 1, "curly-brackets": 1, "min-words": 1])
    #expect(report.read.documents == 5 && report.written.documents == 2)
    #expect(report.steps.first { $0.name == "min-words" }?.samples.first?.note == "7, the least is 50")
    #expect(report.document["steps"]?.array?.first?["documents_removed"] != nil)
  }
}
