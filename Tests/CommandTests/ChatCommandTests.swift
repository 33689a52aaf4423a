import Foundation
import JSON
import Testing
import _TestSupport

@Suite struct ChatCommandTests {
  private func withModel<Result>(
    template: String? = ChatModelFolder.template, _ body: (String) throws -> Result
  ) throws -> Result {
    try CommandRunner.withTemporaryFolder { folder in
      try ChatModelFolder.write(to: folder + "/model", from: CommandRunner.plain, template: template)
      return try body(folder)
    }
  }

  private func run(_ arguments: [String], input: String? = nil) throws -> CommandRunner.Outcome {
    try CommandRunner.run(arguments, input: input.map { Data($0.utf8) })
  }

  private func promptTokens(_ arguments: [String], input: String? = nil) throws -> [Int] {
    let outcome = try run(["generate", "--json", "-n", "1"] + arguments, input: input)
    #expect(outcome.status == 0, "\(outcome.errors)")
    return try #require(JSONValue.parse(outcome.output)["prompt_ids"]?.array).compactMap(\.int)
  }

  private func text(_ tokens: [Int], _ model: String) throws -> String {
    let ids = tokens.map(String.init).joined(separator: ",")
    return try run(["detokenize", "-m", model, ids]).output.trimmingCharacters(in: .newlines)
  }

  private func prompt(_ model: String, _ arguments: [String], input: String? = nil) throws -> String {
    try text(promptTokens(["-m", model] + arguments, input: input), model)
  }

  // MARK: generate

  @Test func generateLaysConversationsOut() throws {
    try withModel { folder in
      let model = folder + "/model"
      #expect(try prompt(model, ["hi"]) == "hi")
      #expect(try prompt(model, ["hi", "--system", "S"]) == "S<e><u>hi<e><a>")
      #expect(try prompt(model, ["hi", "--chat-template", "default"]) == "<u>hi<e><a>")
      #expect(
        try prompt(model, ["hi", "--chat-template", "{{ messages[0].content }}{{ eos_token }}"]) == "hi<e>")
      try Data("[{{ messages | length }}]".utf8).write(to: URL(filePath: folder + "/t.jinja"))
      #expect(try prompt(model, ["hi", "--chat-template", folder + "/t.jinja", "--system", "x"]) == "[2]")
      #expect(
        try prompt(model, ["hi", "--system", "S", "--chat-template-kwargs", #"{"shout": "!"}"#])
          == "S<e><u>hi<e><a>!")
      let messages = #"[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]"#
      try Data(messages.utf8).write(to: URL(filePath: folder + "/m.json"))
      #expect(try prompt(model, ["--messages", folder + "/m.json"]) == "<u>a<e><a>b<e><a>")
      #expect(try prompt(model, ["--messages", folder + "/m.json", "c"]) == "<u>a<e><a>b<e><u>c<e><a>")
    }
  }

  @Test func generateFillsTemplatesAndShowsExamples() throws {
    try withModel { folder in
      let model = folder + "/model"
      func write(_ text: String, _ name: String) throws -> String {
        try Data(text.utf8).write(to: URL(filePath: folder + "/" + name))
        return folder + "/" + name
      }
      let template = try write("{% if lang == 'zh' %}Z{% endif %}[{{ text }}]\n", "summary.txt")
      let article = try write("long\ntext\n", "article.txt")
      #expect(
        try prompt(model, ["--template", template, "--set", "text=@\(article)", "--set", "lang=zh"])
          == "Z[long\ntext]")
      #expect(
        try prompt(model, ["--template", template, "--set", "text=@@a=b", "--set", "lang=en"]) == "[@a=b]")
      let asking = try write("Q {{ prompt }} A", "q.txt")
      #expect(try prompt(model, ["--template", asking, "hi"]) == "Q hi A")
      #expect(try prompt(model, ["--template", asking], input: "hi\n") == "Q hi A")
      #expect(try prompt(model, ["--template", asking, "hi", "--system", "S"]) == "S<e><u>Q hi A<e><a>")

