import Foundation
import JSON
import Testing
import _TestSupport

/// Prompts from lines of a file, guesses, and caches in files, as a user's shell runs them.
@Suite struct BatchCommandTests {
  private let plain = CommandRunner.plain

  private func lines(_ text: String) throws -> [JSONValue] {
    try text.split(separator: "\n").map { try JSONValue.parse(String($0)) }
  }

  @Test func linesGiveWhatEachGivesAlone() throws {
    let folder = try TemporaryFolder()
    let prompts = [[1, 2, 3], [50], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0], [20, 30]]
    let file = try folder.write(
      prompts.map { "{\"prompt_ids\": \($0), \"id\": 1}\n" }.joined() + "\n", "prompts.jsonl")
    for flags in [
      ["-n", "7"], ["-n", "7", "--temp", "0.8", "--seed", "3", "--num-return-sequences", "2"],
      ["-n", "5", "--num-beams", "3"],
    ] {
      let together = try CommandRunner.run(
        ["generate", "-m", plain, "-f", file, "--batch-size", "3", "--json"] + flags)
      #expect(together.status == 0, "\(together.errors)")
      let documents = try lines(together.output)
      #expect(documents.count == 4)
      for (prompt, document) in zip(prompts, documents) {
        let ids = prompt.map(String.init).joined(separator: ",")
        let alone = try JSONValue.parse(
          try CommandRunner.run(["generate", "-m", plain, "--prompt-ids", ids, "--json"] + flags).output)
        func tokens(_ document: JSONValue) -> [JSONValue?]? {
          document["sequences"]?.array?.map { $0["token_ids"] }
        }
        #expect(document["prompt_ids"] == alone["prompt_ids"])
        #expect(tokens(document) == tokens(alone), "\(flags), \(ids)")
        #expect(document.object?.members.map(\.key) == ["prompt_ids", "sequences", "usage", "timings"])
      }
    }
  }

  @Test func textsComeInTheOrderOfTheLines() throws {
    let folder = try TemporaryFolder()
    let model = folder("model")
    try ChatModelFolder.write(to: model, from: plain)
    let file = try folder.write(
      """
      {"prompt": "Once"}
      {"messages": [{"role": "user", "content": "Hi"}]}
      {"prompt_ids": [3, 4]}

      """, "prompts.jsonl")
    func alone(_ flags: [String]) throws -> String {
      let outcome = try CommandRunner.run(["generate", "-m", model, "-n", "6", "--no-stream"] + flags)
      #expect(outcome.status == 0, "\(outcome.errors)")
      return outcome.output
    }
    let messages = try folder.write("[{\"role\": \"user\", \"content\": \"Hi\"}]", "messages.json")
    let wanted = try [alone(["Once"]), alone(["--messages", messages]), alone(["--prompt-ids", "3,4"])]
    let outcome = try CommandRunner.run(["generate", "-m", model, "-n", "6", "-f", file])
    #expect(outcome.status == 0, "\(outcome.errors)")
    #expect(outcome.output == wanted.joined(separator: "\n"))
    let path = folder("out.txt")
    #expect(try CommandRunner.run(["generate", "-m", model, "-n", "6", "-f", file, "-o", path]).output == "")
    #expect(try String(contentsOfFile: path, encoding: .utf8) == outcome.output)
  }

  @Test(
    arguments: [
      ("{\"prompt_ids\": [1]}\nnonsense\n", [], ["prompts.jsonl:2", "JSON"]),
      ("{\"prompt_ids\": [1]}\n\n{\"text\": \"a\"}\n", [], ["prompts.jsonl:3", "prompt_ids"]),
      ("[1]\n", [], ["prompts.jsonl:1", "object"]),
      ("{\"prompt_ids\": [1], \"prompt\": \"a\"}\n", [], ["prompts.jsonl:1", "prompt and prompt_ids"]),
      ("{\"prompt_ids\": [1, 5000]}\n", [], ["prompts.jsonl:1", "5000"]),
      ("{\"prompt_ids\": [1.5]}\n", [], ["prompts.jsonl:1", "1.5"]),
      ("{\"prompt_ids\": \"1\"}\n", [], ["prompts.jsonl:1", "list"]),
      ("{\"prompt_ids\": []}\n", [], ["prompts.jsonl:1", "no tokens"]),
      ("{\"prompt\": 3}\n", [], ["prompts.jsonl:1", "text"]),
      ("{\"prompt\": \"a\"}\n", [], ["tokenizer", "prompt_ids"]),
      ("\n\n", [], ["prompts.jsonl", "no prompt"]),
      ("{\"prompt_ids\": [1, 2, 3]}\n", ["--max-length", "3"], ["prompts.jsonl:1", "max_length"]),
      ("{\"prompt_ids\": [1]}\n", ["--batch-size", "0"], ["--batch-size", "0"]),
      ("{\"prompt_ids\": [1]}\n", ["--prompt-lookup", "3"], ["--prompt-lookup"]),
      ("{\"prompt_ids\": [1]}\n", ["--prompt-cache", "x"], ["--prompt-cache"]),
    ] as [(String, [String], [String])])
  func refusesLinesInOneLine(text: String, flags: [String], words: [String]) throws {
    let folder = try TemporaryFolder()
    let file = try folder.write(text, "prompts.jsonl")
    let outcome = try CommandRunner.run(["generate", "-m", plain, "-f", file] + flags)
    #expect(outcome.status == 2 && !outcome.signaled && outcome.output.isEmpty)
    #expect(!outcome.errorLine.contains("\n"), "\(outcome.errors)")
    for word in words { #expect(outcome.errorLine.contains(word), "\(outcome.errorLine)") }
  }

  @Test(
    arguments: [
      (["--batch-size", "4"], ["--batch-size", "-f"]), (["--prompt-lookup", "0"], ["--prompt-lookup", "0"]),
      (["--draft-max", "4"], ["--draft-max", "-md"]),
      (["--prompt-lookup", "4", "--num-beams", "2"], ["--prompt-lookup", "--num-beams"]),
      (["--prompt-lookup", "4", "-md", "x"], ["--prompt-lookup", "-md"]),
      (["-md", "/nonexistent/model"], ["/nonexistent/model"]),
      (["-md", CommandRunner.fixtures + "/gpt2-two-token-vocabulary"], ["vocabulary", "2"]),
      (["-ctk", "q4_0"], ["q4_0"]), (["-tb", "0"], ["--threads-batch", "0"]),
    ] as [([String], [String])])
  func refusesFlagsInOneLine(flags: [String], words: [String]) throws {
    let outcome = try CommandRunner.run(["generate", "-m", plain, "--prompt-ids", "1,2", "-n", "2"] + flags)
    #expect(outcome.status == 2 && !outcome.signaled && outcome.output.isEmpty)
    #expect(!outcome.errorLine.contains("\n"), "\(outcome.errors)")
    for word in words { #expect(outcome.errorLine.contains(word), "\(flags): \(outcome.errorLine)") }
  }

  @Test func guessesAreCountedAndChangeNothing() throws {
    func document(_ flags: [String]) throws -> JSONValue {
      let outcome = try CommandRunner.run(
        ["generate", "-m", plain, "--prompt-ids", "5,6,5,6,5,6", "-n", "30", "--ignore-eos", "--json"] + flags
      )
      #expect(outcome.status == 0, "\(outcome.errors)")
      return try JSONValue.parse(outcome.output)
    }
    let wanted = try document([])["sequences"]
    for flags in [
      ["--prompt-lookup", "5"], ["-md", plain], ["--draft-model", plain, "--draft-max", "3", "-tb", "1"],
    ] {
      let found = try document(flags)
      #expect(found["sequences"] == wanted, "\(flags)")
      let (drafted, accepted) = (
        found["timings"]?["draft_n"]?.int, found["timings"]?["draft_n_accepted"]?.int
      )
      #expect(drafted != nil && accepted != nil && accepted! <= drafted!)
      if flags[0] != "--prompt-lookup" { #expect(accepted! > 0) }
    }
  }

  @Test func promptsAreKeptInFiles() throws {
    let folder = try TemporaryFolder()
    let path = folder("prompt.kv")
    func run(_ ids: String, _ flags: [String] = []) throws -> (JSONValue, String) {
      let outcome = try CommandRunner.run(
        ["generate", "-m", plain, "--prompt-ids", ids, "-n", "4", "--json"] + flags)
      #expect(outcome.status == 0, "\(outcome.errors)")
      return (try JSONValue.parse(outcome.output), outcome.errors)
    }
    let cache = ["--prompt-cache", path]
    #expect(try run("1,2,3,4,5", cache).0["usage"]?["cached_tokens"] == 0)
    let (again, errors) = try run("1,2,3,4,5", cache)
    #expect(again["usage"]?["cached_tokens"] == 4 && errors.isEmpty)
    let (other, _) = try run("1,2,3,9,9", cache + ["-v"])
    #expect(other["usage"]?["cached_tokens"] == 3)
    #expect(try run("1,2,3,9,9").0["sequences"] == other["sequences"])
    // Damage is told, and does no harm.
    try folder.write([UInt8](try Data(contentsOf: URL(filePath: path)).dropLast(3)), "prompt.kv")
    let (mended, note) = try run("1,2,3,9,9", cache)
    #expect(
      mended["sequences"] == other["sequences"] && note.contains("prompt.kv") && note.contains("damaged"))
    #expect(try run("1,2,3,9,9", cache + ["-ctk", "f16"]).1.contains("f32"))
    let refused = try CommandRunner.run(
      ["generate", "-m", plain, "--prompt-ids", "1", "-n", "2", "--prompt-cache", plain + "/config.json"])
    #expect(refused.status == 2 && refused.errorLine.contains("config.json"))
  }

  @Test func benchmarksDecodeTogether() throws {
    let outcome = try CommandRunner.run([
      "bench", "--shape", "layers=1,heads=2,channels=16,vocabulary=50,context=64", "-p", "0", "-n", "4",
      "-np",
      "1,3", "--num-beams", "3", "--no-repeat-ngram-size", "2", "--prompt-lookup", "4", "-r", "1", "-t", "1",
      "-ctk", "f16", "-o", "json",
    ])
    #expect(outcome.status == 0, "\(outcome.errors)")
    let records = try #require(try JSONValue.parse(outcome.output).array)
    #expect(
      records.map { $0["test"]?.string } == [
        "tg4", "tg4 x3", "tg4, 3 beams, no 2-gram twice", "tg4, greedy", "tg4, look-up of 4",
      ])
    #expect(records.map { $0["n_parallel"]?.int } == [1, 3, 1, 1, 1])
    #expect(records.map { $0["n_beams"]?.int } == [1, 1, 3, 1, 1])
    #expect(records.allSatisfy { ($0["avg_ts"]?.double ?? 0) > 0 && $0["type_k"]?.string == "f16" })
  }
}
