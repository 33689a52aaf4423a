import Checkpoints
import Foundation
import Generation
import Testing

/// Before → after, step by step.
@Suite struct PostProcessingTests {
  struct Row: CustomTestStringConvertible {
    let before: String
    let after: String

    init(_ before: String, _ after: String) { (self.before, self.after) = (before, after) }

    var testDescription: String { "\(before.debugDescription) → \(after.debugDescription)" }
  }

  private func check(_ step: any PostProcessingStep, _ row: Row) {
    let after = step.apply(to: row.before)
    #expect(
      after.utf8.elementsEqual(row.after.utf8), "\(row.testDescription), but is \(after.debugDescription)")
    #expect(step.apply(to: after).utf8.elementsEqual(after.utf8), "\(row.testDescription): not idempotent")
  }

  // MARK: Special tokens

  @Test(arguments: [
    Row("Hello<|endoftext|>", "Hello"),
    Row("<s>你好</s>世界", "你好世界"),
    Row("[CLS] Hello world [SEP]", "Hello world"),
    Row("a <|endoftext|> b", "a b"),
    Row("a <|endoftext|>, b", "a, b"),
    Row("line\n<|endoftext|>\nline", "line\n\nline"),
    // Removing one must not leave another.
    Row("<|end<|endoftext|>oftext|>", ""),
    Row("<<s>s>x", "x"),
    Row("<S> and < s > are text", "<S> and < s > are text"),
    // Part of a character is not a token.
    Row("</s\u{301}>", "</s\u{301}>"),
    Row("🇨<s>🇳", "🇨 🇳"),
    Row("", ""),
  ])
  func specialTokens(row: Row) {
    check(SpecialTokenRemover(["<|endoftext|>", "<s>", "</s>", "[CLS]", "[SEP]", ""]), row)
  }

  // MARK: Repeated sentences

  @Test(arguments: [
    Row("今天天气很好。今天天气很好。我们去公园。", "今天天气很好。我们去公园。"),
    Row("今天天气很好。我们去公园。今天天气很好。", "今天天气很好。我们去公园。"),
    // Width, spaces, quotation marks and the number of marks make no difference; a question does.
    Row("今天天气很好！今天 天气很好!!今天天气很好？", "今天天气很好！今天天气很好？"),
    Row("“我们走吧。”我们走吧。他说。", "“我们走吧。”他说。"),
    Row("第一点；第二点；第二点；第三点。", "第一点；第二点；第三点。"),
    Row("他走了……他走了……天黑了。", "他走了……天黑了。"),
    // Short sentences may come again, but not at once.
    Row("好的。我们走吧，去公园。好的。好的。", "好的。我们走吧，去公园。好的。"),
    Row("The cat sat down. THE CAT  SAT DOWN! Then it slept.", "The cat sat down. Then it slept."),
    Row("I agree. Yes. No. Yes. I agree.", "I agree. Yes. No. Yes. I agree."),
    Row(
      "Dr. Smith paid $3.50. Dr. Smith paid $3.50. Mr. Jones paid $35.0.",
      "Dr. Smith paid $3.50. Mr. Jones paid $35.0."),
    Row(
      "It was -5 degrees outside. It was 5 degrees outside.",
      "It was -5 degrees outside. It was 5 degrees outside."),
    Row("See e.g. the docs. See e.g. the docs. End.", "See e.g. the docs. End."),
    Row("He left at 5 p.m. He left at 5 p.m. She stayed.", "He left at 5 p.m. She stayed."),
    Row("He said \"I will go.\" He said \"I will go.\" She left.", "He said \"I will go.\" She left."),
    // A line that loses all its sentences goes with its line end, a paragraph with the blank line.
    Row("第一段文字在此。\n第一段文字在此。\n第二段。", "第一段文字在此。\n第二段。"),
    Row("First paragraph.\n\nFirst paragraph.\n\nSecond one.", "First paragraph.\n\nSecond one."),
    Row("First paragraph.\n\nSecond one.\n\nFirst paragraph.", "First paragraph.\n\nSecond one."),
    Row("- apples and pears\n- apples and pears\n- plums", "- apples and pears\n- plums"),
    Row(
      "One sentence here. Another one. One sentence here.\nNext line.",
      "One sentence here. Another one.\nNext line."),
    Row("没有句号", "没有句号"),
    Row("", ""),
  ])
  func repeatedSentences(row: Row) { check(RepeatedSentenceRemover(), row) }

  // MARK: Loops

  @Test(arguments: [
    Row("很好。我爱你。我爱你。我爱你。我爱", "很好。我爱你。"),
    Row("他说我爱你，我爱你，我爱你，我爱你，我", "他说我爱你，"),
    Row("The cat sat. the dog the dog the dog the do", "The cat sat. the dog"),
    Row("I think that I think that I think that I think that", "I think that"),
    Row("哈哈哈哈哈哈哈哈哈哈哈哈哈哈哈", "哈"),
    Row("Go on.\n\nA line\nA line\nA line\nA line\n", "Go on.\n\nA line"),
    Row("👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", "👨‍👩‍👧"),
    // A loop within the loop.
    Row("结尾嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯好嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯好嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯好", "结尾嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯嗯好"),
    // Repetition in earnest, and numbers.
    Row("哈哈哈", "哈哈哈"),
    Row("It is very, very, very", "It is very, very, very"),
    Row("10 / 3 = 3.333333333333333", "10 / 3 = 3.333333333333333"),
    Row("我爱你。我爱你。", "我爱你。我爱你。"),
    Row("", ""),
  ])
  func loops(row: Row) { check(LoopTrimmer(), row) }

  @Test func loopsByOtherMeasures() {
    check(LoopTrimmer(minimumRepetitions: 2, minimumLength: 2), Row("好的好的", "好的"))
    check(LoopTrimmer(minimumRepetitions: 2, minimumLength: 2), Row("abcabca", "abc"))
    check(LoopTrimmer(minimumRepetitions: 5, minimumLength: 2), Row("abababab", "abababab"))
  }

  // MARK: Word lists

  private static let words = WordList(["ass", "asshole", "bad word", "混蛋", "王八", "王八蛋", "naïve", "😡"])

  @Test(arguments: [
    Row("You ass! First class.", "You ***! First class."),
    Row("ASSHOLE, Ass-like, as s", "*******, ***-like, as s"),
    Row("ass's assets 2ass", "***'s assets 2ass"),
    Row("这个ass是个混蛋", "这个***是个＊＊"),
    Row("老王八蛋八", "老＊＊＊八"),
    Row("a bad word, bad  word", "a ********, bad  word"),
    Row("ｂａｄ ｗｏｒｄ", "＊＊＊*＊＊＊＊"),
    // The same character, composed or not.
    Row("na\u{EF}ve NAI\u{308}VE", "***** *****"),
    Row("so 😡😡🏽", "so ＊😡🏽"),
    Row("clean", "clean"),
  ])
  func mask(row: Row) { check(WordFilter(Self.words, action: .mask), row) }

  @Test(arguments: [
    Row("You ass! First class.", "You! First class."),
    Row("such a bad word here", "such a here"),
    Row("ass first", "first"),
    Row("the last ass", "the last"),
    Row("他是个混蛋吗？", "他是个吗？"),
    // Dropping one must not leave another.
    Row("混混蛋蛋王王八八", ""),
    Row("bad ass word", ""),
    Row("🇨😡🇳", "🇨 🇳"),
  ])
  func drop(row: Row) { check(WordFilter(Self.words, action: .drop), row) }

  @Test func wordsMadeByMaskingAreMaskedToo() {
    check(WordFilter(WordList(["bad", "*x", "***"]), action: .mask), Row("bad xbad x", "*** xbad x"))
    check(WordFilter(WordList(["坏", "＊x"]), action: .mask), Row("坏xx", "＊xx"))
    check(WordFilter(WordList(["坏", "*好"]), action: .mask), Row("坏好好好", "＊＊＊＊"))
  }

  private func withFile(_ bytes: [UInt8], _ body: (String) throws -> Void) throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "words-\(UUID().uuidString).txt").path
    try Data(bytes).write(to: URL(filePath: path))
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
  }

  @Test func aWordListFile() throws {
    let text = "\u{FEFF}# rude\r\n\r\n  ass \r\n\t\n混蛋\u{3000}\n bad word\n# the end"
    try withFile(Array(text.utf8)) { path in
      let words = try WordList.load(from: path).words
      #expect(words == ["ass", "混蛋", "bad word"])
    }
  }

  @Test func aWordListThatIsNone() throws {
    #expect(throws: FileError.missing(path: "/nonexistent/words.txt")) {
      try WordList.load(from: "/nonexistent/words.txt")
    }
    try withFile(Array("好\n".utf8) + [0xB5, 0xC4, 0x0A]) { path in
      #expect(throws: WordListError.invalidUTF8(path: path, line: 2)) { try WordList.load(from: path) }
      #expect("\(WordListError.invalidUTF8(path: path, line: 2))".contains("\(path): line 2"))
    }
    for text in ["", "\n\n", "# only this\n"] {
      try withFile(Array(text.utf8)) { path in
        #expect(throws: WordListError.noWords(path: path)) { try WordList.load(from: path) }
      }
    }
  }

  // MARK: White space and punctuation

  @Test(arguments: [
    Row("a\tb\u{A0}\u{A0}c \u{2003} d  ", "a b c d"),
    Row("\u{3000}\u{3000}第一段。\r\n\r\n\r\n\r\n第二段。\r第三段。\n\n", "第一段。\n\n第二段。\n第三段。"),
    Row("zero\u{200B}width\u{FEFF} soft\u{AD}hyphen", "zerowidth softhyphen"),
    Row("👨‍👩‍👧 می‌خواهم", "👨‍👩‍👧 می‌خواهم"),
    Row("你好,世界.", "你好，世界。"),
    Row("你好 , 世界 !", "你好，世界！"),
    Row("真的吗?是的!好:走;", "真的吗？是的！好：走；"),
    Row("等等...他来了", "等等……他来了"),
    Row("好。。。。走！！！吗？？，，、、", "好……走！吗？，、"),
    Row("什么?!走!!", "什么？！走！"),
    Row("北京(中国)很大", "北京（中国）很大"),
    Row("我们(2020年)去了", "我们（2020年）去了"),
    Row("人工 智能 是 AI 的 意思", "人工智能是 AI 的意思"),
    Row("他说:\"你好.\"", "他说：\"你好。\""),
    Row("破折———号", "破折——号"),
    // What stays.
    Row("圆周率是3.14,约1,000次", "圆周率是3.14,约1,000次"),
    Row("见http://a.com/x?y=1,2;z 或 a.b@c.cn", "见http://a.com/x?y=1,2;z 或 a.b@c.cn"),
    Row("Hello, world! (really) No... yes!!!", "Hello, world! (really) No... yes!!!"),
    Row("函数f(x)和print(中)", "函数f(x)和print(中)"),
    Row("时间是12:30", "时间是12:30"),
    Row("一.苹果", "一.苹果"),
    Row("用`甲,乙  丙`写", "用`甲,乙  丙`写"),
    Row("代码:\n```\n甲,乙\n\n\n\tx = 1\n```\n甲,乙", "代码：\n```\n甲,乙\n\n\n\tx = 1\n```\n甲，乙"),
    Row("list:\n  - one\n\t- two", "list:\n  - one\n    - two"),
    Row("한국어, 좋아요.", "한국어, 좋아요."),
    Row(" \n\t", ""),
  ])
  func normalize(row: Row) { check(TextNormalizer(), row) }

  // MARK: Whole sentences

  @Test(arguments: [
    Row("今天很好。我们去公", "今天很好。"),
    Row("他说：“走吧。”然后", "他说：“走吧。”"),
    Row("他说：「走吧！」", "他说：「走吧！」"),
    Row("甲；乙；丙", "甲；乙；丙"),
    Row("真的吗？！我不", "真的吗？！"),
    Row("他想……然后", "他想……"),
    Row("It rains. We stay at ho", "It rains."),
    Row("It costs 3.14 dollars at www.a.com and", "It costs 3.14 dollars at www.a.com and"),
    Row("It rains. I met Mr.", "It rains."),
    Row("It rains. Mr. Smith and J. K. Rowl", "It rains."),
    Row("We saw apples, pears, etc. and then", "We saw apples, pears, etc. and then"),
    Row("We saw apples, pears, etc. Then we", "We saw apples, pears, etc."),
    Row("Well... maybe we. can", "Well... maybe we."),
    Row("He said \"Go!\" and le", "He said \"Go!\""),
    Row("First. (Second.) Thi", "First. (Second.)"),
    Row("Great! 😀👍🏽", "Great! 😀👍🏽"),
    Row("Great!\n\n2.", "Great!"),
    Row("第一句。\n第二", "第一句。"),
    Row("没有完整的句子", "没有完整的句子"),
    Row("no whole sentence", "no whole sentence"),
    Row("", ""),
  ])
  func wholeSentences(row: Row) { check(WholeSentenceCutter(), row) }

  // MARK: Wrapping

  @Test(arguments: [
    Row("the quick brown fox", "the quick\nbrown fox"),
    Row("今天天气很好我们", "今天天气很\n好我们"),
    // No line begins with closing punctuation or ends with an opening bracket.
    Row("今天天气好，我们", "今天天气\n好，我们"),
    Row("今天天气（好）", "今天天气\n（好）"),
    Row("用 Swift 写的引擎", "用 Swift\n写的引擎"),
    Row("a supercalifragilistic b", "a\nsupercalif\nragilistic\nb"),
    Row("👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧", "👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧👨‍👩‍👧\n👨‍👩‍👧"),
    Row("ééééé éééé e\u{301}", "ééééé éééé\ne\u{301}"),
    Row("short\n\nlines stay", "short\n\nlines stay"),
    Row("  indented text", "  indented\ntext"),
    Row("", ""),
  ])
  func wrap(row: Row) { check(LineWrapper(width: 10), row) }

  // MARK: All together

  @Test(arguments: [
    Row(
      "人工智能 正在改变世界,改变世界。人工智能正在改变世界，改变世界。未来",
      "人工智能正在改变世界，改变世界。"),
    Row(
      "从前有一座山,山里有一座庙.庙里有个老和尚。庙里有个老和尚。庙里有个老和尚。庙里有个<|endoftext|>",
      "从前有一座山，山里有一座庙。庙里有个老和尚。"),
    Row(
      " The model is\u{A0}good.  The model is good. It is fast.\r\n\r\n\r\nIt is fast. It is fa",
      "The model is good. It is fast."),
    Row(
      "Once upon a time, there was a fox. The fox. The fox. The fox. The fox",
      "Once upon a time, there was a fox. The fox."),
    Row("你好", "你好"),
    Row("", ""),
  ])
  func standard(row: Row) { check(PostProcessor.standard(specialTokens: ["<|endoftext|>"]), row) }

  @Test func everything() {
    let processor = PostProcessor(
      [
        SpecialTokenRemover(["</s>"]), TextNormalizer(), WordFilter(WordList(["damn"]), action: .drop),
        WordFilter(WordList(["混蛋"]), action: .mask), LoopTrimmer(), RepeatedSentenceRemover(),
        WholeSentenceCutter(),
      ], wrapper: LineWrapper(width: 20))
    check(
      processor,
      Row(
        "这个混\u{200B}蛋走了,我们很高兴!这个混蛋走了，我们很高兴！The damn dog barked. The dog barked. Then</s>",
        "这个＊＊走了，我们很\n高兴！The dog\nbarked."))
  }

  @Test func aStepOfOnesOwn() {
    struct Uppercase: PostProcessingStep {
      func apply(to text: String) -> String { text.uppercased() }
    }
    check(
      PostProcessor([Uppercase(), RepeatedSentenceRemover()]),
      Row("One of them. ONE OF THEM.", "ONE OF THEM."))
  }
}
