import Checkpoints
import Foundation
import JSON
import Testing

@Suite struct DataTests {
  /// Runs the program and gives the one JSON object that it prints.
  private func object(_ arguments: [String]) throws -> JSONValue {
    let outcome = try CommandRunner.run(arguments)
    #expect(outcome.status == 0, "\(arguments): \(outcome.errors)")
    return try JSONValue.parse(outcome.output)
  }

  private func write(_ text: String, _ path: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path))
  }

  private static let text = try! String(
    contentsOfFile: CommandRunner.fixtures + "/../Corpora/text.txt", encoding: .utf8)

  @Test func aTokenizerIsLearnedAndItsTokensPacked() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let text = folder + "/text.txt"
      try write(Self.text, text)
      let learned = try object([
        "tokenizer", "train", text, "--vocab_size", "400", "--special-tokens", "<|endoftext|>", "<pad>", "-o",
        folder + "/tokenizer", "--json",
      ])
      #expect(learned["vocab_size"] == 400 && learned["merges"] == 142)
      #expect(learned["bytes"]?.int == Self.text.utf8.count)

      let packed = try object([
        "data", "pack", text, "-m", folder + "/tokenizer", "-o", folder + "/packed", "--validation-fraction",
        "0.3",
        "--json",
      ])
      #expect(packed["end_of_text"] == 0 && packed["vocab_size"] == 400)
      let documents = try ["train", "validation"].map { try #require(packed[$0]?["documents"]?.int) }
      #expect(documents.allSatisfy { $0 > 0 })
      // A line that is not empty is a document.
      let lines = Data(Self.text.utf8).split(separator: 0x0A).filter { $0 != Data([0x0D]) }
      #expect(documents.reduce(0, +) == lines.count)
      let tokens = try #require(packed["train"]?["tokens"]?.int)
      #expect(try readFile(folder + "/packed/train.tokens").count == 128 + 2 * tokens)
      #expect(try readFile(folder + "/packed/train.tokens.index").count == 64 + 8 * documents[0])
    }
  }

  @Test func charactersAndTheTailAreNanoGPTsData() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let text = folder + "/play.txt"
      try write("To be,\nor not\n", text)
      _ = try object(["tokenizer", "train", text, "--model", "characters", "-o", folder + "/c", "--json"])
      let packed = try object([
        "data", "pack", text, "--tokenizer", folder + "/c", "-o", folder + "/p", "--documents", "file",
        "--validation-fraction", "0.25", "--split", "tail", "--json", "-q",
      ])
      #expect(packed["end_of_text"] == .null)
      #expect(packed["train"]?["tokens"] == 10 && packed["validation"]?["tokens"] == 4)
      // Characters in the order of their code points: \n, space, comma, T, b, e, n, o, r, t.
      let train = try readFile(folder + "/p/train.tokens")[128...]
      #expect(train == [3, 0, 7, 0, 1, 0, 4, 0, 5, 0, 2, 0, 0, 0, 7, 0, 8, 0, 1, 0])
      #expect(try readFile(folder + "/p/validation.tokens")[128...] == [6, 0, 7, 0, 9, 0, 0, 0])
    }
  }

  @Test func documentsAreCleanedFilteredAndDeduplicated() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let input = folder + "/in.jsonl"
      try write(
        """
        {"id": 1, "text": "<p>The first   document &amp; more</p>"}
        {"id": 2, "text": "The first document & more"}
        {"id": 3, "text": "第三个文档，全角ＡＢＣ"}

        """, input)
      let clean = try CommandRunner.run([
        "data", "clean", input, "-o", folder + "/clean.jsonl.gz", "--report", folder + "/r.json",
      ])
      #expect(clean.status == 0 && clean.output.isEmpty && clean.errors.contains("changed by html"))
      let report = try JSONDocument.load(folder + "/r.json")
      #expect(report["command"] == "clean" && report["read"]?["documents"] == 3)
      #expect(report["steps"]?.array?.first?["documents_changed"] == 1)

      let unique = try CommandRunner.run([
        "data", "dedup", folder + "/clean.jsonl.gz", "--clusters", folder + "/c.jsonl", "-q",
      ])
      #expect(unique.status == 0, "\(unique.errors)")
      #expect(
        unique.output
          == "{\"text\": \"The first document & more\"}\n{\"text\": \"第三个文档，全角ABC\"}\n"
          .replacing("{\"text\": \"The", with: "{\"id\": 1, \"text\": \"The")
          .replacing("{\"text\": \"第", with: "{\"id\": 3, \"text\": \"第"))
      #expect(try String(contentsOfFile: folder + "/c.jsonl", encoding: .utf8) == "{\"cluster\": [0, 1]}\n")

      let chinese = try CommandRunner.run(
        ["data", "filter", "--documents", "jsonl", "--rules", "none", "--language", "zh", "-q"],
        input: Data(unique.output.utf8))
      #expect(chinese.status == 0 && chinese.output.contains("第三个文档") && !chinese.output.contains("first"))
      let none = try CommandRunner.run(["data", "filter", folder + "/clean.jsonl.gz"])
      #expect(none.status == 0 && none.output.isEmpty && none.errors.contains("removed by no-lines-left"))
    }
  }

  @Test func pipesAreReadAsFilesAre() throws {
    let outcome = try CommandRunner.run(
      ["data", "dedup", "--method", "exact", "-q"], input: Data("b\na\nb\n".utf8))
    #expect(outcome.status == 0 && outcome.output == "b\na\n")
    try CommandRunner.withTemporaryFolder { folder in
      let learned = try CommandRunner.run(
        ["tokenizer", "train", "-", "--vocab-size", "258", "-o", folder, "-q"], input: Data("aa aa\n".utf8))
      #expect(learned.status == 0, "\(learned.errors)")
      #expect(try JSONDocument.load(folder + "/tokenizer.json")["model"]?["merges"] == [["a", "a"]])
    }
  }

  @Test func badUseAndBadInputAreOneLineAndStatusTwo() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let (good, bad, empty) = (folder + "/good.txt", folder + "/bad.txt", folder + "/empty.txt")
      try write("some text\n", good)
      try Data([0x61, 0x0A, 0x62, 0xFF, 0x0A]).write(to: URL(filePath: bad))
      try write("", empty)
      let tokenizer = folder + "/tokenizer"
      #expect(
        try CommandRunner.run(["tokenizer", "train", good, "--vocab-size", "257", "-o", tokenizer, "-q"])
          .status == 0)
      let cases: [([String], String)] = [
        (["tokenizer", "train", folder + "/absent", "-o", tokenizer], "absent"),
        (["tokenizer", "train", folder, "-o", tokenizer], "is a folder"),
        (["tokenizer", "train", empty, "-o", tokenizer], "empty"),
        (["tokenizer", "train", bad, "-o", tokenizer], "bad.txt, line 2"),
        (["tokenizer", "train", good, "-o", good], "good.txt"),
        (["tokenizer", "train", good, "--vocab-size", "9", "-o", tokenizer], "no room"),
        (["tokenizer", "train", good, "--pattern", "(", "-o", tokenizer], "the pattern ("),
        (["data", "clean", bad], "bad.txt, line 2"), (["data", "dedup", bad], "bad.txt, line 2"),
        (["data", "filter", bad], "bad.txt, line 2"), (["data", "clean", empty], "empty.txt"),
        (["data", "pack", bad, "-m", tokenizer, "-o", folder + "/p"], "bad.txt, line 2"),
        (["data", "pack", empty, "-m", tokenizer, "-o", folder + "/p"], "empty.txt"),
        (["data", "pack", good, "-m", folder + "/absent", "-o", folder + "/p"], "absent"),
        (
          ["data", "pack", good, "-m", tokenizer, "-o", folder + "/p", "--end-of-text", "<x>"], "no token <x>"
        ),
        (
          ["data", "pack", good, "-m", tokenizer, "-o", folder + "/p", "--validation-fraction", "1"],
          "below 1"
        ),
        (["data", "clean", good, "-o", folder + "/absent/x"], "absent"),
        (["data", "clean", good, "--only", "soap"], "no step soap"),
        (["data", "clean", good, "--documents", "jsonl"], "line 1: not valid JSON"),
        (["data", "dedup", good, "--threshold", "7"], "threshold"),
        (["data", "filter", good, "--limit", "min-word=3"], "names no limit"),
        (["data", "filter", good, "--language", "xx"], "xx is not known"),
      ]
      for (arguments, words) in cases {
        let outcome = try CommandRunner.run(arguments)
        #expect(outcome.status == 2 && !outcome.signaled, "\(arguments)")
        #expect(outcome.errorLine.contains(words), "\(arguments): \(outcome.errors)")
        #expect(
          !outcome.errorLine.contains("\n") && outcome.output.isEmpty, "\(arguments): \(outcome.errors)")
      }
      #expect((try? FileManager.default.contentsOfDirectory(atPath: folder + "/p")) ?? [] == [])
    }
  }
}