      let shots = try write(
        "{\"input\": \"a\", \"output\": \"1\"}\n\n{\"prompt\": \"b\", \"completion\": \"2\"}\n", "s.jsonl")
      #expect(try prompt(model, ["--examples", shots, "c"]) == "a\n1\n\nb\n2\n\nc")
      #expect(
        try prompt(model, ["--examples", shots, "c", "--chat-template", "default"])
          == "<u>a<e><a>1<e><u>b<e><a>2<e><u>c<e><a>")
      let list = try write(#"[{"instruction": "I", "input": "a", "output": "1"}]"#, "s.json")
      let own = try write(
        "{% for e in examples %}{{ e.input }}>{{ e.output }};{% endfor %}{{ prompt }}>", "own.txt")
      #expect(try prompt(model, ["--template", own, "--examples", list, "c"]) == "I\na>1;c>")
    }
  }

  @Test func whatDoesNotFitIsNamed() throws {
    try withModel { folder in
      let model = folder + "/model"
      func write(_ text: String, _ name: String) throws -> String {
        try Data(text.utf8).write(to: URL(filePath: folder + "/" + name))
        return folder + "/" + name
      }
      let template = try write("{{ text }} {{ lang }}", "t.txt")
      let bad = try write("{% if %}", "bad.txt")
      let shots = try write("{\"input\": \"a\"}\n", "s.jsonl")
      let cases: [([String], String)] = [
        (["--template", template, "--set", "text=x"], "the field {{ lang }} is not given"),
        (
          ["--template", template, "--set", "text=x", "--set", "q=1"],
          "there is no field {{ q }}; it has lang, text"
        ),
        (
          ["--template", template, "--set", "text=x", "--set", "lang=y", "extra"],
          "there is no field {{ prompt }}"
        ),
        (["--template", template, "--set", "text"], "must be name=text"),
        (["--template", template, "--set", "a=1", "--set", "a=2"], "more than once"),
        (["--set", "a=1", "x"], "--template"), (["--template", bad], "bad.txt, line 1"),
        (["--template", folder + "/none.txt"], "no such file"),
        (["--template", template, "--set", "text=@\(folder)/none"], "no such file"),
        (["--examples", shots, "x"], "line 1 must be an object"),
        (["--chat-template", "nowhere", "x"], "there is no such file"),
        (["--chat-template", "{{ x", "x"], "--chat-template, line 1"),
        (["--chat-template", "{{ raise_exception('no!') }}", "x"], "no!"),
        (["--chat-template-kwargs", "[]", "--system", "s", "x"], "must be a JSON object"),
        (["--tools", shots, "x"], "add --chat-template default"),
        (["--prompt-ids", "1", "--system", "x"], "--prompt-ids"),
        (["--messages", shots, "x"], "s.jsonl"), (["--system", "s"], "no prompt"),
      ]
      for (arguments, words) in cases {
        let outcome = try run(["generate", "-m", model, "-n", "1"] + arguments)
        #expect(outcome.status == 2 && outcome.output.isEmpty, "\(arguments)")
        #expect(outcome.errors.contains(words), "\(arguments): \(outcome.errors)")
        #expect(!outcome.errorLine.contains("\n"), "\(arguments): \(outcome.errors)")
      }
    }
  }

  @Test func aModelWithoutTemplateSaysSo() throws {
    try withModel(template: nil) { folder in
      let outcome = try run(["generate", "-m", folder + "/model", "hi", "--system", "S", "-n", "1", "--json"])
      #expect(outcome.status == 0 && outcome.errors.contains("has no chat template"))
      let ids = try #require(JSONValue.parse(outcome.output)["prompt_ids"]?.array).compactMap(\.int)
      #expect(try text(ids, folder + "/model") == "S\nhi")
      let chat = try run(["chat", "-m", folder + "/model", "-n", "2"], input: "hi\n")
      #expect(chat.status == 0 && chat.errors.contains("has no chat template"))
    }
  }

  // MARK: chat without a terminal

  @Test func everyLineIsAMessage() throws {
    try withModel { folder in
      let model = folder + "/model"
      let saved = folder + "/saved.json"
      let input = "hi\n\n//x\r\n/save \(saved)\n/undo\n/retry\n/stats\n/exit\nnever\n"
      let outcome = try run(["chat", "-m", model, "-n", "4", "--system", "S"], input: input)
      #expect(outcome.status == 0, "\(outcome.errors)")
      let messages = try #require(JSONValue.parse(String(contentsOfFile: saved, encoding: .utf8)).array)
      #expect(messages.map { $0["role"]?.string } == ["system", "user", "assistant", "user", "assistant"])
      #expect(messages[3]["content"] == "/x")
      // Three answers: two messages, and the first of them again, which is the same.
      let answers = [messages[2], messages[4], messages[2]].map { ($0["content"]?.string ?? "") + "\n" }
      #expect(outcome.output == answers.joined())
      #expect(outcome.errors.contains("3 messages"))

      // Saved messages can be gone on from, and lead to the same answer.
      let loaded = try run(
        ["chat", "-m", model, "-n", "4", "-q"], input: "/load \(saved)\n/retry\n/reset\n/system\nhi\n")
      #expect(loaded.status == 0 && loaded.output.hasPrefix(answers[1]), "\(loaded.errors)")
      let whole = try run(["chat", "-m", model, "-n", "4", "-q", "--no-stream"], input: "hi\n")
      #expect(loaded.output == answers[1] + whole.output)
    }
  }

  @Test func mistakesEndTheProgramWithAWord() throws {
    try withModel { folder in
      let model = folder + "/model"
      for (input, words) in [
        ("/nope\n", "there is no command /nope"), ("/undo\n", "no message"), ("/retry\n", "no message"),
        ("/save\n", "name of a file"), ("/load \(folder)/none\n", "no such file"), ("\u{FF}", ""),
        (String(repeating: "x", count: 60) + "\n", "the context holds 48"),
      ] where !words.isEmpty {
        let outcome = try run(["chat", "-m", model, "-n", "2"], input: input)
        #expect(outcome.status == 2 && outcome.errors.contains(words), "\(input): \(outcome.errors)")
      }
      let bytes = try CommandRunner.run(["chat", "-m", model], input: Data([0xFF, 0x0A]))
      #expect(bytes.status == 2 && bytes.errors.contains("not UTF-8"))
      let shifted = try run(
        ["chat", "-m", model, "-n", "8", "--context-shift", "--ignore-eos"],
        input: "0123456789\nabcdefghij\nxyz\n")
      #expect(shifted.status == 0 && shifted.errors.contains("were left out"), "\(shifted.errors)")
      #expect(try run(["chat", "-m", model, "-c", "1"]).status == 2)
      #expect(try run(["chat", "-m", model], input: "").status == 0)
    }
  }
}
