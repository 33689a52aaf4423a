import Foundation
import Testing
import _TestSupport

@testable import inkstone_cli

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

@Suite struct LineEditorTests {
  /// The message and the cursor after some keys, the cursor as `|`.
  private func typed(_ keys: [Key], history: [String] = []) -> String {
    var editor = LineEditor(history: history)
    for key in keys { _ = editor.handle(key) }
    var characters = editor.characters
    characters.insert("|", at: editor.cursor)
    return String(characters)
  }

  @Test func keysEdit() {
    #expect(typed([.text("a"), .text("b"), .left, .text("c")]) == "ac|b")
    #expect(typed([.text("你"), .text("好"), .backspace, .backspace, .backspace]) == "|")
    #expect(typed([.paste("one two  three"), .control("W"), .control("W")]) == "one |")
    #expect(typed([.paste("one two"), .home, .delete, .control("D"), .end]) == "e two|")
    #expect(typed([.paste("one two"), .wordLeft, .control("K"), .control("A"), .control("Y")]) == "two|one ")
    #expect(typed([.paste("one two"), .wordLeft, .control("U")]) == "|two")
    #expect(typed([.paste("a\r\nb\rc"), .up, .control("A"), .newline]) == "a\n\n|b\nc")
    #expect(typed([.paste("abc\nd"), .up, .right, .right, .down]) == "abc\nd|")
    #expect(typed([.paste("ab\ncd"), .home, .control("K"), .backspace]) == "ab|")
    // What belongs together is one character, whether it comes whole or not.
    #expect(typed([.text("e"), .text("\u{301}"), .text("x"), .left, .left]) == "|e\u{301}x")
    #expect(typed([.text("👩"), .text("\u{200D}"), .text("🚀"), .backspace]) == "|")
    #expect(typed([.text("🇩"), .text("🇪"), .left, .text("a")]) == "a|🇩🇪")
  }

  @Test func historyComesBack() {
    let history = ["first", "second"]
    #expect(typed([.text("x"), .up], history: history) == "second|")
    #expect(typed([.text("x"), .up, .up, .up], history: history) == "first|")
    #expect(typed([.text("x"), .up, .up, .down, .down], history: history) == "x|")
    #expect(typed([.text("x"), .up, .text("!"), .down, .up], history: history) == "second|")
  }

  @Test func someKeysAskForMore() {
    var editor = LineEditor()
    #expect(editor.handle(.control("C")) == .cancel(wasEmpty: true))
    #expect(editor.handle(.text("a")) == .none)
    #expect(editor.handle(.control("L")) == .clearScreen)
    #expect(editor.handle(.control("C")) == .cancel(wasEmpty: false))
    #expect(editor.text.isEmpty && editor.handle(.control("D")) == .end)
    _ = editor.handle(.text("b"))
    #expect(editor.handle(.enter) == .submit("b"))
  }

