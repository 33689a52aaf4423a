import Foundation
import Testing

@testable import Generation

/// What holds for every step and every text.
@Suite struct PostProcessingPropertyTests {
  /// A step, and what it may put in; everything else in its result is a character of the text, in order.
  struct Entry {
    let name: String
    let step: any PostProcessingStep
    var inserts: Set<String> = []
  }

  static let words = WordList([
    "ass", "damn", "bad word", "混蛋", "王八", "王八蛋", "八蛋", "f*", "*x", "好的", "é", "👍🏽", "天 气", "的天", "class ass",
    "蛋。", "🇨",
    "c", "-", "a", "한",
  ])
  static let tokens = ["<|endoftext|>", "</s>", "<|", "我你", "🇨", "a a"]

  static let entries = [
    Entry(name: "special tokens", step: SpecialTokenRemover(tokens), inserts: [" "]),
    Entry(name: "repeated sentences", step: RepeatedSentenceRemover()),
    Entry(name: "loops", step: LoopTrimmer()),
    Entry(name: "short loops", step: LoopTrimmer(minimumRepetitions: 2, minimumLength: 1)),
    Entry(name: "mask", step: WordFilter(words, action: .mask), inserts: ["*", "＊"]),
    Entry(name: "drop", step: WordFilter(words, action: .drop), inserts: [" "]),
    Entry(
      name: "normalize", step: TextNormalizer(),
      inserts: [" ", "\n", "，", "。", "！", "？", "：", "；", "（", "）", "…"]),
    Entry(name: "whole sentences", step: WholeSentenceCutter()),
    Entry(name: "wrap 2", step: LineWrapper(width: 2), inserts: ["\n"]),
    Entry(name: "wrap 20", step: LineWrapper(width: 20), inserts: ["\n"]),
    Entry(
      name: "standard", step: PostProcessor.standard(specialTokens: tokens),
      inserts: [" ", "\n", "，", "。", "！", "？", "：", "；", "（", "）", "…"]),
    Entry(
      name: "everything",
      step: PostProcessor([
        SpecialTokenRemover(tokens), TextNormalizer(), WordFilter(WordList(["damn", "王八"]), action: .drop),
        WordFilter(words, action: .mask), LoopTrimmer(), RepeatedSentenceRemover(), WholeSentenceCutter(),
      ]),
      inserts: [" ", "\n", "，", "。", "！", "？", "：", "；", "（", "）", "…", "*", "＊"]),
  ]

  /// More with INKSTONE_TEST_ROUNDS, as long as one likes.
  static let rounds = ProcessInfo.processInfo.environment["INKSTONE_TEST_ROUNDS"].flatMap { Int($0) } ?? 1500

  @Test(arguments: entries.map(\.name)) func isIdempotentAndKeepsCharactersWhole(name: String) {
    let entry = Self.entries.first { $0.name == name }!
    for seed in 1...UInt64(Self.rounds) {
      var random = RandomText(seed: seed)
      let text = random.text(4 + random.number(120))
      let once = entry.step.apply(to: text)
      let twice = entry.step.apply(to: once)
      #expect(isIdentical(once, twice), "\(name), seed \(seed): \(text.debugDescription)")

      let inserted = Set(entry.inserts.map { Array($0.utf8) })
      var rest = characters(text)[...]
      for character in characters(once) where !inserted.contains(character) {
        guard let index = rest.firstIndex(of: character) else {
          Issue.record(
            "\(name), seed \(seed): broke a character: \(text.debugDescription) → \(once.debugDescription)")
          break
        }
        rest = rest[(index + 1)...]
      }
    }
  }

  /// Prose: what stands at a line end of wrapped text is a space or Chinese, so that nothing is in doubt.
  @Test func wrappingTheWholeIsIdempotentOnProse() {
    for seed in 1...UInt64(Self.rounds) {
      var random = RandomText(seed: seed)
      let width = 16 + random.number(60)
      var processor = PostProcessor.standard(specialTokens: Self.tokens)
      processor.wrapper = LineWrapper(width: width)
      let text = random.prose(sentences: 1 + random.number(20))
      let once = processor.apply(to: text)
      #expect(
        isIdentical(processor.apply(to: once), once), "width \(width), seed \(seed): \(text.debugDescription)"
      )
    }
  }

  @Test func maskKeepsTheNumberOfCharacters() {
    let filter = WordFilter(Self.words, action: .mask)
    for seed in 1...UInt64(Self.rounds) {
      var random = RandomText(seed: seed)
      let text = random.text(60)
      #expect(filter.apply(to: text).count == text.count, "seed \(seed): \(text.debugDescription)")
    }
  }

  @Test func wrappedLinesFitAndLoseOnlySpaces() {
    for seed in 1...UInt64(Self.rounds) {
      var random = RandomText(seed: seed)
      let width = 2 + random.number(40)
      let text = random.text(150)
      let wrapped = LineWrapper(width: width).apply(to: text)
      for line in wrapped.split(whereSeparator: \.isNewline) {
        let line = TextCharacters(String(line))
        let end = (line.lastIndex { !$0.isSpace } ?? -1) + 1
        #expect(line.prefix(end).reduce(0) { $0 + $1.columnCount } <= width, "seed \(seed), width \(width)")
      }
      let visible = { (text: String) in
        characters(text).filter {
          $0 != [0x0A] && $0 != [0x20] && $0 != [0x09] && $0 != [0xC2, 0xA0] && $0 != [0xE3, 0x80, 0x80]
        }
      }
      #expect(visible(wrapped) == visible(text), "seed \(seed), width \(width)")
    }
  }

  /// A quadratic step would take minutes here.
  @Test(arguments: entries.map(\.name)) func takesLongTextsInStride(name: String) {
    let entry = Self.entries.first { $0.name == name }!
    let size = 1 << 20
    var random = RandomText(seed: 1)
    var texts = ["prose": random.prose(sentences: 14_000)]
    for unit in [
      "a", "好", "。", ".", " ", "\n", "*", "(", "(好", "`", "\"", "a.", "好。", "a. ", "<|", "王八", "好,",
      "\u{301}", "👨‍👩‍👧", "🇨",
      "J. ", ".)", "etc. a", "a\n\n", "\u{200B}", "<|endoftext|>", "f*", "1. ", "…", "\t", "“好。”",
    ] {
      texts[unit] = "X" + String(repeating: unit, count: size / unit.utf8.count)
    }
    for (unit, text) in texts {
      // This thread's own time: other tests and other programs must not decide.
      let start = Self.threadSeconds()
      let result = entry.step.apply(to: text)
      let seconds = Self.threadSeconds() - start
      #expect(seconds < 20, "\(name) on 1 MiB of \(unit.debugDescription) took \(seconds) s")
      #expect(result.utf8.count <= 2 * text.utf8.count)
      if ProcessInfo.processInfo.environment["INKSTONE_TEST_TIMES"] != nil {
        print(name, unit.debugDescription, seconds)
      }
    }
  }

  private static func threadSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
  }
}
