import Foundation
import JSON
import Testing

@Suite struct FinetuneCommandTests {
  /// A small model of characters, and rows for it.
  private func prepare(_ folder: String) throws -> String {
    let text = (0..<200).map { "q \($0) + 1?\na \($0 + 1).\n" }.joined()
    try text.write(toFile: folder + "/text.txt", atomically: true, encoding: .utf8)
    let trained = try CommandRunner.run([
      "train", "--train", folder + "/text.txt", "--tokenizer", "characters", "--out", folder + "/base", "-q",
      "--iters", "3", "--block-size", "32", "--batch-size", "2", "-t", "1", "--set", "model.model_type=llama",
      "--set", "model.hidden_size=16", "--set", "model.num_hidden_layers=2", "--set",
      "model.num_attention_heads=2",
      "--set", "model.intermediate_size=24", "--set", "sample_tokens=0",
    ])
    #expect(trained.status == 0, "\(trained.errors)")
    let rows = (0..<60).map { #"{"instruction": "q \#($0) + 1?", "input": "", "output": "a \#($0 + 1)."}"# }
    try rows.joined(separator: "\n").write(
      toFile: folder + "/rows.jsonl", atomically: true, encoding: .utf8)
    return folder + "/base/model"
  }

  private func arguments(_ folder: String, _ model: String, _ run: String) -> [String] {
    [
      "finetune", "-m", model, "--train", folder + "/rows.jsonl", "--out", folder + "/" + run, "--iters",
      "12",
      "--batch-size", "4", "--block-size", "31", "--save-every", "2", "--learning-rate", "1e-2", "-t", "1",
      "--set", "answer_tokens=8", "--set", "answer_rows=4", "--set", "sample_tokens=0",
    ]
  }

  @Test func adaptersAreLearnedUsedAndMerged() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let model = try prepare(folder)
      let full = try CommandRunner.run(arguments(folder, model, "full") + ["-q"])
      #expect(full.status == 0, "\(full.errors)")
      #expect(full.output.contains(/validation loss \d+\.\d+ -> \d+\.\d+ in \d/))
      #expect(
        full.output.contains(/ROUGE-L \d\.\d+ -> \d\.\d+, exact match \d\.\d+ -> \d\.\d+ on 4 held-out/))
      #expect(full.output.hasSuffix("model in \(folder)/full/model\n"))
      let outcome = try CommandRunner.run(
        arguments(folder, model, "lora") + [
          "--lora", "--lora-rank", "4", "--packing", "--set", "lora_init=pissa",
        ])
      #expect(outcome.status == 0, "\(outcome.errors)")
      let adapter = folder + "/lora/model"
      #expect(outcome.output.hasSuffix("adapter in \(adapter)\n"))
      let fused = folder + "/fused"
      #expect(try CommandRunner.run(["fuse", "-m", model, "--lora", adapter, "-o", fused]).status == 0)
      #expect(try CommandRunner.run(["fuse", "-m", model, "--lora", adapter, "-o", fused]).status == 2)
      func nll(_ arguments: [String]) throws -> Double {
        let outcome = try CommandRunner.run(["score", "q 5 + 1?\na 6.", "--json"] + arguments)
        #expect(outcome.status == 0, "\(outcome.errors)")
        return try JSONValue.parse(outcome.output)["nll"]?.double ?? -1
      }
      let (plain, merged) = (try nll(["-m", model]), try nll(["-m", model, "--lora", adapter]))
      #expect(merged < plain - 0.2)
      #expect(try abs(nll(["-m", fused]) - merged) < 1e-6)
      let text = try CommandRunner.run(["-m", model, "--lora", adapter, "q 5 + 1?", "-n", "4"])
      #expect(text.status == 0 && !text.output.isEmpty, "\(text.errors)")
      let report = try CommandRunner.run(["report", folder + "/lora", "-o", "-"])
      #expect(report.status == 0 && report.output.contains("4 held-out questions; ROUGE-L"))
      // Each command goes on with its own runs.
      let wrong = try CommandRunner.run(["train", "--out", folder + "/lora", "--resume"])
      #expect(wrong.status == 2 && wrong.errorLine.contains("is a run of inkstone finetune"))
    }
  }

  /// An adapter's folder is a model, where the one that it belongs to is found: at its path, or beside it.
  @Test func anAdapterNamesItsModel() throws {
    try CommandRunner.withTemporaryFolder { folder in
      let model = try prepare(folder)
      let run = try CommandRunner.run(
        arguments(folder, model, "lora") + ["-q", "--lora", "--set", "answer_rows=0"])
      #expect(run.status == 0, "\(run.errors)")
      let adapter = folder + "/lora/model"
      func score(_ arguments: [String]) throws -> String {
        let outcome = try CommandRunner.run(["score", "q 5 + 1?", "--json"] + arguments)
        #expect(outcome.status == 0, "\(outcome.errors)")
        return outcome.output
      }
      let expected = try score(["-m", model, "--lora", adapter])
      #expect(try score(["-m", adapter]) == expected && score(["-m", model]) != expected)
      try FileManager.default.moveItem(atPath: folder + "/base", toPath: folder + "/moved")
      let lost = try CommandRunner.run(["score", "q 5 + 1?", "-m", adapter])
      #expect(lost.status == 2 && lost.errorLine.contains("base_model_name_or_path"), "\(lost.errors)")
      #expect(lost.errorLine.contains("adapter_config.json") && lost.errorLine.contains("--lora"))
      try FileManager.default.copyItem(atPath: adapter, toPath: folder + "/moved/adapter")
      #expect(try score(["-m", folder + "/moved/adapter"]) == expected)
    }
  }

  /// Killed at any moment and resumed, a run ends with the weights of one that nobody disturbed.
  @Test func killsLeaveNoTrace() throws {
    let kills = Int(ProcessInfo.processInfo.environment["INKSTONE_KILLS"] ?? "") ?? 3
    try CommandRunner.withTemporaryFolder { folder in
      let model = try prepare(folder)
      let more = ["--iters", "\(200 * kills)", "-q", "--lora", "--lora-rank", "2", "--set", "dropout=0.1"]
      #expect(try CommandRunner.run(arguments(folder, model, "whole") + more).status == 0)
      var generator = SystemRandomNumberGenerator()
      var resumed = 0
      for _ in 0..<kills {
        let process = Process()
        process.executableURL = CommandRunner.executable
        let isBegun = FileManager.default.fileExists(atPath: folder + "/parts/run.json")
        resumed += isBegun ? 1 : 0
        process.arguments =
          isBegun
          ? ["finetune", "--out", folder + "/parts", "--resume", "-q"]
          : arguments(folder, model, "parts") + more
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        usleep(UInt32.random(in: 100_000...700_000, using: &generator))
        kill(process.processIdentifier, SIGKILL)
        process.waitUntilExit()
      }
      let isBegun = FileManager.default.fileExists(atPath: folder + "/parts/run.json")
      let last = try CommandRunner.run(
        isBegun
          ? ["finetune", "--out", folder + "/parts", "--resume", "-q"]
          : arguments(folder, model, "parts") + more)
      #expect(last.status == 0, "\(last.errors)")
      let files = ["whole", "parts"].map { folder + "/\($0)/model/adapter_model.safetensors" }
      #expect(
        FileManager.default.contentsEqual(atPath: files[0], andPath: files[1]),
        "after \(kills) kills and \(resumed) resumes")
    }
  }

  @Test(
    arguments: [
      (["--lora", "--lora-targets", "q_proj,x"], "x is no linear map"),
      (["--set", "lora_init=x"], "default, pissa"),
      (["--chat-template", "chatml"], "needs the special tokens <|im_start|>, <|im_end|>"),
      (["--train", "/nowhere"], "/nowhere: no such file"), (["--epochs", "0"], "--epochs: epochs: must be"),
      (["-m", "/nowhere"], "/nowhere"),
    ])
  func badUseIsOneLine(arguments: [String], expected: String) throws {
    try CommandRunner.withTemporaryFolder { folder in
      let model = try prepare(folder)
      let outcome = try CommandRunner.run(self.arguments(folder, model, "run") + arguments)
      #expect(outcome.status == 2 && outcome.errorLine.contains(expected), "\(outcome.errors)")
      #expect(!outcome.errorLine.contains("\n") && outcome.output.isEmpty)
    }
  }
}