  @Test func bytesBecomeKeys() {
    func keys(_ text: String) -> [Key] {
      var decoder = KeyDecoder()
      return text.utf8.compactMap { decoder.take($0) }
    }
    #expect(
      keys("a\r\n\t\u{7F}\u{8}") == [.text("a"), .enter, .newline, .text("\t"), .backspace, .backspace])
    #expect(keys("é你🙂") == [.text("é"), .text("你"), .text("🙂")])
    #expect(keys("\u{1}\u{3}\u{1A}") == [.control("A"), .control("C"), .control("Z")])
    #expect(
      keys("\u{1B}[A\u{1B}[B\u{1B}[C\u{1B}[D\u{1B}[H\u{1B}[F") == [.up, .down, .right, .left, .home, .end])
    #expect(
      keys("\u{1B}OA\u{1B}OH\u{1B}[1~\u{1B}[4~\u{1B}[3~\u{1B}[7~") == [
        .up, .home, .home, .end, .delete, .home,
      ])
    #expect(
      keys("\u{1B}[1;5D\u{1B}[1;3C\u{1B}b\u{1B}f\u{1B}\r") == [
        .wordLeft, .wordRight, .wordLeft, .wordRight, .newline,
      ])
    #expect(keys("\u{1B}[200~a\rb\u{1B}[A\u{3}\u{1B}[201~c") == [.paste("a\rb\u{1B}[A\u{3}"), .text("c")])
    // Unknown sequences are passed over, endless ones given up.
    #expect(keys("\u{1B}[99;99~\u{1B}[?1;2cx") == [.text("x")])
    #expect(keys("\u{1B}[" + String(repeating: "1", count: 40) + "x").last == .text("x"))
    var decoder = KeyDecoder()
    // Broken UTF-8 loses no key that follows.
    #expect([0xE4, 0xBD, 0x61, 0xFF, 0x62].compactMap { decoder.take($0) } == [.text("a"), .text("b")])
    #expect(decoder.take(0x1B) == nil && decoder.isUndecided)
    decoder.giveUpSequence()
    #expect(decoder.take(0x5B) == .text("["))
  }

  @Test func wideCharactersAreNeverHalved() {
    func layout(_ text: String, cursor: Int? = nil, width: Int = 10) -> EditorLayout {
      EditorLayout(
        prompt: "> ", characters: Array(text), cursor: cursor ?? text.count, width: width)
    }
    let wide = layout("你好世界啊")
    #expect(wide.rows == ["> 你好世界", "啊"] && wide.cursorRow == 1 && wide.cursorColumn == 2)
    let odd = layout("x你好世界")
    #expect(odd.rows == ["> x你好世", "界"] && odd.cursorColumn == 2)
    let full = layout("12345678")
    #expect(full.rows == ["> 12345678", ""] && full.cursorRow == 1 && full.cursorColumn == 0)
    let within = layout("你好世界啊", cursor: 4)
    #expect(within.cursorRow == 1 && within.cursorColumn == 0)
    let lines = layout("a\nbc", cursor: 2)
    #expect(lines.rows == ["> a", "  bc"] && lines.cursorRow == 1 && lines.cursorColumn == 2)
    #expect(layout("a\u{1B}b\u{7F}").rows == ["> a^[b^?"])
    #expect(layout("e\u{301}👩‍🚀🇩🇪").cursorColumn == 7)
  }

  /// What a terminal shows after the drawing, as a small one understands it.
  private struct SmallTerminal {
    var rows: [[Character]] = [[]]
    var row = 0
    var column = 0

    mutating func show(_ text: String) {
      var rest = Substring(text)
      while let scalar = rest.unicodeScalars.first {
        if scalar == "\u{1B}" {
          let end = rest.firstIndex { $0.isLetter }!
          let count = Int(rest[rest.index(rest.startIndex, offsetBy: 2)..<end]) ?? 1
          switch rest[end] {
          case "A": row -= count
          case "B": row += count
          case "C": column += count
          case "J":
            rows.removeSubrange((row + 1)...)
            rows[row].removeSubrange(min(column, rows[row].count)...)
          default: Issue.record("\(rest[...end].debugDescription)")
          }
          rest = rest[rest.index(after: end)...]
        } else if scalar == "\r" || scalar == "\n" {
          rest = Substring(String(String.UnicodeScalarView(rest.unicodeScalars.dropFirst())))
          if scalar == "\r" { column = 0 } else { row += 1 }
          if row == rows.count { rows.append([]) }
        } else {
          let character = rest.removeFirst()
          for part in 0..<max(character.columnCount, 1) {
            if column < rows[row].count {
              rows[row][column] = part == 0 ? character : "_"
            } else {
              rows[row].append(part == 0 ? character : "_")
            }
            column += 1
          }
        }
      }
    }
  }

  @Test func theScreenFollowsTheMessage() {
    var (screen, terminal, editor) = (EditorScreen(), SmallTerminal(), LineEditor(history: ["one\ntwo"]))
    let keys: [Key] = [
      .paste("hello 你好你好你好 end"), .home, .right, .text("x"), .newline, .end, .up, .up, .backspace,
      .control("U"), .paste(String(repeating: "z", count: 30)),
      .control("A"), .delete, .control("K"), .text("ok"),
    ]
    for key in keys {
      _ = editor.handle(key)
      let layout = EditorLayout(prompt: "> ", characters: editor.characters, cursor: editor.cursor, width: 12)
      terminal.show(screen.update(to: layout, height: 24))
      let shown = terminal.rows.map { String($0.filter { $0 != "_" }) }
      #expect(
        shown == layout.rows && terminal.row == layout.cursorRow && terminal.column == layout.cursorColumn)
    }
    #expect(editor.text == "one\nok")
  }

  @Test func aMessageHigherThanTheScreenShowsTheCursor() {
    var screen = EditorScreen()
    let text = (0..<20).map(String.init).joined(separator: "\n")
    let layout = EditorLayout(prompt: "> ", characters: Array(text), cursor: text.count, width: 20)
    let drawn = screen.update(to: layout, height: 5)
    #expect(drawn.contains("19") && drawn.contains("15") && !drawn.contains("14"))
    let top = EditorLayout(prompt: "> ", characters: Array(text), cursor: 0, width: 20)
    #expect(screen.update(to: top, height: 5).contains("> 0"))
  }

  @Test func historyIsKeptAndPrivate() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let path = folder + "/state/inkstone/history"
      var history = InputHistory(path: path)
      for text in ["a", "a", " ", "two\nlines \\n", "c"] { history.append(text) }
      #expect(history.entries == ["a", "two\nlines \\n", "c"])
      #expect(InputHistory(path: path).entries == history.entries)
      let mode = try FileManager.default.attributesOfItem(atPath: path)[.posixPermissions] as? Int
      #expect(mode == 0o600)
      try Data((0..<2500).map { "line \($0)\n" }.joined().utf8).write(to: URL(filePath: path))
      chmod(path, 0o600)
      #expect(InputHistory(path: path).entries.count == 1000)
      #expect(InputHistory(path: path).entries.last == "line 2499")
      // What cannot be kept is no reason to stop.
      var nowhere = InputHistory(path: "/dev/null/history")
      nowhere.append("x")
      #expect(nowhere.entries == ["x"])
    }
  }
}

