import Kernels
import Testing
import _TestSupport

@testable import Corpora

/// The text after a step.
private func clean(_ step: CleaningStep, _ text: String) -> String {
  let bytes = Array(text.utf8)
  return String(decoding: bytes.withUnsafeBufferPointer { step.apply(to: $0) } ?? bytes, as: UTF8.self)
}

@Suite("Cleaning steps")
struct CleaningStepTests {
  @Test(
    "HTML",
    arguments: [
      ("<p>Hello <b>world</b></p><p>next</p>", "Hello world\nnext\n"), ("a<br/>b<BR >c", "a\nb\nc"),
      ("x<script type=\"a>b\">var a = '<p>';</script >y<style>p {}</style>z", "xyz"),
      ("<!-- a > b -->k<!DOCTYPE html>l", "kl"), ("<a href='x>y' title=\"<\">t</a>", "t"),
      (
        "a < b, c > d, List<Int>, <unk>, <p-value>, 1<2>0", "a < b, c > d, List<Int>, <unk>, <p-value>, 1<2>0"
      ),
      ("&lt;b&gt; &amp;amp; &copy; &hellip; &Alpha;&omega; &nbsp;|", "<b> &amp; © … Αω \u{A0}|"),
      ("&#20013;&#x4E2D;&#X4e2d;&#128;&#0;&#xD800;&#x110000;", "中中中€\u{FFFD}\u{FFFD}\u{FFFD}"),
      ("AT&T &nosuch; &amp &#; &#x; a&b;", "AT&T &nosuch; &amp &#; &#x; a&b;"),
      ("<script>never closed", "never closed"), ("<p", "<p"), ("<", "<"), ("&", "&"), ("<p <b>x", "<p x"),
      ("<table><tr><td>1</td><td>2</td></tr></table>", "1 2 \n"),
    ])
  func html(text: String, expected: String) { #expect(clean(.html, text) == expected) }

  @Test(
    "Markdown",
    arguments: [
      ("# Title #\n\n## 二级 标题", "Title\n\n二级 标题"), ("#hashtag #1", "#hashtag #1"),
      ("**bold** *it* __b__ _i_ ~~s~~ ***x***", "bold it b i s x"),
      ("snake_case_name 2*3*4 2 ** 3 a * b * c", "snake_case_name 2*3*4 2 ** 3 a * b * c"),
      ("这是*强调*和**重点**的，文件_名_字", "这是强调和重点的，文件_名_字"),
      ("`code *x*` and ``a ` b``", "code *x* and a ` b"), ("\\*not\\* \\# \\[a\\]", "*not* # \\[a\\]"),
      ("[text](http://a.b/c_(d) \"title\") ![img](x.png) [ref][1] [^2]", "text img ref "),
      ("f[i](x, y) a[i][j] [note] see (this)", "f[i](x, y) a[i][j] [note] see (this)"),
      ("<https://a.b> <a>", "https://a.b <a>"), ("[1]: http://a.b\ntext\n[x]: word", "text\n[x]: word"),
      (
        "- item\n* item\n+ item\n- [x] done\n1. one\n-5 degrees", "item\nitem\nitem\ndone\n1. one\n-5 degrees"
      ),
      ("> quote\n> > deep", "quote\ndeep"), ("a\n---\nb\n***\nc\n= = =\nd", "a\nb\nc\nd"),
      ("Title\n=====\n", "Title\n"),
      ("| a | b\\|c |\n|---|:-:|\n| 1 | |", "a b|c\n1"), ("a | b", "a | b"),
      ("```swift\nlet a = *b*\n# no title\n```\n*x*", "let a = *b*\n# no title\nx"),
      ("~~~\n```\n~~~\n", "```\n"), ("**a *b* c**", "a b c"),
      ("*unclosed and **this", "*unclosed and **this"),
      ("", ""), ("plain text, nothing else.", "plain text, nothing else."),
    ])
  func markdown(text: String, expected: String) { #expect(clean(.markdown, text) == expected) }

  @Test("Controls")
  func controls() {
    #expect(
      clean(.controls, "a\u{0}b\u{7F}c\u{FEFF}d\u{200B}e\u{202E}f\u{AD}g\u{E000}h\u{FFFE}") == "abcdefgh")
    let kept = "tab\t line\n\r vertical\u{B}\u{C}\u{85}\u{2028} 👩\u{200D}👩 ❤\u{FE0F} می\u{200C}خواهم 🏴󠁧󠁢󠁥󠁮󠁧󠁿"
    #expect(clean(.controls, kept) == kept)
  }

  @Test("Width")
  func width() {
    #expect(clean(.width, "ＡＢＣｘｙｚ０１２９＋＝％＠［］｛｝＿　end") == "ABCxyz0129+=%@[]{}_ end")
    #expect(clean(.width, "你好，世界！（注：是；吗？）～。、「」") == "你好，世界！（注：是；吗？）～。、「」")
    #expect(clean(.width, "ｶﾞｷﾞｸﾞｹﾞｺﾞｻﾞｼﾞｽﾞｾﾞｿﾞﾀﾞﾁﾞﾂﾞﾃﾞﾄﾞ") == "ガギグゲゴザジズゼゾダヂヅデド")
    #expect(clean(.width, "ﾊﾞﾋﾞﾌﾞﾍﾞﾎﾞﾊﾟﾋﾟﾌﾟﾍﾟﾎﾟｳﾞﾜﾞｦﾞ") == "バビブベボパピプペポヴヷヺ")
    #expect(clean(.width, "ｱﾞﾅﾟｯﾂｰ･｡｢｣､ﾞ") == "ア゛ナ゜ッツー・。「」、゛")
    #expect(clean(.width, "￠￡￢￣￤￥￦￨￩￪￫￬￭￮") == "¢£¬¯¦¥₩│←↑→↓■○")
  }

  @Test("Normal form and repair")
  func normalForm() {
    #expect(clean(.normalForm, "e\u{301} カ\u{3099} 한").unicodeScalars.elementsEqual("é ガ 한".unicodeScalars))
    let damaged: [UInt8] = [0x61, 0xFF, 0xE4, 0xBA, 0x62, 0xC0, 0x80, 0xED, 0xA0, 0x80]
    let mended = damaged.withUnsafeBufferPointer { CleaningStep.repair.apply(to: $0) }
    #expect(String(decoding: mended!, as: UTF8.self) == String(decoding: damaged, as: UTF8.self))
    #expect(Array("fine".utf8).withUnsafeBufferPointer { CleaningStep.repair.apply(to: $0) } == nil)
  }

  @Test(
    "White space",
    arguments: [
      ("  a \t b\u{A0}\u{3000}c  ", "a b c"),
      ("a\r\nb\rc\u{85}d\u{2028}e\u{B}f\u{C}g", "a\nb\nc\nd\ne\nf\ng"),
      ("a\n\n\n\nb \n \n c", "a\n\nb\n\nc"), ("a\u{2029}b", "a\n\nb"), ("\n \n", ""), ("", ""),
      ("a b", "a b"),
    ])
  func whitespace(text: String, expected: String) { #expect(clean(.whitespace, text) == expected) }

  @Test("Steps give text, and a second time nothing more")
  func idempotence() {
    let pieces = [
      "*", "**", "_", "`", "```", "#", "# ", "- ", "> ", "|", "[", "](", ")", "]", "!", "<", ">", "<p>",
      "</p>",
      "<script>", "</script>", "&", "&amp;", "&lt;", ";", "\\", "\n", " ", "  ", "\t", "\r\n", "a", "b1", "人",
      "，",
      "Ａ", "ｶ", "ﾞ", "e", "\u{301}", "\u{200B}", "\u{FEFF}", "é", "~~", "=", "---", "http://x", "<!--", "-->",
    ]
    for seed in 0..<2000 {
      var random = SeededGenerator(seed: UInt64(seed))
      let text = (0..<Int.random(in: 1...40, using: &random)).map { _ in pieces.randomElement(using: &random)!
      }.joined()
      for step in CleaningStep.allCases {
        let bytes = Array(text.utf8)
        guard let once = bytes.withUnsafeBufferPointer({ step.apply(to: $0) }) else { continue }
        let changes = once != bytes
        #expect(changes, "\(step) of seed \(seed) reports a change that is none")
        let isText = String(validating: once, as: UTF8.self) != nil
        #expect(isText, "\(step), seed \(seed)")
        // Taking marks away can bring others together; the other steps are done at once.
        if step == .html || step == .markdown { continue }
        let isDone = once.withUnsafeBufferPointer { step.apply(to: $0) } == nil
        #expect(isDone, "\(step), seed \(seed)")
      }
    }
  }
}

@Suite("The cleaner")
struct CleanerTests {
  @Test("Steps are taken in order, and the report says what each did")
  func report() throws {
    let cleaner = Cleaner(sampleLimit: 1, pool: CorpusFixtures.pool)
    var out: [String] = []
    let documents = batch(["<b>Ｔｅｘｔ</b>  &amp; **more**", "unchanged", "<!-- only -->", "<i>x</i>"])
    try cleaner.clean(documents) { text, _ in out.append(String(decoding: text, as: UTF8.self)) }
    #expect(out == ["Text & more", "unchanged", "x"])
    let report = cleaner.report
    #expect(report.read == .init(documents: 4, bytes: documents.bytes.count))
    #expect(report.written == .init(documents: 3, bytes: 11 + 9 + 1))
    #expect(
      report.steps.map(\.name) == ["html", "markdown", "controls", "width", "nfc", "whitespace", "empty"])
    #expect(report.steps.map(\.documents) == [3, 1, 0, 1, 0, 1, 1])
    #expect(report.steps[0].samples.count == 1)
    #expect(report.steps[0].samples[0].note == "Ｔｅｘｔ  & **more**")
    #expect(report.steps.reduce(0) { $0 + $1.bytes } == report.read.bytes - report.written.bytes)
    #expect(report.document["steps"]?.array?.count == 7)
    #expect(report.table.contains("changed by html"))
  }

  @Test("Bytes that are no text are an error, or mended")
  func repair() throws {
    let bad = batch([[0x61, 0x62], [0x61, 0xFF, 0x62]])
    #expect(throws: CorpusError.invalidUTF8(path: "memory", line: 2, offset: 1)) {
      try Cleaner(pool: CorpusFixtures.pool).clean(bad) { _, _ in }
    }
    let cleaner = Cleaner(steps: [.repair], pool: CorpusFixtures.pool)
    var out: [String] = []
    try cleaner.clean(bad) { text, _ in out.append(String(decoding: text, as: UTF8.self)) }
    #expect(out == ["ab", "a\u{FFFD}b"])
  }

  @Test("Threads do not change the order")
  func threads() throws {
    let documents = batch((0..<500).map { "<p>\($0)</p>" })
    for threads in [1, 3] {
      var out: [String] = []
      try Cleaner(pool: .init(threadCount: threads)).clean(documents) { text, index in
        #expect(String(decoding: text, as: UTF8.self) == "\(index)")
        out.append(String(decoding: text, as: UTF8.self))
      }
      #expect(out == (0..<500).map(String.init))
    }
  }
}
