import Checkpoints
import Foundation
import JSON
import Testing
import _TestSupport

/// `inkstone eval` as a whole; the measures themselves are EvaluationTests'.
@Suite struct EvalTests {
  private func json(_ arguments: [String]) throws -> JSONValue {
    let outcome = try CommandRunner.run(["eval", "--json"] + arguments)
    #expect(outcome.status == 0, "\(arguments): \(outcome.errors)")
    return try JSONValue.parse(outcome.output)
  }

  private func write(_ text: String, _ path: String) throws {
    try Data(text.utf8).write(to: URL(filePath: path))
  }

  @Test func samplesThatAreThereNeedNoModel() throws {
    let root = URL(filePath: #filePath).deletingLastPathComponent().appending(path: "../Reference/Evaluation")
    let sets = try #require(
      try JSONDocument.load(root.appending(path: "samples.json").standardizedFileURL.path)["sets"]?.array)
    // The set with an empty text, which stands on no line, is EvaluationTests'.
    for record in sets where record["texts"]?.array?.contains("") == false {
      try CommandRunner.withTemporaryFolder { folder in
        func lines(_ key: String) throws -> String {
          try #require(record[key]?.array).map { (["text": $0] as JSONValue).text() + "\n" }.joined()
        }
        try write(try lines("texts"), folder + "/samples.jsonl")
        try write(try lines("documents"), folder + "/training.jsonl")
        let gram = try #require(record["gram"]?.int)
        let report = try json([
          "--samples", folder + "/samples.jsonl", "--training-text", folder + "/training.jsonl", "--gram",
          "\(gram)",
        ])
        #expect(report["model"]?.isNull == true && report["texts"] == [])
        let samples = try #require(report["samples"])
        #expect(
          samples.object?.members.map(\.key) == [
            "count", "units", "distinct", "repetition", "self_bleu", "loop_rate", "broken_rate", "gram",
            "verbatim_share", "longest_match", "texts",
          ])
        let expected = record["self_bleu"]?.double
        #expect(samples["self_bleu"]?.double.map { abs($0 - expected!) < 1e-12 } ?? (expected == nil))
        let overlap = try #require(record["overlap"]?.array)
        #expect(
          samples["longest_match"]?.int == overlap.map { $0["longest"]!.string!.unicodeScalars.count }.max())
        var (found, total) = (0.0, 0.0)
        for entry in overlap {
          guard let share = entry["share"]?.double, let length = entry["length"]?.int else { continue }
          found += share * Double(length - gram + 1)
          total += Double(length - gram + 1)
        }
        #expect(total == 0 || abs(samples["verbatim_share"]!.double! - found / total) < 1e-12)
      }
    }
  }

  @Test func linesOfATextGoOnInTheNext() throws {
    try CommandRunner.withTemporaryFolder { folder in
      try write("one two three four five\n", folder + "/samples.txt")
      try write("zero one two\n  three four\n\nsix\n", folder + "/training.txt")
      let report = try json([
        "--samples", folder + "/samples.txt", "--training-text", folder + "/training.txt", "--gram", "10",
      ])
      #expect(report["samples"]?["texts"]?.array?.first?["longest_match"] == "onetwothreefour")
      // 19 characters make 10 n-grams, of which the first 6 lie in the 15 that are found.
      #expect(report["samples"]?["verbatim_share"] == 0.6)
      let table = try CommandRunner.run([
        "eval", "--samples", folder + "/samples.txt", "--training-text", folder + "/training.txt",
      ])
      #expect(table.status == 0, "\(table.errors)")
      #expect(
        table.output.split(separator: "\n").contains {
          $0.hasPrefix("distinct-1 ") && $0.hasSuffix(" 1.000")
        },
        "\(table.output)")
      #expect(table.output.contains("verbatim, 20-grams") && table.output.contains("longest copy"))
    }
  }

  @Test func textsAndQuestions() throws {
    try CommandRunner.withTemporaryFolder { folder in
      try ChatModelFolder.write(to: folder + "/model", from: CommandRunner.plain)
      try write("Once upon a time", folder + "/one.txt")
      try write("{\"text\": \"Once upon a time\"}\n{\"text\": \"x\"}\n", folder + "/two.jsonl")
      try write(
        """
        {"question": "Which?", "choices": ["a", "bcd"], "answer": 1}
        {"text": "Once upon", "target": "a"}

        """, folder + "/q.jsonl")
      let flags = [
        "-m", folder + "/model", "--text", "a=\(folder)/one.txt", "--text", folder + "/two.jsonl",
        "--questions",
        "exam=\(folder)/q.jsonl",
      ]
      let report = try json(flags)
      let texts = try #require(report["texts"]?.array)
      #expect(texts.map { $0["name"] } == ["a", "two.jsonl"])
      #expect(
        texts[0].object?.members.map(\.key) == [
          "name", "documents", "tokens", "bytes", "characters", "nll", "stderr", "perplexity",
          "bits_per_byte",
          "bits_per_character",
        ])
      #expect(texts[0]["tokens"] == 16 && texts[1]["tokens"] == 17 && texts[1]["documents"] == 2)
      // The model's end token stands before the first, as it does here for `score`.
      let ids = try JSONValue.parse(
        CommandRunner.run(["tokenize", "-m", folder + "/model", "Once upon a time", "--json"]).output)
      let list = try #require(ids["ids"]?.array).compactMap(\.int).map(String.init).joined(separator: ",")
      let score = try JSONValue.parse(
        CommandRunner.run(["score", "-m", folder + "/model", "--prompt-ids", "72," + list, "--json"]).output)
      let nll = try #require(score["nll"]?.double)
      #expect(abs(texts[0]["nll"]!.double! * 16 - nll) < 1e-4)
      #expect(abs(texts[0]["bits_per_byte"]!.double! - nll / log(2) / 16) < 1e-5)

      let questions = try #require(report["questions"]?.array?.first)
      #expect(questions["choice"]?["count"] == 1 && questions["cloze"]?["count"] == 1)
      #expect(report["samples"]?.isNull == true)
      let table = try CommandRunner.run(["eval"] + flags)
      #expect(table.output.contains("bits/byte") && table.output.contains("acc_norm"), "\(table.output)")
      let written = try CommandRunner.run(["eval", "-o", folder + "/report.txt"] + flags)
      #expect(written.output.isEmpty)
      #expect(try String(contentsOfFile: folder + "/report.txt", encoding: .utf8) == table.output)
    }
  }

  @Test func samplesDependOnSeedAndPromptAlone() throws {
    try CommandRunner.withTemporaryFolder { folder in
      try ChatModelFolder.write(to: folder + "/model", from: CommandRunner.plain)
      try write("ab\ncd\n", folder + "/prompts.txt")
      func texts(_ flags: [String]) throws -> [JSONValue] {
        let report = try json(["-m", folder + "/model", "-n", "12", "--samples-per-prompt", "2"] + flags)
        return try #require(report["samples"]?["texts"]?.array)
      }
      let first = try texts(["--prompts", folder + "/prompts.txt"])
      #expect(first.map { $0["prompt"] } == ["ab", "ab", "cd", "cd"])
      #expect(first[0]["text"] != first[1]["text"])
      #expect(try texts(["--prompt", "ab", "--prompt", "cd", "-t", "1"]) == first)
      #expect(try texts(["--prompts", folder + "/prompts.txt", "--seed", "5"]) != first)
      // As the same seed gives it to generate.
      let generated = try JSONValue.parse(
        CommandRunner.run([
          "generate", "-m", folder + "/model", "cd", "-n", "12", "--do-sample", "--seed", "1",
          "--num-return-sequences", "2", "--json",
        ]).output)
      #expect(generated["sequences"]?.array?.map { $0["text"] } == first[2...].map { $0["text"] })
    }
  }

  @Test(
    arguments: [
      ([], ["nothing to measure"]), (["--text", "a=/nonexistent/t.txt"], ["/nonexistent/t.txt"]),
      (["--questions", "/nonexistent/q.jsonl"], ["/nonexistent/q.jsonl"]),
      (["--training-text", "x"], ["--training-text", "--prompt"]),
      (["--samples", "x", "--prompt", "y"], ["--samples", "--prompt"]),
      (["--samples", "/nonexistent/s.txt"], ["/nonexistent/s.txt"]),
      (["--prompt", "x", "--samples-per-prompt", "0"], ["--samples-per-prompt"]),
      (["--prompt", "x", "--gram", "0"], ["--gram"]),
      (["--prompt", "x", "-m", CommandRunner.plain], ["no tokenizer"]),
      (["--prompt", "x", "--num-return-sequences", "3"], ["--samples-per-prompt"]),
      (["--prompts", "/dev/null", "-m", CommandRunner.plain], ["/dev/null"]),
    ] as [([String], [String])])
  func refuses(flags: [String], words: [String]) throws {
    let outcome = try CommandRunner.run(["eval"] + flags)
    #expect(outcome.status == 2 && !outcome.signaled && outcome.output.isEmpty)
    #expect(outcome.errorLine.split(separator: "\n").count == 1, "\(outcome.errors)")
    for word in words { #expect(outcome.errorLine.contains(word), "\(outcome.errors)") }
  }

  @Test func documentsOfATokenFileAreTexts() throws {
    try CommandRunner.withTemporaryFolder { folder in
      try ChatModelFolder.write(to: folder + "/model", from: CommandRunner.plain)
      let documents = ["Once upon a time", "there was", "a \"quoted\" \\ word", "x"]
      try write(
        documents.map { (["text": .string($0)] as JSONValue).text() + "\n" }.joined(), folder + "/d.jsonl")
      let packed = try CommandRunner.run([
        "data", "pack", folder + "/d.jsonl", "-m", folder + "/model", "-o", folder + "/packed",
        "--validation-fraction", "0",
      ])
      #expect(packed.status == 0, "\(packed.errors)")
      let texts = try CommandRunner.run([
        "detokenize", "-m", folder + "/model", "--tokens", folder + "/packed/train.tokens",
      ])
      #expect(
        try texts.output.split(separator: "\n").map { try JSONValue.parse(String($0))["text"]?.string }
          == documents)
      let other = try CommandRunner.run([
        "detokenize", "-m", folder + "/model", "--tokens", folder + "/packed/train.tokens", "1",
      ])
      #expect(other.status == 2 && other.errors.contains("--tokens"))
    }
  }
}