/// The program at a terminal.
@Suite struct ChatTerminalTests {
  private let shown = "\u{1B}[?2004h"

  @Test func aMessageIsTypedAndAnswered() throws {
    try CommandRunner.withTemporaryFolder { folder in
      try ChatModelFolder.write(to: folder + "/model", from: CommandRunner.plain)
      let session = try TerminalSession(["chat", "-m", folder + "/model", "-n", "3", "-v"], state: folder)
      #expect(session.wait(for: shown), "\(session.shown)")
      session.type("hx\u{7F}i\r")
      #expect(session.wait(for: "wrote 3"), "\(session.shown)")
      #expect(session.wait(for: shown))
      // What was typed comes back, and is edited before it is sent.
      session.type("\u{1B}[A!\r")
      #expect(session.wait(for: "wrote 3"))
      #expect(session.wait(for: shown))
      session.type("gone\u{3}/save \(folder)/saved.json\r")
      #expect(session.wait(for: "messages are in"), "\(session.shown)")
      // Typed ahead, before the prompt is there again.
      session.type("\u{1B}[200~two\nlines\u{1B}[201~\r")
      #expect(session.wait(for: "wrote 3"))
      session.type("/nope\r")
      #expect(session.wait(for: "there is no command"))
      #expect(session.wait(for: shown))
      session.type("\u{4}")
      #expect(session.finish() == 0)
      let saved = try String(contentsOfFile: folder + "/saved.json", encoding: .utf8)
      #expect(saved.contains("\"hi\"") && saved.contains("\"hi!\""))
      let history = try String(contentsOfFile: folder + "/inkstone/history", encoding: .utf8)
      #expect(history == "hi\nhi!\n/save \(folder)/saved.json\ntwo\\nlines\n/nope\n")
    }
  }

  /// Ctrl-C, as the terminal's signal, ends the answer; the program takes the next message.
  @Test func anInterruptedAnswerIsNotTheEnd() throws {
    try CommandRunner.withTemporaryFolder { folder in
      try InterruptionTests.writeSlowModel(folder, vocabulary: 101)
      try ChatModelFolder.writeTokenizer(to: folder)
      let session = try TerminalSession(
        ["chat", "-m", folder, "--engine", "naive", "--ignore-eos", "-v", "--no-history"], state: folder)
      #expect(session.wait(for: shown), "\(session.shown)")
      session.type("a\r")
      #expect(session.wait(for: "\u{1B}[?2004l"))
      Thread.sleep(forTimeInterval: 0.5)
      kill(session.process.processIdentifier, SIGINT)
      #expect(session.wait(for: "wrote"), "\(session.shown)")
      #expect(session.wait(for: shown))
      session.type("/stats\r")
      #expect(session.wait(for: "(interrupted)"), "\(session.shown)")
      // On an empty line it leaves; before the line is there, the key would be the terminal's to handle.
      #expect(session.wait(for: shown))
      session.type("\u{3}")
      #expect(session.finish() == 0)
      #expect(!FileManager.default.fileExists(atPath: folder + "/inkstone"))
    }
  }
}
