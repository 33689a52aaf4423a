import Foundation
import JSON
import Testing

/// `generate` with post-processing, on a tiny model with a vocabulary of words.
@Suite struct PostProcessingCommandTests {
  /// A model whose 101 tokens are words, so that what it writes is known from the ids.
  private func withModel(_ body: (String) throws -> Void) throws {
    try CommandRunner.withTemporaryFolder { folder in
      for name in ["config.json", "generation_config.json", "model.safetensors"] {
        try FileManager.default.copyItem(
          atPath: "\(CommandRunner.plain)/\(name)", toPath: "\(folder)/\(name)")
      }
      let pieces = ["你好,", "世界.", "今天", "天气 ", "很好!", "cat", " ass ", "</s> "]
      let vocabulary = (0..<101).map {
        "\"\(pieces[$0 % pieces.count])\($0 < pieces.count ? "" : "\($0)")\": \($0)"
      }
      let text = """
        {"version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
         "pre_tokenizer": null, "post_processor": null, "decoder": {"type": "Fuse"},
         "model": {"type": "WordLevel", "unk_token": "你好,", "vocab": {\(vocabulary.joined(separator: ", "))}}}
        """
      try Data(text.utf8).write(to: URL(filePath: folder + "/tokenizer.json"))
      try body(folder)
    }
  }

  private func sequence(_ arguments: [String]) throws -> JSONValue {
    let outcome = try CommandRunner.run(arguments)
    #expect(outcome.status == 0, "\(arguments): \(outcome.errors)")
    return try #require(try JSONValue.parse(outcome.output)["sequences"]?.array?.first)
  }

  @Test func theRawTextIsKeptBesideWhatBecameOfIt() throws {
    try withModel { model in
      let flags = ["generate", "-m", model, "--prompt-ids", "1,2,3", "-n", "30", "--json"]
      let plain = try sequence(flags)
      let processed = try sequence(flags + ["--post", "--wrap", "20"])
      #expect(
        plain.object?.members.map(\.key) == ["text", "token_ids", "logprobs", "score", "finish_reason"])
      #expect(
        processed.object?.members.map(\.key)
          == ["text", "token_ids", "logprobs", "score", "finish_reason", "raw_text"])
      #expect(processed["raw_text"] == plain["text"])
      #expect(processed["text"] != plain["text"])
      #expect(processed["token_ids"] == plain["token_ids"])
      #expect(processed["logprobs"] == plain["logprobs"])
      // What changes nothing adds nothing.
      #expect(
        try sequence(["generate", "-m", model, "--prompt-ids", "1,2,3", "-n", "1", "--json", "--trim-loops"])[
          "raw_text"]
          == nil)
      let formatted = try sequence(Array(flags.dropLast()) + ["--format", "json"])
      #expect(formatted["text"] == plain["text"])
    }
  }

  @Test func eachFormHoldsTheSameText() throws {
    try withModel { model in
      let list = model + "/words.txt"
      try Data("你好\n".utf8).write(to: URL(filePath: list))
      let flags = [
        "generate", "-m", model, "--prompt-ids", "1,2,3", "-n", "12", "--ignore-eos", "--mask-words", list,
      ]
      let text = try CommandRunner.run(flags)
      #expect(text.status == 0, "\(text.errors)")
      let document = try sequence(flags + ["--format", "json"])
      #expect(text.output == (document["text"]?.string ?? "") + "\n")
      let markdown = try CommandRunner.run(flags + ["--format", "markdown"])
      #expect(markdown.status == 0)
      for part in [
        "## Text", "> \(document["text"]?.string ?? "?")", "### Before post-processing",
        "> \(document["raw_text"]?.string ?? "?")", "| length | 12 |", "| token | text | log p |",
        "## Timings", "| prompt | 3 |",
      ] {
        #expect(markdown.output.contains(part), "\(part) is not in \(markdown.output)")
      }
      let beams = try CommandRunner.run(
        flags + ["--format", "markdown", "--num-beams", "2", "--num-return-sequences", "2"])
      #expect(beams.output.contains("## Text 1 of 2") && beams.output.contains("## Text 2 of 2"))
    }
  }

  @Test func wordListsAreRead() throws {
    try withModel { model in
      let path = model + "/words.txt"
      try Data("# tokens of the model\n你好\n世界\n今天\n天气\n很好\n".utf8).write(to: URL(filePath: path))
      let flags = ["generate", "-m", model, "--prompt-ids", "1,2,3", "-n", "30"]
      let plain = try CommandRunner.run(flags).output
      let masked = try CommandRunner.run(flags + ["--mask-words", path]).output
      let dropped = try CommandRunner.run(flags + ["--drop-words", path]).output
      #expect(plain.contains("你好") || plain.contains("今天"))
      for word in ["你好", "世界", "今天", "天气", "很好"] {
        #expect(!masked.contains(word) && !dropped.contains(word))
      }
      #expect(masked.contains("＊＊") && masked.count == plain.count && dropped.count < plain.count)
    }
  }

  @Test func refusesWhatCannotBe() throws {
    try withModel { model in
      let bad = model + "/bad.txt"
      try Data([0x61, 0x0A, 0xFF, 0x0A]).write(to: URL(filePath: bad))
      let empty = model + "/empty.txt"
      try Data().write(to: URL(filePath: empty))
      for (flags, words) in [
        (["--mask-words", "/nonexistent/list.txt"], ["/nonexistent/list.txt"]),
        (["--drop-words", model], [model, "folder"]),
        (["--drop-words", bad], [bad, "line 2", "UTF-8"]),
        (["--mask-words", empty], [empty, "no words"]),
        (["--wrap", "1"], ["--wrap", "1"]),
        (["--special", "--drop-special-tokens"], ["--special", "--drop-special-tokens"]),
        (["--no-trim-loops"], ["--no-trim-loops", "--post"]),
        (["--json", "--format", "markdown"], ["--json", "--format"]),
        (["--format", "html"], ["--format", "html"]),
      ] as [([String], [String])] {
        let outcome = try CommandRunner.run(["generate", "-m", model, "--prompt-ids", "1"] + flags)
        #expect(outcome.status == 2 && outcome.output.isEmpty, "\(flags)")
        #expect(!outcome.errorLine.contains("\n"), "\(flags): \(outcome.errors)")
        for word in words { #expect(outcome.errorLine.contains(word), "\(flags): \(outcome.errors)") }
      }
      let outcome = try CommandRunner.run([
        "generate", "-m", CommandRunner.plain, "--prompt-ids", "1", "--post",
      ])
      #expect(outcome.status == 2 && outcome.errorLine.contains("no tokenizer"))
    }
  }
}
